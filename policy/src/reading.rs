//! Reading a policy file: from what was typed to what is meant, with every mistake told at once.

mod content;
mod evidence;
mod formats;
mod instances;
mod rotation;

use std::{collections::BTreeMap, num::NonZeroU16};

use crate::{
    caller::Identity,
    crl::CRL_PARTITIONS_MAX,
    file::{AuthorityTable, CaTable, CallerTable, CrlTable, LifetimeTable, PolicyFile, ProfileTable},
    key::{KeyKind, SignatureAlgorithm, sha256},
    limits::{self, Rate},
    mistake::Mistake,
    name::{DistinguishedName, DnsName, NameAttribute, Uri},
    profile::{
        Authority, BACKDATE_MAX, CA_LIFETIME_MAX, CRL_LIFETIME_MAX, CRL_LIFETIME_MIN, CaProfile, CallerRule,
        CrlProfile, LEAF_LIFETIME_MAX, LEAF_LIFETIME_MIN, LONG_LIVED_LIFETIME_MAX, Lifetime, Method, Policy,
        PolicyDigest, Profile,
    },
    request::LABEL_BYTES_MAX,
    template::Provider,
    time::Span,
    web::{CrlUrl, GENERATION, HttpUrl, PARTITION},
};

/// Where notBefore lies if the profile does not say.
const BACKDATE_DEFAULT: Span = Span::from_secs(300);

/// The shortest that one CRL waits for the next.
const CRL_REFRESH_MIN: Span = Span::from_secs(60);

/// Longest name of an authority, in bytes: it is part of the labels of its keys, which tokens bound.
const AUTHORITY_BYTES_MAX: usize = 32;

/// id-ce-subjectAltName (RFC 5280, section 4.2.1.6).
const SUBJECT_ALT_NAME: &str = "2.5.29.17";

/// extensionRequest (RFC 2985, section 5.4.2).
const EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";

/// Names that the log gives to others than callers of the policy.
const RESERVED_CALLERS: [&str; 5] =
    [crate::authority::OPERATOR, crate::decide_crl::SIGNER, "unnamed", "unreadable", "other"];

/// Makes the policy, or tells every mistake.
pub(crate) fn read(file: &PolicyFile, text: &str) -> Result<Policy, Vec<Mistake>> {
    let mut reader = Reader::default();
    let policy = reader.policy(file, text);
    if reader.mistakes.is_empty() { Ok(policy) } else { Err(reader.mistakes) }
}

#[derive(Default)]
struct Reader {
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn mistake(&mut self, place: &str, sentence: impl std::fmt::Display) {
        self.mistakes.push(Mistake::new(place, sentence));
    }

    fn policy(&mut self, file: &PolicyFile, text: &str) -> Policy {
        if file.version != 1 {
            self.mistake("", format!("`version` is {}; this signer reads version 1", file.version));
        }
        let providers = self.providers(file);
        let authorities: BTreeMap<_, _> =
            file.authority.iter().map(|(name, table)| (name.clone(), self.authority(name, table))).collect();
        self.shared_owners(&authorities);
        let mut profiles = BTreeMap::new();
        for (name, table) in &file.profile {
            if !authorities.contains_key(&table.authority) {
                self.mistake(&format!("profile.{name}"), format!("there is no authority `{}`", table.authority));
            }
            let mut profile = self.profile(name, table, &providers);
            if let Some(authority) = authorities.get(&table.authority) {
                self.policies_of(&mut profile, table, authority);
                self.within_constraints(&profile, authority);
                self.of_a_manifest(&profile, authority);
            }
            profiles.insert(name.clone(), profile);
        }
        self.overlaps(&profiles);
        let callers: Vec<_> =
            file.caller.iter().filter_map(|(name, table)| self.caller(name, table, &profiles)).collect();
        self.twice(&callers);
        let digest = PolicyDigest(sha256(text.as_bytes()));
        let denied = self.denied(&file.keys);
        Policy { digest, text: text.to_owned(), authorities, profiles, callers, denied }
    }

    fn label(&mut self, place: &str, name: &str) {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > LABEL_BYTES_MAX || !name.bytes().all(fine) {
            self.mistake(place, "a name has 1 to 64 characters of letters, digits, `-`, `_` and `.`");
        }
    }

    fn providers(&mut self, file: &PolicyFile) -> BTreeMap<String, Provider> {
        let mut providers = BTreeMap::new();
        let mut seen: Vec<(String, String)> = Vec::new();
        for (name, table) in &file.provider {
            let place = format!("provider.{name}");
            self.label(&place, name);
            if table.dns_suffixes.is_empty() {
                self.mistake(&place, "`dns-suffixes` is empty");
            }
            for suffix in &table.dns_suffixes {
                if let Err(error) = DnsName::parse(suffix) {
                    self.mistake(&place, format!("the suffix `{suffix}` is no dNSName: {error}"));
                }
                for (other, of) in &seen {
                    let below = |inner: &str, outer: &str| inner == outer || inner.ends_with(&format!(".{outer}"));
                    if below(suffix, other) || below(other, suffix) {
                        let sentence = format!("the suffix `{suffix}` and `{other}` of `{of}` are one below the other");
                        self.mistake(&place, sentence);
                    }
                }
                seen.push((suffix.clone(), name.clone()));
            }
            providers.insert(name.clone(), Provider { name: name.clone(), suffixes: table.dns_suffixes.clone() });
        }
        providers
    }

    fn authority(&mut self, name: &str, table: &AuthorityTable) -> Authority {
        self.label(&format!("authority.{name}"), name);
        if name.len() > AUTHORITY_BYTES_MAX {
            let sentence = format!(
                "the name of an authority has at most {AUTHORITY_BYTES_MAX} characters: it stands in key labels"
            );
            self.mistake(&format!("authority.{name}"), sentence);
        }
        if name.bytes().all(|byte| byte == b'.') {
            self.mistake(
                &format!("authority.{name}"),
                "the name of an authority is not made of dots: it is that of a directory",
            );
        }
        let root = self.ca(&format!("authority.{name}.root"), &table.root);
        let epoch = self.ca(&format!("authority.{name}.epoch"), &table.epoch);
        if table.epoch.path_length.is_some() {
            self.mistake(&format!("authority.{name}.epoch"), "`path-length` is for a root: that of an epoch is 0");
        }
        if epoch.offline {
            self.mistake(
                &format!("authority.{name}.epoch"),
                "only a root is offline: the key of an epoch signs leaves",
            );
        }
        if root.subject == epoch.subject {
            let place = format!("authority.{name}.epoch");
            self.mistake(&place, "its subject is that of the root: chains could not be told apart");
        }
        if epoch.lifetime > root.lifetime {
            self.mistake(&format!("authority.{name}.epoch"), "it lives longer than the root");
        }
        let place = format!("authority.{name}");
        self.mixed_chain(&place, table.mixed_chain, [root.key, epoch.key]);
        let crl_urls = self.urls(&place, "crl-urls", &table.crl_urls, CrlUrl::parse);
        if let (Some(_), Some(url)) = (&table.crl, crl_urls.iter().find(|url| !url.names_generation())) {
            let sentence = format!("`crl-urls`: `{url}` has no `{GENERATION}`, and every epoch signs a CRL of its own");
            self.mistake(&place, sentence);
        }
        self.check_partitions(&place, table, &crl_urls);
        Authority {
            name: name.to_owned(),
            root,
            epoch,
            name_constraints: self.name_constraints(&place, table.name_constraints.as_ref()),
            crl: table.crl.as_ref().map(|crl| self.crl(&place, crl)),
            crl_urls,
            ca_issuer_urls: self.urls(&place, "ca-issuer-urls", &table.ca_issuer_urls, HttpUrl::parse),
            policies: self.oids(&place, "policies", &table.policies),
            rotation: self.rotation(&place, table),
        }
    }

    /// A chain is as strong as the weaker of its signatures.
    fn mixed_chain(&mut self, place: &str, permitted: bool, [root, epoch]: [KeyKind; 2]) {
        let is_mixed = root.family().is_post_quantum() != epoch.family().is_post_quantum();
        if is_mixed && !permitted {
            let sentence = format!(
                "the root's key is {root} and the epochs' is {epoch}: whoever forges the signatures of one forges the chain; hint: have both of \
                 one sort, or write `mixed-chain = true` if that is meant"
            );
            self.mistake(place, sentence);
        }
        if permitted && !is_mixed {
            let sentence = format!("`mixed-chain = true`, and {root} and {epoch} are of one sort; hint: leave it out");
            self.mistake(place, sentence);
        }
    }

    /// Leaves name the CRL of their partition where there are partitions, and only there.
    fn check_partitions(&mut self, place: &str, table: &AuthorityTable, crl_urls: &[CrlUrl]) {
        let has_partitions = table.crl.as_ref().is_some_and(|crl| crl.partitions.is_some());
        match crl_urls.iter().find(|url| url.names_partition() != has_partitions) {
            Some(url) if has_partitions => {
                let sentence = format!(
                    "`crl-urls`: `{url}` has no `{PARTITION}`, and `crl.partitions` gives each a CRL of its own"
                );
                self.mistake(place, sentence);
            }
            Some(url) => {
                self.mistake(place, format!("`crl-urls`: `{url}` has `{PARTITION}`, and `crl.partitions` is not set"));
            }
            None if has_partitions && table.crl_urls.is_empty() => {
                self.mistake(place, "`crl.partitions` needs `crl-urls`: a leaf says there in which partition it is");
            }
            None => {}
        }
    }

    fn crl(&mut self, place: &str, table: &CrlTable) -> CrlProfile {
        let mistakes = self.mistakes.len();
        let lifetime = self.span(place, "crl.lifetime", &table.lifetime, CRL_LIFETIME_MIN, CRL_LIFETIME_MAX);
        let refresh = self.span(place, "crl.refresh", &table.refresh, CRL_REFRESH_MIN, CRL_LIFETIME_MAX);
        if refresh.secs() > lifetime.secs() / 2 && self.mistakes.len() == mistakes {
            let sentence =
                "`crl.refresh` is over half of `crl.lifetime`: where one attempt fails, the next would come too late";
            self.mistake(place, sentence);
        }
        let root_urls = self.urls(place, "crl.root-urls", &table.root_urls, HttpUrl::parse);
        if table.partitions.is_some_and(|partitions| !(2..=CRL_PARTITIONS_MAX).contains(&partitions)) {
            self.mistake(place, format!("`crl.partitions` is from 2 to {CRL_PARTITIONS_MAX}"));
        }
        CrlProfile {
            lifetime,
            refresh,
            distribution_point: table.distribution_point,
            partitions: table.partitions.and_then(NonZeroU16::new),
            root_urls,
        }
    }

    fn ca(&mut self, place: &str, table: &CaTable) -> CaProfile {
        let mut attributes = Vec::new();
        if let Some(country) = &table.country {
            if country.len() != 2 || !country.bytes().all(|byte| byte.is_ascii_uppercase()) {
                self.mistake(place, "`country` has two capital letters");
            }
            attributes.push((NameAttribute::Country, country.clone()));
        }
        let named = [
            ("organization", NameAttribute::Organization, table.organization.as_deref()),
            ("common-name", NameAttribute::CommonName, Some(table.common_name.as_str())),
        ];
        for (field, attribute, value) in named {
            let Some(value) = value else { continue };
            if value.trim() != value
                || value.is_empty()
                || value.chars().count() > 64
                || value.contains(char::is_control)
            {
                self.mistake(place, format!("`{field}` has 1 to 64 characters, none of them control characters"));
            }
            attributes.push((attribute, value.to_owned()));
        }
        let key = self.key_kind(place, &table.key);
        let algorithm = match &table.signature {
            None => SignatureAlgorithm::default_for(key),
            Some(name) => match SignatureAlgorithm::from_name(name).filter(|algorithm| key.signs_with(*algorithm)) {
                Some(algorithm) => algorithm,
                None => {
                    self.mistake(place, format!("`signature = \"{name}\"` is nothing that a key of {key} signs with"));
                    SignatureAlgorithm::default_for(key)
                }
            },
        };
        let lifetime = self.span(place, "lifetime", &table.lifetime, LEAF_LIFETIME_MIN, CA_LIFETIME_MAX);
        if !matches!(table.path_length, None | Some(1 | 2)) {
            self.mistake(place, "`path-length` is 1 or 2");
        }
        let path_length = table.path_length.unwrap_or(1);
        let subject = DistinguishedName::new(attributes);
        CaProfile { subject, lifetime, key, algorithm, offline: table.offline, path_length }
    }

    fn key_kind(&mut self, place: &str, name: &str) -> KeyKind {
        KeyKind::from_name(name).unwrap_or_else(|| {
            let known = KeyKind::ALL.map(KeyKind::name).join(", ");
            self.mistake(place, format!("there is no key kind `{name}`; there are {known}"));
            KeyKind::EcdsaP256
        })
    }

    fn span(&mut self, place: &str, field: &str, text: &str, at_least: Span, at_most: Span) -> Span {
        match Span::parse(text) {
            Ok(span) if at_least <= span && span <= at_most => span,
            Ok(span) => {
                self.mistake(place, format!("`{field}` is {span}; it lies between {at_least} and {at_most}"));
                at_least
            }
            Err(error) => {
                self.mistake(place, format!("`{field}`: {error}"));
                at_least
            }
        }
    }

    fn profile(&mut self, name: &str, table: &ProfileTable, providers: &BTreeMap<String, Provider>) -> Profile {
        let place = format!("profile.{name}");
        self.label(&place, name);
        let keys: Vec<_> = table.keys.iter().map(|key| self.key_kind(&place, key)).collect();
        if keys.is_empty() {
            self.mistake(&place, "`keys` is empty: no request could be approved");
        }
        self.names_from(&place, table);
        let formats = self.formats(&place, table, providers);
        self.ignored(&place, &table.ignore);
        let templates =
            formats.common_name.iter().chain(formats.names.iter().filter_map(|name| name.pattern.template()));
        let evidence =
            table.evidence.as_ref().and_then(|table| self.evidence(&place, table, &templates.collect::<Vec<_>>()));
        let instances =
            table.instances.as_ref().and_then(|instances| self.instances(&place, table, instances, &formats));
        let (limits, mistakes) = limits::read(table, formats.common_name.as_ref(), &formats.names);
        mistakes.into_iter().for_each(|sentence| self.mistake(&place, sentence));
        Profile {
            name: name.to_owned(),
            authority: table.authority.clone(),
            lifetime: self.lifetime(&place, &table.lifetime, table.long_lived.as_deref()),
            keys,
            usages: self.usages(&place, &table.usages),
            possession: table.possession,
            names_from: table.names_from,
            workload_secret_id: table.workload_secret_id,
            common_name: formats.common_name,
            names: formats.names,
            per_kind: formats.per_kind,
            case: table.case,
            vocabulary: formats.vocabulary,
            ignore: table.ignore.clone(),
            policies: Vec::new(),
            window: self.window(&place, table.window.as_ref()),
            claims: self.claims(&place, &table.claims),
            evidence,
            limits,
            instances,
        }
    }

    fn ignored(&mut self, place: &str, oids: &[String]) {
        for oid in oids {
            let arc = |arc: &str| arc.parse::<u32>().is_ok_and(|number| number.to_string() == arc);
            if oid.split('.').count() < 2 || !oid.split('.').all(arc) {
                self.mistake(place, format!("`ignore`: `{oid}` is no dotted object identifier"));
            }
            if [SUBJECT_ALT_NAME, EXTENSION_REQUEST].contains(&oid.as_str()) {
                self.mistake(
                    place,
                    format!("`ignore`: `{oid}` is read whatever stands here; its names fit the formats"),
                );
            }
        }
    }

    fn lifetime(&mut self, place: &str, table: &LifetimeTable, long_lived: Option<&str>) -> Lifetime {
        if long_lived.is_some_and(|reason| reason.trim().is_empty()) {
            self.mistake(place, "`long-lived` gives its reason in words");
        }
        let mistakes = self.mistakes.len();
        let limit = if long_lived.is_some() { LONG_LIVED_LIFETIME_MAX } else { LEAF_LIFETIME_MAX };
        let maximum = self.span(place, "lifetime.maximum", &table.maximum, LEAF_LIFETIME_MIN, limit);
        let default = self.span(place, "lifetime.default", &table.default, LEAF_LIFETIME_MIN, limit);
        if default > maximum && self.mistakes.len() == mistakes {
            self.mistake(place, "`lifetime.default` is over `lifetime.maximum`");
        }
        let backdate = table.backdate.as_deref().map_or(BACKDATE_DEFAULT, |text| {
            self.span(place, "lifetime.backdate", text, Span::from_secs(0), BACKDATE_MAX)
        });
        Lifetime { default, maximum, over: table.over, backdate }
    }

    fn caller(&mut self, name: &str, table: &CallerTable, profiles: &BTreeMap<String, Profile>) -> Option<CallerRule> {
        let place = format!("caller.{name}");
        self.label(&place, name);
        if RESERVED_CALLERS.contains(&name) {
            self.mistake(&place, "the log uses this name for somebody else; choose another");
        }
        let identity = match (&table.uri, &table.dns) {
            (Some(uri), None) => Uri::parse(uri).map(|uri| Identity::Uri(uri.as_str().to_owned())),
            (None, Some(dns)) => DnsName::parse(dns).map(|name| Identity::Dns(name.as_str().to_owned())),
            (None, None) | (Some(_), Some(_)) => {
                self.mistake(&place, "a caller has either `uri` or `dns`");
                return None;
            }
        };
        let identity =
            identity.map_err(|error| self.mistake(&place, format!("its identity is no name: {error}"))).ok()?;
        let mut methods = Vec::new();
        for word in &table.methods {
            match Method::from_name(word) {
                Some(method) => methods.push(method),
                None => {
                    let known = Method::ALL.map(Method::name).join(", ");
                    self.mistake(&place, format!("there is no method `{word}`; there are {known}"));
                }
            }
        }
        for profile in table.profiles.iter().filter(|profile| !profiles.contains_key(*profile)) {
            self.mistake(&place, format!("there is no profile `{profile}`"));
        }
        self.callers_providers(&place, table, profiles);
        let rate = table.rate.as_deref().map(Rate::parse).transpose();
        let rate = rate.map_err(|error| self.mistake(&place, format!("`rate`: {error}"))).ok()?;
        let (profiles, providers) = (table.profiles.clone(), table.providers.clone());
        Some(CallerRule { name: name.to_owned(), identity, methods, profiles, providers, rate })
    }

    /// Each provider is one of a profile's, and each profile with providers has one that is left.
    fn callers_providers(&mut self, place: &str, table: &CallerTable, profiles: &BTreeMap<String, Profile>) {
        let Some(providers) = &table.providers else { return };
        if providers.is_empty() {
            self.mistake(
                place,
                "`providers` is empty: it could speak for none; hint: leave it out for all of the profile's",
            );
        }
        let has = |profile: &Profile, name: &str| profile.vocabulary.providers.iter().any(|known| known.name == name);
        let known: Vec<&Profile> = table.profiles.iter().filter_map(|name| profiles.get(name)).collect();
        for (at, name) in providers.iter().enumerate() {
            if providers.iter().take(at).any(|other| other == name) {
                self.mistake(place, format!("`providers` has `{name}` twice"));
            } else if !known.iter().any(|profile| has(profile, name)) {
                self.mistake(place, format!("`providers`: no profile of this caller has the provider `{name}`"));
            }
        }
        for profile in known.iter().filter(|profile| !profile.vocabulary.providers.is_empty()) {
            if !providers.iter().any(|name| has(profile, name)) {
                let sentence = format!("`providers` leaves none of those that profile `{}` has", profile.name);
                self.mistake(place, sentence);
            }
        }
    }

    fn twice(&mut self, callers: &[CallerRule]) {
        for (at, rule) in callers.iter().enumerate() {
            if let Some(other) = callers.iter().take(at).find(|other| other.identity == rule.identity) {
                let sentence = format!("`{}` is the identity of `{}`, too", rule.identity, other.name);
                self.mistake(&format!("caller.{}", rule.name), sentence);
            }
        }
    }
}
