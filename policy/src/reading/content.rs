//! Reading the tables of a policy file that say what certificates contain beside names.

use std::collections::BTreeSet;

use super::{Reader, formats::count};
use crate::{
    claim::{CLAIM_BYTES_MAX, CLAIMS_MAX, ClaimRule, RESERVED},
    constraint::{CONSTRAINTS_MAX, NO_HOST, NameConstraints, Subtree, is_host, passes_for_host},
    file::{ClaimTable, KeysTable, NameConstraintsTable, ProfileTable, SubtreesTable, WindowTable},
    ip::IpBlock,
    key::SpkiDigest,
    name::NameKind,
    oid::{Oid, dotted},
    profile::{Authority, KeyPurpose, LEAF_LIFETIME_MIN, Pattern, Profile},
    time::{Interval, UnixTime},
    web::{URLS_MAX, UrlError},
};

/// Most extended key usages of a profile.
const USAGES_MAX: usize = 16;

/// Most certificate policies of an authority.
const POLICIES_MAX: usize = 8;

/// Where RFC 5280 keeps what means any key purpose and any policy.
const ID_CE: &[u32] = &[2, 5, 29];

impl Reader {
    pub(super) fn denied(&mut self, table: &KeysTable) -> BTreeSet<SpkiDigest> {
        let mut denied = BTreeSet::new();
        for text in &table.denied {
            match SpkiDigest::parse(text) {
                Some(digest) if denied.insert(digest) => {}
                Some(_) => self.mistake("keys", format!("`denied` has `{text}` twice")),
                None => self.mistake(
                    "keys",
                    format!(
                        "`denied`: `{text}` is no SHA-256 of a SubjectPublicKeyInfo: write 64 digits of 0-9 and a-f"
                    ),
                ),
            }
        }
        denied
    }

    pub(super) fn usages(&mut self, place: &str, words: &[String]) -> Vec<KeyPurpose> {
        let mut usages = Vec::new();
        for word in words {
            let named = KeyPurpose::NAMED.into_iter().find(|purpose| purpose.name() == *word);
            match named.or_else(|| self.other_usage(place, word)) {
                Some(purpose) if usages.contains(&purpose) => {
                    self.mistake(place, format!("`usages` has `{word}` twice"));
                }
                Some(purpose) => usages.push(purpose),
                None => {}
            }
        }
        if words.is_empty() {
            self.mistake(place, "`usages` is empty: a certificate without extended key usage is good for everything");
        }
        if words.len() > USAGES_MAX {
            self.mistake(place, format!("`usages` has {} entries; at most {USAGES_MAX} are taken", words.len()));
        }
        if usages.contains(&KeyPurpose::TimeStamping) && usages.len() > 1 {
            self.mistake(
                place,
                "`time-stamping` stands alone in `usages` (RFC 3161, section 2.3): give it a profile of its own",
            );
        }
        usages
    }

    fn other_usage(&mut self, place: &str, word: &str) -> Option<KeyPurpose> {
        let Ok(oid) = Oid::parse(word) else {
            let known = KeyPurpose::NAMED.map(|purpose| purpose.name().into_owned()).join(", ");
            let sentence = format!("there is no usage `{word}`; there are {known}, and dotted object identifiers");
            self.mistake(place, sentence);
            return None;
        };
        if let Some(named) = KeyPurpose::NAMED.into_iter().find(|purpose| purpose.arcs() == oid.arcs()) {
            self.mistake(place, format!("`usages`: write `{}` for `{word}`", named.name()));
            return None;
        }
        if oid.is_within(ID_CE) {
            self.mistake(
                place,
                format!("`usages`: `{word}` is no purpose, or it means every purpose; name those wanted"),
            );
            return None;
        }
        Some(KeyPurpose::Other(oid))
    }

    pub(super) fn urls<U: PartialEq>(
        &mut self,
        place: &str,
        field: &str,
        texts: &[String],
        parse: impl Fn(&str) -> Result<U, UrlError>,
    ) -> Vec<U> {
        if texts.len() > URLS_MAX {
            self.mistake(place, format!("`{field}` has {} entries; at most {URLS_MAX} are taken", texts.len()));
        }
        let mut urls = Vec::new();
        for text in texts {
            match parse(text) {
                Ok(url) if urls.contains(&url) => self.mistake(place, format!("`{field}` has `{text}` twice")),
                Ok(url) => urls.push(url),
                Err(error) => self.mistake(place, format!("`{field}`: `{text}` is not taken: {error}")),
            }
        }
        urls
    }

    pub(super) fn oids(&mut self, place: &str, field: &str, texts: &[String]) -> Vec<Oid> {
        if texts.len() > POLICIES_MAX {
            self.mistake(place, format!("`{field}` has {} entries; at most {POLICIES_MAX} are taken", texts.len()));
        }
        let mut oids = Vec::new();
        for text in texts {
            match Oid::parse(text) {
                Ok(oid) if oids.contains(&oid) => self.mistake(place, format!("`{field}` has `{text}` twice")),
                Ok(oid) if oid.is_within(ID_CE) => {
                    self.mistake(
                        place,
                        format!("`{field}`: `{text}` is no policy, or it means any; name those wanted"),
                    );
                }
                Ok(oid) => oids.push(oid),
                Err(error) => self.mistake(place, format!("`{field}`: {error}")),
            }
        }
        oids
    }

    /// The policies of a profile's leaves: what the CA certificates do not assert would count for nothing.
    pub(super) fn policies_of(&mut self, profile: &mut Profile, table: &ProfileTable, authority: &Authority) {
        let Some(texts) = &table.policies else {
            profile.policies.clone_from(&authority.policies);
            return;
        };
        let place = format!("profile.{}", profile.name);
        profile.policies = self.oids(&place, "policies", texts);
        for oid in profile.policies.iter().filter(|oid| !authority.policies.contains(oid)) {
            let sentence = format!("`policies` has `{oid}`, which `policies` of authority `{}` lacks", authority.name);
            self.mistake(&place, sentence);
        }
    }

    pub(super) fn window(&mut self, place: &str, table: Option<&WindowTable>) -> Option<Interval> {
        let table = table?;
        let mut point = |field: &str, text: &str| {
            UnixTime::parse(text).map_err(|error| self.mistake(place, format!("`window.{field}`: {error}"))).ok()
        };
        let (from, until) = (point("from", &table.from), point("until", &table.until));
        let window = Interval { not_before: from?, not_after: until? };
        if window.not_after.secs_since(window.not_before) < LEAF_LIFETIME_MIN.secs() {
            self.mistake(place, format!("`window` ends before it begins, or is shorter than {LEAF_LIFETIME_MIN}"));
        }
        Some(window)
    }

    pub(super) fn claims(&mut self, place: &str, tables: &[ClaimTable]) -> Vec<ClaimRule> {
        let mut rules: Vec<ClaimRule> = Vec::new();
        for table in tables {
            let arc = match Oid::parse(&table.arc) {
                Ok(arc) => arc,
                Err(error) => {
                    self.mistake(place, format!("`claims`: {error}"));
                    continue;
                }
            };
            if let Some(reserved) = RESERVED.iter().find(|arcs| arc.is_within(arcs) || arcs.starts_with(arc.arcs())) {
                let sentence = format!("`claims`: `{arc}` and {} overlap, where no claim lies", dotted(reserved));
                self.mistake(place, sentence);
            }
            let overlapping = |rule: &&ClaimRule| arc.is_within(rule.arc.arcs()) || rule.arc.is_within(arc.arcs());
            if let Some(other) = rules.iter().find(overlapping) {
                self.mistake(place, format!("`claims`: `{arc}` and `{}` lie one in the other", other.arc));
            }
            if table.bytes_max == 0 || table.bytes_max > CLAIM_BYTES_MAX {
                self.mistake(place, format!("`claims`: `bytes-max` of `{arc}` lies between 1 and {CLAIM_BYTES_MAX}"));
            }
            if table.types.is_empty() {
                self.mistake(place, format!("`claims`: `types` of `{arc}` is empty: no claim could be taken"));
            }
            let (at_least, at_most) =
                count(&table.count).filter(|(_, high)| (1..=CLAIMS_MAX).contains(high)).unwrap_or_else(|| {
                    let sentence =
                        format!("`claims`: `count` of `{arc}` is written `1`, `0..1` or `1..4`, at most {CLAIMS_MAX}");
                    self.mistake(place, sentence);
                    (0, 1)
                });
            rules.push(ClaimRule { arc, at_least, at_most, bytes_max: table.bytes_max, types: table.types.clone() });
        }
        rules
    }

    /// Every kind of name is permitted somewhere or excluded as a whole.
    pub(super) fn name_constraints(
        &mut self,
        place: &str,
        table: Option<&NameConstraintsTable>,
    ) -> Option<NameConstraints> {
        let table = table?;
        let mut constraints = NameConstraints {
            permitted: self.subtrees(place, "permitted", &table.permitted),
            excluded: self.subtrees(place, "excluded", &table.excluded),
        };
        if constraints.permitted.is_empty() {
            self.mistake(place, "`name-constraints` permits nothing: no certificate could be valid");
        }
        let SubtreesTable { dns, uri, email, .. } = &table.permitted;
        if dns.is_empty() {
            constraints.excluded.push(Subtree::Dns(String::new()));
        }
        // Verifiers do not agree on the empty constraint for these two; all agree that only this host is permitted.
        if uri.is_empty() {
            constraints.permitted.push(Subtree::Uri(NO_HOST.to_owned()));
        }
        if email.is_empty() {
            constraints.permitted.push(Subtree::Email(NO_HOST.to_owned()));
        }
        for version in [IpBlock::all_v4(), IpBlock::all_v6()] {
            let is_permitted = |subtree: &Subtree| matches!(subtree, Subtree::Ip(block) if block.overlaps(&version));
            if !constraints.permitted.iter().any(is_permitted) {
                constraints.excluded.push(Subtree::Ip(version));
            }
        }
        Some(constraints)
    }

    fn subtrees(&mut self, place: &str, field: &str, table: &SubtreesTable) -> Vec<Subtree> {
        let SubtreesTable { dns, uri, ip, email } = table;
        for (kind, texts) in [("dns", dns), ("uri", uri), ("ip", ip), ("email", email)] {
            if texts.len() > CONSTRAINTS_MAX {
                self.mistake(place, format!("`name-constraints.{field}.{kind}` has over {CONSTRAINTS_MAX} entries"));
            }
        }
        let mut subtrees: Vec<Subtree> = Vec::new();
        let host = |text: &String, dot| is_host(text, dot).then(|| text.clone());
        let read =
            dns.iter()
                .map(|text| (text, "dns", "a name without a dot before it", host(text, false).map(Subtree::Dns)))
                .chain(
                    uri.iter()
                        .map(|text| (text, "uri", "a host, or `.` and a host", host(text, true).map(Subtree::Uri))),
                )
                .chain(ip.iter().map(|text| {
                    (text, "ip", "a block such as `10.0.0.0/8`", IpBlock::parse(text).ok().map(Subtree::Ip))
                }))
                .chain(
                    email
                        .iter()
                        .map(|text| (text, "email", "a host, or `.` and a host", host(text, true).map(Subtree::Email))),
                );
        for (text, kind, wanted, subtree) in read {
            match subtree {
                Some(subtree) if subtrees.contains(&subtree) => {
                    self.mistake(place, format!("`name-constraints.{field}.{kind}` has `{text}` twice"));
                }
                Some(subtree) => subtrees.push(subtree),
                None => {
                    self.mistake(
                        place,
                        format!("`name-constraints.{field}.{kind}`: `{text}` is not taken: write {wanted}"),
                    );
                }
            }
        }
        subtrees
    }

    /// A profile whose names its own authority's constraints would invalidate could not work.
    pub(super) fn within_constraints(&mut self, profile: &Profile, authority: &Authority) {
        let Some(constraints) = &authority.name_constraints else { return };
        let place = format!("profile.{}", profile.name);
        self.common_name_within(&place, profile, authority, constraints);
        for format in &profile.names {
            let text = format.pattern.as_str();
            let kind = format.kind.standard();
            let of = &authority.name;
            if !constraints.permit_kind(format.kind) {
                let sentence = format!("the name constraints of authority `{of}` exclude every {kind}: `{text}`");
                self.mistake(&place, sentence);
                continue;
            }
            let out = match &format.pattern {
                Pattern::Block(block) => constraints.rule_out_block(block).then(|| text.to_owned()),
                Pattern::Template(template) => {
                    let mut tails = template.tails(format.kind, &profile.vocabulary).into_iter();
                    let out = tails.find(|(tail, whole)| constraints.rule_out(format.kind, tail, *whole));
                    out.map(|(tail, _)| tail)
                }
            };
            if let Some(tail) = out {
                let sentence = format!(
                    "the name constraints of authority `{of}` would invalidate names of the format `{text}` that end in `{tail}`"
                );
                self.mistake(&place, sentence);
            }
        }
    }

    /// Where a certificate has no dNSName, verifiers hold its common name to the constraints on dNSNames, if it passes for a host.
    fn common_name_within(
        &mut self,
        place: &str,
        profile: &Profile,
        authority: &Authority,
        constraints: &NameConstraints,
    ) {
        let needs_dns = profile.names.iter().any(|format| format.kind == NameKind::Dns && format.at_least > 0);
        let Some(template) = profile.common_name.as_ref().filter(|_| !needs_dns) else { return };
        let mut tails = template.tails(NameKind::CommonName, &profile.vocabulary).into_iter();
        // Of a part anything is known but that it may be without a dot, and then no host.
        let surely_a_host =
            |tail: &str, whole: bool| passes_for_host(&if whole { tail.to_owned() } else { format!("x{tail}") });
        let out = tails
            .find(|(tail, whole)| surely_a_host(tail, *whole) && constraints.rule_out(NameKind::Dns, tail, *whole));
        if let Some((tail, _)) = out {
            let sentence = format!(
                "verifiers take a `common-name` that ends in `{tail}` for a host where there is no dNSName, and the name constraints of \
                 authority `{}` would invalidate it",
                authority.name
            );
            self.mistake(place, sentence);
        }
    }
}
