//! The threads behind the handles: started in the order in which work flows, and ended in it.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, SyncSender},
    },
    thread::JoinHandle,
};

use hallmark_tlog::note::VerifierKey;

use crate::{
    LedgerConfig, LogKeys, OpenError, QUEUE_OPERATIONS_MAX,
    open::{Checked, Locks},
    operation::Operation,
    publish::{Newest, Publishing},
    schema,
    shared::{Shared, lock},
    signing::{Job, Signing},
    sweep::Retention,
    wal::{self, Wake},
    writer::Writer,
};

/// Held by handles alone: with the last of them it stops.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: SyncSender<Operation>,
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) verifier: VerifierKey,
    pub(crate) id: [u8; 8],
    pub(crate) stopping: AtomicBool,
    wake: SyncSender<Wake>,
    newest: Arc<Newest>,
    threads: Mutex<Option<Threads>>,
}

/// What runs behind the handles, and the lock that keeps others away meanwhile.
#[derive(Debug)]
struct Threads {
    writer: JoinHandle<()>,
    signing: JoinHandle<()>,
    publishing: JoinHandle<()>,
    wal: JoinHandle<()>,
    lock: Locks,
}

impl Inner {
    /// Starts the threads. The first thing signed is the head that was found, unless the log has to say first who signs.
    pub(crate) fn start(config: &LedgerConfig, checked: Checked, keys: LogKeys) -> Result<Self, OpenError> {
        let verifier = keys.current.verifier().clone();
        let Checked { lock, mut connection, frontier, head, published, id, recovery: _, origin, key_change } = checked;
        let sql = |source| OpenError::Sql { database: config.database.clone(), source };
        let reader = || schema::reader(&config.database).map_err(sql);
        let shared = Arc::new(Shared::new(config.database.clone(), head));
        let newest = Arc::new(Newest::default());
        let (queue, operations) = mpsc::sync_channel(QUEUE_OPERATIONS_MAX);
        let (jobs, signing_jobs) = mpsc::channel();
        let (growth, wake, wakes) = wal::watch(&mut connection).map_err(sql)?;
        // Other keys sign nothing before the log says so, which its next entry does.
        if key_change.is_none() {
            let first = Job::Batch { before: frontier.clone(), leaves: Vec::new(), waiting: Vec::new() };
            // The receiver is alive: it is in the next lines.
            drop(jobs.send(first));
        }
        let as_whom = (origin, keys.verifiers());
        let publishing = Publishing::new(reader()?, Arc::clone(&shared), config, as_whom, published);
        let signing = Signing { keys, connection: reader()?, newest: Arc::clone(&newest), last: None };
        let mover = schema::writer(&config.database).map_err(sql)?;
        let (retention, private) = (Retention::of(config), config.private.clone());
        let writer = Writer::new(connection, Arc::clone(&shared), jobs.clone(), growth, frontier, retention, private)
            .map_err(sql)?;
        let offers = Arc::clone(&newest);
        let [known, of_signing, of_publishing, of_wal] = [(); 4].map(|()| Arc::clone(&shared));
        let threads = Threads {
            writer: spawn(config, "ledger-writer", move || {
                supervised(&known, "writer", || writer.run(&operations));
            })?,
            signing: spawn(config, "ledger-signing", move || {
                supervised(&of_signing, "signing of checkpoints", || signing.run(&signing_jobs));
            })?,
            publishing: spawn(config, "ledger-publish", move || {
                supervised(&of_publishing, "publishing", || publishing.run(&offers));
            })?,
            wal: spawn(config, "ledger-wal", move || {
                supervised(&of_wal, "care for the write-ahead log", || wal::run(&mover, &wakes, &of_wal));
            })?,
            lock,
        };
        let (stopping, threads) = (AtomicBool::new(false), Mutex::new(Some(threads)));
        Ok(Self { shared, queue, jobs, wake, newest, verifier, id, stopping, threads })
    }

    /// Ends the threads in the order in which work flows through them. Where one is gone already, there is no need to.
    pub(crate) fn stop(&self) {
        let mut threads = lock(&self.threads);
        let Some(Threads { writer, signing, publishing, wal, lock }) = threads.take() else { return };
        self.stopping.store(true, Ordering::Release);
        drop(self.queue.send(Operation::Stop));
        join("ledger-writer", writer);
        drop(self.jobs.send(Job::Stop));
        join("ledger-signing", signing);
        self.newest.stop();
        join("ledger-publish", publishing);
        self.shared.close_readers();
        let _ = self.wake.send(Wake::Stop);
        join("ledger-wal", wal);
        drop(lock);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a thread. If it panics, nobody knows how far it came: nothing is done any more.
fn supervised(shared: &Shared, whose: &str, work: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        shared.poison(format!("its {whose} {PANICKED}: {}", words(panic.as_ref())));
    }
}

/// Why the ledger stops after a panic.
const PANICKED: &str = "ended in a panic, which is a defect to be reported";

/// The same, where the writer is gone and has said nothing.
pub(crate) const WRITER_PANICKED: &str = "its writer ended in a panic, which is a defect to be reported";

/// What a panic says of itself.
fn words(panic: &(dyn Any + Send)) -> &str {
    let whole = panic.downcast_ref::<String>().map(String::as_str);
    whole.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words")
}

fn spawn(config: &LedgerConfig, name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(work).map_err(|source| OpenError::Io { path: config.database.clone(), source })
}

fn join(name: &str, thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!(name, "a thread of the ledger ended in a panic; report this as a defect");
    }
}
