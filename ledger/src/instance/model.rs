//! The serial rule against a short model of it, over random histories: registrations, refreshes with whatever certificate ever existed,
//! retries, thieves, forgotten and void answers, operators, time, and databases that are restored.
//!
//! `HALLMARK_SEQUENCES=10000` runs so many histories; a few hundred run by themselves.

mod reference;

use std::collections::BTreeSet;

use hallmark_entry::privacy::Private;
use hallmark_policy::{
    Conditions, EpochId, Facts, Numbering, RequestIdentity, Stage,
    content::Serial,
    crl::{CrlScope, RevocationReason},
    instance::{InstanceMove, InstanceName, InstanceStep, PresentedCertificate},
    key::SpkiDigest,
    limits::Limits,
    profile::PolicyDigest,
    time::UnixTime,
};
use hallmark_tlog::frontier::Frontier;
use rusqlite::{Connection, params};

use super::{Allowed, Consequence, Held, InstanceRevocation, InstanceRevoked, Verdict, judge, registration, stopped};
use crate::{Revoke, Revoked, UnixMillis, batch::Batch, schema};
use reference::{Certificate, Model, Outcome, Wish};

const SEQUENCES: u64 = 300;
const STEPS: u64 = 40;
const INSTANCES: u64 = 3;
const LIFETIME_SECS: i64 = 30 * 86_400;
const AUTHORITY: &str = "a";
const ISSUER: SpkiDigest = SpkiDigest::from_bytes([9; 32]);

/// The ledger's side.
struct Real {
    connection: Connection,
    private: Private,
    frontier: Frontier,
    requests: u64,
}

impl Real {
    fn new() -> Self {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        connection
            .execute("INSERT INTO authority (name, state, label, owners) VALUES ('a', 'ready', 'l', x'')", [])
            .unwrap();
        Self { connection, private: Private::default(), frontier: Frontier::empty(), requests: 0 }
    }

    fn batch<T>(&mut self, work: impl FnOnce(&mut Batch<'_>) -> T) -> T {
        let mut batch = Batch::new(&self.connection, &self.private, &self.frontier, None);
        let value = work(&mut batch);
        batch.finish(0).unwrap();
        self.frontier = batch.frontier;
        value
    }

    /// What `Batch::issue` does about a record, and what it writes around that.
    fn wish(&mut self, moved: &InstanceMove, serial: Serial, now: i64) -> Outcome {
        let at = UnixMillis(now * 1_000);
        self.requests += 1;
        let id = format!("r-{}", self.requests);
        let conditions = conditions(moved.clone(), serial, &id, now);
        let facts = Facts { authority: AUTHORITY.to_owned(), ..Facts::default() };
        self.batch(|batch| {
            let verdict = judge(batch.connection, AUTHORITY, moved, at).unwrap();
            if let Verdict::Same { log_index } = verdict {
                return Outcome::Same(usize::try_from(number(batch.connection, log_index)).unwrap());
            }
            let change = match verdict {
                Verdict::Refuse(reason, consequence) if consequence != Consequence::Nothing => {
                    let stops = stopped(batch.connection, AUTHORITY).unwrap().is_some()
                        || consequence == Consequence::Stop;
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
            let sql = "INSERT INTO serial (issuer, serial, not_after, log_index, instance, spki_sha256) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let index = schema::signed(batch.next_index());
            let end = conditions.not_after.secs();
            let values = params![issuer, serial.as_bytes(), end, index, registration, moved.key.as_bytes()];
            batch.connection.execute(sql, values).unwrap();
            let logged = batch.append(b"{}".to_vec(), at).unwrap();
            let sql = "INSERT INTO request (log_index, at, authority, caller, id, content, stage, issuer, serial, \
                       algorithm, not_after, tbs) VALUES (?1, ?2, 'a', 'c', ?3, x'00', 'leaf', ?4, ?5, 'ed25519', ?6, x'00')";
            let values = params![index, at.0, id, issuer, serial.as_bytes(), end];
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

/// SplitMix64: each history is its number.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

fn name(instance: u64) -> InstanceName {
    InstanceName { provider: "p".to_owned(), id: format!("i-{instance}"), service: "s".to_owned() }
}

fn command(instance: u64) -> InstanceRevocation {
    InstanceRevocation {
        authority: AUTHORITY.to_owned(),
        provider: "p".to_owned(),
        id: name(instance).id,
        reason: RevocationReason::PrivilegeWithdrawn,
        by: "operator".to_owned(),
        why: "a test".to_owned(),
    }
}

fn digest(key: u64) -> SpkiDigest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&key.to_be_bytes());
    SpkiDigest::from_bytes(bytes)
}

/// A history, and what it came to: how often each outcome was seen.
struct History {
    chance: Chance,
    real: Real,
    model: Model,
    /// What was saved of both to be restored.
    saved: Option<(Model, Frontier)>,
    world: Vec<Certificate>,
    now: i64,
    keys: u64,
    trace: Vec<String>,
}

impl History {
    fn new(number: u64) -> Self {
        Self {
            chance: Chance(number),
            real: Real::new(),
            model: Model::default(),
            saved: None,
            world: Vec::new(),
            now: 1_800_000_000,
            keys: 0,
            trace: Vec::new(),
        }
    }

    fn step(&mut self, seen: &mut BTreeSet<String>) {
        match self.chance.below(30) {
            0 => self.forget(),
            1 => self.void(),
            2 => self.now += i64::try_from(self.chance.below(20)).unwrap() * 86_400,
            3 => self.operator(seen),
            4 | 8 | 9 if self.saved.is_none() => {
                self.real.connection.execute_batch("SAVEPOINT saved").unwrap();
                self.saved = Some((self.model.clone(), self.real.frontier.clone()));
                self.trace.push("save".to_owned());
            }
            5 => {
                if let Some((model, frontier)) = self.saved.take() {
                    self.real.connection.execute_batch("ROLLBACK TO saved; RELEASE saved").unwrap();
                    (self.model, self.real.frontier) = (model, frontier);
                    self.trace.push("restore".to_owned());
                }
            }
            6 | 10..14 if self.model.stopped => {
                let at = UnixMillis(self.now * 1_000);
                let resumed =
                    self.real.batch(|batch| batch.resume_authority(AUTHORITY, "operator", "why", at).unwrap());
                assert!(resumed.is_some());
                (self.model.stopped, self.model.restored_at) = (false, Some(self.now));
                self.trace.push("resume".to_owned());
            }
            7 => self.revoke_certificate(),
            _ => self.wish(seen),
        }
        self.now += i64::try_from(self.chance.below(3)).unwrap();
    }

    /// The retention ends.
    fn forget(&mut self) {
        self.real.connection.execute("DELETE FROM request", []).unwrap();
        self.model.kept.clear();
        self.trace.push("forget".to_owned());
    }

    /// What was committed is never signed.
    fn void(&mut self) {
        let at = self.chance.below(INSTANCES) as usize;
        let Some(record) = &self.model.records[at] else { return };
        let sql = "UPDATE request SET void = 1 WHERE serial = ?1";
        self.real.connection.execute(sql, [self.world[record.current].serial.as_bytes()]).unwrap();
        self.model.kept.remove(&record.current);
        self.trace.push(format!("void {at}"));
    }

    /// An operator revokes one certificate, and not its instance.
    fn revoke_certificate(&mut self) {
        let Some(back) = (!self.world.is_empty()).then(|| self.chance.below(4) as usize) else { return };
        let index = self.world.len().saturating_sub(1 + back);
        let certificate = &self.world[index];
        let revoke = Revoke {
            authority: AUTHORITY.to_owned(),
            issuer: ISSUER,
            serial: certificate.serial,
            reason: RevocationReason::KeyCompromise,
            by: "operator".to_owned(),
        };
        let at = UnixMillis(self.now * 1_000);
        let revoked = self.real.batch(|batch| batch.revoke(&revoke, at).unwrap());
        if matches!(revoked, Revoked::Now(_)) {
            assert!(self.model.known.contains(&index) && self.model.revoked.insert(index));
        }
        self.trace.push(format!("revoke certificate {index}"));
    }

    fn operator(&mut self, seen: &mut BTreeSet<String>) {
        let instance = self.chance.below(INSTANCES);
        let at = UnixMillis(self.now * 1_000);
        let record = &mut self.model.records[instance as usize];
        if self.chance.below(2) == 0 {
            let allowed = self.real.batch(|batch| batch.allow_instance(&command(instance), at).unwrap());
            assert_eq!(matches!(allowed, Allowed::Now(_)), record.is_some());
            *record = None;
            self.trace.push(format!("allow {instance}"));
            return;
        }
        let revoked = self.real.batch(|batch| batch.revoke_instance(&command(instance), at).unwrap());
        let now = self.now;
        match (revoked, record) {
            (InstanceRevoked::Unknown(_), None) => {}
            (InstanceRevoked::Before { .. }, Some(record)) => assert!(record.revoked),
            (InstanceRevoked::Now { certificates, .. }, Some(record)) => {
                assert!(!record.revoked);
                record.revoked = true;
                let registration = record.registration;
                let world = &self.world;
                let ours = |index: &usize| {
                    world[*index].instance == instance
                        && world[*index].registration == registration
                        && world[*index].begins + LIFETIME_SECS > now
                };
                let model = &mut self.model;
                let lost: Vec<_> =
                    model.known.iter().copied().filter(ours).filter(|index| !model.revoked.contains(index)).collect();
                assert_eq!(certificates, lost.len() as u64);
                model.revoked.extend(lost);
                seen.insert("revoked by an operator".to_owned());
            }
            (revoked, record) => panic!("{revoked:?} of {record:?}"),
        }
        self.trace.push(format!("revoke {instance}"));
    }

    fn wish(&mut self, seen: &mut BTreeSet<String>) {
        let instance = self.chance.below(INSTANCES);
        let living: Vec<usize> =
            (0..self.world.len()).filter(|index| self.world[*index].begins + LIFETIME_SECS > self.now).collect();
        // Agents present their own certificate, mostly a new one.
        let own: Vec<usize> = living.iter().copied().filter(|index| self.world[*index].instance == instance).collect();
        let from = if self.chance.below(10) == 0 { &living } else { &own };
        let newest = |chance: &mut Chance| {
            let back = chance.below(3).min(chance.below(6)) as usize;
            from.iter().rev().nth(back).or_else(|| from.last()).copied()
        };
        let certificate = newest(&mut self.chance).filter(|_| self.chance.below(5) > 0);
        let wish = match certificate {
            Some(certificate) => Wish::Refresh { certificate, proven: self.chance.below(2) == 0 },
            None => Wish::Register { replace: self.chance.below(3) == 0 },
        };
        let current = self.model.records[instance as usize].as_ref().map(|record| self.world[record.current].key);
        let key = match (self.chance.below(3), current) {
            (0, Some(current)) => current,
            _ => {
                self.keys += 1;
                self.keys
            }
        };
        let mut random = [0; 16];
        random[8..].copy_from_slice(&(self.world.len() as u64).to_be_bytes());
        let serial = Serial::from_random(random);
        let step = match wish {
            Wish::Register { replace } => InstanceStep::Register { replace, alive_max: None },
            Wish::Refresh { certificate, proven } => {
                let presented = &self.world[certificate];
                InstanceStep::Refresh(PresentedCertificate {
                    issuer: ISSUER,
                    serial: presented.serial,
                    key: digest(presented.key),
                    not_before: UnixTime::from_secs(presented.begins),
                    proven,
                })
            }
        };
        let moved = InstanceMove { name: name(instance), key: digest(key), step };
        self.trace.push(format!("{wish:?} of {instance} with key {key} at {}", self.now));
        let expected = self.model.wish(instance, key, wish, &self.world, self.now);
        let found = self.real.wish(&moved, serial, self.now);
        self.trace.push(format!("  -> {found:?}"));
        // A stopped authority says so, whatever the rule would say.
        let stands = found == expected || (self.model.stopped && found == Outcome::Refused("AUTHORITY_STOPPED"));
        assert!(stands, "expected {expected:?}, found {found:?} after\n{}", self.trace.join("\n"));
        seen.insert(match found {
            Outcome::Same(_) => "same".to_owned(),
            Outcome::Issued(word) | Outcome::Refused(word) => word.to_owned(),
        });
        if let Outcome::Issued(word) = found {
            let registration = self.model.records[instance as usize].as_ref().unwrap().registration;
            assert_eq!(registration == self.world.len(), matches!(word, "registered" | "replaced"));
            self.world.push(Certificate { serial, key, begins: self.now, instance, registration });
        }
        self.compare();
    }

    /// Everything that both know is the same.
    fn compare(&self) {
        let trace = || self.trace.join("\n");
        for (instance, record) in (0..).zip(&self.model.records) {
            let found = super::Record::find(&self.real.connection, AUTHORITY, &name(instance)).unwrap();
            assert_eq!(found.is_some(), record.is_some(), "{}", trace());
            let (Some(found), Some(record)) = (found, record) else { continue };
            let serial = |index: usize| self.world[index].serial.as_bytes().to_vec();
            assert_eq!(found.current.serial, serial(record.current), "{}", trace());
            assert_eq!(found.previous.map(|held| held.serial), record.previous.map(serial), "{}", trace());
            assert_eq!((found.retried, found.revoked), (record.retried, record.revoked), "{}", trace());
        }
        let sql = "SELECT count(*) FROM revocation";
        let revoked: i64 = self.real.connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(revoked, self.model.revoked.len() as i64, "{}", trace());
    }
}

#[test]
fn the_rule_does_what_a_short_model_says_over_random_histories() {
    let sequences = std::env::var("HALLMARK_SEQUENCES").ok().map(|text| text.parse().expect("a number"));
    let mut seen = BTreeSet::new();
    for number in 0..sequences.unwrap_or(SEQUENCES) {
        let mut history = History::new(number);
        for _ in 0..STEPS {
            history.step(&mut seen);
        }
    }
    let expected = [
        "AUTHORITY_STOPPED",
        "INSTANCE_CERTIFICATE_REPLACED",
        "INSTANCE_CERTIFICATE_REVOKED",
        "INSTANCE_DIFFERS",
        "INSTANCE_EXISTS",
        "INSTANCE_RETRY_USED",
        "INSTANCE_REVOKED",
        "INSTANCE_STOLEN",
        "INSTANCE_UNKNOWN",
        "moved",
        "registered",
        "reissued",
        "replaced",
        "retried",
        "revoked by an operator",
        "same",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected, "every branch was walked");
}

#[test]
fn all_certificates_of_an_instance_are_revoked_however_many_there_are() {
    for by_hand in [true, false] {
        let mut real = Real::new();
        let serial = |number: u64| {
            let mut random = [0; 16];
            random[8..].copy_from_slice(&number.to_be_bytes());
            Serial::from_random(random)
        };
        let step = InstanceStep::Register { replace: false, alive_max: None };
        let now = 1_800_000_000;
        real.wish(&InstanceMove { name: name(0), key: digest(1), step }, serial(0), now);
        let sql = "INSERT INTO serial (issuer, serial, not_after, log_index, instance, spki_sha256) \
                   SELECT issuer, ?1, not_after, log_index, instance, spki_sha256 FROM serial LIMIT 1";
        for number in 1..2_500 {
            real.connection.execute(sql, [serial(number).as_bytes()]).unwrap();
        }
        let at = UnixMillis(now * 1_000);
        let revoked = real.batch(|batch| batch.revoke_instance(&command(0), at).unwrap());
        assert!(matches!(revoked, InstanceRevoked::Now { certificates: 1_000, left: 1_500, .. }), "{revoked:?}");
        let allowed = real.batch(|batch| batch.allow_instance(&command(0), at).unwrap());
        assert!(matches!(allowed, Allowed::Unfinished(_)), "{allowed:?}");
        if by_hand {
            for (now, then) in [(1_000, 500), (500, 0), (0, 0)] {
                let again = real.batch(|batch| batch.revoke_instance(&command(0), at).unwrap());
                let InstanceRevoked::Before { certificates, left, .. } = again else { panic!("{again:?}") };
                assert_eq!((certificates, left), (now, then));
            }
        } else {
            let mut steps = 0;
            while real.batch(|batch| batch.go_on_revoking(at, 64).unwrap()) {
                steps += 1;
            }
            assert_eq!(steps, 1_500_u32.div_ceil(64));
        }
        let sql = "SELECT count(*) FROM revocation WHERE reason = ?1";
        let reason = command(0).reason.number();
        let count: i64 = real.connection.query_row(sql, [reason], |row| row.get(0)).unwrap();
        assert_eq!(count, 2_500);
        let allowed = real.batch(|batch| batch.allow_instance(&command(0), at).unwrap());
        assert!(matches!(allowed, Allowed::Now(_)), "{allowed:?}");
    }
}
