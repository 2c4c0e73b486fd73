//! `hallmark log show`: entries as a table.

use hallmark_entry::Summary;
use hallmark_tlog::{bundle, tile::TILE_WIDTH};

use super::{printer::Printer, source::Source};
use crate::{
    arguments::{EntryFormat, ShowArguments},
    exit::Exit,
    problem::Problem,
    screen::Screen,
    when,
};

/// Longest cell of a list, in letters; `--json` has all of it.
const CELL_LETTERS_MAX: usize = 80;

/// Shows them on stdout.
pub(crate) fn show(arguments: &ShowArguments, screen: &Screen) -> Result<Exit, Problem> {
    let source = Source::open(&arguments.log, arguments.ca.as_deref())?;
    let size = source.size_unverified()?;
    let from = arguments.from.unwrap_or_else(|| size.saturating_sub(arguments.count));
    if arguments.from.is_some() && from >= size {
        return Err(Problem::NoSuchEntry { size, from });
    }
    let end = from.saturating_add(arguments.count).min(size);
    let mut printer = Printer::new(screen, EntryFormat::Table)?;
    let mut next = from;
    while next < end {
        let index = next / TILE_WIDTH;
        let (path, bytes) = source.bundle(index, size)?;
        let entries = bundle::decode(&bytes).map_err(|source| Problem::Bundle { path: path.clone(), source })?;
        for (entry, number) in entries.into_iter().zip(index * TILE_WIDTH..).filter(|(_, at)| (from..end).contains(at))
        {
            printer.print(number, entry)?;
        }
        next = (index + 1) * TILE_WIDTH;
    }
    printer.close()?;
    screen.say("These entries were not verified; `hallmark log verify` does that.");
    Ok(Exit::Done)
}

/// What an entry is about, in a few words.
pub(crate) fn what(entry: &Summary) -> String {
    let mut words: Vec<String> = [&entry.decision, &entry.result, &entry.step, &entry.action, &entry.stage]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    words.extend(entry.command.as_ref().map(ToString::to_string));
    words.extend(entry.crl_number.map(|number| number.to_string()));
    words.extend(entry.entries.map(|entries| format!("with {} revoked", when::number(entries))));
    words.extend(entry.reason.as_ref().map(ToString::to_string));
    words.extend(entry.decision_index.map(|index| format!("of entry {index}")));
    words.extend(entry.count.map(|count| format!("{count} calls")));
    let whose: Vec<String> =
        [&entry.authority, &entry.profile].into_iter().flatten().map(ToString::to_string).collect();
    words.push(whose.join("/"));
    words.retain(|word| !word.is_empty());
    if words.is_empty() { entry.kind.clone() } else { words.join(" ") }
}

/// The codes of its reasons, or else its names.
pub(crate) fn names_or_reasons(entry: &Summary) -> String {
    let reasons: Vec<&str> = entry.reasons.known().iter().map(|reason| reason.code.as_str()).collect();
    if !reasons.is_empty() {
        return reasons.join(" ");
    }
    if let (true, Some(serial)) = (entry.kind == "revocation", &entry.serial) {
        return format!("serial:{serial}");
    }
    let names: Vec<String> = entry.names.known().iter().map(ToString::to_string).collect();
    if names.is_empty() { entry.subject.as_ref().map(ToString::to_string).unwrap_or_default() } else { names.join(" ") }
}

/// As much of a text as a cell takes.
pub(crate) fn cut(text: &str) -> String {
    cut_to(text, CELL_LETTERS_MAX)
}

/// As many letters of a text.
pub(crate) fn cut_to(text: &str, letters_max: usize) -> String {
    match text.char_indices().nth(letters_max) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
