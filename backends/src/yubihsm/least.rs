//! What an authentication key has to be able to do, and what it must not.
//!
//! Deny by default: whatever is not needed is too much, unless somebody named it. Who has the password of a key that exports, wraps, puts keys in,
//! changes other authentication keys or resets the device has the CA keys, or ends them. What of the needs this configuration does not have is told
//! and not refused: a start cannot know whether keys of another kind, of epochs before, are still there to sign.

use hallmark_policy::key::KeyKind;
use hallmark_yubihsm::{Capabilities, Domains, Object};

use super::keys;
use crate::error::BackendError;

/// What every key of this signer may do, of which each has one: the authentication key has them to use the keys, and delegates them to make such keys.
pub(super) const USES: Capabilities =
    Capabilities::SIGN_ECDSA.and(Capabilities::SIGN_EDDSA).and(Capabilities::SIGN_PKCS);

/// What the authentication key cannot do without, beside one of the uses.
pub(super) const NEEDED: Capabilities =
    Capabilities::GENERATE_ASYMMETRIC_KEY.and(Capabilities::DELETE_ASYMMETRIC_KEY).and(Capabilities::GET_PSEUDO_RANDOM);

/// What it may have, and does without: certificates of the device over its keys, and its command log.
pub(super) const WELCOME: Capabilities =
    Capabilities::SIGN_ATTESTATION_CERTIFICATE.and(Capabilities::GET_OPAQUE).and(Capabilities::GET_LOG_ENTRIES);

/// What an authentication key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Duty {
    /// What the keys need that are wanted, where somebody knows which these are.
    uses: Option<Capabilities>,
    /// Whether the device's command log is read with it.
    reads_log: bool,
    /// What it may have although it is not needed.
    pub(super) accepted: Capabilities,
}

impl Duty {
    /// To make keys of these kinds and to sign with them.
    pub(super) fn new(kinds: Option<&[KeyKind]>, reads_log: bool, accepted: Capabilities) -> Self {
        let use_of = |kind: &KeyKind| keys::algorithm(*kind).map(|(_, capability)| capability);
        let uses = |kinds: &[KeyKind]| kinds.iter().filter_map(use_of).fold(Capabilities::NONE, Capabilities::and);
        Self { uses: kinds.map(uses), reads_log, accepted }
    }

    /// What it cannot do without, as far as that is known: itself, and delegated.
    pub(super) fn needs(&self) -> (Capabilities, Capabilities) {
        let uses = self.uses.unwrap_or_default();
        let log = if self.reads_log { Capabilities::GET_LOG_ENTRIES } else { Capabilities::NONE };
        (NEEDED.and(uses).and(log), uses)
    }

    /// What of the needs of every signer this one has not, where somebody knows that.
    fn idle(&self, key: &Object) -> Capabilities {
        let Some(uses) = self.uses else { return Capabilities::NONE };
        let both = |one: Capabilities, other: Capabilities| Capabilities::from_bits(one.bits() & other.bits());
        let own = both(key.capabilities, USES.and(Capabilities::GET_LOG_ENTRIES)).without(self.needs().0);
        own.and(both(key.delegated, USES).without(uses))
    }
}

/// What the authentication key of a signer needs, itself and delegated, that has keys of these kinds in a YubiHSM: names of capabilities.
#[must_use]
pub fn yubihsm_needs(kinds: &[KeyKind], reads_log: bool) -> (String, String) {
    let (own, delegated) = Duty::new(Some(kinds), reads_log, Capabilities::NONE).needs();
    (own.to_string(), delegated.to_string())
}

/// What was found of an authentication key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// What it may do.
    pub(super) has: Capabilities,
    /// What it lacks.
    pub(super) missing: Capabilities,
    /// What it has beyond its needs, and nobody accepted.
    pub(super) excess: Capabilities,
    /// What it may let keys do beyond what they need, and nobody accepted.
    pub(super) delegates: Capabilities,
    /// What it has beyond its needs, and somebody accepted.
    pub(super) accepted: Capabilities,
    /// What it has, itself or delegated, of which this signer makes no use, and nobody accepted.
    pub(super) idle: Capabilities,
}

/// Compares it with what is needed. What is accepted is about what it has and what it delegates.
pub(super) fn compare(key: &Object, duty: &Duty) -> Found {
    let accepted = duty.accepted;
    let beyond = key.capabilities.without(NEEDED.and(USES).and(WELCOME));
    let delegated = key.delegated.without(USES);
    let (own, delegates) = duty.needs();
    let idle = duty.idle(key);
    Found {
        has: key.capabilities,
        missing: own.without(key.capabilities).and(delegates.without(key.delegated)),
        excess: beyond.without(accepted),
        delegates: delegated.without(accepted),
        accepted: Capabilities::from_bits(beyond.and(delegated).and(idle).bits() & accepted.bits()),
        idle: idle.without(accepted),
    }
}

/// Refuses one that can do too little or too much, or sees other domains than it is said to.
pub(super) fn check(key: &Object, domains: Domains, duty: &Duty) -> Result<Found, BackendError> {
    let found = compare(key, duty);
    let wrong = |detail: String| {
        let detail = format!("authentication key {:#06x} {detail}", key.id);
        Err(BackendError::Configuration { detail })
    };
    let uses = key.capabilities.bits() & key.delegated.bits() & USES.bits();
    if !found.missing.is_empty() || duty.uses.is_none() && uses == 0 {
        let (own, delegates) = duty.needs();
        let what = match duty.uses {
            None if uses == 0 => format!("{own} and, both itself and delegated, one of {USES}"),
            None => own.to_string(),
            Some(_) => format!("{own}, and delegated {delegates}, for the keys of the policy and `command-log`"),
        };
        return wrong(format!(
            "has {} and delegates {}, and needs {what}; put one that has them",
            key.capabilities, key.delegated
        ));
    }
    if !found.excess.is_empty() || !found.delegates.is_empty() {
        let mut sentences = Vec::new();
        if !found.excess.is_empty() {
            sentences.push(format!("can do more than it needs to: {}", found.excess));
        }
        if !found.delegates.is_empty() {
            sentences.push(format!("may let keys do more than sign: {}", found.delegates));
        }
        return wrong(format!(
            "{}; put one that cannot (docs/devices/yubihsm2.md), or name each in `accept-capabilities`",
            sentences.join(", and ")
        ));
    }
    if key.domains != domains {
        return wrong(format!(
            "is in the domains {}, and `domains` has {domains}; name those that it has, or put one that is in no others",
            key.domains
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use hallmark_yubihsm::{Algorithm, Origin};

    use super::*;

    fn key(capabilities: Capabilities, delegated: Capabilities) -> Object {
        let domains = Domains::of(&[1, 2]).unwrap();
        let (algorithm, origin) = (Algorithm::Other(0x26), Origin::Imported);
        Object { id: 2, label: b"signer".to_vec(), algorithm, capabilities, delegated, domains, origin, sequence: 0 }
    }

    fn told(key: &Object, accepted: &[&str]) -> String {
        let accepted = accepted.iter().map(|name| Capabilities::named(name).unwrap());
        let accepted = accepted.fold(Capabilities::NONE, Capabilities::and);
        by(key, &Duty::new(None, false, accepted))
    }

    fn by(key: &Object, duty: &Duty) -> String {
        match check(key, Domains::of(&[1, 2]).unwrap(), duty) {
            Ok(found) => format!("taken, accepted: {}, of no use: {}", found.accepted, found.idle),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn where_the_policy_is_known_what_it_needs_is_needed_and_what_else_there_is_is_told() {
        let all = key(NEEDED.and(USES).and(WELCOME), USES);
        let just = key(NEEDED.and(Capabilities::SIGN_ECDSA), Capabilities::SIGN_ECDSA);
        let accepts = Capabilities::SIGN_PKCS.and(Capabilities::GET_LOG_ENTRIES);
        let duty = |kinds: &[KeyKind], reads_log| Duty::new(Some(kinds), reads_log, Capabilities::NONE);
        let p256 = [KeyKind::EcdsaP256];
        let sentences = [
            by(&just, &duty(&p256, false)),
            by(&all, &duty(&p256, false)),
            by(&all, &duty(&p256, true)),
            by(&all, &duty(&[KeyKind::EcdsaP384, KeyKind::Ed25519, KeyKind::Rsa4096], true)),
            by(&all, &Duty::new(Some(&p256), false, accepts)),
            by(&just, &duty(&p256, true)),
            by(&just, &duty(&[KeyKind::EcdsaP256, KeyKind::Ed25519], false)),
            by(&key(NEEDED.and(USES), Capabilities::SIGN_EDDSA), &duty(&p256, false)),
            by(&all, &duty(&[], false)),
        ];
        insta::assert_snapshot!(sentences.join("\n"));
        assert_eq!(yubihsm_needs(&p256, true).1, "sign-ecdsa");
    }

    #[test]
    fn one_with_just_what_it_needs_is_taken_and_any_other_is_told_what_is_wrong() {
        let enough = NEEDED.and(Capabilities::SIGN_ECDSA);
        let with = |name: &str| enough.and(Capabilities::named(name).unwrap());
        let ecdsa = Capabilities::SIGN_ECDSA;
        let wide = Capabilities::from_bits(u64::MAX);
        let other_domain = Object { domains: Domains::of(&[5]).unwrap(), ..key(enough, ecdsa) };
        let one_more = Object { domains: Domains::of(&[1, 2, 5]).unwrap(), ..key(enough, ecdsa) };
        let sentences = [
            told(&key(enough, ecdsa), &[]),
            told(&key(NEEDED.and(USES).and(WELCOME), USES), &[]),
            told(&key(with("export-wrapped"), ecdsa), &[]),
            told(&key(with("reset-device"), ecdsa), &["reset-device"]),
            told(&key(enough, ecdsa.and(Capabilities::named("exportable-under-wrap").unwrap())), &[]),
            told(&key(NEEDED, ecdsa), &[]),
            told(&key(ecdsa, ecdsa), &[]),
            told(&key(enough, Capabilities::NONE), &[]),
            told(&key(wide, wide), &["reset-device", "capability-63"]),
            told(&other_domain, &[]),
            told(&one_more, &[]),
        ];
        insta::assert_snapshot!(sentences.join("\n"));
    }

    #[test]
    fn each_single_capability_beyond_the_needs_is_refused() {
        let enough = NEEDED.and(USES).and(WELCOME);
        let mut refused = 0;
        for bit in (0..64).map(|bit| Capabilities::from_bits(1 << bit)) {
            if !enough.has(bit) {
                assert!(told(&key(enough.and(bit), USES), &[]).contains(&bit.to_string()), "{bit}");
                refused += 1;
            }
            if !USES.has(bit) {
                assert!(told(&key(enough, USES.and(bit)), &[]).contains(&bit.to_string()), "delegated {bit}");
            }
        }
        assert_eq!(refused, 64 - 9);
    }
}
