//! The test's side.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot have its device has failed")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use cryptoki_sys::CK_RV;
use rustix::thread::futex;
use tempfile::TempDir;

use crate::{
    board::{FaultPlace, Mapping, SOFTHSM, control_beside},
    fault::{Absence, Effect, Sessions, When},
    function::Function,
};

/// What cargo calls the module.
const LIBRARY: &str = "libhallmark_faulty.so";

/// A device that fails when it is told to.
///
/// Dropping it lets all calls that hang go on; the module stays loaded where it was loaded, without faults.
#[derive(Debug)]
pub struct Device {
    directory: TempDir,
    board: Mapping,
}

/// A fault that was set.
#[derive(Clone, Copy)]
pub struct Fault<'a> {
    device: &'a Device,
    place: &'a FaultPlace,
}

/// How often a function was called in a session, with a key where it names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// The function.
    pub function: Function,
    /// Handle of the session; handles are used again by later processes, and by some modules.
    pub session: u64,
    /// Handle of the key that C_SignInit named; 0 for other functions.
    pub key: u64,
    /// How often.
    pub calls: u64,
}

/// How often each function was called; those that were not are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<Function, u64>);

impl Device {
    /// A device in front of a copy of SoftHSM. Copies, because a process has one state of a module: with a copy, this
    /// device can be finalised, crash or hang without touching other tests of the same process. It sees the tokens that
    /// were made before it was first initialised.
    #[must_use]
    pub fn new() -> Self {
        let device = Self::in_front_of(Path::new(""));
        let softhsm = device.directory.path().join("softhsm.so");
        fs::copy(SOFTHSM, &softhsm).expect("SoftHSM's module; install the package softhsm2");
        device.aim_at(&softhsm);
        device
    }

    /// A device in front of this module, which is not copied.
    #[must_use]
    pub fn in_front_of(module: &Path) -> Self {
        let directory = TempDir::new().expect("a directory");
        let library = directory.path().join("faulty.so");
        fs::copy(built_library(), &library).expect("the module is copied");
        let board = Mapping::create(&control_beside(&library)).expect("the control file is made");
        let device = Self { directory, board };
        device.aim_at(module);
        device
    }

    fn aim_at(&self, module: &Path) {
        self.board.target.store(module.as_os_str().as_encoded_bytes()).expect("the module's path is not that long");
    }

    /// The path of this device's module. Whoever loads it, in this or another process, meets this device.
    #[must_use]
    pub fn module(&self) -> PathBuf {
        self.directory.path().join("faulty.so")
    }

    /// Its control file, for a module that is loaded from elsewhere: the value of
    /// [`CONTROL_VARIABLE`](crate::CONTROL_VARIABLE).
    #[must_use]
    pub fn control(&self) -> PathBuf {
        control_beside(&self.module())
    }

    /// From now on, calls of this function (of any, if none is named) have this effect. C_GetFunctionList has none.
    pub fn fault(&self, function: impl Into<Option<Function>>, when: When, effect: Effect) -> Fault<'_> {
        let place =
            self.board.set(function.into(), when, &effect).expect("a device takes so many faults, labels so long");
        Fault { device: self, place }
    }

    /// From now on, every call answers so, until [`Device::restore`].
    pub fn away(&self, absence: Absence) {
        if absence.sessions == Sessions::Die {
            self.end_sessions();
        }
        self.arm(self.board.away.swap(absence.code, SeqCst), absence.code);
    }

    /// The device is back.
    pub fn restore(&self) {
        self.arm(self.board.away.swap(0, SeqCst), 0);
    }

    /// From now on, every call answers so, until somebody calls C_Finalize and C_Initialize, as modules do whose device is
    /// in another process.
    pub fn kill_module(&self, code: CK_RV) {
        self.end_sessions();
        self.arm(self.board.dead.swap(code, SeqCst), code);
    }

    /// Every session is closed, and with them the log-in.
    pub fn end_sessions(&self) {
        self.board.deaths.fetch_add(1, SeqCst);
    }

    /// Sessions beyond so many are refused with CKR_SESSION_COUNT.
    pub fn limit_sessions(&self, most: Option<u64>) {
        self.board.sessions_max.store(most.map_or(0, |most| most + 1), SeqCst);
    }

    /// The user PIN locks after so many wrong ones in a row, and the token's flags tell of it; `None` for never.
    pub fn lock_pin_after(&self, attempts: Option<u64>) {
        self.board.pin_attempts_max.store(attempts.unwrap_or(0), SeqCst);
        self.board.pin_attempts.store(0, SeqCst);
    }

    /// As if somebody had tried so many wrong PINs since the last right one.
    pub fn had_wrong_pins(&self, attempts: u64) {
        self.board.pin_attempts.store(attempts, SeqCst);
    }

    /// The token has a clock of its own, which shows this: `YYYYMMDDhhmmss00` (CK_TOKEN_INFO: utcTime). Without a text it has none.
    ///
    /// # Panics
    /// If it is longer.
    pub fn shows_time(&self, time: &str) {
        self.board.clock.store(time.as_bytes()).expect("16 characters");
    }

    /// Each signature takes so long, and so many are made at a time. A latency of zero ends it.
    pub fn pace(&self, latency: Duration, parallel: u64) {
        assert!(parallel > 0, "a device that signs nothing hangs");
        let nanos = u64::try_from(latency.as_nanos()).expect("a latency");
        self.board.parallel.store(parallel, SeqCst);
        self.arm(self.board.latency_nanos.swap(nanos, SeqCst), nanos);
    }

    /// Lets the calls that hang go on.
    pub fn release(&self) {
        self.board.release();
    }

    /// Ends every fault and absence, and releases what hangs. Limits and pace stay.
    pub fn mend(&self) {
        self.board.faults().for_each(|place| self.board.clear(place));
        self.arm(self.board.dead.swap(0, SeqCst), 0);
        self.restore();
        self.release();
    }

    /// How many calls hang.
    #[must_use]
    pub fn hanging(&self) -> u32 {
        self.board.hanging.load(SeqCst)
    }

    /// Waits until so many calls hang.
    ///
    /// # Panics
    /// If that takes longer than `within`.
    pub fn await_hanging(&self, calls: u32, within: Duration) {
        let began = Instant::now();
        loop {
            let hanging = self.hanging();
            if hanging == calls {
                return;
            }
            let left = within.checked_sub(began.elapsed());
            let left = left.unwrap_or_else(|| panic!("{hanging} calls hang, not {calls}"));
            // Any answer is a reason to look again.
            let left = left.try_into().expect("a time that fits");
            let _ = futex::wait(&self.board.hanging, futex::Flags::empty(), hanging, Some(&left));
        }
    }

    /// Sessions that the process that used this device last has open.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.board.sessions.load(SeqCst)
    }

    /// How often somebody logged in.
    #[must_use]
    pub fn logins(&self) -> u64 {
        self.board.logins.load(SeqCst)
    }

    /// How often a function was called, whatever came of it.
    #[must_use]
    pub fn calls(&self, function: Function) -> u64 {
        self.counts().of(function)
    }

    /// How often each function was called, whatever came of it.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let calls = self.board.calls.iter().map(|calls| calls.load(SeqCst));
        Counts(Function::ALL.iter().copied().zip(calls).filter(|(_, calls)| *calls > 0).collect())
    }

    /// How often the process that has loaded the module called fsync or fdatasync since, if it was started with LD_PRELOAD set to
    /// [`Device::module`].
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.board.syncs.load(SeqCst)
    }

    /// The calls in sessions, by function, session and key.
    #[must_use]
    pub fn tallies(&self) -> Vec<Tally> {
        let tallies = self.board.tallies();
        tallies.map(|(function, session, key, calls)| Tally { function, session, key, calls }).collect()
    }

    /// Keeps count of the conditions under which calls are looked at.
    fn arm(&self, before: u64, after: u64) {
        match (before != 0, after != 0) {
            (false, true) => drop(self.board.armed.fetch_add(1, SeqCst)),
            (true, false) => drop(self.board.armed.fetch_sub(1, SeqCst)),
            (true, true) | (false, false) => {}
        }
    }
}

impl Default for Device {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.mend();
    }
}

impl Fault<'_> {
    /// Ends it; calls that hang because of it go on.
    pub fn clear(self) {
        self.device.board.clear(self.place);
        self.device.release();
    }

    /// How many calls it met.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.place.hits()
    }
}

impl Counts {
    /// How often this function was called.
    #[must_use]
    pub fn of(&self, function: Function) -> u64 {
        self.0.get(&function).copied().unwrap_or(0)
    }

    /// What was called after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let more = self.0.iter().map(|(function, calls)| (*function, calls - earlier.of(*function)));
        Self(more.filter(|(_, calls)| *calls > 0).collect())
    }
}

/// The module as it was built for this test: beside it, because this crate is among its dependencies.
fn built_library() -> PathBuf {
    let program = env::current_exe().expect("the test's own path");
    let directory = program.parent().expect("target/debug/deps");
    let places = [directory.join(LIBRARY), directory.join("deps").join(LIBRARY)];
    let found = places.iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{LIBRARY} is not beside `{}`, where cargo builds it", program.display())).clone()
}
