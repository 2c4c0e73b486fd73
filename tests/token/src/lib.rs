//! Makes SoftHSM tokens for tests: each test has its own, and they lie below the `tokendir` of `SOFTHSM2_CONF`.
//!
//! Beside them there may be one token of another module, which the environment names ([`Token::other`]), for tests that hold over every module.
//!
//! For tests only: everything here ends the test when it fails.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot have its token has failed"
)]

mod replica;

use std::{
    collections::BTreeMap,
    env,
    ffi::CString,
    fs::{self, File},
    path::{Path, PathBuf},
    ptr,
    sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::rand;
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11},
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};

pub use replica::Replica;

/// Where Debian's package `softhsm2` puts the module.
pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The user PIN of every token made here.
pub const PIN: &str = "73912846";

/// The security officer's PIN of every token made here.
pub const SO_PIN: &str = "50918273";

/// Names another module, over which tests that hold for every module run, too: its path.
pub const OTHER_MODULE: &str = "HALLMARK_TEST_MODULE";

/// The label of its token, which begins with [`OTHER_TOKEN_BEGINS`]: the token is initialised anew for each test.
pub const OTHER_TOKEN: &str = "HALLMARK_TEST_TOKEN";

/// Its user PIN.
pub const OTHER_PIN: &str = "HALLMARK_TEST_PIN";

/// Its security officer's PIN.
pub const OTHER_SO_PIN: &str = "HALLMARK_TEST_SO_PIN";

/// What its C_Initialize is given, where it wants that.
pub const OTHER_ARGUMENTS: &str = "HALLMARK_TEST_ARGUMENTS";

/// Names attributes that the other module need not know, or says otherwise, with spaces between them.
pub const OTHER_WAIVED: &str = "HALLMARK_TEST_WAIVED";

/// Set where a test has made a device for itself: its token may never have been initialised, and then has no label.
pub const OTHER_IS_FRESH: &str = "HALLMARK_TEST_FRESH";

/// How the label of a token begins in which everything may be destroyed.
pub const OTHER_TOKEN_BEGINS: &str = "hallmark-test";

/// OBJECT IDENTIFIER secp256r1, DER.
const SECP256R1: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// More tokens than the tests that run at one time use.
const SPARE_AT_FIRST: usize = 8;

/// Bytes of a token's label (PKCS #11, CK_TOKEN_INFO).
const LABEL_BYTES_MAX: usize = 32;

/// One token, of this test alone.
#[derive(Debug)]
pub struct Token {
    label: String,
    serial: String,
    slot: Slot,
    module: &'static Module,
    /// Given back when the token is not used any more; SoftHSM's are as many as are wanted.
    turn: Option<Turn>,
}

impl Token {
    /// Makes a token whose label starts with `name` and is unique.
    #[must_use]
    pub fn make(name: &str) -> Self {
        let mut random = [0; 8];
        rand::fill(&mut random).expect("random bytes");
        let room = LABEL_BYTES_MAX - 2 * random.len() - 1;
        let start: String = name.chars().filter(char::is_ascii_alphanumeric).take(room).collect();
        Self::make_labelled(&format!("{start}-{:016x}", u64::from_be_bytes(random)))
    }

    /// Makes a token of exactly that label, also if there is one already.
    #[must_use]
    pub fn make_labelled(label: &str) -> Self {
        let _writing = writing();
        let module = &*SOFTHSM;
        let slot = initialised(label);
        module.set_pin(slot);
        Self::of(label, slot, module, None)
    }

    /// The token that the environment names, of another module, without any object: it is initialised anew each time. One test at a time has
    /// it. None if the environment names none.
    #[must_use]
    pub fn other() -> Option<Self> {
        let (module, label) = OTHER.as_ref()?;
        let turn = Turn::taken();
        let slot = module.slot(label).unwrap_or_else(|| panic!("the other module has no token `{label}`"));
        if module.cleared(slot).is_none() {
            module.context.init_token(slot, &AuthPin::from(module.so_pin.as_str()), label).expect("C_InitToken");
            module.set_pin(slot);
        }
        Some(Self::of(label, slot, module, Some(turn)))
    }

    fn of(label: &str, slot: Slot, module: &'static Module, turn: Option<Turn>) -> Self {
        // A token whose clock says no time is not read.
        let serial =
            module.context.get_token_info(slot).map(|token| token.serial_number().to_owned()).unwrap_or_default();
        Self { label: label.to_owned(), serial, slot, module, turn }
    }

    /// Its module.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module.path
    }

    /// Its user PIN.
    #[must_use]
    pub fn pin(&self) -> &str {
        &self.module.pin
    }

    /// What C_Initialize of its module is given.
    #[must_use]
    pub fn arguments(&self) -> Option<&str> {
        self.module.arguments.as_deref()
    }

    /// Ends the state of the module in this process, as if its library had lost it.
    pub fn finalize(&self) {
        self.module.context.clone().finalize().expect("C_Finalize");
    }

    /// Its label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its serial.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// A session of this test beside those of the code under test, to do behind its back what others could do.
    /// The process may be logged in already. While this session is open and no other was logged in before it, a keyring
    /// cannot prove its PIN: open the keyring first.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session_of(UserType::User, &self.module.pin)
    }

    /// A session of another user, or with another PIN.
    #[must_use]
    pub fn session_of(&self, user: UserType, pin: &str) -> Session {
        let session = self.module.context.open_rw_session(self.slot).expect("a session");
        let _writing = writing();
        match session.login(user, Some(&AuthPin::from(pin))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, Function::Login)) => session,
            Err(error) => panic!("log-in to the token: {error}"),
        }
    }

    /// A session of this test in which nobody has logged in.
    #[must_use]
    pub fn bare_session(&self) -> Session {
        self.module.context.open_rw_session(self.slot).expect("a session")
    }

    /// Destroys every object whose label begins so, behind the signer's back.
    pub fn destroy_labelled(&self, label: &str) {
        let session = self.session();
        let begins = |object: &ObjectHandle| {
            let read = session.get_attributes(*object, &[AttributeType::Label]).expect("C_GetAttributeValue");
            read.iter().any(|value| matches!(value, Attribute::Label(found) if found.starts_with(label.as_bytes())))
        };
        let mut objects = session.find_objects(&[]).expect("C_FindObjects");
        objects.retain(begins);
        assert!(!objects.is_empty(), "the token has no object `{label}..`");
        for object in objects {
            session.destroy_object(object).expect("C_DestroyObject");
        }
    }

    /// Destroys the public key objects of this label, behind the signer's back.
    pub fn destroy_public_half(&self, label: &str) {
        let session = self.session();
        let template = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Label(label.into())];
        let objects = session.find_objects(&template).expect("C_FindObjects");
        assert!(!objects.is_empty(), "the token has no public key `{label}`");
        objects.into_iter().for_each(|object| session.destroy_object(object).expect("C_DestroyObject"));
    }

    /// The labels of its private keys.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        let session = self.session();
        let objects = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).expect("C_FindObjects");
        objects.into_iter().map(|object| String::from_utf8_lossy(&label(&session, object)).into_owned()).collect()
    }

    /// How many private and how many public keys there are of each label.
    #[must_use]
    pub fn keys(&self) -> BTreeMap<String, (usize, usize)> {
        let session = self.session();
        let mut keys: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for (class, private) in [(ObjectClass::PRIVATE_KEY, true), (ObjectClass::PUBLIC_KEY, false)] {
            for object in session.find_objects(&[Attribute::Class(class)]).expect("C_FindObjects") {
                let of_label = keys.entry(String::from_utf8_lossy(&label(&session, object)).into_owned()).or_default();
                *(if private { &mut of_label.0 } else { &mut of_label.1 }) += 1;
            }
        }
        keys
    }

    /// Makes a P-256 key of this label, as somebody else could who shares the token.
    pub fn make_key(&self, label: &str) {
        let mut id = vec![0; 8];
        rand::fill(&mut id).expect("random bytes");
        make_pair(&self.session(), label, id);
    }

    /// Makes another P-256 key with the label and the CKA_ID of one that is there.
    pub fn make_twin(&self, label: &str) {
        let session = self.session();
        let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(label.into())];
        let first = *session.find_objects(&template).expect("C_FindObjects").first().expect("a key of that label");
        make_pair(&session, label, id(&session, first));
    }

    /// Initialises the token anew under its label, and makes a key for each that was there, with its label and CKA_ID: as if somebody had
    /// set up another device in its place.
    pub fn initialise_anew(&self) {
        let session = self.session();
        let keys = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).expect("C_FindObjects");
        let named = |key| (label(&session, key), id(&session, key));
        let named: Vec<_> = keys.into_iter().map(named).collect();
        session.close().expect("C_CloseSession");
        let Module { context, so_pin, .. } = self.module;
        let writing = writing();
        context.init_token(self.slot, &AuthPin::from(so_pin.as_str()), &self.label).expect("C_InitToken");
        self.module.set_pin(self.slot);
        drop(writing);
        let session = self.session();
        for (label, id) in named {
            make_pair(&session, std::str::from_utf8(&label).expect("a label in UTF-8"), id);
        }
    }

    /// Closes all sessions of this process with the token, as if the device had been pulled and put back.
    #[expect(unsafe_code, reason = "cryptoki has no C_CloseAllSessions")]
    pub fn close_all_sessions(&self) {
        // SAFETY: the module is loaded and initialised (`Module`), and the call takes a number.
        let answer = unsafe {
            let module = cryptoki_sys::Pkcs11::new(self.module()).expect("the module");
            module.C_CloseAllSessions(self.slot.id())
        };
        assert_eq!(answer, cryptoki_sys::CKR_OK, "C_CloseAllSessions");
    }

    /// Logs out every session of this process with the token.
    pub fn log_out(&self) {
        self.session().logout().expect("C_Logout");
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if self.turn.is_none() {
            spare().push(self.slot);
        }
    }
}

fn id(session: &Session, object: ObjectHandle) -> Vec<u8> {
    let read = session.get_attributes(object, &[AttributeType::Id]).expect("C_GetAttributeValue");
    let Some(Attribute::Id(id)) = read.into_iter().next() else { panic!("a key without CKA_ID") };
    id
}

/// Initialises a token that no test uses, with this label.
fn initialised(label: &str) -> Slot {
    let context = &SOFTHSM.context;
    let mut spare = spare();
    loop {
        let free = (0..spare.len()).find(|at| {
            // Refused while a session of the test before is open.
            context.init_token(spare[*at], &AuthPin::from(SO_PIN), label).is_ok()
        });
        match free {
            Some(at) => return spare.swap_remove(at),
            None => spare.push(new_slot(context)),
        }
    }
}

/// Slots of tokens that no test uses. They are made before anything else happens, and used again: SoftHSM 2.6 does not
/// guard its list of slots against a thread that makes it longer, so that the process would end now and then.
fn spare() -> MutexGuard<'static, Vec<Slot>> {
    static SPARE: LazyLock<Mutex<Vec<Slot>>> =
        LazyLock::new(|| Mutex::new((0..SPARE_AT_FIRST).map(|_| new_slot(&SOFTHSM.context)).collect()));
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn new_slot(context: &Pkcs11) -> Slot {
    let free = |slot: &Slot| context.get_token_info(*slot).is_ok_and(|token| !token.token_initialized());
    let slots = context.get_slots_with_token().expect("slots");
    let slot = slots.into_iter().find(free).expect("SoftHSM always has a free slot");
    context.init_token(slot, &AuthPin::from(SO_PIN), "spare").expect("C_InitToken");
    slot
}

fn label(session: &Session, object: ObjectHandle) -> Vec<u8> {
    let read = session.get_attributes(object, &[AttributeType::Label]).expect("C_GetAttributeValue");
    match read.into_iter().next() {
        Some(Attribute::Label(label)) => label,
        other => panic!("{other:?} instead of a label"),
    }
}

fn make_pair(session: &Session, label: &str, id: Vec<u8>) {
    let named = [Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(id)];
    let public = [&named[..], &[Attribute::EcParams(SECP256R1.to_vec())]].concat();
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &named).expect("C_GenerateKeyPair");
}

/// A module, initialised once and never finalised: a process has one state of it, shared with the code under test.
#[derive(Debug)]
struct Module {
    path: PathBuf,
    context: Pkcs11,
    arguments: Option<String>,
    pin: String,
    so_pin: String,
}

impl Module {
    fn initialised(path: PathBuf, arguments: Option<String>, pin: String, so_pin: String) -> Self {
        let context = Pkcs11::new(&path).unwrap_or_else(|error| panic!("the module `{}`: {error}", path.display()));
        match context.initialize(initial(arguments.as_deref())) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, Function::Initialize)) => {}
            Err(error) => panic!("C_Initialize: {error}"),
        }
        Self { path, context, arguments, pin, so_pin }
    }

    /// The slot of the token of that label; of a device that is new, the first whose token is not initialised or is not read.
    fn slot(&self, label: &str) -> Option<Slot> {
        let slots = self.context.get_slots_with_token().expect("slots");
        let is_it = |slot: &&Slot| self.context.get_token_info(**slot).is_ok_and(|token| token.label() == label);
        let is_new =
            |slot: &&Slot| self.context.get_token_info(**slot).map_or(true, |token| !token.token_initialized());
        let fresh = || slots.iter().find(is_new).filter(|_| env::var_os(OTHER_IS_FRESH).is_some());
        slots.iter().find(is_it).or_else(fresh).copied()
    }

    /// Destroys everything in a token, where its user can; nothing where it has no user yet or where something stays.
    fn cleared(&self, slot: Slot) -> Option<()> {
        let session = self.context.open_rw_session(slot).ok()?;
        session.login(UserType::User, Some(&AuthPin::from(self.pin.as_str()))).ok()?;
        let objects = session.find_objects(&[]).ok()?;
        objects.into_iter().try_for_each(|object| session.destroy_object(object)).ok()
    }

    fn set_pin(&self, slot: Slot) {
        let session = self.context.open_rw_session(slot).expect("a session");
        session
            .login(UserType::So, Some(&AuthPin::from(self.so_pin.as_str())))
            .expect("log-in of the security officer");
        session.init_pin(&AuthPin::from(self.pin.as_str())).expect("C_InitPIN");
        session.close().expect("C_CloseSession");
    }
}

/// What a module is initialised with; its text stays as long as the process.
#[expect(unsafe_code, reason = "cryptoki takes a pointer for the arguments")]
fn initial(arguments: Option<&str>) -> CInitializeArgs {
    let flags = CInitializeFlags::OS_LOCKING_OK;
    let Some(arguments) = arguments else { return CInitializeArgs::new(flags) };
    let text = CString::new(arguments).expect("no zero byte").into_raw();
    let text = ptr::NonNull::new(text).expect("a text").cast();
    // SAFETY: the text ends with a zero byte, and is never freed.
    unsafe { CInitializeArgs::new_with_reserved(flags, text) }
}

/// SoftHSM; install the package softhsm2.
static SOFTHSM: LazyLock<Module> = LazyLock::new(|| {
    fs::create_dir_all(token_directory()).expect("the directory of the tokens");
    Module::initialised(MODULE.into(), None, PIN.to_owned(), SO_PIN.to_owned())
});

/// The other module and the label of its token, if the environment names one.
static OTHER: LazyLock<Option<(Module, String)>> = LazyLock::new(|| {
    let path = env::var_os(OTHER_MODULE)?;
    let variable = |name| env::var(name).unwrap_or_else(|_| panic!("{OTHER_MODULE} is set, and {name} is not"));
    let label = variable(OTHER_TOKEN);
    assert!(
        label.starts_with(OTHER_TOKEN_BEGINS),
        "{OTHER_TOKEN} is `{label}`: everything in it would be destroyed, so that it begins with `{OTHER_TOKEN_BEGINS}`"
    );
    let arguments = env::var(OTHER_ARGUMENTS).ok();
    Some((Module::initialised(path.into(), arguments, variable(OTHER_PIN), variable(OTHER_SO_PIN)), label))
});

/// The turn of whoever has the other module's token.
#[derive(Debug)]
struct Turn;

/// Whether somebody has it, and who waits to be told.
static TAKEN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

impl Turn {
    fn taken() -> Self {
        let (taken, given_back) = &TAKEN;
        let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = given_back.wait_while(taken, |taken| *taken).unwrap_or_else(PoisonError::into_inner);
        *taken = true;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (taken, given_back) = &TAKEN;
        *taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        given_back.notify_one();
    }
}

/// The turn of whoever initialises a token, sets its PIN or logs in; it is nobody's twice. No copy of SoftHSM behind `hallmark-faulty` is initialised meanwhile: SoftHSM's own locks are the process's, which keep other
/// processes away, and no other copy in this one.
fn writing() -> File {
    let configuration = env::var_os("SOFTHSM2_CONF").expect("SOFTHSM2_CONF");
    let configuration = File::open(configuration).expect("the file that SOFTHSM2_CONF names");
    configuration.lock().expect("a lock of that file");
    configuration
}

/// `directories.tokendir` of the configuration that SoftHSM reads; relative to the working directory, as there.
fn token_directory() -> PathBuf {
    let path = env::var_os("SOFTHSM2_CONF").expect("SOFTHSM2_CONF; `.cargo/config.toml` sets it");
    let text = fs::read_to_string(&path).expect("the file that SOFTHSM2_CONF names");
    let value = text.lines().find_map(|line| line.strip_prefix("directories.tokendir")?.trim().strip_prefix('='));
    Path::new(value.expect("directories.tokendir").trim()).to_owned()
}
