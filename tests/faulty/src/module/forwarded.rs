//! The functions that need nothing but to be forwarded, and the list of all.

use std::ffi::c_void;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BBOOL, CK_BYTE, CK_FLAGS, CK_FUNCTION_LIST, CK_INFO, CK_MECHANISM, CK_MECHANISM_INFO,
    CK_MECHANISM_TYPE, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_SESSION_INFO, CK_SLOT_ID, CK_SLOT_INFO, CK_ULONG,
    CK_UTF8CHAR, CK_VERSION, CKR_FUNCTION_NOT_SUPPORTED,
};

use super::{Call, call, watched};
use crate::function::Function;

/// Writes a function that forwards its arguments, for each line; those that begin with `session;` have a session first.
macro_rules! forward {
    ([$($watched:ident)*] $($name:ident = $function:ident $arguments:tt;)*) => {
        $(forward!(@one $name $function $arguments);)*

        /// What C_GetFunctionList gives.
        pub(super) static FUNCTIONS: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
            version: CK_VERSION { major: 2, minor: 40 },
            $($name: Some($name),)*
            $($watched: Some(watched::$watched),)*
        };
    };
    (@one $name:ident $function:ident (session; $($argument:ident: $kind:ty),*)) => {
        unsafe extern "C" fn $name(session: CK_SESSION_HANDLE, $($argument: $kind),*) -> CK_RV {
            call(Call::within(Function::$function, session), |way| match way.real.$name {
                // SAFETY: the arguments are those of the caller, who keeps the promises that PKCS #11 asks for.
                Some(real) => unsafe { real(session, $($argument),*) },
                None => CKR_FUNCTION_NOT_SUPPORTED,
            })
        }
    };
    (@one $name:ident $function:ident ($($argument:ident: $kind:ty),*)) => {
        unsafe extern "C" fn $name($($argument: $kind),*) -> CK_RV {
            call(Call::of(Function::$function), |way| match way.real.$name {
                // SAFETY: the arguments are those of the caller, who keeps the promises that PKCS #11 asks for.
                Some(real) => unsafe { real($($argument),*) },
                None => CKR_FUNCTION_NOT_SUPPORTED,
            })
        }
    };
}

forward! {
    [C_Initialize C_Finalize C_GetFunctionList C_GetTokenInfo C_OpenSession C_CloseSession C_CloseAllSessions C_Login C_GetAttributeValue C_FindObjectsInit C_SignInit C_Sign C_SignFinal C_GenerateKeyPair]
    C_GetInfo = GetInfo(a: *mut CK_INFO);
    C_GetSlotList = GetSlotList(a: CK_BBOOL, b: *mut CK_SLOT_ID, c: *mut CK_ULONG);
    C_GetSlotInfo = GetSlotInfo(a: CK_SLOT_ID, b: *mut CK_SLOT_INFO);
    C_GetMechanismList = GetMechanismList(a: CK_SLOT_ID, b: *mut CK_MECHANISM_TYPE, c: *mut CK_ULONG);
    C_GetMechanismInfo = GetMechanismInfo(a: CK_SLOT_ID, b: CK_MECHANISM_TYPE, c: *mut CK_MECHANISM_INFO);
    C_InitToken = InitToken(a: CK_SLOT_ID, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR);
    C_InitPIN = InitPIN(session; a: *mut CK_UTF8CHAR, b: CK_ULONG);
    C_SetPIN = SetPIN(session; a: *mut CK_UTF8CHAR, b: CK_ULONG, c: *mut CK_UTF8CHAR, d: CK_ULONG);
    C_GetSessionInfo = GetSessionInfo(session; a: *mut CK_SESSION_INFO);
    C_GetOperationState = GetOperationState(session; a: *mut CK_BYTE, b: *mut CK_ULONG);
    C_SetOperationState = SetOperationState(session; a: *mut CK_BYTE, b: CK_ULONG, c: CK_OBJECT_HANDLE, d: CK_OBJECT_HANDLE);
    C_Logout = Logout(session;);
    C_CreateObject = CreateObject(session; a: *mut CK_ATTRIBUTE, b: CK_ULONG, c: *mut CK_OBJECT_HANDLE);
    C_CopyObject = CopyObject(session; a: CK_OBJECT_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG, d: *mut CK_OBJECT_HANDLE);
    C_DestroyObject = DestroyObject(session; a: CK_OBJECT_HANDLE);
    C_GetObjectSize = GetObjectSize(session; a: CK_OBJECT_HANDLE, b: *mut CK_ULONG);
    C_SetAttributeValue = SetAttributeValue(session; a: CK_OBJECT_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG);
    C_FindObjects = FindObjects(session; a: *mut CK_OBJECT_HANDLE, b: CK_ULONG, c: *mut CK_ULONG);
    C_FindObjectsFinal = FindObjectsFinal(session;);
    C_EncryptInit = EncryptInit(session; a: *mut CK_MECHANISM, b: CK_OBJECT_HANDLE);
    C_Encrypt = Encrypt(session; a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_EncryptUpdate = EncryptUpdate(session; a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_EncryptFinal = EncryptFinal(session; a: *mut CK_BYTE, b: *mut CK_ULONG);
    C_DecryptInit = DecryptInit(session; a: *mut CK_MECHANISM, b: CK_OBJECT_HANDLE);
    C_Decrypt = Decrypt(session; a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_DecryptUpdate = DecryptUpdate(session; a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_DecryptFinal = DecryptFinal(session; a: *mut CK_BYTE, b: *mut CK_ULONG);
    C_DigestInit = DigestInit(session; a: *mut CK_MECHANISM);
    C_Digest = Digest(session; a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_DigestUpdate = DigestUpdate(session; a: *mut CK_BYTE, b: CK_ULONG);
    C_DigestKey = DigestKey(session; a: CK_OBJECT_HANDLE);
    C_DigestFinal = DigestFinal(session; a: *mut CK_BYTE, b: *mut CK_ULONG);
    C_SignUpdate = SignUpdate(session; a: *mut CK_BYTE, b: CK_ULONG);
    C_SignRecoverInit = SignRecoverInit(session; a: *mut CK_MECHANISM, b: CK_OBJECT_HANDLE);
    C_SignRecover = SignRecover(session; a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_VerifyInit = VerifyInit(session; a: *mut CK_MECHANISM, b: CK_OBJECT_HANDLE);
    C_Verify = Verify(session; a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: CK_ULONG);
    C_VerifyUpdate = VerifyUpdate(session; a: *mut CK_BYTE, b: CK_ULONG);
    C_VerifyFinal = VerifyFinal(session; a: *mut CK_BYTE, b: CK_ULONG);
    C_VerifyRecoverInit = VerifyRecoverInit(session; a: *mut CK_MECHANISM, b: CK_OBJECT_HANDLE);
    C_VerifyRecover = VerifyRecover(session; a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_DigestEncryptUpdate = DigestEncryptUpdate(session; a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_DecryptDigestUpdate = DecryptDigestUpdate(session; a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_SignEncryptUpdate = SignEncryptUpdate(session; a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_DecryptVerifyUpdate = DecryptVerifyUpdate(session; a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_GenerateKey = GenerateKey(session; a: *mut CK_MECHANISM, b: *mut CK_ATTRIBUTE, c: CK_ULONG, d: *mut CK_OBJECT_HANDLE);
    C_WrapKey = WrapKey(session; a: *mut CK_MECHANISM, b: CK_OBJECT_HANDLE, c: CK_OBJECT_HANDLE, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_UnwrapKey = UnwrapKey(session; a: *mut CK_MECHANISM, b: CK_OBJECT_HANDLE, c: *mut CK_BYTE, d: CK_ULONG, e: *mut CK_ATTRIBUTE, f: CK_ULONG, g: *mut CK_OBJECT_HANDLE);
    C_DeriveKey = DeriveKey(session; a: *mut CK_MECHANISM, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG, e: *mut CK_OBJECT_HANDLE);
    C_SeedRandom = SeedRandom(session; a: *mut CK_BYTE, b: CK_ULONG);
    C_GenerateRandom = GenerateRandom(session; a: *mut CK_BYTE, b: CK_ULONG);
    C_GetFunctionStatus = GetFunctionStatus(session;);
    C_CancelFunction = CancelFunction(session;);
    C_WaitForSlotEvent = WaitForSlotEvent(a: CK_FLAGS, b: *mut CK_SLOT_ID, c: *mut c_void);
}
