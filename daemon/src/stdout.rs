//! Standard output, for data and for what was asked.

use std::{fmt::Display, io::Write as _};

/// Prints a line. Whoever closed the output, `head` for example, does not want to hear more, so errors are nobody's.
pub(crate) fn line(text: impl Display) {
    drop(writeln!(std::io::stdout(), "{text}"));
}
