//! A session with a device, and the commands in it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use yubihsm::{Capability, Client, Domain, asymmetric::Algorithm as TheirAlgorithm, client, object};

use crate::{
    chain::{self, CommandLog, LogEntry},
    error::Error,
    object::{DeviceInfo, NewKey, Object, PublicPart},
};

/// How long a session may be idle; one that was for longer is taken to be over. The device ends it after 30 s.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(25);

/// Commands after which a session is taken to be over. The library sends no more than 1,048,576 in one and fails at the next, which looks like an
/// answer that was lost; so it is ended at half of that, and what was begun before has the other half.
pub const COMMANDS_MAX: u32 = 1 << 19;

/// Longest message that is signed with EdDSA, in bytes: it goes to the device as it is, in one command.
pub const EDDSA_MESSAGE_BYTES_MAX: usize = 2_000;

/// Most random bytes of one command.
pub const RANDOM_BYTES_MAX: usize = 1_024;

/// The device's own certificate, which its maker signed, is the opaque object of this number.
const OWN_CERTIFICATE: u16 = 0;

/// A way to a device, which opens sessions.
pub trait Way: Send + Sync {
    /// Opens a session with the configured authentication key. The password is tried once for each call.
    ///
    /// # Errors
    /// See [`Error`].
    fn open(&self) -> Result<Box<dyn Session>, Error>;

    /// Where it leads, for people.
    fn place(&self) -> String;
}

/// What is signed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing<'a> {
    /// ECDSA over this digest.
    EcdsaDigest(&'a [u8]),
    /// EdDSA over this message, at most [`EDDSA_MESSAGE_BYTES_MAX`].
    EddsaMessage(&'a [u8]),
    /// RSASSA-PKCS1-v1_5 with SHA-256 over this message, which is hashed here.
    Pkcs1Sha256Message(&'a [u8]),
}

/// A session. All calls block; each is one command, and is not sent again.
///
/// A call that failed otherwise than with [`Error::Device`] or [`Error::Unsupported`] leaves the session in doubt: drop it. The library closes none; the
/// device ends it when it was idle for 30 s.
pub trait Session: Send {
    /// Whether it can be used: it was not idle for too long, and was not sent too many commands.
    fn is_open(&self) -> bool;
    /// GET DEVICE INFO.
    ///
    /// # Errors
    /// See [`Error`].
    fn device(&mut self) -> Result<DeviceInfo, Error>;
    /// GET OBJECT INFO of an authentication key.
    ///
    /// # Errors
    /// See [`Error`].
    fn authentication_key(&mut self, id: u16) -> Result<Object, Error>;
    /// GET OBJECT INFO of an asymmetric key.
    ///
    /// # Errors
    /// See [`Error`].
    fn key(&mut self, id: u16) -> Result<Object, Error>;
    /// LIST OBJECTS: the numbers of the asymmetric keys that the session sees, of that label if there is one.
    ///
    /// # Errors
    /// See [`Error`].
    fn keys(&mut self, label: Option<&[u8]>) -> Result<Vec<u16>, Error>;
    /// GET PUBLIC KEY.
    ///
    /// # Errors
    /// See [`Error`].
    fn public_key(&mut self, id: u16) -> Result<PublicPart, Error>;
    /// GENERATE ASYMMETRIC KEY.
    ///
    /// # Errors
    /// See [`Error`].
    fn generate(&mut self, key: &NewKey) -> Result<(), Error>;
    /// DELETE OBJECT, of an asymmetric key.
    ///
    /// # Errors
    /// See [`Error`].
    fn delete(&mut self, id: u16) -> Result<(), Error>;
    /// SIGN ECDSA (the answer is DER), SIGN EDDSA, SIGN PKCS1.
    ///
    /// # Errors
    /// See [`Error`].
    fn sign(&mut self, id: u16, signing: Signing<'_>) -> Result<Vec<u8>, Error>;
    /// GET PSEUDO RANDOM: that many bytes, at most [`RANDOM_BYTES_MAX`].
    ///
    /// # Errors
    /// See [`Error`].
    fn random(&mut self, bytes: usize) -> Result<Vec<u8>, Error>;
    /// SIGN ATTESTATION CERTIFICATE by the device's own attestation key: a certificate for a key, DER.
    ///
    /// # Errors
    /// See [`Error`].
    fn attest(&mut self, id: u16) -> Result<Vec<u8>, Error>;
    /// GET OPAQUE: the certificate of the device's own attestation key, DER.
    ///
    /// # Errors
    /// See [`Error`].
    fn own_certificate(&mut self) -> Result<Vec<u8>, Error>;
    /// GET LOG ENTRIES.
    ///
    /// # Errors
    /// See [`Error`].
    fn log(&mut self) -> Result<CommandLog, Error>;
    /// SET LOG INDEX: entries up to that number are read, and their room is free.
    ///
    /// # Errors
    /// See [`Error`].
    fn log_was_read(&mut self, number: u16) -> Result<(), Error>;
}

/// A session of the library.
pub(crate) struct Opened {
    client: Client,
    place: String,
    used: Used,
}

/// How a session was used.
struct Used {
    last: Instant,
    commands: u32,
}

impl Used {
    fn now() -> Self {
        Self { last: Instant::now(), commands: 0 }
    }

    fn is_idle(&self) -> bool {
        self.last.elapsed() >= IDLE_TIME_MAX
    }

    /// Whether something may be begun in it.
    fn is_open(&self) -> bool {
        !self.is_idle() && self.commands < COMMANDS_MAX
    }

    /// One more command is sent.
    fn sends(&mut self) {
        *self = Self { last: Instant::now(), commands: self.commands.saturating_add(1) };
    }
}

impl Opened {
    pub(crate) fn new(client: Client, place: String) -> Self {
        Self { client, place, used: Used::now() }
    }

    fn run<T>(
        &mut self,
        command: &'static str,
        work: impl FnOnce(&Client) -> Result<T, client::Error>,
    ) -> Result<T, Error> {
        if self.used.is_idle() {
            return Err(Error::SessionLost { command, detail: "it was idle for too long".to_owned() });
        }
        self.used.sends();
        guarded(command, &self.place, || work(&self.client))
    }
}

/// Calls into the library, which ends by a panic where it meets what it does not know.
pub(crate) fn guarded<T>(
    command: &'static str,
    place: &str,
    work: impl FnOnce() -> Result<T, client::Error>,
) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(answered) => answered.map_err(|error| Error::of(command, place, &error)),
        Err(_) => Err(Error::Panicked { command }),
    }
}

impl Session for Opened {
    fn is_open(&self) -> bool {
        self.used.is_open()
    }

    fn device(&mut self) -> Result<DeviceInfo, Error> {
        self.run(DeviceInfo::COMMAND, Client::device_info).map(Into::into)
    }

    fn authentication_key(&mut self, id: u16) -> Result<Object, Error> {
        let kind = object::Type::AuthenticationKey;
        self.run("GET OBJECT INFO", |client| client.get_object_info(id, kind)).map(Into::into)
    }

    fn key(&mut self, id: u16) -> Result<Object, Error> {
        let kind = object::Type::AsymmetricKey;
        self.run("GET OBJECT INFO", |client| client.get_object_info(id, kind)).map(Into::into)
    }

    fn keys(&mut self, label: Option<&[u8]>) -> Result<Vec<u16>, Error> {
        let mut filters = vec![object::Filter::Type(object::Type::AsymmetricKey)];
        filters.extend(label.map(theirs).transpose()?.map(object::Filter::Label));
        let found = self.run("LIST OBJECTS", |client| client.list_objects(&filters))?;
        Ok(found.into_iter().map(|entry| entry.object_id).collect())
    }

    fn public_key(&mut self, id: u16) -> Result<PublicPart, Error> {
        let key = self.run("GET PUBLIC KEY", |client| client.get_public_key(id))?;
        Ok(PublicPart { algorithm: crate::Algorithm::of(key.algorithm.to_u8()), bytes: key.bytes })
    }

    fn generate(&mut self, key: &NewKey) -> Result<(), Error> {
        let NewKey { id, label, algorithm, capabilities, domains } = key;
        let label = theirs(label)?;
        let algorithm: TheirAlgorithm =
            algorithm.theirs().ok_or(Error::Unsupported { what: "a key of this algorithm" })?;
        let domains = Domain::from_bits_truncate(domains.bits());
        let capabilities = Capability::from_bits_truncate(capabilities.bits());
        let generate = |client: &Client| client.generate_asymmetric_key(*id, label, domains, capabilities, algorithm);
        self.run("GENERATE ASYMMETRIC KEY", generate).map(drop)
    }

    fn delete(&mut self, id: u16) -> Result<(), Error> {
        self.run("DELETE OBJECT", |client| client.delete_object(id, object::Type::AsymmetricKey))
    }

    fn sign(&mut self, id: u16, signing: Signing<'_>) -> Result<Vec<u8>, Error> {
        match signing {
            Signing::EcdsaDigest(digest) => self.run("SIGN ECDSA", |client| client.sign_ecdsa_prehash_raw(id, digest)),
            Signing::EddsaMessage(message) if message.len() > EDDSA_MESSAGE_BYTES_MAX => {
                Err(Error::Unsupported { what: "an EdDSA signature over a message of more than 2,000 bytes" })
            }
            Signing::EddsaMessage(message) => {
                let signature = self.run("SIGN EDDSA", |client| client.sign_ed25519(id, message))?;
                Ok(signature.to_bytes().to_vec())
            }
            Signing::Pkcs1Sha256Message(message) => {
                self.run("SIGN PKCS1", |client| client.sign_rsa_pkcs1v15_sha256(id, message)).map(Into::into)
            }
        }
    }

    fn random(&mut self, bytes: usize) -> Result<Vec<u8>, Error> {
        let drawn = self.run("GET PSEUDO RANDOM", |client| client.get_pseudo_random(bytes.min(RANDOM_BYTES_MAX)))?;
        if drawn.len() == bytes {
            return Ok(drawn);
        }
        let detail = format!("{} bytes came, and {bytes} were asked for", drawn.len());
        Err(Error::SessionLost { command: "GET PSEUDO RANDOM", detail })
    }

    fn attest(&mut self, id: u16) -> Result<Vec<u8>, Error> {
        let attest = |client: &Client| client.sign_attestation_certificate(id, None);
        self.run("SIGN ATTESTATION CERTIFICATE", attest).map(Into::into)
    }

    fn own_certificate(&mut self) -> Result<Vec<u8>, Error> {
        self.run("GET OPAQUE", |client| client.get_opaque(OWN_CERTIFICATE))
    }

    fn log(&mut self) -> Result<CommandLog, Error> {
        let log = self.run("GET LOG ENTRIES", Client::get_log_entries)?;
        let entries: Vec<_> = log
            .entries
            .into_iter()
            .map(|entry| LogEntry {
                number: entry.item,
                command: entry.cmd.to_u8(),
                length: entry.length,
                session_key: entry.session_key,
                target_key: entry.target_key,
                second_key: entry.second_key,
                result: chain::answered(entry.result),
                tick: entry.tick,
                digest: entry.digest.0,
            })
            .collect();
        Ok(CommandLog {
            unlogged_boots: log.unlogged_boot_events,
            unlogged_authentications: log.unlogged_auth_events,
            unread: usize::from(log.num_entries).saturating_sub(entries.len()),
            entries,
        })
    }

    fn log_was_read(&mut self, number: u16) -> Result<(), Error> {
        self.run("SET LOG INDEX", |client| client.set_log_index(number))
    }
}

fn theirs(label: &[u8]) -> Result<object::Label, Error> {
    object::Label::from_bytes(label).map_err(|_| Error::Unsupported { what: "a label of more than 40 bytes" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `MAX_COMMANDS_PER_SESSION` of the library, which does not tell it.
    const OF_THE_LIBRARY: u32 = 0x10_0000;

    #[test]
    fn a_session_is_over_long_before_the_library_ends_it_in_the_middle_of_a_command() {
        let mut used = Used::now();
        for sent in 0..COMMANDS_MAX {
            assert!(used.is_open(), "after {sent}");
            used.sends();
        }
        assert!(!used.is_open());
        // What was begun in it goes on, and has as many commands again.
        assert!(!used.is_idle());
        assert!(OF_THE_LIBRARY - used.commands >= COMMANDS_MAX);
    }

    #[test]
    fn a_session_that_was_idle_for_too_long_is_over() {
        let idle = Instant::now().checked_sub(IDLE_TIME_MAX).unwrap();
        let used = Used { last: idle, commands: 1 };
        assert!(used.is_idle() && !used.is_open());
    }
}
