//! `hallmark log show`: entries as a table.

use hallmark_entry::Summary;
use hallmark_tlog::{bundle, tile::TILE_WIDTH};
use serde_json::{Value, json};

use super::directory::LogDirectory;
use crate::{arguments::ShowArguments, exit::Exit, problem::Problem, screen::Screen, table::Table, when};

/// Longest cell of a list, in letters; `--json` has all of it.
const CELL_LETTERS_MAX: usize = 80;

/// Shows them on stdout.
pub(crate) fn show(arguments: &ShowArguments, screen: &Screen) -> Result<Exit, Problem> {
    let directory = LogDirectory::open(&arguments.directory)?;
    let size = directory.size_unverified()?;
    let from = arguments.from.unwrap_or_else(|| size.saturating_sub(arguments.count));
    if arguments.from.is_some() && from >= size {
        return Err(Problem::NoSuchEntry { size, from });
    }
    let end = from.saturating_add(arguments.count).min(size);
    let mut table = Table::new();
    table.row(["INDEX", "TIME", "TYPE", "WHAT", "CALLER", "NAMES OR REASONS"]);
    let mut next = from;
    while next < end {
        let index = next / TILE_WIDTH;
        let (path, bytes) = directory.bundle(index, size)?;
        let entries = bundle::decode(&bytes).map_err(|source| Problem::Bundle { path: path.clone(), source })?;
        for (entry, number) in entries.into_iter().zip(index * TILE_WIDTH..).filter(|(_, at)| (from..end).contains(at))
        {
            show_one(number, entry, &mut table, screen)?;
        }
        next = (index + 1) * TILE_WIDTH;
    }
    if !screen.is_json() {
        screen.data(table.render(0).as_bytes())?;
    }
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

fn show_one(index: u64, entry: &[u8], table: &mut Table, screen: &Screen) -> Result<(), Problem> {
    if screen.is_json() {
        let value: Value =
            serde_json::from_slice(entry).unwrap_or_else(|_| String::from_utf8_lossy(entry).into_owned().into());
        // One line for each entry, so that other programs can read while this one writes.
        return screen.data(format!("{}\n", json!({ "index": index, "entry": value })).as_bytes());
    }
    let index = index.to_string();
    match Summary::parse(entry) {
        Ok(entry) => {
            let time = when::rfc3339_of_millis(entry.time);
            let caller = entry.caller.as_ref().or(entry.by.as_ref()).map(ToString::to_string).unwrap_or_default();
            table.row([&index, &time, &entry.kind, &what(&entry), &cut(&caller), &cut(&names_or_reasons(&entry))]);
        }
        Err(_) => table.row([&index, "", "unreadable", "", "", ""]),
    }
    Ok(())
}

fn names_or_reasons(entry: &Summary) -> String {
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

fn cut(text: &str) -> String {
    match text.char_indices().nth(CELL_LETTERS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
