//! What a device has logged, kept in a file before the device is told to forget it: whoever audits the decision log holds it against that.
//!
//! The file is a list of commands as `audit get` of `yubihsm-shell` prints them, each once, in their order; `hallmark log reconcile --device-log` reads
//! it. A device is told to forget what this process knows to be on the disk, and nothing else; a write that the system said once had failed is not told
//! from others by the next process.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use hallmark_yubihsm::{ChainEnd, CommandLog, LogEntry};

/// Mode of a file that is made: it says how often which key signed.
const FILE_MODE: u32 = 0o600;

/// How much of the end of a file is read to find where it ends, in bytes: some lines.
const TAIL_BYTES: u64 = 4_096;

/// Longest line that may have been begun and not ended, in bytes.
const LINE_BYTES_MAX: usize = 256;

/// What an entry begins with.
const ITEM: &str = "item:";

/// What a count of things that were not logged ends with.
const FOUND: &str = " found";

/// The file that a device's command log is kept in.
#[derive(Debug)]
pub struct CommandLogFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None before the first use, and after something failed.
    open: Option<File>,
    /// The last entry that is in it.
    end: Option<ChainEnd>,
    /// Starts and openings of sessions that the device had no room for, as far as they are in it.
    unlogged: (u16, u16),
    /// Something was written of which nobody knows whether it is on the disk, and the system does not say so twice.
    is_in_doubt: bool,
}

impl CommandLogFile {
    /// The file of this name; it is made when something is to be kept.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps what is new of a log, on the disk when this returns. A file that was moved away is begun anew, behind what was in the other.
    ///
    /// # Errors
    /// If it cannot be opened or written, ends in something that was not written here, or may have lost what was written before; the last until the next
    /// start.
    pub fn keep(&self, log: &CommandLog) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_in_doubt {
            return Err(io::Error::other("what was written before may not be on the disk"));
        }
        let mut file = match state.open.take() {
            Some(file) if is_there(&file, &self.path) => file,
            Some(_) | None => state.open(&self.path)?,
        };
        let (text, unlogged) = state.new_of(log);
        if !text.is_empty() {
            file.write_all(text.as_bytes())?;
            file.sync_data().inspect_err(|_| state.is_in_doubt = true)?;
        }
        let last = log.entries.last().map(LogEntry::end);
        *state = State { open: Some(file), end: last.or(state.end), unlogged, is_in_doubt: false };
        Ok(())
    }
}

impl State {
    /// Opens the file and finds the last entry in it, behind which the next one is written.
    fn open(&mut self, path: &Path) -> io::Result<File> {
        let was_there = match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => true,
            Ok(_) => return Err(io::Error::other("it is no file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(FILE_MODE).open(path)?;
        let end = ended(&mut file)?;
        // Who wrote this may have been killed before it was on the disk.
        let synced = file.sync_all().and_then(|()| if was_there { Ok(()) } else { directory_of(path)?.sync_all() });
        synced.inspect_err(|_| self.is_in_doubt = true)?;
        self.end = end.or(self.end);
        Ok(file)
    }

    /// The lines of what is new, and what is said then of what the device had no room for.
    fn new_of(&self, log: &CommandLog) -> (String, (u16, u16)) {
        let CommandLog { unlogged_boots: boots, unlogged_authentications: authentications, entries, unread: _ } = log;
        let mut text = String::new();
        let more = |now: u16, before: u16| if now < before { now } else { now - before };
        for (count, what) in
            [(more(*boots, self.unlogged.0), "boots"), (more(*authentications, self.unlogged.1), "authentications")]
        {
            if count > 0 {
                text.push_str(&format!("{count} unlogged {what}{FOUND}\n"));
            }
        }
        let seen = self.end.and_then(|end| entries.iter().position(|entry| entry.end() == end));
        let new = seen.map_or(&entries[..], |seen| entries.get(seen + 1..).unwrap_or_default());
        new.iter().for_each(|entry| text.push_str(&format!("{entry}\n")));
        (text, (*boots, *authentications))
    }
}

/// Whether the file of this name is still this one.
fn is_there(file: &File, path: &Path) -> bool {
    let which = |found: fs::Metadata| (found.dev(), found.ino());
    let own = file.metadata().map(which).ok();
    own.is_some() && own == fs::symlink_metadata(path).map(which).ok()
}

fn directory_of(path: &Path) -> io::Result<File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))
}

/// The last entry of a file. A line that was begun and not ended is taken away: it was never said to be kept.
fn ended(file: &mut File) -> io::Result<Option<ChainEnd>> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    Read::by_ref(file).take(TAIL_BYTES).read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let torn = tail.get(whole..).unwrap_or_default();
    if !torn.is_empty() {
        if !may_be_ours(torn) {
            return Err(foreign());
        }
        file.set_len(length - u64::try_from(torn.len()).unwrap_or(length))?;
    }
    let text = String::from_utf8_lossy(tail.get(..whole).unwrap_or_default()).into_owned();
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    if last.is_some_and(|last| end_of(last).is_none() && !last.ends_with(FOUND)) {
        return Err(foreign());
    }
    Ok(text.lines().rev().find_map(end_of))
}

fn foreign() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it ends in something that is no list of commands")
}

/// Whether this may be the beginning of a line that was written here.
fn may_be_ours(torn: &[u8]) -> bool {
    let (item, is_count) = (ITEM.as_bytes(), torn.first().is_some_and(u8::is_ascii_digit));
    torn.len() < LINE_BYTES_MAX && (torn.starts_with(item) || item.starts_with(torn) || is_count)
}

/// Number and digest of an entry.
fn end_of(line: &str) -> Option<ChainEnd> {
    let (number, rest) = line.strip_prefix(ITEM)?.split_once(" -- ")?;
    let (_, digest) = rest.rsplit_once("hash:")?;
    let digest = u128::from_str_radix(digest.trim(), 16).ok().filter(|_| digest.trim().len() == 32)?;
    Some(ChainEnd { number: number.trim().parse().ok()?, digest: digest.to_be_bytes() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn entry(number: u16) -> LogEntry {
        LogEntry {
            number,
            command: 0x56,
            length: 52,
            session_key: 2,
            target_key: 0x6001,
            second_key: 0xffff,
            result: 0xd6,
            tick: 7,
            digest: [u8::try_from(number).unwrap(); 16],
        }
    }

    fn log(numbers: std::ops::Range<u16>) -> CommandLog {
        CommandLog { entries: numbers.map(entry).collect(), ..CommandLog::default() }
    }

    fn numbers(path: &Path) -> Vec<u16> {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n') || text.is_empty(), "{text}");
        text.lines().map(|line| end_of(line).unwrap_or_else(|| panic!("{line}")).number).collect()
    }

    #[test]
    fn each_entry_is_kept_once_whoever_keeps_it_and_however_often_it_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("commands");
        let file = CommandLogFile::new(path.clone());
        file.keep(&log(1..4)).unwrap();
        file.keep(&log(1..4)).unwrap();
        file.keep(&log(2..6)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FILE_MODE);
        // After a restart that came before the device was told.
        let file = CommandLogFile::new(path.clone());
        file.keep(&log(4..8)).unwrap();
        assert_eq!(numbers(&path), [1, 2, 3, 4, 5, 6, 7]);
        // It was moved away, as logs are.
        let away = directory.path().join("commands.1");
        fs::rename(&path, &away).unwrap();
        file.keep(&log(6..10)).unwrap();
        assert_eq!((numbers(&away).len(), numbers(&path)), (7, vec![8, 9]));
    }

    #[test]
    fn a_line_that_was_begun_and_not_ended_is_written_again_and_a_file_of_another_kind_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("commands");
        CommandLogFile::new(path.clone()).keep(&log(1..3)).unwrap();
        let whole = fs::read(&path).unwrap();
        for torn in [whole.len() - 1, whole.len() - 40, whole.len() / 2 + 1, 3, 0] {
            fs::write(&path, &whole[..torn]).unwrap();
            CommandLogFile::new(path.clone()).keep(&log(1..3)).unwrap();
            assert_eq!(numbers(&path), [1, 2], "{torn}");
        }
        for other in ["-----BEGIN PRIVATE KEY-----", &"x".repeat(5_000), "[backend]\n", "item: 1\n\n"] {
            fs::write(&path, other).unwrap();
            let error = CommandLogFile::new(path.clone()).keep(&log(1..3)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert_eq!(fs::read_to_string(&path).unwrap(), other);
        }
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(directory.path().join("elsewhere"), &path).unwrap();
        CommandLogFile::new(path).keep(&log(1..3)).unwrap_err();
    }

    #[test]
    fn what_the_device_had_no_room_for_is_said_once_in_the_life_of_a_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("commands");
        let file = CommandLogFile::new(path.clone());
        for (boots, authentications) in [(0, 0), (0, 2), (1, 2), (1, 5)] {
            let log = CommandLog { unlogged_boots: boots, unlogged_authentications: authentications, ..log(1..2) };
            file.keep(&log).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        let said: Vec<_> = text.lines().filter(|line| line.contains("unlogged")).collect();
        assert_eq!(
            said,
            ["2 unlogged authentications found", "1 unlogged boots found", "3 unlogged authentications found"]
        );
    }
}
