//! Whether two profiles could give the same name: formats as small automata, walked side by side.
//!
//! The answer errs on one side only: formats that are said to be apart are apart.

use std::collections::BTreeSet;

use crate::{
    name::NameKind,
    profile::{Pattern, Profile},
    template::{INSTANCE, Part, Segment, Shape, Template, Vocabulary},
};

/// The first format of each profile that take the same name.
pub(crate) fn first<'a>(one: &'a Profile, other: &'a Profile) -> Option<(&'a str, &'a str)> {
    if let (Some(mine), Some(theirs)) = (&one.common_name, &other.common_name)
        && templates_overlap(mine, &one.vocabulary, theirs, &other.vocabulary)
    {
        return Some((mine.as_str(), theirs.as_str()));
    }
    let pairs = one.names.iter().flat_map(|mine| other.names.iter().map(move |theirs| (mine, theirs)));
    pairs.filter(|(mine, theirs)| mine.kind == theirs.kind).find_map(|(mine, theirs)| {
        let overlap = match (&mine.pattern, &theirs.pattern) {
            (Pattern::Block(mine), Pattern::Block(theirs)) => mine.overlaps(theirs),
            (Pattern::Template(mine), Pattern::Template(theirs)) => {
                templates_overlap(mine, &one.vocabulary, theirs, &other.vocabulary)
            }
            (Pattern::Block(_), Pattern::Template(_)) | (Pattern::Template(_), Pattern::Block(_)) => false,
        };
        overlap.then(|| (mine.pattern.as_str(), theirs.pattern.as_str()))
    })
}

/// The first formats of each profile that take the same name and may read it differently: parts that are called alike are other parts of it.
pub(crate) fn read_differently<'a>(
    one: &'a Profile,
    other: &'a Profile,
    is_meant: impl Fn(&str) -> bool,
) -> Option<(&'a str, &'a str)> {
    let templates = |profile: &'a Profile| {
        let names = profile.names.iter().filter_map(|format| Some((format.kind, format.pattern.template()?)));
        profile.common_name.iter().map(|template| (NameKind::CommonName, template)).chain(names)
    };
    let (mine, theirs) = (&one.vocabulary, &other.vocabulary);
    let reads_alike = |template: &Template, same: &Template| {
        let parts_are_alike = template.parts().all(|part| mine.parts.get(part) == theirs.parts.get(part));
        template == same && parts_are_alike && mine.dashes_claimed == theirs.dashes_claimed
    };
    let pairs = templates(one).flat_map(|mine| templates(other).map(move |theirs| (mine, theirs)));
    let mut pairs = pairs.filter(|((kind, _), (same, _))| kind == same).map(|((_, mine), (_, theirs))| (mine, theirs));
    let found = pairs.find(|(template, same)| {
        let binds = |template: &Template| template.names_provider() || template.parts().any(&is_meant);
        (binds(template) || binds(same))
            && !reads_alike(template, same)
            && templates_overlap(template, mine, same, theirs)
    });
    found.map(|(template, same)| (template.as_str(), same.as_str()))
}

/// The first format of one profile with forms that are claimed, and of the other that could take the same name without a claim.
pub(crate) fn unclaimed<'a>(one: &'a Profile, other: &'a Profile) -> Option<(&'a str, &'a str)> {
    let templates = |profile: &'a Profile| {
        profile.names.iter().filter_map(|format| Some((format.kind, format.pattern.template()?)))
    };
    // Strict forms are claimed, too: where values hold no dashes, those of another profile still may.
    let claims = |template: &Template| template.dashed_parts().next().is_some();
    let (mine, theirs) = (&one.vocabulary, &other.vocabulary);
    let claimed = templates(one).filter(|(_, template)| mine.dashes_claimed && claims(template));
    let pairs = claimed.flat_map(|claimed| templates(other).map(move |other| (claimed, other)));
    let mut pairs = pairs.filter(|((kind, _), (same, _))| kind == same).map(|((_, mine), (_, theirs))| (mine, theirs));
    let found = pairs.find(|(claimed, free)| !claims(free) && templates_overlap(claimed, mine, free, theirs));
    found.map(|(claimed, free)| (claimed.as_str(), free.as_str()))
}

/// The first wildcard of one profile that covers a dNSName with an instance in it of the other.
pub(crate) fn covered_instance<'a>(one: &'a Profile, other: &'a Profile) -> Option<(&'a str, &'a str)> {
    let dns = |profile: &'a Profile| profile.names.iter().filter(|format| format.kind == NameKind::Dns);
    let wildcards = dns(one).filter_map(|format| format.pattern.template()).filter(|template| template.is_wildcard());
    let names_instance = |template: &&Template| template.parts().any(|part| part == INSTANCE);
    let followed = || dns(other).filter_map(|format| format.pattern.template()).filter(names_instance);
    let mut pairs = wildcards.flat_map(|mine| followed().map(move |theirs| (mine, theirs)));
    let covers =
        |(mine, theirs): &(&Template, &Template)| templates_overlap(mine, &one.vocabulary, theirs, &other.vocabulary);
    pairs.find(covers).map(|(mine, theirs)| (mine.as_str(), theirs.as_str()))
}

fn templates_overlap(one: &Template, words: &Vocabulary, other: &Template, other_words: &Vocabulary) -> bool {
    Automaton::of(one, words).meets(&Automaton::of(other, other_words))
}

/// A set of ASCII bytes, one bit each.
type Bytes = u128;

/// Reads text from state 0; the end state is the last one.
#[derive(Debug, Default)]
struct Automaton {
    states: Vec<State>,
}

#[derive(Debug, Default)]
struct State {
    /// States that a byte leads to.
    reads: Vec<(Bytes, usize)>,
    /// States that nothing leads to.
    skips: Vec<usize>,
}

impl Automaton {
    fn of(template: &Template, vocabulary: &Vocabulary) -> Self {
        let mut automaton = Self::default();
        let mut at = automaton.state();
        for segment in template.segments() {
            at = match segment {
                // One label stands for the wildcard: whatever it covers is its name, too.
                Segment::Literal(text) => match text.strip_prefix("*.") {
                    Some(rest) => {
                        let star = automaton.any_of(at, bytes(|byte| byte == b'*' || Shape::Label.takes(byte)));
                        automaton.words(star, &[format!(".{rest}")])
                    }
                    None => automaton.words(at, std::slice::from_ref(text)),
                },
                Segment::Part(name) => automaton.part(at, vocabulary.parts.get(name)),
                Segment::Dashed(name) => automaton.dashed(at, vocabulary.parts.get(name), vocabulary.dashes_claimed),
                Segment::ProviderName => {
                    let names: Vec<_> = vocabulary.providers.iter().map(|provider| provider.name.clone()).collect();
                    automaton.words(at, &names)
                }
                Segment::ProviderSuffix => {
                    let suffixes = vocabulary.providers.iter().flat_map(|provider| provider.suffixes.clone());
                    automaton.words(at, &suffixes.collect::<Vec<_>>())
                }
            };
        }
        automaton
    }

    fn state(&mut self) -> usize {
        self.states.push(State::default());
        self.states.len() - 1
    }

    fn read(&mut self, from: usize, bytes: Bytes, to: usize) {
        if let Some(state) = self.states.get_mut(from) {
            state.reads.push((bytes, to));
        }
    }

    fn skip(&mut self, from: usize, to: usize) {
        if let Some(state) = self.states.get_mut(from) {
            state.skips.push(to);
        }
    }

    /// One of these words.
    fn words(&mut self, from: usize, words: &[String]) -> usize {
        let mut ends = Vec::new();
        for word in words {
            let mut at = from;
            for byte in word.bytes() {
                let next = self.state();
                self.read(at, bit(byte), next);
                at = next;
            }
            ends.push(at);
        }
        self.joined(&ends)
    }

    fn joined(&mut self, ends: &[usize]) -> usize {
        let end = self.state();
        for from in ends {
            self.skip(*from, end);
        }
        end
    }

    /// One or more of these bytes.
    fn any_of(&mut self, from: usize, bytes: Bytes) -> usize {
        let run = self.state();
        self.read(from, bytes, run);
        self.read(run, bytes, run);
        self.joined(&[run])
    }

    fn part(&mut self, from: usize, part: Option<&Part>) -> usize {
        let Some(part) = part else { return self.words(from, &[]) };
        if !part.one_of.is_empty() {
            return self.words(from, &part.one_of);
        }
        let taken = bytes(|byte| part.shape.takes(byte));
        if part.none_of.is_empty() { self.any_of(from, taken) } else { self.except(from, taken, &part.none_of) }
    }

    /// A part whose dots are written as dashes.
    fn dashed(&mut self, from: usize, part: Option<&Part>, claimed: bool) -> usize {
        let Some(part) = part else { return self.words(from, &[]) };
        let written = |value: &String| value.replace('.', "-");
        if !part.one_of.is_empty() {
            return self.words(from, &part.one_of.iter().map(written).collect::<Vec<_>>());
        }
        let taken = bytes(|byte| Shape::Label.takes(byte));
        // Where values may hold dashes themselves, a form with dashes may stand for another value than the excluded one; where they
        // may not, an excluded value with dashes excludes nothing.
        let stands_alone = |value: &&String| if claimed { !written(value).contains('-') } else { !value.contains('-') };
        let excluded: Vec<_> = part.none_of.iter().filter(stands_alone).map(written).collect();
        if excluded.is_empty() { self.any_of(from, taken) } else { self.except(from, taken, &excluded) }
    }

    /// One or more of these bytes, but none of these words: a tree of the words, which every other byte leaves for good.
    fn except(&mut self, from: usize, taken: Bytes, words: &[String]) -> usize {
        let free = self.state();
        self.read(free, taken, free);
        let mut ends = vec![free];
        let beginnings: BTreeSet<&str> =
            words.iter().flat_map(|word| (0..=word.len()).filter_map(|end| word.get(..end))).collect();
        let nodes: Vec<(&str, usize)> = beginnings
            .iter()
            .map(|beginning| (*beginning, if beginning.is_empty() { from } else { self.state() }))
            .collect();
        for (beginning, node) in &nodes {
            let mut others = taken;
            for (longer, next) in &nodes {
                if longer.len() == beginning.len() + 1
                    && let Some(last) = longer.strip_prefix(beginning).and_then(|rest| rest.bytes().next())
                {
                    self.read(*node, bit(last), *next);
                    others &= !bit(last);
                }
            }
            self.read(*node, others, free);
            if !beginning.is_empty() && !words.iter().any(|word| word == beginning) {
                ends.push(*node);
            }
        }
        self.joined(&ends)
    }

    /// Whether some text ends both.
    fn meets(&self, other: &Self) -> bool {
        let end = (self.states.len().saturating_sub(1), other.states.len().saturating_sub(1));
        let mut seen = BTreeSet::from([(0, 0)]);
        let mut open = vec![(0, 0)];
        while let Some(pair) = open.pop() {
            if pair == end {
                return true;
            }
            let (Some(mine), Some(theirs)) = (self.states.get(pair.0), other.states.get(pair.1)) else { continue };
            let skips = mine.skips.iter().map(|to| (*to, pair.1)).chain(theirs.skips.iter().map(|to| (pair.0, *to)));
            let reads = mine.reads.iter().flat_map(|(bytes, to)| {
                let both = theirs.reads.iter().filter(move |(others, _)| bytes & others != 0);
                both.map(move |(_, other)| (*to, *other))
            });
            open.extend(skips.chain(reads).filter(|next| seen.insert(*next)));
        }
        false
    }
}

fn bit(byte: u8) -> Bytes {
    1_u128.checked_shl(u32::from(byte)).unwrap_or(0)
}

fn bytes(taken: impl Fn(u8) -> bool) -> Bytes {
    (0..128).filter(|byte| taken(*byte)).map(bit).fold(0, |all, one| all | one)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::template::Provider;

    fn words(none_of: &[&str]) -> Vocabulary {
        let part = |shape, one_of: &[&str], none_of: &[&str]| Part {
            shape,
            one_of: one_of.iter().map(|value| (*value).to_owned()).collect(),
            none_of: none_of.iter().map(|value| (*value).to_owned()).collect(),
        };
        Vocabulary {
            parts: BTreeMap::from([
                ("domain".to_owned(), part(Shape::Dotted, &[], none_of)),
                ("service".to_owned(), part(Shape::Label, &[], &[])),
                ("zone".to_owned(), part(Shape::Dotted, &["prod.example", "test.example"], &[])),
                ("path".to_owned(), part(Shape::Path, &[], &[])),
            ]),
            providers: vec![Provider { name: "sys.aws".to_owned(), suffixes: vec!["aws.cloud".to_owned()] }],
            dashed: vec!["domain".to_owned()],
            dashes_claimed: false,
        }
    }

    fn overlap(one: &str, other: &str, none_of: &[&str]) -> bool {
        let template = |text: &str| Template::parse(text).unwrap();
        let there = templates_overlap(&template(one), &words(&[]), &template(other), &words(none_of));
        let back = templates_overlap(&template(other), &words(none_of), &template(one), &words(&[]));
        assert_eq!(there, back, "{one} {other}");
        there
    }

    #[test]
    fn formats_that_take_the_same_name_overlap() {
        for (one, other) in [
            ("{domain}.{service}", "{domain}.{service}"),
            ("user.{service}", "{domain}.{service}"),
            ("spiffe://{zone}/{path}", "spiffe://{domain}/sa/{service}"),
            ("spiffe://{zone}/{path}", "spiffe://prod.example/sa/{service}"),
            ("{service}.{domain:dashes}.{provider.suffix}", "{domain}.aws.cloud"),
            ("*.{domain}", "{service}.example.com"),
            ("*.example.com", "*.{domain}"),
            ("*.example.com", "*.example.com"),
            ("{provider}.x", "sys.{service}.x"),
        ] {
            assert!(overlap(one, other, &[]), "{one} {other}");
        }
    }

    #[test]
    fn formats_that_fixed_text_tells_apart_do_not_overlap() {
        for (one, other) in [
            ("{domain}:role.{service}", "{domain}.{service}"),
            ("spiffe://{domain}/ra/{service}", "spiffe://{domain}/sa/{service}"),
            ("spiffe://{zone}/{path}", "spiffe://other.example/sa/{service}"),
            ("{service}.mesh.internal", "{service}.{domain:dashes}.{provider.suffix}"),
            ("{service}.example.com", "*.sub.example.com"),
            ("{service}", "{domain}.{service}"),
            ("{provider}", "sys.aw"),
            ("*.example.com", "!.example.com"),
        ] {
            assert!(!overlap(one, other, &[]), "{one} {other}");
        }
    }

    #[test]
    fn excluded_values_tell_formats_apart_and_nothing_more() {
        assert!(!overlap("user.{service}", "{domain}.{service}", &["user"]));
        assert!(!overlap("user.{service}", "{domain}.{service}", &["use", "user", "users"]));
        for other in ["users.{service}", "use.{service}", "user.x.{service}", "{service}.user"] {
            assert!(overlap(other, "{domain}.{service}", &["user"]), "{other}");
        }
        assert!(!overlap("users.{service}", "{domain}.{service}", &["user", "users"]));
    }

    #[test]
    fn an_excluded_value_excludes_its_written_form_where_no_other_value_is_written_so() {
        let dashed = "{service}.{domain:dashes}.aws.cloud";
        assert!(overlap("*.athenz.aws.cloud", dashed, &[]));
        assert!(!overlap("*.athenz.aws.cloud", dashed, &["athenz"]));
        assert!(!overlap("*.a-b.aws.cloud", dashed, &["a.b"]), "no domain has dashes");
        assert!(overlap("*.a-b.aws.cloud", dashed, &["a-b"]), "`a-b` is no domain, and `a.b` is written so");
        let claimed = |none_of: &[&str]| Vocabulary { dashes_claimed: true, ..words(none_of) };
        let meets = |form: &str, none_of: &[&str]| {
            let template = |text: &str| Template::parse(text).unwrap();
            templates_overlap(&template(form), &words(&[]), &template(dashed), &claimed(none_of))
        };
        assert!(!meets("*.athenz.aws.cloud", &["athenz"]));
        assert!(meets("*.a-b.aws.cloud", &["a.b"]), "`a-b` is written so, too");
    }
}
