//! Calls into buffers of our own, where `cryptoki` asks for the length first: C_SignInit and C_Sign, so that a signature
//! costs two calls, and C_GetSlotList, because SoftHSM 2.6 adds a slot to its list when it is asked for the length, and ends
//! the process when two threads make it do so. C_GetTokenInfo, because `cryptoki` refuses all that a token says when its clock
//! says no time. And what C_Initialize gets through its reserved pointer.

use std::{
    ffi::CString,
    path::Path,
    ptr::{self, NonNull},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Function},
    error::{Error, Rv, RvError},
    mechanism::Mechanism,
    object::ObjectHandle,
    session::Session,
    slot::{Slot, TokenInfo},
};
use cryptoki_sys::{
    CK_BBOOL, CK_BYTE, CK_FUNCTION_LIST, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID,
    CK_TOKEN_INFO, CK_TRUE, CK_ULONG, CKF_CLOCK_ON_TOKEN,
};

use crate::error::BackendError;

/// Longest signature, in bytes: ML-DSA-87 has 4,627 (FIPS 204, table 2).
const SIGNATURE_BYTES_MAX: usize = 4_627;

/// Digits of a token's time: YYYYMMDDhhmmss (PKCS #11 v2.40, section 3.2, CK_TOKEN_INFO).
const CLOCK_DIGITS: usize = 14;

/// Most slots of a module.
const SLOTS_MAX: usize = 4_096;

type GetSlotList = unsafe extern "C" fn(CK_BBOOL, *mut CK_SLOT_ID, *mut CK_ULONG) -> CK_RV;
type GetTokenInfo = unsafe extern "C" fn(CK_SLOT_ID, *mut CK_TOKEN_INFO) -> CK_RV;
type SignInit = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE) -> CK_RV;
type Sign = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG) -> CK_RV;

/// The functions of a loaded module.
pub(super) struct RawCalls {
    get_slot_list: GetSlotList,
    get_token_info: GetTokenInfo,
    sign_init: SignInit,
    sign: Sign,
    /// Keeps the functions in memory.
    _library: cryptoki_sys::Pkcs11,
}

impl RawCalls {
    /// Takes the functions out of the list that C_GetFunctionList gives (PKCS #11 v2.40, section 5.4). The module is
    /// loaded already, so that this gives the functions of that same instance; whether it does, [`RawCalls::are_of_another_instance`] says.
    pub(super) fn load(module: &Path) -> Result<Self, Error> {
        // SAFETY: loading runs the library's initialisers. The operator named this module to hold the CA's keys, and
        // `cryptoki` has loaded the same file before.
        let library = unsafe { cryptoki_sys::Pkcs11::new(module) }.map_err(Error::LibraryLoading)?;
        let get_list = *library.C_GetFunctionList.as_ref().map_err(|_| Error::MissingSymbol("C_GetFunctionList"))?;
        let mut list: *mut CK_FUNCTION_LIST = ptr::null_mut();
        // SAFETY: the symbol has the type that PKCS #11 gives it, and `list` is a valid place for one pointer.
        Rv::from(unsafe { get_list(&raw mut list) }).into_result(Function::GetFunctionList)?;
        // SAFETY: the call succeeded, so `list` is null or points to a list that lives as long as the library, which
        // `_library` keeps loaded; nothing writes to it.
        let list = unsafe { list.as_ref() }.ok_or(Error::NullFunctionPointer)?;
        let get_slot_list = list.C_GetSlotList.ok_or(Error::NullFunctionPointer)?;
        let get_token_info = list.C_GetTokenInfo.ok_or(Error::NullFunctionPointer)?;
        let sign_init = list.C_SignInit.ok_or(Error::NullFunctionPointer)?;
        let sign = list.C_Sign.ok_or(Error::NullFunctionPointer)?;
        Ok(Self { get_slot_list, get_token_info, sign_init, sign, _library: library })
    }

    /// Whether these are functions of another instance than the one that is initialised: p11-kit makes a new one each time it is asked for them.
    pub(super) fn are_of_another_instance(&self) -> bool {
        matches!(self.slots_with_token(), Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)))
    }

    /// The slots that hold a token.
    pub(super) fn slots_with_token(&self) -> Result<Vec<Slot>, Error> {
        let mut slots: Vec<CK_SLOT_ID> = vec![0; SLOTS_MAX];
        let mut count = CK_ULONG::try_from(slots.len())?;
        // SAFETY: the module writes at most `count` numbers at `slots`, which has so many and outlives the call.
        let answer = unsafe { (self.get_slot_list)(CK_TRUE, slots.as_mut_ptr(), &raw mut count) };
        Rv::from(answer).into_result(Function::GetSlotList)?;
        slots.truncate(usize::try_from(count)?);
        slots.into_iter().map(Slot::try_from).collect()
    }

    /// What the token in a slot says of itself. A clock whose time is none is not read: openCryptoki has such a one.
    pub(super) fn token_info(&self, slot: Slot) -> Result<TokenInfo, Error> {
        let mut info = CK_TOKEN_INFO::default();
        // SAFETY: the module writes one structure at `info`, which is one and outlives the call.
        let answer = unsafe { (self.get_token_info)(slot.id(), &raw mut info) };
        Rv::from(answer).into_result(Function::GetTokenInfo)?;
        if !info.utcTime.iter().take(CLOCK_DIGITS).all(u8::is_ascii_digit) {
            info.flags &= !CKF_CLOCK_ON_TOKEN;
        }
        info.try_into()
    }

    /// Signs `data`. After an error the session may be in the middle of an operation: drop it.
    pub(super) fn sign(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let data_bytes = CK_ULONG::try_from(data.len())?;
        let mut signature = vec![0; SIGNATURE_BYTES_MAX];
        let mut signature_bytes = CK_ULONG::try_from(signature.len())?;
        let mut mechanism = CK_MECHANISM::from(mechanism);
        // SAFETY: `session` is open and, not being `Sync`, used by this thread alone. The parameters that the mechanism
        // points to are borrowed by this call's argument and outlive it.
        let answer = unsafe { (self.sign_init)(session.handle(), &raw mut mechanism, key.handle()) };
        Rv::from(answer).into_result(Function::SignInit)?;
        // SAFETY: the module reads `data_bytes` bytes at `data`, which PKCS #11 does not let it write, and writes at
        // most `signature_bytes` bytes at `signature`; both buffers have these lengths and outlive the call.
        let answer = unsafe {
            let data = data.as_ptr().cast_mut();
            (self.sign)(session.handle(), data, data_bytes, signature.as_mut_ptr(), &raw mut signature_bytes)
        };
        Rv::from(answer).into_result(Function::Sign)?;
        signature.truncate(usize::try_from(signature_bytes)?);
        Ok(signature)
    }
}

/// What C_Initialize is given through its reserved pointer: text that ends with a zero byte.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments(CString);

impl Arguments {
    pub(super) fn new(text: &str) -> Result<Self, BackendError> {
        let detail = "the module's arguments have a zero byte; write them as text".to_owned();
        CString::new(text).map(Self).map_err(|_| BackendError::Configuration { detail })
    }

    /// Arguments of C_Initialize that point to the text. They live no longer than it does.
    pub(super) fn with(&self, flags: CInitializeFlags) -> CInitializeArgs {
        match NonNull::new(self.0.as_ptr().cast_mut()) {
            // SAFETY: the pointer is to a text that ends with a zero byte, which is what a module reads that has arguments; it does not write
            // there. Whoever calls this initialises the module at once, while the text lives.
            Some(text) => unsafe { CInitializeArgs::new_with_reserved(flags, text.cast()) },
            None => CInitializeArgs::new(flags),
        }
    }
}
