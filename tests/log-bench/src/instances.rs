//! What records of instances take, and how long looking one up takes among so many.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use hallmark_ledger::{Ledger, LedgerConfig, Private};
use hallmark_policy::time::Span;
use rusqlite::{Connection, params};

use crate::synthetic;

/// Lookups that are measured.
const LOOKUPS: u64 = 20_000;

/// Memory for pages while it is filled, in KiB.
const FILLING_CACHE_KIB: i64 = 1_500_000;

const AUTHORITY: &str = "athenz";
const PROVIDER: &str = "sys.auth.aws.us-west-2";

/// Fills a ledger with records, each with that many certificates, and measures it.
pub(crate) fn measure(instances: u64, certificates: u64) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let began = Instant::now();
    drop(open(directory.path())?);
    let database = directory.path().join("ledger.db");
    let empty = fs::metadata(&database)?.len();
    fill(&database, instances, certificates)?;
    let bytes = fs::metadata(&database)?.len() - empty;
    println!(
        "filled a ledger with {instances} instances of {certificates} certificates in {:.0} s: {} bytes an instance",
        began.elapsed().as_secs_f64(),
        bytes / instances.max(1)
    );
    let began = Instant::now();
    let ledger = open(directory.path())?;
    println!("start {:.2} ms", began.elapsed().as_secs_f64() * 1e3);
    let mut took = Vec::new();
    for number in 0..LOOKUPS {
        // Far apart from each other, as requests are.
        let id = name(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % instances.max(1));
        let began = Instant::now();
        ledger.instance(AUTHORITY, PROVIDER, &id)?.context("it is there")?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    println!("lookups: p50 {:.1} us, p99 {:.1} us", micros(at(50)), micros(at(99)));
    ledger.stop();
    Ok(())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn open(directory: &Path) -> Result<Ledger> {
    let config = LedgerConfig {
        database: directory.join("ledger.db"),
        publish: directory.join("log"),
        retention: Span::from_days(1),
        ended_retention: Span::from_days(30),
        accept_missing_checkpoint: false,
        accept_missing_anchor: false,
        anchor: None,
        private: Private::default(),
        pages_max: None,
    };
    Ok(Ledger::open(config, synthetic::log_key()?)?.ledger)
}

/// As instances of a cloud are called.
fn name(number: u64) -> String {
    format!("i-{:017x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1)
}

fn fill(database: &Path, instances: u64, certificates: u64) -> Result<()> {
    let mut connection = Connection::open(database)?;
    // Nothing here must outlive a crash, and a write-ahead log would take the room twice.
    connection.pragma_update(None, "journal_mode", "off")?;
    connection.pragma_update(None, "synchronous", "off")?;
    connection.pragma_update(None, "cache_size", -FILLING_CACHE_KIB)?;
    let transaction = connection.transaction()?;
    transaction.execute("INSERT INTO issuer (id, spki_sha256, issued) VALUES (1, randomblob(32), 0)", [])?;
    {
        let mut serial = transaction.prepare(
            "INSERT INTO serial (issuer, serial, not_after, log_index, instance) VALUES (1, ?1, ?2, ?3, ?4)",
        )?;
        let mut instance = transaction.prepare(
            "INSERT INTO instance (id, authority, provider, name, service, registered_at, moved_at, moves, not_after, issuer, \
             serial, spki_sha256, log_index, previous_issuer, previous_serial, previous_spki_sha256, previous_index) \
             VALUES (?1, ?2, ?3, ?4, ?5, 1795000000000, 1797500000000, 30, ?6, 1, ?7, randomblob(32), ?8, 1, ?7, randomblob(32), ?8)",
        )?;
        for number in 0..instances {
            let id = i64::try_from(number * certificates)?;
            let mut number_of_last = Vec::new();
            for certificate in 0..certificates {
                let index = id + i64::try_from(certificate)?;
                // 16 bytes that are spread as random ones are.
                let mixed = (u64::try_from(index)? + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                number_of_last = [&[1][..], &mixed.to_be_bytes(), &mixed.rotate_left(29).to_be_bytes()].concat();
                let end = 1_800_000_000 + i64::try_from(certificate)? * 86_400 + index % 86_400;
                serial.execute(params![number_of_last, end, index, id])?;
            }
            let service = format!("sports.service-{}", number % 1_000);
            let values = params![
                id,
                AUTHORITY,
                PROVIDER,
                name(number),
                service,
                1_800_000_000_i64 + id % 2_592_000,
                number_of_last,
                id
            ];
            instance.execute(values)?;
        }
    }
    transaction.commit()?;
    Ok(())
}
