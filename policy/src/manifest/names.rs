//! Names in a manifest: each is classified as Contrast does, and is a name that may stand in a certificate, or a problem.

use std::net::IpAddr;

use super::{
    json::{Reader, Stop},
    shape,
};
use crate::{
    decide,
    ip::IpName,
    name::{DnsName, GeneralName, NAMES_MAX, NameError, Uri},
    names,
    profile::{Authority, Policy},
    reason::{Reason, ReasonCode, quote},
};

/// Most bytes that the names of one policy have together: its certificate stays under what is endorsed.
pub const NAMES_BYTES_MAX: usize = 32_768;

/// Under which policy and for which authority a manifest is to be set.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) policy: &'a Policy,
    pub(super) authority: &'a Authority,
}

/// Reads `SANs`.
pub(super) fn read(reader: &mut Reader<'_>, rules: Option<Rules<'_>>) -> Result<Vec<GeneralName>, Stop> {
    let mut found: Vec<GeneralName> = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    let _array = reader.kind()?;
    let begin = reader.at;
    shape::strings(reader, "SANs", &mut |reader, at, text| {
        count += 1;
        bytes += text.len();
        if count > NAMES_MAX {
            return;
        }
        match name(text) {
            Ok(name) if found.contains(&name) => {
                reader.note(at, format!("the name {} stands twice", quote(text)), None);
            }
            Ok(name) => {
                for Reason { code, sentence, allowed, .. } in
                    rules.into_iter().flat_map(|rules| rules.objections(&name))
                {
                    let permitted = code == ReasonCode::NameConstrained;
                    let hint = allowed.map(|allowed| if permitted { format!("permitted: {allowed}") } else { allowed });
                    reader.note(at, sentence, hint.as_deref());
                }
                found.push(name);
            }
            Err(sentence) => reader.note(at, sentence, None),
        }
    })?;
    if count > NAMES_MAX {
        reader.note(begin, format!("there are {count} names"), Some("at most 100 are taken"));
    }
    if bytes > NAMES_BYTES_MAX {
        reader.note(begin, format!("the names have {bytes} bytes together"), Some("at most 32768 are taken"));
    }
    if let Some(reason) = names::spiffe_ids(&found) {
        reader.note(begin, reason.sentence, Some("a certificate has at most one"));
    }
    Ok(found)
}

/// A name as Contrast tells the kinds apart: an IP address, else a URI with a scheme, else a dNSName.
///
/// No dNSName has a colon, so that what Contrast's reader might take for a scheme or not is never a name of another kind.
fn name(text: &str) -> Result<GeneralName, String> {
    let refused =
        |kind: &str, error: &dyn std::fmt::Display| format!("the {kind} {} is not taken: {error}", quote(text));
    if let Ok(address) = text.parse::<IpAddr>() {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let address = IpName::parse(&octets).map_err(|error| refused("iPAddress", &error))?;
        if address.as_str() != text {
            return Err(refused("iPAddress", &format!("it is written `{}`", address.as_str())));
        }
        return Ok(GeneralName::Ip(address));
    }
    if text.contains(':') {
        return Uri::parse(text).map(GeneralName::Uri).map_err(|error| refused("uniformResourceIdentifier", &error));
    }
    if text == "*" {
        return Err("the name `*` would be good for every host: name the hosts".to_owned());
    }
    dns_name(text).map(GeneralName::Dns).map_err(|error| refused("dNSName", &error))
}

/// Any dNSName: which of them an authority takes is a rule of its policy.
fn dns_name(text: &str) -> Result<DnsName, NameError> {
    if text.contains('.') || text.is_empty() { DnsName::parse_wildcard(text) } else { DnsName::parse_label(text) }
}

impl Rules<'_> {
    /// Everything that the policy has against a name when a manifest is set.
    fn objections(self, name: &GeneralName) -> Vec<Reason> {
        let Self { policy, authority } = self;
        let shape = objection(authority, name).into_iter();
        shape.chain(decide::constrained(authority, name)).chain(decide::callers_name(policy, name)).collect()
    }
}

/// What an authority has against the shape of a manifest's name: when the manifest is set, and for every certificate, since the
/// policy may have changed in between.
pub(super) fn objection(authority: &Authority, name: &GeneralName) -> Option<Reason> {
    let taken = authority.manifest_names();
    let (what, setting) = match name {
        GeneralName::Dns(name) if name.is_wildcard() && !taken.wildcards => ("wildcard", "wildcards"),
        GeneralName::Dns(name) if name.is_label() && !taken.single_labels => {
            ("name of a single label", "single-labels")
        }
        GeneralName::Dns(_) | GeneralName::Uri(_) | GeneralName::Ip(_) | GeneralName::Email(_) => return None,
    };
    let name = quote(name.as_str());
    let sentence = format!("authority `{}` takes no {what} from manifests: {name}", authority.name);
    let allowed = format!("another name, or `manifest-names = {{ {setting} = true }}` of the authority");
    Some(Reason::new(ReasonCode::NameKindNotAllowed, "names", sentence).allowing(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::NameKind;

    #[test]
    fn names_are_addresses_else_uris_else_hosts() {
        for (text, kind) in [
            ("10.0.0.1", NameKind::Ip),
            ("2001:db8::1", NameKind::Ip),
            ("::1", NameKind::Ip),
            ("spiffe://zone/ns/a", NameKind::Uri),
            ("https://a.example/x", NameKind::Uri),
            ("web", NameKind::Dns),
            ("web.example", NameKind::Dns),
            ("*.web.example", NameKind::Dns),
        ] {
            let name = name(text).unwrap();
            assert_eq!((name.kind(), name.as_str()), (kind, text));
        }
    }

    #[test]
    fn what_could_be_of_two_kinds_is_no_name() {
        for text in [
            "",
            "*",
            "10.0.0.256",
            "010.0.0.1",
            "10.0.0.1.",
            "10.0.0",
            "1",
            "0x7f000001",
            "::ffff:10.0.0.1",
            "2001:DB8::1",
            "2001:db8:0:0::1",
            "[::1]",
            "fe80::1%eth0",
            "::",
            "0.0.0.0",
            "web:443",
            "10.0.0.1:443",
            "mailto:a@b.example",
            "SPIFFE://zone/a",
            "spiffe:zone",
            "//zone/a",
            "a@b.example",
            "web.",
            ".web",
            "Web",
            "we_b",
            "web,shop",
            "web shop",
            "web\n",
            "w\u{e9}b",
            "\u{ff57}eb.example",
            "xn--web.example",
            "*.web",
            "a.*.example",
            "*a.example",
            "*.*.example",
        ] {
            assert!(name(text).is_err(), "`{text}` is a name");
        }
    }
}
