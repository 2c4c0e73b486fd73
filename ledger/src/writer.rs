//! The thread that writes. Everything that queued while the last commit ran goes into one transaction: no timer, and
//! the busier it is, the more operations share one sync of the disk. Nobody hears of anything before the COMMIT.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, Sender, TryRecvError},
    },
    time::Duration,
};

use hallmark_policy::{profile::PolicyDigest, time::Span};
use hallmark_tlog::frontier::Frontier;
use rusqlite::{Connection, ErrorCode};

use crate::{
    LedgerError,
    batch::Batch,
    config::Head,
    operation::{Deferred, Operation},
    shared::Shared,
    signing::Job,
    sweep::Sweep,
    wal::Growth,
};

/// Operations that share one transaction at most.
pub(crate) const BATCH_OPERATIONS_MAX: usize = 256;

/// Rows that one idle moment looks at, to forget old requests.
const IDLE_SWEEP_ROWS: usize = 64;

/// Rows that a batch looks at for each of its operations, so that forgetting keeps up with a log that is never idle.
const SWEEP_ROWS_EACH: usize = 2;

/// What the thread owns.
pub(crate) struct Writer {
    connection: Connection,
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    growth: Growth,
    frontier: Frontier,
    policy: Option<PolicyDigest>,
    sweep: Sweep,
    retention_millis: i64,
}

impl Writer {
    /// Goes on from a frontier.
    pub(crate) fn new(
        connection: Connection,
        shared: Arc<Shared>,
        jobs: Sender<Job>,
        growth: Growth,
        frontier: Frontier,
        retention: Span,
    ) -> Self {
        let retention_millis = i64::try_from(Duration::from_secs(retention.secs()).as_millis()).unwrap_or(i64::MAX);
        Self { connection, shared, jobs, growth, frontier, policy: None, sweep: Sweep::new(), retention_millis }
    }

    /// Works until [`Operation::Stop`], or until nobody can ask any more.
    pub(crate) fn run(mut self, queue: &Receiver<Operation>) {
        while let Some(first) = self.next(queue) {
            let mut operations = vec![first];
            operations.extend(queue.try_iter().take(BATCH_OPERATIONS_MAX - 1));
            let stop = operations.iter().position(|operation| matches!(operation, Operation::Stop));
            operations.truncate(stop.unwrap_or(BATCH_OPERATIONS_MAX));
            self.write(operations);
            if stop.is_some() {
                return;
            }
        }
    }

    /// The next operation; while there is none, old requests are forgotten.
    fn next(&mut self, queue: &Receiver<Operation>) -> Option<Operation> {
        loop {
            match queue.try_recv() {
                Ok(operation) => return Some(operation),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            if !self.sweep_idle() {
                return queue.recv().ok();
            }
        }
    }

    /// Writes operations in one transaction, and answers each.
    pub(crate) fn write(&mut self, operations: Vec<Operation>) {
        let begun = match self.shared.poisoned() {
            Some(poisoned) => Err(poisoned),
            None => self.connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| self.lost(&error)),
        };
        if let Err(error) = begun {
            operations.into_iter().for_each(|operation| operation.fail(error.clone()));
            return;
        }
        let mut replies = Vec::with_capacity(operations.len());
        let mut rest = operations.into_iter();
        match self.transact(&mut rest, &mut replies) {
            Ok(()) => replies.into_iter().for_each(|reply: Deferred| reply.send(Ok(()))),
            Err(error) => {
                replies.into_iter().for_each(|reply| reply.send(Err(error.clone())));
                rest.for_each(|operation| operation.fail(error.clone()));
            }
        }
        self.growth.bound(&self.connection, &self.shared);
    }

    /// Everything between BEGIN and the moment when the batch counts.
    fn transact(
        &mut self,
        operations: &mut std::vec::IntoIter<Operation>,
        replies: &mut Vec<Deferred>,
    ) -> Result<(), LedgerError> {
        let rows = operations.len() * SWEEP_ROWS_EACH;
        let mut batch = Batch::new(&self.connection, &self.frontier, self.policy);
        for operation in operations {
            let (reply, written) = operation.apply(&mut batch);
            replies.push(reply);
            if let Err(error) = written {
                return Err(self.lost(&error));
            }
        }
        let at = batch.last_at.or_else(|| self.shared.head().last_entry_at);
        let mut sweep = self.sweep;
        let finished = batch.finish().and_then(|()| match at.map(|at| at.0.saturating_sub(self.retention_millis)) {
            Some(cutoff) if sweep.is_due(cutoff) => sweep.run(&self.connection, cutoff, rows),
            Some(_) | None => Ok(()),
        });
        finished.map_err(|error| self.lost(&error))?;
        self.commit()?;
        let Batch { frontier, leaves, waiting, policy, .. } = batch;
        let head = Head { size: frontier.size(), root: frontier.root(), last_entry_at: at };
        let before = std::mem::replace(&mut self.frontier, frontier);
        (self.policy, self.sweep) = (policy, sweep);
        if !leaves.is_empty() {
            // It is gone only when this ledger is stopping; receipts are missing then.
            drop(self.jobs.send(Job::Batch { before, leaves, waiting }));
        }
        self.shared.set_head(head);
        Ok(())
    }

    /// A COMMIT that fails for any reason but a full disk leaves open what is on the disk. It is never tried again.
    fn commit(&self) -> Result<(), LedgerError> {
        match self.connection.execute_batch("COMMIT") {
            Ok(()) => {
                self.shared.count_commit();
                Ok(())
            }
            Err(error) => {
                if error.sqlite_error_code() != Some(ErrorCode::DiskFull) {
                    self.shared.poison(&error);
                }
                Err(self.lost(&error))
            }
        }
    }

    /// Rolls back, and says what that means for everybody in the batch.
    fn lost(&self, error: &rusqlite::Error) -> LedgerError {
        if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) {
            self.shared.poison(error);
        }
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            self.shared.poison(&error);
        }
        if let Some(poisoned) = self.shared.poisoned() {
            return poisoned;
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => LedgerError::Full,
            Some(_) | None => {
                tracing::error!(%error, "a batch could not be written and was rolled back");
                LedgerError::Database { cause: error.to_string() }
            }
        }
    }

    /// Forgets some old requests; whether there may be more.
    fn sweep_idle(&mut self) -> bool {
        let Some(at) = self.shared.head().last_entry_at else { return false };
        let cutoff = at.0.saturating_sub(self.retention_millis);
        if !self.sweep.is_due(cutoff) || self.shared.poisoned().is_some() {
            return false;
        }
        let mut sweep = self.sweep;
        let begun = self.connection.execute_batch("BEGIN IMMEDIATE");
        let swept = begun.and_then(|()| sweep.run(&self.connection, cutoff, IDLE_SWEEP_ROWS));
        match swept.map_err(|error| self.lost(&error)).and_then(|()| self.commit()) {
            Ok(()) => {
                self.sweep = sweep;
                sweep.is_due(cutoff)
            }
            Err(error) => {
                tracing::warn!(%error, "old requests could not be forgotten; it is tried again");
                false
            }
        }
    }
}
