//! The joint between the keyring and the places where keys live.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use hallmark_meter::Tally;
use hallmark_policy::key::{KeyKind, PublicKey, SignatureAlgorithm, SpkiDigest};
use secrecy::SecretString;

use crate::{
    error::BackendError,
    exception::Exception,
    reference::{KeyLabel, KeyReference},
    sign_error::SignError,
    waiver::Waiver,
    wrap_key::{WrapKey, WrapKeyFound, WrapValue},
};

/// A place where keys live. All calls block.
///
/// Contract: `generate` returns only what was read back and checked, durable. `open` compares the public key with the
/// expected one and checks every attribute before it answers. Nothing here retries a PIN. No call but
/// [`Signer::sign`] uses a private key, and that one touches it only after the gate let it pass.
pub(crate) trait Backend: Send + Sync {
    fn generate(&self, request: &KeyRequest) -> Result<NewKey, BackendError>;
    fn open(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<PublicKey, BackendError>;
    /// As `open`, for a key whose public key is not on record yet; it does not sign. It must be of that purpose.
    fn inspect(&self, reference: &KeyReference, purpose: KeyPurpose) -> Result<PublicKey, BackendError>;
    fn destroy(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<(), BackendError>;
    /// What guards a key, as the device tells it: evidence for a record.
    fn guards(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Guard>, BackendError>;
    /// What the device itself has signed over a key, so that nobody has to believe this program: certificates, DER, the key's own first. None where
    /// it has no such thing, as all that are reached through PKCS #11.
    fn attest(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Vec<u8>>, BackendError>;
    /// Gives the token another PIN. Afterwards this backend opens no session any more, since it has the one before.
    fn change_pin(&self, new: &SecretString) -> Result<(), BackendError>;
    /// Destroys every key of that label, and its public half, if all of them may be destroyed; says how many there were.
    fn clear(&self, label: &KeyLabel) -> Result<usize, BackendError>;
    fn list(&self) -> Result<Vec<KeyReference>, BackendError>;
    fn random(&self, bytes: &mut [u8]) -> Result<(), BackendError>;
    fn health(&self) -> Result<(), BackendError>;
    fn describe(&self) -> Description;
    /// Whether a PIN was refused since the start, so that nobody logs in any more. The device is not asked.
    fn pin_is_refused(&self) -> bool;
    /// Ends what this process has open with the device. What is asked afterwards opens it again.
    fn close(&self);
    /// A signer for one thread. It asks the device for nothing yet.
    fn signer(&self) -> Box<dyn Signer>;
    /// How keys are wrapped here; none where they are not.
    fn wrapping(&self) -> Option<&dyn Wrapping>;
    /// What is never signed here, whatever the key: a message of so many bytes with this algorithm. None where it may be. Nobody is asked.
    fn never_signs(&self, algorithm: SignatureAlgorithm, message_bytes: usize) -> Option<String>;
}

/// What one signing thread owns: a session of a token, or nothing but the way to the keys.
pub(crate) trait Signer: Send {
    /// Signs the message (it hashes itself) and returns the signature as certificates carry it, not yet verified.
    fn sign(
        &mut self,
        key: &OpenKey,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        gate: &Gate<'_>,
    ) -> Result<Vec<u8>, SignError>;

    /// Opens what it needs, so that a device that cannot sign is noticed before somebody waits for a signature. Called for
    /// one after another, so that the first failure can end it.
    fn connect(&mut self) -> Result<(), BackendError>;

    /// Forgets sessions and handles, because the last signature did not verify.
    fn distrust(&mut self);
}

/// A key that was opened and checked.
#[derive(Clone, Debug)]
pub(crate) struct OpenKey {
    pub(crate) reference: KeyReference,
    pub(crate) public: Arc<PublicKey>,
    /// Different for each time a key is opened, so that what a session remembers of it can grow stale.
    pub(crate) opening: u64,
    /// Set when it may sign no longer: also what was queued, and what a session remembers, ends there.
    pub(crate) closed: Arc<AtomicBool>,
    /// Which tokens have it, checked.
    pub(crate) held: Arc<Held>,
}

/// Which tokens have a key.
#[derive(Debug, Default)]
pub(crate) struct Held(AtomicU64);

impl Held {
    pub(crate) fn by(&self, holder: usize) -> bool {
        self.0.load(Ordering::SeqCst) & bit(holder) != 0
    }

    /// Whether that was so before.
    pub(crate) fn set(&self, holder: usize, has_it: bool) -> bool {
        let before = if has_it {
            self.0.fetch_or(bit(holder), Ordering::SeqCst)
        } else {
            self.0.fetch_and(!bit(holder), Ordering::SeqCst)
        };
        before & bit(holder) != 0
    }
}

/// A token's place among 64.
pub(crate) fn bit(holder: usize) -> u64 {
    u32::try_from(holder).ok().and_then(|holder| 1_u64.checked_shl(holder)).unwrap_or(0)
}

/// What stands right before a private key: the deadline, whether it may still sign, and the count of uses.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    pub(crate) deadline: Instant,
    pub(crate) issuer: SpkiDigest,
    pub(crate) closed: &'a AtomicBool,
    pub(crate) key_uses: &'a AtomicU64,
    /// Whether the key was touched, so that there may be a signature that nobody got.
    pub(crate) touched: AtomicBool,
    /// What tries fail with.
    pub(crate) errors: &'a Tally<String>,
}

impl Gate<'_> {
    /// Called right before the key is touched, each time.
    pub(crate) fn pass(&self) -> Result<(), SignError> {
        in_time(self.deadline)?;
        if self.closed.load(Ordering::SeqCst) {
            return Err(SignError::NotOpen { issuer: self.issuer });
        }
        self.key_uses.fetch_add(1, Ordering::Relaxed);
        self.touched.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Gate<'_> {
    /// The device says that it did not begin: there is no signature.
    pub(crate) fn was_not_touched(&self) {
        self.touched.store(false, Ordering::Relaxed);
    }

    /// A try failed, and there is another.
    pub(crate) fn tries_again(&self, error: &BackendError) {
        self.errors.count(error.code());
    }

    pub(crate) fn was_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }
}

/// Whether somebody still waits.
pub(crate) fn in_time(deadline: Instant) -> Result<(), SignError> {
    if Instant::now() >= deadline { Err(SignError::DeadlinePassed) } else { Ok(()) }
}

/// What kind of key to make.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    /// Its label, which no other key of the token or directory has.
    pub label: KeyLabel,
    /// Its kind.
    pub kind: KeyKind,
    /// What it is for.
    pub purpose: KeyPurpose,
}

/// What a key is for; decides whether it can be destroyed from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// A root's key: CKA_DESTROYABLE is false.
    Root,
    /// The key of an epoch, or one for a ceremony's rehearsal: destroyed when its time is over.
    Epoch,
    /// As a root's, but that it can be wrapped and leave the token: for ceremonies that back it up, and for tokens alone.
    Wrappable(Wrappers),
}

/// Which keys may wrap a key that can be wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrappers {
    /// Any key that wraps: whoever has the user PIN can make one.
    Any,
    /// Those that the token's security officer has marked, alone: CKA_WRAP_WITH_TRUSTED is true.
    Trusted,
}

impl KeyPurpose {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Epoch => "epoch",
            Self::Wrappable(_) => "wrappable",
        }
    }

    /// What need not hold of a key that was made for this.
    pub(crate) fn waived(self) -> &'static [Waiver] {
        match self {
            Self::Root | Self::Epoch => &[],
            Self::Wrappable(_) => Exception::Wrappable.waived(),
        }
    }
}

/// Wrapping keys, for backends that can. All calls block.
///
/// Contract: nothing is wrapped but a key that was found by its name and its public key and is guarded as it should be, and nothing but such a key
/// comes out of a wrapping. A wrap key has one direction, and what lasts in a token never unwraps. One that is brought lives in a session, and ends
/// with the call. Each call may be made again after it failed: what
/// it had made by then is taken up.
pub(crate) trait Wrapping {
    /// Makes a wrap key of this value under a label that no other has. It wraps, and unwraps nothing.
    fn make_wrap_key(&self, label: &KeyLabel, value: &WrapValue) -> Result<WrapKeyFound, BackendError>;
    /// The wrap key of that label, checked; none if there is none.
    fn wrap_key(&self, label: &KeyLabel) -> Result<Option<WrapKeyFound>, BackendError>;
    /// The private key as PKCS #8, wrapped.
    fn wrap(&self, key: &KeyReference, expected: SpkiDigest, by: &WrapKey) -> Result<Vec<u8>, BackendError>;
    /// Brings a private key out of its wrapping, not extractable, with its public half, read back and checked as far as that goes without a
    /// signature.
    fn unwrap(
        &self,
        key: &KeyReference,
        public: &PublicKey,
        wrapped: &[u8],
        by: &WrapValue,
    ) -> Result<(), BackendError>;
}

/// A key that was just made, read back and checked.
#[derive(Debug)]
pub struct NewKey {
    /// Where it is found again.
    pub reference: KeyReference,
    /// Its public key.
    pub public: PublicKey,
}

/// One thing that guards a private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The attribute, as PKCS #11, the manual of a YubiHSM, AWS or the file system names it.
    pub attribute: &'static str,
    /// What it is; `absent` where the device does not tell.
    pub value: String,
}

/// What the backend is, for logs and for people. Fields that a backend does not know are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// `pkcs11`, `yubihsm`, `aws-kms` or `software`.
    pub kind: &'static str,
    /// The module's path, where a YubiHSM is, region and endpoint of AWS KMS, or the directory.
    pub path: String,
    /// CK_INFO: libraryDescription and libraryVersion.
    pub library: String,
    /// CK_TOKEN_INFO: label.
    pub token_label: String,
    /// CK_TOKEN_INFO: serialNumber; the account in AWS.
    pub token_serial: String,
    /// CK_TOKEN_INFO: manufacturerID and model.
    pub manufacturer: String,
    /// CK_TOKEN_INFO: firmwareVersion.
    pub firmware: String,
    /// What becomes of a key that is destroyed, where it is not gone at once.
    pub ends: String,
    /// Attributes of a key's history that need not hold in this module, as the configuration says.
    pub waived: Vec<&'static str>,
}

impl Description {
    /// Whether both are of one token: no two of a maker have one serial number.
    pub(crate) fn is_of_token(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.token_serial.clone(), it.token_label.clone(), it.manufacturer.clone());
        !self.token_serial.is_empty() && of(self) == of(other)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.path)?;
        let fields = [
            ("library", &self.library),
            ("token", &self.token_label),
            ("serial", &self.token_serial),
            ("manufacturer", &self.manufacturer),
            ("firmware", &self.firmware),
        ];
        fields
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .try_for_each(|(name, value)| write!(f, ", {name} {value}"))?;
        if !self.ends.is_empty() {
            write!(f, ", {}", self.ends)?;
        }
        if self.waived.is_empty() { Ok(()) } else { write!(f, ", waived {}", self.waived.join(" ")) }
    }
}
