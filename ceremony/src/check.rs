//! What can be checked before anything is touched: everything that the file names, and what the policy says to it.

use std::path::{Path, PathBuf};

use hallmark_backends::{KeyLabel, Survey};
use hallmark_policy::{
    Approved, CrlIssuer, CrlRequest, Decision, Policy, Reason, ReasonCode,
    authority::{CaRequest, Root, decide_ca},
    ceremony::{decide_cross_certificate, decide_offline_intermediate, read_certification_request},
    content::{EpochBinding, Serial},
    crl::CrlScope,
    decide_crl, decide_possession,
    key::{KeyKind, PublicKey},
    offline,
    profile::Authority,
    time::UnixTime,
};

use crate::{
    backup::{Backup, Reviewed},
    book, device,
    error::CeremonyError,
    facts::Fact,
    journal::Journal,
    meaning::{
        BackupTask, Ceremony, CrossCertificateTask, IntermediateTask, RestoreTask, Task, WrapKeyTask, WrapKeyValue,
        WrapSource,
    },
    order, output,
    quorum::{QuorumRecord, Shared},
    run::defect,
};

/// Label of a PEM block with a certificate (RFC 7468, section 5).
const CERTIFICATE: &str = "CERTIFICATE";

/// CAs below a root that signs cross-certificates: the other root, and its intermediates.
const CROSS_CERTIFIED_BELOW: u8 = 2;

/// What was read and checked.
#[derive(Debug)]
pub(crate) struct Checked {
    policy: Option<Policy>,
    authority: String,
    kind: Option<KeyKind>,
    /// The root that signs, where it is not made here.
    pub(crate) root: Option<Root>,
    /// Where its certificate is.
    pub(crate) root_path: Option<PathBuf>,
    /// The epoch and key of a certification request.
    pub(crate) request: Option<(EpochBinding, PublicKey)>,
    /// The root that is vouched for.
    pub(crate) subject: Option<Root>,
    /// The backup that is restored.
    pub(crate) backup: Option<Reviewed>,
    /// What would be signed, with a stand-in for a key that is not there yet.
    pub(crate) preview: Vec<Fact>,
}

impl Checked {
    pub(crate) fn policy(&self) -> Result<&Policy, CeremonyError> {
        self.policy.as_ref().ok_or_else(|| defect("no policy was read"))
    }

    pub(crate) fn authority(&self) -> Result<&Authority, CeremonyError> {
        self.policy()?.authority(&self.authority).ok_or_else(|| defect("the policy lost its authority"))
    }

    pub(crate) fn authority_name(&self) -> &str {
        &self.authority
    }

    pub(crate) fn root(&self) -> Result<&Root, CeremonyError> {
        self.root.as_ref().ok_or_else(|| defect("no root was read"))
    }

    /// The kind of the key that is made, or that signs.
    pub(crate) fn kind(&self) -> Option<KeyKind> {
        self.kind
    }
}

/// Reads and checks everything that is written down: no device is asked.
pub(crate) fn papers(ceremony: &Ceremony) -> Result<Checked, CeremonyError> {
    let mut checked = Checked {
        policy: None,
        authority: String::new(),
        kind: None,
        root: None,
        root_path: None,
        request: None,
        subject: None,
        backup: None,
        preview: Vec::new(),
    };
    if let Some(place) = &ceremony.policy {
        checked.policy = Some(read_policy(&place.file)?);
        checked.authority.clone_from(&place.authority);
        if checked.policy()?.authority(&place.authority).is_none() {
            let (path, authority) = (place.file.clone(), place.authority.clone());
            return Err(CeremonyError::NoAuthority { path, authority });
        }
    }
    match &ceremony.task {
        Task::Root(_) => checked.kind = Some(checked.authority()?.root.key),
        Task::Key(task) => checked.kind = Some(task.kind),
        Task::Intermediate(task) => {
            read_root(&mut checked, &task.issuer)?;
            read_request(&mut checked, task)?;
        }
        Task::CrossCertificate(task) => {
            read_root(&mut checked, &task.issuer)?;
            read_subject(&mut checked, ceremony, task)?;
        }
        Task::Crl(task) => read_root(&mut checked, &task.issuer)?,
        Task::Restore(task) => {
            let backup = Backup::read(task)?;
            checked.kind = Some(backup.public.kind());
            checked.backup = Some(backup);
        }
        Task::Destroy(_) | Task::LogKey(_) | Task::Quorum(_) | Task::WrapKey(_) | Task::Backup(_) => {}
    }
    quorum_of(ceremony)?;
    let now = moment(ceremony, book::clock());
    let stand_in = match (&ceremony.task, checked.kind) {
        (Task::Root(_), Some(kind)) => Some(hallmark_backends::stand_in(kind)?),
        _ => None,
    };
    if let Some(approved) =
        decide(ceremony, &checked, stand_in.as_ref(), now, Serial::from_random([1; 16]), Crl::default())?
    {
        checked.preview = order::told(approved.content());
    }
    Ok(checked)
}

/// The record of the quorum that is to bring a wrap key.
fn quorum_of(ceremony: &Ceremony) -> Result<(), CeremonyError> {
    let record = match &ceremony.task {
        Task::WrapKey(WrapKeyTask { value: WrapKeyValue::Quorum { record }, .. }) => record,
        Task::Backup(BackupTask { by: WrapSource::Quorum(record), .. })
        | Task::Restore(RestoreTask { quorum: record, .. }) => record,
        Task::Root(_)
        | Task::Intermediate(_)
        | Task::CrossCertificate(_)
        | Task::Crl(_)
        | Task::Key(_)
        | Task::Destroy(_)
        | Task::LogKey(_)
        | Task::Quorum(_)
        | Task::WrapKey(_)
        | Task::Backup(_) => return Ok(()),
    };
    QuorumRecord::read_of(record, Shared::WrapKey).map(drop)
}

/// Asks the device, without a log-in, and looks whether everything is free.
pub(crate) fn around(ceremony: &Ceremony, checked: &Checked) -> Result<Option<Survey>, CeremonyError> {
    let begun = Journal::read(ceremony)?;
    if begun.is_none() {
        ceremony.outputs().into_iter().try_for_each(|(what, path)| output::is_free(what, &path))?;
    }
    let Some(place) = &ceremony.device else { return Ok(None) };
    let survey = device::look(place)?;
    device::is_able(&survey, &ceremony.task, checked.kind())?;
    device::is_in_time(&survey, book::clock())?;
    if let (Some(label), None) = (ceremony.task.label(), &begun)
        && survey.labels.iter().any(|found| found == label.as_str())
    {
        return Err(CeremonyError::LabelTaken { label: label.to_string() });
    }
    Ok(Some(survey))
}

/// The moment for which it is decided: the one in the file, else now.
pub(crate) fn moment(ceremony: &Ceremony, now: UnixTime) -> UnixTime {
    match &ceremony.task {
        Task::Root(task) => task.not_before.unwrap_or(now),
        Task::Intermediate(_)
        | Task::CrossCertificate(_)
        | Task::Crl(_)
        | Task::Key(_)
        | Task::Destroy(_)
        | Task::LogKey(_)
        | Task::Quorum(_)
        | Task::WrapKey(_)
        | Task::Backup(_)
        | Task::Restore(_) => now,
    }
}

/// What matters of the CRLs before.
#[derive(Debug, Default)]
pub(crate) struct Crl {
    pub(crate) after: u64,
    pub(crate) revocations: Vec<hallmark_policy::Revocation>,
    pub(crate) newest_revocation: Option<u64>,
    pub(crate) previous: Option<hallmark_policy::PreviousCrl>,
}

/// What the policy says to it; nothing where nothing is signed. `key`: the root's own, where that is made here.
pub(crate) fn decide(
    ceremony: &Ceremony,
    checked: &Checked,
    key: Option<&PublicKey>,
    now: UnixTime,
    serial: Serial,
    crl: Crl,
) -> Result<Option<Approved>, CeremonyError> {
    let (what, decision) = match &ceremony.task {
        Task::Root(_) => {
            let key = key.ok_or_else(|| defect("the root has no key"))?;
            let policy = checked.policy()?;
            ("the root certificate", decide_ca(policy, checked.authority_name(), &CaRequest::Root, key, now, serial))
        }
        Task::Intermediate(task) => {
            let (binding, key) = checked.request.as_ref().ok_or_else(|| defect("no request was read"))?;
            let epoch = (*binding, task.lifetime);
            let (policy, name, root) = (checked.policy()?, checked.authority_name(), checked.root()?);
            let decision = decide_offline_intermediate(policy, name, root, epoch, key, now, serial);
            ("the intermediate CA certificate", decision)
        }
        Task::CrossCertificate(task) => {
            let subject = checked.subject.as_ref().ok_or_else(|| defect("no other root was read"))?;
            let (policy, name, root) = (checked.policy()?, checked.authority_name(), checked.root()?);
            let decision = decide_cross_certificate(policy, name, root, (subject, task.lifetime), now, serial);
            ("the cross-certificate", decision)
        }
        Task::Crl(task) => {
            let Crl { after, revocations, newest_revocation, previous } = crl;
            let request = CrlRequest {
                issuer: CrlIssuer::Root(checked.root()?),
                scope: CrlScope::Complete,
                after,
                published: None,
                revocations,
                newest_revocation,
                previous,
                reaching: task.next_update,
            };
            ("the CRL", decide_crl(checked.policy()?, checked.authority_name(), request, now))
        }
        Task::Restore(_) => {
            let backup = checked.backup.as_ref().ok_or_else(|| defect("no backup was read"))?;
            let (policy, name) = (checked.policy()?, checked.authority_name());
            ("the proof of the restored key", decide_possession(policy, name, &backup.public, &serial))
        }
        Task::Key(_) | Task::Destroy(_) | Task::LogKey(_) | Task::Quorum(_) | Task::WrapKey(_) | Task::Backup(_) => {
            return Ok(None);
        }
    };
    match decision {
        Decision::Approve(approved) => Ok(Some(*approved)),
        Decision::Refuse(reasons) => Err(CeremonyError::Refused { what, reasons }),
    }
}

/// Reads a label that this program chose.
pub(crate) fn label(text: &str) -> Result<KeyLabel, CeremonyError> {
    KeyLabel::parse(text).map_err(|error| defect(&error.to_string()))
}

fn read_policy(path: &Path) -> Result<Policy, CeremonyError> {
    let text = output::read(path)?;
    let wanted = "text in UTF-8";
    let text = String::from_utf8(text).map_err(|_| CeremonyError::NotOne { path: path.to_owned(), wanted })?;
    Policy::parse(&text).map_err(|error| CeremonyError::Mistakes { path: path.to_owned(), mistakes: error.mistakes })
}

fn read_root(checked: &mut Checked, path: &Path) -> Result<(), CeremonyError> {
    checked.kind = Some(checked.authority()?.root.key);
    checked.root = Some(root_of(path, checked.authority()?)?);
    checked.root_path = Some(path.to_owned());
    Ok(())
}

/// The root of an authority, as its certificate tells it.
pub(crate) fn root_of(path: &Path, authority: &Authority) -> Result<Root, CeremonyError> {
    let der = output::read_pem(path, CERTIFICATE, "certificate in PEM")?;
    // A CRL or an intermediate may be signed by a root that begins later than now in no case.
    let now = book::clock();
    let (_, root) = offline::root(&authority.root, &der, now).map_err(|reasons| unfit(path, reasons))?;
    Ok(root)
}

fn read_request(checked: &mut Checked, task: &IntermediateTask) -> Result<(), CeremonyError> {
    let text = output::read(&task.request)?;
    let request = read_certification_request(checked.policy()?, checked.authority_name(), text.trim_ascii())
        .map_err(|reasons| unfit(&task.request, reasons))?;
    checked.request = Some(request);
    Ok(())
}

fn read_subject(checked: &mut Checked, ceremony: &Ceremony, task: &CrossCertificateTask) -> Result<(), CeremonyError> {
    let Some(authority) = checked.policy()?.authority(&task.subject_authority) else {
        let path = ceremony.policy.as_ref().map(|place| place.file.clone()).unwrap_or_default();
        return Err(CeremonyError::NoAuthority { path, authority: task.subject_authority.clone() });
    };
    checked.subject = Some(root_of(&task.subject, authority)?);
    let issuer = output::read_pem(&task.issuer, CERTIFICATE, "certificate in PEM")?;
    if !offline::leaves_room_for(&issuer, CROSS_CERTIFIED_BELOW) {
        let sentence = "its path length leaves no room for another root above its intermediates".to_owned();
        let reason = Reason::new(ReasonCode::CertificateUnfit, "issuer", sentence);
        let allowed = "a root that was made with `path-length = 2` in the policy";
        return Err(unfit(&task.issuer, vec![reason.allowing(allowed)]));
    }
    Ok(())
}

fn unfit(path: &Path, reasons: Vec<Reason>) -> CeremonyError {
    let named = |reason: Reason| Reason { sentence: format!("`{}`: {}", path.display(), reason.sentence), ..reason };
    CeremonyError::Refused { what: "what the file names", reasons: reasons.into_iter().map(named).collect() }
}
