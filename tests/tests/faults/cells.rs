//! What is tried: every kind of fault, in everything that the daemon does with its device.

use std::time::Duration;

use hallmark_faulty::{
    Effect, Function, Scope,
    cryptoki_sys::{
        CK_RV, CKR_DEVICE_ERROR, CKR_DEVICE_MEMORY, CKR_DEVICE_REMOVED, CKR_KEY_HANDLE_INVALID, CKR_MECHANISM_INVALID,
        CKR_USER_NOT_LOGGED_IN,
    },
};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Each call answers this code, one of each class of errors.
    Refuses(&'static str, CK_RV),
    /// Each call is done, and answers that the device failed.
    LosesAnswers,
    /// Each call takes half a second more.
    IsSlow,
    /// Each call hangs until the fault is over.
    Hangs,
    /// The process aborts in a call.
    Crashes,
    /// The process aborts after a call was done.
    CrashesAfter,
    /// Each call finds the application logged out.
    LogsOut,
    /// Each signature is a wrong one.
    SignsWrong,
    /// After a log-in, another key is found under the label.
    FindsAnotherKey,
    /// The same, where the public key object is still the right one.
    FindsAnotherPrivateKey,
}

/// Something that the daemon does with its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Start,
    OpenSession,
    LogIn,
    Find,
    Read,
    SignLeaf,
    Generate,
    ReadBack,
    SignCa,
    SignCrl,
    Destroy,
}

/// One of each class; a PIN that locks is tried apart, since nothing helps against it but a person.
pub(crate) const KINDS: [Kind; 15] = [
    Kind::Refuses("not found (CKR_KEY_HANDLE_INVALID)", CKR_KEY_HANDLE_INVALID),
    Kind::Refuses("logged out (CKR_USER_NOT_LOGGED_IN)", CKR_USER_NOT_LOGGED_IN),
    Kind::Refuses("busy (CKR_DEVICE_MEMORY)", CKR_DEVICE_MEMORY),
    Kind::Refuses("gone (CKR_DEVICE_REMOVED)", CKR_DEVICE_REMOVED),
    Kind::Refuses("refused (CKR_MECHANISM_INVALID)", CKR_MECHANISM_INVALID),
    Kind::Refuses("broken (CKR_DEVICE_ERROR)", CKR_DEVICE_ERROR),
    Kind::LosesAnswers,
    Kind::IsSlow,
    Kind::Hangs,
    Kind::Crashes,
    Kind::CrashesAfter,
    Kind::LogsOut,
    Kind::SignsWrong,
    Kind::FindsAnotherKey,
    Kind::FindsAnotherPrivateKey,
];

pub(crate) const OPERATIONS: [Operation; 11] = [
    Operation::Start,
    Operation::OpenSession,
    Operation::LogIn,
    Operation::Find,
    Operation::Read,
    Operation::SignLeaf,
    Operation::Generate,
    Operation::ReadBack,
    Operation::SignCa,
    Operation::SignCrl,
    Operation::Destroy,
];

impl Kind {
    /// As the table calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refuses(name, _) => name,
            Self::LosesAnswers => "done, and the answer lost",
            Self::IsSlow => "slow (0.5 s a call)",
            Self::Hangs => "hangs",
            Self::Crashes => "crashes before",
            Self::CrashesAfter => "crashes after",
            Self::LogsOut => "logged out from outside",
            Self::SignsWrong => "lies: wrong signature",
            Self::FindsAnotherKey => "lies: another key",
            Self::FindsAnotherPrivateKey => "lies: another private key",
        }
    }

    /// Whether it can happen there at all.
    pub(crate) fn concerns(self, operation: Operation) -> bool {
        use Operation::{Find, LogIn, OpenSession, SignCa, SignCrl, SignLeaf, Start};
        match self {
            Self::SignsWrong => matches!(operation, SignLeaf | SignCa | SignCrl),
            Self::FindsAnotherKey | Self::FindsAnotherPrivateKey => operation == Find,
            // Before there is a session, nobody is logged out.
            Self::LogsOut => !matches!(operation, Start | OpenSession | LogIn),
            Self::Refuses(..)
            | Self::LosesAnswers
            | Self::IsSlow
            | Self::Hangs
            | Self::Crashes
            | Self::CrashesAfter => true,
        }
    }

    /// What happens to a call; `own` and `other` are the labels of the key in use and of another one.
    pub(crate) fn effect(self, own: &str, other: &str) -> Effect {
        let swap = |scope| Effect::SwapKeys { wanted: own.to_owned(), found: other.to_owned(), scope };
        match self {
            Self::Refuses(_, code) => Effect::Refuse(code),
            Self::LosesAnswers => Effect::LoseAnswer(CKR_DEVICE_ERROR),
            Self::IsSlow => Effect::Delay(Duration::from_millis(500)),
            Self::Hangs => Effect::Hang,
            Self::Crashes => Effect::Crash,
            Self::CrashesAfter => Effect::CrashAfter,
            Self::LogsOut => Effect::LogOut,
            Self::SignsWrong => Effect::FlipSignature,
            Self::FindsAnotherKey => swap(Scope::Everything),
            Self::FindsAnotherPrivateKey => swap(Scope::PrivateKeys),
        }
    }

    /// How long the device is so.
    pub(crate) fn time(self) -> Duration {
        match self {
            // Beyond what a call may hang before its thread is given up.
            Self::Hangs => Duration::from_secs(5),
            Self::IsSlow => Duration::from_secs(2),
            _ => Duration::from_secs(1),
        }
    }

    /// Whether it meets one call, and is over with it.
    pub(crate) fn is_once(self) -> bool {
        matches!(self, Self::Crashes | Self::CrashesAfter)
    }
}

impl Operation {
    /// As the table calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::OpenSession => "session",
            Self::LogIn => "log-in",
            Self::Find => "find key",
            Self::Read => "read key",
            Self::SignLeaf => "sign leaf",
            Self::Generate => "make key",
            Self::ReadBack => "read back",
            Self::SignCa => "sign CA",
            Self::SignCrl => "sign CRL",
            Self::Destroy => "destroy key",
        }
    }

    /// The function in which it goes wrong.
    pub(crate) fn function(self) -> Function {
        match self {
            Self::Start => Function::Initialize,
            Self::OpenSession => Function::OpenSession,
            Self::LogIn => Function::Login,
            Self::Find => Function::FindObjectsInit,
            Self::Read | Self::ReadBack => Function::GetAttributeValue,
            Self::SignLeaf | Self::SignCa | Self::SignCrl => Function::Sign,
            Self::Generate => Function::GenerateKeyPair,
            Self::Destroy => Function::DestroyObject,
        }
    }

    /// Whether it is a part of a rotation.
    pub(crate) fn is_of_rotation(self) -> bool {
        matches!(self, Self::Generate | Self::ReadBack | Self::SignCa | Self::SignCrl | Self::Destroy)
    }
}

/// Every cell of the table.
pub(crate) fn all() -> Vec<(Kind, Operation)> {
    let of = |operation: Operation| KINDS.iter().map(move |kind| (*kind, operation));
    OPERATIONS.iter().copied().flat_map(of).filter(|(kind, operation)| kind.concerns(*operation)).collect()
}

/// Every kind once, and every operation once at least.
pub(crate) fn some() -> Vec<(Kind, Operation)> {
    let chosen = |(number, kind): (usize, &Kind)| {
        let fitting: Vec<_> = OPERATIONS.iter().copied().filter(|operation| kind.concerns(*operation)).collect();
        (*kind, fitting[number % fitting.len()])
    };
    KINDS.iter().enumerate().map(chosen).collect()
}

#[test]
fn the_bounded_run_tries_every_kind_and_every_operation() {
    let some = some();
    assert!(KINDS.iter().all(|kind| some.iter().any(|(chosen, _)| chosen == kind)));
    for operation in OPERATIONS {
        assert!(some.iter().any(|(_, chosen)| *chosen == operation), "{operation:?} in {some:?}");
    }
    assert!(some.iter().all(|cell| all().contains(cell)) && all().len() > 100);
}
