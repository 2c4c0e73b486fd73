//! Entries as a table, as JSON lines or as comma-separated values.

use hallmark_entry::Summary;
use serde_json::{Value, json};

use super::show;
use crate::{arguments::EntryFormat, problem::Problem, screen::Screen, table::Table, when};

/// Columns of comma-separated values.
const CSV_COLUMNS: &str =
    "index,time,type,decision,stage,authority,profile,caller,request-id,serial,names,reasons,policy-sha256\r\n";

/// Rows of a table that are printed together, in columns as wide as they need.
const ROWS_MAX: usize = 1_000;

/// Prints entries, one by one.
pub(crate) struct Printer<'a> {
    screen: &'a Screen,
    format: EntryFormat,
    table: Table,
    rows: usize,
    printed: u64,
}

impl<'a> Printer<'a> {
    /// `--json` means JSON lines, whatever the format is.
    pub(crate) fn new(screen: &'a Screen, format: EntryFormat) -> Result<Self, Problem> {
        let format = if screen.is_json() { EntryFormat::Json } else { format };
        let mut table = Table::new();
        match format {
            EntryFormat::Table => table.row(["INDEX", "TIME", "TYPE", "WHAT", "CALLER", "NAMES OR REASONS"]),
            EntryFormat::Csv => screen.data(CSV_COLUMNS.as_bytes())?,
            EntryFormat::Json => {}
        }
        Ok(Self { screen, format, table, rows: 0, printed: 0 })
    }

    /// One entry.
    pub(crate) fn print(&mut self, index: u64, entry: &[u8]) -> Result<(), Problem> {
        self.printed += 1;
        match self.format {
            EntryFormat::Json => {
                let value: Value = serde_json::from_slice(entry)
                    .unwrap_or_else(|_| String::from_utf8_lossy(entry).into_owned().into());
                // One line for each entry, so that other programs can read while this one writes.
                self.screen.data(format!("{}\n", json!({ "index": index, "entry": value })).as_bytes())
            }
            EntryFormat::Csv => self.screen.data(csv(index, entry).as_bytes()),
            EntryFormat::Table => {
                if self.rows == ROWS_MAX {
                    self.screen.data(std::mem::take(&mut self.table).render(0).as_bytes())?;
                    self.rows = 0;
                }
                self.rows += 1;
                self.row(index, entry);
                Ok(())
            }
        }
    }

    /// What is left to print; how many entries there were.
    pub(crate) fn close(self) -> Result<u64, Problem> {
        if self.format == EntryFormat::Table {
            self.screen.data(self.table.render(0).as_bytes())?;
        }
        Ok(self.printed)
    }

    fn row(&mut self, index: u64, entry: &[u8]) {
        let index = index.to_string();
        match Summary::parse(entry) {
            Ok(entry) => {
                let time = when::rfc3339_of_millis(entry.time);
                let caller = entry.caller.as_ref().or(entry.by.as_ref()).map(ToString::to_string).unwrap_or_default();
                let (what, names) = (show::what(&entry), show::names_or_reasons(&entry));
                let [kind, what, caller, names] = [&entry.kind, &what, &caller, &names].map(|cell| show::cut(cell));
                self.table.row([&index, &time, &kind, &what, &caller, &names]);
            }
            Err(_) => self.table.row([&index, "", "unreadable", "", "", ""]),
        }
    }
}

/// One line (RFC 4180).
fn csv(index: u64, entry: &[u8]) -> String {
    let Ok(entry) = Summary::parse(entry) else { return format!("{index},,unreadable,,,,,,,,,,\r\n") };
    let text = |text: Option<&hallmark_entry::summary::Text>| text.map(ToString::to_string).unwrap_or_default();
    let names: Vec<String> = entry.names.known().iter().map(ToString::to_string).collect();
    let reasons: Vec<&str> = entry.reasons.known().iter().map(|reason| reason.code.as_str()).collect();
    let cells = [
        index.to_string(),
        when::rfc3339_of_millis(entry.time),
        entry.kind.clone(),
        entry.decision.clone().unwrap_or_default(),
        entry.stage.clone().unwrap_or_default(),
        text(entry.authority.as_ref()),
        text(entry.profile.as_ref()),
        text(entry.caller.as_ref()),
        text(entry.request_id.as_ref()),
        entry.serial.clone().unwrap_or_default(),
        names.join(" "),
        reasons.join(" "),
        entry.policy_sha256.clone().unwrap_or_default(),
    ];
    cells.map(|cell| cell_of(&cell)).join(",") + "\r\n"
}

/// A cell that no program reads as two, and no spreadsheet as a formula.
fn cell_of(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_one_cell_and_no_formula() {
        assert_eq!(cell_of("plain"), "plain");
        assert_eq!(cell_of("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
        assert_eq!(cell_of("=1+1"), "'=1+1");
    }
}
