//! Answers that a peer has not taken yet. An answer is taken when its last byte has gone to the socket: a peer that gives no room for it
//! (RFC 9113, section 5.2) holds it here, and the connection of one that does so for long ends.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

/// Longest time that a peer may take to read an answer.
pub const READ_TIME_MAX: Duration = Duration::from_secs(30);
/// The same while more waits to be read, over all connections, than [`UNREAD_BYTES_MAX`].
const READ_TIME_MAX_WHILE_FULL: Duration = Duration::from_secs(1);
/// Bytes of answers that wait to be read, over all connections, from which on less patience is had.
const UNREAD_BYTES_MAX: usize = 32 * 1_024 * 1_024;

/// What is unread of all connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnreadBytes(Arc<AtomicUsize>);

/// What is unread of one connection.
#[derive(Debug)]
pub(crate) struct Unread {
    all: UnreadBytes,
    time_max: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

/// The bytes of an answer, and what is held until they were taken.
struct Answer<H> {
    content: Bytes,
    unread: Arc<Unread>,
    number: u64,
    _held: H,
}

impl Unread {
    /// Of a new connection; [`READ_TIME_MAX`] is what is usual.
    pub(crate) fn new(all: UnreadBytes, time_max: Duration) -> Self {
        Self { all, time_max, state: Mutex::default() }
    }

    /// The same bytes, of which is known when they were taken, or given up; `held` is dropped then.
    pub(crate) fn follow<H: Send + 'static>(self: &Arc<Self>, content: Bytes, held: H) -> Bytes {
        self.all.0.fetch_add(content.len(), Ordering::Relaxed);
        let mut state = self.lock();
        let number = state.next;
        state.next = state.next.wrapping_add(1);
        state.since.insert(number, Instant::now());
        drop(state);
        Bytes::from_owner(Answer { content, unread: Arc::clone(self), number, _held: held })
    }

    /// Whether the peer has left an answer unread for longer than it may.
    pub(crate) fn is_too_long(&self) -> bool {
        let is_full = self.all.0.load(Ordering::Relaxed) > UNREAD_BYTES_MAX;
        let time_max = if is_full { READ_TIME_MAX_WHILE_FULL.min(self.time_max) } else { self.time_max };
        self.lock().since.first_key_value().is_some_and(|(_, since)| since.elapsed() > time_max)
    }

    /// No code runs under this lock that could leave the state half changed, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H> AsRef<[u8]> for Answer<H> {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl<H> Drop for Answer<H> {
    fn drop(&mut self) {
        self.unread.lock().since.remove(&self.number);
        self.unread.all.0.fetch_sub(self.content.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_unread_until_its_last_byte_is_gone() {
        let (all, held) = (UnreadBytes::default(), Arc::new(()));
        let unread = Arc::new(Unread::new(all.clone(), READ_TIME_MAX));
        let mut answer = unread.follow(Bytes::from_static(b"answer"), Arc::clone(&held));
        assert_eq!((&answer[..], all.0.load(Ordering::Relaxed)), (&b"answer"[..], 6));
        let first = answer.split_to(5);
        drop(answer);
        advance(READ_TIME_MAX).await;
        assert!(!unread.is_too_long());
        advance(Duration::from_millis(1)).await;
        assert!(unread.is_too_long());
        assert_eq!(Arc::strong_count(&held), 2);
        drop(first);
        assert!(!unread.is_too_long());
        assert_eq!((Arc::strong_count(&held), all.0.load(Ordering::Relaxed)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn while_too_much_is_unread_only_those_who_read_at_once_stay() {
        let all = UnreadBytes::default();
        let [slow, other] = [(); 2].map(|()| Arc::new(Unread::new(all.clone(), READ_TIME_MAX)));
        let much = slow.follow(Bytes::from(vec![0; UNREAD_BYTES_MAX + 1]), ());
        advance(Duration::from_millis(1_001)).await;
        let little = other.follow(Bytes::from_static(b"answer"), ());
        assert!(slow.is_too_long() && !other.is_too_long());
        drop(much);
        advance(Duration::from_secs(2)).await;
        assert!(!slow.is_too_long() && !other.is_too_long());
        drop(little);
    }
}
