//! What an authentication key has to be able to do, and what it must not.
//!
//! Deny by default: whatever is not needed is too much, unless somebody named it. Who has the password of a key that exports, wraps, puts keys in,
//! changes other authentication keys or resets the device has the CA keys, or ends them.

use hallmark_yubihsm::{Capabilities, Domains, Object};

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
}

/// Compares it with what is needed. What is accepted is about what it has and what it delegates.
pub(super) fn compare(key: &Object, accepted: Capabilities) -> Found {
    let beyond = key.capabilities.without(NEEDED.and(USES).and(WELCOME));
    let delegated = key.delegated.without(USES);
    let uses = key.capabilities.bits() & key.delegated.bits() & USES.bits();
    Found {
        has: key.capabilities,
        missing: NEEDED.and(if uses == 0 { USES } else { Capabilities::NONE }).without(key.capabilities),
        excess: beyond.without(accepted),
        delegates: delegated.without(accepted),
        accepted: Capabilities::from_bits(beyond.and(delegated).bits() & accepted.bits()),
    }
}

/// Refuses one that can do too little or too much, or sees other domains than it is said to.
pub(super) fn check(key: &Object, domains: Domains, accepted: Capabilities) -> Result<Found, BackendError> {
    let found = compare(key, accepted);
    let wrong = |detail: String| {
        let detail = format!("authentication key {:#06x} {detail}", key.id);
        Err(BackendError::Configuration { detail })
    };
    let uses = key.capabilities.bits() & key.delegated.bits() & USES.bits();
    if !found.missing.is_empty() || uses == 0 {
        let what = if uses == 0 {
            format!("{NEEDED} and, both itself and delegated, one of {USES}")
        } else {
            NEEDED.to_string()
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
        match check(key, Domains::of(&[1, 2]).unwrap(), accepted) {
            Ok(found) => format!("taken, accepted: {}", found.accepted),
            Err(error) => error.to_string(),
        }
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
