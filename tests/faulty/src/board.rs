//! The file that a test and the module share in memory: what shall go wrong, and what was called.

use std::{
    fs::File,
    io,
    ops::Deref,
    path::{Path, PathBuf},
    ptr::NonNull,
    sync::atomic::{
        AtomicU8, AtomicU32, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};

use rustix::{
    mm::{MapFlags, ProtFlags, mmap, munmap},
    thread::futex,
};

use crate::{
    fault::{Effect, When, Words},
    function::Function,
};

/// Names the control file of the module, which a [`Device`](crate::Device) made. Without it, the module looks for a file
/// of its own name with `.control` behind it.
pub const CONTROL_VARIABLE: &str = "HALLMARK_FAULTY_CONTROL";

/// Names the module that calls are forwarded to, where the control file names none; [`SOFTHSM`] without it.
pub const MODULE_VARIABLE: &str = "HALLMARK_FAULTY_MODULE";

/// Where Debian's package `softhsm2` puts its module.
pub const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Tells a control file from any other; changes with the form of [`Board`].
const FORM: u64 = 0x6861_6c6c_6d61_0004;

/// Most bytes of the path of the module behind.
const PATH_BYTES_MAX: usize = 4_096;

/// Most bytes of a label.
const LABEL_BYTES_MAX: usize = 64;

/// Bytes of CK_TOKEN_INFO: utcTime.
pub(crate) const CLOCK_BYTES: usize = 16;

/// Most faults in the life of a device; their places are not used again, so that what they met can be read later.
const FAULTS_MAX: usize = 1_024;

/// Most combinations of function, session and key that are counted apart.
const TALLIES_MAX: usize = 65_536;

/// What is shared. Zeros are a device without faults.
#[repr(C)]
pub(crate) struct Board {
    form: AtomicU64,
    pub(crate) target: Text<PATH_BYTES_MAX>,
    /// How many of the conditions below are not as in a sound device; while it is 0, calls are counted and forwarded.
    pub(crate) armed: AtomicU32,
    /// What every call answers; 0 while the device is there.
    pub(crate) away: AtomicU64,
    /// What every call answers until C_Finalize and C_Initialize; 0 otherwise.
    pub(crate) dead: AtomicU64,
    /// How often all sessions were ended from outside.
    pub(crate) deaths: AtomicU64,
    /// Most open sessions, and one; 0 without a limit.
    pub(crate) sessions_max: AtomicU64,
    pub(crate) sessions: AtomicU64,
    /// Wrong PINs after which the token locks; 0 if it never does.
    pub(crate) pin_attempts_max: AtomicU64,
    pub(crate) pin_attempts: AtomicU64,
    pub(crate) logins: AtomicU64,
    /// What the token says that its own clock shows; empty if it has none.
    pub(crate) clock: Text<CLOCK_BYTES>,
    pub(crate) latency_nanos: AtomicU64,
    pub(crate) parallel: AtomicU64,
    /// How often hanging calls were released; who hangs waits for it to change.
    pub(crate) released: AtomicU32,
    pub(crate) hanging: AtomicU32,
    draws: AtomicU64,
    faults_used: AtomicU32,
    faults: [FaultPlace; FAULTS_MAX],
    pub(crate) calls: [AtomicU64; Function::COUNT],
    /// Calls of fsync and fdatasync, where the module is preloaded.
    pub(crate) syncs: AtomicU64,
    tallies_used: AtomicU32,
    tallies: [TallyPlace; TALLIES_MAX],
}

/// Text of at most `BYTES_MAX` bytes.
#[repr(C)]
pub(crate) struct Text<const BYTES_MAX: usize> {
    length: AtomicU32,
    bytes: [AtomicU8; BYTES_MAX],
}

#[repr(C)]
pub(crate) struct FaultPlace {
    active: AtomicU32,
    /// Number of the function, and one; 0 for all of them.
    function: AtomicU32,
    when: [AtomicU64; 2],
    effect: [AtomicU64; 2],
    wanted: Text<LABEL_BYTES_MAX>,
    found: Text<LABEL_BYTES_MAX>,
    /// [`Board::logins`] when it was set.
    logins: AtomicU64,
    /// How many keys had been made when it was set.
    keys: AtomicU64,
    seen: AtomicU64,
    hits: AtomicU64,
}

#[repr(C)]
pub(crate) struct TallyPlace {
    function: AtomicU32,
    session: AtomicU64,
    key: AtomicU64,
    calls: AtomicU64,
}

impl Board {
    /// Sets a fault.
    pub(crate) fn set(&self, function: Option<Function>, when: When, effect: &Effect) -> Option<&FaultPlace> {
        let place = self.faults.get(usize::try_from(self.faults_used.fetch_add(1, SeqCst)).ok()?)?;
        place.function.store(function.map_or(0, |function| function.number() + 1), SeqCst);
        store(&place.when, when.words());
        store(&place.effect, effect.words());
        place.wanted.store(effect.labels().0.as_bytes())?;
        place.found.store(effect.labels().1.as_bytes())?;
        place.logins.store(self.logins.load(SeqCst), SeqCst);
        place.keys.store(self.keys_made(), SeqCst);
        self.armed.fetch_add(1, SeqCst);
        place.active.store(1, SeqCst);
        Some(place)
    }

    /// Ends a fault.
    pub(crate) fn clear(&self, place: &FaultPlace) {
        if place.active.swap(0, SeqCst) == 1 {
            self.armed.fetch_sub(1, SeqCst);
        }
    }

    pub(crate) fn faults(&self) -> impl Iterator<Item = &FaultPlace> {
        self.faults.iter().take(usize::try_from(self.faults_used.load(SeqCst)).unwrap_or(FAULTS_MAX))
    }

    /// The effects that meet a call of this function; each is counted.
    pub(crate) fn effects(&self, function: Function) -> Vec<(&FaultPlace, Effect)> {
        let concerned = |place: &&FaultPlace| {
            let of = place.function.load(SeqCst);
            place.active() && (of == 0 || of == function.number() + 1)
        };
        let mut effects = Vec::new();
        for place in self.faults().filter(concerned) {
            let labels = || (place.wanted.load(), place.found.load());
            let Some(effect) = Effect::read(load(&place.effect), labels) else { continue };
            let when = load(&place.when);
            let sleeps = if matches!(effect, Effect::SwapKeys { .. }) {
                self.logins.load(SeqCst) == place.logins.load(SeqCst)
            } else {
                when.kind == When::AFTER_KEY && self.keys_made() == place.keys.load(SeqCst)
            };
            if !sleeps && When::meets(when, place.seen.fetch_add(1, SeqCst), || self.draw()) {
                place.hits.fetch_add(1, SeqCst);
                effects.push((place, effect));
            }
        }
        effects
    }

    fn keys_made(&self) -> u64 {
        self.calls.get(Function::GenerateKeyPair.number() as usize).map_or(0, |calls| calls.load(SeqCst))
    }

    /// Does not come back until hanging calls are released or the fault is over.
    pub(crate) fn hang(&self, place: &FaultPlace) {
        let released = self.released.load(SeqCst);
        self.hanging.fetch_add(1, SeqCst);
        wake(&self.hanging);
        while place.active() && self.released.load(SeqCst) == released {
            // Any answer is a reason to look again.
            let _ = futex::wait(&self.released, futex::Flags::empty(), released, None);
        }
        self.hanging.fetch_sub(1, SeqCst);
        wake(&self.hanging);
    }

    pub(crate) fn release(&self) {
        self.released.fetch_add(1, SeqCst);
        wake(&self.released);
    }

    /// A new place where calls of this function, session and key are counted; none if all are taken.
    pub(crate) fn new_tally(&self, function: Function, session: u64, key: u64) -> Option<usize> {
        let number = usize::try_from(self.tallies_used.fetch_add(1, SeqCst)).ok()?;
        let place = self.tallies.get(number)?;
        place.session.store(session, SeqCst);
        place.key.store(key, SeqCst);
        place.function.store(function.number() + 1, SeqCst);
        Some(number)
    }

    pub(crate) fn tally_at(&self, number: usize) -> Option<&TallyPlace> {
        self.tallies.get(number)
    }

    /// Function, session, key and calls.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = (Function, u64, u64, u64)> {
        self.tallies.iter().take(usize::try_from(self.tallies_used.load(SeqCst)).unwrap_or(TALLIES_MAX)).filter_map(
            |place| {
                let function = Function::of_number(place.function.load(SeqCst).checked_sub(1)?)?;
                Some((function, place.session.load(SeqCst), place.key.load(SeqCst), place.calls.load(SeqCst)))
            },
        )
    }

    /// The next number of SplitMix64, which needs nothing but a counter.
    fn draw(&self) -> u64 {
        let mut z = self.draws.fetch_add(1, SeqCst).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl FaultPlace {
    pub(crate) fn active(&self) -> bool {
        self.active.load(SeqCst) == 1
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(SeqCst)
    }
}

impl TallyPlace {
    pub(crate) fn count(&self) {
        self.calls.fetch_add(1, Relaxed);
    }
}

impl<const BYTES_MAX: usize> Text<BYTES_MAX> {
    pub(crate) fn store(&self, text: &[u8]) -> Option<()> {
        let length = u32::try_from(text.len()).ok().filter(|_| text.len() <= BYTES_MAX)?;
        self.bytes.iter().zip(text).for_each(|(place, byte)| place.store(*byte, SeqCst));
        self.length.store(length, SeqCst);
        Some(())
    }

    pub(crate) fn load(&self) -> String {
        let length = usize::try_from(self.length.load(SeqCst)).unwrap_or(0);
        let bytes: Vec<u8> = self.bytes.iter().take(length).map(|byte| byte.load(SeqCst)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn store(places: &[AtomicU64; 2], words: Words) {
    let [kind, value] = places;
    kind.store(words.kind, SeqCst);
    value.store(words.value, SeqCst);
}

fn load([kind, value]: &[AtomicU64; 2]) -> Words {
    Words { kind: kind.load(SeqCst), value: value.load(SeqCst) }
}

/// Wakes whoever waits for this number to change, in every process.
fn wake(number: &AtomicU32) {
    // It fails for addresses that are none only. The kernel takes the count as signed: of more than this it wakes one.
    let _ = futex::wake(number, futex::Flags::empty(), i32::MAX.unsigned_abs());
}

/// A board, mapped into this process.
#[derive(Debug)]
pub(crate) struct Mapping {
    board: NonNull<Board>,
}

/// Bytes of a control file.
const BOARD_BYTES: usize = size_of::<Board>();

impl Mapping {
    /// Makes a control file.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len(BOARD_BYTES as u64)?;
        let mapping = Self::map(&file)?;
        mapping.form.store(FORM, SeqCst);
        Ok(mapping)
    }

    /// Opens a control file that a test made.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let form = || io::Error::new(io::ErrorKind::InvalidData, "no control file of this version of the module");
        if file.metadata()?.len() != BOARD_BYTES as u64 {
            return Err(form());
        }
        let mapping = Self::map(&file)?;
        if mapping.form.load(SeqCst) == FORM { Ok(mapping) } else { Err(form()) }
    }

    #[expect(unsafe_code, reason = "memory that two processes share")]
    fn map(file: &File) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory that is in use.
        let address = unsafe { mmap(std::ptr::null_mut(), BOARD_BYTES, protection, MapFlags::SHARED, file, 0) }?;
        let board = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { board })
    }
}

impl Deref for Mapping {
    type Target = Board;

    #[expect(unsafe_code, reason = "memory that two processes share")]
    fn deref(&self) -> &Board {
        // SAFETY: the mapping is as long as a board, begins at a page and lives as long as `self`. A board is made of
        // atomics, for which any bytes are a value and any other process may write. Nobody makes the file shorter: its
        // length was set before it was mapped, and no code here changes it.
        unsafe { self.board.as_ref() }
    }
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "memory that two processes share")]
    fn drop(&mut self) {
        // SAFETY: `map` made this mapping, and no reference into it outlives `self`.
        let unmapped = unsafe { munmap(self.board.as_ptr().cast(), BOARD_BYTES) };
        debug_assert!(unmapped.is_ok(), "the board is unmapped");
    }
}

#[expect(unsafe_code, reason = "memory that two processes share")]
// SAFETY: a board is made of atomics, and its mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}

#[expect(unsafe_code, reason = "memory that two processes share")]
// SAFETY: as for `Send`.
unsafe impl Sync for Mapping {}

/// The control file beside a module.
pub(crate) fn control_beside(module: &Path) -> PathBuf {
    let mut name = module.as_os_str().to_owned();
    name.push(".control");
    name.into()
}
