//! What can go wrong with a device or a directory of keys, told apart.

use std::path::PathBuf;

use hallmark_policy::key::{PublicKeyError, SpkiDigest};

use crate::{
    class::Failure,
    exception::remedy,
    reference::{KeyReference, KeyReferenceError},
};

/// Why a backend did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The configuration asks for something impossible.
    #[error("the key backend's configuration is refused: {detail}")]
    Configuration {
        /// What is wrong with it, and what to write instead.
        detail: String,
    },
    /// A key's name cannot be stored.
    #[error(transparent)]
    Reference(#[from] KeyReferenceError),
    /// The caller did not admit software keys.
    #[error("software keys are not admitted here; use a PKCS#11 token, or admit them where the daemon is started")]
    SoftwareNotAdmitted,
    /// The module cannot be loaded or does not speak PKCS#11.
    #[error("the PKCS#11 module `{}` cannot be used ({detail}); check the path and that its package is installed", module.display())]
    Module {
        /// The configured path.
        module: PathBuf,
        /// What the loader or the module said.
        detail: String,
    },
    /// No initialised token of that label and serial.
    #[error("no token {token} is present (present: {present}); initialise it or correct the label and serial")]
    TokenNotFound {
        /// What was looked for.
        token: String,
        /// What is there.
        present: String,
    },
    /// More than one token fits.
    #[error("{count} tokens are called {token}; add the serial of the right one to the configuration")]
    TokenAmbiguous {
        /// What was looked for.
        token: String,
        /// How many fit.
        count: usize,
    },
    /// The token has no user PIN.
    #[error("token {token} has no user PIN yet; set one with the vendor's tool")]
    PinNotSet {
        /// The token.
        token: String,
    },
    /// The PIN or passphrase is wrong. It is never tried a second time.
    #[error(
        "{what} is wrong; nothing is tried again, because tokens lock after a few attempts: correct it and restart"
    )]
    WrongPin {
        /// Which PIN or passphrase.
        what: String,
    },
    /// One more wrong PIN would lock the token.
    #[error("token {token} allows one last PIN attempt, which is left to you: log in once with the vendor's tool")]
    PinFinalTry {
        /// The token.
        token: String,
    },
    /// The token's user PIN is locked.
    #[error("the user PIN of token {token} is locked; unlock it with the security officer's PIN")]
    PinLocked {
        /// The token.
        token: String,
    },
    /// A wrong PIN was tried on the token, and others have its keys.
    #[error(
        "a wrong PIN was tried on token {token} since its last log-in, and other tokens have its keys, so its PIN is left to you: log in once \
         with the vendor's tool"
    )]
    PinDoubted {
        /// The token.
        token: String,
    },
    /// No token is there that could do it.
    #[error("no token is there that could do this (away: {tokens}); mend one of them, it is taken in by itself")]
    TokensAway {
        /// Those that are not there.
        tokens: String,
    },
    /// Several tokens failed, each in its own way.
    #[error("{}", .errors.iter().map(|(token, error)| format!("token {token}: {error}")).collect::<Vec<_>>().join("; "))]
    Several {
        /// Which, with what it said: two at least.
        errors: Vec<(String, BackendError)>,
    },
    /// Something else in this process is logged in, so that the token does not check this PIN.
    #[error(
        "token {token} is already logged in by another part of this process with another PIN, so this PIN proves nothing"
    )]
    PinNotProven {
        /// The token.
        token: String,
    },
    /// The token has no session left to give.
    #[error("the token has no free session ({failure}); configure fewer sessions or stop other users of the token")]
    SessionsExhausted {
        /// The call and its answer.
        failure: Failure,
    },
    /// The device, token or session went away.
    #[error("the key device does not answer ({failure}); check its connection, it is found again at the next use")]
    Gone {
        /// The call and its answer.
        failure: Failure,
    },
    /// The connector of a YubiHSM, or its USB, does not answer.
    #[error(
        "no YubiHSM is reached at `{place}` ({failure}); start its connector or check its plug, it is found again at the next use"
    )]
    ConnectorGone {
        /// Where it was looked for.
        place: String,
        /// The command and what became of it.
        failure: Failure,
    },
    /// AWS KMS does not answer, or nobody is where it should be.
    #[error(
        "AWS KMS is not reached at `{place}` ({failure}); check the network and the endpoint, it is asked again at the next use"
    )]
    ServiceGone {
        /// The region, and the endpoint.
        place: String,
        /// The call and what became of it.
        failure: Failure,
    },
    /// The file of credentials cannot be used.
    #[error("{detail}; they are read again at the next use")]
    CredentialsUnusable {
        /// Which, and why. Nothing of them.
        detail: String,
    },
    /// AWS does not accept the credentials.
    #[error(
        "AWS does not accept the credentials ({failure}); put valid ones in their place and look at this machine's clock, they are read again at the next use"
    )]
    CredentialsRefused {
        /// The call and its answer.
        failure: Failure,
    },
    /// The credentials may not do this.
    #[error(
        "the credentials may not do this ({failure}); compare their IAM policy with that of docs/devices/aws-kms.md, it is tried again at the next use"
    )]
    Denied {
        /// The call and its answer.
        failure: Failure,
    },
    /// The credentials belong to another account than the one that is meant.
    #[error(
        "these credentials belong to the AWS account {found}, and the keys are in {wanted}; put those of that account in their place, they are read \
         again at the next use"
    )]
    OtherAccount {
        /// The account that AWS answered of.
        found: String,
        /// The one that is configured.
        wanted: String,
    },
    /// Nothing says which account the credentials belong to.
    #[error(
        "AWS KMS tells of neither a key nor an alias in this region, so that nothing says that these credentials belong to the AWS account {wanted}; \
         compare them with `aws sts get-caller-identity`, then make any key there with the same credentials, it is looked at again at the next use"
    )]
    AccountUntold {
        /// The one that is configured.
        wanted: String,
    },
    /// A key is not where it is to be destroyed, and was not seen to end there.
    #[error(
        "key `{key}` is not in {place} ({found}): nothing shows that it was destroyed; look for it in AWS, and at the credentials"
    )]
    EndNotShown {
        /// The key.
        key: KeyReference,
        /// The account, and the region.
        place: String,
        /// What was found in its place.
        found: String,
    },
    /// The key is there and does nothing.
    #[error(
        "key `{key}` is {state} in AWS KMS and signs nothing; enable it there, it is looked at again at the next use"
    )]
    KeyAway {
        /// The key.
        key: KeyReference,
        /// Its state, as AWS names it.
        state: String,
    },
    /// The device does nothing that is logged until its command log is read.
    #[error(
        "the device's command log is full ({failure}), and it does nothing until that is read: `command-log = \"consume\"` has this signer do so, \
         which may take a moment; otherwise read it with yubihsm-shell (audit get, audit set)"
    )]
    LogFull {
        /// The command and its answer.
        failure: Failure,
    },
    /// Nothing of this kind is done with this kind of device.
    #[error(
        "this kind of device, or the way to it, does not do this: {what}; choose another kind of key, or another device"
    )]
    Incapable {
        /// What.
        what: String,
    },
    /// The device has no room or no time now.
    #[error("the key device is busy ({failure}); it is asked again at the next use")]
    Busy {
        /// The call and its answer.
        failure: Failure,
    },
    /// The token does not know a handle any more: its key was destroyed, or the token was loaded anew.
    #[error("the token does not know this key's handle any more ({failure}); the key is looked for at the next use")]
    HandleLost {
        /// The call and its answer.
        failure: Failure,
    },
    /// The device will not do this, whoever asks and however often.
    #[error("the key device refuses this ({failure}); see the device's documentation for this answer")]
    Refused {
        /// The call and its answer.
        failure: Failure,
    },
    /// The device failed, and says no more than that.
    #[error("the key device failed ({failure}); see its own log, it is tried again at the next use")]
    Broken {
        /// The call and its answer.
        failure: Failure,
    },
    /// The device did not answer in time. What it still does is looked at when it comes back.
    #[error(
        "the key device did not {operation} within {waited_secs} s; if it stays so, restart the device, then the daemon"
    )]
    Hung {
        /// What it was asked to do.
        operation: &'static str,
        /// How long was waited.
        waited_secs: u64,
    },
    /// Nothing is done with the device any more.
    #[error("it was too late to {operation}: the key device was closed")]
    Stopped {
        /// What it was asked to do.
        operation: &'static str,
    },
    /// A fault in this program, not in the device.
    #[error("this program failed to {operation}, which is in its log; report it")]
    Panicked {
        /// What it was doing.
        operation: &'static str,
    },
    /// The session is not logged in, so that private keys cannot be seen.
    #[error(
        "the session with the token was logged out (CKR_USER_NOT_LOGGED_IN); it is logged in again at the next use"
    )]
    LoggedOut,
    /// No key of that name.
    #[error("there is no key `{key}`; restore it or correct the reference")]
    KeyNotFound {
        /// The key.
        key: KeyReference,
    },
    /// Two or more keys of that name.
    #[error("more than one object is called `{key}`; remove those that this signer did not make")]
    KeyAmbiguous {
        /// The key.
        key: KeyReference,
    },
    /// There is a key of that label already.
    #[error("there is a key called `{label}` already; choose another label or destroy the old key")]
    LabelTaken {
        /// The label.
        label: String,
    },
    /// The key is there, but it is another one.
    #[error("key `{key}` has SPKI SHA-256 {found}, not {expected}; somebody replaced it, so it is not used")]
    WrongKey {
        /// The key.
        key: KeyReference,
        /// The digest on record.
        expected: SpkiDigest,
        /// The digest of what is there.
        found: SpkiDigest,
    },
    /// The key is not guarded as a CA key must be.
    #[error("key `{key}` has {attribute} = {found}, but a CA key needs {wanted}; {}", remedy(attribute))]
    WrongAttribute {
        /// The key.
        key: KeyReference,
        /// The attribute, as PKCS#11 or the file system names it.
        attribute: &'static str,
        /// What it is; `absent` where the device does not tell.
        found: String,
        /// What it must be.
        wanted: String,
    },
    /// Its public key is none that this signer knows.
    #[error("the public key of `{key}` is not usable: {source}")]
    PublicKey {
        /// The key.
        key: KeyReference,
        /// Why.
        source: PublicKeyError,
    },
    /// The private key may not be destroyed: it belongs to a root.
    #[error("key `{key}` belongs to a root and is not destroyed from here; use the vendor's tool, with two people")]
    NotDestroyable {
        /// The key.
        key: KeyReference,
    },
    /// The private key was not made to be wrapped.
    #[error("key `{key}` cannot leave its token: it was made with CKA_EXTRACTABLE = false, which nothing changes")]
    NotWrappable {
        /// The key.
        key: KeyReference,
    },
    /// The device's certificate is about another key.
    #[error(
        "the certificate that the device made over key `{key}` has another public key in it; have the device examined"
    )]
    OtherAttested {
        /// The key.
        key: KeyReference,
    },
    /// What comes out of a wrapping is another key.
    #[error(
        "what the backup has is not the private key of `{key}`: its curve or its modulus is another; nothing was restored"
    )]
    NotItsHalf {
        /// The key.
        key: KeyReference,
    },
    /// No wrap key of that label.
    #[error("the token has no wrap key called `{label}`")]
    WrapKeyNotFound {
        /// The label.
        label: String,
    },
    /// Several wrap keys of that label.
    #[error("more than one secret key of the token is called `{label}`; remove those that no ceremony made")]
    WrapKeyAmbiguous {
        /// The label.
        label: String,
    },
    /// The wrap key can do more or less than wrap, or can leave the token.
    #[error("wrap key `{label}` has {attribute} = {found}, and a wrap key needs {wanted}; make another")]
    WrapKeyUnfit {
        /// Its label.
        label: String,
        /// The attribute.
        attribute: &'static str,
        /// What it is; `absent` where the device does not tell.
        found: String,
        /// What it must be.
        wanted: String,
    },
    /// A file of the software backend cannot be read or written.
    #[error("`{}` cannot be used: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the software backend holds no key that this signer can read.
    #[error("`{}` holds no encrypted PKCS#8 key of a known kind ({detail}); restore it from a copy", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: &'static str,
    },
    /// The cryptographic library failed.
    #[error("the cryptographic library failed to {operation}; the machine is short of memory or broken")]
    Library {
        /// What it was asked to do.
        operation: &'static str,
    },
    /// A session thread could not be started.
    #[error("a session thread cannot be started: {source}; raise the limit of threads")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
}

impl BackendError {
    /// Whether it is about a PIN or passphrase that was not right or cannot be tried: trying again could lock the token.
    #[must_use]
    pub fn is_about_the_pin(&self) -> bool {
        if let Self::Several { errors } = self {
            return errors.iter().any(|(_, error)| error.is_about_the_pin());
        }
        matches!(
            self,
            Self::WrongPin { .. }
                | Self::PinFinalTry { .. }
                | Self::PinLocked { .. }
                | Self::PinNotProven { .. }
                | Self::PinDoubted { .. }
        )
    }

    /// What tokens failed with, all of it; nothing where none failed.
    #[must_use]
    pub fn of_tokens(mut errors: Vec<(String, Self)>) -> Option<Self> {
        match errors.len() {
            0 | 1 => errors.pop().map(|(_, error)| error),
            _ => Some(Self::Several { errors }),
        }
    }

    /// The one that decides what can be done: the first that no new session mends, otherwise the first.
    pub(crate) fn decisive(&self) -> &Self {
        let Self::Several { errors } = self else { return self };
        let own = || errors.iter().map(|(_, error)| error);
        own().find(|error| !error.may_pass()).or_else(|| own().next()).unwrap_or(self)
    }

    /// Whether the next log-in could be one too many, so that the same token is opened no more in this process. Where only the token's flags
    /// were read, looking again is no attempt.
    pub(crate) fn forbids_another_log_in(&self) -> bool {
        matches!(self, Self::WrongPin { .. } | Self::PinLocked { .. } | Self::PinNotProven { .. })
    }
}
