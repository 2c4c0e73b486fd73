//! One request id is worked on by one call at a time; a second call with the same id waits and finds the first's answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use hallmark_policy::RequestIdentity;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

type Key = (String, String, String);

/// Request ids that are being worked on.
#[derive(Default)]
pub(crate) struct InFlight {
    turns: Arc<Mutex<HashMap<Key, Weak<AsyncMutex<()>>>>>,
}

/// The turn of one call. Dropping it lets the next one in.
pub(crate) struct Turn {
    key: Key,
    turns: Arc<Mutex<HashMap<Key, Weak<AsyncMutex<()>>>>>,
    held: Option<OwnedMutexGuard<()>>,
}

impl InFlight {
    /// Waits until no other call works on the same request id.
    pub(crate) async fn turn(&self, request: &RequestIdentity) -> Turn {
        let key = (request.authority.clone(), request.caller.clone(), request.id.clone());
        let lock = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let lock = turns.get(&key).and_then(Weak::upgrade).unwrap_or_default();
            turns.insert(key.clone(), Arc::downgrade(&lock));
            lock
        };
        Turn { key, turns: Arc::clone(&self.turns), held: Some(lock.lock_owned().await) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.get(&self.key).is_some_and(|lock| lock.strong_count() == 0) {
            turns.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str) -> RequestIdentity {
        RequestIdentity { authority: "a".into(), caller: "c".into(), id: id.into(), content_sha256: [0; 32] }
    }

    #[tokio::test]
    async fn a_second_call_with_the_same_id_waits_for_the_first() {
        let in_flight = InFlight::default();
        let first = in_flight.turn(&request("1")).await;
        let same = request("1");
        let mut second = std::pin::pin!(in_flight.turn(&same));
        assert!(futures_poll_once(second.as_mut()).is_none());
        let _other = in_flight.turn(&request("2")).await;
        drop(first);
        drop(second.await);
    }

    #[tokio::test]
    async fn nothing_is_remembered_of_ids_that_are_done() {
        let in_flight = InFlight::default();
        drop(in_flight.turn(&request("1")).await);
        assert!(in_flight.turns.lock().unwrap().is_empty());
    }

    fn futures_poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
