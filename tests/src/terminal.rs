//! A pseudo-terminal with somebody before it, for programs that ask.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::Stdio,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

/// What stands before something is typed that is not shown.
pub const SECRET_PROMPT: &str = "(nothing is shown): ";

/// The side of whoever types.
#[derive(Debug)]
pub struct Terminal {
    file: File,
    /// What it showed so far.
    said: String,
}

/// The side of programs.
#[derive(Debug)]
pub struct Side(File);

impl Side {
    /// For one stream of a program.
    ///
    /// # Panics
    /// If the system gives no file handle.
    #[must_use]
    pub fn stdio(&self) -> Stdio {
        OwnedFd::from(self.0.try_clone().expect("a file handle")).into()
    }

    /// How keys come to programs: line by line, with an echo, as signals.
    ///
    /// # Panics
    /// If the terminal does not tell.
    #[must_use]
    pub fn modes(&self) -> LocalModes {
        tcgetattr(&self.0).expect("its settings").local_modes
    }
}

impl Terminal {
    /// A terminal, and its other side.
    ///
    /// # Panics
    /// If the system gives none.
    #[must_use]
    pub fn open() -> (Self, Side) {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("its other side");
        let name = ptsname(&terminal, Vec::new()).expect("its name");
        let side = File::options().read(true).write(true).open(name.to_string_lossy().as_ref()).expect("it opens");
        (Self { file: terminal.into(), said: String::new() }, Side(side))
    }

    /// Makes it so large; a program is not told.
    ///
    /// # Panics
    /// If the system does not.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.file, size).expect("its size is set");
    }

    /// Types a line.
    ///
    /// # Panics
    /// If nobody has the other side any more.
    pub fn type_line(&mut self, line: &str) {
        self.file.write_all(format!("{line}\n").as_bytes()).expect("somebody reads");
    }

    /// Reads until these words stand after what was read before, and gives all that was read.
    ///
    /// # Panics
    /// If the other side closes before.
    pub fn expect(&mut self, words: &str) -> &str {
        let from = self.said.len();
        let found = self.expect_one(&[words]);
        assert!(found.is_some(), "{words}\nis not in\n{}", &self.said[from..]);
        &self.said
    }

    /// Reads until one of these stands after what was read before, and gives which; nothing if the other side closes before.
    pub fn expect_one(&mut self, words: &[&str]) -> Option<usize> {
        let from = self.said.len();
        let mut byte = [0];
        loop {
            if let Some(found) = words.iter().position(|words| self.said[from..].contains(words)) {
                return Some(found);
            }
            // The end of the other side reads as an error.
            let Ok(1) = self.file.read(&mut byte) else { return None };
            self.said.push(char::from(byte[0]));
        }
    }

    /// All that it showed, when nobody has its other side any more.
    #[must_use]
    pub fn end(mut self) -> String {
        let mut rest = Vec::new();
        // The end of the other side reads as an error.
        let _ = self.file.read_to_end(&mut rest);
        self.said + &String::from_utf8_lossy(&rest)
    }
}
