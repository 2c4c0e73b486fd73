//! Who is served, and how much of the memory each address has: nobody takes all places, and slow readers do not fill it.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Connections from one address at the same time; more are closed at once, so that nobody takes all places.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 32;

/// Bytes of files that are held for clients until they have taken them, in kibibytes: all together, and for one address. A file of a log
/// has up to 16 MiB.
const HELD_KIB_MAX: usize = 256 << 10;
const HELD_PER_ADDRESS_KIB_MAX: usize = 48 << 10;

/// How long a request waits for others to take theirs.
const ROOM_SECS_MAX: u64 = 20;

/// All that are there.
#[derive(Clone)]
pub(crate) struct Guests {
    shares: Arc<Mutex<HashMap<IpAddr, Share>>>,
    held: Arc<Semaphore>,
}

/// Connections of an address, and room for what is held for it.
struct Share {
    connections: usize,
    held: Arc<Semaphore>,
}

/// A connection of an address; it counts until this is dropped.
pub(crate) struct Guest {
    guests: Guests,
    address: IpAddr,
    held: Arc<Semaphore>,
}

impl Guests {
    /// Nobody yet.
    pub(crate) fn new() -> Self {
        Self { shares: Arc::default(), held: Arc::new(Semaphore::new(HELD_KIB_MAX)) }
    }

    /// A connection. Nothing if the address has its share already.
    pub(crate) fn admit(&self, address: IpAddr) -> Option<Guest> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Share { connections: 0, held: Arc::new(Semaphore::new(HELD_PER_ADDRESS_KIB_MAX)) };
        let share = shares.entry(address).or_insert_with(new);
        if share.connections >= CONNECTIONS_PER_ADDRESS_MAX {
            return None;
        }
        share.connections += 1;
        Some(Guest { guests: self.clone(), address, held: Arc::clone(&share.held) })
    }
}

impl Guest {
    /// Room for what is held for it.
    pub(crate) fn room(&self) -> Room {
        Room { of_all: Arc::clone(&self.guests.held), of_address: Arc::clone(&self.held) }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut shares = self.guests.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut share) = shares.entry(self.address) {
            share.get_mut().connections = share.get().connections.saturating_sub(1);
            if share.get().connections == 0 {
                share.remove();
            }
        }
    }
}

/// Room for what is held until clients have taken it.
#[derive(Clone)]
pub(crate) struct Room {
    of_all: Arc<Semaphore>,
    of_address: Arc<Semaphore>,
}

/// Room that was given: of the address, and of all.
pub(crate) struct Taken {
    _permits: [OwnedSemaphorePermit; 2],
}

impl Taken {
    /// A file's content; its room is free again when the last of it was sent.
    pub(crate) fn hold(self, content: Vec<u8>) -> Bytes {
        Bytes::from_owner(Held { content, _room: self })
    }
}

struct Held {
    content: Vec<u8>,
    _room: Taken,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl Room {
    /// Room for so many bytes, once there is some; nothing where others take too long.
    pub(crate) async fn for_bytes(&self, bytes: u64) -> Option<Taken> {
        let kib = u32::try_from(bytes / 1_024 + 1).ok()?;
        let taken = async {
            // Who waits for its own share holds nothing of the others'.
            let of_address = Arc::clone(&self.of_address).acquire_many_owned(kib).await.ok()?;
            let of_all = Arc::clone(&self.of_all).acquire_many_owned(kib).await.ok()?;
            Some(Taken { _permits: [of_address, of_all] })
        };
        timeout(Duration::from_secs(ROOM_SECS_MAX), taken).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_for_one_address_leaves_room_for_others_and_is_given_back_when_it_was_sent() {
        let guests = Guests::new();
        let [one, other] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(|address| guests.admit(IpAddr::from(address)).unwrap());
        let again = guests.admit(IpAddr::from([127, 0, 0, 1])).unwrap();
        let file = 16 << 20;
        let first = one.room().for_bytes(file).await.unwrap().hold(vec![1; 9]);
        let second = again.room().for_bytes(file).await.unwrap().hold(vec![2; 9]);
        assert!(one.room().for_bytes(file).await.is_none(), "both connections of an address share its room");
        assert!(other.room().for_bytes(file).await.is_some());
        let part = first.slice(..4);
        drop(first);
        assert!(one.room().for_bytes(file).await.is_none(), "a part of it is still to be sent");
        drop(part);
        assert!(one.room().for_bytes(file).await.is_some());
        assert_eq!(second.as_ref(), [2; 9]);
    }
}
