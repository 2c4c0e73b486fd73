//! A policy, held against what is made and signed where the keys are to be.

use hallmark_policy::Policy;
use hallmark_signer::{Ability, Lack};

use super::Findings;

/// What the policy wants that is not made there, or does not sign there what it has to. An offline root is elsewhere.
pub(super) fn tell(policy: Option<&Policy>, ability: Ability, findings: &mut Findings) {
    let place = ability.place;
    for authority in policy.into_iter().flat_map(Policy::authorities) {
        let (name, root, lists) = (&authority.name, &authority.root, authority.crl.is_some());
        for (what, profile) in [("root", root), ("epoch", &authority.epoch)] {
            if profile.offline {
                continue;
            }
            let (kind, algorithm) = (profile.key, profile.algorithm);
            findings.problems.extend(ability.lacks(kind, algorithm, lists).map(|lack| match lack {
                Lack::Kind => format!(
                    "authority `{name}`: `{what}.key` is `{kind}`, which is not made in {place} here; hint: choose another kind, or another place for its keys"
                ),
                Lack::Algorithm => format!(
                    "authority `{name}`: `{what}.signature` is `{algorithm}`, which {place} does not sign with here; hint: choose another, or another place for its keys"
                ),
                Lack::Lists { bytes_max } => format!(
                    "authority `{name}`: `{what}.key` is `{kind}`, with which {place} signs {bytes_max} bytes at most, and a CRL grows longer than that; hint: choose an ECDSA key, or no CRLs"
                ),
            }));
        }
    }
}
