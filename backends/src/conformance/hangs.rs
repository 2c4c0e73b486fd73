//! A device that does not let a thread go.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use hallmark_policy::key::{KeyKind, PublicKey, SignatureAlgorithm, SpkiDigest};

use super::{AMPLE, PIN, message, request, sign};
use crate::{
    BackendError, Description, KeyLabel, KeyPurpose, KeyReference, KeyRequest, Keyring, NewKey, SignError, Signature,
    backend::{Backend, Gate, OpenKey, Signer},
    software::Directory,
};

/// When a thread is called hung here.
const PATIENCE: Duration = Duration::from_millis(50);

/// Software keys in whose signers signatures hang, as many as there are letters in the box.
struct Holding {
    behind: Directory,
    holds: Arc<Mutex<Receiver<Hold>>>,
}

/// One signature waits until it may go on, and says that it waits.
type Hold = (Sender<()>, Receiver<()>);

struct HoldingSigner {
    behind: Box<dyn Signer>,
    holds: Arc<Mutex<Receiver<Hold>>>,
}

impl Signer for HoldingSigner {
    fn sign(
        &mut self,
        key: &OpenKey,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        gate: &Gate<'_>,
    ) -> Result<Vec<u8>, SignError> {
        let hold = self.holds.lock().unwrap().try_recv();
        if let Ok((waits, go_on)) = hold {
            waits.send(()).unwrap();
            let _ = go_on.recv();
        }
        self.behind.sign(key, algorithm, message, gate)
    }
    fn distrust(&mut self) {
        self.behind.distrust();
    }
}

impl Backend for Holding {
    fn generate(&self, request: &KeyRequest) -> Result<NewKey, BackendError> {
        self.behind.generate(request)
    }
    fn open(&self, key: &KeyReference, expected: SpkiDigest) -> Result<PublicKey, BackendError> {
        self.behind.open(key, expected)
    }
    fn inspect(&self, key: &KeyReference, purpose: KeyPurpose) -> Result<PublicKey, BackendError> {
        self.behind.inspect(key, purpose)
    }
    fn destroy(&self, key: &KeyReference, expected: SpkiDigest) -> Result<(), BackendError> {
        self.behind.destroy(key, expected)
    }
    fn clear(&self, label: &KeyLabel) -> Result<usize, BackendError> {
        self.behind.clear(label)
    }
    fn list(&self) -> Result<Vec<KeyReference>, BackendError> {
        self.behind.list()
    }
    fn random(&self, bytes: &mut [u8]) -> Result<(), BackendError> {
        self.behind.random(bytes)
    }
    fn health(&self) -> Result<(), BackendError> {
        self.behind.health()
    }
    fn describe(&self) -> Description {
        self.behind.describe()
    }
    fn signer(&self) -> Result<Box<dyn Signer>, BackendError> {
        Ok(self.later_signer())
    }
    fn later_signer(&self) -> Box<dyn Signer> {
        Box::new(HoldingSigner { behind: self.behind.later_signer(), holds: Arc::clone(&self.holds) })
    }
}

struct World {
    keyring: Keyring,
    key: NewKey,
    hold: Sender<Hold>,
    _directory: tempfile::TempDir,
}

impl World {
    /// One session, over keys in files.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let behind = Directory::open(directory.path().join("keys"), PIN.into()).unwrap();
        let (hold, holds) = mpsc::channel();
        let backend = Holding { behind, holds: Arc::new(Mutex::new(holds)) };
        let keyring = Keyring::over(Arc::new(backend), 1, PATIENCE).unwrap();
        let key = keyring.generate(&request("a", KeyKind::EcdsaP256)).unwrap();
        keyring.open(&key.reference, key.public.digest()).unwrap();
        Self { keyring, key, hold, _directory: directory }
    }

    fn sign(&self) -> Result<Signature, SignError> {
        sign(&self.keyring, message(self.key.public.digest(), SignatureAlgorithm::EcdsaSha256), AMPLE)
    }

    /// Lets a signature hang; it goes on when the first is used or dropped, and its answer comes to the second.
    fn hang(&self) -> (Sender<()>, Receiver<Result<Signature, SignError>>) {
        let ((go_on, goes_on), (waits, waiting)) = (mpsc::channel(), mpsc::channel());
        self.hold.send((waits, goes_on)).unwrap();
        let (answer, answered) = mpsc::channel();
        let job = message(self.key.public.digest(), SignatureAlgorithm::EcdsaSha256);
        let done = Box::new(move |signed| answer.send(signed).unwrap());
        self.keyring.sign_message(job, Instant::now() + AMPLE, done);
        waiting.recv().unwrap();
        (go_on, answered)
    }
}

#[test]
fn another_thread_takes_the_place_of_one_that_hangs_and_the_late_answer_still_comes() {
    let world = World::new();
    let (go_on, answered) = world.hang();
    world.sign().expect("another thread signs");
    assert_eq!(world.keyring.health().unwrap().hung, 1);
    go_on.send(()).unwrap();
    answered.recv().unwrap().expect("who waited long enough gets the signature");
    world.sign().unwrap();
    assert_eq!(world.keyring.health().unwrap().hung, 0);
}

#[test]
fn where_everything_hangs_nobody_takes_its_place_and_health_says_so_until_it_comes_back() {
    let world = World::new();
    let (first, _answered) = world.hang();
    let (second, _answered) = world.hang();
    let error = loop {
        match world.keyring.health() {
            Ok(_) => thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, BackendError::Hangs { threads: 2 }), "{error}");
    drop((first, second));
    world.sign().unwrap();
}

#[test]
fn a_keyring_that_stops_leaves_behind_who_hangs() {
    let world = World::new();
    let (_go_on, _answered) = world.hang();
    world.keyring.stop();
    assert!(matches!(world.sign(), Err(SignError::Stopped)));
}
