//! What a device logged of its own signatures, as a text file. Each line that is not empty and does not begin with `#` is one of these:
//!
//! - a command of a YubiHSM2, as `yubihsm-shell -a get-log-entries` or `audit get` lists it: signatures count, and items must follow
//!   each other by their numbers and by their digests, each over the one before it;
//! - a serial number in hexadecimal: one signature, for that certificate;
//! - a JSON object with `serial` (in hexadecimal) or `count` (of signatures), whatever else it has.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
};

use hallmark_entry::sha256;
use serde::Deserialize;

use super::findings::Findings;
use crate::{certificate::without_zeros, files::FileError, hex, problem::Problem};

/// Most bytes of lines that are no commands: what they say is kept. Commands are counted as they are read, however many there are.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// Longest line, in bytes.
const LINE_BYTES_MAX: u64 = 4_096;

/// Commands of a YubiHSM2 that sign: PKCS#1 v1.5, PSS, ECDSA, EdDSA.
const SIGN_COMMANDS: [u8; 4] = [0x47, 0x55, 0x56, 0x6a];

/// The bit that a result has on top of its command where the command was done.
const DONE: u8 = 0x80;

/// What a command begins with.
const ITEM: &str = "item:";

/// What lines of the tool hold beside commands.
const TOOL_LINES: [&str; 3] = ["Found ", "No logs to extract", "Logs correctly verified"];

/// Why it is hard to say what was signed.
const UNLOGGED: [&str; 2] = [" unlogged boots found", " unlogged authentications found"];

/// What a device says that it signed.
#[derive(Debug, Default)]
pub(crate) struct DeviceLog {
    /// How many signatures.
    pub(crate) signatures: u64,
    /// Those of them whose certificates it names, by serial number without leading zeros.
    pub(crate) serials: BTreeSet<Vec<u8>>,
    /// What speaks against the log itself.
    pub(crate) findings: Findings,
    /// Boots and authentications that the device has not logged, as it says.
    pub(crate) unlogged: u64,
    last: Option<Item>,
}

/// A command, as a YubiHSM2 logs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    number: u16,
    command: u8,
    length: u16,
    session_key: u16,
    target_key: u16,
    second_key: u16,
    result: u8,
    tick: u32,
    digest: [u8; 16],
}

/// A line of JSON.
#[derive(Deserialize)]
struct Line {
    serial: Option<String>,
    count: Option<u64>,
}

impl DeviceLog {
    /// Reads it. `key` is the object id of the issuer's key; commands of others are passed over.
    pub(crate) fn read(path: &Path, key: Option<u16>) -> Result<Self, Problem> {
        let failed = |source| FileError::Read { path: path.to_owned(), source };
        let mut file = BufReader::new(File::open(path).map_err(failed)?);
        let (mut log, mut bytes, mut kept) = (Self::default(), Vec::new(), 0);
        for number in 1_u64.. {
            bytes.clear();
            if file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
                break;
            }
            if bytes.len() as u64 == LINE_BYTES_MAX && !bytes.ends_with(b"\n") {
                let expected = "line of at most 4,096 bytes";
                return Err(FileError::UnexpectedLine { path: path.to_owned(), number, expected }.into());
            }
            let text = String::from_utf8_lossy(&bytes);
            let line = text.trim();
            kept += if line.starts_with(ITEM) { 0 } else { bytes.len() };
            if kept > KEPT_BYTES_MAX {
                return Err(FileError::TooLarge { path: path.to_owned(), bytes_max: KEPT_BYTES_MAX }.into());
            }
            if line.is_empty() || line.starts_with('#') || TOOL_LINES.iter().any(|start| line.starts_with(start)) {
                continue;
            }
            if log.add(line, key).is_none() {
                let path = path.to_owned();
                return Err(
                    FileError::UnexpectedLine { path, number, expected: "command, serial number or count" }.into()
                );
            }
        }
        Ok(log)
    }

    fn add(&mut self, line: &str, key: Option<u16>) -> Option<()> {
        if let Some(unlogged) = UNLOGGED.iter().find_map(|end| line.strip_suffix(end)) {
            self.unlogged = self.unlogged.saturating_add(unlogged.parse().ok()?);
        } else if line.starts_with(ITEM) {
            self.add_item(Item::parse(line)?, key);
        } else if line.starts_with('{') {
            match serde_json::from_str(line).ok()? {
                Line { serial: Some(serial), count: None } => self.add_serial(&serial)?,
                Line { serial: None, count: Some(count) } => self.signatures = self.signatures.saturating_add(count),
                Line { .. } => return None,
            }
        } else {
            self.add_serial(line)?;
        }
        Some(())
    }

    fn add_serial(&mut self, text: &str) -> Option<()> {
        let serial = hex::serial(&text.replace(':', "")).ok()?;
        self.serials.insert(without_zeros(&serial).to_vec());
        self.signatures = self.signatures.saturating_add(1);
        Some(())
    }

    fn add_item(&mut self, item: Item, key: Option<u16>) {
        // Extracts may overlap.
        if self.last == Some(item) {
            return;
        }
        if let Some(last) = self.last {
            let (before, number) = (last.number, item.number);
            if before.wrapping_add(1) != number {
                self.findings.add(&format!("the device's log goes from item {before} to item {number}"));
            } else if item.chained(&last.digest) != item.digest {
                self.findings.add(&format!(
                    "item {number} of the device's log has not the digest that follows from item {before}"
                ));
            }
        }
        self.last = Some(item);
        let is_ours = key.is_none_or(|key| key == item.target_key);
        let has_signed = SIGN_COMMANDS.contains(&item.command) && item.result == item.command | DONE;
        self.signatures = self.signatures.saturating_add(u64::from(is_ours && has_signed));
    }
}

impl Item {
    /// Reads what the tool prints for one.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<(&str, &str)> = line.split(" -- ").filter_map(|field| field.split_once(':')).collect();
        let [
            ("item", number),
            ("cmd", command),
            ("length", length),
            ("session key", session_key),
            ("target key", target_key),
            ("second key", second_key),
            ("result", result),
            ("tick", tick),
            ("hash", digest),
        ] = fields.as_slice()
        else {
            return None;
        };
        let word = |text: &str| u16::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok();
        let byte = |text: &str| u8::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok();
        Some(Self {
            number: number.trim().parse().ok()?,
            command: byte(command)?,
            length: length.trim().parse().ok()?,
            session_key: word(session_key)?,
            target_key: word(target_key)?,
            second_key: word(second_key)?,
            result: byte(result)?,
            tick: tick.trim().parse().ok()?,
            digest: hex::bytes(digest.trim())?.try_into().ok()?,
        })
    }

    /// The digest that it has behind another: half of SHA-256 over its 16 bytes and that digest.
    fn chained(&self, before: &[u8; 16]) -> [u8; 16] {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend(self.number.to_be_bytes());
        bytes.push(self.command);
        for field in [self.length, self.session_key, self.target_key, self.second_key] {
            bytes.extend(field.to_be_bytes());
        }
        bytes.push(self.result);
        bytes.extend(self.tick.to_be_bytes());
        bytes.extend(before);
        let [half @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = sha256(&bytes);
        half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Yubico's description of the command GET LOG ENTRIES.
    const EXAMPLE: &str = "\
0 unlogged boots found
0 unlogged authentications found
Found 2 items
item:    46 -- cmd: 0x4b -- length:  234 -- session key: 0x0001 -- target key: 0xcf94 -- second key: 0x997e -- result: 0xcb -- tick: 335725 -- hash: 415f51f1f035a1b713e730e4464e4033
item:    47 -- cmd: 0x4c -- length:   77 -- session key: 0x0001 -- target key: 0xaff7 -- second key: 0xffff -- result: 0xcc -- tick: 351714 -- hash: 5496a60d478c2b9c801d8d32ca66b554
";

    fn read(text: &str, key: Option<u16>) -> Result<DeviceLog, Problem> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("log"), text).unwrap();
        DeviceLog::read(&directory.path().join("log"), key)
    }

    /// A command behind the example.
    fn signed(number: u16, command: u8, target_key: u16, result: u8, before: [u8; 16]) -> (String, [u8; 16]) {
        let item = Item {
            number,
            command,
            length: 52,
            session_key: 1,
            target_key,
            second_key: 0xffff,
            result,
            tick: 400_000,
            digest: [0; 16],
        };
        let digest = item.chained(&before);
        let line = format!(
            "item: {number:5} -- cmd: {command:#04x} -- length:   52 -- session key: 0x0001 -- target key: {target_key:#06x} -- \
             second key: 0xffff -- result: {result:#04x} -- tick: 400000 -- hash: {}\n",
            hallmark_policy::hex(&digest)
        );
        (line, digest)
    }

    #[test]
    fn commands_of_a_yubihsm_are_counted_where_they_signed_with_that_key() {
        let last = Item::parse(EXAMPLE.lines().last().unwrap()).unwrap();
        let (first, digest) = signed(48, 0x56, 0x0123, 0xd6, last.digest);
        let (other_key, digest) = signed(49, 0x56, 0x0124, 0xd6, digest);
        let (failed, digest) = signed(50, 0x56, 0x0123, 0x0b, digest);
        let (second, _) = signed(51, 0x47, 0x0123, 0xc7, digest);
        let text = [EXAMPLE, &first, &other_key, &failed, &second, &second].concat();
        let log = read(&text, Some(0x0123)).unwrap();
        assert_eq!((log.signatures, log.unlogged, log.findings.kept()), (2, 0, &[][..]));
        assert_eq!(read(&text, None).unwrap().signatures, 3);
    }

    #[test]
    fn a_command_that_is_missing_or_was_changed_is_found() {
        let last = Item::parse(EXAMPLE.lines().last().unwrap()).unwrap();
        let gap = EXAMPLE.to_owned() + &signed(50, 0x56, 1, 0xd6, last.digest).0;
        assert_eq!(read(&gap, None).unwrap().findings.kept(), ["the device's log goes from item 47 to item 50"]);
        let changed = EXAMPLE.replacen("length:   77", "length:   78", 1);
        assert_eq!(
            read(&changed, None).unwrap().findings.kept(),
            ["item 47 of the device's log has not the digest that follows from item 46"]
        );
        assert_eq!(read(&EXAMPLE.replacen("0 unlogged", "3 unlogged", 1), None).unwrap().unlogged, 3);
    }

    #[test]
    fn serial_numbers_and_counts_are_taken_from_lines_and_from_json() {
        let text = "# exported\n\n5A:01\n005a02\n{\"serial\":\"5a03\",\"at\":7}\n{\"count\":40}\n";
        let log = read(text, None).unwrap();
        assert_eq!(log.signatures, 43);
        assert_eq!(Vec::from_iter(log.serials), [vec![0x5a, 1], vec![0x5a, 2], vec![0x5a, 3]]);
        for wrong in
            ["nonsense", "{}", "{\"count\":-1}", "{\"count\":1,\"serial\":\"01\"}", "item: 1", "x unlogged boots found"]
        {
            assert!(
                matches!(read(wrong, None), Err(Problem::File(FileError::UnexpectedLine { number: 1, .. }))),
                "{wrong}"
            );
        }
    }
}
