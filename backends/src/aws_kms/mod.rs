//! Keys in AWS KMS.
//!
//! A key's name is its id, which KMS gives, and its label, which stands with its purpose in the description and the tags that it was made with, in one
//! call. What guards it is that KMS made it, keeps it in one region, and uses it to sign and for nothing else; who may use it stands in IAM, and is
//! not an attribute of the key. There are no sessions: as many calls are in flight as there are threads that sign, and two for everything else.

mod ending;
mod failure;
mod keys;
mod name;
mod signer;

use std::{
    cell::Cell,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use hallmark_aws_kms::{Client, Credentials, Key, RANDOM_BYTES_MAX};
use hallmark_policy::key::{PublicKey, SignatureAlgorithm, SpkiDigest};
use secrecy::SecretString;

use self::{failure::failed, name::Name, signer::CallSigner};
pub use self::{
    keys::{aws_kms_guards, aws_kms_kinds},
    signer::aws_kms_never_signs,
};
use crate::{
    backend::{Backend, Description, Guard, KeyPurpose, KeyRequest, NewKey, Signer, Wrapping},
    config::{AwsKmsConfig, SESSIONS_MAX},
    error::BackendError,
    holder::Opened,
    making::Making,
    reference::{KeyLabel, KeyReference},
};

/// Days that a key waits for its deletion (API reference, ScheduleKeyDeletion).
const DELETION_DAYS: std::ops::RangeInclusive<u8> = 7..=30;

/// Longest time for each kind of thing, all calls and both attempts together; of an end, what `signer/src/retire.rs` waits for, and of all others what
/// `Patience` has, is longer. A key is made in two attempts, each with what removes it again.
const OPERATE_TIME_MAX: Duration = Duration::from_secs(9);
const LIST_TIME_MAX: Duration = Duration::from_secs(18);
const MAKE_TIME_MAX: Duration = Duration::from_secs(55);
const REMOVE_TIME_MAX: Duration = Duration::from_secs(24);
const PROBE_TIME_MAX: Duration = Duration::from_millis(1_800);
/// Longest time for the one call that makes a key.
const CREATE_TIME_MAX: Duration = Duration::from_secs(10);

/// The way to KMS, and what is meant there.
struct Service {
    client: Client,
    deletion_days: u8,
}

/// An account's keys in a region.
pub(crate) struct Region {
    service: Arc<Service>,
    making: Making,
}

/// Opens the way to KMS, and sees that it answers to these credentials, and that they are the account's.
pub(crate) fn open(config: AwsKmsConfig) -> Result<Opened, BackendError> {
    config.check()?;
    let AwsKmsConfig { place, account, credentials, profile, sessions, deletion_days } = config;
    let client = Client::new(place, account, Credentials::new(credentials, &profile)).map_err(failed)?;
    let service = Arc::new(Service { client, deletion_days });
    // The first call resolves a name and makes a connection, and whoever starts waits longer than for a look at the health.
    twice(OPERATE_TIME_MAX, |until| service.client.random(1, keys::left(until)).map_err(failed))?;
    twice(OPERATE_TIME_MAX, |until| service.client.is_of_account(keys::left(until)).map_err(failed))?;
    let region: Arc<dyn Backend> = Arc::new(Region { service, making: Making::default() });
    let signers = (0..sessions).map(|_| region.signer()).collect();
    Ok((region, signers))
}

impl AwsKmsConfig {
    /// What is wrong with it, as far as that can be told without asking anybody.
    ///
    /// # Errors
    /// [`BackendError::Configuration`].
    pub fn check(&self) -> Result<(), BackendError> {
        let refused = |detail: String| Err(BackendError::Configuration { detail });
        if !(1..=SESSIONS_MAX).contains(&self.sessions) {
            return refused(format!("`sessions` is {}; write 1 to {SESSIONS_MAX}", self.sessions));
        }
        if !DELETION_DAYS.contains(&self.deletion_days) {
            let (least, most) = (DELETION_DAYS.start(), DELETION_DAYS.end());
            return refused(format!(
                "`deletion-days` is {}; AWS KMS deletes a key after {least} to {most} days",
                self.deletion_days
            ));
        }
        Ok(())
    }
}

impl Region {
    /// Makes a key, reads it back and checks it. `begun` says what is in KMS from when it is known.
    fn make(&self, request: &KeyRequest, begun: &Cell<Option<KeyReference>>) -> Result<NewKey, BackendError> {
        if let KeyPurpose::Wrappable(_) = request.purpose {
            return Err(keys::not_wrapped());
        }
        let (service, until) = (&self.service, Instant::now() + MAKE_TIME_MAX);
        if !self.labelled(&request.label, until)?.is_empty() {
            return Err(BackendError::LabelTaken { label: request.label.to_string() });
        }
        let name = Name { purpose: request.purpose, label: request.label.clone() };
        let created = match service.client.create(&keys::asked(&name, request.kind)?, CREATE_TIME_MAX) {
            Ok(created) => created,
            Err(error) => {
                if !error.was_not_done() {
                    // It may be there, and the answer was lost.
                    begun.set(self.unanswered(&name, until));
                }
                return Err(failed(error));
            }
        };
        self.check_account(&created)?;
        let Some(id) = hallmark_aws_kms::KeyId::parse(&created.id) else {
            let failure =
                crate::class::Failure { call: "CreateKey".to_owned(), answer: format!("the id `{}`", created.id) };
            return Err(BackendError::Broken { failure });
        };
        let reference = KeyReference::aws_kms(id, request.label.clone());
        begun.set(Some(reference.clone()));
        let found = keys::settled(|| {
            let found = keys::find_unproven(service, &reference, until)?;
            keys::check_tags(service, &reference, &name, until).map(|()| found)
        })?;
        keys::check(service, &found, &reference)?;
        keys::check_purpose(&found, &reference, request.purpose)?;
        if found.public.kind() == request.kind {
            return Ok(NewKey { reference, public: found.public });
        }
        let (found, wanted) = (found.public.kind().to_string(), request.kind.to_string());
        Err(BackendError::WrongAttribute { key: reference, attribute: "KeySpec", found, wanted })
    }

    /// Whether what was made is in the account that is meant. What is in another is nobody's, and is taken back.
    fn check_account(&self, made: &Key) -> Result<(), BackendError> {
        let Service { client, deletion_days } = &*self.service;
        if made.account == client.account().as_str() {
            return Ok(());
        }
        tracing::error!(key = made.arn, "a key was made in another account than the one that is configured");
        if let Err(error) = client.take_back(made, *deletion_days, OPERATE_TIME_MAX) {
            tracing::error!(key = made.arn, %error, "it could not be removed there: schedule its deletion");
        }
        Err(BackendError::OtherAccount { found: made.account.clone(), wanted: client.account().to_string() })
    }

    /// Looks for a key of this name, and the same tags, that KMS made and did not say so, until KMS must know it everywhere.
    fn unanswered(&self, name: &Name, until: Instant) -> Option<KeyReference> {
        let until = until.min(Instant::now() + keys::MADE_TIME_MAX);
        loop {
            if let Ok([(left, found)]) = self.labelled(&name.label, until).as_deref()
                && found == name
                && keys::check_tags(&self.service, left, name, until).is_ok()
            {
                return Some(left.clone());
            }
            if Instant::now() >= until {
                return None;
            }
            thread::sleep(keys::LOOK_AGAIN_AFTER);
        }
    }

    fn labelled(&self, label: &KeyLabel, until: Instant) -> Result<Vec<(KeyReference, Name)>, BackendError> {
        let mut named = keys::names(&self.service, until)?;
        named.retain(|(reference, _)| reference.label() == label);
        Ok(named)
    }
}

/// Once more where KMS or the way to it failed and there is time: for work that may be done twice. The work ends at the instant that it is given.
fn twice<T>(within: Duration, work: impl Fn(Instant) -> Result<T, BackendError>) -> Result<T, BackendError> {
    let until = Instant::now() + within;
    match work(until) {
        Err(error) if error.may_pass() && Instant::now() < until => {
            tracing::warn!(%error, "AWS KMS failed; once more");
            work(until)
        }
        result => result,
    }
}

impl Backend for Region {
    fn generate(&self, request: &KeyRequest) -> Result<NewKey, BackendError> {
        let remove =
            |reference: &KeyReference| ending::remove(&self.service, reference, Instant::now() + REMOVE_TIME_MAX);
        self.making.make(request, |begun| self.make(request, begun), remove)
    }

    fn open(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<PublicKey, BackendError> {
        twice(OPERATE_TIME_MAX, |until| {
            let found = keys::find(&self.service, reference, expected, until)?;
            keys::check(&self.service, &found, reference)?;
            keys::check_tags(&self.service, reference, &found.name, until).map(|()| found.public)
        })
    }

    fn inspect(&self, reference: &KeyReference, purpose: KeyPurpose) -> Result<PublicKey, BackendError> {
        twice(OPERATE_TIME_MAX, |until| {
            let found = keys::find_unproven(&self.service, reference, until)?;
            keys::check_purpose(&found, reference, purpose)?;
            keys::check(&self.service, &found, reference)?;
            keys::check_tags(&self.service, reference, &found.name, until).map(|()| found.public)
        })
    }

    /// Schedules its deletion, and reads back that it is scheduled: from then on the key signs nothing, and is gone after the configured days. That it
    /// is scheduled already is as good. A key that is not there is an error, which nobody can take for its end.
    fn destroy(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<(), BackendError> {
        twice(OPERATE_TIME_MAX, |until| ending::destroy(&self.service, reference, expected, until))
    }

    fn guards(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Guard>, BackendError> {
        twice(OPERATE_TIME_MAX, |until| {
            let found = keys::find(&self.service, reference, expected, until)?;
            Ok(keys::guards(&self.service, &found))
        })
    }

    /// KMS signs nothing over its keys.
    fn attest(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Vec<u8>>, BackendError> {
        twice(OPERATE_TIME_MAX, |until| keys::find(&self.service, reference, expected, until).map(|_| Vec::new()))
    }

    fn change_pin(&self, _: &SecretString) -> Result<(), BackendError> {
        let detail = "credentials of AWS are changed in IAM, and in the file that the configuration names".to_owned();
        Err(BackendError::Configuration { detail })
    }

    fn clear(&self, label: &KeyLabel) -> Result<usize, BackendError> {
        let cleared = Cell::new(0);
        twice(OPERATE_TIME_MAX, |until| ending::clear(&self.service, label, until, &cleared))?;
        Ok(cleared.get())
    }

    fn list(&self) -> Result<Vec<KeyReference>, BackendError> {
        let named = twice(LIST_TIME_MAX, |until| keys::names(&self.service, until))?;
        Ok(named.into_iter().map(|(reference, _)| reference).collect())
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), BackendError> {
        bytes.chunks_mut(RANDOM_BYTES_MAX).try_for_each(|part| {
            let drawn = twice(PROBE_TIME_MAX, |until| {
                self.service.client.random(part.len(), keys::left(until)).map_err(failed)
            })?;
            part.copy_from_slice(&drawn);
            Ok(())
        })
    }

    /// Draws a random byte: it needs the way there, credentials, and no key.
    fn health(&self) -> Result<(), BackendError> {
        self.service.client.random(1, PROBE_TIME_MAX).map(drop).map_err(failed)
    }

    fn describe(&self) -> Description {
        Description {
            kind: "aws-kms",
            path: self.service.client.place().to_string(),
            token_serial: self.service.client.account().to_string(),
            manufacturer: "AWS KMS".to_owned(),
            ends: format!("a destroyed key signs nothing and is deleted after {} days", self.service.deletion_days),
            ..Description::default()
        }
    }

    fn pin_is_refused(&self) -> bool {
        // Nothing locks: credentials that are refused are read again.
        false
    }

    fn close(&self) {}

    fn signer(&self) -> Box<dyn Signer> {
        Box::new(CallSigner::new(&self.service))
    }

    fn wrapping(&self) -> Option<&dyn Wrapping> {
        None
    }

    fn never_signs(&self, algorithm: SignatureAlgorithm, message_bytes: usize) -> Option<String> {
        aws_kms_never_signs(algorithm, message_bytes)
    }
}
