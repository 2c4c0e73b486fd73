//! Who is connected, and who leaves where there is no place left.
//!
//! Connections of one caller are bounded, and all of them together. A new one takes the place of the one that has been idle longest: of its
//! own caller where that one has its share, else of the caller who has most. So callers who keep connections that they do not use keep
//! nobody out. The one that leaves hears GOAWAY, and connects again when it needs to.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::caller::CallerId;

/// Most connections that were told to leave and have not left yet; beyond, new ones are refused. A caller that comes again and again beyond its
/// share leaves half of that to the others.
const LEAVING_MAX: usize = 512;
const LEAVING_FOR_OWN_MAX: usize = LEAVING_MAX / 2;

/// Longest time until a connection that has to leave is closed: for its peer to read GOAWAY, and for streams to end.
pub(crate) const LEAVE_TIME_MAX: Duration = Duration::from_secs(1);

/// The part of all places that one caller can have: one in so many.
const CALLER_PART: usize = 2;

/// Everybody who is connected.
#[derive(Clone, Debug)]
pub(crate) struct Crowd(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    places: usize,
    since: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    members: BTreeMap<u64, Member>,
    /// Connections of each caller that were not told to leave.
    callers: HashMap<CallerId, usize>,
    leaving: usize,
}

#[derive(Debug)]
struct Member {
    caller: CallerId,
    activity: Arc<Activity>,
    leaves: bool,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    crowd: Crowd,
    number: u64,
    activity: Arc<Activity>,
}

/// What a connection does, and what it is told.
#[derive(Debug)]
struct Activity {
    /// Calls under way; streams that go on for long are none.
    calls: AtomicUsize,
    /// Since when there are none, in milliseconds since the crowd began.
    idle_since_millis: AtomicU64,
    leave: Notify,
}

/// There is no place, and nobody idle who could leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Crowd {
    /// With so many places.
    pub(crate) fn new(places: usize) -> Self {
        Self(Arc::new(Shared { places: places.max(1), since: Instant::now(), state: Mutex::default() }))
    }

    /// A place for a connection of this caller. Somebody else may be told to leave for it.
    pub(crate) fn join(&self, caller: CallerId) -> Result<Membership, Full> {
        let activity = Arc::new(Activity {
            calls: AtomicUsize::new(0),
            idle_since_millis: AtomicU64::new(self.now_millis()),
            leave: Notify::new(),
        });
        let mut state = self.lock();
        state.make_place_for(caller, self.0.places)?;
        let number = state.next;
        state.next = state.next.wrapping_add(1);
        *state.callers.entry(caller).or_default() += 1;
        state.members.insert(number, Member { caller, activity: Arc::clone(&activity), leaves: false });
        drop(state);
        Ok(Membership { crowd: self.clone(), number, activity })
    }

    fn now_millis(&self) -> u64 {
        u64::try_from(self.0.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// No code runs under this lock that could leave the state half changed, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_place_for(&mut self, caller: CallerId, places: usize) -> Result<(), Full> {
        let share = (places / CALLER_PART).max(1);
        if self.callers.get(&caller).is_some_and(|own| *own >= share) {
            return self.dismiss(LEAVING_FOR_OWN_MAX, |member, _| member.caller == caller);
        }
        if self.members.len() - self.leaving < places {
            return Ok(());
        }
        let idle = self.members.values().filter(|member| member.is_idle());
        let most = idle.filter_map(|member| self.callers.get(&member.caller)).max().copied().ok_or(Full)?;
        self.dismiss(LEAVING_MAX, |member, callers| callers.get(&member.caller) == Some(&most))
    }

    /// Tells the one to leave that has been idle longest of those who may be told.
    fn dismiss(
        &mut self,
        leaving_max: usize,
        may: impl Fn(&Member, &HashMap<CallerId, usize>) -> bool,
    ) -> Result<(), Full> {
        if self.leaving >= leaving_max {
            return Err(Full);
        }
        let idle = self.members.values_mut().filter(|member| member.is_idle() && may(member, &self.callers));
        let longest =
            idle.min_by_key(|member| member.activity.idle_since_millis.load(Ordering::Relaxed)).ok_or(Full)?;
        longest.leaves = true;
        longest.activity.leave.notify_one();
        let caller = longest.caller;
        self.leaving += 1;
        self.left(caller);
        Ok(())
    }

    /// One connection of this caller has left, or was told to.
    fn left(&mut self, caller: CallerId) {
        if let Some(connections) = self.callers.get_mut(&caller) {
            *connections = connections.saturating_sub(1);
            if *connections == 0 {
                self.callers.remove(&caller);
            }
        }
    }
}

impl Member {
    fn is_idle(&self) -> bool {
        !self.leaves && self.activity.calls.load(Ordering::Relaxed) == 0
    }
}

impl Membership {
    /// Whether one of its calls is under way that is no stream.
    pub(crate) fn has_calls(&self) -> bool {
        self.activity.calls.load(Ordering::Relaxed) > 0
    }

    /// A call of this connection begins.
    pub(crate) fn begins(&self) {
        self.activity.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// It has ended, or goes on as a stream.
    pub(crate) fn ends(&self) {
        self.activity.idle_since_millis.store(self.crowd.now_millis(), Ordering::Relaxed);
        self.activity.calls.fetch_sub(1, Ordering::Relaxed);
    }

    /// Resolves when the connection has to leave.
    pub(crate) async fn has_to_leave(&self) {
        self.activity.leave.notified().await;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = self.crowd.lock();
        match state.members.remove(&self.number) {
            Some(Member { leaves: true, .. }) => state.leaving = state.leaving.saturating_sub(1),
            Some(Member { caller, .. }) => state.left(caller),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    /// Whether each of them has to leave.
    fn leave<const N: usize>(members: [&Membership; N]) -> [bool; N] {
        members.map(|member| now_or_never(member.has_to_leave()))
    }

    fn now_or_never(future: impl Future<Output = ()>) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    fn caller(name: u8) -> CallerId {
        CallerId::of_name(&[name])
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_of_the_caller_with_most_gives_way() {
        let crowd = Crowd::new(6);
        let mut members = Vec::new();
        for name in [1, 2, 1, 2, 1, 3] {
            members.push(crowd.join(caller(name)).unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // The oldest of caller 1 has just been used, and its second is in use.
        members[0].begins();
        members[0].ends();
        members[2].begins();
        let new = crowd.join(caller(3)).unwrap();
        assert_eq!(leave(std::array::from_fn(|at| &members[at])), [false, false, false, false, true, false]);
        assert_eq!(leave([&new]), [false]);
        drop((new, members));
        let state = crowd.lock();
        assert!(state.members.is_empty() && state.callers.is_empty());
        assert_eq!(state.leaving, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_half_of_the_places_at_most_and_then_its_own_give_way() {
        let crowd = Crowd::new(8);
        let own: Vec<_> = (0..5).map(|_| crowd.join(caller(1)).unwrap()).collect();
        assert_eq!(leave([&own[0], &own[1]]), [true, false]);
        for member in &own[1..] {
            member.begins();
        }
        assert_eq!(crowd.join(caller(1)).unwrap_err(), Full, "all that it has is in use");
        assert!(crowd.join(caller(2)).is_ok());
        own[4].ends();
        assert!(crowd.join(caller(1)).is_ok());
        assert_eq!(leave([&own[4]]), [true]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_is_idle_the_new_one_is_refused() {
        let crowd = Crowd::new(2);
        let members = [1, 2].map(|name| crowd.join(caller(name)).unwrap());
        members.iter().for_each(Membership::begins);
        assert_eq!(crowd.join(caller(3)).unwrap_err(), Full);
        members[0].ends();
        assert!(crowd.join(caller(3)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_leaving_at_a_time_than_there_is_room_for() {
        // All places, by callers of whom each has 4; one more caller has its share.
        let crowd = Crowd::new(LEAVING_MAX * 4);
        let share = LEAVING_MAX * 4 / CALLER_PART;
        let own = || crowd.join(CallerId::of_name(b"own"));
        let mut members: Vec<_> = (0..share).map(|_| own().unwrap()).collect();
        for name in 0..share / 4 {
            members.extend((0..4).map(|_| crowd.join(CallerId::of_name(&name.to_be_bytes())).unwrap()));
        }
        let again: Vec<_> = (0..LEAVING_MAX).map_while(|_| own().ok()).collect();
        assert_eq!(again.len(), LEAVING_FOR_OWN_MAX);
        let new: Vec<_> = (0..LEAVING_MAX).map_while(|_| crowd.join(CallerId::of_name(b"new")).ok()).collect();
        assert_eq!(new.len(), LEAVING_MAX - LEAVING_FOR_OWN_MAX, "who comes again and again keeps out nobody else");
        let left = members.into_iter().find(|member| now_or_never(member.has_to_leave())).unwrap();
        drop(left);
        assert!(crowd.join(CallerId::of_name(b"new")).is_ok());
    }
}
