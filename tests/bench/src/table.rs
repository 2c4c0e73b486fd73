//! The table: each row as soon as it was measured, and in the end which targets were reached.

use std::io::{self, Write as _};

use crate::row::Row;

/// Columns behind the name, with their widths.
const COLUMNS: [(&str, usize); 14] = [
    ("clients", 8),
    ("per s", 9),
    ("/ceiling", 10),
    ("p50", 8),
    ("p90", 8),
    ("p99", 8),
    ("max", 8),
    ("front", 9),
    ("core", 7),
    ("PKCS#11", 9),
    ("fsyncs", 8),
    ("idle", 7),
    ("peak", 6),
    ("target", 8),
];

/// What stands over them, and how many columns it is about.
const GROUPS: [(&str, usize); 6] =
    [("", 3), ("latency, ms", 4), ("CPU, ms each", 2), ("calls each", 2), ("memory, MB", 2), ("", 1)];

const NAME_WIDTH: usize = 29;

/// Rows, as they come.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
}

impl Table {
    /// The lines that begin a part.
    pub(crate) fn heading(title: &str) -> String {
        let mut above = " ".repeat(NAME_WIDTH);
        let mut columns = COLUMNS.iter();
        for (group, count) in GROUPS {
            let width: usize = columns.by_ref().take(count).map(|(_, width)| width).sum();
            above.push_str(&over(group, width));
        }
        let names: String = COLUMNS.iter().map(|(name, width)| format!("{name:>width$}")).collect();
        format!("\n{}\n{title:NAME_WIDTH$}{names}", above.trim_end())
    }

    /// One line, and a second one if requests failed.
    pub(crate) fn line(row: &Row) -> String {
        let cells = [
            row.clients.map(|clients| clients.to_string()),
            row.per_s.map(thousands),
            row.ratio_to_ceiling.map(|ratio| format!("{ratio:.3}")),
            row.p50_ms.map(millis),
            row.p90_ms.map(millis),
            row.p99_ms.map(millis),
            row.max_ms.map(millis),
            row.front_cpu_ms_per_certificate.map(|cpu| format!("{cpu:.3}")),
            row.core_cpu_ms_per_certificate.map(|cpu| format!("{cpu:.3}")),
            row.pkcs11_calls_per_certificate.map(|calls| format!("{calls:.2}")),
            row.fsyncs_per_certificate.map(|fsyncs| format!("{fsyncs:.2}")),
            row.memory_idle_mb.map(|megabytes| format!("{megabytes:.0}")),
            row.memory_peak_mb.map(|megabytes| format!("{megabytes:.0}")),
            row.met.map(|met| if met { "met" } else { "missed" }.to_owned()),
        ];
        let mut line = format!("{:1$}", format!("  {}", row.name), NAME_WIDTH);
        for (cell, (_, width)) in cells.into_iter().zip(COLUMNS) {
            line.push_str(&format!("{:>width$}", cell.unwrap_or_default()));
        }
        let mut line = line.trim_end().to_owned();
        for (code, count) in &row.errors {
            line.push_str(&format!("\n    {} requests ended with {code}", thousands(*count as f64)));
        }
        if let (Some(memory), Some(handles), Some(threads), Some(files)) =
            (row.memory_now_mb, row.handles, row.threads, row.files)
        {
            line.push_str(&format!("\n    {memory:.1} MB, {handles} open files, {threads} threads, {files} files"));
        }
        if let Some(within) = row.refusal_p99_ms {
            line.push_str(&format!("\n    they ended within {} ms (p99)", millis(within)));
        }
        line
    }

    /// Keeps a row.
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Which targets were reached, and by how much the others were not.
    pub(crate) fn verdict(&self) -> String {
        let judged = || self.rows.iter().filter(|row| row.met.is_some());
        if judged().next().is_none() {
            return "None of these rows has a target.".to_owned();
        }
        let met = judged().filter(|row| row.met == Some(true)).count();
        let mut text = format!("{met} of {} rows with a target reach it.", judged().count());
        for row in judged().filter(|row| row.met == Some(false)) {
            text.push_str(&format!("\n  {}", row.title()));
            row.missed.iter().for_each(|missed| text.push_str(&format!("\n      {missed}")));
        }
        text
    }

    /// Requests without a certificate, in all rows but those of overload.
    pub(crate) fn failures(&self) -> u64 {
        self.rows.iter().filter(|row| !row.is_overload).flat_map(|row| row.errors.values()).sum()
    }
}

/// Prints lines; a reader that has gone away is no reason to stop measuring.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// A line over columns that are so wide together, with what they have in common in its middle.
fn over(group: &str, width: usize) -> String {
    const GAP: usize = 3;
    if group.is_empty() {
        return " ".repeat(width);
    }
    format!("{}{:-^2$}", " ".repeat(GAP), format!(" {group} "), width.saturating_sub(GAP))
}

/// A whole number in groups of three.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let first = digits.len() % 3;
    let separated = digits.char_indices().map(|(at, digit)| {
        let begins_group = at > 0 && at % 3 == first;
        if begins_group { format!(",{digit}") } else { digit.to_string() }
    });
    separated.collect()
}

/// Milliseconds with three digits that say something.
fn millis(millis: f64) -> String {
    let digits = if millis < 10.0 { 2 } else { 1 };
    format!("{millis:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{key::Key, target::Wanted};

    #[test]
    fn numbers_are_written_in_groups() {
        let written = [0.0, 12.4, 999.0, 1_000.0, 19_902.4, 1_000_000.0].map(thousands);
        assert_eq!(written, ["0", "12", "999", "1,000", "19,902", "1,000,000"]);
    }

    #[test]
    fn cells_stand_under_their_headings() {
        let row = Row {
            per_s: Some(2_069.0),
            p50_ms: Some(30.24),
            p90_ms: Some(41.9),
            p99_ms: Some(52.4),
            max_ms: Some(101.0),
            front_cpu_ms_per_certificate: Some(0.2),
            core_cpu_ms_per_certificate: Some(0.684),
            cpu_ms_per_certificate: Some(0.884),
            pkcs11_calls_per_certificate: Some(2.0),
            fsyncs_per_certificate: Some(0.05),
            memory_idle_mb: Some(38.2),
            memory_peak_mb: Some(65.0),
            ..Row::new("two processes", Some(Key::EcdsaP256), Some(64))
        };
        let row = row.against(20_000.0).judged(&[Wanted::P99(35.0), Wanted::Calls(2.0)]);
        let expected = "
                                                           -------- latency, ms --------    CPU, ms each    - calls each -    memory, MB
P-256                         clients    per s  /ceiling     p50     p90     p99     max    front   core  PKCS#11  fsyncs   idle  peak  target
  two processes                    64    2,069     0.103    30.2    41.9    52.4   101.0    0.200  0.684     2.00    0.05     38    65  missed";
        assert_eq!(format!("{}\n{}", Table::heading("P-256"), Table::line(&row)), expected);
        let table = Table { rows: vec![row] };
        let verdict =
            "0 of 1 rows with a target reach it.\n  P-256, two processes, 64 clients\n      p99 under 35 ms: 52.4";
        assert_eq!(table.verdict(), verdict);
    }

    #[test]
    fn failures_are_told_below_their_row() {
        let mut row = Row::new("two processes", None, Some(1));
        row.errors.insert("UNAVAILABLE".to_owned(), 1_200);
        assert!(Table::line(&row).ends_with("\n    1,200 requests ended with UNAVAILABLE"));
        assert_eq!(Table { rows: vec![row] }.failures(), 1_200);
    }
}
