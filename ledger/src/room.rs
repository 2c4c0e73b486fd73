//! How much room is left for the database, and what may still be written when there is little: the last of it is kept for what must be said even
//! then. A refusal needs no room to be one; a certificate needs its decision; a revocation, an operator's command and a stop come last.

use std::path::{Path, PathBuf};

use hallmark_policy::SIGNER;
use rusqlite::Connection;
use rustix::fs::StatVfs;

use crate::{Event, Step, operation::Operation, shared::Shared};

/// Bytes that are kept on the file system of the database: half for issuing, half for what comes last. The write-ahead log is as long at most.
const KEPT_BYTES: u64 = 64 << 20;

/// At most one in so many parts of a file system, or of a database whose size is bounded.
const KEPT_PARTS: u64 = 4;

/// The bound of a database that has none (SQLite's largest number of pages).
const UNBOUNDED_PAGES: i64 = 0xffff_fffe;

/// What there is room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Everything.
    #[default]
    Ample,
    /// Not for refusals and what is only counted.
    Low,
    /// Only for revocations, CRLs, operators' commands, signatures on what was committed, and the stop.
    Last,
}

/// Looks at the room before every batch.
#[derive(Debug)]
pub(crate) struct Look {
    directory: Option<PathBuf>,
    bound: Option<Bound>,
}

/// A database whose size is bounded.
#[derive(Debug)]
struct Bound {
    pages: u64,
    page_bytes: u64,
}

impl Look {
    pub(crate) fn at(connection: &Connection) -> rusqlite::Result<Self> {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (pages, page_bytes) = (pragma("max_page_count")?, pragma("page_size")?);
        let bounded = || Bound { pages: pages.unsigned_abs(), page_bytes: page_bytes.unsigned_abs() };
        let directory = connection.path().map(Path::new).and_then(Path::parent).map(Path::to_owned);
        Ok(Self { directory, bound: (pages < UNBOUNDED_PAGES).then(bounded) })
    }

    /// What there is room for now; said where it changes.
    pub(crate) fn look(&self, connection: &Connection, shared: &Shared) -> Room {
        let (of_disk, of_bound) = (self.disk(), self.bound(connection));
        let room = of_disk.map_or(Room::Ample, |(left, kept)| room(left, kept));
        let room = of_bound.map_or(room, |(left, kept)| room.max(self::room(left, kept)));
        let left = of_bound.into_iter().chain(of_disk).map(|(left, _)| left).min();
        match (shared.set_room(room), room) {
            (before, now) if before == now => {}
            (_, Room::Ample) => tracing::info!(?left, "the ledger has room again"),
            (_, Room::Low) => {
                tracing::error!(?left, "the ledger has little room left: refusals are not logged any more; make room")
            }
            (_, Room::Last) => tracing::error!(
                ?left,
                "the ledger has no room left to issue: only revocations and what operators do are logged; make room"
            ),
        }
        room
    }

    /// Bytes that are free on the file system, and how many of them are kept; none where it cannot be told.
    fn disk(&self) -> Option<(u64, u64)> {
        let found = rustix::fs::statvfs(self.directory.as_deref()?).ok()?;
        let whole = found.f_blocks.saturating_mul(found.f_frsize);
        Some((free(&found), KEPT_BYTES.min(whole / KEPT_PARTS)))
    }

    /// Bytes up to the bound, and how many of them are kept.
    fn bound(&self, connection: &Connection) -> Option<(u64, u64)> {
        let Bound { pages, page_bytes } = self.bound.as_ref()?;
        let used: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).ok()?;
        let left = pages.saturating_sub(used.unsigned_abs()).saturating_mul(*page_bytes);
        Some((left, KEPT_BYTES.min(pages.saturating_mul(*page_bytes) / KEPT_PARTS)))
    }
}

/// Bytes that are free for us on the file system of that directory; none where it cannot be told.
pub(crate) fn free_bytes(directory: &Path) -> Option<u64> {
    rustix::fs::statvfs(directory).ok().map(|found| free(&found))
}

fn free(found: &StatVfs) -> u64 {
    found.f_bavail.saturating_mul(found.f_frsize)
}

fn room(left: u64, kept: u64) -> Room {
    match left {
        left if left < kept / 2 => Room::Last,
        left if left < kept => Room::Low,
        _ => Room::Ample,
    }
}

impl Operation {
    /// Whether it is still done where there is only so much room.
    pub(crate) fn has(&self, room: Room) -> bool {
        let least = match self {
            Self::Refuse { .. }
            | Self::Record {
                event: Event::Aggregate { .. } | Event::Heartbeat | Event::PolicyRefused { .. }, ..
            } => Room::Ample,
            Self::Issue { warrant, .. } if !warrant.conditions().stage.is_crl() => Room::Low,
            // A CRL that is committed and not signed bars the next one.
            Self::Resume { request, .. } if request.caller != SIGNER => Room::Low,
            Self::KeepFetch { .. } => Room::Low,
            // A manifest is large, and what it begins cannot be ended without room to issue.
            Self::Advance {
                step: Step::EpochIntent(_) | Step::RootIntent { .. } | Step::RootBrought { .. }, ..
            } => Room::Low,
            Self::Issue { .. }
            | Self::Resume { .. }
            | Self::Record { .. }
            | Self::Advance { .. }
            | Self::ReleaseName { .. }
            | Self::RevokeInstance { .. }
            | Self::AllowInstance { .. }
            | Self::ResumeAuthority { .. }
            | Self::StopAuthority { .. }
            | Self::FreezeAuthority { .. }
            | Self::ThawAuthority { .. }
            | Self::Revoke { .. }
            | Self::KeepSignature { .. }
            | Self::Stop => Room::Last,
        };
        room <= least
    }
}

#[cfg(test)]
mod tests {
    use hallmark_policy::RequestIdentity;
    use tokio::sync::oneshot;

    use super::*;
    use crate::{UnixMillis, config::Head};

    #[test]
    fn the_last_half_of_what_is_kept_is_not_for_issuing() {
        for (left, expected) in [
            (u64::MAX, Room::Ample),
            (100, Room::Ample),
            (99, Room::Low),
            (50, Room::Low),
            (49, Room::Last),
            (0, Room::Last),
        ] {
            assert_eq!(room(left, 100), expected, "{left}");
        }
    }

    #[test]
    fn a_crl_goes_on_to_the_last_and_a_certificate_does_not() {
        let resumes = |caller: &str| {
            let (authority, id) = ("athenz".to_owned(), "1".to_owned());
            let request = RequestIdentity { authority, caller: caller.to_owned(), id, content_sha256: [0; 32] };
            Operation::Resume { request, at: UnixMillis(0), reply: oneshot::channel().0 }
        };
        assert!(resumes(SIGNER).has(Room::Last));
        assert!(!resumes("coordinator").has(Room::Last) && resumes("coordinator").has(Room::Low));
        let beat = Operation::Record { event: Event::Heartbeat, at: UnixMillis(0), reply: oneshot::channel().0 };
        assert!(beat.has(Room::Ample) && !beat.has(Room::Low));
        let stop = Operation::Record { event: Event::Stop, at: UnixMillis(0), reply: oneshot::channel().0 };
        assert!(stop.has(Room::Last));
    }

    #[test]
    fn the_disk_and_the_bound_are_both_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let connection = Connection::open(directory.path().join("ledger.db")).unwrap();
        connection.execute_batch("CREATE TABLE filled (bytes BLOB)").unwrap();
        let look = Look::at(&connection).unwrap();
        assert!(look.bound.is_none() && look.disk().unwrap().0 > 0);
        connection.pragma_update(None, "max_page_count", 100).unwrap();
        let look = Look::at(&connection).unwrap();
        let root = hallmark_tlog::hash::Hash::of_empty_tree();
        let shared = Shared::new(directory.path().join("ledger.db"), Head { size: 0, root, last_entry_at: None });
        let mut seen = vec![look.look(&connection, &shared)];
        while connection.execute("INSERT INTO filled VALUES (zeroblob(3000))", []).is_ok() {
            seen.push(look.look(&connection, &shared));
        }
        assert!(seen.is_sorted());
        seen.dedup();
        assert_eq!(seen, [Room::Ample, Room::Low, Room::Last]);
    }
}
