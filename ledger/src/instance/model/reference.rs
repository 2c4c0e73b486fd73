//! The reference: the serial rule over lists of certificates, without a database.

use std::collections::{BTreeMap, BTreeSet};

use hallmark_policy::content::Serial;

use super::{INSTANCES, LIFETIME_SECS};

/// A certificate that was handed out. It exists whatever becomes of the database.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) serial: Serial,
    pub(super) key: u64,
    /// The id of the request that it was given to, if it had one.
    pub(super) asked: Option<u64>,
    /// What was asked for, beside the key.
    pub(super) lifetime: u8,
    pub(super) begins: i64,
    /// Instance, and which registration of it, by the certificate that began it.
    pub(super) instance: u64,
    pub(super) registration: usize,
}

/// What the model knows of an instance: indexes of certificates.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub(super) registration: usize,
    pub(super) current: usize,
    pub(super) previous: Option<usize>,
    pub(super) retried: bool,
    /// 1: the signature of the current one failed; 2: it is void; 3: it is void, and somebody may have it.
    pub(super) withheld: u8,
    pub(super) revoked: bool,
    pub(super) ends: i64,
}

/// The reference: what a database should know.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) records: [Option<Registered>; INSTANCES as usize],
    pub(super) known: BTreeSet<usize>,
    /// Those whose answer can be given again.
    pub(super) kept: BTreeSet<usize>,
    pub(super) revoked: BTreeSet<usize>,
    /// What was given in the place of one, with the same key.
    pub(super) same_as: BTreeMap<usize, usize>,
    /// What a retry with another key took the place of, and whether that was proven.
    pub(super) displaced: BTreeMap<usize, bool>,
    /// What answers other requests, too.
    pub(super) shared: BTreeSet<usize>,
    pub(super) stopped: bool,
    pub(super) restored_at: Option<i64>,
}

/// What a wish comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Issued(&'static str),
    Same(usize),
    Refused(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    Register { replace: bool },
    Refresh { certificate: usize, proven: bool, forged: bool },
}

impl Model {
    pub(super) fn wish(
        &mut self,
        instance: u64,
        (key, lifetime, asked): (u64, u8, Option<u64>),
        wish: Wish,
        world: &[Certificate],
        now: i64,
    ) -> Outcome {
        let at = instance as usize;
        let lives = |index: usize| world[index].begins + LIFETIME_SECS > now;
        let again = |model: &Self, index: usize| {
            let is_wanted = world[index].lifetime == lifetime;
            model.kept.contains(&index) && !model.revoked.contains(&index) && lives(index) && is_wanted
        };
        let next = world.len();
        let record = self.records[at].clone();
        let outcome = match (wish, record) {
            (Wish::Refresh { certificate, .. }, _) if !self.known.contains(&certificate) => {
                if self.restored_at.is_some_and(|restored| world[certificate].begins < restored) {
                    return Outcome::Refused("INSTANCE_UNKNOWN");
                }
                let was_stopped = std::mem::replace(&mut self.stopped, true);
                assert!(was_stopped || self.stopped);
                return Outcome::Refused("AUTHORITY_STOPPED");
            }
            (Wish::Refresh { forged: true, .. }, _) => return Outcome::Refused("INSTANCE_CERTIFICATE_FOREIGN"),
            (Wish::Refresh { .. }, None) => return Outcome::Refused("INSTANCE_UNKNOWN"),
            (_, Some(record)) if record.revoked => return Outcome::Refused("INSTANCE_REVOKED"),
            (Wish::Register { replace }, Some(record)) if record.ends > now => {
                if world[record.current].key == key && record.previous.is_none() && again(self, record.current) {
                    self.shared.insert(record.current);
                    return Outcome::Same(record.current);
                }
                let is_owner = world[record.current].key == key;
                let was_never_given =
                    record.previous.is_none() && (record.withheld == 2 || record.withheld == 3 && is_owner);
                if !replace && !was_never_given {
                    return Outcome::Refused("INSTANCE_EXISTS");
                }
                Outcome::Issued(if was_never_given { "registered" } else { "replaced" })
            }
            (Wish::Register { .. }, _) => Outcome::Issued("registered"),
            (Wish::Refresh { certificate, proven, forged: _ }, Some(record)) => {
                let presented = &world[certificate];
                if (presented.instance, presented.registration) != (instance, record.registration) {
                    return Outcome::Refused("INSTANCE_DIFFERS");
                }
                let stands = |index: usize| certificate == index || self.same_as.get(&certificate) == Some(&index);
                let was_asked = self.known.iter().any(|index| {
                    let it = &world[*index];
                    let may_be =
                        it.asked.is_none() || asked.is_none() || it.asked == asked || self.shared.contains(index);
                    (it.instance, it.registration, it.key) == (instance, record.registration, key) && may_be
                });
                let place = if stands(record.current) {
                    "current"
                } else if record.previous.is_some_and(stands) {
                    "previous"
                } else {
                    "older"
                };
                match place {
                    "older" if self.displaced.get(&certificate) == Some(&false) => {
                        return Outcome::Refused("INSTANCE_CERTIFICATE_REPLACED");
                    }
                    "older" if was_asked => return Outcome::Refused("INSTANCE_CERTIFICATE_REPLACED"),
                    "older" if proven => {
                        let ours = |index: &usize| {
                            world[*index].instance == instance
                                && world[*index].registration == record.registration
                                && lives(*index)
                        };
                        let lost: Vec<_> = self.known.iter().copied().filter(ours).collect();
                        self.revoked.extend(lost);
                        self.records[at].as_mut().unwrap().revoked = true;
                        return Outcome::Refused("INSTANCE_STOLEN");
                    }
                    "older" => return Outcome::Refused("INSTANCE_CERTIFICATE_REPLACED"),
                    _ if self.revoked.contains(&certificate) => {
                        return Outcome::Refused("INSTANCE_CERTIFICATE_REVOKED");
                    }
                    "current" if self.revoked.contains(&record.current) => {
                        return Outcome::Refused("INSTANCE_CERTIFICATE_REVOKED");
                    }
                    "current" => Outcome::Issued("moved"),
                    _ if world[record.current].key == key && self.revoked.contains(&record.current) => {
                        return Outcome::Refused("INSTANCE_CERTIFICATE_REVOKED");
                    }
                    _ if world[record.current].key == key && again(self, record.current) => {
                        self.shared.insert(record.current);
                        return Outcome::Same(record.current);
                    }
                    _ if world[record.current].key == key => Outcome::Issued("reissued"),
                    _ if matches!(record.withheld, 1 | 2) => Outcome::Issued("moved-again"),
                    _ if !record.retried => Outcome::Issued("retried"),
                    _ => return Outcome::Refused("INSTANCE_RETRY_USED"),
                }
            }
        };
        if self.stopped {
            return Outcome::Refused("AUTHORITY_STOPPED");
        }
        let Outcome::Issued(change) = outcome else { return outcome };
        self.known.insert(next);
        self.kept.insert(next);
        let ends = now + LIFETIME_SECS;
        let before = self.records[at].take();
        if let ("registered" | "replaced", Some(before)) = (change, &before) {
            // Those of the registration before are superseded.
            let ours = |index: &usize| {
                world.get(*index).is_some_and(|it| (it.instance, it.registration) == (instance, before.registration))
                    && lives(*index)
            };
            let lost: Vec<_> = self.known.iter().copied().filter(ours).collect();
            self.revoked.extend(lost);
        }
        self.records[at] = Some(match (change, before) {
            ("registered" | "replaced", _) | (_, None) => Registered {
                registration: next,
                current: next,
                previous: None,
                retried: false,
                withheld: 0,
                revoked: false,
                ends,
            },
            ("moved", Some(before)) => {
                let previous = Some(before.current);
                Registered { current: next, previous, retried: false, withheld: 0, ends, ..before }
            }
            (_, Some(before)) => {
                if matches!(change, "retried" | "moved-again") {
                    let stands =
                        |index: &usize| *index == before.current || self.same_as.get(index) == Some(&before.current);
                    let twins: Vec<_> = self.known.iter().copied().filter(stands).collect();
                    self.revoked.extend(twins.iter().copied().filter(|index| lives(*index)));
                    let is_proven = change == "retried" && matches!(wish, Wish::Refresh { proven: true, .. });
                    self.displaced.extend(twins.into_iter().map(|index| (index, is_proven)));
                }
                if change == "reissued" {
                    self.same_as.values_mut().filter(|given| **given == before.current).for_each(|given| *given = next);
                    self.same_as.insert(before.current, next);
                }
                let retried = before.retried || change == "retried";
                Registered { current: next, retried, withheld: 0, ends, ..before }
            }
        });
        outcome
    }
}
