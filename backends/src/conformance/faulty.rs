//! A keyring over a device that fails when it is told to.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use hallmark_faulty::{Device, Effect, Function, Scope, When, cryptoki_sys::CKR_DEVICE_REMOVED};
use hallmark_policy::key::{KeyKind, SignatureAlgorithm};
use hallmark_test_token::{PIN, Token};

use super::{message, request};
use crate::{
    BackendConfig, BackendError, ErrorClass, Keyring, NewKey, SignError, Signature, SoftwareKeys, TokenConfig,
    patience::Patience, tried::Tried,
};

/// How long a test waits for what should happen.
pub(super) const AMPLE: Duration = Duration::from_secs(60);

/// How soon everything must work again, once a fault is over.
pub(super) const AGAIN: Duration = Duration::from_secs(5);

/// How much later than its deadline an answer may be seen on a busy machine.
pub(super) const SLACK: Duration = Duration::from_secs(1);

/// Long for a device that works, short for a test of one that hangs.
pub(super) const PATIENCE: Patience = Patience {
    start: AMPLE,
    make: Duration::from_secs(5),
    operate: Duration::from_secs(5),
    probe: Duration::from_millis(1_500),
    hung_after: Duration::from_secs(5),
    stop: AMPLE,
};

/// For tests of calls that hang: a device hangs soon.
pub(super) const HURRY: Patience = Patience { hung_after: Duration::from_millis(300), ..PATIENCE };

/// A keyring with one open key. The device comes first, so that nothing hangs in it when the keyring ends.
pub(super) struct Faulty {
    pub(super) device: Device,
    pub(super) keyring: Keyring,
    pub(super) token: Token,
    pub(super) key: NewKey,
}

impl Faulty {
    pub(super) fn new(name: &str, sessions: usize) -> Self {
        Self::patient(name, sessions, PATIENCE)
    }

    pub(super) fn patient(name: &str, sessions: usize, patience: Patience) -> Self {
        let token = Token::make(name);
        let device = Device::new();
        let keyring = open(&device, &token, sessions, patience).unwrap();
        let key = keyring.generate(&request("issuer", KeyKind::EcdsaP256)).unwrap();
        keyring.open(&key.reference, key.public.digest()).unwrap();
        Self { device, keyring, token, key }
    }

    pub(super) fn sign(&self) -> Result<Signature, SignError> {
        self.sign_within(AMPLE)
    }

    /// Signs; the answer must be there at the deadline, and a signature must be one.
    pub(super) fn sign_within(&self, within: Duration) -> Result<Signature, SignError> {
        let began = Instant::now();
        let once = |tried: Tried| {
            let (send, receive) = mpsc::channel();
            let job = message(self.key.public.digest(), SignatureAlgorithm::EcdsaSha256);
            let done = Box::new(move |answer| drop(send.send(answer)));
            self.keyring.sign_message_again(job, began + within, tried, done);
            receive.recv_timeout(within + SLACK).expect("an answer at the deadline")
        };
        // As the signer does, when the log has said so.
        let answer = match once(Tried::default()) {
            Err(SignError::SignAgain { tried, .. }) => once(tried),
            answer => answer,
        };
        if let Ok(signature) = &answer {
            let right =
                self.key.public.verifies(SignatureAlgorithm::EcdsaSha256, signature.to_be_signed(), signature.bytes());
            assert!(right, "a wrong signature left");
        }
        answer
    }

    /// Signs as often as it takes.
    pub(super) fn signs_again(&self) -> Duration {
        again(|| self.sign_within(AGAIN).is_ok())
    }

    /// What a signature costs when nothing is new to the session.
    pub(super) fn warm(&self, sessions: u64) {
        // Every session signs once, because none is free before the others have begun.
        self.device.pace(Duration::from_millis(20), sessions);
        std::thread::scope(|scope| {
            (0..sessions).for_each(|_| drop(scope.spawn(|| drop(self.sign().unwrap()))));
        });
        self.device.pace(Duration::ZERO, 1);
    }

    pub(super) fn refuse(&self, function: impl Into<Option<Function>>, when: When, code: u64) {
        self.device.fault(function, when, Effect::Refuse(code));
    }

    /// Every label of the token leads to another key from the next log-in on, and the next log-in comes soon.
    pub(super) fn swap_keys(&self, scope: Scope) {
        let other = self.keyring.generate(&request("other", KeyKind::EcdsaP256)).unwrap();
        assert_ne!(other.public.digest(), self.key.public.digest());
        let swap = Effect::SwapKeys { wanted: "issuer".to_owned(), found: "other".to_owned(), scope };
        self.device.fault(Function::FindObjectsInit, When::Always, swap);
        self.device.end_sessions();
    }
}

pub(super) fn open(
    device: &Device,
    token: &Token,
    sessions: usize,
    patience: Patience,
) -> Result<Keyring, BackendError> {
    let config = BackendConfig::Pkcs11(TokenConfig {
        module: device.module().into(),
        label: token.label().to_owned(),
        serial: None,
        pin: PIN.into(),
        sessions,
        waived: Vec::new(),
        exceptions: crate::Exceptions::default(),
    });
    Keyring::open_patiently(config, SoftwareKeys::Refused, patience)
}

/// Tries until it works; how long that took.
pub(super) fn again(mut work: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !work() {
        assert!(began.elapsed() < AGAIN, "it does not work again");
        std::thread::yield_now();
    }
    began.elapsed()
}

/// The class of a signature's error, and its CKR code.
pub(super) fn told(error: &SignError) -> (Option<ErrorClass>, Option<&str>) {
    let SignError::Backend(error) = error else { return (None, None) };
    (Some(error.class()), error.ckr())
}

/// The code of a device that is away.
pub(super) const AWAY: u64 = CKR_DEVICE_REMOVED;
