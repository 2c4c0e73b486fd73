//! Roots that were made elsewhere: their certificate is brought when the authority is made, and where their keys are elsewhere, too, for each
//! epoch the intermediate that they sign from a request of ours.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use hallmark_backends::{BackendError, KeyPurpose, Keyring};
use hallmark_issuance::reassemble;
use hallmark_ledger::{AuthorityRecord, BroughtKey, EpochRecord, EpochState, Epochs, KeyAction, Step};
use hallmark_policy::{
    Decision, Reason, ReasonCode,
    content::EpochBinding,
    decide_request,
    file::RotatesWord,
    key::PublicKey,
    offline::{self, CERTIFICATE_BYTES_MAX},
    profile::Authority,
    time::Span,
};
use hallmark_proto::{link::Reply, operator::BringIntermediateRequest};

use crate::{
    age::no_epoch,
    answer::Failure,
    authorities,
    core::Inner,
    crl::unfit,
    epoch,
    handed_over::{HandOver, HandOverError, ToldKey},
    making::{self, MakingError, SIGN_TIME_MAX},
    operate::{Operating, decode},
    order::{Keep, Outcome, certify},
    proven, rotate,
};

/// What is refused where a root is brought that does not fit.
const ROOT_CERTIFICATE: &str = "root certificate";

/// Certificates of roots that were made elsewhere, by the name of their authority.
pub type Roots = BTreeMap<String, BroughtRoot>;

/// The certificate of a root that was made elsewhere, and the ceremony that made it, if one did.
#[derive(Clone, Debug)]
pub struct BroughtRoot {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// What the ceremony has left.
    pub ceremony: Option<HandOver>,
}

impl From<Vec<u8>> for BroughtRoot {
    /// One that no ceremony speaks for.
    fn from(certificate: Vec<u8>) -> Self {
        Self { certificate, ceremony: None }
    }
}

/// Makes an authority of a root whose certificate was brought: its key is elsewhere, or a ceremony made it in our token.
pub(crate) async fn bring_root(
    core: &Arc<Inner>,
    authority: &Authority,
    roots: &Roots,
) -> Result<AuthorityRecord, MakingError> {
    let name = &authority.name;
    let Some(BroughtRoot { certificate: der, ceremony }) = roots.get(name) else {
        let sentence = format!(
            "the root of authority `{name}` is offline; hint: bring its certificate with `hallmarkd init --root {name}=FILE`"
        );
        return Err(making::refused(
            name,
            ROOT_CERTIFICATE,
            Reason::new(ReasonCode::RootOffline, "certificate", sentence),
        ));
    };
    if ceremony.is_none() {
        core.may_do_without_ceremony(name)?;
    }
    let now = core.trusted_clock().await.map_err(MakingError::Clock)?;
    let (brought, root) = offline::root(&authority.root, der, now.time)
        .map_err(|reasons| making::refused_all(name, ROOT_CERTIFICATE, reasons))?;
    let unfit = |error: HandOverError| unfit_ceremony(name, error.to_string());
    let event = ceremony.as_ref().map(|left| left.verify(name, &brought.to_be_signed)).transpose().map_err(unfit)?;
    let key = match (authority.root.offline, ceremony) {
        (true, _) => None,
        (false, Some(left)) => Some(key_of_ceremony(core, name, &left.told_key().map_err(unfit)?, &root.key).await?),
        (false, None) => {
            let sentence = format!(
                "the root of authority `{name}` is not offline, and no ceremony says which key in the token it is; hint: name the \
                 transcript in [ceremony.{name}]"
            );
            return Err(unfit_ceremony(name, sentence));
        }
    };
    let reference = key.as_ref().map(|key| key.reference.clone());
    core.advance(Step::RootBrought {
        authority: name.clone(),
        ceremony: event.map(Box::new),
        key,
        owners: authority.owner_keys().to_vec(),
        spki: root.key.spki().to_vec(),
        brought: Box::new(brought),
    })
    .await?;
    if let Some(reference) = reference {
        core.key_event(name, KeyAction::TakenOver, &reference, &root.key).await?;
    }
    core.ledger.authority(name)?.ok_or_else(|| MakingError::Missing { authority: name.clone(), what: "root" })
}

/// The key that a ceremony made in our token: the only one of its name, the certificate's, and as strictly kept as a root's.
async fn key_of_ceremony(
    core: &Arc<Inner>,
    name: &str,
    told: &ToldKey,
    certified: &PublicKey,
) -> Result<BroughtKey, MakingError> {
    let reference = told.reference.clone();
    let find = move |keyring: &Keyring| {
        if keyring.list()?.iter().filter(|found| **found == reference).count() > 1 {
            return Err(BackendError::KeyAmbiguous { key: reference.clone() });
        }
        keyring.inspect(&reference, KeyPurpose::Root)
    };
    let public = core.device(name, find).await?.map_err(making::backend(name))?;
    if public.digest() != certified.digest() {
        let sentence =
            format!("the key `{}` in the token is another than the root's certificate is over", told.reference);
        return Err(unfit_ceremony(name, sentence));
    }
    let (label, reference) = (told.reference.label().to_string(), told.reference.to_string());
    Ok(BroughtKey { label, reference })
}

fn unfit_ceremony(name: &str, sentence: String) -> MakingError {
    making::refused(name, ROOT_CERTIFICATE, Reason::new(ReasonCode::CertificateUnfit, "ceremony", sentence))
}

impl Inner {
    /// What the offline root of an epoch is to sign: a PKCS#10 request, signed once and the same ever after.
    pub(crate) async fn certification_request(self: &Arc<Self>, epoch: &EpochRecord) -> Result<Bytes, Failure> {
        let stored = epoch.key.as_ref().map(|key| PublicKey::parse(&key.spki));
        let Some(Ok(key)) = stored else { return Ok(Bytes::new()) };
        let approved = match decide_request(&self.policy(), &epoch.authority, binding(epoch), &key) {
            Decision::Approve(approved) => *approved,
            Decision::Refuse(reasons) => return Err(Failure { reasons, logged: None, retry_after: None }),
        };
        self.open_key(&epoch.authority, epoch.key.clone()).await.map_err(|error| self.making_failed(&error))?;
        let now = self.trusted_clock().await?;
        let deadline = std::time::Instant::now() + SIGN_TIME_MAX;
        match certify(self, approved, now, deadline, Keep::BeforeReply, None).await? {
            Outcome::Certified(certified) => Ok(certified.certificate.into()),
            Outcome::Validated(_) => Ok(Bytes::new()),
        }
    }

    /// Takes the intermediate CA certificate that an offline root has signed, and goes on with its epoch.
    pub(crate) async fn bring_intermediate(self: &Arc<Self>, operator: Operating<'_>) -> Result<Reply, Failure> {
        let BringIntermediateRequest { authority: name, generation, certificate } = decode(operator.body)?;
        crate::epochs::known(self, &name)?;
        if certificate.is_empty() || certificate.len() > CERTIFICATE_BYTES_MAX {
            let sentence = format!("`certificate` has {} bytes", certificate.len());
            let reason = Reason::new(ReasonCode::FieldOutOfLimits, "certificate", sentence);
            return Err(reason.allowing(format!("1 to {CERTIFICATE_BYTES_MAX} bytes")).into());
        }
        let _alone = self.rotating.alone_before(&name, operator.deadline).await?;
        let policy = self.policy();
        let record = self.ledger.authority(&name).map_err(|error| self.ledger_failed(&error))?;
        let epoch =
            self.one_epoch(&name, Epochs::Generation(generation))?.ok_or_else(|| no_epoch(&name, generation))?;
        let (Some(record), Some(authority)) = (record, policy.authority(&name)) else {
            return Err(no_epoch(&name, generation));
        };
        let mut said = Vec::new();
        if self.has_brought(&record, &epoch, &certificate)? {
            said.push("it was brought before".to_owned());
        } else {
            self.take_intermediate((authority, &record, &epoch), &certificate, operator.name).await?;
        }
        // Also what was brought before, where a device or the log failed what follows.
        if !self.one_epoch(&name, Epochs::Generation(generation))?.is_some_and(|epoch| epoch.state.is_in_the_making()) {
            return self.epoch_response(&name, generation, said).await;
        }
        let done = match authority.rotates() {
            RotatesWord::Manifest => {
                rotate::finish(self, authority, &record, generation, operator.name, &mut said).await.map(drop)
            }
            RotatesWord::Age => epoch::prepare(self, authority, &record, generation, &mut said).await.map(drop),
        };
        done.map_err(|error| self.making_failed(&error))?;
        self.epoch_response(&name, generation, said).await
    }

    /// Checks what an offline root has signed, and keeps it.
    async fn take_intermediate(
        self: &Arc<Self>,
        (authority, record, epoch): (&Authority, &AuthorityRecord, &EpochRecord),
        certificate: &[u8],
        by: &str,
    ) -> Result<(), Failure> {
        let (name, generation) = (&authority.name, epoch.generation);
        if epoch.state != EpochState::Keyed || !record.is_offline() {
            return Err(self.making_failed(&epoch::other_state(epoch, "waiting for a certificate of an offline root")));
        }
        let failed = |error: MakingError| self.making_failed(&error);
        proven::making(self, authority, record, epoch).map_err(failed)?;
        epoch::same_policy(authority, epoch).map_err(failed)?;
        let now = self.trusted_clock().await?;
        let root = authorities::root(record, &authority.root).map_err(unfit)?;
        let key = self.open_key(name, epoch.key.clone()).await.map_err(failed)?;
        let lifetime = (epoch.lifetime_secs > 0).then(|| Span::from_secs(epoch.lifetime_secs));
        let wanted = (binding(epoch), lifetime);
        let brought = offline::intermediate(&self.policy(), name, &root, wanted, &key, certificate, now.time)
            .map_err(|reasons| Failure { reasons, logged: None, retry_after: None })?;
        let (authority, brought, by) = (name.clone(), Box::new(brought), by.to_owned());
        let step = Step::IntermediateBrought { authority, generation, brought, by };
        self.advance(step).await.map_err(|error| self.ledger_failed(&error))?;
        Ok(())
    }

    /// Whether this certificate is the epoch's already.
    fn has_brought(&self, record: &AuthorityRecord, epoch: &EpochRecord, certificate: &[u8]) -> Result<bool, Failure> {
        let Some(answer) = &epoch.intermediate else { return Ok(false) };
        let key = authorities::stored_key(&record.name, record.key.as_ref()).map_err(unfit)?;
        let stored = reassemble(&answer.to_be_signed, answer.algorithm, &answer.signature, &key);
        Ok(stored.is_ok_and(|stored| stored.der() == certificate))
    }
}

fn binding(epoch: &EpochRecord) -> EpochBinding {
    EpochBinding { generation: epoch.generation, manifest: epoch.manifest_sha256, transition: epoch.transition }
}
