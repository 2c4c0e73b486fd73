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
    /// Where it is done.
    then: Position,
}

/// What is to be sent next, and up to where that is all.
struct Ahead {
    messages: VecDeque<Message>,
    until: Position,
}

/// How far a log was looked at: its first entries, so many, and their root.
#[derive(Clone, Copy)]
struct Position {
    next: u64,
    /// None before the first look.
    root: Option<Hash>,
}

impl Position {
    fn of(frontier: &Frontier) -> Self {
        Self { next: frontier.size(), root: Some(frontier.root()) }
    }
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
    let mut position = begin(&notifier, arguments)?;
    loop {
        match notifier.send_new(&mut position, &arguments.state).await {
            Ok(()) if notifier.once => return Ok(()),
            Ok(()) => {}
            Err(problem) if notifier.once || !problem.passes() => return Err(problem),
            Err(problem) => eprintln!("warning: {problem}; it is tried again"),
        }
        tokio::time::sleep(notifier.every).await;
    }
}

/// Where to begin: where the last run ended, at the entry that was named, or with what comes next.
fn begin(notifier: &Notifier, arguments: &NotifyArguments) -> Result<Position, Problem> {
    if let Some(position) = read_state(&arguments.state)? {
        return Ok(position);
    }
    let size = notifier.directory.checkpoint(&notifier.keys)?.map_or(0, |(_, head)| head.size());
    let position = Position { next: arguments.from.unwrap_or(size).min(size), root: None };
    write_state(&arguments.state, position)?;
    Ok(position)
}

impl Notifier {
    /// Sends what the log has from there on.
    async fn send_new(&self, position: &mut Position, state: &Path) -> Result<(), Problem> {
        let Some(mut snapshot) = self.directory.snapshot(&self.keys)? else { return Ok(()) };
        let size = snapshot.head.size();
        if size < position.next {
            return Err(rolled(*position, size, "an older log was put in its place"));
        }
        if position.root.is_none() {
            *position = Position::of(&frontier_of(*position, &snapshot)?);
            write_state(state, *position)?;
        }
        while position.next < size {
            let Ahead { messages, until } = self.ahead(*position, &snapshot)?;
            for message in messages {
                self.deliver(&message).await?;
                *position = message.then;
                write_state(state, *position)?;
            }
            *position = until;
            write_state(state, *position)?;
            // Sending takes time, and files of an older checkpoint leave.
            if position.next < size {
                snapshot = self.directory.snapshot(&self.keys)?.unwrap_or(snapshot);
            }
        }
        Ok(())
    }

    /// The messages of the entries from there on. What was looked at before is still there. All these entries are there, and give the root that was signed: none was hidden.
    fn ahead(&self, position: Position, snapshot: &Snapshot) -> Result<Ahead, Problem> {
        let head = &snapshot.head;
        let mut frontier = frontier_of(position, snapshot)?;
        if position.root.is_some_and(|root| root != frontier.root()) {
            return Err(rolled(position, head.size(), "another log was put in its place"));
        }
        let (mut messages, mut until) = (VecDeque::new(), Position::of(&frontier));
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
                    let message = self.message(head.origin(), index, &leaf, entry);
                    messages.extend(message.map(|message| Message { then: Position::of(&frontier), ..message }));
                    // The root is that of a few hashes; it is made where it is kept.
                    if messages.len() == AHEAD_MAX || frontier.size() == head.size() {
                        until = Position::of(&frontier);
                    }
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
        let then = Position { next: index + 1, root: None };
        Some(Message { index, id, at_secs, body: body.to_string(), then })
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

/// The tree of the entries before that position, from the hashes that are published.
fn frontier_of(position: Position, snapshot: &Snapshot) -> Result<Frontier, Problem> {
    let nodes = Nodes::new(snapshot, snapshot.head.size());
    Frontier::rebuild(position.next, &nodes).map_err(|error| unproven(&error.to_string()))
}

/// The log is not the one of which entries were sent.
fn rolled(position: Position, ours: u64, what: &'static str) -> Problem {
    Problem::Rolled { who: "what was sent before".to_owned(), theirs: position.next, ours, what }
}

fn unproven(sentence: &str) -> Problem {
    Problem::Unproven { sentence: sentence.to_owned() }
}

fn now_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// How far the log was looked at; nothing before the first run.
fn read_state(path: &Path) -> Result<Option<Position>, Problem> {
    let file = |source| Problem::File { path: path.to_owned(), source };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file(error)),
    };
    let invalid = || file(io::Error::new(io::ErrorKind::InvalidData, "it holds no number of entries with their root"));
    let mut lines = text.lines();
    let next = lines.next().and_then(|next| next.parse().ok()).ok_or_else(invalid)?;
    let root = lines.next().map(|root| Hash::from_base64(root).ok_or_else(invalid)).transpose()?;
    Ok(Some(Position { next, root }))
}

/// Writes it beside its place and moves it there: it is whole after a crash.
fn write_state(path: &Path, Position { next, root }: Position) -> Result<(), Problem> {
    let write = || {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".tmp");
        let mut file = fs::File::create(&beside)?;
        writeln!(file, "{next}")?;
        if let Some(root) = root {
            writeln!(file, "{root}")?;
        }
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| Problem::File { path: path.to_owned(), source })
}
