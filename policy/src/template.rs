//! Name formats: templates with named parts that bind once and must agree everywhere.
//!
//! `{domain}.{service}` reads a common name; `{service}.{domain:dashes}.{provider.suffix}` a dNSName in which the dots of
//! `domain` are written as dashes and the end is one of a provider's suffixes. What a part is bound to in one name
//! is what it must be in all others.

mod reading;

use std::collections::BTreeMap;

use crate::name::NameKind;
use reading::Reading;

/// Longest template, in bytes.
const TEMPLATE_BYTES_MAX: usize = 512;

/// Most ends of names that are told apart; beyond, the rest of a format counts as unknown.
const TAILS_MAX: usize = 256;

/// What a part may be bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its shape.
    pub shape: Shape,
    /// If not empty: these values only.
    pub one_of: Vec<String>,
    /// Never these values.
    pub none_of: Vec<String>,
}

impl Part {
    /// Whether the part may have this value. Every label begins and ends with something else than `-`, and none is an
    /// internationalised one (`xn--`), whatever kind of name it stands in.
    pub(crate) fn takes(&self, value: &str) -> bool {
        let label = |label: &str| {
            !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && !label.starts_with("xn--")
        };
        let shaped = match self.shape {
            Shape::Label => !value.contains('.') && label(value),
            Shape::Dotted => value.split('.').all(label),
            Shape::Path => value.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != ".."),
        };
        let listed = |list: &[String]| list.iter().any(|listed| listed == value);
        let shaped = shaped && value.bytes().all(|byte| self.shape.takes(byte));
        shaped && (self.one_of.is_empty() || listed(&self.one_of)) && !listed(&self.none_of)
    }
}

/// The shape of a part's value. Characters are a-z, 0-9, `-` and `_`; in a path also A-Z and `.`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One label: no dot.
    Label,
    /// One or more labels with dots between.
    Dotted,
    /// One or more segments with `/` between, none of them `.` or `..`, as SPIFFE writes paths (SPIFFE-ID, section 2.2).
    Path,
}

impl Shape {
    /// The word that policy files use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Dotted => "dotted",
            Self::Path => "path",
        }
    }

    /// Whether a value of this shape may have this byte.
    pub(crate) fn takes(self, byte: u8) -> bool {
        let always = byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        match self {
            Self::Label => always,
            Self::Dotted => always || byte == b'.',
            Self::Path => always || byte == b'.' || byte == b'/' || byte.is_ascii_uppercase(),
        }
    }
}

/// A provider of instances (Copper Argos): its service name and its DNS suffixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name, for example `sys.auth.aws`.
    pub name: String,
    /// Its suffixes, for example `aws.athenz.cloud`.
    pub suffixes: Vec<String>,
}

/// What the parts of a profile's formats may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// The parts by name.
    pub parts: BTreeMap<String, Part>,
    /// The providers that `{provider}` and `{provider.suffix}` may mean.
    pub providers: Vec<Provider>,
    /// Parts that are written with dashes somewhere.
    pub dashed: Vec<String>,
    /// Whether the parts in `dashed` may hold dashes themselves: then the ledger gives every written form away once.
    pub dashes_claimed: bool,
}

impl Vocabulary {
    fn refuses_dashes(&self, part: &str) -> bool {
        !self.dashes_claimed && self.dashed.iter().any(|dashed| dashed == part)
    }
}

/// What the parts are bound to so far, by name.
pub type Bindings = BTreeMap<String, String>;

/// The part that `{provider}` and `{provider.suffix}` bind.
pub const PROVIDER: &str = "provider";

/// The part that names an instance. Profiles whose formats have it follow instances.
pub const INSTANCE: &str = "instance";

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    Part(String),
    Dashed(String),
    ProviderName,
    ProviderSuffix,
}

/// A name format, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
}

/// Why text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Empty, or over 512 bytes.
    #[error("a format has 1 to {TEMPLATE_BYTES_MAX} bytes")]
    Length,
    /// A brace without its partner, or an empty part.
    #[error("a brace in the format has no partner, or nothing stands between two")]
    Braces,
    /// A modifier other than `:dashes`.
    #[error(
        "`{{{part}}}` has a modifier that does not exist; `:dashes` is the only one, and `provider.suffix` the only member"
    )]
    Modifier {
        /// What stands between the braces.
        part: String,
    },
    /// Two parts with nothing between them.
    #[error("two parts stand side by side: nothing says where one ends")]
    Adjacent,
    /// Characters that no name has.
    #[error(
        "the fixed text of a format is visible ASCII without comma and spaces, and `*.` stands at its beginning only"
    )]
    Literal,
}

impl Template {
    /// Reads a format.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() || text.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::Length);
        }
        let mut segments = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('{') {
                let (part, after) = inner.split_once('}').ok_or(TemplateError::Braces)?;
                if segments.last().is_some_and(|last| !matches!(last, Segment::Literal(_))) {
                    return Err(TemplateError::Adjacent);
                }
                segments.push(part_segment(part)?);
                rest = after;
            } else {
                let end = rest.find('{').unwrap_or(rest.len());
                let (literal, after) = rest.split_at(end);
                if literal.contains('}') {
                    return Err(TemplateError::Braces);
                }
                let fixed = if segments.is_empty() { literal.strip_prefix("*.").unwrap_or(literal) } else { literal };
                if !fixed.bytes().all(|byte| byte.is_ascii_graphic() && !b",*".contains(&byte)) {
                    return Err(TemplateError::Literal);
                }
                segments.push(Segment::Literal(literal.to_owned()));
                rest = after;
            }
        }
        Ok(Self { text: text.to_owned(), segments })
    }

    /// The format as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its pieces, in order.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether it begins with `*.`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.text.starts_with("*.")
    }

    /// Names of the parts that it binds, without `provider`.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Part(name) | Segment::Dashed(name) => Some(name.as_str()),
            Segment::Literal(_) | Segment::ProviderName | Segment::ProviderSuffix => None,
        })
    }

    /// Names of the parts that it writes with dashes.
    pub fn dashed_parts(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Dashed(name) => Some(name.as_str()),
            Segment::Literal(_) | Segment::Part(_) | Segment::ProviderName | Segment::ProviderSuffix => None,
        })
    }

    /// Whether it names a provider.
    #[must_use]
    pub fn names_provider(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::ProviderName | Segment::ProviderSuffix))
    }

    /// The ends that names of this format have, as far as it fixes them; each with whether it is all of the name.
    ///
    /// Of URIs and e-mail addresses these are the ends of their hosts.
    #[must_use]
    pub fn tails(&self, kind: NameKind, vocabulary: &Vocabulary) -> Vec<(String, bool)> {
        let segments = match kind {
            NameKind::Uri => self.between("://", "/"),
            NameKind::Email => self.between("@", "@"),
            NameKind::CommonName | NameKind::Dns | NameKind::Ip => self.segments.clone(),
        };
        let mut tails = vec![String::new()];
        for segment in segments.iter().rev() {
            let heads: Vec<String> = match segment {
                Segment::Literal(literal) => vec![literal.clone()],
                Segment::Part(name) => vocabulary.parts.get(name).map(|part| part.one_of.clone()).unwrap_or_default(),
                Segment::ProviderName => vocabulary.providers.iter().map(|provider| provider.name.clone()).collect(),
                Segment::ProviderSuffix => {
                    vocabulary.providers.iter().flat_map(|provider| provider.suffixes.clone()).collect()
                }
                Segment::Dashed(_) => Vec::new(),
            };
            if heads.is_empty() || heads.len() * tails.len() > TAILS_MAX {
                return tails.into_iter().map(|tail| (tail, false)).collect();
            }
            tails = heads.iter().flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}"))).collect();
        }
        tails.into_iter().map(|tail| (tail, true)).collect()
    }

    /// Two of its parts, one of them with `:dashes`, between which nothing tells where the one ends and the other begins:
    /// `{service}-{domain:dashes}` writes the service `a-b` of `c` and the service `a` of `b.c` alike.
    pub(crate) fn run_together(&self, vocabulary: &Vocabulary) -> Option<(&str, &str)> {
        let may_hold = |segment: &Segment, byte: u8| match segment {
            Segment::Part(name) => vocabulary.parts.get(name).is_some_and(|part| {
                part.one_of.is_empty() && part.shape.takes(byte) && !(byte == b'-' && vocabulary.refuses_dashes(name))
            }),
            Segment::Dashed(name) => {
                vocabulary.parts.get(name).is_some_and(|part| part.one_of.is_empty()) && Shape::Label.takes(byte)
            }
            Segment::Literal(_) | Segment::ProviderName | Segment::ProviderSuffix => false,
        };
        let name = |segment: &'_ Segment| match segment {
            Segment::Part(name) | Segment::Dashed(name) => self.parts().find(|part| part == name),
            Segment::Literal(_) | Segment::ProviderName | Segment::ProviderSuffix => None,
        };
        // Both could hold all that stands between them.
        let are_one = |from: &Segment, between: &[Segment], to: &Segment| {
            between.iter().all(|segment| match segment {
                Segment::Literal(text) => text.bytes().all(|byte| may_hold(from, byte) && may_hold(to, byte)),
                Segment::Part(_) | Segment::Dashed(_) => (0..128)
                    .filter(|byte| may_hold(segment, *byte))
                    .all(|byte| may_hold(from, byte) && may_hold(to, byte)),
                Segment::ProviderName | Segment::ProviderSuffix => false,
            })
        };
        self.segments.iter().enumerate().find_map(|(at, from)| {
            let first = name(from).filter(|_| may_hold(from, b'a'))?;
            let after = self.segments.get(at + 1..)?;
            after.iter().enumerate().find_map(|(end, to)| {
                let is_dashed = [from, to].iter().any(|segment| matches!(segment, Segment::Dashed(_)));
                let second = name(to).filter(|_| is_dashed && may_hold(to, b'a'))?;
                are_one(from, after.get(..end)?, to).then_some((first, second))
            })
        })
    }

    /// The segments between two pieces of fixed text.
    fn between(&self, from: &str, to: &str) -> Vec<Segment> {
        let mut between = Vec::new();
        let mut inside = false;
        for segment in &self.segments {
            let Segment::Literal(literal) = segment else {
                if inside {
                    between.push(segment.clone());
                }
                continue;
            };
            let mut rest = literal.as_str();
            if !inside {
                let Some((_, after)) = rest.split_once(from) else { continue };
                (rest, inside) = (after, true);
            }
            let (head, ends) = rest.split_once(to).map_or((rest, false), |(head, _)| (head, true));
            if !head.is_empty() {
                between.push(Segment::Literal(head.to_owned()));
            }
            if ends {
                break;
            }
        }
        between
    }

    /// The text that comes of it where the parts are bound so. `None`: one of them is not, or it is no plain text.
    #[must_use]
    pub fn write(&self, bound: &Bindings) -> Option<String> {
        self.segments.iter().try_fold(String::new(), |text, segment| {
            Some(match segment {
                Segment::Literal(literal) => text + literal,
                Segment::Part(name) => text + bound.get(name)?,
                Segment::Dashed(name) => text + &bound.get(name)?.replace('.', "-"),
                Segment::ProviderName => text + bound.get(PROVIDER)?,
                Segment::ProviderSuffix => return None,
            })
        })
    }

    /// Every way to read `text` in this format that agrees with `bound`. `None`: more ways than may be tried.
    #[must_use]
    pub fn read(&self, text: &str, bound: &Bindings, vocabulary: &Vocabulary) -> Option<Vec<Bindings>> {
        let mut reading = Reading { vocabulary, steps: 0, found: Vec::new() };
        reading.step(&self.segments, text, bound.clone())?;
        reading.found.dedup();
        Some(reading.found)
    }
}

fn part_segment(part: &str) -> Result<Segment, TemplateError> {
    let word = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    match part {
        "provider" => Ok(Segment::ProviderName),
        "provider.suffix" => Ok(Segment::ProviderSuffix),
        _ => match part.split_once(':') {
            None if word(part) => Ok(Segment::Part(part.to_owned())),
            Some((name, "dashes")) if word(name) && name != PROVIDER => Ok(Segment::Dashed(name.to_owned())),
            None if part.is_empty() => Err(TemplateError::Braces),
            None | Some(_) => Err(TemplateError::Modifier { part: part.to_owned() }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        let part = |shape| Part { shape, one_of: Vec::new(), none_of: Vec::new() };
        Vocabulary {
            parts: BTreeMap::from([
                ("domain".to_owned(), part(Shape::Dotted)),
                ("service".to_owned(), part(Shape::Label)),
                ("instance".to_owned(), part(Shape::Dotted)),
            ]),
            providers: vec![
                Provider { name: "sys.aws".to_owned(), suffixes: vec!["aws.athenz.cloud".to_owned()] },
                Provider { name: "sys.gcp".to_owned(), suffixes: vec!["gcp.athenz.cloud".to_owned()] },
            ],
            dashed: vec!["domain".to_owned()],
            dashes_claimed: false,
        }
    }

    fn read(template: &str, text: &str, bound: &Bindings) -> Vec<Bindings> {
        Template::parse(template).unwrap().read(text, bound, &vocabulary()).unwrap()
    }

    fn bindings(pairs: &[(&str, &str)]) -> Bindings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_service_is_the_last_label_of_the_common_name() {
        let found = read("{domain}.{service}", "media.sports.api", &Bindings::new());
        assert_eq!(found, [bindings(&[("domain", "media.sports"), ("service", "api")])]);
    }

    #[test]
    fn dots_of_the_domain_are_dashes_in_the_dns_name() {
        let bound = bindings(&[("domain", "media.sports"), ("service", "api")]);
        let format = "{service}.{domain:dashes}.{provider.suffix}";
        assert_eq!(read(format, "api.media-sports.aws.athenz.cloud", &bound).len(), 1);
        assert_eq!(read(format, "api.media.sports.aws.athenz.cloud", &bound).len(), 0);
        assert_eq!(read(format, "api.media-news.aws.athenz.cloud", &bound).len(), 0);
        assert_eq!(read(format, "api.media-sports.aws.athenz.cloud.evil", &bound).len(), 0);
    }

    #[test]
    fn a_domain_with_a_dash_is_refused_where_dots_become_dashes() {
        assert_eq!(read("{domain}.{service}", "a.b-c.api", &Bindings::new()), []);
    }

    #[test]
    fn the_provider_of_one_name_is_the_provider_of_all() {
        let format = "{instance}.instanceid.athenz.{provider.suffix}";
        let found = read(format, "i-1.pod.instanceid.athenz.gcp.athenz.cloud", &Bindings::new());
        assert_eq!(found, [bindings(&[("instance", "i-1.pod"), ("provider", "sys.gcp")])]);
        let aws = bindings(&[("provider", "sys.aws")]);
        assert_eq!(read(format, "i-1.instanceid.athenz.gcp.athenz.cloud", &aws), []);
    }

    #[test]
    fn a_part_takes_what_its_shape_says() {
        let takes = |shape, value: &str| Part { shape, one_of: Vec::new(), none_of: Vec::new() }.takes(value);
        for value in ["a", "0", "a-b", "a--b", "a_b", "_a"] {
            assert!(takes(Shape::Label, value) && takes(Shape::Dotted, value) && takes(Shape::Path, value), "{value}");
        }
        for value in ["", "-", "-a", "a-", "-a-", "xn--a", "-xn--a", "A", "é", "a b", "a,b", "a*"] {
            assert!(!takes(Shape::Label, value) && !takes(Shape::Dotted, value), "{value}");
        }
        for value in ["a.b", "a.b-c.d"] {
            assert!(takes(Shape::Dotted, value) && !takes(Shape::Label, value) && takes(Shape::Path, value), "{value}");
        }
        for value in [".", ".a", "a.", "a..b", "a.-b", "a-.b", "a.xn--b", "a/b"] {
            assert!(!takes(Shape::Dotted, value) && !takes(Shape::Label, value), "{value}");
        }
        for value in ["a/b", "A/b.c/-d", "...", "a/.b"] {
            assert!(
                takes(Shape::Path, value) && !takes(Shape::Dotted, value) && !takes(Shape::Label, value),
                "{value}"
            );
        }
        for value in ["", "/", "/a", "a/", "a//b", ".", "..", "a/.", "a/../b", "a:b", "a b"] {
            assert!(!takes(Shape::Path, value), "{value}");
        }
        let listed = |one_of: &[&str], none_of: &[&str], value: &str| {
            let owned = |list: &[&str]| list.iter().map(|value| (*value).to_owned()).collect();
            Part { shape: Shape::Label, one_of: owned(one_of), none_of: owned(none_of) }.takes(value)
        };
        assert!(listed(&["a", "b"], &[], "b") && !listed(&["a", "b"], &[], "c"));
        assert!(!listed(&[], &["a"], "a") && listed(&[], &["a"], "b") && !listed(&["a"], &["a"], "a"));
    }

    #[test]
    fn every_mistake_of_a_format_has_its_name() {
        let wrong = |text: &str| Template::parse(text).unwrap_err();
        assert_eq!(
            (wrong(""), wrong("{}"), wrong("{a")),
            (TemplateError::Length, TemplateError::Braces, TemplateError::Braces)
        );
        for part in ["A", "a.b", "a:dots", "provider:dashes", ":dashes"] {
            assert_eq!(wrong(&format!("{{{part}}}")), TemplateError::Modifier { part: part.to_owned() });
        }
        assert_eq!(
            (wrong("{a}{b}"), wrong("a,b"), wrong("a}b")),
            (TemplateError::Adjacent, TemplateError::Literal, TemplateError::Braces)
        );
    }

    #[test]
    fn the_ends_of_names_are_known_as_far_as_the_format_fixes_them() {
        let tails = |template: &str, kind| {
            let mut vocabulary = vocabulary();
            let listed = |values: &[&str]| Part {
                shape: Shape::Dotted,
                one_of: values.iter().map(|value| (*value).to_owned()).collect(),
                none_of: Vec::new(),
            };
            vocabulary.parts.insert("zone".to_owned(), listed(&["a.test", "b.test"]));
            let tails = Template::parse(template).unwrap().tails(kind, &vocabulary);
            tails.iter().map(|(tail, whole)| format!("{}{tail}", if *whole { "" } else { "*" })).collect::<Vec<_>>()
        };
        assert_eq!(tails("x.y.test", NameKind::Dns), ["x.y.test"]);
        assert_eq!(tails("{service}.y.test", NameKind::Dns), ["*.y.test"]);
        assert_eq!(tails("{service}.{zone}", NameKind::CommonName), ["*.a.test", "*.b.test"]);
        assert_eq!(tails("x.{domain:dashes}.{zone}", NameKind::Dns), ["*.a.test", "*.b.test"]);
        assert_eq!(tails("x.{provider}", NameKind::Dns), ["x.sys.aws", "x.sys.gcp"]);
        assert_eq!(tails("x.{provider.suffix}", NameKind::Dns), ["x.aws.athenz.cloud", "x.gcp.athenz.cloud"]);
        assert_eq!(tails("spiffe://zone.test/a/{service}", NameKind::Uri), ["zone.test"]);
        assert_eq!(tails("spiffe://{service}.{zone}/a", NameKind::Uri), ["*.a.test", "*.b.test"]);
        assert_eq!(tails("spiffe://{zone}", NameKind::Uri), ["a.test", "b.test"]);
        assert_eq!(tails("spiffe://x.{zone}/{service}/y", NameKind::Uri), ["x.a.test", "x.b.test"]);
        assert_eq!(tails("{service}@{zone}", NameKind::Email), ["a.test", "b.test"]);
        assert_eq!(tails("{service}@mail.test", NameKind::Email), ["mail.test"]);
        assert_eq!(tails("{service}", NameKind::Dns), ["*"]);
    }

    #[test]
    fn up_to_256_ends_are_told_apart() {
        let tails = |first: usize, second: usize| {
            let listed = |head: &str, count: usize| Part {
                shape: Shape::Label,
                one_of: (0..count).map(|number| format!("{head}{number}")).collect(),
                none_of: Vec::new(),
            };
            let parts = BTreeMap::from([("a".to_owned(), listed("a", first)), ("b".to_owned(), listed("b", second))]);
            let tails = Template::parse("{a}.{b}").unwrap().tails(NameKind::Dns, &Vocabulary { parts, ..vocabulary() });
            (tails.len(), tails.iter().all(|(_, whole)| *whole))
        };
        assert_eq!((tails(16, 16), tails(256, 1)), ((256, true), (256, true)));
        assert_eq!((tails(16, 17), tails(17, 16)), ((17, false), (16, false)));
    }

    #[test]
    fn a_name_is_read_in_20_000_steps_or_not_at_all() {
        let read = |providers: usize| {
            let provider = Provider { name: "p".to_owned(), suffixes: Vec::new() };
            let vocabulary = Vocabulary { providers: vec![provider; providers], ..vocabulary() };
            Template::parse("{provider}x").unwrap().read("py", &Bindings::new(), &vocabulary)
        };
        // The first step, and one with each provider.
        assert_eq!((read(19_999), read(20_000)), (Some(Vec::new()), None));
    }

    #[test]
    fn a_format_has_512_bytes_at_most() {
        assert!(Template::parse(&"a".repeat(512)).is_ok() && Template::parse(&"a".repeat(513)).is_err());
    }

    #[test]
    fn formats_with_mistakes_are_refused() {
        for text in [
            "",
            "{",
            "}",
            "{}",
            "{a}{b}",
            "{a:dots}",
            "{a.b}",
            "{A}",
            "a,{b}",
            "{provider:dashes}",
            "{a}.*",
            "**.a",
            "*a",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
