//! What the CA certificates of an epoch bound its leaves to. They are made once: when the policy says something else by
//! now, leaves are held to both until the next epoch, since no verifier takes a leaf that its own issuer invalidates.

use rasn_pkix::{GeneralName, GeneralSubtree, PolicyInformation, TbsCertificate};

use crate::{
    constraint::{NameConstraints, Subtree},
    content::Extension,
    ip::IpBlock,
    key::arcs,
    oid::{Oid, dotted},
    profile::Authority,
    readback,
};

const NAME_CONSTRAINTS: &[u32] = &[2, 5, 29, 30];
const CERTIFICATE_POLICIES: &[u32] = &[2, 5, 29, 32];

/// Name constraints and certificate policies of an epoch's CA certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// What leaves may be called. `None`: anything.
    pub name_constraints: Option<NameConstraints>,
    /// The policies that leaves can assert: others count for nothing (RFC 5280, section 6.1.3).
    pub policies: Vec<Oid>,
}

impl Bounds {
    /// Those that the next epoch's certificates will have.
    #[must_use]
    pub fn of(authority: &Authority) -> Self {
        Self { name_constraints: authority.name_constraints.clone(), policies: authority.policies.clone() }
    }

    /// Those of a TBSCertificate of ours that was endorsed and stored. `None`: it has others than we write.
    #[must_use]
    pub fn stored(to_be_signed: &[u8]) -> Option<Self> {
        let read: TbsCertificate = rasn::der::decode(to_be_signed).ok()?;
        let mut bounds = Self::default();
        for extension in read.extensions.iter().flat_map(|list| list.iter()) {
            let again = match arcs(&extension.extn_id) {
                NAME_CONSTRAINTS => {
                    let constraints = name_constraints(&extension.extn_value)?;
                    bounds.name_constraints = Some(constraints.clone());
                    Extension::NameConstraints(constraints)
                }
                CERTIFICATE_POLICIES => {
                    bounds.policies = policies(&extension.extn_value)?;
                    Extension::CertificatePolicies(bounds.policies.clone())
                }
                _ => continue,
            };
            if readback::extension(&again).ok()?.value != *extension.extn_value {
                return None;
            }
        }
        Some(bounds)
    }

    /// How they differ from what the policy says of the authority, as sentences.
    #[must_use]
    pub fn differences(&self, authority: &Authority, generation: u64) -> Vec<String> {
        let Self { name_constraints, policies } = self;
        let say = |what: &str, held: &str| {
            format!(
                "authority `{}`: the policy has other {what} than the certificates of epoch {generation}; until the next epoch {held}",
                authority.name
            )
        };
        let mut sentences = Vec::new();
        if *name_constraints != authority.name_constraints {
            sentences.push(say("name constraints", "leaves are held to both"));
        }
        if *policies != authority.policies {
            sentences.push(say("certificate policies", "leaves assert only those that both have"));
        }
        sentences
    }
}

fn name_constraints(der: &[u8]) -> Option<NameConstraints> {
    let read: rasn_pkix::NameConstraints = rasn::der::decode(der).ok()?;
    let list = |subtrees: Option<Vec<GeneralSubtree>>| {
        subtrees.unwrap_or_default().iter().map(subtree).collect::<Option<Vec<_>>>()
    };
    Some(NameConstraints { permitted: list(read.permitted_subtrees)?, excluded: list(read.excluded_subtrees)? })
}

fn subtree(subtree: &GeneralSubtree) -> Option<Subtree> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    match &subtree.base {
        GeneralName::DnsName(base) => text(base.as_iso646_bytes()).map(Subtree::Dns),
        GeneralName::Uri(base) => text(base.as_iso646_bytes()).map(Subtree::Uri),
        GeneralName::Rfc822Name(base) => text(base.as_iso646_bytes()).map(Subtree::Email),
        GeneralName::IpAddress(octets) => IpBlock::of_address_and_mask(octets).map(Subtree::Ip),
        GeneralName::OtherName(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

fn policies(der: &[u8]) -> Option<Vec<Oid>> {
    let read: Vec<PolicyInformation> = rasn::der::decode(der).ok()?;
    read.iter().map(|policy| Oid::parse(&dotted(arcs(&policy.policy_identifier))).ok()).collect()
}
