//! Alarms to a webhook: every entry of the log is read and proven, and those of the wanted types are sent, in order, each until it is taken.
//!
//! The log is the queue: nothing is kept in memory, and what happened while this was stopped is sent when it starts again.

use std::{
    collections::VecDeque,
    fs,
    io::{self, Write as _},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hallmark_tlog::{
    bundle,
    frontier::Frontier,
    hash::Hash,
    note::VerifierKey,
    tile::{TILE_WIDTH, TileKind, TilePath},
};
use serde_json::{Value, json};

use crate::{
    arguments::NotifyArguments,
    directory::{self, Directory, Snapshot},
    problem::{Nodes, Problem},
    webhook::Webhook,
};

/// How long is waited after an attempt that failed, in seconds; doubled after each.
const RETRY_SECS: u64 = 1;
const RETRY_SECS_MAX: u64 = 300;

/// Most messages that are read ahead; the log keeps the others.
const AHEAD_MAX: usize = 1_000;

/// What reads the log and sends.
struct Notifier {
    directory: Directory,
    keys: Vec<VerifierKey>,
    webhook: Webhook,
    kinds: Vec<String>,
    give_up_after_secs: i64,
    every: Duration,
    once: bool,
}

/// A message that is to be sent.
struct Message {
    index: u64,
    /// The same in every attempt, and no other message's, of whatever log: it is made of the entry.
    id: String,
    /// When the entry was written, since 1970.
    at_secs: i64,
    body: String,
}

/// What is to be sent next, and the index up to which that is all.
struct Ahead {
    messages: VecDeque<Message>,
    until: u64,
}

/// Sends what is new, again and again or once.
pub(crate) async fn notify(arguments: &NotifyArguments) -> Result<(), Problem> {
    let notifier = Notifier {
        directory: Directory(arguments.directory.clone()),
        keys: directory::keys(&arguments.key)?,
        webhook: Webhook::open(&arguments.to, &arguments.secret, arguments.ca.as_deref())?,
        kinds: arguments.kind.clone(),
        give_up_after_secs: i64::try_from(arguments.give_up_after_secs).unwrap_or(i64::MAX),
        every: Duration::from_millis(arguments.every_millis),
        once: arguments.once,
    };
    let mut next = begin(&notifier, arguments)?;
    loop {
        match notifier.send_new(&mut next, &arguments.state).await {
            Ok(()) if notifier.once => return Ok(()),
            Ok(()) => {}
            Err(problem) if notifier.once || !problem.passes() => return Err(problem),
            Err(problem) => eprintln!("warning: {problem}; it is tried again"),
        }
        tokio::time::sleep(notifier.every).await;
    }
}

/// Where to begin: where the last run ended, at the entry that was named, or with what comes next.
fn begin(notifier: &Notifier, arguments: &NotifyArguments) -> Result<u64, Problem> {
    if let Some(next) = read_state(&arguments.state)? {
        return Ok(next);
    }
    let size = notifier.directory.checkpoint(&notifier.keys)?.map_or(0, |(_, head)| head.size());
    let next = arguments.from.unwrap_or(size).min(size);
    write_state(&arguments.state, next)?;
    Ok(next)
}

impl Notifier {
    /// Sends what the log has from the entry `next` on.
    async fn send_new(&self, next: &mut u64, state: &Path) -> Result<(), Problem> {
        let Some(mut snapshot) = self.directory.snapshot(&self.keys)? else { return Ok(()) };
        let size = snapshot.head.size();
        if size < *next {
            let (who, what) = ("what was sent before".to_owned(), "an older log was put in its place");
            return Err(Problem::Rolled { who, theirs: *next, ours: size, what });
        }
        while *next < size {
            let Ahead { messages, until } = self.ahead(*next, &snapshot)?;
            for message in messages {
                self.deliver(&message).await?;
                *next = message.index + 1;
                write_state(state, *next)?;
            }
            *next = until;
            write_state(state, *next)?;
            // Sending takes time, and files of an older checkpoint leave.
            if *next < size {
                snapshot = self.directory.snapshot(&self.keys)?.unwrap_or(snapshot);
            }
        }
        Ok(())
    }

    /// The messages of the entries from `next` on. All these entries are there, and give the root that was signed: none was hidden.
    fn ahead(&self, next: u64, snapshot: &Snapshot) -> Result<Ahead, Problem> {
        let head = &snapshot.head;
        let nodes = Nodes::new(snapshot, head.size());
        let mut frontier = Frontier::rebuild(next, &nodes).map_err(|error| unproven(&error.to_string()))?;
        let (mut messages, mut until) = (VecDeque::new(), next);
        while frontier.size() < head.size() {
            let row = frontier.size() / TILE_WIDTH;
            let path = TilePath::of_row(TileKind::Entries, row, head.size()).to_string();
            let bytes = snapshot.file(&path)?.ok_or_else(|| unproven(&format!("`{path}` is not there")))?;
            let entries = bundle::decode(&bytes).map_err(|error| unproven(&format!("`{path}`: {error}")))?;
            let before = frontier.size();
            for (index, entry) in (row * TILE_WIDTH..).zip(entries).filter(|(index, _)| *index >= before) {
                let leaf = Hash::of_leaf(entry);
                frontier.append(leaf);
                if messages.len() < AHEAD_MAX {
                    messages.extend(self.message(head.origin(), index, &leaf, entry));
                    until = index + 1;
                }
            }
            if frontier.size() == before {
                return Err(unproven(&format!("`{path}` ends too early")));
            }
        }
        if frontier.root() != head.root() {
            return Err(unproven("the entries are not those that the checkpoint signs"));
        }
        Ok(Ahead { messages, until })
    }

    /// The message about an entry, if it is of a wanted type.
    fn message(&self, origin: &str, index: u64, leaf: &Hash, entry: &[u8]) -> Option<Message> {
        let id = leaf.as_bytes().iter().fold("hallmark-".to_owned(), |id, byte| format!("{id}{byte:02x}"));
        let entry: Value = serde_json::from_slice(entry).ok()?;
        let kind = entry.get("type").and_then(Value::as_str)?;
        if !self.kinds.iter().any(|wanted| wanted == kind) {
            return None;
        }
        let body = json!({
            "type": format!("hallmark.{kind}"),
            "timestamp": entry.get("time"),
            "data": { "origin": origin, "index": index, "entry": &entry },
        });
        let at_secs = entry.get("time").and_then(Value::as_i64).unwrap_or_default().div_euclid(1_000);
        Some(Message { index, id, at_secs, body: body.to_string() })
    }

    /// Sends a message until it is taken, or too old; every message has one attempt.
    async fn deliver(&self, message: &Message) -> Result<(), Problem> {
        let mut wait = RETRY_SECS;
        loop {
            let Err(why) = self.webhook.send(&message.id, now_secs(), &message.body).await else { return Ok(()) };
            let age = now_secs().saturating_sub(message.at_secs);
            if age >= self.give_up_after_secs {
                eprintln!("error: entry {} is {age} s old, was not taken, and is given up: {why}", message.index);
                return Ok(());
            }
            if self.once {
                return Err(Problem::NotTaken { index: message.index, why });
            }
            eprintln!("warning: entry {} is sent again in {wait} s: {why}", message.index);
            tokio::time::sleep(Duration::from_secs(wait)).await;
            wait = (wait * 2).min(RETRY_SECS_MAX);
        }
    }
}

fn unproven(sentence: &str) -> Problem {
    Problem::Unproven { sentence: sentence.to_owned() }
}

fn now_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The index of the entry that is looked at next; nothing before the first run.
fn read_state(path: &Path) -> Result<Option<u64>, Problem> {
    let file = |source| Problem::File { path: path.to_owned(), source };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file(error)),
    };
    let invalid = || file(io::Error::new(io::ErrorKind::InvalidData, "it holds no number of entries"));
    text.trim().parse().map(Some).map_err(|_| invalid())
}

/// Writes it beside its place and moves it there: it is whole after a crash.
fn write_state(path: &Path, next: u64) -> Result<(), Problem> {
    let write = || {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".tmp");
        let mut file = fs::File::create(&beside)?;
        writeln!(file, "{next}")?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| Problem::File { path: path.to_owned(), source })
}
