//! Authorities and their epochs, as the ledger keeps them.

use hallmark_policy::key::SpkiDigest;
use rusqlite::{Connection, OptionalExtension as _, Row, params, types::Value};

use crate::{
    Answer, UnixMillis,
    request::RequestRow,
    schema::{signed, unsigned},
    step::OFFLINE,
};

/// An authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityRecord {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: AuthorityState,
    /// Label of its root's key.
    pub label: String,
    /// Whose signature its first manifest needs.
    pub owners: Vec<SpkiDigest>,
    /// Its root's key, once generated.
    pub key: Option<StoredKey>,
    /// Its root certificate, once signed.
    pub root: Option<Answer>,
    /// Index of the entry by which it began.
    pub intent_index: Option<u64>,
}

impl AuthorityRecord {
    /// Whether its root's key is elsewhere.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.key.as_ref().is_some_and(|key| key.reference == OFFLINE)
    }
}

/// How far an authority is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthorityState {
    /// A root is wanted.
    Intent,
    /// Its key is generated.
    Keyed,
    /// Its root certificate is made.
    Ready,
}

/// An epoch of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    /// The authority.
    pub authority: String,
    /// Generation, from 1.
    pub generation: u64,
    /// How far it is.
    pub state: EpochState,
    /// SHA-256 of its manifest or statement.
    pub manifest_sha256: [u8; 32],
    /// Transition digest.
    pub transition: [u8; 32],
    /// Transition before it.
    pub previous: [u8; 32],
    /// Lifetime of its CA certificates in seconds; 0: the policy's.
    pub lifetime_secs: u64,
    /// Whether the intermediate that it replaces goes on the root's CRL.
    pub revoke_previous: bool,
    /// Label of its key.
    pub label: String,
    /// Its key, once generated.
    pub key: Option<StoredKey>,
    /// Its intermediate CA certificate, once signed.
    pub intermediate: Option<Answer>,
    /// Its mesh CA certificate, once signed.
    pub mesh_ca: Option<Answer>,
    /// When it became wanted.
    pub intent_at: UnixMillis,
    /// Index of the entry by which it became wanted.
    pub intent_index: Option<u64>,
    /// Index of the entry from which on it was active, once it was.
    pub active_index: Option<u64>,
    /// Index of the entry by which it was given up, if it was.
    pub aborted_index: Option<u64>,
    /// When it became active, once it was.
    pub active_at: Option<UnixMillis>,
    /// When another took its place.
    pub retired_at: Option<UnixMillis>,
    /// When its key was destroyed.
    pub destroyed_at: Option<UnixMillis>,
}

/// Who fetched an epoch's chain, and when first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The caller's name in the policy.
    pub caller: String,
    /// When first.
    pub at: UnixMillis,
}

/// How far an epoch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EpochState {
    /// It is wanted.
    Intent,
    /// Its key is generated.
    Keyed,
    /// Its CA certificates are made.
    Prepared,
    /// It signs leaves.
    Active,
    /// Another took its place.
    Retired,
    /// Its key is destroyed.
    Destroyed,
    /// It was given up before it was active.
    Aborted,
}

impl EpochState {
    /// Whether it is wanted, and not active yet.
    #[must_use]
    pub fn is_in_the_making(self) -> bool {
        self < Self::Active
    }

    /// Its name in the database and for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Keyed => "keyed",
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Destroyed => "destroyed",
            Self::Aborted => "aborted",
        }
    }
}

/// Which epochs of an authority are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epochs {
    /// The active one.
    Active,
    /// The one in the making.
    Making,
    /// That generation.
    Generation(u64),
    /// The one that came by this transition; not an aborted one.
    Transition([u8; 32]),
    /// The one that follows this transition; not an aborted one.
    After([u8; 32]),
    /// The one with this key.
    Key(SpkiDigest),
    /// Those whose key may still be in its backend although they are not active: retired and aborted ones.
    Leftover,
    /// Those below a generation, newest first, so many at most.
    Before {
        /// The generation.
        generation: u64,
        /// How many.
        most: u32,
    },
}

/// Where a key is, and which it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// What the backend calls it.
    pub reference: String,
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
}

impl AuthorityRecord {
    /// All authorities, by name; or the one of that name.
    pub(crate) fn read(connection: &Connection, name: Option<&str>) -> rusqlite::Result<Vec<Self>> {
        let sql = "SELECT name, state, label, reference, spki, root, owners, intent_index FROM authority WHERE ?1 IS NULL OR name = ?1 \
                   ORDER BY name";
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([name], |row| {
            Ok(Self {
                name: row.get(0)?,
                state: AuthorityState::read(row.get_ref(1)?.as_str()?)?,
                label: row.get(2)?,
                owners: owners(row.get_ref(6)?.as_blob()?),
                key: StoredKey::read(row, 3)?,
                root: answer(connection, row.get(5)?)?,
                intent_index: row.get::<_, Option<i64>>(7)?.map(unsigned),
            })
        })?;
        rows.collect()
    }
}

impl EpochRecord {
    /// Epochs of an authority, newest first.
    pub(crate) fn read(connection: &Connection, authority: &str, which: Epochs) -> rusqlite::Result<Vec<Self>> {
        let (condition, value, most) = match which {
            Epochs::Active => ("state = 'active' AND ?2 IS NULL", Value::Null, 1),
            Epochs::Making => ("state IN ('intent', 'keyed', 'prepared') AND ?2 IS NULL", Value::Null, 1),
            Epochs::Generation(generation) => ("generation = ?2", Value::Integer(signed(generation)), 1),
            Epochs::Transition(transition) => {
                ("transition = ?2 AND state <> 'aborted'", Value::Blob(transition.to_vec()), 1)
            }
            Epochs::After(transition) => ("previous = ?2 AND state <> 'aborted'", Value::Blob(transition.to_vec()), 1),
            Epochs::Key(key) => ("spki_sha256 = ?2", Value::Blob(key.as_bytes().to_vec()), 1),
            Epochs::Leftover => {
                ("state IN ('retired', 'aborted') AND destroyed_at IS NULL AND ?2 IS NULL", Value::Null, u32::MAX)
            }
            Epochs::Before { generation, most } => ("generation < ?2", Value::Integer(signed(generation)), most),
        };
        let sql = format!(
            "SELECT authority, generation, state, manifest_sha256, transition, previous, label, reference, spki, \
             intermediate, mesh_ca, lifetime, revoke_previous, intent_at, active_index, active_at, retired_at, \
             destroyed_at, intent_index, aborted_index FROM epoch WHERE authority = ?1 AND {condition} ORDER BY generation DESC LIMIT ?3"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params![authority, value, most], |row| {
            let moment = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(UnixMillis));
            Ok(Self {
                authority: row.get(0)?,
                generation: unsigned(row.get(1)?),
                state: EpochState::read(row.get_ref(2)?.as_str()?)?,
                manifest_sha256: row.get(3)?,
                transition: row.get(4)?,
                previous: row.get(5)?,
                label: row.get(6)?,
                key: StoredKey::read(row, 7)?,
                intermediate: answer(connection, row.get(9)?)?,
                mesh_ca: answer(connection, row.get(10)?)?,
                lifetime_secs: unsigned(row.get(11)?),
                revoke_previous: row.get(12)?,
                intent_at: UnixMillis(row.get(13)?),
                intent_index: row.get::<_, Option<i64>>(18)?.map(unsigned),
                active_index: row.get::<_, Option<i64>>(14)?.map(unsigned),
                aborted_index: row.get::<_, Option<i64>>(19)?.map(unsigned),
                active_at: moment(15)?,
                retired_at: moment(16)?,
                destroyed_at: moment(17)?,
            })
        })?;
        rows.collect()
    }
}

/// Who fetched an epoch's chain, by name, so many at most.
pub(crate) fn fetches(
    connection: &Connection,
    authority: &str,
    generation: u64,
    most: u32,
) -> rusqlite::Result<Vec<Fetch>> {
    let sql = "SELECT caller, at FROM epoch_fetch WHERE authority = ?1 AND generation = ?2 ORDER BY caller LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let values = params![authority, signed(generation), most];
    let rows = statement.query_map(values, |row| Ok(Fetch { caller: row.get(0)?, at: UnixMillis(row.get(1)?) }))?;
    rows.collect()
}

/// Remembers that a caller fetched an epoch's chain.
pub(crate) fn keep_fetch(
    connection: &Connection,
    authority: &str,
    generation: u64,
    caller: &str,
    at: UnixMillis,
) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO epoch_fetch (authority, generation, caller, at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    connection.prepare_cached(sql)?.execute(params![authority, signed(generation), caller, at.0])?;
    Ok(())
}

/// The bytes of that SHA-256, if they are kept.
pub(crate) fn blob(connection: &Connection, sha256: &[u8; 32]) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT bytes FROM blob WHERE sha256 = ?1";
    connection.prepare_cached(sql)?.query_row([sha256], |row| row.get(0)).optional()
}

/// A CA's key: the authority, `root` or `epoch`, and the SubjectPublicKeyInfo as DER.
pub type CaKey = (String, &'static str, Vec<u8>);

/// The keys of all authorities and epochs.
pub(crate) fn ca_keys(connection: &Connection) -> rusqlite::Result<Vec<CaKey>> {
    let sql = "SELECT name, 0, 0 AS generation, spki FROM authority WHERE spki IS NOT NULL UNION ALL \
               SELECT authority, 1, generation, spki FROM epoch WHERE spki IS NOT NULL ORDER BY 1, 2, 3";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let what = if row.get(1)? { "epoch" } else { "root" };
        Ok((row.get(0)?, what, row.get(3)?))
    })?;
    rows.collect()
}

impl StoredKey {
    /// Reference and SPKI stand in two columns, the first of which is `column`.
    fn read(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Self>> {
        let reference: Option<String> = row.get(column)?;
        let spki: Option<Vec<u8>> = row.get(column + 1)?;
        Ok(reference.zip(spki).map(|(reference, spki)| Self { reference, spki }))
    }
}

impl AuthorityState {
    fn read(word: &str) -> rusqlite::Result<Self> {
        match word {
            "intent" => Ok(Self::Intent),
            "keyed" => Ok(Self::Keyed),
            "ready" => Ok(Self::Ready),
            _ => Err(rusqlite::Error::InvalidColumnName("authority.state".to_owned())),
        }
    }
}

impl EpochState {
    fn read(word: &str) -> rusqlite::Result<Self> {
        match word {
            "intent" => Ok(Self::Intent),
            "keyed" => Ok(Self::Keyed),
            "prepared" => Ok(Self::Prepared),
            "active" => Ok(Self::Active),
            "retired" => Ok(Self::Retired),
            "destroyed" => Ok(Self::Destroyed),
            "aborted" => Ok(Self::Aborted),
            _ => Err(rusqlite::Error::InvalidColumnName("epoch.state".to_owned())),
        }
    }
}

fn owners(digests: &[u8]) -> Vec<SpkiDigest> {
    digests.as_chunks().0.iter().map(|digest| SpkiDigest::from_bytes(*digest)).collect()
}

fn answer(connection: &Connection, log_index: Option<i64>) -> rusqlite::Result<Option<Answer>> {
    let Some(log_index) = log_index else { return Ok(None) };
    Ok(RequestRow::at(connection, unsigned(log_index))?.and_then(RequestRow::answer))
}
