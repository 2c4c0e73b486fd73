//! What the writer is asked to do, and how its answer waits for the COMMIT.

use std::time::Instant;

use hallmark_policy::{Refusal, RequestIdentity, Warrant};
use tokio::sync::oneshot;

use crate::{
    Allowed, Event, FreezeWish, Frozen, InstanceRevocation, InstanceRevoked, Issued, LedgerError, Logged, NameRelease,
    Released, Revoke, RevokeAt, Revoked, Seal, Step, UnixMillis, authority,
    batch::{Batch, Fault},
};

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, LedgerError>>;

/// One operation.
pub(crate) enum Operation {
    Issue { warrant: Box<Warrant>, at: UnixMillis, deadline: Option<Instant>, reply: Reply<Issued> },
    Resume { request: RequestIdentity, at: UnixMillis, reply: Reply<Issued> },
    Refuse { refusal: Box<Refusal>, at: UnixMillis, reply: Reply<Logged> },
    Record { event: Event, at: UnixMillis, reply: Reply<Logged> },
    Advance { step: Step, at: UnixMillis, reply: Reply<Logged> },
    KeepFetch { authority: String, generation: u64, caller: String, at: UnixMillis, reply: Reply<()> },
    ReleaseName { release: NameRelease, at: UnixMillis, reply: Reply<Released> },
    RevokeInstance { wish: InstanceRevocation, at: RevokeAt, reply: Reply<InstanceRevoked> },
    AllowInstance { wish: InstanceRevocation, at: UnixMillis, reply: Reply<Allowed> },
    ResumeAuthority { authority: String, by: String, why: String, at: UnixMillis, reply: Reply<Option<Logged>> },
    FreezeAuthority { wish: FreezeWish, at: UnixMillis, reply: Reply<Frozen> },
    ThawAuthority { wish: FreezeWish, at: UnixMillis, reply: Reply<Option<Logged>> },
    StopAuthority { authority: String, label: String, sentence: String, at: UnixMillis, reply: Reply<Option<Logged>> },
    Revoke { revokes: Vec<Revoke>, at: RevokeAt, reply: Reply<Vec<Revoked>> },
    KeepSignature { log_index: u64, seal: Seal, reply: Reply<Vec<u8>> },
    Stop,
}

/// An answer that waits until the batch is durable, or lost.
pub(crate) struct Deferred(Box<dyn FnOnce(Result<(), LedgerError>)>);

impl Deferred {
    /// Answers; with the error where the batch is lost.
    pub(crate) fn send(self, batch: Result<(), LedgerError>) {
        (self.0)(batch);
    }
}

impl Operation {
    /// Does it inside the transaction. An error means that the whole batch is lost.
    pub(crate) fn apply(self, batch: &mut Batch<'_>) -> (Deferred, Result<(), rusqlite::Error>) {
        match self {
            // Whoever gave up waiting is not there to sign: nothing is committed for nobody.
            Self::Issue { reply, .. } | Self::Resume { reply, .. } if reply.is_closed() => {
                defer(reply, Err(Fault::Alone(LedgerError::Stopped)))
            }
            Self::Issue { deadline: Some(deadline), reply, .. } if deadline <= Instant::now() => {
                defer(reply, Ok(Issued::Expired))
            }
            Self::Issue { warrant, at, deadline: _, reply } => {
                batch.trusted_at = Some(at);
                defer(reply, batch.issue(*warrant, at))
            }
            // Also with a clock that nobody vouches for: what is forgotten does not follow it.
            Self::Resume { request, at, reply } => defer(reply, batch.resume(&request, at)),
            Self::Refuse { refusal, at, reply } => defer(reply, batch.refuse(&refusal, at)),
            Self::Record { event, at, reply } => defer(reply, batch.record(&event, at)),
            Self::Advance { step, at, reply } => defer(reply, batch.advance(&step, at)),
            Self::KeepFetch { authority, generation, caller, at, reply } => {
                let kept = authority::keep_fetch(batch.connection, &authority, generation, &caller, at);
                defer(reply, kept.map_err(Fault::Sql))
            }
            Self::ReleaseName { release, at, reply } => defer(reply, batch.release_name(&release, at)),
            Self::RevokeInstance { wish, at, reply } => defer(reply, batch.revoke_instance(&wish, at)),
            Self::AllowInstance { wish, at, reply } => defer(reply, batch.allow_instance(&wish, at)),
            Self::ResumeAuthority { authority, by, why, at, reply } => {
                defer(reply, batch.resume_authority(&authority, &by, &why, at))
            }
            Self::FreezeAuthority { wish, at, reply } => defer(reply, batch.freeze_authority(&wish, at)),
            Self::ThawAuthority { wish, at, reply } => defer(reply, batch.thaw_authority(&wish, at)),
            Self::StopAuthority { authority, label, sentence, at, reply } => {
                defer(reply, batch.stop_authority(&authority, &label, &sentence, at))
            }
            Self::Revoke { revokes, at, reply } => defer(reply, batch.revoke_all(&revokes, at)),
            Self::KeepSignature { log_index, seal, reply } => defer(reply, batch.keep_signature(log_index, seal)),
            Self::Stop => (Deferred(Box::new(|_| ())), Ok(())),
        }
    }

    /// Answers with an error, having done nothing.
    pub(crate) fn fail(self, error: LedgerError) {
        match self {
            Self::Issue { reply, .. } | Self::Resume { reply, .. } => answer(reply, Err(error)),
            Self::Refuse { reply, .. } | Self::Record { reply, .. } | Self::Advance { reply, .. } => {
                answer(reply, Err(error));
            }
            Self::Revoke { reply, .. } => answer(reply, Err(error)),
            Self::KeepSignature { reply, .. } => answer(reply, Err(error)),
            Self::KeepFetch { reply, .. } => answer(reply, Err(error)),
            Self::ReleaseName { reply, .. } => answer(reply, Err(error)),
            Self::RevokeInstance { reply, .. } => answer(reply, Err(error)),
            Self::AllowInstance { reply, .. } => answer(reply, Err(error)),
            Self::FreezeAuthority { reply, .. } => answer(reply, Err(error)),
            Self::ResumeAuthority { reply, .. }
            | Self::StopAuthority { reply, .. }
            | Self::ThawAuthority { reply, .. } => answer(reply, Err(error)),
            Self::Stop => {}
        }
    }
}

fn defer<T: 'static>(reply: Reply<T>, result: Result<T, Fault>) -> (Deferred, Result<(), rusqlite::Error>) {
    let (result, batch) = match result {
        Ok(value) => (Ok(value), Ok(())),
        Err(Fault::Alone(error)) => (Err(error), Ok(())),
        Err(Fault::Sql(error)) => (Err(LedgerError::Database { cause: error.to_string() }), Err(error)),
    };
    (Deferred(Box::new(move |done| answer(reply, done.and(result)))), batch)
}

/// Nobody waits any more where this fails, which is their right.
fn answer<T>(reply: Reply<T>, result: Result<T, LedgerError>) {
    drop(reply.send(result));
}
