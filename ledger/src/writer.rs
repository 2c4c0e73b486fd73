//! The thread that writes. Everything that queued while the last commit ran goes into one transaction: no timer, and
//! the busier it is, the more operations share one sync of the disk. Nobody hears of anything before the COMMIT.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, Sender, TryRecvError},
    },
    time::Instant,
};

use hallmark_entry::privacy::Private;
use hallmark_policy::profile::PolicyDigest;
use hallmark_tlog::{frontier::Frontier, hash::Hash};
use rusqlite::{Connection, ErrorCode};

use crate::{
    LedgerError, RevokeAt, UnixMillis,
    batch::Batch,
    config::Head,
    found::Sorting,
    instance::Alarm,
    operation::{Deferred, Operation},
    room::{Look, Room},
    shared::Shared,
    signing::{Job, Waiting},
    sweep::{Retention, Sweep},
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
    private: Private,
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    growth: Growth,
    frontier: Frontier,
    policy: Option<PolicyDigest>,
    room: Look,
    sweep: Sweep,
    sorting: Sorting,
    /// What counts as now for the sweep. Other entries carry the time of a clock that nobody vouches for.
    trusted_at: Option<UnixMillis>,
    retention: Retention,
}

impl Writer {
    /// Goes on from a frontier.
    pub(crate) fn new(
        connection: Connection,
        shared: Arc<Shared>,
        jobs: Sender<Job>,
        growth: Growth,
        frontier: Frontier,
        retention: Retention,
        private: Private,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            room: Look::at(&connection)?,
            connection,
            private,
            shared,
            jobs,
            growth,
            frontier,
            policy: None,
            sweep: Sweep::new(),
            sorting: Sorting::default(),
            trusted_at: None,
            retention,
        })
    }

    /// Works until [`Operation::Stop`], or until nobody can ask any more.
    pub(crate) fn run(mut self, queue: &Receiver<Operation>) {
        while let Some(first) = self.next(queue) {
            let mut operations = vec![first];
            operations.extend(queue.try_iter().take(BATCH_OPERATIONS_MAX - 1));
            let stop = operations.iter().position(|operation| matches!(operation, Operation::Stop));
            // Who stops it does not wait in line.
            self.shared.meters.begun(operations.len() - usize::from(stop.is_some()));
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
    pub(crate) fn write(&mut self, mut operations: Vec<Operation>) {
        let room = self.room.look(&self.connection, &self.shared);
        if room != Room::Ample {
            let without_room = operations.extract_if(.., |operation| !operation.has(room));
            without_room.for_each(|operation| operation.fail(LedgerError::Full));
        }
        if operations.is_empty() {
            return;
        }
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
        match self.transact(&mut rest, &mut replies, room) {
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
        room: Room,
    ) -> Result<(), LedgerError> {
        let size = operations.len();
        let rows = size * SWEEP_ROWS_EACH;
        let sorting = std::mem::take(&mut self.sorting);
        let mut batch = Batch::new(&self.connection, &self.private, &self.frontier, self.policy);
        batch.ended_millis = self.retention.ended_millis;
        for operation in operations {
            let (reply, written) = operation.apply(&mut batch);
            replies.push(reply);
            if let Err(error) = written {
                return Err(self.lost(&error));
            }
        }
        let written = self.finish(batch, rows, (sorting, room))?;
        self.shared.meters.batches.observe(size as u64);
        self.adopt(written);
        Ok(())
    }

    /// Forgets old requests within the batch, writes what holds for it as a whole, and commits it.
    fn finish(
        &self,
        mut batch: Batch<'_>,
        sweep_rows_max: usize,
        (mut sorting, room): (Sorting, Room),
    ) -> Result<Written, LedgerError> {
        let head = self.shared.head();
        let mut sweep = self.sweep;
        sweep.note(batch.revoking);
        let mut trusted_at = batch.trusted_at.or(self.trusted_at);
        let mut forget = || -> rusqlite::Result<()> {
            let Some(at) = trusted_at else { return Ok(()) };
            let cutoffs = self.retention.cutoffs(at);
            if !sweep.is_due(cutoffs) {
                return Ok(());
            }
            if batch.clock_distrusted()? {
                trusted_at = None;
                return Ok(());
            }
            let now = batch.last_at.or(head.last_entry_at).map_or(at, |last| last.max(at));
            // Entries follow each other, also where the clock of one leapt; what has ended is told by the one that can be trusted.
            sweep.run(&mut batch, RevokeAt { at: now, ended_by: at }, cutoffs, sweep_rows_max)
        };
        forget()
            .and_then(|()| batch.finish(self.shared.published()))
            .and_then(|()| sorting.step(&self.connection, batch.found.digests(), room == Room::Ample))
            .map_err(|error| self.lost(&error))?;
        self.commit()?;
        let Batch { frontier, leaves, waiting, policy, last_at, alarms, .. } = batch;
        let last_entry_at = last_at.or(head.last_entry_at);
        Ok(Written { frontier, leaves, waiting, policy, alarms, last_entry_at, trusted_at, sweep, sorting })
    }

    /// Goes on from a batch that is durable.
    fn adopt(&mut self, written: Written) {
        let Written { frontier, leaves, waiting, policy, alarms, last_entry_at, trusted_at, sweep, sorting } = written;
        self.shared.raise(alarms);
        let head = Head { size: frontier.size(), root: frontier.root(), last_entry_at };
        let before = std::mem::replace(&mut self.frontier, frontier);
        (self.policy, self.trusted_at, self.sweep, self.sorting) = (policy, trusted_at, sweep, sorting);
        if !leaves.is_empty() {
            // It is gone only when this ledger is stopping; receipts are missing then.
            drop(self.jobs.send(Job::Batch { before, leaves, waiting }));
        }
        self.shared.set_head(head);
    }

    /// A COMMIT that fails for any reason but a full disk leaves open what is on the disk. It is never tried again.
    fn commit(&self) -> Result<(), LedgerError> {
        let began = Instant::now();
        let committed = self.connection.execute_batch("COMMIT");
        self.shared.meters.commits.observe_duration(began.elapsed());
        match committed {
            Ok(()) => {
                self.shared.count_commit();
                Ok(())
            }
            Err(error) => {
                if error.sqlite_error_code() != Some(ErrorCode::DiskFull) {
                    self.shared.disk_failed(&error);
                }
                Err(self.lost(&error))
            }
        }
    }

    /// Rolls back, and says what that means for everybody in the batch.
    fn lost(&self, error: &rusqlite::Error) -> LedgerError {
        if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) {
            self.shared.disk_failed(error);
        }
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            self.shared.disk_failed(&error);
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
        if !self.is_sweep_due() || self.shared.poisoned().is_some() {
            return false;
        }
        let begun = self.connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| self.lost(&error));
        let (sorting, room) = (std::mem::take(&mut self.sorting), self.room.look(&self.connection, &self.shared));
        let batch = Batch::new(&self.connection, &self.private, &self.frontier, self.policy);
        match begun.and_then(|()| self.finish(batch, IDLE_SWEEP_ROWS, (sorting, room))) {
            Ok(written) => {
                self.adopt(written);
                self.is_sweep_due()
            }
            Err(error) => {
                tracing::warn!(%error, "old requests could not be forgotten; it is tried again");
                false
            }
        }
    }

    fn is_sweep_due(&self) -> bool {
        self.trusted_at.is_some_and(|at| self.sweep.is_due(self.retention.cutoffs(at)))
    }
}

/// What a batch that is durable leaves behind.
struct Written {
    frontier: Frontier,
    leaves: Vec<Hash>,
    waiting: Vec<Waiting>,
    policy: Option<PolicyDigest>,
    alarms: Vec<Alarm>,
    last_entry_at: Option<UnixMillis>,
    trusted_at: Option<UnixMillis>,
    sweep: Sweep,
    sorting: Sorting,
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;
    use hallmark_policy::RequestIdentity;

    use crate::{Event, Issued, Logged, nodes, schema, wal};

    /// A writer without threads.
    struct World {
        _directory: tempfile::TempDir,
        shared: Arc<Shared>,
        writer: Writer,
        jobs: Receiver<Job>,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let database = directory.path().join("ledger.db");
            std::fs::write(&database, "").unwrap();
            let mut connection = schema::writer(&database).unwrap();
            schema::create(&mut connection).unwrap();
            let shared = Arc::new(Shared::new(database, nodes::head(&connection).unwrap()));
            let (growth, _, _) = wal::watch(&mut connection).unwrap();
            let (sender, jobs) = mpsc::channel();
            let frontier = Frontier::empty();
            let writer = Writer::new(
                connection,
                Arc::clone(&shared),
                sender,
                growth,
                frontier,
                Retention { requests_millis: 86_400_000, ended_millis: 86_400_000 },
                Private::default(),
            )
            .unwrap();
            Self { _directory: directory, shared, writer, jobs }
        }

        /// Writes one batch of heartbeats.
        fn write(&mut self, count: usize) -> Vec<Result<Logged, LedgerError>> {
            let (operations, replies): (Vec<_>, Vec<_>) = (0..count)
                .map(|_| {
                    let (reply, answer) = oneshot::channel();
                    (Operation::Record { event: Event::Heartbeat, at: UnixMillis(1), reply }, answer)
                })
                .unzip();
            self.writer.write(operations);
            replies.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect()
        }
    }

    #[test]
    fn a_batch_is_one_commit_and_one_job_for_the_checkpoint() {
        let mut world = World::new();
        let indexes: Vec<_> = world.write(5).into_iter().map(|logged| logged.unwrap().index).collect();
        assert_eq!(indexes, [0, 1, 2, 3, 4]);
        assert_eq!(world.shared.commits(), 1);
        let Ok(Job::Batch { before, leaves, waiting }) = world.jobs.try_recv() else { panic!("no batch") };
        assert_eq!((before.size(), leaves.len(), waiting.len()), (0, 5, 5));
        assert!(world.jobs.try_recv().is_err());
        assert_eq!(world.shared.head().size, 5);
    }

    #[test]
    fn a_commit_that_fails_is_never_tried_again() {
        let mut world = World::new();
        assert!(world.write(2).iter().all(Result::is_ok));
        world.writer.connection.commit_hook(Some(|| true)).unwrap();
        let lost = world.write(3);
        assert!(lost.iter().all(|result| matches!(result, Err(LedgerError::Poisoned { .. }))), "{lost:?}");
        world.writer.connection.commit_hook(None::<fn() -> bool>).unwrap();
        assert!(matches!(world.write(1).pop(), Some(Err(LedgerError::Poisoned { .. }))));
        assert!(matches!(world.shared.read(|_| Ok(())), Err(LedgerError::Poisoned { .. })));
        assert_eq!((world.shared.head().size, world.writer.frontier.size(), world.shared.commits()), (2, 2, 1));
        let sentence = world.shared.poisoned().unwrap().to_string();
        assert!(sentence.starts_with("the ledger stopped because its disk failed: "), "{sentence}");
    }

    /// A registration whose signature never came, and whose certificate has ended before its request comes again.
    const PENDING: &str = "INSERT INTO issuer (id, spki_sha256, issued) VALUES (1, zeroblob(32), 1); \
        INSERT INTO serial (issuer, serial, not_after, log_index, instance) VALUES (1, x'01', 0, 0, 0); \
        INSERT INTO instance (id, authority, provider, name, service, registered_at, moved_at, not_after, issuer, serial, spki_sha256, log_index, \
        current_group) VALUES (0, 'a', 'p', 'n', 's', 0, 0, 0, 1, x'01', zeroblob(32), 0, 0); \
        INSERT INTO request (log_index, at, authority, caller, id, content, stage, generation, transition, issuer, serial, algorithm, not_after, tbs) \
        VALUES (0, 0, 'a', 'c', 'r', zeroblob(32), 'leaf', 1, zeroblob(32), 1, x'01', 'ed25519', 0, x'00')";

    #[test]
    fn what_becomes_void_was_given_to_nobody_unless_another_run_committed_it_and_nothing_says_that_its_signature_failed()
     {
        for (before, wanted) in [(0, 3), (1, 2)] {
            let mut world = World::new();
            assert!(world.write(1).iter().all(Result::is_ok));
            world.writer.connection.execute_batch(PENDING).unwrap();
            world.writer.connection.execute("UPDATE instance SET withheld = ?1", [before]).unwrap();
            let request = RequestIdentity {
                authority: "a".to_owned(),
                caller: "c".to_owned(),
                id: "r".to_owned(),
                content_sha256: [0; 32],
            };
            let (reply, answer) = oneshot::channel();
            world.writer.write(vec![Operation::Resume { request, at: UnixMillis(10_000), reply }]);
            let answer = answer.blocking_recv().unwrap().unwrap();
            assert!(matches!(answer, Issued::Refused { .. }), "{answer:?}");
            let sql = "SELECT withheld FROM instance";
            let withheld: i64 = world.writer.connection.query_row(sql, [], |row| row.get(0)).unwrap();
            assert_eq!(withheld, wanted, "it was {before}");
        }
    }

    /// Counts what is said at the level `ERROR` with an alarm's name.
    struct Alarms(std::sync::atomic::AtomicUsize);

    impl tracing::Subscriber for Alarms {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.is_event()
        }

        fn event(&self, event: &tracing::Event<'_>) {
            if *event.metadata().level() == tracing::Level::ERROR && event.fields().any(|field| field.name() == "alarm")
            {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn an_alarm_is_raised_once_its_entry_is_durable_and_not_before() {
        let counted = Arc::new(Alarms(std::sync::atomic::AtomicUsize::new(0)));
        let raised = || counted.0.load(std::sync::atomic::Ordering::Relaxed);
        tracing::subscriber::with_default(Arc::clone(&counted), || {
            let mut world = World::new();
            let writer = &mut world.writer;
            let alarmed = |writer: &Writer| {
                writer.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
                let mut batch = Batch::new(&writer.connection, &writer.private, &writer.frontier, writer.policy);
                batch.alarms.push(Alarm::new("instance-stolen", "a", 7, "a key is in use"));
                let written = writer.finish(batch, 0, (Sorting::default(), Room::Ample));
                assert_eq!(raised(), 0);
                written
            };
            let written = alarmed(writer).unwrap();
            writer.adopt(written);
            assert_eq!(raised(), 1);
            counted.0.store(0, std::sync::atomic::Ordering::Relaxed);
            writer.connection.commit_hook(Some(|| true)).unwrap();
            assert!(alarmed(writer).is_err());
            assert_eq!(raised(), 0, "it was rolled back");
        });
    }

    #[test]
    fn a_batch_that_is_lost_before_the_commit_leaves_the_next_one_alone() {
        let mut world = World::new();
        let lock = "CREATE TEMP TRIGGER no BEFORE INSERT ON entry WHEN new.log_index = 3 \
                    BEGIN SELECT raise(ABORT, 'not now'); END";
        world.writer.connection.execute_batch(lock).unwrap();
        let lost = world.write(5);
        assert!(lost.iter().all(|result| matches!(result, Err(LedgerError::Database { .. }))), "{lost:?}");
        assert_eq!(world.shared.head().size, 0);
        let indexes: Vec<_> = world.write(2).into_iter().map(|logged| logged.unwrap().index).collect();
        assert_eq!(indexes, [0, 1]);
    }
}
