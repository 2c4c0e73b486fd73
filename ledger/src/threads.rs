//! The threads behind the handles: started in the order in which work flows, and ended in it.

use std::{
    any::Any,
    fs::File,
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
    open::Checked,
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
    lock: File,
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
        let signing = Signing { keys, connection: reader()?, newest: Arc::clone(&newest), last: None };
        let publishing = Publishing::new(reader()?, Arc::clone(&shared), config, origin, published);
        let mover = schema::writer(&config.database).map_err(sql)?;
        let (retention, private) = (Retention::of(config), config.private.clone());
        let writer = Writer::new(connection, Arc::clone(&shared), jobs.clone(), growth, frontier, retention, private);
        let (offers, known, bound) = (Arc::clone(&newest), Arc::clone(&shared), Arc::clone(&shared));
        let threads = Threads {
            writer: spawn(config, "ledger-writer", move || supervised(&known, || writer.run(&operations)))?,
            signing: spawn(config, "ledger-signing", move || signing.run(&signing_jobs))?,
            publishing: spawn(config, "ledger-publish", move || publishing.run(&offers))?,
            wal: spawn(config, "ledger-wal", move || wal::run(&mover, &wakes, &bound))?,
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

/// Runs the writer. If it panics, nobody knows how far it came: nothing is done any more.
fn supervised(shared: &Shared, work: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        shared.poison(format!("{WRITER_PANICKED}: {}", words(panic.as_ref())));
    }
}

/// Why the ledger stops after a panic.
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
