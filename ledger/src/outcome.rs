//! What the ledger answers.

use hallmark_policy::{
    EpochId, Reason, RequestIdentity,
    key::{SignatureAlgorithm, SpkiDigest},
};
use tokio::sync::oneshot;

use crate::{Committed, LedgerError};

/// What became of a warrant.
#[derive(Debug)]
pub enum Issued {
    /// Its conditions held and it is durable: sign it.
    Committed {
        /// What to sign.
        committed: Committed,
        /// Its entry; after [`resume`](crate::Ledger::resume), the entry that says it is signed again.
        logged: Logged,
        /// Whether certificates were revoked with it, so that a CRL is due.
        revokes: bool,
    },
    /// The same request was answered before: the same answer.
    Answered(Answer),
    /// The same request was committed before and is not signed yet. Nothing was written.
    InFlight,
    /// Another request's certificate is the answer, and is not signed yet. The id of this one is bound to it.
    SameAs(RequestIdentity),
    /// Its deadline had passed when the writer came to it. Nothing was written.
    Expired,
    /// A condition did not hold. The refusal is logged.
    Refused {
        /// Why.
        reasons: Vec<Reason>,
        /// The entry.
        logged: Logged,
    },
    /// Decided only, as was asked: nothing to sign, no serial taken, no id bound.
    Validated {
        /// The entry.
        logged: Logged,
    },
}

/// What the ledger knows about a request id.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    New,
    /// Committed and signed.
    Answered(Answer),
    /// Committed, not signed.
    Unsigned,
    /// Committed, never signed, and given up.
    Void,
    /// Committed with another content.
    OtherContent,
}

/// A certificate that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// DER of the TBSCertificate.
    pub to_be_signed: Vec<u8>,
    /// The signature over it.
    pub signature: Vec<u8>,
    /// The algorithm.
    pub algorithm: SignatureAlgorithm,
    /// The key that signed.
    pub issuer: SpkiDigest,
    /// The serial number, big-endian.
    pub serial: Vec<u8>,
    /// Index of its entry.
    pub log_index: u64,
    /// Its epoch; none for a root.
    pub epoch: Option<EpochId>,
}

/// A durable entry.
#[derive(Debug)]
pub struct Logged {
    /// Its index.
    pub index: u64,
    /// Its bytes.
    pub entry: Vec<u8>,
    /// The proof that it is in the log, soon.
    pub receipt: ReceiptHandle,
}

/// A receipt in the making. Whoever drops it saves the work.
#[derive(Debug)]
pub struct ReceiptHandle {
    pub(crate) receiver: oneshot::Receiver<Result<String, LedgerError>>,
}

impl ReceiptHandle {
    /// The receipt (C2SP `tlog-proof`), verified before it leaves.
    ///
    /// # Errors
    /// When the ledger stopped before it was made, or it does not verify.
    pub async fn text(self) -> Result<String, LedgerError> {
        self.receiver.await.unwrap_or(Err(LedgerError::Stopped))
    }
}
