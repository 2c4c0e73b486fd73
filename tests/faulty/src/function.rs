//! The functions of PKCS #11 v2.40.

use std::fmt;

/// Names the functions in the order of CK_FUNCTION_LIST.
macro_rules! functions {
    ($($name:ident)*) => {
        /// A function of PKCS #11 v2.40, without its `C_`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Function {
            $(#[doc = concat!("`C_", stringify!($name), "`.")] $name,)*
        }

        impl Function {
            /// Every function, in the order of CK_FUNCTION_LIST.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

functions! {
    Initialize Finalize GetInfo GetFunctionList GetSlotList GetSlotInfo GetTokenInfo
    GetMechanismList GetMechanismInfo InitToken InitPIN SetPIN OpenSession CloseSession
    CloseAllSessions GetSessionInfo GetOperationState SetOperationState Login Logout CreateObject
    CopyObject DestroyObject GetObjectSize GetAttributeValue SetAttributeValue FindObjectsInit FindObjects
    FindObjectsFinal EncryptInit Encrypt EncryptUpdate EncryptFinal DecryptInit Decrypt
    DecryptUpdate DecryptFinal DigestInit Digest DigestUpdate DigestKey DigestFinal
    SignInit Sign SignUpdate SignFinal SignRecoverInit SignRecover VerifyInit
    Verify VerifyUpdate VerifyFinal VerifyRecoverInit VerifyRecover DigestEncryptUpdate DecryptDigestUpdate
    SignEncryptUpdate DecryptVerifyUpdate GenerateKey GenerateKeyPair WrapKey UnwrapKey DeriveKey
    SeedRandom GenerateRandom GetFunctionStatus CancelFunction WaitForSlotEvent
}

impl Function {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    pub(crate) fn number(self) -> u32 {
        self as u32
    }

    pub(crate) fn of_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "C_{self:?}")
    }
}
