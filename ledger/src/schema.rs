//! The database: its tables, and how connections to it are set up.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use crate::found;

/// Version of the tables, kept in `PRAGMA user_version`.
pub(crate) const SCHEMA_VERSION: i64 = 14;

/// What makes the tables of the version after it out of those of a version, from the oldest that can be brought up to date, and what cannot be said in SQL.
const UPGRADES: [(i64, &str, Option<Upgrade>); 5] = [
    (
        9,
        "ALTER TABLE authority ADD COLUMN frozen_index INTEGER;
     CREATE TABLE later_key (
         authority TEXT NOT NULL REFERENCES authority (name),
         label TEXT NOT NULL,
         PRIMARY KEY (authority, label)
     ) STRICT, WITHOUT ROWID;",
        None,
    ),
    (10, "ALTER TABLE serial ADD COLUMN signed_sha256 BLOB", None),
    (
        11,
        "CREATE TABLE found_new (log_index INTEGER PRIMARY KEY, digests BLOB NOT NULL) STRICT;
     CREATE TABLE signed (log_index INTEGER PRIMARY KEY, sha256 BLOB NOT NULL) STRICT;
     INSERT INTO signed SELECT log_index, signed_sha256 FROM serial WHERE signed_sha256 IS NOT NULL ORDER BY log_index;
     ALTER TABLE serial DROP COLUMN signed_sha256;
     DROP INDEX serial_end;
     CREATE INDEX serial_end ON serial (not_after, log_index);",
        None,
    ),
    (
        12,
        "DROP INDEX instance_service;
     ALTER TABLE instance ADD COLUMN counted_until INTEGER NOT NULL DEFAULT 0;
     UPDATE instance SET counted_until = not_after;
     CREATE INDEX instance_service ON instance (authority, provider, service, counted_until);
     ALTER TABLE serial ADD COLUMN asked INTEGER;
     ALTER TABLE same_request ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
     UPDATE same_request SET at = coalesce((SELECT at FROM head), 0);
     CREATE INDEX same_request_at ON same_request (at);
     CREATE TABLE found_stretch (stretch INTEGER PRIMARY KEY, latest_end INTEGER NOT NULL) STRICT;
     WITH RECURSIVE there (stretch) AS (
         SELECT min(stretch) FROM found_by
         UNION ALL
         SELECT (SELECT min(f.stretch) FROM found_by f WHERE f.stretch > there.stretch) FROM there WHERE there.stretch IS NOT NULL
     ) INSERT INTO found_stretch SELECT stretch, 0 FROM there WHERE stretch IS NOT NULL;
     INSERT OR REPLACE INTO found_stretch SELECT log_index >> 16, not_after FROM serial ORDER BY not_after;
     INSERT OR IGNORE INTO found_stretch SELECT DISTINCT log_index >> 16, 0 FROM found_new;
     CREATE INDEX found_stretch_end ON found_stretch (latest_end);",
        None,
    ),
    // Stretches are twice as large from now on, and have even numbers. Those that may get more join the one before them; the others stay what they are.
    (
        13,
        "CREATE TEMP TABLE joining (stretch INTEGER PRIMARY KEY, latest_end INTEGER NOT NULL);
     INSERT INTO joining SELECT stretch, latest_end FROM found_stretch WHERE stretch % 2 = 1
         AND stretch >= coalesce((SELECT min(log_index) >> 16 FROM found_new), (SELECT max(stretch) FROM found_stretch));
     INSERT INTO found_stretch SELECT stretch - 1, latest_end FROM joining WHERE TRUE
         ON CONFLICT (stretch) DO UPDATE SET latest_end = max(latest_end, excluded.latest_end);
     UPDATE found_by SET stretch = stretch - 1 WHERE stretch IN (SELECT stretch FROM joining);
     DELETE FROM found_stretch WHERE stretch IN (SELECT stretch FROM joining);
     DROP TABLE joining;",
        Some(found::upgrade),
    ),
];

type Upgrade = fn(&Connection) -> rusqlite::Result<()>;

/// How long a connection waits for another of this process before it gives up.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// Memory for pages of a connection that writes, in KiB; those that read keep SQLite's 2,000. Each commit after a page was split looks at all of them, so that
/// four times as much costs 27 MB and makes nothing faster.
const CACHE_KIB: i64 = 8_192;

/// Prepared statements that a connection keeps.
const STATEMENTS_MAX: usize = 64;

/// Entries are only ever appended. `head` has one row: the tree after the last batch.
/// Its `published` is at most what was ever published, and over 0 once anything was. `anchored` says that a copy of the checkpoint
/// was written to another volume, `unlogged_acceptance` what operators accepted that no entry says yet (1: a missing checkpoint,
/// 2: a missing anchor).
/// `origin` has a row for each name under which the log was published, the current one last: its keys, and of those before their last
/// checkpoint. `first_index` is where its first entry stands in the one tree, `rolling` that not all of a roll-over is on the disk.
/// `opening` has the private values of entries; without its rows the entries are what they were.
/// `node` has the nodes of tile levels from 1; those of level 0 are the leaf hashes in `entry`.
/// `request` forgets leaves after the retention time, and CRLs when newer ones are signed; `crl` and `key_names` never
/// forget. `serial` and `instance` forget what has ended for long, but for instances that are revoked. Its `serial` is empty where what is signed has none.
/// `name_claim` forgets a form when an operator releases it; its `not_after` is the end of the last certificate with the form.
/// `issuer` has the end of what lives longest among its certificates, the number of its last CRL, and where its newest revocation
/// stands in the log; `crl_partitions` is the largest number of a partition that one of its leaves is in, and `crl_partition` everywhere the
/// number of one, 0 for the complete list and for leaves without. `revocation` forgets what has stood on a CRL after its end; times there and in `crl` are in seconds.
/// `authority.owners` are SHA-256 digests of keys, one after another. `intent_index` there and in `epoch` is where the entry stands by
/// which it began: what a row says is compared with that entry, and the entry with the tree.
/// `epoch` keeps aborted ones, so that no generation is used twice; of the others, each transition stands once. `destroyed_at` of an
/// aborted one is when its key was destroyed. `epoch_fetch` says who has fetched the chain of an epoch, and when first.
/// `instance` has a row for each instance that is registered; its `id` is the index of the decision that registered it, `not_after` the end
/// of what lives longest among its certificates, `retried` whether the retry with another key was used, `withheld` whether the current
/// certificate was never given to anybody, as far as is known (1: its signature failed, 2: and it is void, 3: it is void, and somebody may have it),
/// `counted_until` its `not_after` or a little later: those that are alive are found by it, and a refresh seldom changes it. `serial.instance` says
/// to which registration a certificate belongs; a new registration makes strangers of the certificates before it. `serial.spki_sha256` is the
/// key of a certificate with a registration, `serial.same_as` the decision of the first of those with the same key that were given in each other's place: their
/// group, which is its own decision where there is none, and which `instance` has of its current and its previous certificate;
/// `serial.displaced` whether a retry with another key took its place (1, or 2 where that proved to have the key of the one before), `serial.asked` a digest of the id of the request that it
/// was given to. `signed` has the digest of what was signed, for certificates with a registration whose signature
/// is kept, by their decision: serial numbers fall on a page each, and decisions follow each other. For the same reason `serial_end` has, of those that end together, one after another.
/// `revoking` has the registrations of which some certificates are still to be revoked, with the reason and who gave it, newest first, those `before` a decision next. Their records may be gone.
/// `found_by` has, for the serial number, the key and each name of a leaf, a digest and the decision: operators find certificates by it.
/// Digests are sorted within a `stretch` of the log alone (131,072 entries, or 65,536 in a database that was of schema 13; it is called by where it begins, in 65,536 entries): sorted over all, each would fall on a page of its own, which a long log
/// would have to read and write for it. `found_new` has what is not sorted in yet, or not all of it: for each batch, by its first leaf, digests and decisions, eight bytes each. `found_stretch` has every stretch of both,
/// and in seconds when the last of its certificates ends, or later: `found_by` forgets a stretch of which all have ended for long, as `serial` does; the log does not.
/// `clock_step` has where an operator took the clock for right: only there can an entry be earlier than the one before it.
/// `request.wish` is what an instance's certificate was asked to say, beside its key.
/// `same_request` has the ids of requests that another request's certificate answers, too, and when each was asked: it forgets them after the retention time, and
/// `request` that other one not before the last of them.
/// `authority.frozen_index` is the entry of the operator who froze it, `authority.stopped_index` is the alarm that stopped it, `restored_at` when an operator took an older database for good, or set a clock right that had run ahead for so long that
/// certificates may be forgotten that have not ended, in seconds.
/// `later_key` has the labels of keys that this ledger made and does not know, once they were seen: each stops its authority once, and an operator who lets that
/// go on has seen these and no others.
/// `quota` has one row for each caller of a profile, whose period is a day, and one without a caller, whose period is a generation.
const TABLES: &str = "
CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    at INTEGER,
    clock_distrusted INTEGER NOT NULL DEFAULT 0,
    published INTEGER NOT NULL DEFAULT 0,
    anchored INTEGER NOT NULL DEFAULT 0,
    unlogged_acceptance INTEGER NOT NULL DEFAULT 0,
    ledger_id BLOB NOT NULL
) STRICT;
CREATE TABLE origin (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    key TEXT NOT NULL,
    previous_key TEXT,
    first_index INTEGER NOT NULL,
    last_size INTEGER,
    last_note TEXT,
    rolling INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE entry (
    log_index INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE TABLE node (
    level INTEGER NOT NULL,
    node_index INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (level, node_index)
) STRICT, WITHOUT ROWID;
CREATE TABLE opening (
    log_index INTEGER NOT NULL,
    key TEXT NOT NULL,
    salt BLOB NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (log_index, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE blob (
    sha256 BLOB NOT NULL UNIQUE,
    bytes BLOB NOT NULL
) STRICT;
CREATE TABLE issuer (
    id INTEGER PRIMARY KEY,
    spki_sha256 BLOB NOT NULL UNIQUE,
    issued INTEGER NOT NULL,
    latest_end INTEGER,
    last_crl INTEGER NOT NULL DEFAULT 0,
    newest_revocation INTEGER,
    crl_partitions INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE serial (
    issuer INTEGER NOT NULL REFERENCES issuer (id),
    serial BLOB NOT NULL,
    not_after INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    instance INTEGER,
    spki_sha256 BLOB,
    same_as INTEGER,
    displaced INTEGER NOT NULL DEFAULT 0,
    crl_partition INTEGER NOT NULL DEFAULT 0,
    asked INTEGER,
    PRIMARY KEY (issuer, serial)
) STRICT, WITHOUT ROWID;
CREATE INDEX serial_end ON serial (not_after, log_index);
CREATE INDEX serial_instance ON serial (instance, log_index) WHERE instance IS NOT NULL;
CREATE TABLE signed (
    log_index INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL
) STRICT;
CREATE TABLE revocation (
    issuer INTEGER NOT NULL REFERENCES issuer (id),
    serial BLOB NOT NULL,
    at INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    crl_partition INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (issuer, serial)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocation_partition ON revocation (issuer, crl_partition, log_index);
CREATE TABLE crl (
    issuer INTEGER NOT NULL REFERENCES issuer (id),
    crl_partition INTEGER NOT NULL,
    number INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    newest_revocation INTEGER,
    PRIMARY KEY (issuer, crl_partition, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX crl_number ON crl (issuer, number);
CREATE TABLE request (
    log_index INTEGER PRIMARY KEY REFERENCES entry (log_index),
    at INTEGER NOT NULL,
    authority TEXT NOT NULL,
    caller TEXT NOT NULL,
    id TEXT NOT NULL,
    content BLOB NOT NULL,
    stage TEXT NOT NULL,
    generation INTEGER,
    transition BLOB,
    issuer INTEGER NOT NULL REFERENCES issuer (id),
    serial BLOB NOT NULL,
    algorithm TEXT NOT NULL,
    not_after INTEGER NOT NULL,
    void INTEGER NOT NULL DEFAULT 0,
    signature BLOB,
    tbs BLOB NOT NULL,
    wish BLOB
) STRICT;
CREATE UNIQUE INDEX request_identity ON request (authority, caller, id);
CREATE INDEX request_unsigned ON request (log_index) WHERE signature IS NULL AND void = 0;
CREATE TABLE same_request (
    authority TEXT NOT NULL,
    caller TEXT NOT NULL,
    id TEXT NOT NULL,
    content BLOB NOT NULL,
    log_index INTEGER NOT NULL,
    at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (authority, caller, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX same_request_of ON same_request (log_index);
CREATE INDEX same_request_at ON same_request (at);
CREATE TABLE instance (
    id INTEGER PRIMARY KEY,
    authority TEXT NOT NULL,
    provider TEXT NOT NULL,
    name TEXT NOT NULL,
    service TEXT NOT NULL,
    registered_at INTEGER NOT NULL,
    moved_at INTEGER NOT NULL,
    moves INTEGER NOT NULL DEFAULT 0,
    not_after INTEGER NOT NULL,
    issuer INTEGER NOT NULL REFERENCES issuer (id),
    serial BLOB NOT NULL,
    spki_sha256 BLOB NOT NULL,
    log_index INTEGER NOT NULL,
    current_group INTEGER NOT NULL,
    previous_issuer INTEGER REFERENCES issuer (id),
    previous_serial BLOB,
    previous_spki_sha256 BLOB,
    previous_index INTEGER,
    previous_group INTEGER,
    retried INTEGER NOT NULL DEFAULT 0,
    withheld INTEGER NOT NULL DEFAULT 0,
    revoked_at INTEGER,
    revoked_index INTEGER,
    counted_until INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE clock_step (
    log_index INTEGER PRIMARY KEY
) STRICT;
CREATE TABLE revoking (
    registration INTEGER PRIMARY KEY,
    authority TEXT NOT NULL,
    reason INTEGER NOT NULL,
    revoked_by TEXT NOT NULL,
    before INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX instance_name ON instance (authority, provider, name);
CREATE INDEX instance_revoked ON instance (authority, provider, name) WHERE revoked_at IS NOT NULL;
CREATE INDEX instance_service ON instance (authority, provider, service, counted_until);
CREATE TABLE found_new (
    log_index INTEGER PRIMARY KEY,
    digests BLOB NOT NULL
) STRICT;
CREATE TABLE found_by (
    stretch INTEGER NOT NULL,
    digest INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    PRIMARY KEY (stretch, digest, log_index)
) STRICT, WITHOUT ROWID;
CREATE TABLE found_stretch (
    stretch INTEGER PRIMARY KEY,
    latest_end INTEGER NOT NULL
) STRICT;
CREATE INDEX found_stretch_end ON found_stretch (latest_end);
CREATE TABLE name_claim (
    authority TEXT NOT NULL,
    form TEXT NOT NULL,
    name TEXT NOT NULL,
    log_index INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    PRIMARY KEY (authority, form)
) STRICT, WITHOUT ROWID;
CREATE TABLE quota (
    authority TEXT NOT NULL,
    profile TEXT NOT NULL,
    caller TEXT NOT NULL,
    period INTEGER NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (authority, profile, caller)
) STRICT, WITHOUT ROWID;
CREATE TABLE key_names (
    authority TEXT NOT NULL,
    spki_sha256 BLOB NOT NULL,
    names_sha256 BLOB NOT NULL,
    log_index INTEGER NOT NULL,
    PRIMARY KEY (authority, spki_sha256)
) STRICT, WITHOUT ROWID;
CREATE TABLE authority (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('intent', 'keyed', 'ready')),
    label TEXT NOT NULL,
    owners BLOB NOT NULL,
    reference TEXT,
    spki BLOB UNIQUE,
    root INTEGER,
    intent_index INTEGER,
    stopped_index INTEGER,
    restored_at INTEGER,
    frozen_index INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE epoch (
    authority TEXT NOT NULL REFERENCES authority (name),
    generation INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('intent', 'keyed', 'prepared', 'active', 'retired', 'destroyed', 'aborted')),
    manifest_sha256 BLOB NOT NULL,
    transition BLOB NOT NULL,
    previous BLOB NOT NULL,
    lifetime INTEGER NOT NULL,
    revoke_previous INTEGER NOT NULL,
    label TEXT NOT NULL,
    reference TEXT,
    spki BLOB UNIQUE,
    spki_sha256 BLOB UNIQUE,
    intermediate INTEGER,
    mesh_ca INTEGER,
    intent_at INTEGER NOT NULL,
    intent_index INTEGER,
    active_index INTEGER,
    aborted_index INTEGER,
    active_at INTEGER,
    retired_at INTEGER,
    destroyed_at INTEGER,
    PRIMARY KEY (authority, generation)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX epoch_active ON epoch (authority) WHERE state = 'active';
CREATE UNIQUE INDEX epoch_transition ON epoch (authority, transition) WHERE state <> 'aborted';
CREATE TABLE later_key (
    authority TEXT NOT NULL REFERENCES authority (name),
    label TEXT NOT NULL,
    PRIMARY KEY (authority, label)
) STRICT, WITHOUT ROWID;
CREATE TABLE epoch_fetch (
    authority TEXT NOT NULL,
    generation INTEGER NOT NULL,
    caller TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (authority, generation, caller)
) STRICT, WITHOUT ROWID;
";

/// Bytes that the file of the write-ahead log keeps when it begins anew. It was longer where somebody read for long, as a backup does, and the next
/// backup is given up if it is too long.
pub(crate) const WAL_BYTES_KEPT: i64 = 64 << 20;

/// A connection that writes. Nothing it commits is heard of before it is on the disk.
pub(crate) fn writer(database: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(connection)
}

/// A connection that reads.
pub(crate) fn reader(database: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(database: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(database, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // What a query sorts or gathers stands in no file: a confined process writes none where SQLite would put it.
    connection.pragma_update(None, "temp_store", "memory")?;
    // No plan looks at the values that are bound: else joins are compiled anew where other values are.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

/// The version of the tables; 0 in a new database.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Makes the tables in a new database.
pub(crate) fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    let root = hallmark_tlog::hash::Hash::of_empty_tree();
    transaction
        .execute("INSERT INTO head (id, size, root, ledger_id) VALUES (0, 0, ?1, randomblob(8))", [root.as_bytes()])?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

/// Whether the tables of an older version can be brought up to date.
pub(crate) fn can_upgrade(found: i64) -> bool {
    UPGRADES.iter().any(|(from, ..)| *from == found)
}

/// Brings the tables of an older version up to date, all in one transaction: where it fails, they are what they were.
pub(crate) fn upgrade(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for (_, sql, more) in UPGRADES.iter().filter(|(version, ..)| *version >= from) {
        transaction.execute_batch(sql)?;
        more.map_or(Ok(()), |more| more(&transaction))?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

/// Keeps how much was published, at least.
pub(crate) fn record_published(connection: &Connection, size: u64) -> rusqlite::Result<()> {
    let sql = "UPDATE head SET published = ?1 WHERE published < ?1";
    connection.prepare_cached(sql)?.execute([signed(size)]).map(drop)
}

/// How SQLite would find the rows of a query with so many values, step by step.
#[cfg(test)]
pub(crate) fn plan(connection: &Connection, sql: &str, values: usize) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let values = std::iter::repeat_n(rusqlite::types::Null, values);
    let steps = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3)).unwrap();
    steps.collect::<Result<_, _>>().unwrap()
}

/// Keeps that a copy of the checkpoint was written to another volume: one that is missing is missed from here on.
pub(crate) fn record_anchored(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE head SET anchored = 1 WHERE anchored = 0")?.execute([]).map(drop)
}

/// A count as SQLite keeps it. Counts of ours stay far below 2^63.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count that SQLite kept.
pub(crate) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_compiled_once_whatever_is_bound_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("a.db");
        std::fs::write(&database, "").unwrap();
        create(&mut writer(&database).unwrap()).unwrap();
        for connection in [writer(&database).unwrap(), reader(&database).unwrap()] {
            let sql = "SELECT s.issuer, s.instance FROM serial s JOIN issuer i ON i.id = s.issuer WHERE i.spki_sha256 = ?1 AND s.serial = ?2";
            let mut statement = connection.prepare(sql).unwrap();
            for number in 0..5_i64 {
                assert!(!statement.exists(rusqlite::params![number, [number as u8; 32]]).unwrap());
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
        }
    }

    #[test]
    fn a_write_ahead_log_that_grew_while_somebody_read_is_short_again_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("a.db");
        std::fs::write(&database, "").unwrap();
        let mut writing = writer(&database).unwrap();
        create(&mut writing).unwrap();
        let bytes = || std::fs::metadata(directory.path().join("a.db-wal")).unwrap().len();
        let write = |count: i64| {
            let sql = "CREATE TABLE IF NOT EXISTS much (bytes BLOB); INSERT INTO much VALUES (zeroblob(1048576))";
            (0..count).for_each(|_| writing.execute_batch(sql).unwrap());
        };
        let checkpoint = || writing.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        let reading = reader(&database).unwrap();
        reading.execute_batch("BEGIN; SELECT * FROM sqlite_schema").unwrap();
        write(WAL_BYTES_KEPT / 1_048_576 + 6);
        checkpoint();
        assert!(bytes() > WAL_BYTES_KEPT.unsigned_abs());
        reading.execute_batch("COMMIT").unwrap();
        checkpoint();
        write(1);
        assert!(bytes() <= WAL_BYTES_KEPT.unsigned_abs(), "{}", bytes());
    }

    #[test]
    fn no_connection_makes_temporary_files() {
        const MEMORY: i64 = 2;
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("ledger.sqlite");
        drop(Connection::open(&database).unwrap());
        for connection in [writer(&database).unwrap(), reader(&database).unwrap()] {
            let store = connection.query_row("PRAGMA temp_store", [], |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(store, MEMORY);
        }
    }
}
