//! Reading a name in a format: every way in which its parts can be bound.

use super::{Bindings, PROVIDER, Provider, Segment, Shape, Vocabulary};

/// Most steps that reading one name may take; templates that need more are too ambiguous to be safe.
const STEPS_MAX: usize = 20_000;

pub(super) struct Reading<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) steps: usize,
    pub(super) found: Vec<Bindings>,
}

impl Reading<'_> {
    /// Reads `text` with `segments` from here on; `None` when the steps are used up.
    pub(super) fn step(&mut self, segments: &[Segment], text: &str, bound: Bindings) -> Option<()> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return None;
        }
        let Some((segment, rest)) = segments.split_first() else {
            if text.is_empty() && !self.found.contains(&bound) {
                self.found.push(bound);
            }
            return Some(());
        };
        match segment {
            Segment::Literal(literal) => match text.strip_prefix(literal.as_str()) {
                Some(after) => self.step(rest, after, bound),
                None => Some(()),
            },
            Segment::Part(name) => self.part(name, false, rest, text, &bound),
            Segment::Dashed(name) => self.part(name, true, rest, text, &bound),
            Segment::ProviderName => self.provider(rest, text, &bound, |provider| vec![provider.name.clone()]),
            Segment::ProviderSuffix => self.provider(rest, text, &bound, |provider| provider.suffixes.clone()),
        }
    }

    fn part(&mut self, name: &str, dashed: bool, rest: &[Segment], text: &str, bound: &Bindings) -> Option<()> {
        if let Some(value) = bound.get(name) {
            let written = if dashed { value.replace('.', "-") } else { value.clone() };
            return match text.strip_prefix(written.as_str()) {
                Some(after) => self.step(rest, after, bound.clone()),
                None => Some(()),
            };
        }
        let Some(part) = self.vocabulary.parts.get(name) else { return Some(()) };
        let no_dashes = self.vocabulary.refuses_dashes(name);
        let shape = if dashed { Shape::Label } else { part.shape };
        let run = text.bytes().take_while(|byte| shape.takes(*byte)).count();
        for end in 1..=run {
            let Some((written, after)) = text.split_at_checked(end) else { continue };
            let may_end = match rest.first() {
                None => after.is_empty(),
                Some(Segment::Literal(literal)) => after.starts_with(literal.as_str()),
                Some(Segment::Part(_) | Segment::Dashed(_) | Segment::ProviderName | Segment::ProviderSuffix) => true,
            };
            if !may_end {
                continue;
            }
            let value = if dashed { written.replace('-', ".") } else { written.to_owned() };
            if part.takes(&value) && !(no_dashes && value.contains('-')) {
                let mut bound = bound.clone();
                bound.insert(name.to_owned(), value);
                self.step(rest, after, bound)?;
            }
        }
        Some(())
    }

    fn provider(
        &mut self,
        rest: &[Segment],
        text: &str,
        bound: &Bindings,
        written: impl Fn(&Provider) -> Vec<String>,
    ) -> Option<()> {
        let vocabulary = self.vocabulary;
        for provider in &vocabulary.providers {
            if bound.get(PROVIDER).is_some_and(|name| *name != provider.name) {
                continue;
            }
            for value in written(provider) {
                if let Some(after) = text.strip_prefix(value.as_str()) {
                    let mut bound = bound.clone();
                    bound.insert(PROVIDER.to_owned(), provider.name.clone());
                    self.step(rest, after, bound)?;
                }
            }
        }
        Some(())
    }
}
