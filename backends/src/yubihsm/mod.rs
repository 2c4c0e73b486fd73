//! Keys in a YubiHSM 2.
//!
//! A key has a number and a label, both in its reference. What guards it are its capabilities (one: to sign in its way), its origin (generated here) and
//! its domains, read back and compared whenever a session meets the key first.

mod access;
mod failure;
mod finding;
mod found;
mod held;
mod keys;
mod label;
mod least;
mod log;
mod record;
mod signer;
mod tally;

#[cfg(test)]
pub(crate) mod manual;
#[cfg(test)]
mod tests;

use std::{cell::Cell, sync::Arc};

use hallmark_policy::key::{PublicKey, SignatureAlgorithm, SpkiDigest};
use hallmark_yubihsm::{Capabilities, Connector, DeviceInfo, Domains, RANDOM_BYTES_MAX, SESSIONS_OF_A_DEVICE};
use secrecy::SecretString;

use self::{
    access::{Access, Place},
    held::Held,
    least::Duty,
    signer::SessionSigner,
};
pub use self::{
    found::{DEVICE_LOG_FINDINGS, DeviceLogAlarm, DeviceLogFindings},
    keys::{yubihsm_guards, yubihsm_kinds},
    least::yubihsm_needs,
    record::CommandLogFile,
    signer::yubihsm_never_signs,
};
use crate::{
    backend::{Backend, Description, Guard, KeyPurpose, KeyRequest, NewKey, Signer, Wrapping},
    config::{CommandLogUse, YubiHsmConfig},
    error::BackendError,
    holder::Opened,
    making::Making,
    reference::{KeyLabel, KeyReference},
};

/// Sessions that are opened beside those that sign: for keys, for random numbers and health, and for the command log.
pub const SESSIONS_BESIDE: usize = 3;

/// Most signing sessions; one of a device's is left to its operators.
pub const YUBIHSM_SESSIONS_MAX: usize = SESSIONS_OF_A_DEVICE - SESSIONS_BESIDE - 1;

/// How often a number is drawn for a new key, where all others were taken.
const NUMBERS_DRAWN_MAX: usize = 32;

/// A device, with a session that makes, opens and destroys keys and one that draws random numbers and answers for its health.
pub(crate) struct Device {
    access: Arc<Access>,
    keys: Place,
    probe: Place,
    what: DeviceInfo,
    may_attest: bool,
    making: Making,
}

/// Opens a device and its signing sessions, one after another; the first failure ends it.
pub(crate) fn open(config: YubiHsmConfig) -> Result<Opened, BackendError> {
    let (domains, accepted) = config.meant()?;
    let YubiHsmConfig { connector, authentication_key, password, sessions, command_log, kinds, findings, .. } = config;
    let way = Box::new(Connector::new(connector, authentication_key, &password));
    let duty = Duty::new(kinds.as_deref(), command_log != CommandLogUse::Off, accepted);
    open_way(Access::new(way, authentication_key, domains, duty, command_log, findings), sessions)
}

fn open_way(access: Arc<Access>, sessions: usize) -> Result<Opened, BackendError> {
    let device: Arc<dyn Backend> = Arc::new(Device::open(&access)?);
    let mut signers: Vec<_> = (0..sessions).map(|_| device.signer()).collect();
    signers.iter_mut().try_for_each(|signer| signer.connect())?;
    log::start(&access)?;
    Ok((device, signers))
}

impl YubiHsmConfig {
    /// What is wrong with it, as far as that can be told without the device.
    ///
    /// # Errors
    /// [`BackendError::Configuration`].
    pub fn check(&self) -> Result<(), BackendError> {
        self.meant().map(drop)
    }

    fn meant(&self) -> Result<(Domains, Capabilities), BackendError> {
        let refused = |detail: String| BackendError::Configuration { detail };
        if !(1..=YUBIHSM_SESSIONS_MAX).contains(&self.sessions) {
            return Err(refused(format!(
                "`sessions` is {}; write 1 to {YUBIHSM_SESSIONS_MAX} for a YubiHSM, which has {SESSIONS_OF_A_DEVICE} in all",
                self.sessions
            )));
        }
        let domains = Domains::of(&self.domains)
            .ok_or_else(|| refused("`domains` is empty or has another number than 1 to 16".to_owned()))?;
        let accepted = self.accepted.iter().try_fold(Capabilities::NONE, |all, name| {
            let unknown = || refused(format!("`accept-capabilities` names `{name}`, which is none that a YubiHSM has"));
            Capabilities::named(name).map(|one| all.and(one)).ok_or_else(unknown)
        });
        Ok((domains, accepted?))
    }
}

/// Whether somebody takes connections where a YubiHSM's connector should be. Nothing is said to it; of USB nothing is asked.
///
/// # Errors
/// [`BackendError::ConnectorGone`].
pub fn look_for_connector(place: &hallmark_yubihsm::Place) -> Result<(), BackendError> {
    hallmark_yubihsm::probe(place).map_err(failure::failed)
}

impl Device {
    fn open(access: &Arc<Access>) -> Result<Self, BackendError> {
        let (keys, probe) = (Place::default(), Place::default());
        let (what, found) = keys.run(access, |held| access.look(held))?;
        if !found.accepted.is_empty() {
            tracing::warn!(
                capabilities = %found.accepted,
                authentication_key = access.key,
                "the authentication key can do more than it needs to, and somebody accepted that"
            );
        }
        if !found.idle.is_empty() {
            tracing::warn!(
                capabilities = %found.idle,
                authentication_key = access.key,
                "the authentication key can do what this configuration has no use for; put one that cannot (docs/devices/yubihsm2.md)"
            );
        }
        let attests = Capabilities::SIGN_ATTESTATION_CERTIFICATE.and(Capabilities::GET_OPAQUE);
        let may_attest = found.has.has(attests);
        probe.run(access, |_| Ok(()))?;
        Ok(Self { access: Arc::clone(access), keys, probe, what, may_attest, making: Making::default() })
    }

    /// Makes a key, reads it back and checks it. `begun` says what may be in the device from when it was asked.
    fn make(
        &self,
        held: &mut Held<'_>,
        request: &KeyRequest,
        begun: &Cell<Option<KeyReference>>,
    ) -> Result<NewKey, BackendError> {
        let numbers = keys::numbers(request.purpose).ok_or_else(keys::not_wrapped)?;
        let stored = label::stored(&request.label)?;
        if !keys::names(held, Some(&stored))?.is_empty() {
            return Err(BackendError::LabelTaken { label: request.label.to_string() });
        }
        let taken = held.call(|session| session.keys(None))?;
        let mut free = None;
        for _ in 0..NUMBERS_DRAWN_MAX {
            let drawn = held.call(|session| session.random(2))?;
            let drawn = drawn.iter().fold(0, |number, byte| number << 8 | u16::from(*byte));
            let id = numbers.start() + drawn % (numbers.end() - numbers.start() + 1);
            if !taken.contains(&id) {
                free = Some(id);
                break;
            }
        }
        let id = free.ok_or_else(|| BackendError::Incapable { what: "one more key".to_owned() })?;
        let reference = KeyReference::yubihsm(id, request.label.clone());
        begun.set(Some(reference.clone()));
        keys::generate(held, id, (&request.label, request.kind), self.access.domains)?;
        let found = keys::find_unproven(held, &reference)?;
        keys::check(&found, &reference, self.access.domains)?;
        if found.public.kind() == request.kind {
            return Ok(NewKey { reference, public: found.public });
        }
        let (found, wanted) = (found.public.kind().to_string(), request.kind.to_string());
        Err(BackendError::WrongAttribute { key: reference, attribute: "algorithm", found, wanted })
    }
}

/// Deletes a key of this name, if there is one.
fn remove(held: &mut Held<'_>, reference: &KeyReference) -> Result<(), BackendError> {
    match keys::find_unproven(held, reference) {
        Err(BackendError::KeyNotFound { .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => delete(held, reference),
    }
}

fn delete(held: &mut Held<'_>, reference: &KeyReference) -> Result<(), BackendError> {
    let id = reference.yubihsm_id().ok_or(crate::reference::KeyReferenceError::OtherBackend)?;
    match held.call(|session| session.delete(id)) {
        // By an earlier attempt, whose answer was lost.
        Err(BackendError::HandleLost { .. }) => Ok(()),
        deleted => deleted,
    }
}

impl Backend for Device {
    fn generate(&self, request: &KeyRequest) -> Result<NewKey, BackendError> {
        self.making.make(
            request,
            |begun| self.keys.run(&self.access, |held| self.make(held, request, begun)),
            |reference| self.keys.run(&self.access, |held| remove(held, reference)),
        )
    }

    fn open(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<PublicKey, BackendError> {
        self.keys.run_twice(&self.access, |held| {
            let found = keys::find(held, reference, expected)?;
            keys::check(&found, reference, self.access.domains).map(|()| found.public)
        })
    }

    fn inspect(&self, reference: &KeyReference, purpose: KeyPurpose) -> Result<PublicKey, BackendError> {
        self.keys.run_twice(&self.access, |held| {
            let found = keys::find_unproven(held, reference)?;
            keys::check_purpose(reference, purpose)?;
            keys::check(&found, reference, self.access.domains).map(|()| found.public)
        })
    }

    fn destroy(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<(), BackendError> {
        let begun = Cell::new(false);
        self.keys.run_twice(&self.access, |held| {
            match keys::find(held, reference, expected) {
                Err(BackendError::KeyNotFound { .. }) if begun.get() => return Ok(()),
                found => drop(found?),
            }
            if !reference.yubihsm_id().is_some_and(keys::is_destroyable) {
                return Err(BackendError::NotDestroyable { key: reference.clone() });
            }
            begun.set(true);
            delete(held, reference)
        })
    }

    fn guards(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Guard>, BackendError> {
        self.keys.run_twice(&self.access, |held| Ok(keys::guards(&keys::find(held, reference, expected)?)))
    }

    /// The certificate that the device's own attestation key signed over this key, and the one that its maker signed over that. None where the
    /// authentication key may not have them made.
    fn attest(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Vec<u8>>, BackendError> {
        self.keys.run_twice(&self.access, |held| {
            let found = keys::find(held, reference, expected)?;
            let id = reference.yubihsm_id().filter(|_| self.may_attest);
            let Some(id) = id else { return Ok(Vec::new()) };
            let own = held.call(|session| session.attest(id))?;
            // The key must be in it, in whatever form; what else it says, those read who verify it.
            if !contains(&own, found.public.raw()) {
                return Err(BackendError::OtherAttested { key: reference.clone() });
            }
            Ok(vec![own, held.call(|session| session.own_certificate())?])
        })
    }

    fn change_pin(&self, _: &SecretString) -> Result<(), BackendError> {
        let detail = "the password of an authentication key is changed with yubihsm-shell (change authkey)".to_owned();
        Err(BackendError::Configuration { detail })
    }

    fn clear(&self, label: &KeyLabel) -> Result<usize, BackendError> {
        let stored = label::stored(label)?;
        let cleared = Cell::new(0);
        self.keys.run_twice(&self.access, |held| {
            let left = keys::names(held, Some(&stored))?;
            if let Some(key) = left.iter().find(|key| !key.yubihsm_id().is_some_and(keys::is_destroyable)) {
                return Err(BackendError::NotDestroyable { key: key.clone() });
            }
            // A second attempt finds what the first left.
            cleared.set(cleared.get().max(left.len()));
            left.iter().try_for_each(|key| delete(held, key))?;
            Ok(cleared.get())
        })
    }

    fn list(&self) -> Result<Vec<KeyReference>, BackendError> {
        self.keys.run_twice(&self.access, |held| keys::names(held, None))
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), BackendError> {
        bytes.chunks_mut(RANDOM_BYTES_MAX).try_for_each(|part| {
            let drawn = self.probe.run_twice(&self.access, |held| held.call(|session| session.random(part.len())))?;
            part.copy_from_slice(&drawn);
            Ok(())
        })
    }

    fn health(&self) -> Result<(), BackendError> {
        self.probe.run_twice(&self.access, |held| held.call(|session| session.device()).map(drop))
    }

    fn describe(&self) -> Description {
        Description {
            kind: "yubihsm",
            path: self.access.place(),
            token_serial: self.what.serial.clone(),
            manufacturer: "Yubico YubiHSM 2".to_owned(),
            firmware: self.what.firmware.clone(),
            ..Description::default()
        }
    }

    fn pin_is_refused(&self) -> bool {
        self.access.password_is_refused()
    }

    fn close(&self) {
        self.access.read_log.end();
        self.keys.close();
        self.probe.close();
    }

    fn signer(&self) -> Box<dyn Signer> {
        Box::new(SessionSigner::new(&self.access))
    }

    fn wrapping(&self) -> Option<&dyn Wrapping> {
        None
    }

    fn never_signs(&self, algorithm: SignatureAlgorithm, message_bytes: usize) -> Option<String> {
        yubihsm_never_signs(algorithm, message_bytes)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.access.read_log.end();
    }
}

fn contains(certificate: &[u8], key: &[u8]) -> bool {
    !key.is_empty() && certificate.windows(key.len()).any(|part| part == key)
}
