//! What a log says of its own name and of the keys that sign it, and whether that is how it is named and signed.

use hallmark_tlog::{
    checkpoint::Checkpoint,
    note::{Note, VerifierKey},
};
use serde::Deserialize;

/// Longest entry about the log itself that is read, in bytes. Names and keys are of some hundred.
const STATEMENT_BYTES_MAX: usize = 16_384;

/// Most names that a log can have had.
const NAMES_MAX: usize = 1_000;

/// What an entry says of the log itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Statement {
    /// Other keys sign it from here on.
    LogKey(Keys),
    /// It goes over to another name.
    Origin(Turn),
    /// It cannot be read: a text is too long to stand there whole.
    #[serde(skip)]
    Unreadable,
}

/// Verifier keys as text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Keys {
    keys: Vec<String>,
    #[serde(default)]
    added: Vec<String>,
    #[serde(default)]
    removed: Vec<String>,
}

/// One of the two entries between which a log changes its name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub(crate) enum Turn {
    Closed(Closed),
    Opened(Opened),
    /// As [`Opened`](Self::Opened), with no entry before it that closes the log: a backup was restored that is older than that.
    Restored(Opened),
}

/// The last entry under a name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Closed {
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) next_origin: String,
    pub(crate) next_key: String,
}

/// The first entry under a name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Opened {
    pub(crate) origin: String,
    pub(crate) key: String,
    pub(crate) previous_origin: String,
    pub(crate) previous_size: u64,
    pub(crate) previous_root: String,
    /// Where a backup was restored: how many entries the log before was known to have.
    #[serde(default)]
    pub(crate) seen_size: Option<u64>,
    /// The root that they were known to have, hexadecimal.
    #[serde(default)]
    pub(crate) seen_root: Option<String>,
    /// Whether a backup was restored, so that the log before has entries of its own after `previous_size`.
    #[serde(skip)]
    pub(crate) is_restored: bool,
}

impl Statement {
    /// Reads an entry that fits its type.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Self::Unreadable;
        }
        serde_json::from_slice(bytes).unwrap_or(Self::Unreadable)
    }
}

/// What does not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameFinding {
    #[error("names keys or origins that cannot be read whole, so that nothing can be compared with them")]
    Unreadable,
    #[error("changes the keys of the log from others than those that signed it until then")]
    OtherKeys,
    #[error("closes the log with {said} entries, and is itself number {found}")]
    ClosedElsewhere { said: u64, found: u64 },
    #[error("closes the log `{said}`, which is `{name}`")]
    ClosedOther { said: String, name: String },
    #[error("follows the last entry of the log `{origin}`, and does not open the next one")]
    AfterTheLast { origin: String },
    #[error("opens a log that no entry right before it closes")]
    NotClosed,
    #[error("goes on from a backup of another log than the one that it stands in, or of another size")]
    RestoredOther,
    #[error("opens another log than the entry before it announces")]
    OpenedOther,
    #[error("gives the log another name after {NAMES_MAX} others; it and those after it are not compared")]
    TooMany,
}

/// All that was said so far.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The keys that sign, once an entry has said so, and which one did last.
    keys: Option<(u64, Vec<String>)>,
    /// The name, once an entry has said so.
    origin: Option<String>,
    /// The last entry under the current name, with nothing after it.
    closed: Option<(u64, Closed)>,
    /// The changes of its name, each with its entry.
    opened: Vec<(u64, Opened)>,
}

impl Names {
    /// Looks at the next entry, which may say something of the log. `is_first`: those before it are not there.
    pub(crate) fn add(&mut self, index: u64, statement: Option<Statement>, is_first: bool) -> Option<NameFinding> {
        let closed = self.closed.take();
        match (statement, closed) {
            (Some(Statement::Origin(Turn::Opened(opened))), closed) => self.open(index, opened, closed, is_first),
            (Some(Statement::Origin(Turn::Restored(opened))), None) => self.restore(index, opened),
            (_, Some((_, closed))) => Some(NameFinding::AfterTheLast { origin: closed.origin }),
            (Some(Statement::Origin(Turn::Closed(closed))), None) => self.close(index, closed),
            (Some(Statement::LogKey(keys)), None) => self.change(index, keys),
            (Some(Statement::Unreadable), None) => Some(NameFinding::Unreadable),
            (None, None) => None,
        }
    }

    fn change(&mut self, index: u64, Keys { keys, added, removed }: Keys) -> Option<NameFinding> {
        let mut before: Vec<&String> = keys.iter().filter(|key| !added.contains(key)).chain(&removed).collect();
        before.sort();
        let agrees = self.keys.as_ref().is_none_or(|(_, known)| {
            let mut known: Vec<&String> = known.iter().collect();
            known.sort();
            known == before
        });
        self.keys = Some((index, keys));
        if agrees { None } else { Some(NameFinding::OtherKeys) }
    }

    fn close(&mut self, index: u64, closed: Closed) -> Option<NameFinding> {
        let found = index.saturating_add(1);
        let named = self.origin.as_ref().filter(|name| **name != closed.origin);
        let finding = match named {
            _ if closed.size != found => Some(NameFinding::ClosedElsewhere { said: closed.size, found }),
            Some(name) => Some(NameFinding::ClosedOther { said: closed.origin.clone(), name: name.clone() }),
            None => None,
        };
        self.closed = Some((index, closed));
        finding
    }

    /// The log goes on from a backup: what it has of the one before ends right before this entry.
    fn restore(&mut self, index: u64, opened: Opened) -> Option<NameFinding> {
        let named = self.origin.as_ref().is_none_or(|name| *name == opened.previous_origin);
        let finding = (opened.previous_size != index || !named).then_some(NameFinding::RestoredOther);
        self.begin(index, Opened { is_restored: true, ..opened }).or(finding)
    }

    fn open(
        &mut self,
        index: u64,
        opened: Opened,
        closed: Option<(u64, Closed)>,
        is_first: bool,
    ) -> Option<NameFinding> {
        let finding = match closed {
            None if is_first => None,
            None => Some(NameFinding::NotClosed),
            Some((at, closed)) => {
                let fits = closed.next_origin == opened.origin
                    && closed.next_key == opened.key
                    && closed.origin == opened.previous_origin
                    && closed.size == opened.previous_size
                    && at.saturating_add(1) == index;
                if fits { None } else { Some(NameFinding::OpenedOther) }
            }
        };
        self.begin(index, opened).or(finding)
    }

    /// It has this name and key from here on.
    fn begin(&mut self, index: u64, opened: Opened) -> Option<NameFinding> {
        self.keys = Some((index, vec![opened.key.clone()]));
        self.origin = Some(opened.origin.clone());
        if self.opened.len() == NAMES_MAX {
            return Some(NameFinding::TooMany);
        }
        self.opened.push((index, opened));
        None
    }

    /// The last entry, if the log is closed with it.
    pub(crate) fn closed(&self) -> Option<&(u64, Closed)> {
        self.closed.as_ref()
    }

    /// The changes of its name, each with its entry.
    pub(crate) fn opened(&self) -> &[(u64, Opened)] {
        &self.opened
    }

    /// The keys that sign by the entry of that index, if one says so.
    pub(crate) fn keys(&self) -> Option<&(u64, Vec<String>)> {
        self.keys.as_ref()
    }

    /// What speaks against the name and the signatures of the checkpoint. `whole`: all entries were there.
    pub(crate) fn judge(&self, head: &Checkpoint, note: &Note, given: &[VerifierKey], whole: bool) -> Vec<String> {
        let mut findings = Vec::new();
        let name = self.closed.as_ref().map(|(_, closed)| &closed.origin).or(self.origin.as_ref());
        if let Some(name) = name.filter(|name| *name != head.origin()) {
            findings
                .push(format!("`checkpoint` is one of `{}`, and by its entries the log is `{name}`", head.origin()));
        }
        let signs = |key: &&VerifierKey| Checkpoint::open_note(note, std::slice::from_ref(*key)).is_ok();
        let of_log: Vec<&VerifierKey> = given.iter().filter(|key| key.name() == head.origin()).collect();
        match &self.keys {
            Some((since, keys)) => {
                for key in of_log {
                    let text = key.to_string();
                    match (signs(&key), keys.contains(&text)) {
                        (true, false) => findings.push(format!(
                            "`checkpoint` is signed by `{text}`, which is no key of this log by entry {since}"
                        )),
                        (false, true) => findings.push(format!(
                            "`checkpoint` is not signed by `{text}`, which signs this log by entry {since}"
                        )),
                        (_, _) => {}
                    }
                }
            }
            None if whole && of_log.iter().filter(|key| signs(key)).count() > 1 => {
                findings.push("`checkpoint` is signed by several keys, and no entry says so".to_owned());
            }
            None => {}
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str], added: &[&str], removed: &[&str]) -> Option<Statement> {
        let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        Some(Statement::LogKey(Keys { keys: owned(keys), added: owned(added), removed: owned(removed) }))
    }

    fn closed(origin: &str, size: u64, next: &str) -> Option<Statement> {
        let (origin, next_origin, next_key) = (origin.to_owned(), next.to_owned(), format!("key of {next}"));
        Some(Statement::Origin(Turn::Closed(Closed { origin, size, next_origin, next_key })))
    }

    fn opened(origin: &str, previous: &str, size: u64) -> Option<Statement> {
        Some(Statement::Origin(Turn::Opened(Opened {
            origin: origin.to_owned(),
            key: format!("key of {origin}"),
            previous_origin: previous.to_owned(),
            previous_size: size,
            previous_root: String::new(),
            seen_size: None,
            seen_root: None,
            is_restored: false,
        })))
    }

    fn restored(origin: &str, previous: &str, size: u64) -> Option<Statement> {
        let Some(Statement::Origin(Turn::Opened(opened))) = opened(origin, previous, size) else { return None };
        Some(Statement::Origin(Turn::Restored(opened)))
    }

    fn found(statements: Vec<Option<Statement>>) -> Vec<(u64, NameFinding)> {
        let mut names = Names::default();
        let look = |(index, statement)| names.add(index, statement, false).map(|finding| (index, finding));
        (0..).zip(statements).filter_map(look).collect()
    }

    #[test]
    fn keys_that_come_and_go_follow_each_other() {
        let (begun, ended) = (keys(&["b", "a"], &["b"], &[]), keys(&["b"], &[], &["a"]));
        assert_eq!(found(vec![None, begun.clone(), None, ended.clone(), keys(&["c", "b"], &["c"], &[])]), []);
        assert_eq!(found(vec![begun.clone(), keys(&["c", "b"], &["c"], &[])]), [(1, NameFinding::OtherKeys)]);
        assert_eq!(found(vec![ended.clone(), begun]), [(1, NameFinding::OtherKeys)]);
        assert_eq!(found(vec![ended, keys(&["b"], &[], &["a"])]), [(1, NameFinding::OtherKeys)]);
    }

    #[test]
    fn a_log_is_closed_by_its_last_entry_and_the_next_one_opened_by_its_first() {
        assert_eq!(
            found(vec![None, closed("a", 2, "b"), opened("b", "a", 2), closed("b", 4, "c"), opened("c", "b", 4)]),
            []
        );
        let after = NameFinding::AfterTheLast { origin: "a".to_owned() };
        assert_eq!(found(vec![closed("a", 1, "b"), None, None]), [(1, after.clone())]);
        assert_eq!(found(vec![closed("a", 1, "b"), closed("a", 2, "b")]), [(1, after)]);
        assert_eq!(found(vec![None, opened("b", "a", 1)]), [(1, NameFinding::NotClosed)]);
        for wrong in [opened("c", "a", 1), opened("b", "c", 1), opened("b", "a", 2)] {
            assert_eq!(found(vec![closed("a", 1, "b"), wrong]), [(1, NameFinding::OpenedOther)]);
        }
        let elsewhere = NameFinding::ClosedElsewhere { said: 7, found: 2 };
        assert_eq!(found(vec![None, closed("a", 7, "b")]), [(1, elsewhere)]);
        let other = NameFinding::ClosedOther { said: "a".to_owned(), name: "b".to_owned() };
        assert_eq!(found(vec![closed("a", 1, "b"), opened("b", "a", 1), closed("a", 3, "c")]), [(2, other)]);
    }

    #[test]
    fn a_log_that_goes_on_from_a_backup_says_so_where_the_backup_ends() {
        assert_eq!(found(vec![None, restored("b", "a", 1), restored("c", "b", 2), closed("c", 4, "d")]), []);
        assert_eq!(found(vec![None, restored("b", "a", 2)]), [(1, NameFinding::RestoredOther)]);
        assert_eq!(found(vec![restored("b", "a", 0), restored("c", "a", 1)]), [(1, NameFinding::RestoredOther)]);
        let after = NameFinding::AfterTheLast { origin: "a".to_owned() };
        assert_eq!(found(vec![closed("a", 1, "b"), restored("b", "a", 1)]), [(1, after)]);
    }

    #[test]
    fn what_opens_a_log_whose_first_bundles_are_elsewhere_stands_for_itself() {
        let mut names = Names::default();
        let Some(statement) = opened("b", "a", 256) else { panic!() };
        assert_eq!(names.add(256, Some(statement), true), None);
        assert_eq!(names.opened().len(), 1);
    }
}
