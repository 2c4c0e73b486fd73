//! A certificate that would be made, as text.

use hallmark_policy::{
    claim::Claim,
    constraint::{NameConstraints, Subtree},
    content::{CertificateContent, Extension},
    hex,
    name::GeneralName,
    profile::KeyPurpose,
};
use serde_json::{Value, json};

use crate::{table::Table, when};

/// The names in it: `cn:..` and the subjectAltName's.
pub(crate) fn names(content: &CertificateContent) -> Vec<String> {
    let mut names: Vec<_> = content.subject.attributes().iter().map(|(_, value)| format!("cn:{value}")).collect();
    for extension in &content.extensions {
        if let Extension::SubjectAltName { names: more, .. } = extension {
            names.extend(more.iter().map(GeneralName::to_string));
        }
    }
    names
}

/// What it says, for people.
pub(crate) fn table(content: &CertificateContent) -> Table {
    let mut table = Table::new();
    let validity = content.validity;
    let subject = if content.subject.is_empty() { "(empty)".to_owned() } else { content.subject.to_string() };
    table.row(["serial", "random, 128 bits"]);
    table.row(["subject", &subject]);
    table.row(["issuer", &content.issuer.to_string()]);
    table.row(["not before", &validity.not_before.to_string()]);
    let span = when::span(validity.not_after.secs_since(validity.not_before));
    table.row(["not after", &format!("{}, {span} later", validity.not_after)]);
    table.row(["key", &format!("{}, spki-sha256 {}", content.key.kind(), hex(content.key.digest().as_bytes()))]);
    table.row(["signed with", content.algorithm.name()]);
    for extension in &content.extensions {
        let Said { name, critical, values } = said(extension);
        let name = if critical { format!("{name} (critical)") } else { name };
        table.list(&name, values.iter().map(String::as_str));
    }
    table
}

/// What it says, for programs.
pub(crate) fn to_json(content: &CertificateContent) -> Value {
    let extension = |extension: &Extension| {
        let Said { name, critical, values } = said(extension);
        json!({ "name": name, "critical": critical, "values": values })
    };
    json!({
        "serial": "random",
        "subject": content.subject.to_string(),
        "issuer": content.issuer.to_string(),
        "not-before": content.validity.not_before.to_string(),
        "not-after": content.validity.not_after.to_string(),
        "key": { "kind": content.key.kind().name(), "spki-sha256": hex(content.key.digest().as_bytes()) },
        "signature-algorithm": content.algorithm.name(),
        "names": names(content),
        "extensions": content.extensions.iter().map(extension).collect::<Vec<_>>(),
    })
}

struct Said {
    name: String,
    critical: bool,
    values: Vec<String>,
}

fn said(extension: &Extension) -> Said {
    let (name, critical, values) = match extension {
        Extension::EndEntity => ("basicConstraints", true, vec!["no CA".to_owned()]),
        Extension::CertificateAuthority { path_len } => {
            ("basicConstraints", true, vec![format!("CA, path length {path_len}")])
        }
        Extension::DigitalSignature => ("keyUsage", true, vec!["digitalSignature".to_owned()]),
        Extension::CertificateAndCrlSigning => ("keyUsage", true, vec!["keyCertSign, cRLSign".to_owned()]),
        Extension::ExtendedKeyUsage { critical, purposes } => {
            ("extKeyUsage", *critical, purposes.iter().map(purpose).collect())
        }
        Extension::SubjectAltName { critical, names } => {
            ("subjectAltName", *critical, names.iter().map(GeneralName::to_string).collect())
        }
        Extension::SubjectKeyIdentifier(identifier) => ("subjectKeyIdentifier", false, vec![hex(identifier)]),
        Extension::AuthorityKeyIdentifier(identifier) => {
            ("authorityKeyIdentifier", false, vec![format!("{} (of the stand-in key)", hex(identifier))])
        }
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

fn purpose(purpose: &KeyPurpose) -> String {
    purpose.name().to_string()
}
