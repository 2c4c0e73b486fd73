//! The module's side: what a program loads as its PKCS #11 module.
#![expect(unsafe_code, non_snake_case, reason = "PKCS #11 is an interface of C; its functions keep their names")]

mod forwarded;
mod sessions;
mod state;
mod syncs;
mod watched;

use std::{
    process,
    sync::{OnceLock, PoisonError},
    thread,
};

use cryptoki_sys::{
    CK_FUNCTION_LIST, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CKR_ARGUMENTS_BAD, CKR_GENERAL_ERROR, CKR_OK,
};

use self::state::State;
use crate::{board::FaultPlace, fault::Effect, function::Function};

static STATE: OnceLock<Option<State>> = OnceLock::new();

/// Gives the list of functions (PKCS #11 v2.40, section 5.4), and loads the module behind this one the first time.
///
/// # Safety
/// `list` is null or a valid place for a pointer.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    let state = STATE.get_or_init(|| match State::load() {
        Ok(state) => Some(state),
        Err(error) => {
            eprintln!("hallmark-faulty: {error}");
            None
        }
    });
    let Some(state) = state else { return CKR_GENERAL_ERROR };
    state.count(&Call::of(Function::GetFunctionList));
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: it is not null, and the caller says that it is a valid place. The list is never written to.
    unsafe { list.write((&raw const forwarded::FUNCTIONS).cast_mut()) };
    CKR_OK
}

/// A call that came in.
struct Call {
    function: Function,
    /// 0 where the function names none.
    session: CK_SESSION_HANDLE,
    /// 0 where the function names none.
    key: CK_OBJECT_HANDLE,
}

impl Call {
    fn of(function: Function) -> Self {
        Self { function, session: 0, key: 0 }
    }

    fn within(function: Function, session: CK_SESSION_HANDLE) -> Self {
        Self { function, session, key: 0 }
    }
}

/// The way to the module behind, for one call.
struct Way<'a> {
    state: &'a State,
    real: &'a CK_FUNCTION_LIST,
    effects: Vec<(&'a FaultPlace, Effect)>,
}

/// Counts a call, lets happen to it what shall happen, and forwards it.
fn call(call: Call, forward: impl FnOnce(&Way<'_>) -> CK_RV) -> CK_RV {
    let Some(Some(state)) = STATE.get() else { return CKR_GENERAL_ERROR };
    state.count(&call);
    state.end_sessions_that_died();
    let mut way = Way { state, real: state.real(), effects: Vec::new() };
    let forward = |way: &Way<'_>| {
        let _inside = state.inside.read().unwrap_or_else(PoisonError::into_inner);
        forward(way)
    };
    if state.is_sound() {
        return forward(&way);
    }
    if let Some(code) = state.absent(call.function) {
        return code;
    }
    way.effects = state.board.effects(call.function);
    for (place, effect) in &way.effects {
        if let Some(code) = before(&way, &call, place, effect) {
            return code;
        }
    }
    let answer = state.at_its_pace(call.function, || forward(&way));
    if way.effects.iter().any(|(_, effect)| *effect == Effect::CrashAfter) {
        process::abort();
    }
    let lost = way
        .effects
        .iter()
        .find_map(|(_, effect)| if let Effect::LoseAnswer(code) = effect { Some(*code) } else { None });
    if answer == CKR_OK { lost.unwrap_or(answer) } else { answer }
}

/// What happens to a call before it is forwarded; an answer if it is not.
fn before(way: &Way<'_>, call: &Call, place: &FaultPlace, effect: &Effect) -> Option<CK_RV> {
    match effect {
        Effect::Refuse(code) => return Some(*code),
        Effect::Delay(delay) => thread::sleep(*delay),
        Effect::Hang => way.state.board.hang(place),
        Effect::Crash => process::abort(),
        Effect::LogOut => {
            if let Some(log_out) = way.real.C_Logout {
                let _nobody_inside = way.state.inside.write().unwrap_or_else(PoisonError::into_inner);
                // SAFETY: the call takes a number, which the module behind checks.
                unsafe { log_out(call.session) };
            }
        }
        Effect::LoseAnswer(_)
        | Effect::CrashAfter
        | Effect::FlipSignature
        | Effect::NotKnown(_)
        | Effect::SwapKeys { .. } => {}
    }
    None
}
