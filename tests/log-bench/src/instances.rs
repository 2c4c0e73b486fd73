//! What records of instances take, and how long looking one up takes among so many.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use hallmark_entry::sha256;
use hallmark_ledger::{CertificateFilter, InstanceFilter, Ledger, LedgerConfig, Private, UnixMillis};
use hallmark_policy::{
    content::Serial,
    instance::{InstanceMove, InstanceName, InstanceStep, PresentedCertificate},
    key::SpkiDigest,
    time::{Span, UnixTime},
};
use rusqlite::{Connection, params};

use crate::synthetic;

/// Lookups that are measured.
const LOOKUPS: u64 = 20_000;

/// Searches for certificates that are measured: each looks into every stretch of the log.
const SEARCHES: u64 = 1_000;

/// Most memory for pages while it is filled, in KiB: 10 million instances are spread over more than a disk fetches in time.
const FILLING_CACHE_KIB: i64 = 12_000_000;

const AUTHORITY: &str = "athenz";
const PROVIDER: &str = "sys.auth.aws.us-west-2";

/// Digests by which a certificate is found: serial number, key, common name and two others.
const FOUND_BY: u64 = 5;

/// Digests that a ledger has in the log's order at most: half of them come while the others are sorted in.
const NEW_DIGESTS: u64 = 3 * 32_768 / 2;

/// Leaves of a batch.
const BATCH: u64 = 10;

/// The key that all certificates are said to be signed with.
const ISSUER: [u8; 32] = [7; 32];

/// The key that all certificates are said to be of.
const KEY: [u8; 32] = [1; 32];

const NOW_MILLIS: i64 = 1_797_500_000_000;

/// Fills a ledger with records, each with that many certificates, and measures it. `place` is where, the directory for temporary files if not said.
pub(crate) fn measure(instances: u64, certificates: u64, place: Option<&Path>) -> Result<()> {
    let directory = place.map_or_else(tempfile::tempdir, tempfile::tempdir_in)?;
    open(directory.path())?.stop();
    println!("start with none: {}", opened(directory.path())?.1);
    let database = directory.path().join("ledger.db");
    let size = || fs::metadata(&database).map(|file| file.len());
    let (empty, began) = (size()?, Instant::now());
    fill(&database, instances, certificates)?;
    let records = size()?;
    index(&database, instances * certificates, certificates)?;
    println!(
        "filled a ledger with {instances} instances of {certificates} certificates in {:.0} s: {} bytes an instance, \
         and {} bytes a certificate to find it by",
        began.elapsed().as_secs_f64(),
        (records - empty) / instances.max(1),
        (size()? - records) / (instances * certificates).max(1),
    );
    let (ledger, first) = opened(directory.path())?;
    ledger.stop();
    let (ledger, took) = opened(directory.path())?;
    println!("start with {instances}: {took} (right after it was filled {first})");
    decide(&database, instances, certificates)?;
    println!("as its pages are found, most of them on the disk:");
    look_up(&ledger, instances, certificates)?;
    io::copy(&mut fs::File::open(&database)?, &mut io::sink())?;
    println!("with the database in the system's page cache:");
    look_up(&ledger, instances, certificates)?;
    ledger.stop();
    Ok(())
}

/// What records, refreshes and pages take.
fn look_up(ledger: &Ledger, instances: u64, certificates: u64) -> Result<()> {
    let number = |lookup: u64| spread(lookup, instances);
    timed("record", LOOKUPS, |lookup| {
        ledger.instance(AUTHORITY, PROVIDER, &name(number(lookup)))?.context("it is there").map(drop)
    })?;
    timed("what a refresh looks up", LOOKUPS, |lookup| {
        let is_alarming =
            ledger.is_alarming(AUTHORITY, &refresh(number(lookup), certificates)?, UnixMillis(NOW_MILLIS))?;
        anyhow::ensure!(!is_alarming, "it is the current certificate");
        Ok(())
    })?;
    let filter = InstanceFilter { most: 100, ..InstanceFilter::default() };
    timed("page of 100 records", LOOKUPS, |lookup| {
        let filter = InstanceFilter { after: (PROVIDER.to_owned(), name(number(lookup))), ..filter.clone() };
        Ok(ledger.instances(AUTHORITY, &filter, UnixMillis(NOW_MILLIS)).map(drop)?)
    })?;
    let filter = CertificateFilter { most: 100, ..CertificateFilter::default() };
    timed("certificate by its serial number", SEARCHES, |lookup| {
        let serial = Some(serial(number(lookup) * certificates));
        anyhow::ensure!(search(ledger, &CertificateFilter { serial, ..filter.clone() })? == 1, "there is one");
        Ok(())
    })?;
    timed("certificates by name", SEARCHES, |lookup| {
        let name = format!("dns:{}", host(number(lookup)));
        anyhow::ensure!(
            search(ledger, &CertificateFilter { name, ..filter.clone() })? == certificates,
            "all are found"
        );
        Ok(())
    })
}

/// How many certificates are found, page by page.
fn search(ledger: &Ledger, filter: &CertificateFilter) -> Result<u64> {
    let (mut filter, mut found) = (filter.clone(), 0);
    loop {
        let page = ledger.certificates(AUTHORITY, &filter, UnixMillis(NOW_MILLIS))?;
        found += page.certificates.len() as u64;
        filter.before = page.next;
        if filter.before.is_none() {
            return Ok(found);
        }
    }
}

/// The instance of a lookup, far from those before and after it.
fn spread(lookup: u64, instances: u64) -> u64 {
    lookup.wrapping_mul(0x9e37_79b9_7f4a_7c15) % instances.max(1)
}

/// Opens it, and says how long that took.
fn opened(directory: &Path) -> Result<(Ledger, String)> {
    let began = Instant::now();
    let ledger = open(directory)?;
    Ok((ledger, format!("{:.2} ms", began.elapsed().as_secs_f64() * 1e3)))
}

/// Looks up far apart from each other, as requests do, through the ledger's own way of reading.
fn timed(what: &str, lookups: u64, look_up: impl Fn(u64) -> Result<()>) -> Result<()> {
    let mut took = Vec::new();
    for lookup in 0..lookups {
        let began = Instant::now();
        look_up(lookup)?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    println!("{what}: p50 {:.1} us, p99 {:.1} us", micros(at(50)), micros(at(99)));
    Ok(())
}

/// A refresh that presents the current certificate of an instance.
fn refresh(number: u64, certificates: u64) -> Result<InstanceMove> {
    let last = certificates.saturating_sub(1);
    let (serial, end) = (serial(number * certificates + last), end(last, number * certificates + last));
    let service = format!("sports.service-{}", number % 1_000);
    let presented = PresentedCertificate {
        issuer: SpkiDigest::from_bytes(ISSUER),
        serial: Serial::from_stored(&serial).context("a serial number")?,
        key: SpkiDigest::from_bytes(KEY),
        not_before: UnixTime::from_secs(NOW_MILLIS / 1_000 - 86_400),
        not_after: UnixTime::from_secs(i64::try_from(end)?),
        proven: true,
    };
    Ok(InstanceMove {
        name: InstanceName { provider: PROVIDER.to_owned(), id: name(number), service },
        key: SpkiDigest::from_bytes([2; 32]),
        wish_sha256: [0; 32],
        asked: None,
        step: InstanceStep::Refresh(presented),
    })
}

/// When a certificate ends, in seconds: the `certificate`-th of its instance, and the `index`-th of all.
fn end(certificate: u64, index: u64) -> u64 {
    1_800_000_000 + certificate * 86_400 + index % 86_400
}

/// 16 bytes that are spread as random ones are.
fn serial(index: u64) -> Vec<u8> {
    let mixed = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [&[1][..], &mixed.to_be_bytes(), &mixed.rotate_left(29).to_be_bytes()].concat()
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

/// Nothing here must outlive a crash, and a write-ahead log would take the room twice.
fn filling(database: &Path) -> Result<Connection> {
    let connection = Connection::open(database)?;
    connection.pragma_update(None, "journal_mode", "off")?;
    connection.pragma_update(None, "synchronous", "off")?;
    connection.pragma_update(None, "cache_size", -FILLING_CACHE_KIB)?;
    Ok(connection)
}

/// A name that each certificate of an instance has, and no other.
fn host(number: u64) -> String {
    format!("{}.instanceid.athenz.cloud.example", name(number))
}

/// What certificates are found by: serial number and one name, and what stands for their key and two other names, spread as digests are. The newest are not
/// sorted in yet, as many as there ever are.
fn index(database: &Path, certificates: u64, each: u64) -> Result<()> {
    let digest = |kind: &[u8], value: &[u8]| {
        let [a, b, c, d, e, f, g, h, ..] = sha256(&[kind, value].concat());
        i64::from_be_bytes([a, b, c, d, e, f, g, h])
    };
    let mut connection = filling(database)?;
    let transaction = connection.transaction()?;
    {
        let sql =
            "INSERT INTO found_by (stretch, digest, log_index) VALUES (?1 >> 17 << 1, coalesce(?2, random()), ?1)";
        let mut rows = transaction.prepare(sql)?;
        let sql = "INSERT OR REPLACE INTO found_stretch (stretch, latest_end) VALUES (?1 >> 17 << 1, 2000000000)";
        let mut stretches = transaction.prepare(sql)?;
        let (mut batch, mut first) = (Vec::new(), i64::MAX);
        let mut new = transaction.prepare("INSERT INTO found_new (log_index, digests) VALUES (?1, ?2)")?;
        for number in 0..certificates {
            let index = i64::try_from(number)?;
            let known = [digest(b"serial:", &serial(number)), digest(b"name:", host(number / each.max(1)).as_bytes())];
            if certificates - number <= NEW_DIGESTS / FOUND_BY {
                let unknown = (known.len() as u64..FOUND_BY).map(|_| 1);
                let digests = known.into_iter().chain(unknown).flat_map(|digest| [digest, index]);
                batch.extend(digests.flat_map(i64::to_be_bytes));
                first = first.min(index);
                if (number + 1).is_multiple_of(BATCH) || number + 1 == certificates {
                    new.execute(params![first, std::mem::take(&mut batch)])?;
                    first = i64::MAX;
                }
            } else {
                for row in 0..FOUND_BY {
                    rows.execute(params![index, known.get(usize::try_from(row)?)])?;
                }
            }
            stretches.execute([index])?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// The decisions about the certificates that are looked for. The others are not needed, and neither is a tree over them.
fn decide(database: &Path, instances: u64, certificates: u64) -> Result<()> {
    let mut connection = Connection::open(database)?;
    let transaction = connection.transaction()?;
    {
        let sql = "INSERT OR IGNORE INTO entry (log_index, leaf, bytes) VALUES (?1, zeroblob(32), ?2)";
        let mut rows = transaction.prepare(sql)?;
        for number in (0..SEARCHES).map(|lookup| spread(lookup, instances)) {
            for certificate in 0..certificates {
                let index = number * certificates + certificate;
                let entry = synthetic::decision_of(index, NOW_MILLIS, &serial(index), &host(number));
                rows.execute(params![i64::try_from(index)?, entry])?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn fill(database: &Path, instances: u64, certificates: u64) -> Result<()> {
    let mut connection = filling(database)?;
    let transaction = connection.transaction()?;
    transaction.execute("INSERT INTO issuer (id, spki_sha256, issued) VALUES (1, ?1, 0)", [ISSUER])?;
    {
        let mut rows = transaction.prepare(
            "INSERT INTO serial (issuer, serial, not_after, log_index, instance, spki_sha256) VALUES (1, ?1, ?2, ?3, ?4, ?5)",
        )?;
        let mut signed = transaction.prepare("INSERT INTO signed (log_index, sha256) VALUES (?1, randomblob(32))")?;
        let mut instance = transaction.prepare(
            "INSERT INTO instance (id, authority, provider, name, service, registered_at, moved_at, moves, not_after, issuer, \
             serial, spki_sha256, log_index, current_group, previous_issuer, previous_serial, previous_spki_sha256, previous_index, previous_group, counted_until) \
             VALUES (?1, ?2, ?3, ?4, ?5, 1795000000000, 1797500000000, 30, ?6, 1, ?7, randomblob(32), ?8, ?8, 1, ?7, randomblob(32), ?1, ?1, ?6)",
        )?;
        for number in 0..instances {
            let id = i64::try_from(number * certificates)?;
            let (mut number_of_last, mut last) = (Vec::new(), id);
            for certificate in 0..certificates {
                let index = id + i64::try_from(certificate)?;
                last = index;
                number_of_last = serial(u64::try_from(index)?);
                let end = end(certificate, u64::try_from(index)?);
                rows.execute(params![number_of_last, i64::try_from(end)?, index, id, KEY])?;
                signed.execute([index])?;
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
                last
            ];
            instance.execute(values)?;
        }
    }
    transaction.commit()?;
    Ok(())
}
