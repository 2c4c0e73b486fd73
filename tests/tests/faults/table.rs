//! The table of results, as it is printed and as it stands in docs/faults.md.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf, time::Duration};

use crate::cells::{KINDS, Kind, OPERATIONS, Operation};

/// What stands around it in the page.
const BEGIN: &str = "<!-- table: made by `make test-faults` -->\n";
const END: &str = "<!-- end of table -->\n";

/// What stands where a kind cannot happen.
const NOWHERE: &str = "";
/// What stands where it was not tried by a bounded run.
const NOT_TRIED: &str = "…";

/// How long it took, by kind and operation.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<(&'static str, &'static str), Duration>);

impl Table {
    pub(crate) fn set(&mut self, kind: Kind, operation: Operation, took: Duration) {
        self.0.insert((kind.name(), operation.name()), took);
    }

    pub(crate) fn longest(&self) -> Duration {
        self.0.values().max().copied().unwrap_or_default()
    }

    /// In Markdown, aligned.
    pub(crate) fn text(&self) -> String {
        let mut text = row("", OPERATIONS.iter().map(|operation| operation.name().to_owned()));
        text.push_str(&row("---", OPERATIONS.iter().map(|_| "---".to_owned())));
        for kind in KINDS {
            text.push_str(&row(kind.name(), OPERATIONS.iter().map(|operation| self.cell(kind, *operation))));
        }
        text
    }

    fn cell(&self, kind: Kind, operation: Operation) -> String {
        match self.0.get(&(kind.name(), operation.name())) {
            Some(took) => format!("{:.1}", took.as_secs_f64()),
            None if kind.concerns(operation) => NOT_TRIED.to_owned(),
            None => NOWHERE.to_owned(),
        }
    }
}

fn row(first: &str, others: impl Iterator<Item = String>) -> String {
    let mut row = format!("| {first:<36} |");
    others.for_each(|cell| write!(row, " {cell:>11} |").unwrap());
    row + "\n"
}

/// What stands in a table's first row and column, and where nothing stands.
type Shape = (Vec<String>, Vec<(String, Vec<bool>)>);

/// Rows and columns of a table.
pub(crate) fn shape(table: &str) -> Shape {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut rows = table.lines().map(cells);
    let head = rows.next().unwrap_or_default();
    let named = |cells: Vec<String>| (cells[1].clone(), cells[2..].iter().map(String::is_empty).collect());
    (head, rows.skip(1).map(named).collect())
}

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/faults.md")
}

/// The table in the page.
pub(crate) fn documented() -> String {
    let text = fs::read_to_string(page()).expect("docs/faults.md");
    let (_, rest) = text.split_once(BEGIN).expect("the page has a table");
    rest.split_once(END).expect("the table has an end").0.to_owned()
}

/// Puts another table into the page.
pub(crate) fn document(table: &str) {
    let text = fs::read_to_string(page()).expect("docs/faults.md");
    let (before, rest) = text.split_once(BEGIN).expect("the page has a table");
    let (_, after) = rest.split_once(END).expect("the table has an end");
    fs::write(page(), [before, BEGIN, table, END, after].concat()).expect("docs/faults.md is written");
}

#[test]
fn the_page_has_every_kind_and_every_operation_with_a_result() {
    let documented = documented();
    assert_eq!(shape(&documented), shape(&Table::default().text()));
    assert!(!documented.contains(NOT_TRIED), "the page is of a whole run");
}
