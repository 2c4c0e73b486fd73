//! `hallmark log query`: entries by what they say.

use std::path::Path;

use hallmark_entry::{Summary, privacy};

use super::{
    but_pruned,
    opened::Opened,
    printer::Printer,
    scan::{Scan, bar},
    unclean,
};
use crate::{arguments::QueryArguments, exit::Exit, problem::Problem, screen::Screen, when};

/// Prints them as they come, those of a table a thousand at a time; what was printed counts only if the log holds to the end.
pub(crate) fn query(arguments: &QueryArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let opened = Opened::new(&arguments.log, config)?;
    let (source, head) = (&opened.source, &opened.head);
    let look = |_: u64, bytes: &[u8], openings: &[_]| {
        let revealed = if openings.is_empty() { bytes.to_vec() } else { privacy::reveal(bytes, openings) };
        let admitted = Summary::parse(&revealed).is_ok_and(|entry| arguments.filter.admits(&entry));
        admitted.then_some(revealed)
    };
    let mut printer = Printer::new(screen, arguments.format)?;
    let mut printed = Ok(());
    let scan = Scan { source, head, anchors: Vec::new(), pruned_before: opened.pruned_before, bar: bar(screen) };
    let scanned = scan.run(&look, &mut |index, entry: Option<Vec<u8>>| {
        if let (Ok(()), Some(entry)) = (&printed, entry) {
            printed = printer.print(index, &entry);
        }
    })?;
    printed?;
    unclean(&scanned)?;
    let found = printer.close()?;
    let size = when::number(head.size());
    let pruned = but_pruned(opened.pruned_before);
    screen.say(&format!("{} of {size} entries; all of the log holds.{pruned}", when::number(found)));
    Ok(Exit::Done)
}
