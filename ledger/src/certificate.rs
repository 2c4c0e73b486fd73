//! Finding leaf certificates: by serial number, key, name and instance along an index, by all else through what their decisions say,
//! backwards through the log, a part of it at a time. What has ended for long no index has any more, and the log still has.

use std::ops::ControlFlow;

use hallmark_entry::{
    Summary,
    privacy::{COMMITMENT, Opening, reveal},
};
use hallmark_policy::{Revocation, content::Serial, hex, key::SpkiDigest, time::UnixTime};
use rusqlite::{Connection, Row, params, params_from_iter};

use crate::{
    UnixMillis,
    found::{self, Digest, KINDS},
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
    /// The certificates, newest first; maybe none although there are more.
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
    let mut entries = connection.prepare_cached("SELECT bytes FROM entry WHERE log_index = ?1")?;
    let mut read_entries = 0;
    let see = |log_index: i64| {
        let entry: Vec<u8> = entries.query_row([log_index], |row| row.get(0))?;
        let log_index = unsigned(log_index);
        read_entries += 1;
        match look(connection, authority, filter, log_index, &entry, at)? {
            Looked::Found(record) => page.certificates.push(*record),
            Looked::Other => {}
            Looked::Earlier if is_in_order_below(connection, log_index)? => return Ok(ControlFlow::Break(())),
            Looked::Earlier => {}
        }
        if page.certificates.len() >= filter.most || read_entries >= ENTRIES_MAX {
            page.next = Some(log_index).filter(|index| *index > 0);
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    };
    let rest = Along::of(filter).each(connection, filter.before.map_or(i64::MAX, signed), see)?;
    page.next = page.next.or_else(|| rest.map(unsigned));
    Ok(page)
}

/// Along which index decisions are looked at, newest first.
enum Along {
    /// Those of a registration.
    Registration(u64),
    /// Those of which something has this digest.
    Digest(Digest),
    /// All: by caller, profile and time alone the index is the log itself.
    Log,
}

const OF_REGISTRATION: &str = "SELECT log_index FROM serial INDEXED BY serial_instance \
                               WHERE instance = ?2 AND log_index < ?1 ORDER BY log_index DESC";

const OF_LOG: &str = "SELECT log_index FROM entry WHERE log_index < ?1 ORDER BY log_index DESC";

impl Along {
    fn of(filter: &CertificateFilter) -> Self {
        if let Some(registration) = filter.registration {
            return Self::Registration(registration);
        }
        let serial = filter.serial.as_deref().map(Digest::of_serial);
        let key = || filter.spki.map(Digest::of_key);
        let name = || (!filter.name.is_empty()).then(|| Digest::of_name(&filter.name));
        serial.or_else(key).or_else(name).map_or(Self::Log, Self::Digest)
    }

    /// Shows those before an index, until enough was seen. Gives before which to go on where it was looked for long enough.
    fn each(
        &self,
        connection: &Connection,
        before: i64,
        mut see: impl FnMut(i64) -> rusqlite::Result<ControlFlow<()>>,
    ) -> rusqlite::Result<Option<i64>> {
        let (sql, registration) = match self {
            Self::Digest(digest) => return found::each(connection, *digest, before, see),
            Self::Registration(registration) => (OF_REGISTRATION, Some(signed(*registration))),
            Self::Log => (OF_LOG, None),
        };
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter([Some(before), registration].into_iter().flatten()))?;
        while let Some(row) = rows.next()? {
            if see(row.get(0)?)?.is_break() {
                break;
            }
        }
        Ok(None)
    }
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
        let by_registration = "SEARCH serial USING COVERING INDEX serial_instance (instance=? AND log_index<?)";
        assert_eq!(plan(&connection, OF_REGISTRATION, 2), [by_registration]);
        assert_eq!(plan(&connection, OF_LOG, 1), ["SEARCH entry USING INTEGER PRIMARY KEY (rowid<?)"]);
    }

    #[test]
    fn what_tells_certificates_apart_best_is_what_they_are_looked_for_by() {
        let along = |filter: CertificateFilter| match Along::of(&filter) {
            Along::Registration(registration) => format!("registration {registration}"),
            Along::Digest(digest) => format!("{digest:?}"),
            Along::Log => "log".to_owned(),
        };
        let key = SpkiDigest::from_bytes([1; 32]);
        let mut filter = CertificateFilter { caller: "c".to_owned(), ..CertificateFilter::default() };
        assert_eq!(along(filter.clone()), "log");
        filter.name = "dns:a".to_owned();
        assert_eq!(along(filter.clone()), format!("{:?}", Digest::of_name("a")));
        filter.spki = Some(key);
        assert_eq!(along(filter.clone()), format!("{:?}", Digest::of_key(key)));
        filter.serial = Some(vec![1]);
        assert_eq!(along(filter.clone()), format!("{:?}", Digest::of_serial(&[1])));
        filter.registration = Some(1);
        assert_eq!(along(filter), "registration 1");
    }
}
