//! What the module knows in this process: the module behind it, the board, and its sessions.

use std::{
    collections::HashMap,
    env, fs,
    path::PathBuf,
    ptr,
    sync::{Condvar, Mutex, PoisonError, RwLock, atomic::Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use cryptoki_sys::{CK_FUNCTION_LIST, CK_RV, CKR_OK};

use super::{Call, sessions::Open};
use crate::{
    board::{CONTROL_VARIABLE, MODULE_VARIABLE, Mapping, SOFTHSM, TallyPlace, control_beside},
    function::Function,
};

pub(super) struct State {
    pub(super) board: Mapping,
    real: &'static CK_FUNCTION_LIST,
    /// Keeps the functions in memory.
    _library: cryptoki_sys::Pkcs11,
    pub(super) open: Open,
    /// Held by whoever is in the module behind; alone by whoever takes something away from under them.
    pub(super) inside: RwLock<()>,
    /// Places on the board by function, session and key.
    tallies: RwLock<HashMap<(Function, u64, u64), usize>>,
    signing: Mutex<u64>,
    signed: Condvar,
}

impl State {
    /// Finds the board and loads the module behind.
    pub(super) fn load() -> Result<Self, String> {
        let control = match env::var_os(CONTROL_VARIABLE) {
            Some(path) => PathBuf::from(path),
            None => control_beside(&own_path()?),
        };
        let board = Mapping::open(&control).map_err(|error| {
            format!("`{}` cannot be used: {error}; a `Device` makes it, or set {CONTROL_VARIABLE}", control.display())
        })?;
        let target = board.target.load();
        let target = match env::var_os(MODULE_VARIABLE) {
            _ if !target.is_empty() => target.into(),
            Some(path) => path,
            None => SOFTHSM.into(),
        };
        let failed = |error: String| format!("`{}` cannot be loaded: {error}", target.display());
        // SAFETY: loading runs the library's initialisers. The test named this module to be used.
        let library = unsafe { cryptoki_sys::Pkcs11::new(&target) }.map_err(|error| failed(error.to_string()))?;
        let get_list = *library.C_GetFunctionList.as_ref().map_err(|error| failed(error.to_string()))?;
        let mut list: *mut CK_FUNCTION_LIST = ptr::null_mut();
        // SAFETY: the symbol has the type that PKCS #11 gives it, and `list` is a valid place for one pointer.
        let answer = unsafe { get_list(&raw mut list) };
        // SAFETY: the list is null or lives as long as the library, which lives in a static; nothing writes to it.
        let real = unsafe { list.as_ref() };
        let real = real.filter(|_| answer == CKR_OK).ok_or_else(|| failed(format!("CKR {answer:#x}")))?;
        let open = Open::new(board.deaths.load(SeqCst));
        Ok(Self {
            board,
            real,
            _library: library,
            open,
            inside: RwLock::default(),
            tallies: RwLock::default(),
            signing: Mutex::new(0),
            signed: Condvar::new(),
        })
    }

    pub(super) fn real(&self) -> &'static CK_FUNCTION_LIST {
        self.real
    }

    /// Whether nothing is to go wrong.
    pub(super) fn is_sound(&self) -> bool {
        self.board.armed.load(SeqCst) == 0
    }

    /// What a call answers because the device is away or its module dead.
    pub(super) fn absent(&self, function: Function) -> Option<CK_RV> {
        let away = self.board.away.load(SeqCst);
        let dead = self.board.dead.load(SeqCst);
        let brings_back = matches!(function, Function::Initialize | Function::Finalize);
        let code = if away == 0 && !brings_back { dead } else { away };
        (code != 0).then_some(code)
    }

    pub(super) fn count(&self, call: &Call) {
        if let Some(calls) =
            usize::try_from(call.function.number()).ok().and_then(|number| self.board.calls.get(number))
        {
            calls.fetch_add(1, SeqCst);
        }
        if call.session != 0
            && let Some(place) = self.tally(call)
        {
            place.count();
        }
    }

    fn tally(&self, call: &Call) -> Option<&TallyPlace> {
        let name = (call.function, call.session, call.key);
        if let Some(place) = self.tallies.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return self.board.tally_at(*place);
        }
        let mut tallies = self.tallies.write().unwrap_or_else(PoisonError::into_inner);
        let place = match tallies.get(&name) {
            Some(place) => *place,
            None => {
                let place = self.board.new_tally(call.function, call.session, call.key)?;
                tallies.insert(name, place);
                place
            }
        };
        self.board.tally_at(place)
    }

    /// Signatures take as long as this device takes for one, and only so many are made at a time.
    pub(super) fn at_its_pace(&self, function: Function, work: impl FnOnce() -> CK_RV) -> CK_RV {
        let latency = Duration::from_nanos(self.board.latency_nanos.load(SeqCst));
        if latency.is_zero() || !matches!(function, Function::Sign | Function::SignFinal) {
            return work();
        }
        let signing = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |signing: &mut u64| *signing >= self.board.parallel.load(SeqCst);
        *self.signed.wait_while(signing, full).unwrap_or_else(PoisonError::into_inner) += 1;
        let began = Instant::now();
        let answer = work();
        thread::sleep(latency.saturating_sub(began.elapsed()));
        *self.signing.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.signed.notify_one();
        answer
    }
}

/// Where this library was loaded from: the file behind the address of one of its functions, as the kernel tells.
fn own_path() -> Result<PathBuf, String> {
    let here = own_path as *const () as usize;
    let maps = fs::read_to_string("/proc/self/maps").map_err(|error| format!("/proc/self/maps: {error}"))?;
    let holds_here = |range: &str| {
        let (start, end) = range.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some((number(start)?..number(end)?).contains(&here))
    };
    let line = maps.lines().find(|line| line.split(' ').next().and_then(holds_here) == Some(true));
    let path = line.and_then(|line| line.find('/').and_then(|at| line.get(at..)));
    path.map(PathBuf::from).ok_or_else(|| "the module does not find itself in /proc/self/maps".to_owned())
}
