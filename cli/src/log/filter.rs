//! Which entries are meant.

use hallmark_entry::{Summary, summary::Text};

use crate::arguments::FilterArguments;

/// Where an instance's id ends in a dNSName of Copper Argos.
const INSTANCE_MARK: &str = ".instanceid.";

/// How the URI of an instance begins: provider and id follow.
const INSTANCE_URI: &str = "athenz://instanceid/";

impl FilterArguments {
    /// Whether everything that is given applies to the entry. What is private applies to nothing.
    pub(crate) fn admits(&self, entry: &Summary) -> bool {
        let word = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        let text = |wanted: &Option<String>, found: Option<&Text>| {
            wanted.as_ref().is_none_or(|wanted| found.is_some_and(|found| found.is(wanted)))
        };
        let begins = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_ref().is_none_or(|wanted| found.is_some_and(|found| found.starts_with(&wanted.to_lowercase())))
        };
        word(&self.kind, Some(&entry.kind))
            && word(&self.decision, entry.decision.as_deref())
            && text(&self.authority, entry.authority.as_ref())
            && text(&self.profile, entry.profile.as_ref())
            && text(&self.request_id, entry.request_id.as_ref())
            && begins(&self.policy, entry.policy_sha256.as_deref())
            && self.admits_serial(entry)
            && self.reason.as_ref().is_none_or(|code| entry.reasons.known().iter().any(|reason| reason.code == *code))
            && self.admits_caller(entry)
            && self.name.as_ref().is_none_or(|name| entry.names.known().iter().any(|found| is_named(found, name)))
            && self.instance.as_ref().is_none_or(|id| is_about(entry, id))
            && self.since.is_none_or(|since| entry.time >= since.secs().saturating_mul(1_000))
            && self.until.is_none_or(|until| entry.time <= until.secs().saturating_mul(1_000).saturating_add(999))
    }

    /// Leading zeros and capitals are passed over, and so are colons.
    fn admits_serial(&self, entry: &Summary) -> bool {
        let plain = |digits: &str| digits.to_lowercase().replace(':', "").trim_start_matches('0').to_owned();
        self.serial
            .as_ref()
            .is_none_or(|wanted| entry.serial.as_deref().is_some_and(|found| plain(found) == plain(wanted)))
    }

    fn admits_caller(&self, entry: &Summary) -> bool {
        let Some(wanted) = &self.caller else { return true };
        entry.caller.as_ref().is_some_and(|caller| caller.is(wanted))
            || entry.caller_identities.known().iter().any(|identity| is_named(identity, wanted))
    }
}

/// Whether a name such as `dns:a.example` is the wanted one, given with its kind or without; `*` stands for any text.
fn is_named(found: &Text, wanted: &str) -> bool {
    let found = found.to_string();
    let without_kind = found.split_once(':').map_or(found.as_str(), |(_, name)| name);
    matches(&found, wanted) || matches(without_kind, wanted)
}

fn matches(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// Whether an entry is about an instance: it says so, or a name of the certificate or request does.
fn is_about(entry: &Summary, id: &str) -> bool {
    let says_so = entry.instance.as_ref().and_then(|instance| instance.id.as_ref()).is_some_and(|found| found.is(id));
    says_so || entry.names.known().iter().any(|found| is_instance(found, id))
}

/// Whether a name has the id of an instance, in one of the two forms of Copper Argos.
fn is_instance(found: &Text, id: &str) -> bool {
    let found = found.to_string();
    let of_dns = found.strip_prefix("dns:").and_then(|name| name.split_once(INSTANCE_MARK)).map(|(id, _)| id);
    let of_uri = found.strip_prefix("uri:").and_then(|uri| uri.strip_prefix(INSTANCE_URI));
    of_dns == Some(id) || of_uri.and_then(|rest| rest.split_once('/')).map(|(_, id)| id) == Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        for (text, pattern) in
            [("a.b", "a.b"), ("a.b", "*"), ("a.b", "a*"), ("a.b.c", "*b*"), ("a.b.c", "a*c"), ("aa", "a*a")]
        {
            assert!(matches(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in [("a.b", "a"), ("a", "a*a"), ("a.b.c", "*b"), ("a.b", "b*"), ("", "a")] {
            assert!(!matches(text, pattern), "{text} {pattern}");
        }
    }

    #[test]
    fn an_entry_is_about_the_instance_that_it_names_in_whatever_form() {
        let entry = |instance: &str| {
            let text = format!(r#"{{"instance":{instance},"time":1,"type":"alarm","version":1}}"#);
            Summary::parse(text.as_bytes()).unwrap()
        };
        assert!(is_about(&entry(r#"{"id":"i-1","provider":"sys.auth.lab","service":"sports.api"}"#), "i-1"));
        assert!(!is_about(&entry(r#"{"id":"i-12","provider":"sys.auth.lab"}"#), "i-1"));
        assert!(!is_about(&entry(r#"{"commitment":"aa"}"#), "i-1"), "what is private is about nothing");
    }

    #[test]
    fn an_instance_has_its_id_in_a_name_or_in_a_uri() {
        let whole = |text: &str| Text::Whole(text.to_owned());
        assert!(is_instance(&whole("dns:i-1.instanceid.athenz.lab.cloud"), "i-1"));
        assert!(is_instance(&whole("uri:athenz://instanceid/sys.auth.lab/i-1"), "i-1"));
        assert!(!is_instance(&whole("dns:i-12.instanceid.athenz.lab.cloud"), "i-1"));
        assert!(!is_instance(&whole("dns:i-1.example"), "i-1"));
    }
}
