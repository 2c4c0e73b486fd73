//! Rows of committed requests.

use hallmark_policy::{
    EpochId, RequestIdentity, Stage,
    key::{SignatureAlgorithm, SpkiDigest},
    time::UnixTime,
};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params, types::Type};

use crate::{
    Answer, Found, UnixMillis,
    schema::{signed, unsigned},
};

/// A committed request.
#[derive(Debug)]
pub(crate) struct RequestRow {
    pub(crate) log_index: u64,
    /// When it was asked: committed, or bound to the decision of another.
    pub(crate) at: UnixMillis,
    pub(crate) authority: String,
    pub(crate) caller: String,
    pub(crate) id: String,
    pub(crate) content: [u8; 32],
    pub(crate) stage: Stage,
    pub(crate) issuer: SpkiDigest,
    pub(crate) serial: Vec<u8>,
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) not_after: UnixTime,
    pub(crate) void: bool,
    pub(crate) signature: Option<Vec<u8>>,
    pub(crate) to_be_signed: Vec<u8>,
}

/// The query of all columns that [`RequestRow::read`] reads, under a condition.
macro_rules! select_where {
    ($condition:literal) => {
        concat!(
            "SELECT r.log_index, r.content, r.stage, r.generation, r.transition, i.spki_sha256, r.serial, r.algorithm, ",
            "r.not_after, r.void, r.signature, r.tbs, r.authority, r.caller, r.id, r.at FROM request r JOIN issuer i ON i.id = r.issuer WHERE ",
            $condition
        )
    };
}

impl RequestRow {
    /// The request of that name, whatever its content; or the one whose certificate answers it, too.
    pub(crate) fn find(connection: &Connection, request: &RequestIdentity) -> rusqlite::Result<Option<Self>> {
        let RequestIdentity { authority, caller, id, content_sha256: _ } = request;
        let mut statement = connection.prepare_cached(Self::NAMED)?;
        let read = |row: &Row<'_>| Ok((unsigned(row.get(0)?), row.get(1)?, UnixMillis(row.get(2)?)));
        let named = statement.query_row(params![authority, caller, id], read).optional()?;
        // Most requests are new, and have cost one look by now. Where a sweep comes between the two outside a batch, this one is new as well.
        let Some((log_index, content, at)) = named else { return Ok(None) };
        Ok(Self::at(connection, log_index)?.map(|row| Self { content, at, ..row }))
    }

    /// The decision that answers a request, with the request's own content and when it was asked.
    const NAMED: &str = "SELECT log_index, content, at FROM request WHERE authority = ?1 AND caller = ?2 AND id = ?3 \
                         UNION ALL \
                         SELECT log_index, content, at FROM same_request WHERE authority = ?1 AND caller = ?2 AND id = ?3";

    /// Binds an id to the decision of another request, whose certificate answers it, too.
    pub(crate) fn bind(
        connection: &Connection,
        request: &RequestIdentity,
        log_index: u64,
        at: UnixMillis,
    ) -> rusqlite::Result<()> {
        let sql =
            "INSERT INTO same_request (authority, caller, id, content, log_index, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let RequestIdentity { authority, caller, id, content_sha256 } = request;
        let values = params![authority, caller, id, content_sha256, signed(log_index), at.0];
        connection.prepare_cached(sql)?.execute(values).map(drop)
    }

    /// The name of the request, with its own content.
    pub(crate) fn identity(&self) -> RequestIdentity {
        let Self { authority, caller, id, content, .. } = self;
        RequestIdentity {
            authority: authority.clone(),
            caller: caller.clone(),
            id: id.clone(),
            content_sha256: *content,
        }
    }

    /// The request whose decision stands at that index.
    pub(crate) fn at(connection: &Connection, log_index: u64) -> rusqlite::Result<Option<Self>> {
        let sql = select_where!("r.log_index = ?1");
        connection.prepare_cached(sql)?.query_row([signed(log_index)], Self::read).optional()
    }

    /// The answer, if it is signed.
    pub(crate) fn answer(self) -> Option<Answer> {
        Some(Answer {
            signature: self.signature?,
            to_be_signed: self.to_be_signed,
            algorithm: self.algorithm,
            issuer: self.issuer,
            serial: self.serial,
            log_index: self.log_index,
            epoch: self.stage.epoch(),
        })
    }

    /// What that means for a request with this content.
    pub(crate) fn found(self, content_sha256: &[u8; 32]) -> Found {
        if self.content != *content_sha256 {
            return Found::OtherContent;
        }
        if self.void {
            return Found::Void;
        }
        self.answer().map_or(Found::Unsigned, Found::Answered)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let epoch = match (row.get::<_, Option<i64>>(3)?, row.get::<_, Option<[u8; 32]>>(4)?) {
            (Some(generation), Some(transition)) => Some(EpochId { generation: unsigned(generation), transition }),
            (Some(_) | None, _) => None,
        };
        let stage = match (row.get_ref(2)?.as_str()?, epoch) {
            ("root", None) => Stage::Root,
            ("intermediate", Some(epoch)) => Stage::Intermediate { epoch },
            ("mesh-ca", Some(epoch)) => Stage::MeshCa { epoch },
            ("leaf", Some(epoch)) => Stage::Leaf { epoch },
            ("crl", epoch) => Stage::Crl { epoch },
            ("request", Some(epoch)) => Stage::Request { epoch },
            ("offline-intermediate", Some(epoch)) => Stage::OfflineIntermediate { epoch },
            ("cross-certificate", None) => Stage::Cross,
            ("possession", None) => Stage::Possession,
            _ => return Err(unknown(2, "stage")),
        };
        Ok(Self {
            log_index: unsigned(row.get(0)?),
            at: UnixMillis(row.get(15)?),
            authority: row.get(12)?,
            caller: row.get(13)?,
            id: row.get(14)?,
            content: row.get(1)?,
            stage,
            issuer: SpkiDigest::from_bytes(row.get(5)?),
            serial: row.get(6)?,
            algorithm: SignatureAlgorithm::from_name(row.get_ref(7)?.as_str()?)
                .ok_or_else(|| unknown(7, "algorithm"))?,
            not_after: UnixTime::from_secs(row.get(8)?),
            void: row.get(9)?,
            signature: row.get(10)?,
            to_be_signed: row.get(11)?,
        })
    }
}

/// The column of a CA certificate's own place among authorities and epochs; none for all else.
pub(crate) fn set_place(
    connection: &Connection,
    authority: &str,
    stage: Stage,
    log_index: u64,
) -> rusqlite::Result<()> {
    let (sql, generation) = match stage {
        Stage::Root => ("UPDATE authority SET root = ?1 WHERE name = ?2", None),
        Stage::Intermediate { epoch } => {
            ("UPDATE epoch SET intermediate = ?1 WHERE authority = ?2 AND generation = ?3", Some(epoch.generation))
        }
        Stage::MeshCa { epoch } => {
            ("UPDATE epoch SET mesh_ca = ?1 WHERE authority = ?2 AND generation = ?3", Some(epoch.generation))
        }
        Stage::Leaf { .. }
        | Stage::Crl { .. }
        | Stage::Request { .. }
        | Stage::OfflineIntermediate { .. }
        | Stage::Cross
        | Stage::Possession => return Ok(()),
    };
    let (index, generation) = (signed(log_index), generation.map(signed));
    let mut values: Vec<&dyn ToSql> = vec![&index, &authority];
    values.extend(generation.as_ref().map(|generation| generation as &dyn ToSql));
    connection.execute(sql, values.as_slice())?;
    Ok(())
}

fn unknown(column: usize, name: &str) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, name.to_owned(), Type::Text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{self, plan};

    #[test]
    fn a_request_is_looked_for_along_two_indexes() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        let steps = plan(&connection, RequestRow::NAMED, 3);
        let searches: Vec<_> = steps.iter().filter(|step| step.starts_with("SEARCH")).map(String::as_str).collect();
        let along = "(authority=? AND caller=? AND id=?)";
        let wanted = ["request USING INDEX request_identity", "same_request USING PRIMARY KEY"];
        assert_eq!(searches, wanted.map(|table| format!("SEARCH {table} {along}")), "{steps:?}");
    }
}
