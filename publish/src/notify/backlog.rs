//! What waits to be sent: bounded in rate, in number and in age. Nothing here reads a clock: moments are those of the monotonic one, and
//! arguments.
//!
//! Alarms of one kind and authority are folded: whoever can cause one of a kind over and over fills neither this nor the receiver.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use hallmark_tlog::hash::Hash;
use serde_json::{Value, json};

use super::{counts::Counts, state::Position};

/// Most messages that wait. What is more waits in the log while the receiver takes messages; while it does not, the oldest ones are dropped.
pub(super) const MESSAGES_MAX: usize = 1_000;

/// Most entries that a message names one by one.
const INDICES_MAX: usize = 100;

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How long after a message the next of its kind and authority is sent; those between are folded. Zero folds nothing.
    pub(super) window: Duration,
    /// How long a message is sent again, since its first entry was read.
    pub(super) age: Duration,
    /// Most messages that wait.
    pub(super) messages: usize,
}

/// What is folded: alarms of one kind, about one authority.
type Key = (String, String);

/// An entry of a wanted type.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The log's name.
    pub(super) origin: String,
    pub(super) index: u64,
    pub(super) leaf: Hash,
    pub(super) kind: String,
    pub(super) entry: Value,
}

impl Seen {
    /// Entries of other types are what somebody asked for one by one.
    fn key(&self) -> Option<Key> {
        let word = |name| self.entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        (self.kind == "alarm").then(|| (word("alarm"), word("authority")))
    }
}

/// One message: an entry, and those that were folded into it.
#[derive(Clone, Debug)]
pub(super) struct Message {
    key: Option<Key>,
    first: Arc<Seen>,
    count: u64,
    indices: Vec<u64>,
    last_index: u64,
    /// Where the log was before its first entry.
    before: Position,
    read_at: Instant,
    /// It was on its way: from then on it says the same in every attempt.
    attempted: bool,
}

impl Message {
    pub(super) fn index(&self) -> u64 {
        self.first.index
    }

    /// How many entries it stands for.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The same in every attempt, and no other message's, of whatever log: it is made of its entries.
    pub(super) fn id(&self) -> String {
        let id = self.first.leaf.as_bytes().iter().fold("hallmark-".to_owned(), |id, byte| format!("{id}{byte:02x}"));
        if self.count == 1 { id } else { format!("{id}-{}", self.count) }
    }

    pub(super) fn body(&self) -> String {
        let Seen { origin, index, kind, entry, .. } = self.first.as_ref();
        let body = json!({
            "type": format!("hallmark.{kind}"),
            "timestamp": entry.get("time"),
            "data": {
                "origin": origin, "index": index, "entry": entry,
                "count": self.count, "indices": self.indices, "last-index": self.last_index,
            },
        });
        body.to_string()
    }
}

/// What waits, in the order of the log.
#[derive(Clone, Debug)]
pub(super) struct Backlog {
    bounds: Bounds,
    waiting: VecDeque<Message>,
    /// When a message of each kind and authority was sent last, if within the window.
    sent: BTreeMap<Key, Instant>,
    pub(super) counts: Counts,
}

impl Backlog {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, waiting: VecDeque::new(), sent: BTreeMap::new(), counts: Counts::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= self.bounds.messages
    }

    /// Whether an entry is folded, or no message is dropped for it.
    pub(super) fn has_room_for(&mut self, seen: &Seen) -> bool {
        !self.is_full() || self.key(seen).is_some_and(|key| self.open(&key).is_some())
    }

    fn key(&self, seen: &Seen) -> Option<Key> {
        if self.bounds.window.is_zero() { None } else { seen.key() }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Where the log was before everything that waits.
    pub(super) fn before(&self) -> Option<Position> {
        self.waiting.front().map(|message| message.before)
    }

    /// Takes an entry, and drops the oldest message where it is one too many.
    pub(super) fn take(&mut self, seen: Seen, before: impl FnOnce() -> Position, now: Instant) {
        let key = self.key(&seen);
        if let Some(message) = key.as_ref().and_then(|key| self.open(key)) {
            message.count += 1;
            message.last_index = seen.index;
            if message.indices.len() < INDICES_MAX {
                message.indices.push(seen.index);
            }
            self.counts.folded += 1;
            return;
        }
        if self.is_full()
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.counts.dropped_backlog += oldest.count;
        }
        self.waiting.push_back(Message {
            key,
            count: 1,
            indices: vec![seen.index],
            last_index: seen.index,
            before: before(),
            read_at: now,
            attempted: false,
            first: Arc::new(seen),
        });
    }

    /// The message into which an entry of that key is folded.
    fn open(&mut self, key: &Key) -> Option<&mut Message> {
        self.waiting.iter_mut().find(|message| message.key.as_ref() == Some(key) && !message.attempted)
    }

    /// The first message whose time has come; with `all`, the first one.
    pub(super) fn next(&mut self, now: Instant, all: bool) -> Option<Message> {
        let window = self.bounds.window;
        self.sent.retain(|_, sent| now.saturating_duration_since(*sent) < window);
        let is_due = |message: &Message| {
            all || message.attempted || message.key.as_ref().is_none_or(|key| !self.sent.contains_key(key))
        };
        let at = self.waiting.iter().position(is_due)?;
        let message = self.waiting.get_mut(at)?;
        message.attempted = true;
        Some(message.clone())
    }

    /// It was taken.
    pub(super) fn taken(&mut self, message: &Message, now: Instant) {
        self.counts.sent += 1;
        self.remove(message);
        if let Some(key) = &message.key {
            self.sent.insert(key.clone(), now);
        }
    }

    /// It was not taken. Gives whether it was dropped for its age.
    pub(super) fn refused(&mut self, message: &Message, now: Instant) -> bool {
        let is_old = now.saturating_duration_since(message.read_at) >= self.bounds.age;
        if is_old {
            self.counts.dropped_age += message.count;
            self.remove(message);
        }
        is_old
    }

    fn remove(&mut self, message: &Message) {
        self.waiting.retain(|other| other.index() != message.index());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { window: Duration::from_secs(60), age: Duration::from_secs(3_600), messages: 3 };

    fn alarm(index: u64, alarm: &str, authority: &str) -> Seen {
        let entry = json!({ "alarm": alarm, "authority": authority, "time": 1, "type": "alarm" });
        let leaf = Hash::of_leaf(&index.to_be_bytes());
        Seen { origin: "example.com/log".to_owned(), index, leaf, kind: "alarm".to_owned(), entry }
    }

    fn heartbeat(index: u64) -> Seen {
        Seen { kind: "heartbeat".to_owned(), entry: json!({ "type": "heartbeat" }), ..alarm(index, "", "") }
    }

    fn take(backlog: &mut Backlog, seen: Seen, now: Instant) {
        let next = seen.index;
        backlog.take(seen, || Position { next, root: None }, now);
    }

    fn sent(backlog: &mut Backlog, now: Instant) -> Option<(u64, u64)> {
        let message = backlog.next(now, false)?;
        backlog.taken(&message, now);
        Some((message.index(), message.count()))
    }

    #[test]
    fn the_first_alarm_is_sent_at_once_and_those_of_the_next_minute_are_one_message() {
        let (mut backlog, start) = (Backlog::new(BOUNDS), Instant::now());
        take(&mut backlog, alarm(1, "stray", "a"), start);
        assert_eq!(sent(&mut backlog, start), Some((1, 1)));
        for index in 2..1_000 {
            take(&mut backlog, alarm(index, "stray", "a"), start);
        }
        take(&mut backlog, alarm(1_000, "stolen", "a"), start);
        take(&mut backlog, alarm(1_001, "stray", "b"), start);
        assert_eq!(sent(&mut backlog, start), Some((1_000, 1)), "another kind does not wait");
        assert_eq!(sent(&mut backlog, start), Some((1_001, 1)), "nor does another authority");
        assert_eq!(sent(&mut backlog, start + Duration::from_secs(59)), None);
        assert_eq!(backlog.before().unwrap().next, 2, "a restart goes on from there");
        assert_eq!(sent(&mut backlog, start + Duration::from_secs(60)), Some((2, 998)));
        assert!(backlog.is_empty());
        assert_eq!((backlog.counts.sent, backlog.counts.folded), (4, 997));
    }

    #[test]
    fn a_message_says_the_same_in_every_attempt() {
        let (mut backlog, start) = (Backlog::new(BOUNDS), Instant::now());
        take(&mut backlog, alarm(1, "stray", "a"), start);
        take(&mut backlog, alarm(2, "stray", "a"), start);
        let first = backlog.next(start, false).unwrap();
        assert!(!backlog.refused(&first, start));
        take(&mut backlog, alarm(3, "stray", "a"), start);
        let again = backlog.next(start, false).unwrap();
        assert_eq!((first.id(), first.body()), (again.id(), again.body()));
        assert!(first.id().ends_with("-2"), "{}", first.id());
    }

    #[test]
    fn what_is_one_too_many_drops_the_oldest_and_is_counted_with_what_was_folded() {
        let (mut backlog, start) = (Backlog::new(BOUNDS), Instant::now());
        take(&mut backlog, alarm(1, "stray", "a"), start);
        take(&mut backlog, alarm(2, "stray", "a"), start);
        for index in 3..6 {
            take(&mut backlog, heartbeat(index), start);
        }
        assert_eq!((backlog.len(), backlog.counts.dropped_backlog), (3, 2));
        assert_eq!(backlog.before().unwrap().next, 3);
    }

    #[test]
    fn other_types_are_not_folded() {
        let (mut backlog, start) = (Backlog::new(BOUNDS), Instant::now());
        take(&mut backlog, heartbeat(1), start);
        take(&mut backlog, heartbeat(2), start);
        assert_eq!([sent(&mut backlog, start), sent(&mut backlog, start)], [Some((1, 1)), Some((2, 1))]);
    }

    #[test]
    fn a_message_is_dropped_when_it_was_here_for_too_long_and_never_for_what_a_wall_clock_says() {
        let (mut backlog, start) = (Backlog::new(BOUNDS), Instant::now());
        take(&mut backlog, alarm(1, "stray", "a"), start);
        let message = backlog.next(start, false).unwrap();
        assert!(!backlog.refused(&message, start + Duration::from_secs(3_599)), "its entry is of 1970");
        assert!(backlog.refused(&message, start + Duration::from_secs(3_600)));
        assert_eq!((backlog.len(), backlog.counts.dropped_age), (0, 1));
    }
}
