//! What a rehearsal makes before, because its task wants to find it: a root that signs, a key, a wrap key, a backup, and custodians with shares.

use std::path::{Path, PathBuf};

use hallmark_backends::{Exception, KeyLabel, KeyReference, NamedException, Wrappers};
use hallmark_policy::key::{KeyKind, PublicKey, SpkiDigest};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::{
    backup::Backup,
    check::{self, Checked},
    digest::sha256,
    error::CeremonyError,
    execute,
    facts::Fact,
    meaning::{
        BackupTask, Ceremony, DestroyTask, KeyTask, RestoreTask, RootTask, Task, WrapKeyTask, WrapKeyValue, WrapSource,
    },
    output,
    people::{Confirmation, Nobody, People},
    quorum::{QuorumRecord, ShareError, Shared, split},
    run::defect,
    steps::Step,
};

/// Custodians who have what they are asked for, and nobody else.
pub(super) struct Custodians(Vec<Zeroizing<String>>);

/// Makes what the task wants to find.
pub(super) async fn stand_in(
    own: &mut Ceremony,
    mut checked: Checked,
    scratch: &Path,
) -> Result<(Checked, Custodians), CeremonyError> {
    let mut custodians = Custodians(Vec::new());
    if let Some(root) = &checked.root {
        let exceptions = exceptions_of(own, root.key.digest());
        let certificate = scratch.join("stand-in.pem");
        let label = check::label("stand-in")?;
        let wrappable = exceptions.contains(&Exception::Wrappable).then_some(Wrappers::Any);
        let task = RootTask { label, wrappable, not_before: None, certificate: certificate.clone() };
        before(own, Task::Root(task), "stand-in", &mut Nobody, scratch).await?;
        let root = check::root_of(&certificate, checked.authority()?)?;
        except(own, root.key.digest(), &exceptions);
        checked.root = Some(root);
        checked.root_path = Some(certificate);
    }
    match own.task.clone() {
        Task::Destroy(task) => {
            let (reference, public) = key(own, task.key.label(), KeyKind::EcdsaP256, None, scratch).await?;
            own.task = Task::Destroy(DestroyTask { key: reference, spki: public.digest() });
        }
        Task::WrapKey(task) => {
            if let WrapKeyValue::Quorum { record } = &task.value {
                let value = WrapKeyValue::Quorum { record: quorum(record, scratch, &mut custodians)? };
                own.task = Task::WrapKey(WrapKeyTask { value, ..task });
            }
        }
        Task::Backup(task) => {
            let made = key(own, task.key.label(), KeyKind::EcdsaP256, Some(Wrappers::Any), scratch).await?;
            let by = source(own, &task.by, scratch, &mut custodians).await?;
            own.task = Task::Backup(BackupTask { key: made.0, spki: made.1.digest(), by, ..task });
        }
        Task::Restore(task) => {
            let kind = checked.kind().ok_or_else(|| defect("no backup was read"))?;
            let (reference, public) = key(own, &check::label("stand-in")?, kind, Some(Wrappers::Any), scratch).await?;
            let quorum = quorum(&task.quorum, scratch, &mut custodians)?;
            let path = scratch.join("stand-in.backup");
            let by = WrapSource::Quorum(quorum.clone());
            let made = BackupTask { key: reference, spki: public.digest(), by, backup: path.clone() };
            let asked = custodians.0.clone();
            let backup = ceremony(own, Task::Backup(made), "stand-in-backup", scratch);
            let checked_backup = check::papers(&backup)?;
            let mut people = Custodians(asked);
            execute::execute(&backup, &checked_backup, None, &mut people, (Vec::new(), Vec::new())).await?;
            own.task = Task::Restore(renamed(&path, RestoreTask { quorum, ..task }, scratch)?);
            let Task::Restore(task) = &own.task else { return Err(defect("the task changed")) };
            checked.backup = Some(Backup::read(task)?);
        }
        Task::Root(_)
        | Task::Intermediate(_)
        | Task::CrossCertificate(_)
        | Task::Crl(_)
        | Task::Key(_)
        | Task::LogKey(_)
        | Task::Quorum(_) => {}
    }
    Ok((checked, custodians))
}

/// The backup of a stand-in under the name that the task wants.
fn renamed(made: &Path, task: RestoreTask, scratch: &Path) -> Result<RestoreTask, CeremonyError> {
    let unreadable = || defect("the stand-in's backup does not read");
    let backup = Backup::parse(&output::read(made)?).ok_or_else(unreadable)?.renamed(&task.key);
    let spki = backup.spki().ok_or_else(unreadable)?;
    let (path, bytes) = (scratch.join("renamed.backup"), backup.to_json());
    output::create(&path, &bytes, output::SEALED)?;
    Ok(RestoreTask { backup: path, sha256: sha256(&bytes), spki, ..task })
}

/// Another ceremony of the same log.
fn ceremony(own: &Ceremony, task: Task, name: &str, scratch: &Path) -> Ceremony {
    let transcript = scratch.join(format!("{name}.json"));
    Ceremony { name: name.to_owned(), sha256: sha256(name.as_bytes()), transcript, task, ..own.clone() }
}

/// Holds another ceremony before.
async fn before(
    own: &Ceremony,
    task: Task,
    name: &str,
    people: &mut dyn People,
    scratch: &Path,
) -> Result<Option<(KeyReference, PublicKey)>, CeremonyError> {
    let ceremony = ceremony(own, task, name, scratch);
    let checked = check::papers(&ceremony)?;
    Ok(execute::execute(&ceremony, &checked, None, people, (Vec::new(), Vec::new())).await?.key)
}

/// A key that can be destroyed, or one that can be wrapped.
async fn key(
    own: &Ceremony,
    label: &KeyLabel,
    kind: KeyKind,
    wrappable: Option<Wrappers>,
    scratch: &Path,
) -> Result<(KeyReference, PublicKey), CeremonyError> {
    let public_key = scratch.join("stand-in.pem");
    let task = KeyTask { label: label.clone(), kind, destroyable: wrappable.is_none(), wrappable, public_key };
    let made = before(own, Task::Key(task), "stand-in", &mut Nobody, scratch).await?;
    made.ok_or_else(|| defect("no stand-in was made"))
}

/// A wrap key of that label, or custodians who bring one.
async fn source(
    own: &Ceremony,
    source: &WrapSource,
    scratch: &Path,
    custodians: &mut Custodians,
) -> Result<WrapSource, CeremonyError> {
    Ok(match source {
        WrapSource::Token(label) => {
            let mut custodians = Custodians(Vec::new());
            let names = ["one".to_owned(), "another".to_owned()];
            let record = quorum_of(&names, names.len(), scratch, &mut custodians)?;
            let value = WrapKeyValue::Quorum { record };
            let task = WrapKeyTask { label: label.clone(), value, trusted: false };
            before(own, Task::WrapKey(task), "stand-in-wrap-key", &mut custodians, scratch).await?;
            WrapSource::Token(label.clone())
        }
        WrapSource::Quorum(record) => WrapSource::Quorum(quorum(record, scratch, custodians)?),
    })
}

/// A quorum like that of a record, and the shares of enough of its custodians.
fn quorum(record: &Path, scratch: &Path, custodians: &mut Custodians) -> Result<PathBuf, CeremonyError> {
    let known = QuorumRecord::read_of(record, Shared::WrapKey)?;
    quorum_of(&known.custodians, known.threshold, scratch, custodians)
}

/// A quorum of these, and the shares of enough of them.
fn quorum_of(
    names: &[String],
    threshold: usize,
    scratch: &Path,
    custodians: &mut Custodians,
) -> Result<PathBuf, CeremonyError> {
    let (_, record, shares) = split(names, threshold, Shared::WrapKey)?;
    custodians.0 = shares.iter().take(threshold).map(|share| share.text(&record)).collect();
    let path = scratch.join("stand-in.quorum");
    output::create(&path, &record.to_json(), output::PUBLIC)?;
    Ok(path)
}

/// Why the file lets a key be kept less strictly.
fn exceptions_of(own: &Ceremony, key: SpkiDigest) -> Vec<Exception> {
    let named = own.device.iter().flat_map(|place| &place.exception);
    named.filter(|exception| exception.spki_sha256 == key).map(|exception| exception.because).collect()
}

/// The same for another key.
fn except(own: &mut Ceremony, key: SpkiDigest, exceptions: &[Exception]) {
    let table = |because: &Exception| NamedException { spki_sha256: key, because: *because };
    own.device.iter_mut().for_each(|place| place.exception.extend(exceptions.iter().map(table)));
}

impl People for Custodians {
    fn before(&mut self, step: &Step, number: usize, of: usize) -> Result<Vec<Confirmation>, CeremonyError> {
        Nobody.before(step, number, of)
    }

    fn after(&mut self, _: &Step, _: &[Fact]) {}

    fn pin(&mut self, token: &str) -> Result<SecretString, CeremonyError> {
        Nobody.pin(token)
    }

    fn so_pin(&mut self, token: &str) -> Result<SecretString, CeremonyError> {
        Nobody.so_pin(token)
    }

    fn share(
        &mut self,
        record: &QuorumRecord,
        have: usize,
        problem: Option<&ShareError>,
    ) -> Result<Zeroizing<String>, CeremonyError> {
        match self.0.pop() {
            Some(share) => Ok(share),
            None => Nobody.share(record, have, problem),
        }
    }
}
