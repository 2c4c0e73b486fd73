//! Alarms to a webhook: every entry of the log is read and proven, and those of the wanted types are sent, in order, each until it is taken.
//!
//! The log is the queue: `--state` names the first entry that is neither sent nor dropped, so that what happened while this was stopped is sent when
//! it starts again. What is read ahead is bounded: in rate, in number and in age (`backlog.rs`), and what is dropped is counted.

mod backlog;
mod counts;
mod state;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hallmark_tlog::{
    bundle,
    frontier::Frontier,
    hash::Hash,
    note::VerifierKey,
    tile::{TILE_WIDTH, TileKind, TilePath},
};
use serde_json::Value;

use self::{
    backlog::{Backlog, Bounds, MESSAGES_MAX, Message, Seen},
    counts::Counts,
    state::Position,
};
use crate::{
    arguments::NotifyArguments,
    directory::{self, Directory, Snapshot},
    problem::{Nodes, Problem},
    webhook::Webhook,
};

/// How long is waited after an attempt that failed, in seconds; doubled after each.
const RETRY_SECS: u64 = 1;
const RETRY_SECS_MAX: u64 = 300;

/// What reads the log and sends.
struct Notifier<'a> {
    arguments: &'a NotifyArguments,
    directory: Directory,
    keys: Vec<VerifierKey>,
    webhook: Webhook,
    /// Up to where the log was read.
    read: Position,
    backlog: Backlog,
    /// After an attempt that failed: when the next one is, and how long is waited after that.
    retry: Option<(Instant, Duration)>,
    /// What was said and written last.
    said: Counts,
}

/// Sends what is new, again and again or once.
pub(crate) async fn notify(arguments: &NotifyArguments) -> Result<(), Problem> {
    let directory = Directory(arguments.directory.clone());
    let keys = directory::keys(&arguments.key)?;
    let bounds = Bounds {
        window: Duration::from_secs(arguments.fold_secs),
        age: Duration::from_secs(arguments.give_up_after_secs),
        messages: MESSAGES_MAX,
    };
    let mut notifier = Notifier {
        arguments,
        webhook: Webhook::open(&arguments.to, &arguments.secret, arguments.ca.as_deref())?,
        read: begin(&directory, &keys, arguments)?,
        directory,
        keys,
        backlog: Backlog::new(bounds),
        retry: None,
        said: Counts::default(),
    };
    notifier.write_metrics()?;
    loop {
        match notifier.send_new().await {
            Ok(()) if arguments.once => return Ok(()),
            Ok(()) => {}
            Err(problem) if arguments.once || !problem.passes() => return Err(problem),
            Err(problem) => eprintln!("warning: {problem}; it is tried again"),
        }
        tokio::time::sleep(Duration::from_millis(arguments.every_millis)).await;
    }
}

/// Where to begin: where the last run ended, at the entry that was named, or with what comes next.
fn begin(directory: &Directory, keys: &[VerifierKey], arguments: &NotifyArguments) -> Result<Position, Problem> {
    if let Some(position) = Position::read(&arguments.state)? {
        return Ok(position);
    }
    let size = directory.checkpoint(keys)?.map_or(0, |(_, head)| head.size());
    let position = Position { next: arguments.from.unwrap_or(size).min(size), root: None };
    position.write(&arguments.state)?;
    Ok(position)
}

impl Notifier<'_> {
    /// Reads what the log has from there on, and sends what is due.
    async fn send_new(&mut self) -> Result<(), Problem> {
        loop {
            let (before, is_read) = (self.read.next, self.read_new());
            // What was read before does not wait for a log that cannot be read.
            self.send_due().await?;
            if is_read? && (self.backlog.is_empty() || !self.arguments.once) {
                return Ok(());
            }
            // It waits for the receiver, or for the end of a window.
            if self.retry.is_some() || (self.read.next == before && !self.arguments.once) {
                return Ok(());
            }
        }
    }

    /// Takes what is new, as much as there is room for; all of it while the receiver takes nothing. Gives whether that is all.
    fn read_new(&mut self) -> Result<bool, Problem> {
        let Some(snapshot) = self.directory.snapshot(&self.keys)? else { return Ok(true) };
        let (head, position) = (&snapshot.head, self.read);
        if head.size() < position.next {
            return Err(rolled(position, head.size(), "an older log was put in its place"));
        }
        let mut frontier = frontier_of(position, &snapshot)?;
        if position.root.is_some_and(|root| root != frontier.root()) {
            return Err(rolled(position, head.size(), "another log was put in its place"));
        }
        if position.next == head.size() && position.root.is_some() {
            return Ok(true);
        }
        // Nothing is believed before all of it gives the root that was signed.
        let mut backlog = self.backlog.clone();
        let read = self.take(&mut frontier, &snapshot, &mut backlog)?;
        (self.backlog, self.read) = (backlog, read);
        self.settle()?;
        Ok(self.read.next == head.size())
    }

    /// Takes the entries from there on. All of them are there, and give the root that was signed: none was hidden. Gives up to where they were taken.
    fn take(&self, frontier: &mut Frontier, snapshot: &Snapshot, backlog: &mut Backlog) -> Result<Position, Problem> {
        let (head, now) = (&snapshot.head, Instant::now());
        let mut until = None;
        while frontier.size() < head.size() {
            let row = frontier.size() / TILE_WIDTH;
            let path = TilePath::of_row(TileKind::Entries, row, head.size()).to_string();
            let bytes = snapshot.file(&path)?.ok_or_else(|| unproven(&format!("`{path}` is not there")))?;
            let entries = bundle::decode(&bytes).map_err(|error| unproven(&format!("`{path}`: {error}")))?;
            let before = frontier.size();
            for (index, entry) in (row * TILE_WIDTH..).zip(entries).filter(|(index, _)| *index >= before) {
                let leaf = Hash::of_leaf(entry);
                if until.is_none()
                    && let Some(seen) = self.seen(head.origin(), index, leaf, entry)
                {
                    if self.retry.is_none() && !backlog.has_room_for(&seen) {
                        until = Some(Position::of(frontier));
                    } else {
                        backlog.take(seen, || Position::of(frontier), now);
                    }
                }
                frontier.append(leaf);
            }
            if frontier.size() == before {
                return Err(unproven(&format!("`{path}` ends too early")));
            }
        }
        if frontier.root() != head.root() {
            return Err(unproven("the entries are not those that the checkpoint signs"));
        }
        Ok(until.unwrap_or_else(|| Position::of(frontier)))
    }

    /// The entry, if it is of a wanted type.
    fn seen(&self, origin: &str, index: u64, leaf: Hash, entry: &[u8]) -> Option<Seen> {
        let entry: Value = serde_json::from_slice(entry).ok()?;
        let kind = entry.get("type").and_then(Value::as_str)?.to_owned();
        self.arguments.kind.contains(&kind).then_some(Seen { origin: origin.to_owned(), index, leaf, kind, entry })
    }

    /// Sends what is due, until one is not taken.
    async fn send_due(&mut self) -> Result<(), Problem> {
        if self.retry.is_some_and(|(at, _)| Instant::now() < at) {
            return Ok(());
        }
        while let Some(message) = self.backlog.next(Instant::now(), self.arguments.once) {
            match self.webhook.send(&message.id(), now_secs(), &message.body()).await {
                Ok(()) => {
                    self.retry = None;
                    self.backlog.taken(&message, Instant::now());
                    self.settle()?;
                }
                Err(why) => {
                    self.not_taken(&message, why)?;
                    if self.retry.is_some() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Drops it if it is too old, so that the next has its turn; otherwise it is sent again.
    fn not_taken(&mut self, message: &Message, why: String) -> Result<(), Problem> {
        let (index, now) = (message.index(), Instant::now());
        if self.backlog.refused(message, now) {
            self.retry = None;
            let (age, count) = (self.arguments.give_up_after_secs, message.count());
            eprintln!("error: entry {index} was not taken for {age} s, and is dropped ({count} in all): {why}");
            return self.settle();
        }
        if self.arguments.once {
            return Err(Problem::NotTaken { index, why });
        }
        let wait = self.retry.map_or(Duration::from_secs(RETRY_SECS), |(_, wait)| wait);
        eprintln!("warning: entry {index} is sent again in {} s: {why}", wait.as_secs());
        self.retry = Some((now + wait, (wait * 2).min(Duration::from_secs(RETRY_SECS_MAX))));
        Ok(())
    }

    /// Keeps how far it is, and says what was dropped for room.
    fn settle(&mut self) -> Result<(), Problem> {
        self.backlog.before().unwrap_or(self.read).write(&self.arguments.state)?;
        let dropped = self.backlog.counts.dropped_backlog - self.said.dropped_backlog;
        if dropped > 0 {
            eprintln!("error: {dropped} entries are dropped: more than {MESSAGES_MAX} messages wait for the receiver");
        }
        self.said = self.backlog.counts;
        self.write_metrics()
    }

    fn write_metrics(&self) -> Result<(), Problem> {
        let Some(path) = &self.arguments.metrics else { return Ok(()) };
        state::replace(path, &self.backlog.counts.text(self.backlog.len()))
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
