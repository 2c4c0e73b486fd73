//! C_SignInit and C_Sign into a buffer of our own: `cryptoki` asks for the length first, which would be a third call.

use std::{path::Path, ptr};

use anyhow::{Context as _, Result, ensure};
use cryptoki::{mechanism::Mechanism, object::ObjectHandle, session::Session};
use cryptoki_sys::{
    CK_BYTE, CK_FUNCTION_LIST, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG, CKR_OK,
};

/// Longest signature, in bytes: RSA with 4096 bits.
const SIGNATURE_BYTES_MAX: usize = 512;

type SignInit = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE) -> CK_RV;
type Sign = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG) -> CK_RV;

/// The two functions of a module.
pub(crate) struct RawCalls {
    sign_init: SignInit,
    sign: Sign,
    /// Keeps the functions in memory.
    _library: cryptoki_sys::Pkcs11,
}

impl RawCalls {
    /// Takes them out of the list that C_GetFunctionList gives (PKCS #11 v2.40, section 5.4). `cryptoki` has loaded the module.
    pub(crate) fn load(module: &Path) -> Result<Self> {
        // SAFETY: loading runs the library's initialisers; the module is the one that is measured.
        let library = unsafe { cryptoki_sys::Pkcs11::new(module) }.context("the module cannot be loaded")?;
        let get_list = *library.C_GetFunctionList.as_ref().ok().context("there is no C_GetFunctionList")?;
        let mut list: *mut CK_FUNCTION_LIST = ptr::null_mut();
        // SAFETY: the symbol has the type that PKCS #11 gives it, and `list` is a valid place for one pointer.
        let answer = unsafe { get_list(&raw mut list) };
        ensure!(answer == CKR_OK, "C_GetFunctionList answered {answer:#x}");
        // SAFETY: the list is null or lives as long as the library, which `_library` keeps loaded; nothing writes to it.
        let list = unsafe { list.as_ref() }.context("the list of functions is empty")?;
        let sign_init = list.C_SignInit.context("there is no C_SignInit")?;
        let sign = list.C_Sign.context("there is no C_Sign")?;
        Ok(Self { sign_init, sign, _library: library })
    }

    /// Signs `data`; gives the length of the signature.
    pub(crate) fn sign(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
    ) -> Result<usize> {
        let data_bytes = CK_ULONG::try_from(data.len())?;
        let mut signature = [0; SIGNATURE_BYTES_MAX];
        let mut signature_bytes = CK_ULONG::try_from(signature.len())?;
        let mut mechanism = CK_MECHANISM::from(mechanism);
        // SAFETY: `session` is open and, not being `Sync`, used by this thread alone. The mechanism outlives the call.
        let answer = unsafe { (self.sign_init)(session.handle(), &raw mut mechanism, key.handle()) };
        ensure!(answer == CKR_OK, "C_SignInit answered {answer:#x}");
        // SAFETY: the module reads `data_bytes` bytes at `data`, which PKCS #11 does not let it write, and writes at
        // most `signature_bytes` bytes at `signature`; both buffers have these lengths and outlive the call.
        let answer = unsafe {
            let data = data.as_ptr().cast_mut();
            (self.sign)(session.handle(), data, data_bytes, signature.as_mut_ptr(), &raw mut signature_bytes)
        };
        ensure!(answer == CKR_OK, "C_Sign answered {answer:#x}");
        Ok(usize::try_from(signature_bytes)?)
    }
}
