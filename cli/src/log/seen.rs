//! One entry, looked at apart from all others: on any thread.

use hallmark_entry::{
    Value,
    privacy::{COMMITMENT, Opening},
    schema::{self, Fit, Misfit},
    sha256,
};

use super::{names::Statement, show};

/// The operator's word that the clock is right, as the command of an `operator-command` entry.
const ACCEPT_CLOCK: &str = "accept-clock";

/// The stage of leaves, and the outcome after which something that was committed is signed.
const LEAF: &str = "leaf";
const SIGNING_AGAIN: &str = "signing-again";

/// The commands after which an authority issues no leaf, and after which it does again.
const FREEZE: &str = "freeze-authority";
const THAW: &str = "thaw-authority";

/// The type that brings a policy into force.
const POLICY_LOADED: &str = "policy-loaded";

/// The types that say something of the log itself.
const SELF_KINDS: [&str; 2] = ["log-key", "origin"];

/// What was seen of an entry.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Its type, as far as it reads.
    pub(crate) kind: Kind,
    /// Its time in milliseconds since 1970; none if it does not read.
    pub(crate) time: Option<i64>,
    /// What it does.
    pub(crate) what: What,
    /// What does not fit the contract.
    pub(crate) misfit: Option<Box<Misfit>>,
    /// Private values, and those of them that are opened.
    pub(crate) private: u32,
    pub(crate) opened: u32,
    /// What it says of the log itself.
    pub(crate) statement: Option<Box<Statement>>,
    /// SHA-256 of the policy that it brings into force.
    pub(crate) policy: Option<[u8; 32]>,
}

/// A type of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One that this program knows.
    Known(&'static str),
    /// A type that is not known here.
    Unknown(String),
    /// A type of another version of the format.
    OtherVersion(String),
    /// Not an entry.
    None,
}

/// What an entry does, as far as the order of entries has a say in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A certificate may be signed.
    Issued(Issued),
    /// Something may be signed, and it does not say enough.
    Incomplete,
    /// A CRL may be signed.
    Crl(Crl),
    /// A certificate is revoked.
    Revoked {
        /// SHA-256 of its issuer's SPKI.
        issuer: [u8; 32],
        /// 128 bits that stand for issuer and serial.
        serial: u128,
        /// Number of the partition that it is in; 0 for none.
        partition: u64,
    },
    /// Nothing may be signed.
    Refused,
    /// It would be issued.
    Validated,
    /// An operator confirmed the clock: time runs from here.
    ClockAccepted,
    /// A leaf of this authority that was committed before may be signed again.
    LeafAgain(AuthorityMark),
    /// An operator froze this authority: it issues no leaf from here on.
    Frozen(AuthorityMark),
    /// An operator thawed it.
    Thawed(AuthorityMark),
    /// The daemon came or went.
    Start,
    Stop,
    Other,
}

/// A certificate that may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Issued {
    /// SHA-256 of its issuer's SPKI.
    pub(crate) issuer: [u8; 32],
    /// Its number among those of its issuer.
    pub(crate) sequence: u64,
    /// 128 bits that stand for issuer and serial.
    pub(crate) serial: u128,
    /// Whose it is, if it is a leaf.
    pub(crate) leaf_of: Option<AuthorityMark>,
}

/// 64 bits of a digest, which stand for an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AuthorityMark(u64);

impl AuthorityMark {
    fn of(name: &str) -> Self {
        let [first @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            sha256(name.as_bytes());
        Self(u64::from_be_bytes(first))
    }
}

/// A CRL that may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crl {
    /// SHA-256 of its issuer's SPKI.
    pub(crate) issuer: [u8; 32],
    /// Its number.
    pub(crate) number: u64,
    /// Number of the one before, where it does not follow it: it is said that there are CRLs between the two that the log has lost.
    pub(crate) number_after: Option<u64>,
    /// Number of the partition that it is about; 0 for all certificates.
    pub(crate) partition: u64,
    /// How many certificates it lists.
    pub(crate) entries: u64,
    /// The newest revocation that it takes into account.
    pub(crate) newest_revocation: Option<u64>,
}

/// Looks at an entry.
pub(crate) fn look(_: u64, bytes: &[u8], openings: &[Opening]) -> Seen {
    let none = |misfit| Seen {
        kind: Kind::None,
        time: None,
        what: What::Other,
        misfit: Some(Box::new(misfit)),
        private: 0,
        opened: 0,
        statement: None,
        policy: None,
    };
    let Some(entry) = Value::read(bytes) else { return none(Misfit::NotCanonical) };
    let fit = schema::check(&entry);
    let name = entry.member("type").and_then(Value::text).unwrap_or_default();
    let (kind, misfit) = match fit {
        Ok(Fit::Known(kind)) => (Kind::Known(kind.name), None),
        Ok(Fit::UnknownKind) => (Kind::Unknown(show::cut(name)), None),
        Ok(Fit::OtherVersion) => (Kind::OtherVersion(show::cut(name)), None),
        Err(Misfit::NotCanonical) => return none(Misfit::NotCanonical),
        Err(misfit) => (schema::kind(name).map_or(Kind::None, |kind| Kind::Known(kind.name)), Some(Box::new(misfit))),
    };
    let what = if matches!(kind, Kind::Known(_)) && misfit.is_none() { what(&entry) } else { What::Other };
    let says = |name: &str| SELF_KINDS.contains(&name) && misfit.is_none();
    let statement = matches!(kind, Kind::Known(name) if says(name)).then(|| Box::new(Statement::read(bytes)));
    let opened = u32::try_from(openings.len()).unwrap_or(u32::MAX);
    let time = entry.member("time").and_then(Value::integer);
    let policy = matches!(kind, Kind::Known(POLICY_LOADED)).then(|| policy(&entry)).flatten();
    Seen { kind, time, what, misfit, private: private(&entry), opened, statement, policy }
}

/// SHA-256 of the policy that a `policy-loaded` entry brings into force.
fn policy(entry: &Value<'_>) -> Option<[u8; 32]> {
    crate::hex::digest(entry.member("policy-sha256").and_then(Value::text)?).ok()
}

fn what(entry: &Value<'_>) -> What {
    let text = |key| entry.member(key).and_then(Value::text);
    let authority = || text("authority").map(AuthorityMark::of);
    match (text("type"), text("decision")) {
        (Some("decision"), Some("issued")) => match text("stage") {
            Some("crl") => crl(entry).map_or(What::Incomplete, What::Crl),
            // It is signed by the key that it is about, and numbered by nobody.
            Some("request" | "possession") => What::Other,
            Some(_) | None => issued(entry).map_or(What::Incomplete, What::Issued),
        },
        (Some("revocation"), _) => revoked(entry).unwrap_or(What::Incomplete),
        (Some("decision"), Some("refused")) => What::Refused,
        (Some("decision"), Some("validated")) => What::Validated,
        (Some("start"), _) => What::Start,
        // A start says which keys came and went before it signs anything with them, the start itself too.
        (Some("log-key"), _) if text("by") == Some("start") => What::Start,
        // A log is closed while no signer runs, also after one that was killed.
        (Some("origin"), _) if text("action") == Some("closed") => What::Start,
        (Some("stop"), _) => What::Stop,
        (Some("operator-command"), _) if text("command") == Some(ACCEPT_CLOCK) => What::ClockAccepted,
        (Some("outcome"), _) if text("result") == Some(SIGNING_AGAIN) && text("stage") == Some(LEAF) => {
            authority().map_or(What::Incomplete, What::LeafAgain)
        }
        (Some("operator-command"), _) => match text("command") {
            Some(FREEZE) => authority().map_or(What::Other, What::Frozen),
            Some(THAW) => authority().map_or(What::Other, What::Thawed),
            Some(_) | None => What::Other,
        },
        (_, _) => What::Other,
    }
}

fn issued(entry: &Value<'_>) -> Option<Issued> {
    let issuer = entry.member("issuer")?;
    let name = issuer.member("spki-sha256").and_then(Value::text)?;
    let sequence = issuer.member("sequence").and_then(Value::integer)?;
    let serial = entry.member("serial").and_then(Value::text)?;
    let is_leaf = entry.member("stage").and_then(Value::text) == Some(LEAF);
    let authority = entry.member("authority").and_then(Value::text).filter(|_| is_leaf);
    Some(Issued {
        issuer: crate::hex::digest(name).ok()?,
        sequence: u64::try_from(sequence).ok()?,
        serial: serial_mark(name, serial),
        leaf_of: authority.map(AuthorityMark::of),
    })
}

fn crl(entry: &Value<'_>) -> Option<Crl> {
    let count = |key| entry.member(key).and_then(Value::integer).and_then(|count| u64::try_from(count).ok());
    let name = entry.member("issuer")?.member("spki-sha256").and_then(Value::text)?;
    Some(Crl {
        issuer: crate::hex::digest(name).ok()?,
        number: count("crl-number")?,
        number_after: count("crl-number-after"),
        partition: count("crl-partition").unwrap_or(0),
        entries: count("entries")?,
        newest_revocation: count("newest-revocation"),
    })
}

fn revoked(entry: &Value<'_>) -> Option<What> {
    let name = entry.member("issuer")?.member("spki-sha256").and_then(Value::text)?;
    let serial = entry.member("serial").and_then(Value::text)?;
    let partition = entry.member("crl-partition").and_then(Value::integer).unwrap_or(0);
    let partition = u64::try_from(partition).ok()?;
    Some(What::Revoked { issuer: crate::hex::digest(name).ok()?, serial: serial_mark(name, serial), partition })
}

/// 128 bits of a digest over issuer and serial, both in hexadecimal.
fn serial_mark(issuer: &str, serial: &str) -> u128 {
    let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, half @ ..] = sha256(format!("{issuer} {serial}").as_bytes());
    u128::from_be_bytes(half)
}

fn private(entry: &Value<'_>) -> u32 {
    let Value::Object(members) = entry else { return 0 };
    let count = members.iter().filter(|(_, value)| value.member(COMMITMENT).is_some()).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}
