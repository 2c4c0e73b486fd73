//! A terminal that shows one screen again and again: its own screen of the terminal, keys one by one and without an echo, and everything as it
//! was before when it ends.

use std::{
    io::{self, Write as _},
    sync::Arc,
    thread,
};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::sync::Notify;

/// Enters the terminal's other screen, and hides the cursor (xterm, "Control Sequences": DECSET 1049 and 25).
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
/// The other way round.
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// The cursor goes to the first column of the first line (CUP).
const HOME: &str = "\u{1b}[H";
/// What stands behind the cursor is erased: to the end of the line (EL), and of the screen (ED).
const ERASE_LINE: &str = "\u{1b}[K";
const ERASE_BELOW: &str = "\u{1b}[J";

/// What a terminal is taken for that does not tell its size.
const COLUMNS: u16 = 80;
const ROWS: u16 = 24;

/// Ctrl-C and Ctrl-D, as a terminal gives them that makes no signals of them.
const ENDING: [u8; 4] = [b'q', b'Q', 3, 4];

/// The terminal, as long as it shows the screen.
pub(super) struct Live {
    /// How standard input was, and who hears that somebody ends it; none where it is no terminal.
    keys: Option<(Termios, Arc<Notify>)>,
}

impl Live {
    /// Takes the terminal that standard output is.
    pub(super) fn enter() -> io::Result<Self> {
        let mut live = Self { keys: None };
        let stdin = rustix::stdio::stdin();
        if isatty(stdin) {
            let before = tcgetattr(stdin)?;
            let mut changed = before.clone();
            // Keys come at once, unseen, and Ctrl-Z leaves no screen behind that nobody restores.
            changed.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            changed.special_codes[SpecialCodeIndex::VMIN] = 1;
            changed.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(stdin, OptionalActions::Drain, &changed)?;
            let ended = Arc::<Notify>::default();
            live.keys = Some((before, Arc::clone(&ended)));
            // It ends with the process: nobody can call it back from a read.
            thread::Builder::new().name("keys".to_owned()).spawn(move || await_end(&ended))?;
        }
        write(ENTER)?;
        Ok(live)
    }

    /// Columns and rows.
    pub(super) fn size() -> (usize, usize) {
        let told = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        let (columns, rows) = told.map_or((COLUMNS, ROWS), |size| (size.ws_col, size.ws_row));
        (columns.into(), rows.into())
    }

    /// Shows these lines, as many as there is room for.
    pub(super) fn show(lines: &[String], rows: usize) -> io::Result<()> {
        let mut text = HOME.to_owned();
        for (at, line) in lines.iter().take(rows).enumerate() {
            if at > 0 {
                text.push_str("\r\n");
            }
            text.push_str(line);
            text.push_str(ERASE_LINE);
        }
        text.push_str(ERASE_BELOW);
        write(&text)
    }

    /// Waits until somebody types what ends it; for ever where nobody can.
    pub(super) async fn ended(&self) {
        match &self.keys {
            Some((_, ended)) => ended.notified().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = write(LEAVE);
        if let Some((before, _)) = &self.keys {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Reads keys until one of them ends it, or the terminal is gone.
fn await_end(ended: &Notify) {
    let mut typed = [0; 64];
    loop {
        match rustix::io::read(rustix::stdio::stdin(), &mut typed) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(count) if count > 0 && !ends(typed.get(..count).unwrap_or_default()) => {}
            Ok(_) | Err(_) => return ended.notify_one(),
        }
    }
}

/// Whether one of these keys ends it. What begins with ESC is one key with a name, such as F2, whatever is in it.
fn ends(typed: &[u8]) -> bool {
    const ESC: u8 = 0x1b;
    typed.first() != Some(&ESC) && typed.iter().any(|key| ENDING.contains(key))
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
