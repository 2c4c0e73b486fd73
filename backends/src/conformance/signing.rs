use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use hallmark_policy::key::{KeyKind, PublicKey, SignatureAlgorithm, SpkiDigest};
use hallmark_yubihsm::EDDSA_MESSAGE_BYTES_MAX;

use super::{AMPLE, Place, World, message, request, sign};
use crate::{
    AWS_KMS_MESSAGE_BYTES_MAX, BackendError, Description, ErrorClass, KeyLabel, KeyPurpose, KeyReference, KeyRequest,
    Keyring, NewKey, QUEUE_JOBS_MAX, SignError,
    backend::{Backend, Gate, Guard, OpenKey, Signer},
    patience::Patience,
    signature::Message,
    yubihsm_kinds,
};

/// As long as a CRL of some hundred thousand entries.
const LONG: usize = 100_000;

#[test]
fn every_kind_of_key_is_generated_and_signs_with_each_of_its_algorithms() {
    for world in World::all("kinds") {
        let kinds = world.kinds();
        // The mock of a YubiHSM panics on what a device would make and it does not.
        let is_safe = |kind: &KeyKind| match world.place {
            Place::YubiHsm(_) => !yubihsm_kinds().any(|known| known == *kind),
            Place::Token(_) | Place::Directory(_) | Place::Manual(_) | Place::AwsKms(..) => true,
        };
        for kind in KeyKind::ALL.into_iter().filter(|kind| !kinds.contains(kind)).filter(is_safe) {
            let error = world.keyring.generate(&request(kind.name(), kind)).unwrap_err();
            assert_eq!(error.class(), ErrorClass::Refused, "{kind}: {error}");
        }
        for kind in kinds {
            let key = world.key(kind.name(), kind);
            assert_eq!(key.public.kind(), kind);
            for algorithm in SignatureAlgorithm::ALL.into_iter().filter(|algorithm| kind.signs_with(*algorithm)) {
                if !world.place.signs(algorithm) {
                    let error = world.sign(&key, algorithm).unwrap_err();
                    assert!(matches!(error, SignError::Backend(BackendError::Incapable { .. })), "{error}");
                    continue;
                }
                let signature = world.sign(&key, algorithm).unwrap();
                assert!(key.public.verifies(algorithm, signature.to_be_signed(), signature.bytes()), "{algorithm}");
                let parts = signature.into_parts();
                assert_eq!((parts.issuer, parts.log_index), (key.public.digest(), 7));
                assert_eq!(parts.to_be_signed, b"what the ledger committed");
            }
        }
    }
}

#[test]
fn what_is_never_signed_is_told_before_anybody_asks_for_it_and_everything_else_is_signed() {
    for world in World::all("never") {
        let longest_as_it_is = match world.place {
            Place::Token(_) | Place::Directory(_) => None,
            Place::YubiHsm(_) | Place::Manual(_) => Some(EDDSA_MESSAGE_BYTES_MAX),
            Place::AwsKms(..) => Some(AWS_KMS_MESSAGE_BYTES_MAX),
        };
        for kind in world.kinds() {
            let key = world.key(kind.name(), kind);
            for algorithm in SignatureAlgorithm::ALL.into_iter().filter(|algorithm| kind.signs_with(*algorithm)) {
                let bound = longest_as_it_is.filter(|_| algorithm == SignatureAlgorithm::Ed25519);
                for length in [1, bound.unwrap_or(LONG), bound.map_or(LONG, |bound| bound + 1)] {
                    let fits = world.place.signs(algorithm) && bound.is_none_or(|bound| length <= bound);
                    assert_eq!(world.keyring.never_signs(algorithm, length).is_none(), fits, "{algorithm}, {length}");
                    let (long, uses) = (vec![7; length], world.key_uses());
                    let job = Message { to_be_signed: long, ..message(key.public.digest(), algorithm) };
                    let signed = sign(&world.keyring, job, AMPLE);
                    if fits {
                        signed.unwrap();
                    } else {
                        let error = signed.unwrap_err();
                        assert!(matches!(error, SignError::Backend(BackendError::Incapable { .. })), "{error}");
                        assert_eq!(world.key_uses(), uses, "no key was touched");
                    }
                }
            }
        }
    }
}

#[test]
fn a_key_is_not_used_with_an_algorithm_of_another_kind() {
    for world in World::all("algorithm") {
        let key = world.key("a", KeyKind::EcdsaP256);
        for algorithm in SignatureAlgorithm::ALL.into_iter().filter(|each| !KeyKind::EcdsaP256.signs_with(*each)) {
            let error = world.sign(&key, algorithm).unwrap_err();
            assert!(matches!(error, SignError::WrongAlgorithm { .. }), "{error}");
        }
        assert_eq!(world.key_uses(), 0);
    }
}

#[test]
fn a_key_whose_deadline_has_passed_is_not_touched() {
    for world in World::all("deadline") {
        let key = world.key("a", KeyKind::EcdsaP256);
        let late = message(key.public.digest(), SignatureAlgorithm::EcdsaSha256);
        let error = sign(&world.keyring, late, Duration::ZERO).unwrap_err();
        assert!(matches!(error, SignError::DeadlinePassed), "{error}");
        assert_eq!(world.key_uses(), 0);
        world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap();
        assert_eq!(world.key_uses(), 1);
    }
}

#[test]
fn a_key_that_was_not_opened_does_not_sign() {
    for world in World::all("unopened") {
        let key = world.keyring.generate(&request("a", KeyKind::EcdsaP256)).unwrap();
        let error = world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap_err();
        assert!(matches!(error, SignError::NotOpen { issuer } if issuer == key.public.digest()), "{error}");
    }
}

#[test]
fn a_full_queue_refuses_at_once_and_what_was_queued_is_still_signed() {
    let world = World::softhsm("queue");
    let key = world.key("a", KeyKind::EcdsaP256);
    let signed = Arc::new(AtomicUsize::new(0));
    let count = || {
        let signed = Arc::clone(&signed);
        Box::new(move |answer: Result<_, _>| {
            signed.fetch_add(usize::from(answer.is_ok()), Ordering::Relaxed);
        })
    };
    let deadline = Instant::now() + AMPLE;
    let job = || message(key.public.digest(), SignatureAlgorithm::EcdsaSha256);

    // The only session is kept busy by whoever waited for the first signature.
    let (started, has_started) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let hold = Box::new(move |_| {
        started.send(()).unwrap();
        released.recv().unwrap();
    });
    world.keyring.sign_message(job(), deadline, hold);
    has_started.recv().unwrap();
    (0..QUEUE_JOBS_MAX).for_each(|_| world.keyring.sign_message(job(), deadline, count()));
    assert!(matches!(sign(&world.keyring, job(), AMPLE), Err(SignError::Busy)));

    release.send(()).unwrap();
    world.keyring.stop();
    assert_eq!(signed.load(Ordering::Relaxed), QUEUE_JOBS_MAX);
    assert!(matches!(sign(&world.keyring, job(), AMPLE), Err(SignError::Stopped)));
}

#[test]
fn a_waiter_that_panics_does_not_end_the_session() {
    for world in World::all("panic") {
        let key = world.key("a", KeyKind::EcdsaP256);
        let job = message(key.public.digest(), SignatureAlgorithm::EcdsaSha256);
        world.keyring.sign_message(job, Instant::now() + AMPLE, Box::new(|_| panic!("on purpose")));
        world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap();
    }
}

#[test]
fn a_signature_that_does_not_verify_is_not_released() {
    let world = World::software();
    let key = world.key("a", KeyKind::EcdsaP256);
    let distrusted = Arc::new(AtomicUsize::new(0));
    let liar = Liar { public: key.public.clone(), distrusted: Arc::clone(&distrusted) };
    let open = move || {
        let liar: Arc<dyn Backend> = Arc::new(liar);
        let signers = vec![liar.signer()];
        Ok((liar, signers))
    };
    let keyring = Keyring::over("liar".to_owned(), open, Patience::default()).unwrap();
    keyring.open(&key.reference, key.public.digest()).unwrap();
    let job = message(key.public.digest(), SignatureAlgorithm::EcdsaSha256);
    let error = sign(&keyring, job, AMPLE).unwrap_err();
    assert!(matches!(error, SignError::Lied { issuer } if issuer == key.public.digest()), "{error}");
    assert_eq!(distrusted.load(Ordering::Relaxed), 1);
}

/// A device that signs something else than it was given.
struct Liar {
    public: PublicKey,
    distrusted: Arc<AtomicUsize>,
}

impl Backend for Liar {
    fn generate(&self, _: &KeyRequest) -> Result<NewKey, BackendError> {
        Err(BackendError::LoggedOut)
    }
    fn open(&self, _: &KeyReference, _: SpkiDigest) -> Result<PublicKey, BackendError> {
        Ok(self.public.clone())
    }
    fn inspect(&self, _: &KeyReference, _: KeyPurpose) -> Result<PublicKey, BackendError> {
        Ok(self.public.clone())
    }
    fn destroy(&self, _: &KeyReference, _: SpkiDigest) -> Result<(), BackendError> {
        Ok(())
    }
    fn guards(&self, _: &KeyReference, _: SpkiDigest) -> Result<Vec<Guard>, BackendError> {
        Ok(Vec::new())
    }

    fn attest(&self, _: &KeyReference, _: SpkiDigest) -> Result<Vec<Vec<u8>>, BackendError> {
        unreachable!()
    }
    fn change_pin(&self, _: &secrecy::SecretString) -> Result<(), BackendError> {
        Ok(())
    }
    fn clear(&self, _: &KeyLabel) -> Result<usize, BackendError> {
        Ok(0)
    }
    fn list(&self) -> Result<Vec<KeyReference>, BackendError> {
        Ok(Vec::new())
    }
    fn random(&self, _: &mut [u8]) -> Result<(), BackendError> {
        Ok(())
    }
    fn health(&self) -> Result<(), BackendError> {
        Ok(())
    }
    fn pin_is_refused(&self) -> bool {
        false
    }

    fn describe(&self) -> Description {
        Description::default()
    }
    fn close(&self) {}
    fn signer(&self) -> Box<dyn Signer> {
        Box::new(LyingSigner(Arc::clone(&self.distrusted)))
    }
    fn wrapping(&self) -> Option<&dyn crate::backend::Wrapping> {
        None
    }
    fn never_signs(&self, _: SignatureAlgorithm, _: usize) -> Option<String> {
        None
    }
}

struct LyingSigner(Arc<AtomicUsize>);

impl Signer for LyingSigner {
    fn sign(&mut self, _: &OpenKey, _: SignatureAlgorithm, _: &[u8], gate: &Gate<'_>) -> Result<Vec<u8>, SignError> {
        gate.pass()?;
        Ok(crate::encoding::ecdsa_signature(&[1; 64]))
    }
    fn connect(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
    fn distrust(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
