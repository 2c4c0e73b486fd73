//! The connections by which the ledger is read while it is written.

use std::{
    num::NonZero,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::{schema, shared::lock};

/// Most connections, however many processors there are.
const READERS_MAX: usize = 8;

/// How long is waited for a connection: longer than a look at a row takes, shorter than a search.
const WAIT_MAX: Duration = Duration::from_millis(5);

/// One connection more than there are processors. All are opened by the first reading, and kept: what is done every day opens no other
/// file. Who finds all of them in use waits for one a moment, unless somebody has waited in vain since the last came back, and opens
/// another for that reading then: searches hold up nobody for long. (Its file stays open for the next such: SQLite closes none beside
/// others of the same database, whose locks would go with it.)
#[derive(Debug)]
pub(crate) struct Readers {
    database: PathBuf,
    wait_max: Duration,
    kept: Mutex<Kept>,
    came_back: Condvar,
}

#[derive(Debug)]
struct Kept {
    idle: Vec<Connection>,
    /// Those that are to be opened: all at first, then those whose reading panicked.
    missing: usize,
    /// Somebody has waited in vain, and none came back since.
    crowded: bool,
    closed: bool,
}

/// The place of a connection in use, which becomes free however the reading ends.
struct Place<'a> {
    readers: &'a Readers,
    /// What comes back to it.
    connection: Option<Connection>,
}

impl Readers {
    /// Those of a database. They are opened when it is read first.
    pub(crate) fn of(database: PathBuf) -> Self {
        let missing = (thread::available_parallelism().map_or(1, NonZero::get) + 1).min(READERS_MAX);
        let kept = Mutex::new(Kept { idle: Vec::new(), missing, crowded: false, closed: false });
        Self { database, wait_max: WAIT_MAX, kept, came_back: Condvar::new() }
    }

    /// Reads what is durable.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let Some(connection) = self.take()? else { return read(&schema::reader(&self.database)?) };
        let mut place = Place { readers: self, connection: None };
        let result = read(&connection);
        place.connection = Some(connection);
        result
    }

    /// Closes them. Who reads afterwards opens a connection of their own.
    pub(crate) fn close(&self) {
        let mut kept = lock(&self.kept);
        kept.closed = true;
        kept.idle.clear();
        drop(kept);
        self.came_back.notify_all();
    }

    /// One that nobody uses; none if all are in use for too long, or closed.
    fn take(&self) -> rusqlite::Result<Option<Connection>> {
        let until = Instant::now() + self.wait_max;
        let mut kept = lock(&self.kept);
        while !kept.closed {
            if kept.idle.is_empty() {
                kept.open(&self.database)?;
            }
            if let Some(connection) = kept.idle.pop() {
                return Ok(Some(connection));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || kept.crowded {
                kept.crowded = true;
                break;
            }
            kept = self.came_back.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(None)
    }
}

impl Kept {
    fn open(&mut self, database: &Path) -> rusqlite::Result<()> {
        while self.missing > 0 {
            let connection = schema::reader(database)?;
            // The write-ahead log's file is opened by the first reading.
            schema::version(&connection)?;
            self.idle.push(connection);
            self.missing -= 1;
        }
        Ok(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut kept = lock(&self.readers.kept);
        kept.crowded = false;
        match self.connection.take() {
            Some(connection) if !kept.closed => kept.idle.push(connection),
            Some(_) => {}
            None => kept.missing += 1,
        }
        drop(kept);
        self.readers.came_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
    };

    use super::*;

    struct World {
        directory: tempfile::TempDir,
        readers: Readers,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let database = directory.path().join("ledger.db");
            fs::write(&database, "").unwrap();
            schema::create(&mut schema::writer(&database).unwrap()).unwrap();
            Self { directory, readers: Readers::of(database) }
        }

        fn size(&self) -> usize {
            let kept = lock(&self.readers.kept);
            kept.idle.len() + kept.missing
        }

        /// Files of the ledger that this process has open.
        fn open_files(&self) -> usize {
            let files =
                fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| fs::read_link(file.unwrap().path()).ok());
            files.filter(|file| file.starts_with(self.directory.path())).count()
        }
    }

    fn version(readers: &Readers) -> i64 {
        readers.read(schema::version).unwrap()
    }

    #[test]
    fn files_that_are_open_after_the_first_reading_are_as_many_after_many_at_once() {
        let mut world = World::new();
        // However slow the machine is.
        world.readers.wait_max = Duration::from_secs(60);
        let expected = version(&world.readers);
        assert!(expected > 0);
        let (size, before) = (world.size(), world.open_files());
        assert!((2..=READERS_MAX).contains(&size) && before >= 2 * size, "{size} connections have {before} files");
        let (begun, at_once, most) = (Barrier::new(4 * size), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 * size {
                scope.spawn(|| {
                    begun.wait();
                    for _ in 0..50 {
                        let read = |connection: &Connection| {
                            most.fetch_max(at_once.fetch_add(1, SeqCst) + 1, SeqCst);
                            thread::yield_now();
                            let version = schema::version(connection);
                            at_once.fetch_sub(1, SeqCst);
                            version
                        };
                        assert_eq!(world.readers.read(read).unwrap(), expected);
                    }
                });
            }
        });
        assert_eq!((world.size(), world.open_files()), (size, before));
        assert!(
            (2..=size).contains(&most.into_inner()),
            "several read at once, and no more than there are connections"
        );
    }

    #[test]
    fn a_reading_that_panics_costs_no_connection() {
        let world = World::new();
        version(&world.readers);
        let size = world.size();
        for _ in 0..2 * size {
            let panics = || world.readers.read::<()>(|_| panic!("on purpose"));
            catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
        }
        version(&world.readers);
        assert_eq!(world.size(), size);
    }

    #[test]
    fn whoever_finds_all_in_use_or_closed_reads_by_a_connection_of_their_own() {
        let world = World::new();
        let expected = version(&world.readers);
        let (size, before) = (world.size(), world.open_files());
        let (held, ended) = (Barrier::new(size + 1), Barrier::new(size + 1));
        thread::scope(|scope| {
            for _ in 0..size {
                scope.spawn(|| {
                    let holds = world.readers.read(|_| {
                        held.wait();
                        ended.wait();
                        Ok(())
                    });
                    holds.unwrap();
                });
            }
            held.wait();
            let began = Instant::now();
            assert_eq!(version(&world.readers), expected);
            assert!(began.elapsed() >= WAIT_MAX);
            assert!(lock(&world.readers.kept).crowded, "the next does not wait");
            assert_eq!(version(&world.readers), expected);
            ended.wait();
        });
        assert!(world.size() == size && !lock(&world.readers.kept).crowded);
        // SQLite keeps the file of a connection that was closed beside others for the next one.
        assert!(world.open_files() <= before + 1);
        world.readers.close();
        assert_eq!(version(&world.readers), expected);
        assert_eq!(world.open_files(), 0);
    }

    #[test]
    fn what_comes_back_after_the_end_is_closed() {
        let world = World::new();
        let closes = |_: &Connection| {
            world.readers.close();
            Ok(())
        };
        world.readers.read(closes).unwrap();
        assert_eq!(world.open_files(), 0);
    }
}
