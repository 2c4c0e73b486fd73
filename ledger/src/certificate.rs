//! Finding leaf certificates: by serial number, key, name and instance along an index, by all else through what their decisions say,
//! backwards through the log, a part of it at a time.

use hallmark_entry::{
    Summary,
    privacy::{COMMITMENT, Opening, reveal},
    sha256,
};
use hallmark_policy::{Facts, Revocation, content::Serial, hex, key::SpkiDigest, name::NameKind, time::UnixTime};
use rusqlite::{Connection, Row, params};

use crate::{
    UnixMillis,
    schema::{signed, unsigned},
};

/// Entries that one search reads at most: about a tenth of a second.
const ENTRIES_MAX: usize = 20_000;

/// Which certificates are meant: those to which everything that is set applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFilter {
    /// Serial number.
    pub serial: Option<Vec<u8>>,
    /// Registration of an instance: the index of its decision.
    pub registration: Option<u64>,
    /// A name with its kind, or without.
    pub name: String,
    /// The subject's key.
    pub spki: Option<SpkiDigest>,
    /// Who asked.
    pub caller: String,
    /// The profile.
    pub profile: String,
    /// Decided then or later.
    pub since: Option<UnixMillis>,
    /// Decided then or before.
    pub until: Option<UnixMillis>,
    /// Only those that have not ended and are not revoked.
    pub living: bool,
    /// Only decisions below this index.
    pub before: Option<u64>,
    /// Most certificates.
    pub most: usize,
}

/// A certificate, as its decision says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRecord {
    /// Index of its decision.
    pub log_index: u64,
    /// The key that signed it.
    pub issuer: SpkiDigest,
    /// Its serial number.
    pub serial: Serial,
    /// Its key.
    pub spki: Option<SpkiDigest>,
    /// Its names, with their kinds.
    pub names: Vec<String>,
    /// Who asked.
    pub caller: String,
    /// Its profile.
    pub profile: String,
    /// First second of its validity.
    pub not_before: UnixTime,
    /// Last second of its validity.
    pub not_after: UnixTime,
    /// Its revocation, if it is revoked.
    pub revoked: Option<Revocation>,
}

/// A part of what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificatePage {
    /// The certificates, newest first.
    pub certificates: Vec<CertificateRecord>,
    /// Where to go on; none at the end.
    pub next: Option<u64>,
}

/// One page of certificates of an authority.
pub(crate) fn page(
    connection: &Connection,
    authority: &str,
    filter: &CertificateFilter,
    at: UnixMillis,
) -> rusqlite::Result<CertificatePage> {
    let mut page = CertificatePage::default();
    let before = filter.before.map_or(i64::MAX, signed);
    let Source { sql, key, newest_stretch } = source(connection, filter, before)?;
    let mut statement = connection.prepare_cached(sql)?;
    let mut entries = connection.prepare_cached("SELECT bytes FROM entry WHERE log_index = ?1")?;
    let mut read_entries = 0;
    for stretch in (0..=newest_stretch).rev() {
        for log_index in statement.query_map(params![before, key, stretch], |row| row.get::<_, i64>(0))? {
            let log_index = log_index?;
            let entry: Vec<u8> = entries.query_row([log_index], |row| row.get(0))?;
            let log_index = unsigned(log_index);
            read_entries += 1;
            match look(connection, authority, filter, log_index, &entry, at)? {
                Looked::Found(record) => page.certificates.push(*record),
                Looked::Other => {}
                Looked::Earlier if is_in_order_below(connection, log_index)? => return Ok(page),
                Looked::Earlier => {}
            }
            if page.certificates.len() >= filter.most || read_entries >= ENTRIES_MAX {
                page.next = Some(log_index).filter(|index| *index > 0);
                return Ok(page);
            }
        }
    }
    Ok(page)
}

/// Where the entries stand that can be about them, newest first, along an index.
struct Source {
    /// With the bound (?1), the key (?2) and the stretch (?3).
    sql: &'static str,
    key: Option<i64>,
    /// The search begins there, and goes through all before it; 0 where there is but one.
    newest_stretch: i64,
}

/// By caller, profile and time alone the index is the log itself.
fn source(connection: &Connection, filter: &CertificateFilter, before: i64) -> rusqlite::Result<Source> {
    if let Some(registration) = filter.registration {
        let sql = "SELECT log_index FROM serial INDEXED BY serial_instance \
                   WHERE instance = ?2 AND log_index < ?1 AND ?3 = 0 ORDER BY log_index DESC";
        return Ok(Source { sql, key: Some(signed(registration)), newest_stretch: 0 });
    }
    let serial = filter.serial.as_deref().map(|serial| digest_of(SERIAL, serial));
    let spki = || filter.spki.map(|spki| digest_of(SPKI, spki.as_bytes()));
    let name = || (!filter.name.is_empty()).then(|| digest_of(NAME, bare(&filter.name).as_bytes()));
    let Some(digest) = serial.or_else(spki).or_else(name) else {
        let sql = "SELECT log_index FROM entry WHERE log_index < ?1 AND ?2 IS NULL AND ?3 = 0 ORDER BY log_index DESC";
        return Ok(Source { sql, key: None, newest_stretch: 0 });
    };
    let newest: Option<i64> = connection.query_row("SELECT max(stretch) FROM found_by", [], |row| row.get(0))?;
    let sql =
        "SELECT log_index FROM found_by WHERE stretch = ?3 AND digest = ?2 AND log_index < ?1 ORDER BY log_index DESC";
    Ok(Source { sql, key: Some(digest), newest_stretch: newest.unwrap_or(0).min(before >> STRETCH_BITS) })
}

/// What a certificate is found by.
const SERIAL: &[u8] = b"serial";
const SPKI: &[u8] = b"spki";
const NAME: &[u8] = b"name";

/// The index is in stretches of so many entries (log2), each sorted for itself: what is added falls on the few pages of the last one, however long the log is.
const STRETCH_BITS: u32 = 16;

/// A digest in the index: where two things have the same, the entries tell them apart.
fn digest_of(what: &[u8], value: &[u8]) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = sha256(&[what, b":", value].concat());
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Kinds of names, which may stand before one.
const KINDS: [NameKind; 5] = [NameKind::CommonName, NameKind::Dns, NameKind::Uri, NameKind::Ip, NameKind::Email];

/// A name without its kind.
fn bare(name: &str) -> &str {
    let with_kind = name.split_once(':').filter(|(kind, _)| KINDS.iter().any(|known| known.short() == *kind));
    with_kind.map_or(name, |(_, bare)| bare)
}

/// Lets a leaf be found by its serial number, its key and its names.
pub(crate) fn index(connection: &Connection, facts: &Facts, serial: Serial, log_index: u64) -> rusqlite::Result<()> {
    let names = facts.names.iter().map(|name| digest_of(NAME, bare(name).as_bytes()));
    let spki = facts.spki.map(|spki| digest_of(SPKI, spki.as_bytes()));
    let sql = "INSERT INTO found_by (stretch, digest, log_index) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    let mut statement = connection.prepare_cached(sql)?;
    for digest in names.chain(spki).chain([digest_of(SERIAL, serial.as_bytes())]) {
        statement.execute(params![signed(log_index >> STRETCH_BITS), digest, signed(log_index)])?;
    }
    Ok(())
}

enum Looked {
    Found(Box<CertificateRecord>),
    Other,
    /// It is earlier than what is wanted.
    Earlier,
}

/// How much earlier an entry may say it is than one before it.
const DISORDER_MILLIS: i64 = 60_000;

/// Whether no entry below is later than this one: the clock was never set back under an operator's word before.
fn is_in_order_below(connection: &Connection, log_index: u64) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM clock_step WHERE log_index < ?1";
    Ok(!connection.prepare_cached(sql)?.exists([signed(log_index)])?)
}

fn look(
    connection: &Connection,
    authority: &str,
    filter: &CertificateFilter,
    log_index: u64,
    entry: &[u8],
    at: UnixMillis,
) -> rusqlite::Result<Looked> {
    // Most entries are told by their text alone.
    if !contains(entry, b"\"decision\":\"issued\"") || !contains(entry, b"\"stage\":\"leaf\"") {
        return Ok(Looked::Other);
    }
    let revealed = if contains(entry, COMMITMENT.as_bytes()) {
        reveal(entry, &openings(connection, log_index)?)
    } else {
        entry.to_vec()
    };
    let Ok(summary) = Summary::parse(&revealed) else { return Ok(Looked::Other) };
    if filter.since.is_some_and(|since| summary.time < since.0.saturating_sub(DISORDER_MILLIS)) {
        return Ok(Looked::Earlier);
    }
    if !fits(authority, filter, &summary) {
        return Ok(Looked::Other);
    }
    let Some(mut record) = record(log_index, &summary) else { return Ok(Looked::Other) };
    record.revoked = crate::revocation::find(connection, record.issuer, record.serial)?;
    if filter.living && (record.revoked.is_some() || crate::issue::has_passed(record.not_after, at)) {
        return Ok(Looked::Other);
    }
    Ok(Looked::Found(Box::new(record)))
}

fn fits(authority: &str, filter: &CertificateFilter, summary: &Summary) -> bool {
    let is =
        |text: &Option<hallmark_entry::summary::Text>, wanted: &str| text.as_ref().is_some_and(|text| text.is(wanted));
    let wanted = |text: &Option<hallmark_entry::summary::Text>, wanted: &str| wanted.is_empty() || is(text, wanted);
    let name = |name: &hallmark_entry::summary::Text| {
        name.is(&filter.name) || KINDS.iter().any(|kind| name.is(&format!("{}:{}", kind.short(), filter.name)))
    };
    let serial = filter.serial.as_deref().map(hex);
    let spki = filter.spki.map(|spki| hex(spki.as_bytes()));
    is(&summary.authority, authority)
        && wanted(&summary.caller, &filter.caller)
        && wanted(&summary.profile, &filter.profile)
        && (filter.name.is_empty() || summary.names.known().iter().any(name))
        && serial.is_none_or(|serial| summary.serial.as_deref() == Some(serial.as_str()))
        && spki.is_none_or(|spki| is(&summary.spki_sha256, &spki))
        && filter.since.is_none_or(|since| summary.time >= since.0)
        && filter.until.is_none_or(|until| summary.time <= until.0)
}

fn record(log_index: u64, summary: &Summary) -> Option<CertificateRecord> {
    let text =
        |text: &Option<hallmark_entry::summary::Text>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    Some(CertificateRecord {
        log_index,
        issuer: digest(&summary.issuer.as_ref()?.spki_sha256)?,
        serial: Serial::from_stored(&unhex(summary.serial.as_ref()?)?)?,
        spki: digest(&text(&summary.spki_sha256)),
        names: summary.names.known().iter().map(ToString::to_string).collect(),
        caller: text(&summary.caller),
        profile: text(&summary.profile),
        not_before: UnixTime::from_secs(summary.not_before?),
        not_after: UnixTime::from_secs(summary.not_after?),
        revoked: None,
    })
}

fn openings(connection: &Connection, log_index: u64) -> rusqlite::Result<Vec<Opening>> {
    let sql = "SELECT key, salt, value FROM opening WHERE log_index = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| Ok(Opening::new(row.get(0)?, row.get(1)?, row.get(2)?));
    statement.query_map(params![signed(log_index)], read)?.collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn digest(digits: &str) -> Option<SpkiDigest> {
    unhex(digits)?.try_into().ok().map(SpkiDigest::from_bytes)
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    rest.is_empty().then(|| pairs.iter().map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{self, plan};

    #[test]
    fn every_search_goes_along_an_index_and_sorts_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        let key = SpkiDigest::from_bytes([1; 32]);
        let by_caller = CertificateFilter { caller: "c".to_owned(), ..CertificateFilter::default() };
        let by_digest = "SEARCH found_by USING PRIMARY KEY (stretch=? AND digest=? AND log_index<?)";
        for (filter, index) in [
            (CertificateFilter { serial: Some(vec![1]), ..by_caller.clone() }, by_digest),
            (CertificateFilter { spki: Some(key), ..by_caller.clone() }, by_digest),
            (CertificateFilter { name: "a".to_owned(), ..by_caller.clone() }, by_digest),
            (
                CertificateFilter { registration: Some(1), ..by_caller.clone() },
                "SEARCH serial USING COVERING INDEX serial_instance (instance=? AND log_index<?)",
            ),
            (by_caller, "SEARCH entry USING INTEGER PRIMARY KEY (rowid<?)"),
        ] {
            let source = source(&connection, &filter, 7).unwrap();
            assert_eq!(plan(&connection, source.sql, 3), [index]);
        }
    }

    #[test]
    fn what_lies_in_several_stretches_is_found_newest_first_and_from_wherever_a_page_ended() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        let at = [3, 65_535, 65_536, 70_000, 400_000];
        let facts = |name: &str| Facts { names: vec![format!("dns:{name}")], ..Facts::default() };
        for log_index in at {
            index(&connection, &facts("a.example"), Serial::from_random([7; 16]), log_index).unwrap();
            index(&connection, &facts("b.example"), Serial::from_random([8; 16]), log_index + 1).unwrap();
        }
        let filter = CertificateFilter { name: "a.example".to_owned(), ..CertificateFilter::default() };
        let found = |before: i64| {
            let Source { sql, key, newest_stretch } = source(&connection, &filter, before).unwrap();
            let mut statement = connection.prepare(sql).unwrap();
            let mut stretch = |stretch: i64| -> Vec<u64> {
                let rows = statement.query_map(params![before, key, stretch], |row| row.get::<_, i64>(0)).unwrap();
                rows.map(|row| unsigned(row.unwrap())).collect()
            };
            (0..=newest_stretch).rev().flat_map(&mut stretch).collect::<Vec<_>>()
        };
        assert_eq!(found(i64::MAX), [400_000, 70_000, 65_536, 65_535, 3]);
        assert_eq!(found(65_536), [65_535, 3]);
        assert!(found(3).is_empty());
    }

    #[test]
    fn names_are_found_with_their_kind_and_without() {
        for (name, found) in
            [("dns:a.example", "a.example"), ("uri:spiffe://a/b", "spiffe://a/b"), ("spiffe://a/b", "spiffe://a/b")]
        {
            assert_eq!(bare(name), found);
        }
    }
}
