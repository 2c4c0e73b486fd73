//! One history: what happens, and that ledger and model agree.

use std::collections::{BTreeMap, BTreeSet};

use hallmark_ledger::{Allowed, Event, InstanceRevocation, InstanceRevoked, Issued, Seal, UnixMillis};
use hallmark_policy::{content::Serial, crl::RevocationReason, instance::signed_sha256};

use crate::{
    INSTANCES, LIFETIME_SECS,
    chance::Chance,
    real::{Asked, Founded, Real, THIEF, forged, name, signed},
    reference::{Certificate, Model, Outcome, Wish},
    world::{AUTHORITY, NOW_SECS, serial},
};

/// A wish that was drawn.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    instance: u64,
    key: u64,
    lifetime: u8,
    wish: Wish,
}

pub(crate) struct History {
    chance: Chance,
    real: Real,
    model: Model,
    /// Those whose signature the database keeps.
    signed: BTreeSet<usize>,
    saved: Option<(Model, BTreeSet<usize>, tempfile::TempDir)>,
    world: Vec<Certificate>,
    /// DER, by index in the world.
    certificates: Vec<Vec<u8>>,
    /// Which certificate a request asked for, by its id.
    asked: BTreeMap<String, usize>,
    requests: u64,
    now: i64,
    keys: u64,
    trace: Vec<String>,
}

impl History {
    pub(crate) async fn new(number: u64, founded: &Founded) -> Self {
        Self {
            chance: Chance(number),
            real: Real::new(founded).await,
            model: Model::default(),
            signed: BTreeSet::new(),
            saved: None,
            world: Vec::new(),
            certificates: Vec::new(),
            asked: BTreeMap::new(),
            requests: 0,
            now: NOW_SECS + 86_400,
            keys: 0,
            trace: vec![format!("history {number}")],
        }
    }

    pub(crate) async fn step(&mut self, seen: &mut BTreeSet<String>) {
        match self.chance.below(24) {
            0 => self.now += i64::try_from(self.chance.below(20)).unwrap() * 86_400,
            1 => self.operator().await,
            2 | 3 => self.fail().await,
            4 => {
                self.real.crash().await;
                self.note("crashed", seen);
            }
            5 | 6 if self.saved.is_none() => {
                self.saved = Some((self.model.clone(), self.signed.clone(), self.real.save().await));
                self.trace.push("saved".to_owned());
            }
            7 => {
                if let Some((model, signed, backup)) = self.saved.take() {
                    self.real.restore(backup.path()).await;
                    (self.model, self.signed) = (model, signed);
                    self.note("restored", seen);
                }
            }
            8..12 if self.model.stopped => {
                let at = UnixMillis(self.now * 1_000);
                let resumed = self.real.ledger().resume_authority(AUTHORITY, "operator", "why", at).await.unwrap();
                assert!(resumed.is_some());
                (self.model.stopped, self.model.restored_at) = (false, Some(self.now));
                self.trace.push("resumed".to_owned());
            }
            12 | 13 => self.race(seen).await,
            _ => {
                let drawn = self.draw();
                self.wish(&[drawn], seen).await;
            }
        }
        self.now += 1 + i64::try_from(self.chance.below(3)).unwrap();
    }

    fn note(&mut self, word: &str, seen: &mut BTreeSet<String>) {
        self.trace.push(word.to_owned());
        seen.insert(word.to_owned());
    }

    /// The device fails to sign what is current.
    async fn fail(&mut self) {
        let instance = self.chance.below(INSTANCES);
        let Some(record) = &mut self.model.records[instance as usize] else { return };
        let found = self.real.ledger().instance(AUTHORITY, "p", &name(instance).id).unwrap().unwrap();
        let event = Event::SigningFailed { log_index: found.current.2, code: "X".to_owned(), sentence: String::new() };
        self.real.ledger().record(event, UnixMillis(self.now * 1_000)).await.unwrap();
        // What is signed and kept was given.
        if self.model.kept.contains(&record.current) && !self.signed.contains(&record.current) {
            record.withheld = record.withheld.max(1);
        }
        self.trace.push(format!("the signature of {instance} failed"));
    }

    async fn operator(&mut self) {
        let instance = self.chance.below(INSTANCES);
        let at = UnixMillis(self.now * 1_000);
        let wish = InstanceRevocation {
            authority: AUTHORITY.to_owned(),
            provider: "p".to_owned(),
            id: name(instance).id,
            reason: RevocationReason::PrivilegeWithdrawn,
            by: "operator".to_owned(),
            why: "a test".to_owned(),
        };
        let record = &mut self.model.records[instance as usize];
        if self.chance.below(2) == 0 {
            let allowed = self.real.ledger().allow_instance(wish, at).await.unwrap();
            assert_eq!(matches!(allowed, Allowed::Now(_)), record.is_some());
            *record = None;
            self.trace.push(format!("allowed {instance}"));
            return;
        }
        let revoked = self.real.ledger().revoke_instance(wish, at).await.unwrap();
        assert_eq!(matches!(revoked, InstanceRevoked::Unknown(_)), record.is_none());
        if let Some(record) = record {
            record.revoked = true;
            let (registration, now, world) = (record.registration, self.now, &self.world);
            let ours = |index: &usize| {
                let it = &world[*index];
                (it.instance, it.registration) == (instance, registration) && it.begins + LIFETIME_SECS > now
            };
            let lost: Vec<_> = self.model.known.iter().copied().filter(ours).collect();
            self.model.revoked.extend(lost);
        }
        self.trace.push(format!("revoked {instance}"));
    }

    /// Several at once: they share a batch of the writer, in the order in which they came.
    async fn race(&mut self, seen: &mut BTreeSet<String>) {
        let first = self.draw();
        let mut racers = vec![first];
        for _ in 0..=self.chance.below(2) {
            let key = if self.chance.below(2) == 0 { first.key } else { self.new_key() };
            racers.push(Drawn { key, ..first });
        }
        self.wish(&racers, seen).await;
        seen.insert("raced".to_owned());
    }

    fn new_key(&mut self) -> u64 {
        self.keys += 1;
        self.keys
    }

    fn draw(&mut self) -> Drawn {
        let instance = self.chance.below(INSTANCES);
        let lives = |index: &usize| self.world[*index].begins + LIFETIME_SECS > self.now;
        let any = self.chance.below(10) == 0;
        let own = |index: &usize| any || self.world[*index].instance == instance;
        let from: Vec<usize> = (0..self.world.len()).filter(lives).filter(own).collect();
        let back = self.chance.below(3).min(self.chance.below(6)) as usize;
        let presented = from.iter().rev().nth(back).or_else(|| from.last()).copied();
        let wish = match presented.filter(|_| self.chance.below(6) > 0) {
            Some(certificate) => {
                let (proven, forged) = (self.chance.below(2) == 0, self.chance.below(30) == 0);
                Wish::Refresh { certificate, proven, forged }
            }
            None => Wish::Register { replace: self.chance.below(3) == 0 },
        };
        let current = self.model.records[instance as usize].as_ref().map(|record| self.world[record.current].key);
        let key = match (self.chance.below(3), current) {
            (0, Some(current)) => current,
            _ => self.new_key(),
        };
        Drawn { instance, key, lifetime: u8::from(self.chance.below(4) == 0), wish }
    }

    /// The certificate that a wish presents, and whose key proves its possession.
    fn presents(&self, wish: Wish) -> Option<(Vec<u8>, Serial, Option<u64>)> {
        let Wish::Refresh { certificate, proven, forged: is_forged } = wish else { return None };
        let (it, der) = (&self.world[certificate], &self.certificates[certificate]);
        let (key, der) = if is_forged { (THIEF, forged(der, it.key, THIEF)) } else { (it.key, der.clone()) };
        Some((der, it.serial, proven.then_some(key)))
    }

    /// Asks for all of them at once.
    async fn wish(&mut self, drawn: &[Drawn], seen: &mut BTreeSet<String>) {
        let mut asked = Vec::new();
        let presented: Vec<_> = drawn.iter().map(|drawn| self.presents(drawn.wish)).collect();
        for (Drawn { instance, key, lifetime, wish }, presented) in drawn.iter().copied().zip(&presented) {
            self.requests += 1;
            let replace = matches!(wish, Wish::Register { replace: true });
            let presented = presented.as_ref().map(|(der, serial, proves)| (der.as_slice(), *serial, *proves));
            let asks = Asked { instance, key, replace, lifetime, presented };
            asked.push((format!("r-{}", self.requests), asks, serial(1_000_000 + self.requests)));
        }
        let answers = asked.iter().map(|(id, asks, serial)| self.real.ask(id, *asks, *serial, self.now));
        let answers = join_all(answers).await;
        let asked: Vec<_> = asked.into_iter().map(|(id, asks, serial)| (id, wish_of(&asks), serial)).collect();
        for ((drawn, (id, lifetime, serial)), issued) in drawn.iter().zip(asked).zip(answers) {
            self.trace.push(format!("{drawn:?} at {}", self.now));
            let number = id.strip_prefix("r-").unwrap().parse().unwrap();
            let wish = (drawn.key, lifetime, Some(number));
            let expected = self.model.wish(drawn.instance, wish, drawn.wish, &self.world, self.now);
            let found = self.answered(*drawn, lifetime, &id, serial, issued).await;
            self.trace.push(format!("  -> {found:?}"));
            let stands = found == expected || (self.model.stopped && found == Outcome::Refused("AUTHORITY_STOPPED"));
            assert!(stands, "expected {expected:?}, found {found:?} after\n{}", self.trace.join("\n"));
            seen.insert(match found {
                Outcome::Same(_) => "same".to_owned(),
                Outcome::Issued(word) | Outcome::Refused(word) => word.to_owned(),
            });
        }
        self.compare();
    }

    /// What an answer says; a certificate is signed, and its signature kept in two of three cases.
    async fn answered(&mut self, drawn: Drawn, lifetime: u8, id: &str, serial: Serial, issued: Issued) -> Outcome {
        let numbered = |serial: &[u8]| self.world.iter().position(|it| it.serial.as_bytes() == serial).unwrap();
        match issued {
            Issued::Refused { reasons, .. } => Outcome::Refused(reasons[0].code.as_str()),
            Issued::Answered(answer) => Outcome::Same(numbered(&answer.serial)),
            Issued::SameAs(other) => Outcome::Same(self.asked[&other.id]),
            Issued::Committed { committed, logged, .. } => {
                let index = self.world.len();
                let (signature, certificate) = signed(committed.to_be_signed());
                assert_eq!(self.real.signed_before(serial), None, "nothing was signed yet");
                let kept = self.chance.below(3);
                if kept > 0 {
                    let digest = signed_sha256(committed.to_be_signed(), &signature);
                    let sealed = |signature| Seal::of_leaf(committed.to_be_signed(), signature, true);
                    // Whether the ledger makes the digest, or whoever signed.
                    let seal = if kept == 1 { Seal::from(signature) } else { sealed(signature) };
                    let other = sealed(vec![7; 64]);
                    self.real.ledger().keep_signature(committed.log_index(), seal).await.unwrap();
                    self.real.ledger().keep_signature(committed.log_index(), other).await.unwrap();
                    assert_eq!(self.real.signed_before(serial), Some(digest), "what was kept first");
                    self.signed.insert(index);
                }
                let Drawn { instance, key, .. } = drawn;
                let registration = self.model.records[instance as usize].as_ref().unwrap().registration;
                let asked = Some(id.strip_prefix("r-").unwrap().parse().unwrap());
                self.world.push(Certificate { serial, key, asked, lifetime, begins: self.now, instance, registration });
                self.certificates.push(certificate);
                self.asked.insert(id.to_owned(), index);
                Outcome::Issued(change(&logged.entry))
            }
            Issued::InFlight | Issued::Expired | Issued::Validated { .. } => panic!("it is neither asked nor late"),
        }
    }

    /// What operators see is what the model knows.
    fn compare(&self) {
        let trace = || self.trace.join("\n");
        for (instance, record) in (0..).zip(&self.model.records) {
            let found = self.real.ledger().instance(AUTHORITY, "p", &name(instance).id).unwrap();
            assert_eq!(found.is_some(), record.is_some(), "{}", trace());
            let (Some(found), Some(record)) = (found, record) else { continue };
            let serial = |index: usize| self.world[index].serial.as_bytes().to_vec();
            assert_eq!(found.current.1, serial(record.current), "{}", trace());
            assert_eq!(found.previous.map(|held| held.1), record.previous.map(serial), "{}", trace());
            assert_eq!((found.retried, found.revoked.is_some()), (record.retried, record.revoked), "{}", trace());
        }
    }
}

/// Profile and lifetime that are asked for, as one number.
fn wish_of(asked: &Asked<'_>) -> u8 {
    asked.lifetime + 2 * u8::from(asked.replace)
}

/// The word for how the record moved.
fn change(entry: &[u8]) -> &'static str {
    let text = std::str::from_utf8(entry).expect("an entry is text");
    ["moved", "moved-again", "registered", "reissued", "replaced", "retried"]
        .into_iter()
        .find(|word| text.contains(&format!("\"change\":\"{word}\"")))
        .expect("it says how the record moved")
}

/// All at once, polled in their order.
async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_done = true;
        for (future, answer) in &mut waiting {
            if answer.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *answer = Some(value),
                    std::task::Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, answer)| answer).collect()
}
