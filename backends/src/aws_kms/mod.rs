//! Keys in AWS KMS.
//!
//! A key's name is its id, which KMS gives, and its label, which stands with its purpose in the description and the tags that it was made with, in one
//! call. What guards it is that KMS made it, keeps it in one region, and uses it to sign and for nothing else; who may use it stands in IAM, and is
//! not an attribute of the key. There are no sessions: as many calls are in flight as there are threads that sign, and two for everything else.

mod failure;
mod keys;
mod name;
mod signer;

use std::{cell::Cell, sync::Arc, time::Duration};

use hallmark_aws_kms::{Account, Client, Credentials, RANDOM_BYTES_MAX};
use hallmark_policy::key::{PublicKey, SpkiDigest};
use secrecy::SecretString;

pub use self::keys::{aws_kms_guards, aws_kms_kinds};
use self::{failure::failed, name::Name, signer::CallSigner};
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

/// Longest time for one call, in each kind of thing. Each is shorter than what whoever asks waits for.
const OPERATE_TIME_MAX: Duration = Duration::from_secs(3);
const MAKE_TIME_MAX: Duration = Duration::from_secs(30);
const LIST_TIME_MAX: Duration = Duration::from_secs(9);
const PROBE_TIME_MAX: Duration = Duration::from_millis(1_500);

/// The way to KMS, and what is meant there.
struct Service {
    client: Client,
    account: Account,
    deletion_days: u8,
}

/// An account's keys in a region.
pub(crate) struct Region {
    service: Arc<Service>,
    making: Making,
}

/// Opens the way to KMS, and sees that it answers to these credentials.
pub(crate) fn open(config: AwsKmsConfig) -> Result<Opened, BackendError> {
    config.check()?;
    let AwsKmsConfig { place, account, credentials, profile, sessions, deletion_days } = config;
    let client = Client::new(place, Credentials::new(credentials, &profile)).map_err(failed)?;
    let service = Arc::new(Service { client, account, deletion_days });
    // The first call resolves a name and makes a connection, and whoever starts waits longer than for a look at the health.
    twice(|| service.client.random(1, OPERATE_TIME_MAX).map_err(failed))?;
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
        let service = &self.service;
        if !self.labelled(&request.label)?.is_empty() {
            return Err(BackendError::LabelTaken { label: request.label.to_string() });
        }
        let name = Name { purpose: request.purpose, label: request.label.clone() };
        let created = service.client.create(&keys::asked(&name, request.kind)?, MAKE_TIME_MAX);
        let created = created.map_err(|error| {
            if !error.was_not_done()
                && let Ok([(left, _)]) = self.labelled(&request.label).as_deref()
            {
                // It is there, and the answer was lost.
                begun.set(Some(left.clone()));
            }
            failed(error)
        })?;
        let Some(id) = hallmark_aws_kms::KeyId::parse(&created.id) else {
            let failure =
                crate::class::Failure { call: "CreateKey".to_owned(), answer: format!("the id `{}`", created.id) };
            return Err(BackendError::Broken { failure });
        };
        let reference = KeyReference::aws_kms(id, request.label.clone());
        begun.set(Some(reference.clone()));
        let found = keys::settled(|| keys::find_unproven(service, &reference, OPERATE_TIME_MAX))?;
        keys::check(service, &found, &reference)?;
        keys::check_tags(service, &found, &reference, OPERATE_TIME_MAX)?;
        keys::check_purpose(&found, &reference, request.purpose)?;
        if found.public.kind() == request.kind {
            return Ok(NewKey { reference, public: found.public });
        }
        let (found, wanted) = (found.public.kind().to_string(), request.kind.to_string());
        Err(BackendError::WrongAttribute { key: reference, attribute: "KeySpec", found, wanted })
    }

    /// Removes a key of this name, if there is one.
    fn remove(&self, reference: &KeyReference) -> Result<(), BackendError> {
        match keys::find_unproven(&self.service, reference, OPERATE_TIME_MAX) {
            Err(BackendError::KeyNotFound { .. }) => Ok(()),
            // One that signs nothing is still there.
            Err(error) if error.may_pass() => Err(error),
            Ok(_) | Err(_) => keys::end(&self.service, reference, OPERATE_TIME_MAX),
        }
    }

    fn labelled(&self, label: &KeyLabel) -> Result<Vec<(KeyReference, KeyPurpose)>, BackendError> {
        let mut named = keys::names(&self.service, LIST_TIME_MAX)?;
        named.retain(|(reference, _)| reference.label() == label);
        Ok(named)
    }
}

/// Once more where KMS or the way to it failed: for work that may be done twice.
fn twice<T>(work: impl Fn() -> Result<T, BackendError>) -> Result<T, BackendError> {
    match work() {
        Err(error) if error.may_pass() => {
            tracing::warn!(%error, "AWS KMS failed; once more");
            work()
        }
        result => result,
    }
}

impl Backend for Region {
    fn generate(&self, request: &KeyRequest) -> Result<NewKey, BackendError> {
        self.making.make(request, |begun| self.make(request, begun), |reference| self.remove(reference))
    }

    fn open(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<PublicKey, BackendError> {
        twice(|| {
            let found = keys::find(&self.service, reference, expected, OPERATE_TIME_MAX)?;
            keys::check(&self.service, &found, reference)?;
            keys::check_tags(&self.service, &found, reference, OPERATE_TIME_MAX).map(|()| found.public)
        })
    }

    fn inspect(&self, reference: &KeyReference, purpose: KeyPurpose) -> Result<PublicKey, BackendError> {
        twice(|| {
            let found = keys::find_unproven(&self.service, reference, OPERATE_TIME_MAX)?;
            keys::check_purpose(&found, reference, purpose)?;
            keys::check(&self.service, &found, reference)?;
            keys::check_tags(&self.service, &found, reference, OPERATE_TIME_MAX).map(|()| found.public)
        })
    }

    /// Schedules its deletion, and reads back that it is scheduled: from then on the key signs nothing, and is gone after the configured days.
    fn destroy(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<(), BackendError> {
        let begun = Cell::new(false);
        twice(|| {
            let found = match keys::find(&self.service, reference, expected, OPERATE_TIME_MAX) {
                Err(BackendError::KeyNotFound { .. }) if begun.get() => return Ok(()),
                found => found?,
            };
            keys::check_tags(&self.service, &found, reference, OPERATE_TIME_MAX)?;
            if found.name.purpose != KeyPurpose::Epoch {
                return Err(BackendError::NotDestroyable { key: reference.clone() });
            }
            begun.set(true);
            keys::end(&self.service, reference, OPERATE_TIME_MAX)
        })
    }

    fn guards(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Guard>, BackendError> {
        twice(|| {
            let found = keys::find(&self.service, reference, expected, OPERATE_TIME_MAX)?;
            Ok(keys::guards(&self.service, &found))
        })
    }

    /// KMS signs nothing over its keys.
    fn attest(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Vec<u8>>, BackendError> {
        twice(|| keys::find(&self.service, reference, expected, OPERATE_TIME_MAX).map(|_| Vec::new()))
    }

    fn change_pin(&self, _: &SecretString) -> Result<(), BackendError> {
        let detail = "credentials of AWS are changed in IAM, and in the file that the configuration names".to_owned();
        Err(BackendError::Configuration { detail })
    }

    fn clear(&self, label: &KeyLabel) -> Result<usize, BackendError> {
        let cleared = Cell::new(0);
        twice(|| {
            let left = self.labelled(label)?;
            if let Some((key, _)) = left.iter().find(|(_, purpose)| *purpose != KeyPurpose::Epoch) {
                return Err(BackendError::NotDestroyable { key: key.clone() });
            }
            // A second attempt finds what the first left.
            cleared.set(cleared.get().max(left.len()));
            left.iter().try_for_each(|(key, _)| keys::end(&self.service, key, OPERATE_TIME_MAX))?;
            Ok(cleared.get())
        })
    }

    fn list(&self) -> Result<Vec<KeyReference>, BackendError> {
        twice(|| Ok(keys::names(&self.service, LIST_TIME_MAX)?.into_iter().map(|(reference, _)| reference).collect()))
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), BackendError> {
        bytes.chunks_mut(RANDOM_BYTES_MAX).try_for_each(|part| {
            let drawn = twice(|| self.service.client.random(part.len(), PROBE_TIME_MAX).map_err(failed))?;
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
            token_serial: self.service.account.to_string(),
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
}
