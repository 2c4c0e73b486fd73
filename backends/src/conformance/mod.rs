//! The same sentences over every backend. Bytes are signed here through the crate's inner door, which only tests open;
//! everybody else needs a `Committed`.
//!
//! Where the environment names another module (`HALLMARK_TEST_MODULE`, see [`Token::other`]), what holds over every backend is shown over that one, too.

mod abilities;
mod aws_kms;
mod aws_kms_ends;
mod copies;
mod device;
mod devices;
mod faulty;
mod keys;
mod ladder;
mod other;
mod pair;
mod pins;
mod signing;
mod tokens;
mod unknown;
mod wrapping;

use std::{
    env,
    sync::mpsc,
    time::{Duration, Instant},
};

use hallmark_aws_kms::{Account, CredentialsPlace};
use hallmark_policy::key::{KeyKind, SignatureAlgorithm, SpkiDigest};
use hallmark_test_aws_kms::{Kms, PROFILE, REGION};
use hallmark_test_token::{OTHER_IS_FRESH, OTHER_MODULE, OTHER_WAIVED, PIN, Token};
use hallmark_test_yubihsm::{AUTHENTICATION_KEY, DOMAIN, PASSWORD};
use tempfile::TempDir;

use crate::{
    AwsKmsConfig, AwsKmsPlace, BackendConfig, BackendError, CommandLogUse, KeyLabel, KeyPurpose, KeyRequest, Keyring,
    ModuleConfig, ModuleWaiver, NewKey, SignError, Signature, SoftwareKeys, Survey, TokenConfig, Waiver, YubiHsmConfig,
    aws_kms_kinds, patience::Patience, signature::Message, survey, yubihsm::manual::Manual, yubihsm_kinds,
};

/// Longer than any signature takes, so that a deadline that is not meant to pass does not.
const AMPLE: Duration = Duration::from_secs(120);

/// A backend with no keys, and the place behind it.
struct World {
    keyring: Keyring,
    place: Place,
}

enum Place {
    Token(Token),
    Directory(TempDir),
    /// A mock YubiHSM, over HTTP. What it does not show ([`hallmark_test_yubihsm::LIMITS`]), the next one does.
    YubiHsm(hallmark_test_yubihsm::Device),
    /// A YubiHSM as its manual has it, without the way to it.
    Manual(Manual),
    /// moto, with what it does otherwise than AWS ([`hallmark_test_aws_kms::LIMITS`]) done as the documentation has it; and the credentials.
    AwsKms(Kms, TempDir),
}

impl World {
    /// Every backend: keys in files, SoftHSM, a YubiHSM, and the other module if there is one.
    fn all(name: &str) -> Vec<Self> {
        let other = Token::other().map(|token| Self::at(Place::Token(token)));
        match other {
            // It is tried for its own sake.
            Some(other) if env::var_os(OTHER_IS_FRESH).is_some() => vec![other],
            other => [Self::software(), Self::softhsm(name), Self::yubihsm(), Self::manual(), Self::aws_kms()]
                .into_iter()
                .chain(other)
                .collect(),
        }
    }

    fn yubihsm() -> Self {
        Self::at(Place::YubiHsm(hallmark_test_yubihsm::Device::new()))
    }

    fn manual() -> Self {
        Self::at(Place::Manual(Manual::new()))
    }

    fn aws_kms() -> Self {
        Self::at(Place::AwsKms(Kms::new(), tempfile::tempdir().unwrap()))
    }

    fn software() -> Self {
        Self::at(Place::Directory(tempfile::tempdir().unwrap()))
    }

    fn softhsm(name: &str) -> Self {
        Self::at(Place::Token(Token::make(name)))
    }

    fn at(place: Place) -> Self {
        let keyring = place.open(PIN).unwrap();
        Self { keyring, place }
    }

    fn token(&self) -> &Token {
        match &self.place {
            Place::Token(token) => token,
            Place::Directory(_) | Place::YubiHsm(_) | Place::Manual(_) | Place::AwsKms(..) => {
                panic!("this world has no token")
            }
        }
    }

    /// Makes a key and opens it.
    fn key(&self, label: &str, kind: KeyKind) -> NewKey {
        let key = self.keyring.generate(&request(label, kind)).unwrap();
        self.keyring.open(&key.reference, key.public.digest()).unwrap();
        key
    }

    fn sign(&self, key: &NewKey, algorithm: SignatureAlgorithm) -> Result<Signature, SignError> {
        sign(&self.keyring, message(key.public.digest(), algorithm), AMPLE)
    }

    /// The kinds of keys that it makes.
    fn kinds(&self) -> Vec<KeyKind> {
        self.place.kinds()
    }

    fn key_uses(&self) -> u64 {
        self.keyring.health().unwrap().key_uses
    }
}

impl Place {
    /// The kinds of keys that can be made here.
    fn kinds(&self) -> Vec<KeyKind> {
        match self {
            // `Limit::P384` and `Limit::Rsa` of the mock.
            Self::YubiHsm(_) => vec![KeyKind::EcdsaP256, KeyKind::Ed25519],
            Self::Manual(_) => yubihsm_kinds().collect(),
            Self::AwsKms(..) => aws_kms_kinds().collect(),
            Self::Token(_) | Self::Directory(_) => {
                self.survey().map_or_else(|| KeyKind::ALL.to_vec(), |survey| survey.kinds)
            }
        }
    }

    /// Whether keys of this kind sign with it here.
    fn signs(&self, algorithm: SignatureAlgorithm) -> bool {
        // The client library of a YubiHSM does RSASSA-PSS wrongly.
        let is_yubihsm = matches!(self, Self::YubiHsm(_) | Self::Manual(_));
        !(is_yubihsm && algorithm == SignatureAlgorithm::RsaPssSha256)
    }

    fn open(&self, secret: &str) -> Result<Keyring, BackendError> {
        match self {
            Self::Manual(device) => device.open(1, CommandLogUse::Read, Patience::default()),
            Self::Token(_) | Self::Directory(_) | Self::YubiHsm(_) | Self::AwsKms(..) => {
                Keyring::open_backend(self.config(secret, 1), SoftwareKeys::Admitted)
            }
        }
    }

    /// What the token says of itself; where there is none, nothing does.
    fn survey(&self) -> Option<Survey> {
        match self {
            Self::Token(token) => Some(survey(&module(token), token.label(), None).unwrap()),
            Self::Directory(_) | Self::YubiHsm(_) | Self::Manual(_) | Self::AwsKms(..) => None,
        }
    }

    fn config(&self, secret: &str, sessions: usize) -> BackendConfig {
        match self {
            Self::Token(token) => BackendConfig::Pkcs11(TokenConfig {
                module: module(token),
                label: token.label().to_owned(),
                serial: None,
                // What is right for SoftHSM stands for what is right.
                pin: if secret == PIN { token.pin() } else { secret }.into(),
                sessions,
                waived: Vec::new(),
                exceptions: crate::Exceptions::default(),
            }),
            Self::YubiHsm(device) => BackendConfig::YubiHsm(YubiHsmConfig {
                connector: device.place().parse().unwrap(),
                authentication_key: AUTHENTICATION_KEY,
                password: if secret == PIN { PASSWORD } else { secret }.into(),
                sessions,
                domains: vec![DOMAIN],
                accepted: Vec::new(),
                command_log: CommandLogUse::Read,
                kinds: None,
                findings: crate::DeviceLogFindings::default(),
            }),
            Self::AwsKms(kms, directory) => {
                let text = if secret == PIN { Kms::credentials() } else { Kms::credentials_with(secret) };
                BackendConfig::AwsKms(aws_kms::config(kms, &aws_kms::write(directory, &text), sessions))
            }
            Self::Manual(_) => panic!("nothing is configured of this device"),
            Self::Directory(directory) => {
                BackendConfig::Software { directory: directory.path().join("keys"), passphrase: secret.into() }
            }
        }
    }
}

/// The module of a token, with what it is given.
fn module(token: &Token) -> ModuleConfig {
    let is_the_other = env::var_os(OTHER_MODULE).is_some_and(|module| module == token.module().as_os_str());
    let words = env::var(OTHER_WAIVED).ok().filter(|_| is_the_other).unwrap_or_default();
    let waiver = |word: &str| {
        let named = ModuleWaiver::ALL.into_iter().find(|waiver| Waiver::from(*waiver).attribute() == word);
        named.unwrap_or_else(|| panic!("`{word}` is not waived"))
    };
    let waived = words.split_whitespace().map(waiver).collect();
    ModuleConfig { arguments: token.arguments().map(str::to_owned), waived, path: token.module().to_owned() }
}

fn request(label: &str, kind: KeyKind) -> KeyRequest {
    KeyRequest { label: KeyLabel::parse(label).unwrap(), kind, purpose: KeyPurpose::Epoch }
}

pub(crate) fn message(issuer: SpkiDigest, algorithm: SignatureAlgorithm) -> Message {
    Message { to_be_signed: b"what the ledger committed".to_vec(), issuer, algorithm, log_index: 7 }
}

/// Signs and waits for the answer.
fn sign(keyring: &Keyring, message: Message, within: Duration) -> Result<Signature, SignError> {
    let (send, receive) = mpsc::channel();
    keyring.sign_message(message, Instant::now() + within, Box::new(move |answer| send.send(answer).unwrap()));
    receive.recv().unwrap()
}
