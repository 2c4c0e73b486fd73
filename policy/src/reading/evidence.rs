//! Reading what a profile says about evidence.

use std::collections::{BTreeMap, BTreeSet};

use super::Reader;
use crate::{
    evidence::{EvidenceKey, EvidenceRule, JwsAlgorithm, REGISTERED, read_set},
    file::{EvidenceKeyTable, EvidenceTable},
    key::PublicKey,
    reason::quote,
    template::{INSTANCE, PROVIDER, Segment, Template},
    time::Span,
    weak,
};

/// Most keys of an issuer.
const KEYS_MAX: usize = 32;

/// Longest text of a JWK set, in bytes.
const JWKS_BYTES_MAX: usize = 65_536;

/// Most claims that are compared with names.
const CLAIMS_MAX: usize = 16;

/// Longest issuer, audience, type, `kid` and name of a claim, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// The greatest age that a policy can take.
const AGE_MAX: Span = Span::from_days(1);

/// The greatest difference of clocks that a policy can take.
const CLOCK_SKEW_MAX: Span = Span::from_secs(300);

/// The difference of clocks if the policy does not say.
const CLOCK_SKEW_DEFAULT: Span = Span::from_secs(30);

/// Label of a PEM block that carries a SubjectPublicKeyInfo (RFC 7468, section 13).
const PEM_LABEL: &str = "PUBLIC KEY";

impl Reader {
    pub(super) fn evidence(
        &mut self,
        place: &str,
        table: &EvidenceTable,
        formats: &[&Template],
    ) -> Option<EvidenceRule> {
        let place = &format!("{place}.evidence");
        let before = self.mistakes.len();
        let texts = [("issuer", Some(&table.issuer)), ("audience", Some(&table.audience)), ("typ", table.typ.as_ref())];
        for (field, text) in texts {
            if text.is_some_and(|text| !is_text(text)) {
                self.mistake(place, format!("`{field}` has 1 to {TEXT_BYTES_MAX} bytes of visible ASCII"));
            }
        }
        let keys = self.evidence_keys(place, table);
        let algorithms = self.evidence_algorithms(place, &table.algorithms, &keys);
        let age_max = self.span(place, "max-age", &table.max_age, Span::from_secs(1), AGE_MAX);
        let clock_skew = table.clock_skew.as_deref().map_or(CLOCK_SKEW_DEFAULT, |text| {
            self.span(place, "clock-skew", text, Span::from_secs(0), CLOCK_SKEW_MAX)
        });
        let claims = self.evidence_claims(place, &table.claims, formats);
        let EvidenceTable { issuer, audience, typ, confirmation, .. } = table.clone();
        (self.mistakes.len() == before).then_some(EvidenceRule {
            issuer,
            audience,
            typ,
            algorithms,
            keys,
            age_max,
            clock_skew,
            confirmation,
            claims,
        })
    }

    fn evidence_keys(&mut self, place: &str, table: &EvidenceTable) -> Vec<EvidenceKey> {
        let mut keys = Vec::new();
        let before = self.mistakes.len();
        for entry in &table.keys {
            match key_of_pem(entry) {
                Ok(key) => keys.push(key),
                Err(sentence) => self.mistake(place, format!("`keys`: {sentence}")),
            }
        }
        match &table.jwks {
            Some(text) if text.len() > JWKS_BYTES_MAX => {
                self.mistake(place, format!("`jwks` has {} bytes; at most {JWKS_BYTES_MAX} are read", text.len()));
            }
            Some(text) => match read_set(text) {
                Ok(set) => keys.extend(set),
                Err(sentence) => self.mistake(place, format!("`jwks`: {sentence}")),
            },
            None => {}
        }
        if keys.is_empty() && self.mistakes.len() == before {
            self.mistake(place, "it has no key: name `keys` or `jwks`");
        }
        if keys.len() > KEYS_MAX {
            self.mistake(place, format!("it has {} keys; at most {KEYS_MAX} are taken", keys.len()));
        }
        for (at, key) in keys.iter().enumerate() {
            if let Some(weakness) = weak::weakness(&key.key) {
                self.mistake(place, format!("the key {} is weak: {weakness}", key.name()));
            }
            if key.kid.as_ref().is_some_and(|kid| !is_text(kid)) {
                self.mistake(place, format!("a `kid` has 1 to {TEXT_BYTES_MAX} bytes of visible ASCII"));
            }
            if keys.iter().take(at).any(|other| other.kid == key.kid) {
                self.mistake(place, format!("two keys are the key {}: nothing says which one is meant", key.name()));
            }
        }
        keys
    }

    /// Each algorithm fits a key, and each key has an algorithm: nothing stands there for nothing.
    fn evidence_algorithms(&mut self, place: &str, words: &[String], keys: &[EvidenceKey]) -> Vec<JwsAlgorithm> {
        let mut algorithms: Vec<JwsAlgorithm> = Vec::new();
        for word in words {
            match JwsAlgorithm::from_name(word) {
                Some(algorithm) if algorithms.contains(&algorithm) => {
                    self.mistake(place, format!("`algorithms` has `{word}` twice"));
                }
                Some(algorithm) => algorithms.push(algorithm),
                None => {
                    let known = JwsAlgorithm::ALL.map(JwsAlgorithm::name).join(", ");
                    self.mistake(place, format!("there is no algorithm `{word}`; there are {known}"));
                }
            }
        }
        if words.is_empty() {
            self.mistake(place, "`algorithms` is empty: no evidence could be taken");
        }
        let signs = |key: &EvidenceKey, algorithm: &JwsAlgorithm| {
            algorithm.fits(key.key.kind()) && key.algorithm.is_none_or(|own| own == *algorithm)
        };
        for algorithm in algorithms.iter().filter(|algorithm| !keys.iter().any(|key| signs(key, algorithm))) {
            if !keys.is_empty() {
                self.mistake(place, format!("`algorithms`: no key signs with `{algorithm}`; hint: leave it out"));
            }
        }
        for key in keys.iter().filter(|key| !algorithms.iter().any(|algorithm| signs(key, algorithm))) {
            if !algorithms.is_empty() {
                let kind = key.key.kind();
                self.mistake(place, format!("`algorithms` has none for the key {}, which is {kind}", key.name()));
            }
        }
        algorithms
    }

    fn evidence_claims(
        &mut self,
        place: &str,
        table: &BTreeMap<String, String>,
        formats: &[&Template],
    ) -> BTreeMap<String, Template> {
        if table.is_empty() || table.len() > CLAIMS_MAX {
            let sentence = format!("`claims` has {} entries; 1 to {CLAIMS_MAX} say whose key it is", table.len());
            self.mistake(place, sentence);
        }
        let bound: Vec<&str> = formats.iter().flat_map(|template| template.parts()).collect();
        let names_provider = formats.iter().any(|template| template.names_provider());
        let mut claims = BTreeMap::new();
        for (name, text) in table {
            if !is_text(name) || REGISTERED.contains(&name.as_str()) {
                let sentence = format!("`claims`: `{}` is looked at by itself, or is no name", name.escape_debug());
                self.mistake(place, sentence);
            }
            let template = match Template::parse(text) {
                Ok(template) => template,
                Err(error) => {
                    self.mistake(place, format!("`claims`: `{text}`: {error}"));
                    continue;
                }
            };
            for segment in template.segments() {
                let missing = match segment {
                    Segment::Literal(_) => None,
                    Segment::Part(part) | Segment::Dashed(part) => {
                        (!bound.contains(&part.as_str())).then_some(part.as_str())
                    }
                    Segment::ProviderName => (!names_provider).then_some(PROVIDER),
                    Segment::ProviderSuffix => Some("provider.suffix"),
                };
                if let Some(part) = missing {
                    self.mistake(place, format!("`claims`: `{text}`: no format binds `{{{part}}}`"));
                }
            }
            if template.is_wildcard() {
                self.mistake(place, format!("`claims`: `{text}`: a wildcard stands in a dNSName only"));
            }
            claims.insert(name.clone(), template);
        }
        let has = |part: &str| claims.values().any(|template| template.parts().any(|found| found == part));
        if bound.contains(&INSTANCE) && !has(INSTANCE) {
            self.mistake(place, "`claims`: none has `{instance}`: evidence of one instance would do for another");
        }
        let unsaid = bound.iter().filter(|part| **part != INSTANCE && !has(part)).collect::<BTreeSet<_>>();
        for part in unsaid {
            self.mistake(
                place,
                format!("`claims`: none has `{{{part}}}`: evidence of one service would do for another"),
            );
        }
        if !claims
            .values()
            .any(|template| template.segments().iter().any(|segment| !matches!(segment, Segment::Literal(_))))
        {
            self.mistake(place, "`claims`: none has a part: evidence would do for any names");
        }
        claims
    }
}

fn key_of_pem(entry: &EvidenceKeyTable) -> Result<EvidenceKey, String> {
    let named = |sentence: String| match &entry.kid {
        Some(kid) => format!("{}: {sentence}", quote(kid)),
        None => sentence,
    };
    let (label, der) = pem_rfc7468::decode_vec(entry.spki.trim().as_bytes())
        .map_err(|_| named("`spki` is not one strict PEM block (RFC 7468)".to_owned()))?;
    if label.contains("PRIVATE KEY") {
        let sentence = "a private key is known to others from now on: replace it, and write its public half";
        return Err(named(sentence.to_owned()));
    }
    if label != PEM_LABEL {
        return Err(named(format!("the PEM block is labelled otherwise than {PEM_LABEL}")));
    }
    let key = PublicKey::parse(&der).map_err(|error| named(error.to_string()))?;
    Ok(EvidenceKey { kid: entry.kid.clone(), key, algorithm: None })
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}
