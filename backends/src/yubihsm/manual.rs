//! A YubiHSM 2 as its manual has it, in this process: what the mock of the client library does not show. Keys of every kind, capabilities that are held
//! to, sixteen sessions that end when they are idle, a command log with its chain, room that ends, and a device that restarts.
//!
//! It is our reading of the manual and no device: what only hardware can try stays untried.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::{
    digest::{self, Digest},
    encoding::{AsDer, PublicKeyX509Der},
    rand::{SecureRandom as _, SystemRandom},
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use hallmark_policy::key::PublicKey;
use hallmark_yubihsm::{
    Algorithm, Capabilities, CommandLog, DeviceCode, DeviceInfo, Domains, EDDSA_MESSAGE_BYTES_MAX, Error, LogEntry,
    NewKey, Object, Origin, PublicPart, SESSIONS_OF_A_DEVICE, Session, Signing, Way,
};

use super::{
    access::Access,
    found::DeviceLogFindings,
    least::{self, Duty},
    open_way,
};
use crate::{Keyring, config::CommandLogUse, error::BackendError, patience::Patience};

/// Entries of a command log.
pub(crate) const LOG_ENTRIES: usize = 62;
/// The authentication key of the signer.
pub(crate) const OWN: u16 = 2;
/// Objects that a device stores.
const OBJECTS_MAX: usize = 256;

const SIGN_PKCS1: u8 = 0x47;
const SIGN_ECDSA: u8 = 0x56;
const SIGN_EDDSA: u8 = 0x6a;
const GENERATE: u8 = 0x46;
const DELETE: u8 = 0x58;
const SET_LOG_INDEX: u8 = 0x67;
/// What a device that is to log everything does while its log is full.
const WITH_A_FULL_LOG: [&str; 3] = ["GET DEVICE INFO", "GET LOG ENTRIES", "SET LOG INDEX"];
/// Neither a key nor a session.
const NONE: u16 = 0xffff;

#[derive(Clone)]
pub(crate) struct Manual(Arc<Mutex<State>>);

pub(crate) struct State {
    keys: BTreeMap<u16, Stored>,
    pub(crate) authentication: Object,
    pub(crate) password_is_right: bool,
    pub(crate) sessions: usize,
    pub(crate) opened: usize,
    /// Grows with each restart, and ends the sessions before it.
    life: u64,
    /// Sessions were idle for too long.
    idle: u64,
    pub(crate) keeps_log: bool,
    pub(crate) force_audit: bool,
    pub(crate) log: Vec<LogEntry>,
    pub(crate) unread: usize,
    /// How often each key signed.
    signed: BTreeMap<u16, usize>,
    /// What the signer found in its log.
    pub(crate) found: DeviceLogFindings,
    /// How often the log was read.
    pub(crate) looks: usize,
    last: LogEntry,
    /// The next commands of this name are done, and their answers are lost.
    pub(crate) loses: Option<&'static str>,
    /// Attests another key than it is asked for.
    pub(crate) lies: bool,
    pub(crate) room: usize,
    pub(crate) serial: &'static str,
}

struct Stored {
    object: Object,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair, &'static digest::Algorithm),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Manual {
    pub(crate) fn new() -> Self {
        let all = least::NEEDED.and(least::USES).and(least::WELCOME);
        let authentication = Object {
            id: OWN,
            label: b"signer".to_vec(),
            algorithm: Algorithm::Other(0x26),
            capabilities: all,
            delegated: least::USES,
            domains: Domains::of(&[1]).unwrap(),
            origin: Origin::Imported,
            sequence: 0,
        };
        let first = LogEntry {
            number: 1,
            command: 0xff,
            length: NONE,
            session_key: NONE,
            target_key: NONE,
            second_key: NONE,
            result: 0xff,
            tick: u32::MAX,
            digest: [7; 16],
        };
        Self(Arc::new(Mutex::new(State {
            keys: BTreeMap::new(),
            authentication,
            password_is_right: true,
            sessions: 0,
            opened: 0,
            life: 0,
            idle: 0,
            keeps_log: true,
            force_audit: false,
            log: vec![first.clone()],
            unread: 0,
            signed: BTreeMap::new(),
            found: DeviceLogFindings::default(),
            looks: 0,
            last: first,
            loses: None,
            lies: false,
            room: OBJECTS_MAX,
            serial: "0012345678",
        })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(
        &self,
        sessions: usize,
        log: CommandLogUse,
        patience: Patience,
    ) -> Result<Keyring, BackendError> {
        self.open_accepting(sessions, log, patience, Capabilities::NONE)
    }

    pub(crate) fn open_accepting(
        &self,
        sessions: usize,
        log: CommandLogUse,
        patience: Patience,
        accepted: Capabilities,
    ) -> Result<Keyring, BackendError> {
        let duty = Duty::new(None, log != CommandLogUse::Off, accepted);
        let (way, domains) = (Box::new(self.clone()), Domains::of(&[1]).unwrap());
        let found = self.state().found.clone();
        let open = move || open_way(Access::new(way, OWN, domains, duty, log, found), sessions);
        Keyring::over("manual".to_owned(), open, patience)
    }

    /// Makes a key behind the signer's back.
    pub(crate) fn make(&self, id: u16, label: &[u8], capabilities: &[&str]) {
        let one = |name: &&str| Capabilities::named(name).unwrap();
        let capabilities = capabilities.iter().map(one).fold(Capabilities::NONE, Capabilities::and);
        let domains = Domains::of(&[1]).unwrap();
        let key = NewKey { id, label: label.to_vec(), algorithm: Algorithm::EcP256, capabilities, domains };
        self.state().store(&key);
    }

    pub(crate) fn remove(&self, id: u16) {
        self.state().keys.remove(&id).unwrap();
    }

    /// What the device has of a key, changed.
    pub(crate) fn change(&self, id: u16, change: impl FnOnce(&mut Object)) {
        change(&mut self.state().keys.get_mut(&id).unwrap().object);
    }

    pub(crate) fn keys(&self) -> Vec<u16> {
        self.state().keys.keys().copied().collect()
    }

    /// Time passes, in which nobody used a session.
    pub(crate) fn idle(&self) {
        let mut state = self.state();
        state.idle += 1;
        state.sessions = 0;
    }

    /// It is unplugged and plugged in again.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        state.life += 1;
        state.sessions = 0;
    }

    /// How often a key signed, whatever became of the log.
    pub(crate) fn signatures(&self, key: u16) -> usize {
        self.state().signed.get(&key).copied().unwrap_or_default()
    }

    /// Somebody signs with a key who has this authentication key.
    pub(crate) fn signs_for(&self, authentication_key: u16, key: u16) {
        self.state().write(SIGN_ECDSA, authentication_key, key);
    }
}

impl State {
    fn store(&mut self, key: &NewKey) {
        let (id, label) = (key.id, key.label.clone());
        let pair = match key.algorithm {
            Algorithm::EcP256 => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(), &digest::SHA256)
            }
            Algorithm::EcP384 => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap(), &digest::SHA384)
            }
            Algorithm::Rsa2048 => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            Algorithm::Rsa3072 => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa3072).unwrap()),
            Algorithm::Rsa4096 => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa4096).unwrap()),
            Algorithm::Ed25519 | Algorithm::Other(_) => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
        };
        let object = Object {
            id,
            label,
            algorithm: key.algorithm,
            capabilities: key.capabilities,
            delegated: Capabilities::NONE,
            domains: key.domains,
            origin: Origin::Generated,
            sequence: 0,
        };
        self.keys.insert(id, Stored { object, pair });
    }

    /// Writes an entry, over the oldest one if there is no room.
    fn write(&mut self, command: u8, session_key: u16, target_key: u16) {
        if !self.keeps_log {
            return;
        }
        let mut entry = LogEntry {
            number: self.last.number.wrapping_add(1),
            command,
            length: 0,
            session_key,
            target_key,
            second_key: NONE,
            result: command | 0x80,
            tick: 1,
            digest: [0; 16],
        };
        entry.digest = digest_of(&entry, self.last.digest);
        self.last = entry.clone();
        self.log.push(entry);
        if self.log.len() > LOG_ENTRIES {
            self.log.remove(0);
        }
    }
}

fn modulus(pair: &RsaKeyPair) -> Vec<u8> {
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
    PublicKey::parse(public.as_ref()).unwrap().rsa_numbers().unwrap().0
}

/// Written down here once more, from the manual: 16 bytes of SHA-256 over the entry and the digest before.
fn digest_of(entry: &LogEntry, before: [u8; 16]) -> [u8; 16] {
    let mut bytes = Vec::new();
    bytes.extend(entry.number.to_be_bytes());
    bytes.push(entry.command);
    for word in [entry.length, entry.session_key, entry.target_key, entry.second_key] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.push(entry.result);
    bytes.extend(entry.tick.to_be_bytes());
    bytes.extend(before);
    digest::digest(&digest::SHA256, &bytes).as_ref()[..16].try_into().unwrap()
}

impl Way for Manual {
    fn open(&self) -> Result<Box<dyn Session>, Error> {
        let mut state = self.state();
        state.opened += 1;
        if !state.password_is_right {
            return Err(Error::PasswordRefused { key: OWN });
        }
        if state.sessions == SESSIONS_OF_A_DEVICE {
            return Err(refused("CREATE SESSION", DeviceCode::SessionsFull));
        }
        state.sessions += 1;
        let (life, idle) = (state.life, state.idle);
        drop(state);
        Ok(Box::new(ManualSession { device: self.clone(), life, idle }))
    }

    fn place(&self) -> String {
        "manual".to_owned()
    }
}

struct ManualSession {
    device: Manual,
    life: u64,
    idle: u64,
}

fn refused(command: &'static str, code: DeviceCode) -> Error {
    Error::Device { command, code }
}

impl ManualSession {
    /// One command, if this session is one and the authentication key may do it.
    fn run<T>(
        &self,
        command: &'static str,
        needs: Capabilities,
        work: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut state = self.device.state();
        if state.life != self.life || state.idle != self.idle {
            return Err(Error::SessionLost { command, detail: "the device knows no such session".to_owned() });
        }
        if !state.authentication.capabilities.has(needs) {
            return Err(refused(command, DeviceCode::InsufficientPermissions));
        }
        if state.force_audit && state.log.len() == LOG_ENTRIES && !WITH_A_FULL_LOG.contains(&command) {
            return Err(refused(command, DeviceCode::LogFull));
        }
        let done = work(&mut state)?;
        if state.loses.take_if(|lost| *lost == command).is_some() {
            return Err(Error::SessionLost { command, detail: "the answer was lost".to_owned() });
        }
        Ok(done)
    }
}

fn stored<'a>(state: &'a State, command: &'static str, id: u16) -> Result<&'a Stored, Error> {
    state.keys.get(&id).ok_or_else(|| refused(command, DeviceCode::ObjectNotFound))
}

impl Session for ManualSession {
    fn is_open(&self) -> bool {
        self.device.state().idle == self.idle
    }

    fn device(&mut self) -> Result<DeviceInfo, Error> {
        self.run("GET DEVICE INFO", Capabilities::NONE, |state| {
            Ok(DeviceInfo {
                serial: state.serial.to_owned(),
                firmware: "2.4.0".to_owned(),
                log_capacity: 62,
                log_used: u8::try_from(state.log.len()).unwrap(),
                algorithms: vec![Algorithm::EcP256],
            })
        })
    }

    fn authentication_key(&mut self, id: u16) -> Result<Object, Error> {
        self.run("GET OBJECT INFO", Capabilities::NONE, |state| {
            let own = state.authentication.clone();
            if own.id == id { Ok(own) } else { Err(refused("GET OBJECT INFO", DeviceCode::ObjectNotFound)) }
        })
    }

    fn key(&mut self, id: u16) -> Result<Object, Error> {
        let name = "GET OBJECT INFO";
        self.run(name, Capabilities::NONE, |state| Ok(stored(state, name, id)?.object.clone()))
    }

    fn keys(&mut self, label: Option<&[u8]>) -> Result<Vec<u16>, Error> {
        self.run("LIST OBJECTS", Capabilities::NONE, |state| {
            let fits = |stored: &&Stored| label.is_none_or(|label| stored.object.label == label);
            Ok(state.keys.values().filter(fits).map(|stored| stored.object.id).collect())
        })
    }

    fn public_key(&mut self, id: u16) -> Result<PublicPart, Error> {
        let name = "GET PUBLIC KEY";
        self.run(name, Capabilities::NONE, |state| {
            let Stored { object, pair } = stored(state, name, id)?;
            let bytes = match pair {
                Pair::Ec(pair, _) => pair.public_key().as_ref()[1..].to_vec(),
                Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
                Pair::Rsa(pair) => modulus(pair),
            };
            Ok(PublicPart { algorithm: object.algorithm, bytes })
        })
    }

    fn generate(&mut self, key: &NewKey) -> Result<(), Error> {
        let name = "GENERATE ASYMMETRIC KEY";
        self.run(name, Capabilities::GENERATE_ASYMMETRIC_KEY, |state| {
            if state.keys.contains_key(&key.id) {
                return Err(refused(name, DeviceCode::ObjectExists));
            }
            if state.keys.len() >= state.room {
                return Err(refused(name, DeviceCode::StorageFailed));
            }
            if !state.authentication.delegated.has(key.capabilities) {
                return Err(refused(name, DeviceCode::InsufficientPermissions));
            }
            state.store(key);
            state.write(GENERATE, OWN, key.id);
            Ok(())
        })
    }

    fn delete(&mut self, id: u16) -> Result<(), Error> {
        let name = "DELETE OBJECT";
        self.run(name, Capabilities::DELETE_ASYMMETRIC_KEY, |state| {
            stored(state, name, id)?;
            state.keys.remove(&id);
            state.write(DELETE, OWN, id);
            Ok(())
        })
    }

    fn sign(&mut self, id: u16, signing: Signing<'_>) -> Result<Vec<u8>, Error> {
        let (name, command, needs) = match signing {
            Signing::EcdsaDigest(_) => ("SIGN ECDSA", SIGN_ECDSA, Capabilities::SIGN_ECDSA),
            Signing::EddsaMessage(_) => ("SIGN EDDSA", SIGN_EDDSA, Capabilities::SIGN_EDDSA),
            Signing::Pkcs1Sha256Message(_) => ("SIGN PKCS1", SIGN_PKCS1, Capabilities::SIGN_PKCS),
        };
        self.run(name, needs, |state| {
            let Stored { object, pair } = stored(state, name, id)?;
            if !object.capabilities.has(needs) {
                return Err(refused(name, DeviceCode::InsufficientPermissions));
            }
            let random = SystemRandom::new();
            let signature = match (pair, signing) {
                (Pair::Ec(pair, algorithm), Signing::EcdsaDigest(digest)) => {
                    let digest = Digest::import_less_safe(digest, algorithm).unwrap();
                    pair.sign_digest(&digest).unwrap().as_ref().to_vec()
                }
                (Pair::Ed(pair), Signing::EddsaMessage(message)) if message.len() <= EDDSA_MESSAGE_BYTES_MAX => {
                    pair.sign(message).as_ref().to_vec()
                }
                (Pair::Rsa(pair), Signing::Pkcs1Sha256Message(message)) => {
                    let mut signature = vec![0; pair.public_modulus_len()];
                    pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                    signature
                }
                _ => return Err(refused(name, DeviceCode::InvalidData)),
            };
            state.write(command, OWN, id);
            *state.signed.entry(id).or_default() += 1;
            Ok(signature)
        })
    }

    fn random(&mut self, bytes: usize) -> Result<Vec<u8>, Error> {
        self.run("GET PSEUDO RANDOM", Capabilities::GET_PSEUDO_RANDOM, |_| {
            let mut drawn = vec![0; bytes];
            SystemRandom::new().fill(&mut drawn).unwrap();
            Ok(drawn)
        })
    }

    fn attest(&mut self, id: u16) -> Result<Vec<u8>, Error> {
        let name = "SIGN ATTESTATION CERTIFICATE";
        self.run(name, Capabilities::SIGN_ATTESTATION_CERTIFICATE, |state| {
            let key = match &stored(state, name, id)?.pair {
                Pair::Ec(pair, _) => pair.public_key().as_ref().to_vec(),
                Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
                Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            };
            Ok(if state.lies { vec![0; 500] } else { [b"a certificate over ", &key[..], b" and more"].concat() })
        })
    }

    fn own_certificate(&mut self) -> Result<Vec<u8>, Error> {
        self.run("GET OPAQUE", Capabilities::GET_OPAQUE, |_| Ok(b"the maker's certificate".to_vec()))
    }

    fn log(&mut self) -> Result<CommandLog, Error> {
        self.run("GET LOG ENTRIES", Capabilities::GET_LOG_ENTRIES, |state| {
            state.looks += 1;
            let entries = state.log.clone();
            Ok(CommandLog { entries, unread: state.unread, ..CommandLog::default() })
        })
    }

    fn log_was_read(&mut self, number: u16) -> Result<(), Error> {
        self.run("SET LOG INDEX", Capabilities::GET_LOG_ENTRIES, |state| {
            let read = state.log.iter().position(|entry| entry.number == number);
            let read = read.ok_or_else(|| refused("SET LOG INDEX", DeviceCode::InvalidData))?;
            state.log.drain(..=read);
            state.write(SET_LOG_INDEX, OWN, NONE);
            Ok(())
        })
    }
}
