//! Where things stand in a policy file: the line of what a sentence speaks of.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// A file, with the places of its tables, keys and values.
pub(crate) struct Lines<'a> {
    text: &'a str,
    root: DeTable<'a>,
}

impl<'a> Lines<'a> {
    /// Those of `text`; of text that is no TOML, those of what could be read.
    pub(crate) fn of(text: &'a str) -> Self {
        let (root, _) = DeTable::parse_recoverable(text);
        Self { text, root: root.into_inner() }
    }

    /// The line of what `sentence` quotes within the table `place`: of a value, else of a value with such a part, else of
    /// a key, else of the table itself. `place` is dotted, and names in it may have dots of their own.
    pub(crate) fn find(&self, place: &str, sentence: &str) -> Option<usize> {
        let (header, table) = if place.is_empty() { (None, &self.root) } else { find_table(&self.root, place)? };
        let quoted = || sentence.split('`').skip(1).step_by(2);
        let value = |fits: &dyn Fn(&str, &str) -> bool| {
            quoted().find_map(|word| values(table).into_iter().find(|(value, _)| fits(value, word)))
        };
        let span = value(&|value, word| value == word)
            .or_else(|| value(&|value, word| word.starts_with('{') && value.contains(word)))
            .map(|(_, span)| span)
            .or_else(|| quoted().find_map(|word| find_key(table, word)))
            .or(header)?;
        Some(line(self.text, span.start))
    }
}

/// The line of a byte, from 1.
pub(crate) fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The tables around a byte, from the outermost: `profile`, `mesh`.
pub(crate) fn tables_around(root: &DeTable<'_>, at: usize) -> Vec<String> {
    for (key, value) in root {
        let DeValue::Table(inner) = value.get_ref() else { continue };
        if holds(value.get_ref(), &value.span(), at) {
            return [vec![key.get_ref().to_string()], tables_around(inner, at)].concat();
        }
    }
    Vec::new()
}

fn holds(value: &DeValue<'_>, span: &Range<usize>, at: usize) -> bool {
    span.contains(&at)
        || children(value)
            .into_iter()
            .any(|(key, span, value)| key.is_some_and(|(_, key)| key.contains(&at)) || holds(value, &span, at))
}

type Child<'a> = (Option<(&'a str, Range<usize>)>, Range<usize>, &'a DeValue<'a>);

/// What a value consists of: keys, spans and values.
fn children<'a>(value: &'a DeValue<'a>) -> Vec<Child<'a>> {
    if let DeValue::Table(table) = value {
        return entries(table);
    }
    if let DeValue::Array(array) = value {
        return array.iter().map(|value| (None, value.span(), value.get_ref())).collect();
    }
    Vec::new()
}

fn entries<'a>(table: &'a DeTable<'a>) -> Vec<Child<'a>> {
    let entry = |(key, value): (&'a toml::Spanned<toml::de::DeString<'a>>, &'a toml::Spanned<DeValue<'a>>)| {
        (Some((key.get_ref().as_ref(), key.span())), value.span(), value.get_ref())
    };
    table.iter().map(entry).collect()
}

/// The table at a dotted place, with the span of its key.
fn find_table<'a>(table: &'a DeTable<'a>, place: &str) -> Option<(Option<Range<usize>>, &'a DeTable<'a>)> {
    for (key, value) in table {
        let DeValue::Table(inner) = value.get_ref() else { continue };
        let Some(rest) = place.strip_prefix(key.get_ref().as_ref()) else { continue };
        if rest.is_empty() {
            return Some((Some(key.span()), inner));
        }
        if let Some(found) = rest.strip_prefix('.').and_then(|rest| find_table(inner, rest)) {
            return Some(found);
        }
    }
    None
}

/// The span of a key, `names` or `lifetime.maximum`.
fn find_key(table: &DeTable<'_>, dotted: &str) -> Option<Range<usize>> {
    for (key, value) in table {
        let Some(rest) = dotted.strip_prefix(key.get_ref().as_ref()) else { continue };
        if rest.is_empty() || rest.starts_with([' ', '=']) {
            return Some(key.span());
        }
        if let (Some(rest), DeValue::Table(inner)) = (rest.strip_prefix('.'), value.get_ref())
            && let Some(found) = find_key(inner, rest)
        {
            return Some(found);
        }
    }
    None
}

/// All text values below a table, in the order of the file. The last one of several alike is found first: what stands
/// twice is wrong where it stands again.
fn values<'a>(table: &'a DeTable<'a>) -> Vec<(&'a str, Range<usize>)> {
    let mut found = Vec::new();
    let mut open = entries(table);
    while let Some((_, span, value)) = open.pop() {
        if let DeValue::String(text) = value {
            found.push((text.as_ref(), span));
        } else {
            open.extend(children(value));
        }
    }
    found.sort_by_key(|(_, span)| std::cmp::Reverse(span.start));
    found
}
