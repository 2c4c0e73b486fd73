//! Name constraints of an authority (RFC 5280, section 4.2.1.10): what its CA certificates let leaves be called.
//!
//! A kind of name that a constraint does not mention is unconstrained in the standard. Here it is excluded as a whole, so
//! that what is written is all that is permitted. The common name is no kind of its own: profiles bind it.

use crate::{
    ip::IpBlock,
    name::{DnsName, GeneralName, NameKind},
};

/// The host that stands for none: it can never exist (RFC 6761, section 6.4).
pub const NO_HOST: &str = "invalid";

/// Most constraints of one kind, permitted or excluded.
pub const CONSTRAINTS_MAX: usize = 64;

/// One range of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subtree {
    /// dNSName: this name and all below it; empty: all.
    Dns(String),
    /// URI: this host, or with a dot before it: all hosts below it.
    Uri(String),
    /// rfc822Name: all mailboxes of this host, or with a dot before it: of all hosts below it.
    Email(String),
    /// iPAddress: all addresses with this prefix.
    Ip(IpBlock),
}

/// The constraints, as they are encoded: every kind is in one of the two lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// permittedSubtrees.
    pub permitted: Vec<Subtree>,
    /// excludedSubtrees.
    pub excluded: Vec<Subtree>,
}

impl NameConstraints {
    /// Whether a name is permitted and not excluded.
    #[must_use]
    pub fn admit(&self, name: &GeneralName) -> bool {
        let covers = |subtree: &Subtree| match (subtree, name) {
            (Subtree::Dns(base), GeneralName::Dns(name)) => dns_within(name.as_str(), base),
            (Subtree::Uri(base), GeneralName::Uri(uri)) => host_within(host_of_uri(uri.as_str()), base),
            (Subtree::Email(base), GeneralName::Email(email)) => host_within(host_of_email(email.as_str()), base),
            (Subtree::Ip(block), GeneralName::Ip(address)) => block.contains(address.address()),
            (Subtree::Dns(_) | Subtree::Uri(_) | Subtree::Email(_) | Subtree::Ip(_), _) => false,
        };
        self.permitted.iter().any(covers) && !self.excluded.iter().any(covers)
    }

    /// Whether a host is permitted as a dNSName would be, and not excluded: what verifiers take a common name for where there is no dNSName.
    #[must_use]
    pub(crate) fn admit_host(&self, host: &str) -> bool {
        let covers = |subtree: &Subtree| base(subtree, NameKind::Dns).is_some_and(|base| dns_within(host, base));
        self.permitted.iter().any(covers) && !self.excluded.iter().any(covers)
    }

    /// Whether no name of this kind that ends in `tail` can be admitted; for URIs and e-mail the tail is that of the host.
    ///
    /// `whole` says that the tail is all of the name; else one character at least stands before it.
    #[must_use]
    pub fn rule_out(&self, kind: NameKind, tail: &str, whole: bool) -> bool {
        let surely = |subtree: &Subtree| match base(subtree, kind) {
            Some(base) if kind == NameKind::Dns && whole => dns_within(tail, base),
            Some(base) if kind == NameKind::Dns => base.is_empty() || tail.ends_with(&format!(".{base}")),
            Some(base) if whole => host_within(tail, base),
            Some(base) => base.starts_with('.') && tail.ends_with(base),
            None => false,
        };
        // What stands before the tail is not known: a longer base may still hold some of the names.
        let perhaps = |subtree: &Subtree| match base(subtree, kind) {
            Some(base) => !whole && base.ends_with(tail),
            None => false,
        };
        let permitted = self.permitted.iter().any(|subtree| surely(subtree) || perhaps(subtree));
        !permitted || self.excluded.iter().any(surely)
    }

    /// Whether no address of a block can be admitted.
    #[must_use]
    pub fn rule_out_block(&self, block: &IpBlock) -> bool {
        let permitted = |subtree: &Subtree| matches!(subtree, Subtree::Ip(other) if other.overlaps(block));
        let excluded = |subtree: &Subtree| matches!(subtree, Subtree::Ip(other) if block.lies_in(other));
        !self.permitted.iter().any(permitted) || self.excluded.iter().any(excluded)
    }

    /// Whether names of this kind can be admitted at all.
    #[must_use]
    pub fn permit_kind(&self, kind: NameKind) -> bool {
        let address = |subtree: &Subtree| kind == NameKind::Ip && matches!(subtree, Subtree::Ip(_));
        let named = |subtree: &Subtree| base(subtree, kind).is_some_and(|base| base != NO_HOST);
        self.permitted.iter().any(|subtree| address(subtree) || named(subtree))
    }

    /// The permitted ranges of a kind, for people.
    #[must_use]
    pub fn allowed(&self, kind: NameKind) -> String {
        let ranges: Vec<_> =
            self.permitted.iter().filter_map(|subtree| text(subtree, kind)).filter(|range| *range != NO_HOST).collect();
        if ranges.is_empty() { "none of this kind".to_owned() } else { ranges.join(", ") }
    }
}

/// A range as it was written, if it is of this kind.
fn text(subtree: &Subtree, kind: NameKind) -> Option<&str> {
    match subtree {
        Subtree::Ip(block) => (kind == NameKind::Ip).then(|| block.as_str()),
        Subtree::Dns(_) | Subtree::Uri(_) | Subtree::Email(_) => base(subtree, kind),
    }
}

/// The name of a range, if it is of this kind.
fn base(subtree: &Subtree, kind: NameKind) -> Option<&str> {
    match (subtree, kind) {
        (Subtree::Dns(base), NameKind::Dns)
        | (Subtree::Uri(base), NameKind::Uri)
        | (Subtree::Email(base), NameKind::Email) => Some(base),
        (Subtree::Dns(_) | Subtree::Uri(_) | Subtree::Email(_) | Subtree::Ip(_), _) => None,
    }
}

/// `name` is `base` or lies below it; everything lies below the empty name.
fn dns_within(name: &str, base: &str) -> bool {
    base.is_empty() || name == base || name.strip_suffix(base).is_some_and(|head| head.ends_with('.'))
}

/// `host` is `base`; or, where `base` begins with a dot, lies below it.
fn host_within(host: &str, base: &str) -> bool {
    host == base || (base.starts_with('.') && host.ends_with(base))
}

/// The host of a URI that was read: it has neither user information nor port.
fn host_of_uri(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

/// The host of an e-mail address.
fn host_of_email(email: &str) -> &str {
    email.rsplit_once('@').map_or(email, |(_, host)| host)
}

/// Whether verifiers hold a common name to the constraints on dNSNames, as OpenSSL does (`cn2dnsid`): labels of letters, digits, `-` and `_`,
/// with a dot between two of them at least. That is more than a dNSName may be.
pub(crate) fn passes_for_host(common_name: &str) -> bool {
    let is_label = |label: &str| {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.bytes().all(fine) && !label.starts_with('-') && !label.ends_with('-')
    };
    common_name.contains('.') && common_name.split('.').all(is_label)
}

/// What stands in a constraint for hosts: a host name, or one with a dot before it. One label is enough.
pub(crate) fn is_host(text: &str, dot_taken: bool) -> bool {
    let name = if dot_taken { text.strip_prefix('.').unwrap_or(text) } else { text };
    // A name below it is a dNSName; one label alone is taken here, too.
    DnsName::parse(&format!("x.{name}")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Uri;

    fn constraints() -> NameConstraints {
        NameConstraints {
            permitted: vec![
                Subtree::Dns("athenz.cloud".to_owned()),
                Subtree::Uri("zone".to_owned()),
                Subtree::Uri(".deep.zone".to_owned()),
            ],
            excluded: vec![Subtree::Dns("bad.athenz.cloud".to_owned()), Subtree::Uri("x.deep.zone".to_owned())],
        }
    }

    #[test]
    fn a_common_name_that_passes_for_a_host_is_told_from_others() {
        for host in ["a.b", "my_dom.api", "sports.1", "ab--c.x", "A.b", "1.2"] {
            assert!(passes_for_host(host), "{host}");
        }
        for other in ["api", "", "a..b", ".a", "a.", "-a.b", "a-.b", "a:role.b", "a b.c", "user.j doe", "\u{e9}.b"] {
            assert!(!passes_for_host(other), "{other}");
        }
    }

    #[test]
    fn names_are_admitted_that_lie_in_a_permitted_and_in_no_excluded_range() {
        let dns = |text| constraints().admit(&GeneralName::Dns(DnsName::parse(text).unwrap()));
        assert!(dns("athenz.cloud") && dns("api.athenz.cloud") && dns("notbad.athenz.cloud"));
        assert!(
            !dns("xathenz.cloud")
                && !dns("athenz.cloud.evil")
                && !dns("bad.athenz.cloud")
                && !dns("a.bad.athenz.cloud")
        );
        let uri = |text| constraints().admit(&GeneralName::Uri(Uri::parse(text).unwrap()));
        assert!(uri("spiffe://zone/a") && uri("spiffe://zone") && uri("spiffe://a.deep.zone/b"));
        assert!(!uri("spiffe://a.zone/a") && !uri("spiffe://deep.zone/a") && !uri("spiffe://x.deep.zone/a"));
        assert!(!uri("spiffe://evil/zone"));
    }

    #[test]
    fn a_format_is_ruled_out_when_no_name_of_it_can_be_admitted() {
        let out = |kind, tail, whole| constraints().rule_out(kind, tail, whole);
        assert!(!out(NameKind::Dns, ".athenz.cloud", false));
        assert!(!out(NameKind::Dns, ".cloud", false), "some names may be within");
        assert!(!out(NameKind::Dns, "", false));
        assert!(out(NameKind::Dns, ".mesh.internal", false));
        assert!(out(NameKind::Dns, ".bad.athenz.cloud", false));
        assert!(out(NameKind::Dns, "xathenz.cloud", true));
        assert!(!out(NameKind::Dns, "athenz.cloud", true));
        assert!(!out(NameKind::Uri, "zone", true) && out(NameKind::Uri, "other", true));
        assert!(!out(NameKind::Uri, ".deep.zone", false));
        for tail in ["", "x.athenz.cloud", "athenz.cloud", "bad.athenz.cloud", "d", "hens.cloud"] {
            assert_eq!(out(NameKind::Dns, tail, false), tail == "hens.cloud", "{tail}: `notbad` ends so, too");
        }
        for (tail, whole) in
            [("cloud", true), ("athenz.cloud.evil", true), ("x.bad.athenz.cloud", true), (".evil", false)]
        {
            assert!(out(NameKind::Dns, tail, whole), "{tail}");
        }
        for (tail, whole) in
            [("a.deep.zone", true), ("x.deep.zone", false), ("y.deep.zone", false), ("one", false), ("", false)]
        {
            assert!(!out(NameKind::Uri, tail, whole), "{tail}");
        }
        for (tail, whole) in
            [("a.zone", true), ("deep.zone", true), ("x.deep.zone", true), (".other", false), (".zone.x", false)]
        {
            assert!(out(NameKind::Uri, tail, whole), "{tail}");
        }
        assert!(out(NameKind::Email, "", false) && out(NameKind::Ip, "", false), "nothing of the kind is permitted");
        let all = NameConstraints { permitted: vec![Subtree::Dns(String::new())], excluded: Vec::new() };
        assert!(!all.rule_out(NameKind::Dns, ".test", false) && !all.rule_out(NameKind::Dns, "a.test", true));
    }

    #[test]
    fn a_kind_is_permitted_where_a_name_of_it_can_be() {
        let permits = |permitted: Subtree| {
            let constraints = NameConstraints { permitted: vec![permitted], excluded: Vec::new() };
            let kinds = [NameKind::CommonName, NameKind::Dns, NameKind::Uri, NameKind::Ip, NameKind::Email];
            kinds.into_iter().filter(|kind| constraints.permit_kind(*kind)).map(NameKind::short).collect::<Vec<_>>()
        };
        assert_eq!(permits(Subtree::Dns("a.test".to_owned())), ["dns"]);
        assert_eq!(permits(Subtree::Uri("a.test".to_owned())), ["uri"]);
        assert_eq!(permits(Subtree::Email("a.test".to_owned())), ["email"]);
        assert_eq!(permits(Subtree::Ip(IpBlock::all_v6())), ["ip"]);
        assert!(permits(Subtree::Uri(NO_HOST.to_owned())).is_empty());
    }

    #[test]
    fn addresses_and_mailboxes_are_held_to_their_ranges() {
        use crate::{email::Email, ip::IpName};
        let block = |text| IpBlock::parse(text).unwrap();
        let constraints = NameConstraints {
            permitted: vec![Subtree::Ip(block("10.0.0.0/8")), Subtree::Email("mail.test".to_owned())],
            excluded: vec![Subtree::Ip(block("10.1.0.0/16")), Subtree::Ip(IpBlock::all_v6())],
        };
        let ip = |octets: &[u8]| constraints.admit(&GeneralName::Ip(IpName::parse(octets).unwrap()));
        assert!(ip(&[10, 2, 3, 4]) && !ip(&[10, 1, 2, 3]) && !ip(&[11, 2, 3, 4]) && !ip(&[0x20; 16]));
        let email = |text| constraints.admit(&GeneralName::Email(Email::parse(text).unwrap()));
        assert!(email("a@mail.test") && !email("a@x.mail.test") && !email("mail.test@evil.test"));
        assert!(!constraints.rule_out_block(&block("10.0.0.0/7")), "some are within");
        assert!(constraints.rule_out_block(&block("10.1.2.0/24")) && constraints.rule_out_block(&block("11.0.0.0/8")));
        assert_eq!(block("10.128.0.0/9").address_and_mask(), [10, 128, 0, 0, 255, 128, 0, 0]);
        assert_eq!(IpBlock::all_v6().address_and_mask(), [0; 32]);
        assert_eq!(constraints.allowed(NameKind::Ip), "10.0.0.0/8");
        assert_eq!(constraints.allowed(NameKind::Uri), "none of this kind");
    }
}
