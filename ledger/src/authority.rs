//! Authorities and their epochs, as the ledger keeps them.

use rusqlite::{Connection, Row};

use crate::{Answer, request::RequestRow, schema::unsigned};

/// An authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityRecord {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: AuthorityState,
    /// Label of its root's key.
    pub label: String,
    /// Its root's key, once generated.
    pub key: Option<StoredKey>,
    /// Its root certificate, once signed.
    pub root: Option<Answer>,
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
    /// Label of its key.
    pub label: String,
    /// Its key, once generated.
    pub key: Option<StoredKey>,
    /// Its intermediate CA certificate, once signed.
    pub intermediate: Option<Answer>,
    /// Its mesh CA certificate, once signed.
    pub mesh_ca: Option<Answer>,
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
        let sql = "SELECT name, state, label, reference, spki, root FROM authority WHERE ?1 IS NULL OR name = ?1 \
                   ORDER BY name";
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([name], |row| {
            Ok(Self {
                name: row.get(0)?,
                state: AuthorityState::read(row.get_ref(1)?.as_str()?)?,
                label: row.get(2)?,
                key: StoredKey::read(row, 3)?,
                root: answer(connection, row.get(5)?)?,
            })
        })?;
        rows.collect()
    }
}

impl EpochRecord {
    /// The epochs of an authority, by generation.
    pub(crate) fn read(connection: &Connection, authority: &str) -> rusqlite::Result<Vec<Self>> {
        let sql = "SELECT authority, generation, state, manifest_sha256, transition, previous, label, reference, spki, \
                   intermediate, mesh_ca FROM epoch WHERE authority = ?1 ORDER BY generation";
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([authority], |row| {
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
            })
        })?;
        rows.collect()
    }
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
            _ => Err(rusqlite::Error::InvalidColumnName("epoch.state".to_owned())),
        }
    }
}

fn answer(connection: &Connection, log_index: Option<i64>) -> rusqlite::Result<Option<Answer>> {
    let Some(log_index) = log_index else { return Ok(None) };
    Ok(RequestRow::at(connection, unsigned(log_index))?.and_then(RequestRow::answer))
}
