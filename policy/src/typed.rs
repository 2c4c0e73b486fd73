//! From text to what was typed: every misspelling and every missing setting is told, not only the first.

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer, Error},
};

use crate::{
    lines::{line, tables_around},
    mistake::{MISTAKES_MAX, Mistake},
};

/// Most letters by which a misspelt word may differ from the one that was meant.
const MISSPELT_LETTERS_MAX: usize = 3;

/// What was typed, as far as it could be read.
pub(crate) struct Typed<T> {
    /// The file without the settings and tables that could not be read.
    pub(crate) file: Option<T>,
    /// What could not be read.
    pub(crate) mistakes: Vec<Mistake>,
    /// Names of the tables that are left away.
    pub(crate) left_away: Vec<String>,
}

/// Reads a file. What cannot be read is told and taken out, and the rest is read again.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Typed<T> {
    let (mut root, errors) = DeTable::parse_recoverable(text);
    let mut typed = Typed { file: None, mistakes: Vec::new(), left_away: Vec::new() };
    if !errors.is_empty() {
        typed.mistakes = errors.iter().take(MISTAKES_MAX).map(|error| told(text, root.get_ref(), error)).collect();
        return typed;
    }
    while typed.mistakes.len() < MISTAKES_MAX {
        let error = match T::deserialize(Deserializer::from(root.clone())) {
            Ok(file) => {
                typed.file = Some(file);
                return typed;
            }
            Err(error) => error,
        };
        typed.mistakes.push(told(text, root.get_ref(), &error));
        let Some(at) = error.span().map(|span| span.start) else { return typed };
        if error.message().starts_with("unknown field") && take_out_key(root.get_mut(), at) {
            continue;
        }
        let tables = tables_around(root.get_ref(), at);
        let [section, name, ..] = tables.as_slice() else { return typed };
        take_out_table(root.get_mut(), section, name);
        typed.left_away.push(name.clone());
    }
    typed
}

/// The library's error in our words.
fn told(text: &str, root: &DeTable<'_>, error: &Error) -> Mistake {
    let span = error.span();
    let place = span.as_ref().map(|span| tables_around(root, span.start).join(".")).unwrap_or_default();
    let at = span.map(|span| line(text, span.start));
    let message = error.message().trim().replace('\n', ", ");
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let mistake = match quoted.split_first() {
        Some((word, known)) if message.starts_with("unknown field") => {
            Mistake::new(&place, format!("there is no setting `{word}` here; {}", instead(word, known)))
        }
        Some((word, [])) if message.starts_with("missing field") => {
            Mistake::new(&place, format!("`{word}` is missing"))
        }
        Some(_) | None => Mistake::new(&place, message),
    };
    mistake.at_line(at)
}

fn instead(word: &str, known: &[&str]) -> String {
    let near = known.iter().map(|other| (distance(word, other), other)).min();
    match near {
        Some((distance, other)) if distance <= MISSPELT_LETTERS_MAX && distance < other.len() => {
            format!("did you mean `{other}`?")
        }
        Some(_) | None => format!("there are {}", known.join(", ")),
    }
}

/// How many letters have to be changed, put in or taken out to make one word the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut next = vec![at + 1];
        for ((before, above), letter_of_other) in row.iter().zip(row.iter().skip(1)).zip(other.chars()) {
            let left = next.last().copied().unwrap_or_default();
            next.push((before + usize::from(letter != letter_of_other)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Takes out the key that begins at a byte.
fn take_out_key(table: &mut DeTable<'_>, at: usize) -> bool {
    let key = table.keys().find(|key| key.span().start == at).map(|key| key.get_ref().to_string());
    key.is_some_and(|key| table.remove(key.as_str()).is_some())
        || table.iter_mut().any(|(_, value)| take_out_within(value, at))
}

fn take_out_within(value: &mut Spanned<DeValue<'_>>, at: usize) -> bool {
    let value = value.get_mut();
    if let DeValue::Table(table) = value {
        return take_out_key(table, at);
    }
    if let DeValue::Array(array) = value {
        return array.iter_mut().any(|value| take_out_within(value, at));
    }
    false
}

fn take_out_table(root: &mut DeTable<'_>, section: &str, name: &str) {
    for (key, tables) in root.iter_mut() {
        if let (true, DeValue::Table(tables)) = (key.get_ref() == section, tables.get_mut()) {
            tables.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_differ_by_the_letters_that_are_changed_put_in_or_taken_out() {
        for (one, other, letters) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("ab", "ba", 2),
            ("abc", "xabcx", 2),
            ("xxabc", "abc", 2),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
        ] {
            assert_eq!(distance(one, other), letters, "{one} {other}");
        }
    }
}
