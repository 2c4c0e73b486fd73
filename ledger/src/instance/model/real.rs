//! The ledger's side of a history, in memory: what `Batch::issue` does about a record.

use hallmark_entry::privacy::Private;
use hallmark_policy::{
    Conditions, EpochId, Facts, Numbering, RequestIdentity, Stage,
    content::Serial,
    crl::CrlScope,
    instance::{Asked, InstanceMove},
    limits::Limits,
    profile::PolicyDigest,
    time::UnixTime,
};
use hallmark_tlog::frontier::Frontier;
use rusqlite::{Connection, params};

use super::{
    super::{Consequence, Held, Verdict, forget_asked, group, judge, registration, stopped},
    AUTHORITY, ISSUER, LIFETIME_SECS,
    reference::Outcome,
};
use crate::{UnixMillis, batch::Batch, schema};

/// The ledger's side.
pub(super) struct Real {
    pub(super) connection: Connection,
    private: Private,
    pub(super) frontier: Frontier,
    requests: u64,
}

impl Real {
    pub(super) fn new() -> Self {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        connection
            .execute("INSERT INTO authority (name, state, label, owners) VALUES ('a', 'ready', 'l', x'')", [])
            .unwrap();
        let sql = "INSERT INTO epoch (authority, generation, state, manifest_sha256, transition, previous, lifetime, \
                   revoke_previous, label, intent_at, spki_sha256) \
                   VALUES ('a', 1, 'active', x'', x'', x'', 0, 0, 'l', 0, ?1)";
        connection.execute(sql, [ISSUER.as_bytes()]).unwrap();
        Self { connection, private: Private::default(), frontier: Frontier::empty(), requests: 0 }
    }

    pub(super) fn batch<T>(&mut self, work: impl FnOnce(&mut Batch<'_>) -> T) -> T {
        let mut batch = Batch::new(&self.connection, &self.private, &self.frontier, None);
        let value = work(&mut batch);
        batch.finish(0).unwrap();
        self.frontier = batch.frontier;
        value
    }

    /// What `Batch::issue` does about a record, and what it writes around that.
    pub(super) fn wish(&mut self, moved: &InstanceMove, serial: Serial, now: i64) -> Outcome {
        let at = UnixMillis(now * 1_000);
        self.requests += 1;
        let id = format!("r-{}", self.requests);
        let conditions = conditions(moved.clone(), serial, &id, now);
        let facts = Facts { authority: AUTHORITY.to_owned(), ..Facts::default() };
        self.batch(|batch| {
            let verdict = judge(batch.connection, AUTHORITY, moved, at).unwrap();
            if let Verdict::Same { log_index } = verdict {
                forget_asked(batch.connection, log_index).unwrap();
                return Outcome::Same(usize::try_from(number(batch.connection, log_index)).unwrap());
            }
            let change = match verdict {
                Verdict::Refuse(reason, consequence) if consequence != Consequence::Nothing => {
                    let stops =
                        stopped(batch.connection, AUTHORITY).unwrap().is_some() || consequence == Consequence::Stop;
                    batch.follow(consequence, moved, &facts, &reason.sentence, 0, at).unwrap();
                    assert_eq!(stopped(batch.connection, AUTHORITY).unwrap().is_some(), stops);
                    return Outcome::Refused(reason.code.as_str());
                }
                Verdict::Move(change) => match stopped(batch.connection, AUTHORITY).unwrap() {
                    Some(reason) => return Outcome::Refused(reason.code.as_str()),
                    None => change,
                },
                Verdict::Refuse(reason, _) => return Outcome::Refused(reason.code.as_str()),
                Verdict::Same { .. } => unreachable!(),
            };
            let issuer = batch.issuer(ISSUER).unwrap().id;
            let registration = registration(Some(&change), batch.next_index());
            let sql = "INSERT INTO serial (issuer, serial, not_after, log_index, instance, spki_sha256, same_as, asked) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let index = schema::signed(batch.next_index());
            let end = conditions.not_after.secs();
            let group = group(Some(&change));
            let asked = moved.asked.map(Asked::to_number);
            let values =
                params![issuer, serial.as_bytes(), end, index, registration, moved.key.as_bytes(), group, asked];
            batch.connection.execute(sql, values).unwrap();
            let logged = batch.append(b"{}".to_vec(), at).unwrap();
            let sql = "INSERT INTO request (log_index, at, authority, caller, id, content, stage, issuer, serial, \
                       algorithm, not_after, tbs, wish) \
                       VALUES (?1, ?2, 'a', 'c', ?3, x'00', 'leaf', ?4, ?5, 'ed25519', ?6, x'00', ?7)";
            let values = params![index, at.0, id, issuer, serial.as_bytes(), end, moved.wish_sha256];
            batch.connection.execute(sql, values).unwrap();
            let serial = serial.as_bytes().to_vec();
            let held = Held { issuer, serial, spki: *moved.key.as_bytes(), log_index: logged.index };
            batch.move_record(&conditions, moved, &change, &held, at).unwrap();
            Outcome::Issued(change.name())
        })
    }
}

/// Serial numbers count certificates.
fn number(connection: &Connection, log_index: u64) -> u64 {
    let sql = "SELECT serial FROM request WHERE log_index = ?1";
    let serial: Vec<u8> = connection.query_row(sql, [schema::signed(log_index)], |row| row.get(0)).unwrap();
    u64::from_be_bytes(serial[9..].try_into().unwrap())
}

fn conditions(moved: InstanceMove, serial: Serial, id: &str, now: i64) -> Conditions {
    Conditions {
        authority: AUTHORITY.to_owned(),
        policy: PolicyDigest::from_bytes([0; 32]),
        stage: Stage::Leaf { epoch: EpochId { generation: 1, transition: [0; 32] } },
        request: RequestIdentity {
            authority: AUTHORITY.to_owned(),
            caller: "c".to_owned(),
            id: id.to_owned(),
            content_sha256: [0; 32],
        },
        issuer: ISSUER,
        numbering: Numbering::Serial { serial, scope: CrlScope::Complete },
        not_after: UnixTime::from_secs(now + LIFETIME_SECS),
        limits: Limits::default(),
        validate_only: false,
        claims: Vec::new(),
        instance: Some(moved),
    }
}
