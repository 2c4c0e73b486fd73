//! Names as they came become names that may stand in a certificate, or reasons. Only ASCII case may change, and only
//! where the profile says so; what comes out is what is bound, logged and signed.

use crate::{
    email::Email,
    file::CaseWord,
    ip::IpName,
    name::{COMMON_NAME_CHARS_MAX, DnsName, GeneralName, NameError, NameKind, Uri},
    profile::Profile,
    reason::{Reason, ReasonCode, quote},
    request::{NameInput, Possession, Request},
};

/// The names of a request, each well-formed.
#[derive(Debug)]
pub(crate) struct WellFormed {
    pub(crate) common_name: Option<String>,
    pub(crate) names: Vec<GeneralName>,
}

/// Reads all names, or gives every reason why one of them is none.
pub(crate) fn read(profile: &Profile, request: &Request, reasons: &mut Vec<Reason>) -> Option<WellFormed> {
    let before = reasons.len();
    let (subject, alternative) = match request.possession {
        Possession::Csr(_) => ("csr.subject", "csr.subjectAltName"),
        Possession::Caller => ("common_name", "subject_alt_names"),
    };
    let common_name = request.common_name.as_deref().map(|text| folded(text, profile.case));
    if let Some(Err(sentence)) = common_name.as_deref().map(check_common_name) {
        reasons.push(Reason::new(ReasonCode::NameMalformed, subject, sentence));
    }
    let mut names = Vec::with_capacity(request.names.len());
    for name in &request.names {
        match general_name(profile, name, alternative) {
            Ok(name) => names.push(name),
            Err(reason) => reasons.push(reason),
        }
    }
    (reasons.len() == before).then_some(WellFormed { common_name, names })
}

/// Visible ASCII without comma: a common name is read by programs that split at commas.
fn check_common_name(text: &str) -> Result<(), String> {
    if text.is_empty() || text.chars().count() > COMMON_NAME_CHARS_MAX {
        return Err(format!("the common name {} does not have 1 to {COMMON_NAME_CHARS_MAX} characters", quote(text)));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
        return Err(format!("the common name {} has characters other than visible ASCII without comma", quote(text)));
    }
    Ok(())
}

fn general_name(profile: &Profile, name: &NameInput, field: &'static str) -> Result<GeneralName, Reason> {
    let malformed = |kind: NameKind, text: &str| {
        let text = text.to_owned();
        move |error: NameError| {
            let sentence = format!("the {} {} is not taken: {error}", kind.standard(), quote(&text));
            Reason::new(ReasonCode::NameMalformed, field, sentence)
        }
    };
    match name {
        NameInput::Dns(text) => {
            let text = folded(text, profile.case);
            let wildcards = profile.names.iter().any(|format| format.pattern.is_wildcard());
            let read = if wildcards { DnsName::parse_wildcard(&text) } else { DnsName::parse(&text) };
            read.map(GeneralName::Dns).map_err(malformed(NameKind::Dns, &text))
        }
        NameInput::Uri(text) => {
            let text = folded_uri(text, profile.case);
            Uri::parse(&text).map(GeneralName::Uri).map_err(malformed(NameKind::Uri, &text))
        }
        NameInput::Ip(octets) => {
            IpName::parse(octets).map(GeneralName::Ip).map_err(malformed(NameKind::Ip, &crate::hex(octets)))
        }
        NameInput::Email(text) => Email::parse(text).map(GeneralName::Email).map_err(malformed(NameKind::Email, text)),
        NameInput::Other(kind) => {
            let sentence = format!("the subjectAltName has an {kind}, which no rule takes");
            let reason = Reason::new(ReasonCode::NameKindNotAllowed, field, sentence);
            Err(reason.allowing("dNSName, uniformResourceIdentifier, iPAddress, rfc822Name"))
        }
    }
}

fn folded(text: &str, case: CaseWord) -> String {
    match case {
        CaseWord::Exact => text.to_owned(),
        CaseWord::Fold => text.to_ascii_lowercase(),
    }
}

/// Scheme and host fold; the path is somebody's and stays (RFC 3986, section 6.2.2.1).
fn folded_uri(text: &str, case: CaseWord) -> String {
    let host_begins = text.find("://").map_or(text.len(), |at| at + 3);
    let (scheme, rest) = text.split_at_checked(host_begins).unwrap_or((text, ""));
    let (host, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).unwrap_or((rest, ""));
    [&folded(scheme, case), &folded(host, case), path].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_uri_keeps_its_case() {
        assert_eq!(folded_uri("SPIFFE://Zone/A/b", CaseWord::Fold), "spiffe://zone/A/b");
        assert_eq!(folded_uri("SPIFFE://Zone", CaseWord::Fold), "spiffe://zone");
        assert_eq!(folded_uri("SPIFFE://Zone/A", CaseWord::Exact), "SPIFFE://Zone/A");
        assert_eq!(folded_uri("NoUri/É", CaseWord::Fold), "nouri/É");
    }

    #[test]
    fn only_ascii_folds() {
        assert_eq!(folded("ÀPI.\u{212a}x", CaseWord::Fold), "Àpi.\u{212a}x");
    }
}
