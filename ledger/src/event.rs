//! What is logged beside decisions: events, and the steps that make authorities and epochs.

use hallmark_policy::{
    crl::RevocationReason,
    key::{KeyKind, SpkiDigest},
    offline::Brought,
    profile::PolicyDigest,
};

use crate::{KeyChange, UnixMillis};

/// Something that happened. Each becomes one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The daemon started.
    Start {
        /// Its version.
        version: String,
        /// SHA-256 of its configuration file.
        config_sha256: [u8; 32],
        /// Descriptions of its key backends.
        backends: Vec<String>,
        /// Whether any CA key is a software key.
        software_keys: bool,
        /// Authorities that are served although no ceremony speaks for their root: the configuration says so.
        roots_without_ceremony: Vec<String>,
    },
    /// The daemon stops: the last entry of a clean run.
    Stop,
    /// The start found that the last run did not stop cleanly.
    Recovered {
        /// Requests that were committed and not signed.
        unsigned: u64,
    },
    /// A policy is in force from this entry on; warrants decided under another are refused.
    PolicyLoaded {
        /// SHA-256 of its text.
        digest: PolicyDigest,
        /// Its text, kept as a blob.
        text: String,
        /// Who brought it: `start`, `reload`, or the identity of an operator.
        by: String,
    },
    /// A policy was brought and not taken; the one before stays in force.
    PolicyRefused {
        /// SHA-256 of its text; none if it could not be read at all.
        digest: Option<[u8; 32]>,
        /// Who brought it.
        by: String,
        /// What is wrong, sentence by sentence.
        sentences: Vec<String>,
    },
    /// Something happened to a key.
    KeyEvent {
        /// The authority it belongs to.
        authority: String,
        /// What happened.
        action: KeyAction,
        /// What the backend calls the key.
        reference: String,
        /// Which key.
        spki: SpkiDigest,
        /// Its kind.
        kind: KeyKind,
        /// Description of the backend.
        backend: String,
    },
    /// A token got a key that wraps others.
    WrapKeyMade {
        /// The authority whose ceremony it was.
        authority: String,
        /// What the backend calls the key.
        reference: String,
        /// What tells it from others, where that is known: bytes that say nothing of its value.
        check_value: Option<[u8; 3]>,
        /// Description of the backend.
        backend: String,
    },
    /// Keys were destroyed that an interrupted attempt had left under a label, or others had made under it: nobody was ever told of them.
    KeysCleared {
        /// The authority whose label it is.
        authority: String,
        /// The label.
        label: String,
        /// How many.
        count: u64,
        /// Description of the backend.
        backend: String,
    },
    /// A committed request could not be signed.
    SigningFailed {
        /// Index of its decision.
        log_index: u64,
        /// A stable code.
        code: String,
        /// What happened.
        sentence: String,
    },
    /// The clocks disagreed: nothing is minted until an operator confirms the clock, also after a restart.
    ClockDistrusted {
        /// What was wrong.
        sentence: String,
    },
    /// An operator confirmed the clock.
    ClockAccepted,
    /// An operator did something.
    OperatorCommand {
        /// What.
        command: String,
    },
    /// An operator has a backup made: the entry stands before anything is copied.
    BackUp {
        /// Its name.
        name: String,
        /// The operator.
        by: String,
        /// Why, in words.
        why: String,
    },
    /// An operator revokes certificates: their revocations follow.
    RevokeCertificates {
        /// The authority.
        authority: String,
        /// The operator.
        by: String,
        /// Why, in words.
        why: String,
        /// What CRLs say.
        reason: RevocationReason,
        /// What was selected, in words.
        selection: Vec<String>,
        /// How many.
        count: u64,
    },
    /// Calls of one caller that were refused alike and are not logged one by one.
    Aggregate {
        /// Who called.
        caller: String,
        /// What.
        method: String,
        /// Why it was refused, as a stable code.
        reason: String,
        /// How often.
        count: u64,
        /// From when.
        from: UnixMillis,
        /// Until when.
        to: UnixMillis,
    },
    /// Other keys sign the log from this entry on. Wants what opening the ledger found.
    LogKeys {
        /// Which keys.
        change: KeyChange,
        /// Who changed them.
        by: String,
    },
    /// A device's own command log, and what was asked of the device, disagree.
    DeviceAlarm {
        /// How.
        alarm: DeviceAlarm,
        /// The authority whose key it is about, where that is known.
        authority: Option<String>,
        /// What was found, and what to do.
        sentence: String,
    },
    /// Something happened in a ceremony.
    Ceremony(CeremonyEvent),
    /// Nothing happened: the log is alive.
    Heartbeat,
}

/// How a device's own command log and a signer disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceAlarm {
    /// A CA key signed what the signer did not ask for.
    UnaskedSignature,
    /// The log lacks something, or was changed.
    LogBroken,
}

impl DeviceAlarm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::UnaskedSignature, Self::LogBroken];

    /// Its word in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UnaskedSignature => "unasked-signature",
            Self::LogBroken => "device-log-broken",
        }
    }
}

/// What happened in a ceremony.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CeremonyEvent {
    /// Its name.
    pub ceremony: String,
    /// SHA-256 of its file.
    pub file_sha256: [u8; 32],
    /// What happened.
    pub action: CeremonyAction,
}

/// What happens in a ceremony.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CeremonyAction {
    /// It begins, or goes on after an interruption.
    Begun {
        /// What it does, in one word: `root`, `crl` and so on.
        kind: String,
        /// Description of the device; none where no device takes part.
        device: Option<String>,
        /// SHA-256 of what the rehearsal foretold.
        rehearsal_sha256: [u8; 32],
    },
    /// Witnesses let a step be done.
    Confirmed {
        /// The step.
        step: String,
        /// Their names.
        by: Vec<String>,
    },
    /// It stops before a step.
    Stopped {
        /// The step.
        step: String,
        /// Who stopped it, or why it did.
        sentence: String,
    },
    /// It is done, and this is its transcript.
    Finished {
        /// SHA-256 of the transcript.
        transcript_sha256: [u8; 32],
    },
    /// In another log: the root of an authority comes from a ceremony.
    HandedOver {
        /// The authority.
        authority: String,
        /// SHA-256 of the transcript.
        transcript_sha256: [u8; 32],
        /// Name of the ceremony's log.
        origin: String,
        /// Size of that log when the transcript was in it.
        size: u64,
        /// Root of its tree of that size.
        root: [u8; 32],
    },
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAction {
    /// It was generated in its backend.
    Generated,
    /// It was left behind by an interrupted start, under a label that the log had named, and is used.
    TakenOver,
    /// It was found again, and is the key it should be.
    Opened,
    /// It was destroyed.
    Destroyed,
    /// It was found and is not what it should be.
    Refused,
    /// It is about to leave its token in wrapped form: the entry stands before that.
    BackedUp,
    /// It is about to come out of its wrapping into this token: the entry stands before that.
    Restoring,
    /// It came out of its wrapping into this token, and was read back.
    Restored,
}

/// A step of an authority's life: an entry and a change of rows in one transaction, by compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new authority is to get a root.
    RootIntent {
        /// Its name.
        authority: String,
        /// Label of the key to be generated.
        label: String,
        /// Whose signature the first manifest needs; none where it rotates by age.
        owners: Vec<SpkiDigest>,
    },
    /// The root's key was generated. Wants the intent.
    RootKey {
        /// The authority.
        authority: String,
        /// What the backend calls the key.
        reference: String,
        /// SubjectPublicKeyInfo, DER.
        spki: Vec<u8>,
    },
    /// The root certificate is made. Wants its kept signature.
    RootReady {
        /// The authority.
        authority: String,
    },
    /// The root was made elsewhere, and its certificate was brought: the authority is ready. Wants that there is none of that name.
    RootBrought {
        /// Its name.
        authority: String,
        /// The ceremony that made it: what is said of that stands right before this entry, in the same transaction.
        ceremony: Option<Box<CeremonyEvent>>,
        /// Its key, where that is here; none where the root is offline.
        key: Option<BroughtKey>,
        /// Whose signature the first manifest needs; none where it rotates by age.
        owners: Vec<SpkiDigest>,
        /// SubjectPublicKeyInfo of the root, DER.
        spki: Vec<u8>,
        /// The certificate, taken apart, and as policy checked it.
        brought: Box<Brought>,
    },
    /// The intermediate CA certificate that an offline root signed was brought. Wants an epoch with a key and without one.
    IntermediateBrought {
        /// The authority.
        authority: String,
        /// The epoch.
        generation: u64,
        /// The certificate, taken apart, and as policy checked it.
        brought: Box<Brought>,
        /// Who brought it.
        by: String,
    },
    /// The next epoch is to be made. Wants a root that is ready, no other epoch in the making, the next generation,
    /// and the transition that follows from `previous` and the manifest.
    EpochIntent(Box<EpochIntent>),
    /// The epoch's key was generated. Wants the intent, and a key that is no other's.
    EpochKey {
        /// The authority.
        authority: String,
        /// The epoch.
        generation: u64,
        /// What the backend calls the key.
        reference: String,
        /// SubjectPublicKeyInfo, DER.
        spki: Vec<u8>,
    },
    /// Both CA certificates are made. Wants their kept signatures.
    EpochPrepared {
        /// The authority.
        authority: String,
        /// The epoch.
        generation: u64,
    },
    /// The epoch is the active one from this entry on, and the one before is retired.
    EpochActive {
        /// The authority.
        authority: String,
        /// The epoch.
        generation: u64,
        /// Whether the intermediate that it replaces goes on the root's CRL, also where the intent did not say so.
        revoke_previous: bool,
        /// Who put it in force: a caller's name in the policy, an operator's identity, `init` or `start`.
        by: String,
    },
    /// The epoch is given up before it was active. Its number is not used again; its transition may be.
    EpochAborted {
        /// The authority.
        authority: String,
        /// The epoch.
        generation: u64,
        /// Why.
        reason: String,
        /// Who gave it up.
        by: String,
    },
    /// The key of a retired or aborted epoch is destroyed, or it never had one.
    EpochDestroyed {
        /// The authority.
        authority: String,
        /// The epoch.
        generation: u64,
    },
}

/// The key of a root that a ceremony made in the token of this signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroughtKey {
    /// Its label.
    pub label: String,
    /// What the backend calls it.
    pub reference: String,
}

/// What an epoch is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochIntent {
    /// The authority.
    pub authority: String,
    /// Generation, from 1; that of an aborted epoch is not used again.
    pub generation: u64,
    /// The manifest, or the statement in its place; kept as a blob.
    pub statement: Statement,
    /// Transition digest.
    pub transition: [u8; 32],
    /// Transition of the active epoch; 32 zero bytes if there is none.
    pub previous: [u8; 32],
    /// Lifetime of its CA certificates in seconds; 0: the policy's.
    pub lifetime_secs: u64,
    /// Whether the intermediate that it replaces goes on the root's CRL.
    pub revoke_previous: bool,
    /// Label of the key to be generated.
    pub label: String,
    /// Who wants it.
    pub consent: Consent,
}

/// A manifest or statement, and its digest: taken once, where it comes in.
#[derive(Clone, PartialEq, Eq)]
pub struct Statement {
    bytes: Vec<u8>,
    sha256: [u8; 32],
}

impl Statement {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let sha256 = hallmark_entry::sha256(&bytes);
        Self { bytes, sha256 }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }
}

impl std::fmt::Debug for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Statement({}, {} bytes)", hallmark_policy::hex(&self.sha256), self.bytes.len())
    }
}

/// Who wants an epoch, for the log: an auditor verifies an owner's signature from the entry, the blob and the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// The caller's name in the policy, or the operator's identity.
    pub by: String,
    /// SubjectPublicKeyInfo of the owner whose signature it is, DER.
    pub owner_spki: Vec<u8>,
    /// The signature, ASN.1 DER.
    pub owner_signature: Vec<u8>,
}
