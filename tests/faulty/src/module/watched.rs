//! The functions that are more than forwarded.

use std::{env, ffi::c_void, fs::File, sync::atomic::Ordering::SeqCst};

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BYTE, CK_FLAGS, CK_MECHANISM, CK_NOTIFY, CK_OBJECT_CLASS, CK_OBJECT_HANDLE, CK_RV,
    CK_SESSION_HANDLE, CK_SLOT_ID, CK_TOKEN_INFO, CK_ULONG, CK_UNAVAILABLE_INFORMATION, CK_USER_TYPE, CK_UTF8CHAR,
    CKA_CLASS, CKA_ID, CKA_LABEL, CKF_CLOCK_ON_TOKEN, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY,
    CKF_USER_PIN_LOCKED, CKO_PRIVATE_KEY, CKR_ATTRIBUTE_TYPE_INVALID, CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_FUNCTION_NOT_SUPPORTED, CKR_GENERAL_ERROR, CKR_OK, CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKU_USER,
};

use super::{Call, Way, call};
use crate::{
    fault::{Effect, Scope},
    function::Function,
};

// SAFETY, for every `unsafe` call of this file: the arguments are those of the caller, who keeps the promises that
// PKCS #11 asks for; what else is done with them is said where it is done.

pub(super) use super::C_GetFunctionList;

/// A module that was dead lives again.
pub(super) unsafe extern "C" fn C_Initialize(arguments: *mut c_void) -> CK_RV {
    call(Call::of(Function::Initialize), |way| {
        let Some(initialize) = way.real.C_Initialize else { return CKR_FUNCTION_NOT_SUPPORTED };
        let _turn = match turn() {
            Ok(turn) => turn,
            Err(answer) => return answer,
        };
        // SAFETY: as above.
        let answer = unsafe { initialize(arguments) };
        if answer == CKR_OK && way.state.board.dead.swap(0, SeqCst) != 0 {
            way.state.board.armed.fetch_sub(1, SeqCst);
        }
        answer
    })
}

/// The turn of whoever initialises a copy of SoftHSM or logs in, which writes the token; `hallmark-test-token` takes its turns, too. SoftHSM's own locks are the process's, not the
/// copy's, and it reads its configuration with strtok(3): a copy that is initialised beside another that writes or is initialised finds too few tokens, or ends
/// the process.
fn turn() -> Result<Option<File>, CK_RV> {
    let Some(path) = env::var_os("SOFTHSM2_CONF") else { return Ok(None) };
    let taken = File::open(&path).and_then(|configuration| configuration.lock().map(|()| configuration));
    taken.map(Some).map_err(|error| {
        eprintln!("hallmark-faulty: no turn at `{}`: {error}", path.display());
        CKR_GENERAL_ERROR
    })
}

pub(super) unsafe extern "C" fn C_Finalize(reserved: *mut c_void) -> CK_RV {
    call(Call::of(Function::Finalize), |way| {
        let Some(finalize) = way.real.C_Finalize else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: as above.
        let answer = unsafe { finalize(reserved) };
        if answer == CKR_OK {
            way.state.closed(|_, _| true);
        }
        let lost_its_state = way.state.board.dead.load(SeqCst) == CKR_CRYPTOKI_NOT_INITIALIZED;
        if lost_its_state { CKR_CRYPTOKI_NOT_INITIALIZED } else { answer }
    })
}

/// Tells of the wrong PINs, as a token that locks does, and of a clock, as one that has it.
pub(super) unsafe extern "C" fn C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    call(Call::of(Function::GetTokenInfo), |way| {
        let Some(token_info) = way.real.C_GetTokenInfo else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: as above.
        let answer = unsafe { token_info(slot, info) };
        // SAFETY: the call succeeded, so the caller's `info` is a valid place, which nobody else uses now.
        if answer == CKR_OK
            && let Some(info) = unsafe { info.as_mut() }
        {
            info.flags |= pin_flags(way);
            let clock = way.state.board.clock.load();
            if clock.len() == info.utcTime.len() {
                info.flags |= CKF_CLOCK_ON_TOKEN;
                info.utcTime.copy_from_slice(clock.as_bytes());
            }
        }
        answer
    })
}

fn pin_flags(way: &Way<'_>) -> CK_FLAGS {
    let (most, wrong) = pin_attempts(way);
    let flags = [
        (wrong >= 1, CKF_USER_PIN_COUNT_LOW),
        (wrong + 1 == most, CKF_USER_PIN_FINAL_TRY),
        (wrong >= most, CKF_USER_PIN_LOCKED),
    ];
    if most == 0 { 0 } else { flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag) }
}

/// Most wrong PINs, and how many there were.
fn pin_attempts(way: &Way<'_>) -> (u64, u64) {
    (way.state.board.pin_attempts_max.load(SeqCst), way.state.board.pin_attempts.load(SeqCst))
}

pub(super) unsafe extern "C" fn C_Login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    pin_bytes: CK_ULONG,
) -> CK_RV {
    call(Call::within(Function::Login, session), |way| {
        let Some(login) = way.real.C_Login else { return CKR_FUNCTION_NOT_SUPPORTED };
        let (most, wrong) = pin_attempts(way);
        if user == CKU_USER && most != 0 && wrong >= most {
            return CKR_PIN_LOCKED;
        }
        let _turn = match turn() {
            Ok(turn) => turn,
            Err(answer) => return answer,
        };
        // SAFETY: as above.
        let answer = unsafe { login(session, user, pin, pin_bytes) };
        if answer == CKR_OK {
            way.state.board.logins.fetch_add(1, SeqCst);
        }
        if user == CKU_USER && answer == CKR_OK {
            way.state.board.pin_attempts.store(0, SeqCst);
        } else if user == CKU_USER && answer == CKR_PIN_INCORRECT {
            way.state.board.pin_attempts.fetch_add(1, SeqCst);
        }
        answer
    })
}

pub(super) unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    call(Call::of(Function::OpenSession), |way| {
        let Some(open_session) = way.real.C_OpenSession else { return CKR_FUNCTION_NOT_SUPPORTED };
        way.state.open_session(slot, || {
            // SAFETY: as above.
            let answer = unsafe { open_session(slot, flags, application, notify, session) };
            // SAFETY: where the call succeeded, the caller's `session` is a valid place that was written to.
            let opened = unsafe { session.as_ref() }.filter(|_| answer == CKR_OK);
            (answer, opened.copied().unwrap_or_default())
        })
    })
}

pub(super) unsafe extern "C" fn C_CloseSession(session: CK_SESSION_HANDLE) -> CK_RV {
    call(Call::within(Function::CloseSession, session), |way| {
        let Some(close_session) = way.real.C_CloseSession else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: as above.
        let answer = unsafe { close_session(session) };
        if answer == CKR_OK {
            way.state.closed(|closed, _| closed == session);
        }
        answer
    })
}

pub(super) unsafe extern "C" fn C_CloseAllSessions(slot: CK_SLOT_ID) -> CK_RV {
    call(Call::of(Function::CloseAllSessions), |way| {
        let Some(close_all) = way.real.C_CloseAllSessions else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: as above.
        let answer = unsafe { close_all(slot) };
        if answer == CKR_OK {
            way.state.closed(|_, of| of == slot);
        }
        answer
    })
}

/// Is counted with its key.
pub(super) unsafe extern "C" fn C_SignInit(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    call(Call { function: Function::SignInit, session, key }, |way| match way.real.C_SignInit {
        // SAFETY: as above.
        Some(sign_init) => unsafe { sign_init(session, mechanism, key) },
        None => CKR_FUNCTION_NOT_SUPPORTED,
    })
}

pub(super) unsafe extern "C" fn C_Sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_bytes: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_bytes: *mut CK_ULONG,
) -> CK_RV {
    call(Call::within(Function::Sign, session), |way| {
        let Some(sign) = way.real.C_Sign else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: as above.
        let answer = unsafe { sign(session, data, data_bytes, signature, signature_bytes) };
        // SAFETY: where the call succeeded, these places hold the signature and its length.
        unsafe { flip(way, answer, signature, signature_bytes) };
        answer
    })
}

pub(super) unsafe extern "C" fn C_SignFinal(
    session: CK_SESSION_HANDLE,
    signature: *mut CK_BYTE,
    signature_bytes: *mut CK_ULONG,
) -> CK_RV {
    call(Call::within(Function::SignFinal, session), |way| {
        let Some(sign_final) = way.real.C_SignFinal else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: as above.
        let answer = unsafe { sign_final(session, signature, signature_bytes) };
        // SAFETY: where the call succeeded, these places hold the signature and its length.
        unsafe { flip(way, answer, signature, signature_bytes) };
        answer
    })
}

/// Flips a bit in the first and the last byte of a signature, if that shall happen.
///
/// # Safety
/// If `answer` is CKR_OK, `length` is a valid place, and `signature` is null or has so many bytes.
unsafe fn flip(way: &Way<'_>, answer: CK_RV, signature: *mut CK_BYTE, length: *mut CK_ULONG) {
    let flips = way.effects.iter().any(|(_, effect)| *effect == Effect::FlipSignature);
    if !flips || answer != CKR_OK || signature.is_null() {
        return;
    }
    // SAFETY: by the contract of this function.
    let signature = unsafe { std::slice::from_raw_parts_mut(signature, usize::try_from(*length).unwrap_or(0)) };
    if let [first, .., last] = signature {
        *first ^= 1;
        *last ^= 1;
    }
}

/// Tells nothing of attributes that it does not know, if there shall be some.
pub(super) unsafe extern "C" fn C_GetAttributeValue(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    call(Call::within(Function::GetAttributeValue, session), |way| {
        let Some(get_value) = way.real.C_GetAttributeValue else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: as above.
        let answer = unsafe { get_value(session, object, template, count) };
        let attributes: &mut [CK_ATTRIBUTE] = match usize::try_from(count) {
            // SAFETY: the caller's template has so many attributes, and nobody else uses it now.
            Ok(count) if !template.is_null() => unsafe { std::slice::from_raw_parts_mut(template, count) },
            _ => &mut [],
        };
        let mut answers = answer;
        for attribute in attributes.iter_mut().filter(|attribute| !is_known(way, attribute)) {
            attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
            answers = CKR_ATTRIBUTE_TYPE_INVALID;
        }
        answers
    })
}

/// Makes no keys with attributes that it does not know, if there shall be some.
pub(super) unsafe extern "C" fn C_GenerateKeyPair(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    public: *mut CK_ATTRIBUTE,
    public_count: CK_ULONG,
    private: *mut CK_ATTRIBUTE,
    private_count: CK_ULONG,
    public_key: *mut CK_OBJECT_HANDLE,
    private_key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    call(Call::within(Function::GenerateKeyPair, session), |way| {
        let Some(generate) = way.real.C_GenerateKeyPair else { return CKR_FUNCTION_NOT_SUPPORTED };
        for (template, count) in [(public, public_count), (private, private_count)] {
            let attributes = match usize::try_from(count) {
                // SAFETY: each of the caller's templates has so many attributes.
                Ok(count) if !template.is_null() => unsafe { std::slice::from_raw_parts(template, count) },
                _ => &[],
            };
            if !attributes.iter().all(|attribute| is_known(way, attribute)) {
                return CKR_ATTRIBUTE_TYPE_INVALID;
            }
        }
        // SAFETY: as above.
        unsafe { generate(session, mechanism, public, public_count, private, private_count, public_key, private_key) }
    })
}

fn is_known(way: &Way<'_>, attribute: &CK_ATTRIBUTE) -> bool {
    !way.effects.iter().any(|(_, effect)| *effect == Effect::NotKnown(attribute.type_))
}

/// Looks for other objects than those that are asked for, if that shall happen.
pub(super) unsafe extern "C" fn C_FindObjectsInit(
    session: CK_SESSION_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    call(Call::within(Function::FindObjectsInit, session), |way| {
        let Some(find_init) = way.real.C_FindObjectsInit else { return CKR_FUNCTION_NOT_SUPPORTED };
        let attributes = match usize::try_from(count) {
            // SAFETY: the caller's template has so many attributes.
            Ok(count) if !template.is_null() => unsafe { std::slice::from_raw_parts(template, count) },
            _ => &[],
        };
        for (_, effect) in &way.effects {
            let Effect::SwapKeys { wanted, found, scope } = effect else { continue };
            if is(attributes, CKA_LABEL, wanted.as_bytes())
                && (*scope == Scope::Everything || is(attributes, CKA_CLASS, &PRIVATE_KEY.to_ne_bytes()))
            {
                let mut swapped: Vec<_> = attributes.iter().filter(|of| of.type_ != CKA_ID).copied().collect();
                for label in swapped.iter_mut().filter(|of| of.type_ == CKA_LABEL) {
                    label.pValue = found.as_ptr().cast_mut().cast();
                    label.ulValueLen = found.len() as CK_ULONG;
                }
                // SAFETY: as above; the swapped template and its label live until the call comes back.
                return unsafe { find_init(session, swapped.as_mut_ptr(), swapped.len() as CK_ULONG) };
            }
        }
        // SAFETY: as above.
        unsafe { find_init(session, template, count) }
    })
}

const PRIVATE_KEY: CK_OBJECT_CLASS = CKO_PRIVATE_KEY;

/// Whether a template asks for this value of this attribute.
fn is(template: &[CK_ATTRIBUTE], kind: CK_ULONG, value: &[u8]) -> bool {
    template.iter().filter(|attribute| attribute.type_ == kind && !attribute.pValue.is_null()).any(|attribute| {
        // SAFETY: an attribute of the caller's template has so many bytes.
        let bytes = usize::try_from(attribute.ulValueLen)
            .map(|length| unsafe { std::slice::from_raw_parts(attribute.pValue.cast::<u8>(), length) });
        bytes == Ok(value)
    })
}
