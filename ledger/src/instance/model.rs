//! The serial rule against a short model of it, over random histories: registrations, refreshes with whatever certificate ever existed,
//! retries, thieves, forgotten and void answers, operators, time, and databases that are restored. `ledger/tests/histories` does the same with the whole ledger.
//!
//! `HALLMARK_SEQUENCES=10000` runs so many histories; a few hundred run by themselves.

mod chance;
mod many;
mod quota;
mod real;
mod reference;

use std::collections::BTreeSet;

use hallmark_policy::{
    content::Serial,
    crl::RevocationReason,
    instance::{Asked, InstanceMove, InstanceName, InstanceStep, PresentedCertificate},
    key::SpkiDigest,
    time::UnixTime,
};
use hallmark_tlog::frontier::Frontier;

use super::{Allowed, InstanceRevocation, InstanceRevoked, Withheld, make_void, withhold};
use crate::{Revoke, Revoked, UnixMillis};
use chance::Chance;
use real::Real;
use reference::{Certificate, Model, Outcome, Wish};

const SEQUENCES: u64 = 300;
const STEPS: u64 = 40;
const INSTANCES: u64 = 3;
const LIFETIME_SECS: i64 = 30 * 86_400;
const AUTHORITY: &str = "a";
const ISSUER: SpkiDigest = SpkiDigest::from_bytes([9; 32]);

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
            1 => self.withhold(),
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

    /// The signature of what was committed fails, or it is never signed.
    fn withhold(&mut self) {
        let at = self.chance.below(INSTANCES) as usize;
        let is_void = self.chance.below(2) == 0;
        let Some(record) = &mut self.model.records[at] else { return };
        let index = super::Record::find(&self.real.connection, AUTHORITY, &name(at as u64)).unwrap().unwrap();
        let index = index.current.log_index;
        if is_void {
            make_void(&self.real.connection, index).unwrap();
        } else {
            withhold(&self.real.connection, index, Withheld::Failed).unwrap();
        }
        if self.model.kept.contains(&record.current) {
            record.withheld = match (is_void, record.withheld) {
                (false, before) => before.max(1),
                (true, 0) => 3,
                (true, _) => 2,
            };
        }
        if is_void {
            let sql = "UPDATE request SET void = 1 WHERE serial = ?1";
            self.real.connection.execute(sql, [self.world[record.current].serial.as_bytes()]).unwrap();
            self.model.kept.remove(&record.current);
        }
        self.trace.push(format!("withhold {at}: void {is_void}"));
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
        let revoked = self.real.batch(|batch| batch.revoke(&revoke, at.into()).unwrap());
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
        let revoked = self.real.batch(|batch| batch.revoke_instance(&command(instance), at.into()).unwrap());
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
            Some(certificate) => {
                let (proven, forged) = (self.chance.below(2) == 0, self.chance.below(30) == 0);
                Wish::Refresh { certificate, proven, forged }
            }
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
            Wish::Refresh { certificate, proven, forged } => {
                let presented = &self.world[certificate];
                // A forger signs for a key of his own, or for longer.
                let (key, longer) = match (forged, certificate % 2) {
                    (false, _) => (presented.key, 0),
                    (true, 0) => (u64::MAX, 0),
                    (true, _) => (presented.key, 1),
                };
                InstanceStep::Refresh(PresentedCertificate {
                    issuer: ISSUER,
                    serial: presented.serial,
                    key: digest(key),
                    not_before: UnixTime::from_secs(presented.begins),
                    not_after: UnixTime::from_secs(presented.begins + LIFETIME_SECS + longer),
                    proven,
                })
            }
        };
        let lifetime = u8::from(self.chance.below(4) == 0);
        // Some requests have no id, and some are recorded ones that come again.
        let asked = match self.chance.below(4) {
            0 => None,
            1 => self.world.last().and_then(|last| last.asked),
            _ => Some(self.world.len() as u64 + 1_000 * self.chance.below(1_000)),
        };
        let moved = InstanceMove {
            name: name(instance),
            key: digest(key),
            wish_sha256: [lifetime; 32],
            asked: asked.map(|id| Asked::of(&id.to_string())),
            step,
        };
        self.trace.push(format!("{wish:?} of {instance} with key {key}, lifetime {lifetime}, at {}", self.now));
        let expected = self.model.wish(instance, (key, lifetime, asked), wish, &self.world, self.now);
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
            self.world.push(Certificate { serial, key, asked, lifetime, begins: self.now, instance, registration });
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
            let withheld = [None, Some(Withheld::Failed), Some(Withheld::Void), Some(Withheld::Doubtful)];
            assert_eq!(found.withheld, withheld[usize::from(record.withheld)], "{}", trace());
        }
        let sql = "SELECT count(*) FROM revocation";
        let revoked: i64 = self.real.connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(revoked, self.model.revoked.len() as i64, "{}", trace());
        let sql = "SELECT count(*) FROM instance WHERE counted_until NOT BETWEEN not_after AND not_after + 324000";
        let wrong: i64 = self.real.connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(wrong, 0, "{}", trace());
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
        "INSTANCE_CERTIFICATE_FOREIGN",
        "INSTANCE_CERTIFICATE_REPLACED",
        "INSTANCE_CERTIFICATE_REVOKED",
        "INSTANCE_DIFFERS",
        "INSTANCE_EXISTS",
        "INSTANCE_RETRY_USED",
        "INSTANCE_REVOKED",
        "INSTANCE_STOLEN",
        "INSTANCE_UNKNOWN",
        "moved",
        "moved-again",
        "registered",
        "reissued",
        "replaced",
        "retried",
        "revoked by an operator",
        "same",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected, "every branch was walked");
}
