//! Room for messages, shared by all connections: each message takes its own from its prefix on until the core has answered.
//!
//! A caller has a quarter of it at most, but for messages of which one is a whole file. Where there is none left, messages that are still arriving give way to a caller who has less: the oldest of the caller who has most. So
//! nobody keeps the others out with messages that trickle, over however many connections.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hallmark_proto::frame::USUAL_CALL_BYTES_MAX;
use tokio::sync::oneshot;

use crate::caller::CallerId;

/// Bytes of request messages held at one time, over all connections: three of the largest and thousands of usual ones.
pub(crate) const ROOM_BYTES: usize = 64 * 1_024 * 1_024;
/// Of these, for messages of which one is a whole file: usual ones have room beside them.
const LARGE_ROOM_BYTES: usize = 52 * 1_024 * 1_024;
/// For those of one caller: two of the largest, so that no caller has all of it.
const CALLER_LARGE_BYTES: usize = 36 * 1_024 * 1_024;
/// For usual messages of one caller: also those that wait for their turn stay here.
const CALLER_ROOM_BYTES: usize = ROOM_BYTES / 4;
/// What a message takes at least, in bytes: it costs something beside its content.
const MESSAGE_BYTES_MIN: usize = 4 * 1_024;

/// The room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    taken: usize,
    taken_by_large: usize,
    next: u64,
    callers: HashMap<CallerId, Held>,
}

/// What a caller has.
#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    large_bytes: usize,
    /// Of messages that are arriving, in the order of their arrival, and who hears it if they have to give way.
    arriving: BTreeMap<u64, (usize, oneshot::Sender<()>)>,
}

/// The room that a message takes, until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    room: Room,
    caller: CallerId,
    bytes: usize,
    number: u64,
    /// It has arrived: it gives way no more.
    is_whole: bool,
}

/// Resolves when a message that is arriving has to give way.
pub(crate) type GiveWay = oneshot::Receiver<()>;

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Room {
    /// Room for a message of so many bytes, which is arriving.
    pub(crate) fn take(&self, caller: CallerId, bytes: usize) -> Result<(Taken, GiveWay), Full> {
        let bytes = bytes.max(MESSAGE_BYTES_MIN);
        let mut state = self.lock();
        if is_large(bytes) {
            if state.callers.get(&caller).is_some_and(|held| held.large_bytes + bytes > CALLER_LARGE_BYTES) {
                return Err(Full);
            }
            while state.taken_by_large + bytes > LARGE_ROOM_BYTES {
                state.large_gives_way_to(caller)?;
            }
        }
        let usual = state.callers.get(&caller).map_or(0, |held| held.bytes - held.large_bytes);
        if !is_large(bytes) && usual + bytes > CALLER_ROOM_BYTES {
            return Err(Full);
        }
        while state.taken + bytes > ROOM_BYTES {
            state.give_way_to(caller, bytes)?;
        }
        let number = state.next;
        state.next = state.next.wrapping_add(1);
        let (tell, give_way) = oneshot::channel();
        state.add(caller, bytes);
        if let Some(held) = state.callers.get_mut(&caller) {
            held.arriving.insert(number, (bytes, tell));
        }
        Ok((Taken { room: self.clone(), caller, bytes, number, is_whole: false }, give_way))
    }

    /// No code runs under this lock that could leave the state half changed, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the room of an arriving message of the caller who has most of those who would have more than this one.
    fn give_way_to(&mut self, caller: CallerId, bytes: usize) -> Result<(), Full> {
        // Who has nothing yet takes from whoever has something, however large the message is.
        let wanted = self.callers.get(&caller).map_or(MESSAGE_BYTES_MIN, |held| held.bytes + bytes);
        let gives =
            |(other, held): &(&CallerId, &Held)| **other != caller && held.bytes > wanted && !held.arriving.is_empty();
        let heaviest = self.callers.iter().filter(gives).max_by_key(|(_, held)| held.bytes).map(|(caller, _)| *caller);
        let heaviest = heaviest.ok_or(Full)?;
        let oldest = self.callers.get_mut(&heaviest).and_then(|held| held.arriving.pop_first());
        let (_, (bytes, tell)) = oldest.ok_or(Full)?;
        self.give_back(heaviest, bytes);
        // Who is not there any more needs no word.
        let _ = tell.send(());
        Ok(())
    }

    /// Takes the room of an arriving large message of the caller who has most of those, and more than this one.
    fn large_gives_way_to(&mut self, caller: CallerId) -> Result<(), Full> {
        let own = self.callers.get(&caller).map_or(0, |held| held.large_bytes);
        let gives = |(other, held): &(&CallerId, &Held)| {
            **other != caller && held.large_bytes > own && held.arriving.values().any(|(bytes, _)| is_large(*bytes))
        };
        let of_large = |(_, held): &(&CallerId, &Held)| held.large_bytes;
        let heaviest = self.callers.iter().filter(gives).max_by_key(of_large).map(|(caller, _)| *caller).ok_or(Full)?;
        let held = self.callers.get_mut(&heaviest).ok_or(Full)?;
        let oldest = held.arriving.iter().find(|(_, (bytes, _))| is_large(*bytes)).map(|(number, _)| *number);
        let (bytes, tell) = oldest.and_then(|oldest| held.arriving.remove(&oldest)).ok_or(Full)?;
        self.give_back(heaviest, bytes);
        let _ = tell.send(());
        Ok(())
    }

    fn add(&mut self, caller: CallerId, bytes: usize) {
        let large_bytes = if is_large(bytes) { bytes } else { 0 };
        self.taken += bytes;
        self.taken_by_large += large_bytes;
        let held = self.callers.entry(caller).or_default();
        held.bytes += bytes;
        held.large_bytes += large_bytes;
    }

    fn give_back(&mut self, caller: CallerId, bytes: usize) {
        let large_bytes = if is_large(bytes) { bytes } else { 0 };
        self.taken = self.taken.saturating_sub(bytes);
        self.taken_by_large = self.taken_by_large.saturating_sub(large_bytes);
        if let Some(held) = self.callers.get_mut(&caller) {
            held.bytes = held.bytes.saturating_sub(bytes);
            held.large_bytes = held.large_bytes.saturating_sub(large_bytes);
            if held.bytes == 0 {
                self.callers.remove(&caller);
            }
        }
    }
}

fn is_large(bytes: usize) -> bool {
    u32::try_from(bytes).is_ok_and(|bytes| bytes > USUAL_CALL_BYTES_MAX)
}

impl Taken {
    /// The message has arrived. False, where it had to give way just before.
    pub(crate) fn is_whole(&mut self) -> bool {
        let mut state = self.room.lock();
        let held = state.callers.get_mut(&self.caller);
        self.is_whole = held.is_some_and(|held| held.arriving.remove(&self.number).is_some());
        self.is_whole
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.room.lock();
        let arriving = state.callers.get_mut(&self.caller).and_then(|held| held.arriving.remove(&self.number));
        if self.is_whole || arriving.is_some() {
            state.give_back(self.caller, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: usize = 256 * 1_024;
    const MANIFEST: usize = 17 * 1_024 * 1_024;

    fn caller(name: u8) -> CallerId {
        CallerId::of_name(&[name])
    }

    /// As many messages of this caller as it has room for; they are arriving.
    fn fill(room: &Room, name: u8) -> Vec<(Taken, GiveWay)> {
        std::iter::from_fn(|| room.take(caller(name), USUAL).ok()).collect()
    }

    /// All of the room, by four callers from this one on.
    fn fill_all(room: &Room, first: u8) -> Vec<(Taken, GiveWay)> {
        (first..first + 4).flat_map(|name| fill(room, name)).collect()
    }

    #[test]
    fn a_caller_has_a_quarter_and_what_is_dropped_leaves_room_and_no_trace() {
        let room = Room::default();
        let mut own = fill(&room, 1);
        assert_eq!(own.len(), CALLER_ROOM_BYTES / USUAL);
        own.pop();
        let (mut whole, _) = room.take(caller(1), USUAL).unwrap();
        assert!(whole.is_whole());
        let others: Vec<_> = (2..5).flat_map(|name| fill(&room, name)).collect();
        assert_eq!(others.len(), 3 * CALLER_ROOM_BYTES / USUAL);
        drop((whole, own, others));
        let state = room.lock();
        assert_eq!((state.taken, state.taken_by_large, state.callers.len()), (0, 0, 0));
    }

    #[test]
    fn messages_that_trickle_give_way_to_a_caller_who_has_less() {
        let room = Room::default();
        let mut slow = fill_all(&room, 1);
        let mut good: Vec<_> = (0..4).map(|_| room.take(caller(5), USUAL).unwrap().0).collect();
        let told: Vec<_> = slow.iter_mut().map(|(_, give_way)| give_way.try_recv().is_ok()).collect();
        let of_each = CALLER_ROOM_BYTES / USUAL;
        assert!(told.iter().enumerate().all(|(at, told)| *told == (at % of_each == 0)), "the oldest of each hear it");
        assert!(!slow[0].0.is_whole(), "it came too late");
        assert!(good.iter_mut().all(Taken::is_whole));
        drop((slow, good));
        assert_eq!(room.lock().taken, 0);
    }

    #[test]
    fn nobody_gives_way_to_a_caller_who_would_have_as_much_nor_a_message_that_is_whole() {
        let room = Room::default();
        let slow = fill_all(&room, 1);
        let fifth = fill(&room, 5);
        let fair = ROOM_BYTES / USUAL / 5;
        assert!(fifth.len().abs_diff(fair) <= 1, "{} and not {fair}", fifth.len());
        drop((slow, fifth));
        let mut whole = fill_all(&room, 1);
        assert!(whole.iter_mut().all(|(taken, _)| taken.is_whole()));
        assert_eq!(room.take(caller(5), USUAL).unwrap_err(), Full);
    }

    #[test]
    fn manifests_that_trickle_give_way_to_who_has_none_and_so_do_usual_messages() {
        let room = Room::default();
        let mut slow: Vec<_> = [1, 1, 2].map(|name| room.take(caller(name), MANIFEST).unwrap()).into();
        let (mut urgent, _) = room.take(caller(3), MANIFEST).unwrap();
        assert!(slow[0].1.try_recv().is_ok(), "the oldest of who has most");
        assert!(slow[1].1.try_recv().is_err() && slow[2].1.try_recv().is_err());
        assert!(urgent.is_whole());
        assert_eq!(room.take(caller(3), MANIFEST).map(drop), Err(Full), "nobody has more than this one");
        drop((slow, urgent));
        assert_eq!(room.lock().taken, 0);
        let usual = fill_all(&room, 1);
        let (mut urgent, _) = room.take(caller(5), MANIFEST).unwrap();
        assert!(urgent.is_whole());
        drop((usual, urgent));
        let state = room.lock();
        assert_eq!((state.taken, state.taken_by_large), (0, 0));
    }

    #[test]
    fn usual_messages_have_room_beside_manifests() {
        let room = Room::default();
        let mut manifests: Vec<_> = std::iter::from_fn(|| room.take(caller(1), MANIFEST).ok()).collect();
        assert_eq!(manifests.len(), 2, "nobody has all of the room for them");
        manifests.push(room.take(caller(2), MANIFEST).unwrap());
        assert!(room.take(caller(1), USUAL).is_ok());
        assert!(room.take(caller(2), USUAL).is_ok());
    }
}
