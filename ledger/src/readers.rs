//! The connections by which the ledger is read while it is written.

use std::{
    num::NonZero,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

use rusqlite::Connection;

use crate::{schema, shared::lock};

/// Most connections, however many processors there are.
const READERS_MAX: usize = 8;

/// One connection more than there are processors, so that one that waits for the disk holds up nobody. All are opened at once, and
/// kept: the files that a process has open do not become more with its work. Who finds all of them in use waits for one.
#[derive(Debug)]
pub(crate) struct Readers {
    database: PathBuf,
    kept: Mutex<Kept>,
    came_back: Condvar,
}

#[derive(Debug)]
struct Kept {
    idle: Vec<Connection>,
    /// Those that are to be opened: all at first, then those whose reading panicked.
    missing: usize,
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
        Self {
            database,
            kept: Mutex::new(Kept { idle: Vec::new(), missing, closed: false }),
            came_back: Condvar::new(),
        }
    }

    /// Reads what is durable. `read` does not read anew: it would wait for itself.
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

    /// One that nobody uses; none once they are closed.
    fn take(&self) -> rusqlite::Result<Option<Connection>> {
        let mut kept = lock(&self.kept);
        while !kept.closed {
            if kept.idle.is_empty() {
                kept.open(&self.database)?;
            }
            if let Some(connection) = kept.idle.pop() {
                return Ok(Some(connection));
            }
            kept = self.came_back.wait(kept).unwrap_or_else(PoisonError::into_inner);
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
        let world = World::new();
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
    fn who_reads_after_the_end_has_a_connection_of_their_own_and_whoever_waits_is_let_go() {
        let world = World::new();
        let expected = version(&world.readers);
        let (all, ended) = (Barrier::new(world.size() + 1), Barrier::new(world.size() + 1));
        thread::scope(|scope| {
            for _ in 0..world.size() {
                scope.spawn(|| {
                    let held = world.readers.read(|_| {
                        all.wait();
                        ended.wait();
                        Ok(())
                    });
                    held.unwrap();
                });
            }
            all.wait();
            let waits = scope.spawn(|| version(&world.readers));
            world.readers.close();
            assert_eq!(waits.join().unwrap(), expected);
            ended.wait();
        });
        assert_eq!(version(&world.readers), expected);
        assert_eq!(world.open_files(), 0);
    }
}
