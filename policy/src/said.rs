//! What stands in a certificate that would be made, in the words of the standards: for those who show it. Nothing here decides.

use crate::{
    claim::Claim,
    constraint::{NameConstraints, Subtree},
    content::Extension,
    hex,
    name::GeneralName,
};

/// An extension in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its name (RFC 5280).
    pub name: String,
    /// Whether it is critical.
    pub critical: bool,
    /// What it says, value by value.
    pub values: Vec<String>,
}

/// Says an extension.
#[must_use]
pub fn extension(extension: &Extension) -> Said {
    let (name, critical, values) = match extension {
        Extension::EndEntity => ("basicConstraints", true, vec!["no CA".to_owned()]),
        Extension::CertificateAuthority { path_len } => {
            ("basicConstraints", true, vec![format!("CA, path length {path_len}")])
        }
        Extension::DigitalSignature => ("keyUsage", true, vec!["digitalSignature".to_owned()]),
        Extension::CertificateAndCrlSigning => ("keyUsage", true, vec!["keyCertSign, cRLSign".to_owned()]),
        Extension::ExtendedKeyUsage { critical, purposes } => {
            ("extKeyUsage", *critical, purposes.iter().map(|purpose| purpose.name().to_string()).collect())
        }
        Extension::SubjectAltName { critical, names } => {
            ("subjectAltName", *critical, names.iter().map(GeneralName::to_string).collect())
        }
        Extension::SubjectKeyIdentifier(identifier) => ("subjectKeyIdentifier", false, vec![hex(identifier)]),
        Extension::AuthorityKeyIdentifier(identifier) => ("authorityKeyIdentifier", false, vec![hex(identifier)]),
        Extension::NameConstraints(constraints) => ("nameConstraints", true, constrained(constraints)),
        Extension::CertificatePolicies(oids) => ("certificatePolicies", false, texts(oids)),
        Extension::CrlDistributionPoints(urls) => ("cRLDistributionPoints", false, texts(urls)),
        Extension::CaIssuers(urls) => ("authorityInfoAccess caIssuers", false, texts(urls)),
        Extension::Claim(claim) => return said_of_claim(claim),
        Extension::EpochBinding(binding) => {
            ("epochBinding", false, vec![format!("generation {}", binding.generation), hex(&binding.transition)])
        }
    };
    Said { name: name.to_owned(), critical, values }
}

fn said_of_claim(claim: &Claim) -> Said {
    Said { name: format!("claim {}", claim.oid), critical: false, values: vec![hex(&claim.value)] }
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
}

fn constrained(constraints: &NameConstraints) -> Vec<String> {
    let said = |word: &'static str| {
        move |subtree: &Subtree| match subtree {
            Subtree::Dns(base) => format!("{word} dns:{base}"),
            Subtree::Uri(base) => format!("{word} uri:{base}"),
            Subtree::Email(base) => format!("{word} email:{base}"),
            Subtree::Ip(block) => format!("{word} ip:{}", block.as_str()),
        }
    };
    let permitted = constraints.permitted.iter().map(said("permitted"));
    permitted.chain(constraints.excluded.iter().map(said("excluded"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oid::Oid;

    #[test]
    fn what_stands_in_a_list_is_said_value_by_value() {
        let constraints = NameConstraints {
            permitted: vec![Subtree::Dns("a.test".to_owned()), Subtree::Email("b.test".to_owned())],
            excluded: vec![Subtree::Uri(".c.test".to_owned())],
        };
        let said = extension(&Extension::NameConstraints(constraints));
        assert_eq!((said.name.as_str(), said.critical), ("nameConstraints", true));
        assert_eq!(said.values, ["permitted dns:a.test", "permitted email:b.test", "excluded uri:.c.test"]);
        let oids = ["1.2.3", "2.23.140.1.2.1"].map(|oid| Oid::parse(oid).unwrap()).to_vec();
        let said = extension(&Extension::CertificatePolicies(oids));
        assert_eq!((said.name.as_str(), said.critical), ("certificatePolicies", false));
        assert_eq!(said.values, ["1.2.3", "2.23.140.1.2.1"]);
    }
}
