//! Plain tables: left-aligned columns, two spaces between them, no lines.

use crate::screen::printable;

/// Spaces between columns.
const GAP: usize = 2;

/// Rows of cells. Cells are made printable as they come in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.into_iter().map(|cell| printable(cell).into_owned()).collect());
    }

    /// Several values under one name, the name on the first line only; nothing if there are none.
    pub(crate) fn list<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a str>) {
        for (position, value) in values.into_iter().enumerate() {
            self.row([if position == 0 { name } else { "" }, value]);
        }
    }

    /// The lines, each behind `indent` spaces.
    pub(crate) fn render(&self, indent: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| letters(cell)).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width - letters(cell) + GAP));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn letters(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new();
        table.row(["a", "one"]);
        table.list("longer", ["two", "thrée"]);
        table.list("nothing", []);
        table.row(["x", "\u{1b}[31m"]);
        assert_eq!(table.render(2), "  a       one\n  longer  two\n          thrée\n  x       \\u{1b}[31m\n");
    }
}
