//! Each effect of the faulty module, seen through `cryptoki`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends by panicking"
)]

use std::{
    env, fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, ObjectClass, ObjectHandle},
    session::{Session, SessionState, UserType},
    slot::Slot,
    types::AuthPin,
};
use hallmark_faulty::{
    Absence, CONTROL_VARIABLE, Device, Effect, Function, MODULE_VARIABLE, SOFTHSM, Scope, Sessions, Tally, When,
    cryptoki_sys::{CKR_CRYPTOKI_NOT_INITIALIZED, CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_FUNCTION_FAILED},
};
use hallmark_test_token::{PIN, Token};

/// OBJECT IDENTIFIER secp256r1, DER.
const SECP256R1: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// What is signed: as long as a digest.
const DIGEST: [u8; 32] = [7; 32];

/// Longer than anything here takes that is not meant to last.
const AMPLE: Duration = Duration::from_secs(60);

/// A device with a token of its own, and a program that loaded its module.
struct World {
    device: Device,
    context: Pkcs11,
    slot: Slot,
    /// Until it is dropped, no other test has it.
    _token: Token,
}

struct Pair {
    public: ObjectHandle,
    private: ObjectHandle,
}

impl World {
    fn new(name: &str) -> Self {
        /// The tokens of all tests lie in one place, which `SOFTHSM2_CONF` names relative to the houses' directories;
        /// this package is one deeper.
        static AMONG_THE_HOUSES: LazyLock<()> =
            LazyLock::new(|| env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap());
        LazyLock::force(&AMONG_THE_HOUSES);
        let token = Token::make(name);
        let device = Device::new();
        let context = Pkcs11::new(device.module()).unwrap();
        let initialized = initialize(&context);
        assert!(initialized.is_ok(), "{initialized:?}");
        let slots = context.get_slots_with_token().unwrap();
        let fits = |slot: &Slot| context.get_token_info(*slot).is_ok_and(|info| info.serial_number() == token.serial());
        let slot = slots.into_iter().find(fits).unwrap();
        Self { device, context, slot, _token: token }
    }

    fn session(&self) -> Session {
        let session = self.context.open_rw_session(self.slot).unwrap();
        match session.login(UserType::User, Some(&PIN.into())) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => session,
            Err(error) => panic!("{error}"),
        }
    }
}

fn initialize(context: &Pkcs11) -> Result<(), Error> {
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
}

fn pair(session: &Session, label: &str) -> Pair {
    let named = [Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(label.into())];
    let public = [&named[..], &[Attribute::EcParams(SECP256R1.to_vec())]].concat();
    let (public, private) = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &named).unwrap();
    Pair { public, private }
}

fn sign(session: &Session, key: ObjectHandle) -> Result<Vec<u8>, Error> {
    session.sign(&Mechanism::Ecdsa, key, &DIGEST)
}

fn find(session: &Session, class: ObjectClass, label: &str) -> ObjectHandle {
    let template = [Attribute::Class(class), Attribute::Label(label.into()), Attribute::Id(label.into())];
    session.find_objects(&template).unwrap()[0]
}

#[track_caller]
fn answers<T: std::fmt::Debug>(result: Result<T, Error>, expected: RvError) {
    match result {
        Err(Error::Pkcs11(answer, _)) if answer == expected => {}
        other => panic!("{other:?}, not {expected:?}"),
    }
}

#[test]
fn a_sound_device_does_what_the_module_behind_it_does() {
    let world = World::new("sound");
    let session = world.session();
    let key = pair(&session, "a");
    let signature = sign(&session, key.private).unwrap();
    session.verify(&Mechanism::Ecdsa, key.public, &DIGEST, &signature).unwrap();
    let library = world.context.get_library_info().unwrap();
    assert_eq!((library.manufacturer_id(), library.cryptoki_version().major()), ("SoftHSM", 2));
}

#[test]
fn what_is_refused_is_not_done() {
    let world = World::new("refused");
    let session = world.session();
    let key = pair(&session, "a");
    let fault = world.device.fault(Function::DestroyObject, When::Nth(1), Effect::Refuse(CKR_DEVICE_ERROR));
    answers(session.destroy_object(key.private), RvError::DeviceError);
    sign(&session, key.private).unwrap();
    session.destroy_object(key.private).unwrap();
    assert_eq!(fault.hits(), 1);
}

#[test]
fn what_is_done_with_its_answer_lost_is_done() {
    let world = World::new("lost");
    let session = world.session();
    let key = pair(&session, "a");
    world.device.fault(Function::DestroyObject, When::Always, Effect::LoseAnswer(CKR_FUNCTION_FAILED));
    answers(session.destroy_object(key.private), RvError::FunctionFailed);
    answers(sign(&session, key.private), RvError::ObjectHandleInvalid);
    answers(session.destroy_object(key.private), RvError::ObjectHandleInvalid);
}

#[test]
fn a_fault_meets_the_calls_it_was_set_for_and_no_others() {
    let world = World::new("when");
    let session = world.session();
    let met = |when: When| -> Vec<usize> {
        let fault = world.device.fault(Function::GetSessionInfo, when, Effect::Refuse(CKR_DEVICE_ERROR));
        let met = (1..=40).filter(|_| session.get_session_info().is_err()).collect();
        fault.clear();
        met
    };
    assert_eq!(met(When::Nth(3)), [3]);
    assert_eq!(met(When::First(2)), [1, 2]);
    assert_eq!(met(When::Always).len(), 40);
    assert_eq!(met(When::Chance(0.0)), [0; 0]);
    assert_eq!(met(When::Chance(1.0)).len(), 40);
    assert!((8..=32).contains(&met(When::Chance(0.5)).len()));
    assert!(session.get_session_info().is_ok(), "all of them were cleared");
    world.device.fault(None, When::Always, Effect::Refuse(CKR_DEVICE_ERROR));
    answers(world.context.get_slots_with_token(), RvError::DeviceError);
    world.device.mend();
    assert!(world.context.get_slots_with_token().is_ok());
}

#[test]
fn a_call_is_delayed_by_what_was_asked_for() {
    let world = World::new("delay");
    let session = world.session();
    let delay = Duration::from_millis(80);
    world.device.fault(Function::GetSessionInfo, When::Always, Effect::Delay(delay));
    let began = Instant::now();
    session.get_session_info().unwrap();
    assert!(began.elapsed() >= delay);
}

#[test]
fn calls_that_hang_go_on_when_they_are_released_and_hold_up_nobody_else() {
    let world = World::new("hang");
    let other = world.session();
    let key = pair(&other, "a").private;
    let fault = world.device.fault(Function::Sign, When::First(3), Effect::Hang);
    thread::scope(|scope| {
        let signing: Vec<_> =
            (0..3).map(|_| world.session()).map(|hung| scope.spawn(move || sign(&hung, key))).collect();
        world.device.await_hanging(3, AMPLE);
        sign(&other, key).unwrap();
        assert!(signing.iter().all(|each| !each.is_finished()));
        fault.clear();
        signing.into_iter().for_each(|each| drop(each.join().unwrap().unwrap()));
    });
    assert_eq!(world.device.hanging(), 0);
}

#[test]
fn every_call_that_hangs_goes_on_when_they_are_released() {
    let world = World::new("several");
    world.device.fault(Function::GetSessionInfo, When::Always, Effect::Hang);
    thread::scope(|scope| {
        let sessions: Vec<_> = (0..3).map(|_| world.session()).collect();
        let asking: Vec<_> = sessions.into_iter().map(|it| scope.spawn(move || it.get_session_info())).collect();
        world.device.await_hanging(3, AMPLE);
        world.device.release();
        asking.into_iter().for_each(|answer| {
            answer.join().unwrap().unwrap();
        });
    });
    assert_eq!(world.device.hanging(), 0);
}

#[test]
fn what_is_done_before_a_crash_is_done() {
    // Tokens of its own: a copy of SoftHSM that is initialised while another process makes a token overlooks some, or ends its process.
    let tokens = tempfile::tempdir().unwrap();
    let configuration = tokens.path().join("softhsm.conf");
    fs::write(&configuration, format!("directories.tokendir = {}\n", tokens.path().display())).unwrap();
    let device = Device::new();
    for (effect, done) in [(Effect::Crash, false), (Effect::CrashAfter, true)] {
        device.fault(Function::InitToken, When::Nth(1), effect);
        let mut command = Command::new("softhsm2-util");
        command.arg("--module").arg(device.module()).args(["--init-token", "--free", "--label", "done"]);
        command.args(["--pin", PIN, "--so-pin", PIN]).env("SOFTHSM2_CONF", &configuration);
        let crashed = command.output().unwrap();
        assert_eq!(crashed.status.signal(), Some(6), "{crashed:?}");
        let slots = show_slots(&device.module(), &[("SOFTHSM2_CONF", &configuration)]);
        assert!(slots.status.success(), "{slots:?}");
        assert_eq!(String::from_utf8_lossy(&slots.stdout).contains("done"), done, "{slots:?}");
    }
}

#[test]
fn a_crash_ends_the_process_and_what_it_called_can_still_be_read() {
    let _world = World::new("crash");
    let device = Device::new();
    device.fault(Function::GetTokenInfo, When::Nth(1), Effect::Crash);
    let crashed = show_slots(&device.module(), &[]);
    assert_eq!(crashed.status.signal(), Some(6), "{crashed:?}");
    assert_eq!((device.calls(Function::Initialize), device.calls(Function::GetTokenInfo)), (1, 1));
    let sound = show_slots(&device.module(), &[]);
    assert!(sound.status.success() && String::from_utf8_lossy(&sound.stdout).contains("crash-"), "{sound:?}");
    assert_eq!(device.calls(Function::Initialize), 2);
}

#[test]
fn a_module_that_is_loaded_from_where_it_was_built_is_told_by_variables() {
    let _world = World::new("variables");
    let device = Device::in_front_of(Path::new(""));
    let deps = env::current_exe().unwrap();
    let built = deps.with_file_name("libhallmark_faulty.so");
    let told = show_slots(&built, &[(CONTROL_VARIABLE, &device.control()), (MODULE_VARIABLE, Path::new(SOFTHSM))]);
    assert!(told.status.success() && String::from_utf8_lossy(&told.stdout).contains("variables-"), "{told:?}");
    assert_eq!(device.calls(Function::Initialize), 1);
    let untold = show_slots(&built, &[]);
    assert!(!untold.status.success());
    assert!(String::from_utf8_lossy(&untold.stderr).contains(CONTROL_VARIABLE), "{untold:?}");
}

/// A program that knows nothing of this crate.
fn show_slots(module: &Path, variables: &[(&str, &Path)]) -> Output {
    let mut command = Command::new("softhsm2-util");
    command.arg("--module").arg(module).arg("--show-slots").envs(variables.iter().copied());
    command.output().unwrap()
}

#[test]
fn a_signature_is_flipped_and_verifies_no_more() {
    let world = World::new("flip");
    let session = world.session();
    let key = pair(&session, "a");
    let fault = world.device.fault(Function::Sign, When::Always, Effect::FlipSignature);
    let flipped = sign(&session, key.private).unwrap();
    let verify = |signature: &[u8]| session.verify(&Mechanism::Ecdsa, key.public, &DIGEST, signature);
    answers(verify(&flipped), RvError::SignatureInvalid);
    fault.clear();
    verify(&sign(&session, key.private).unwrap()).unwrap();
}

#[test]
fn a_log_out_takes_the_private_keys_out_of_sight() {
    let world = World::new("logout");
    let session = world.session();
    let key = pair(&session, "a");
    world.device.fault(Function::SignInit, When::Nth(1), Effect::LogOut);
    assert!(sign(&session, key.private).is_err());
    assert_eq!(session.get_session_info().unwrap().session_state(), SessionState::RwPublic);
}

#[test]
fn after_a_new_log_in_a_label_leads_to_another_key() {
    for scope in [Scope::Everything, Scope::PrivateKeys] {
        let world = World::new("swap");
        let session = world.session();
        let (first, second) = (pair(&session, "first"), pair(&session, "second"));
        let effect = Effect::SwapKeys { wanted: "first".to_owned(), found: "second".to_owned(), scope };
        world.device.fault(Function::FindObjectsInit, When::Always, effect);
        assert_eq!(find(&session, ObjectClass::PRIVATE_KEY, "first"), first.private, "nobody logged in yet");
        session.logout().unwrap();
        session.login(UserType::User, Some(&PIN.into())).unwrap();
        let public = find(&session, ObjectClass::PUBLIC_KEY, "first");
        assert_eq!(public, if scope == Scope::Everything { second.public } else { first.public });
        let signature = sign(&session, find(&session, ObjectClass::PRIVATE_KEY, "first")).unwrap();
        session.verify(&Mechanism::Ecdsa, second.public, &DIGEST, &signature).unwrap();
        world.device.mend();
        let signature = sign(&session, find(&session, ObjectClass::PRIVATE_KEY, "first")).unwrap();
        session.verify(&Mechanism::Ecdsa, first.public, &DIGEST, &signature).unwrap();
    }
}

#[test]
fn sessions_are_as_many_as_the_device_has() {
    let world = World::new("limit");
    world.device.limit_sessions(Some(2));
    let (_first, second) = (world.session(), world.session());
    answers(world.context.open_rw_session(world.slot), RvError::SessionCount);
    assert_eq!(world.device.sessions(), 2);
    drop(second);
    let third = world.session();
    answers(world.context.open_rw_session(world.slot), RvError::SessionCount);
    world.device.limit_sessions(None);
    let _fourth = world.session();
    drop(third);
    assert_eq!(world.device.sessions(), 2);
}

#[test]
fn a_device_that_was_away_comes_back_with_its_sessions_or_without() {
    let world = World::new("away");
    let session = world.session();
    let key = pair(&session, "a").private;
    for (sessions, signs) in [(Sessions::Live, true), (Sessions::Die, false)] {
        world.device.away(Absence { code: CKR_DEVICE_REMOVED, sessions });
        answers(sign(&session, key), RvError::DeviceRemoved);
        answers(world.context.get_slots_with_token(), RvError::DeviceRemoved);
        answers(initialize(&world.context), RvError::DeviceRemoved);
        world.device.restore();
        assert_eq!(sign(&session, key).is_ok(), signs);
    }
    assert_eq!(world.device.sessions(), 0);
    let session = world.session();
    sign(&session, find(&session, ObjectClass::PRIVATE_KEY, "a")).unwrap();
    world.device.end_sessions();
    answers(session.get_session_info(), RvError::SessionHandleInvalid);
}

#[test]
fn a_module_that_died_lives_again_after_finalize_and_initialize() {
    let world = World::new("dead");
    let session = world.session();
    pair(&session, "a");
    for (code, answer) in
        [(CKR_DEVICE_REMOVED, RvError::DeviceRemoved), (CKR_CRYPTOKI_NOT_INITIALIZED, RvError::CryptokiNotInitialized)]
    {
        world.device.kill_module(code);
        answers(world.context.get_slots_with_token(), answer);
        answers(world.context.open_rw_session(world.slot), answer);
        let finalized = world.context.clone().finalize();
        assert_eq!(finalized.is_ok(), code == CKR_DEVICE_REMOVED, "{finalized:?}");
        initialize(&world.context).unwrap();
        let session = world.session();
        sign(&session, find(&session, ObjectClass::PRIVATE_KEY, "a")).unwrap();
    }
}

#[test]
fn calls_are_counted_by_function_session_and_key() {
    let world = World::new("count");
    let (one, two) = (world.session(), world.session());
    let (a, b) = (pair(&one, "a").private, pair(&one, "b").private);
    let before = world.device.counts();
    for (session, key) in [(&one, a), (&one, b), (&one, b), (&two, b)] {
        sign(session, key).unwrap();
    }
    let calls = world.device.counts().since(&before);
    assert_eq!(calls.0.into_iter().collect::<Vec<_>>(), [(Function::SignInit, 4), (Function::Sign, 8)]);
    let tally = |session: &Session, function, key: Option<ObjectHandle>| {
        let (session, key) = (session.handle(), key.map_or(0, |key| key.handle()));
        let fits = |tally: &&Tally| (tally.function, tally.session, tally.key) == (function, session, key);
        world.device.tallies().iter().filter(fits).map(|tally| tally.calls).sum::<u64>()
    };
    assert_eq!([tally(&one, Function::SignInit, Some(a)), tally(&one, Function::SignInit, Some(b))], [1, 2]);
    assert_eq!([tally(&two, Function::SignInit, Some(a)), tally(&two, Function::SignInit, Some(b))], [0, 1]);
    assert_eq!([tally(&one, Function::Sign, None), tally(&two, Function::Sign, None)], [6, 2]);
}

#[test]
fn signatures_take_their_time_and_so_many_are_made_at_once() {
    let world = World::new("pace");
    let anchor = world.session();
    let key = pair(&anchor, "a").private;
    let latency = Duration::from_millis(50);
    // `cryptoki` calls C_Sign twice for a signature, and the device takes its time for each.
    for (parallel, rounds) in [(1, 8), (2, 4), (4, 2)] {
        world.device.pace(latency, parallel);
        let sessions: Vec<_> = (0..4).map(|_| world.session()).collect();
        let began = Instant::now();
        thread::scope(|scope| {
            for session in sessions {
                scope.spawn(move || sign(&session, key).unwrap());
            }
        });
        let took = began.elapsed();
        assert!(took >= latency * rounds, "{parallel} at once took {took:?}");
        assert!(parallel == 1 || took < latency * 8, "{parallel} at once took {took:?}, as long as one after another");
    }
}

#[test]
fn a_pin_locks_after_so_many_wrong_ones_and_the_token_says_so() {
    let world = World::new("locks");
    world.device.lock_pin_after(Some(3));
    let session = world.context.open_rw_session(world.slot).unwrap();
    let login = |pin: &str| session.login(UserType::User, Some(&AuthPin::from(pin)));
    let flags = || {
        let token = world.context.get_token_info(world.slot).unwrap();
        (token.user_pin_count_low(), token.user_pin_final_try(), token.user_pin_locked())
    };
    assert_eq!(flags(), (false, false, false));
    answers(login("00000000"), RvError::PinIncorrect);
    assert_eq!(flags(), (true, false, false));
    login(PIN).unwrap();
    session.logout().unwrap();
    assert_eq!(flags(), (false, false, false), "a right PIN makes good for wrong ones");
    for _ in 0..3 {
        answers(login("00000000"), RvError::PinIncorrect);
    }
    assert_eq!(flags(), (true, false, true));
    answers(login(PIN), RvError::PinLocked);
}

#[test]
fn two_devices_of_one_process_know_nothing_of_each_other() {
    let (one, two) = (World::new("one"), World::new("two"));
    let session = two.session();
    one.device.kill_module(CKR_DEVICE_REMOVED);
    one.context.clone().finalize().unwrap();
    assert!(session.get_session_info().is_ok());
    assert_eq!((one.device.calls(Function::Finalize), two.device.calls(Function::Finalize)), (1, 0));
}
