//! A certificate that would be made, as text.

use hallmark_policy::{
    content::{CertificateContent, Extension},
    hex,
    name::GeneralName,
    said::{self, Said},
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

/// An extension; the issuer's key is a stand-in here.
fn said(extension: &Extension) -> Said {
    let mut said = said::extension(extension);
    if let Extension::AuthorityKeyIdentifier(_) = extension {
        said.values.iter_mut().for_each(|value| value.push_str(" (of the stand-in key)"));
    }
    said
}
