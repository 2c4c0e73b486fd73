//! Admission: whether a mint can be answered in time, and when it goes to the core. Both are judged before any work is done for it.
//!
//! How fast the core's keys sign is learnt from its answers, from those alone for which one did, or was waited for in vain (`pace`).
//! By Little's law a new call then waits for those before it, divided by this rate. So many are with the core as keep it busy, the window;
//! the others wait here, where callers take turns. One that would wait for too long is refused at once, so that those which were taken are
//! answered in time, however much is offered; where too much waits, it is the heaviest caller's last calls that give way, and those may have waited.
//! Nothing here can refuse what an idle core could do: few calls are always taken, of which each caller has its share whatever others ask for, and a
//! rate that was learnt too low is learnt anew from these.

mod pace;
mod queue;
mod share;
mod urgency;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

pub(crate) use self::urgency::Urgency;
use self::{
    pace::{Pace, Stay},
    queue::{Place, Queue},
    share::{are_few, share},
};
use crate::{caller::CallerId, counters::Counters};

/// Calls under way at one time that are always taken; callers share them out.
pub(crate) const ALWAYS_TAKEN: u32 = 64;

/// Longest wait for which a call is taken, whatever its deadline: so much work is left at most when an overload ends.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(500);

/// Most calls that wait here, whatever the rate: each holds its message.
pub(crate) const WAITING_MAX: usize = 2_048;

/// The part of the time until its deadline that a call may wait, in percent: the rest is for what comes after.
const DEADLINE_PERCENT: u32 = 80;

/// What is under way, and how fast it goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct State {
    /// Calls that the core has.
    with_core: u32,
    /// The same by caller, of those who have any there.
    with_core_of: HashMap<CallerId, u32>,
    queue: Queue<Waiting>,
    pace: Pace,
}

/// A call that waits.
#[derive(Debug)]
struct Waiting {
    caller: CallerId,
    deadline: Instant,
    /// Dropped where it is refused.
    tell: oneshot::Sender<Pass>,
}

/// A call that goes to the core, until it is dropped: when the core has answered.
#[derive(Debug)]
pub(crate) struct Pass {
    admission: Admission,
    caller: CallerId,
    stay: Stay,
    /// What its answer says of the keys, if anything.
    taught: Option<Taught>,
}

/// What an answer says of the keys.
#[derive(Clone, Copy, Debug)]
enum Taught {
    /// A key signed for it.
    Signed,
    /// It waited for a key until its time was over.
    Late,
}

/// Why a call does not go to the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// It would not be answered in time.
    TooMuch,
    /// It waited until its deadline.
    Late,
}

/// Who waits; takes the call back where its caller goes away.
struct Waiter<'a> {
    admission: &'a Admission,
    place: Place,
    urgency: Urgency,
}

impl Admission {
    /// Counts into these.
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), counters }))
    }

    /// The core can make so many signatures at a time.
    pub(crate) fn signs_at_once(&self, signatures: u32) {
        let mut state = self.lock();
        state.pace.signs_at_once(signatures);
        let begin = state.advance(self, Instant::now());
        drop(state);
        tell(begin);
    }

    /// Waits until a call of this caller, who has until `deadline`, may go to the core. How urgent it is, is asked only if it waits.
    pub(crate) async fn admit(
        &self,
        caller: CallerId,
        deadline: Instant,
        urgency: impl FnOnce() -> Urgency,
    ) -> Result<Pass, NotAdmitted> {
        let began = Instant::now();
        if let Some(pass) = self.enter_at_once(caller, began, deadline)? {
            self.0.counters.went_at_once();
            return Ok(pass);
        }
        // Without the lock: this reads what the caller sent.
        let urgency = urgency();
        let (place, told) = self.wait(caller, urgency, began, deadline);
        self.0.counters.begins_to_wait(urgency);
        let waiter = Waiter { admission: self, place, urgency };
        let told = timeout_at(deadline, told).await;
        drop(waiter);
        let pass = told.map_err(|_| NotAdmitted::Late)?.map_err(|_| NotAdmitted::TooMuch)?;
        self.0.counters.waited(urgency, began.elapsed());
        Ok(pass)
    }

    /// The way to the core, if nobody waits for it.
    fn enter_at_once(&self, caller: CallerId, now: Instant, deadline: Instant) -> Result<Option<Pass>, NotAdmitted> {
        let mut state = self.lock();
        if state.would_be_late(caller, now, deadline) {
            return Err(NotAdmitted::TooMuch);
        }
        Ok(state.has_room().then(|| state.enter(self, caller, now)))
    }

    /// A place in the queue, and where is told that its turn has come; or that it is refused, by saying nothing.
    fn wait(
        &self,
        caller: CallerId,
        urgency: Urgency,
        now: Instant,
        deadline: Instant,
    ) -> (Place, oneshot::Receiver<Pass>) {
        let (tell, told) = oneshot::channel();
        let mut state = self.lock();
        let place = state.queue.push(caller, urgency, Waiting { caller, deadline, tell });
        // Room may have come meanwhile.
        let begin = state.advance(self, now);
        let refused = state.make_way();
        drop(state);
        self::tell(begin);
        drop(refused);
        (place, told)
    }

    /// No code runs under this lock that could leave the state half changed, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets them begin. Not under the lock: who is not there any more gives its pass back.
fn tell(begin: Vec<(Waiting, Pass)>) {
    for (Waiting { tell, .. }, pass) in begin {
        drop(tell.send(pass));
    }
}

impl State {
    /// Calls under way, here and with the core.
    fn under_way(&self) -> u32 {
        self.with_core.saturating_add(u32::try_from(self.queue.len()).unwrap_or(u32::MAX))
    }

    fn has_room(&self) -> bool {
        self.queue.is_empty() && self.with_core < self.pace.window()
    }

    /// Calls under way of this caller, here and with the core.
    fn of(&self, caller: CallerId) -> u32 {
        let with_core = self.with_core_of.get(&caller).copied().unwrap_or_default();
        with_core.saturating_add(u32::try_from(self.queue.waiting_of(caller)).unwrap_or(u32::MAX))
    }

    /// Calls under way of each caller who has any.
    fn of_each(&self) -> impl Iterator<Item = u32> {
        let only_waits = self.queue.callers().filter(move |(caller, _)| !self.with_core_of.contains_key(caller));
        let waiting = only_waits.map(|(_, calls)| u32::try_from(calls).unwrap_or(u32::MAX));
        self.with_core_of.keys().map(move |caller| self.of(*caller)).chain(waiting)
    }

    /// Whether a further call of this caller is one of the few that are always taken.
    fn is_among_few(&self, caller: CallerId) -> bool {
        self.under_way() < ALWAYS_TAKEN || are_few(self.of_each(), self.of(caller).saturating_add(1), 1)
    }

    /// Whether a call of this caller would have its turn too late.
    fn would_be_late(&self, caller: CallerId, now: Instant, deadline: Instant) -> bool {
        // Whatever was learnt of the core, and whoever has more of it.
        if self.is_among_few(caller) {
            return false;
        }
        let left = deadline.saturating_duration_since(now) * DEADLINE_PERCENT / 100;
        let ahead = u32::try_from(self.queue.ahead_of(caller)).unwrap_or(u32::MAX);
        let before = self.with_core.saturating_add(ahead).saturating_add(1);
        self.pace.time_for(before).is_some_and(|wait| wait > left)
    }

    /// Whether more waits than is served within the longest wait.
    fn is_too_much(&self) -> bool {
        let under_way = self.under_way();
        let lasts_too_long = || self.pace.time_for(under_way).is_some_and(|time| time > WAIT_MAX);
        self.queue.len() > WAITING_MAX || (under_way > ALWAYS_TAKEN && lasts_too_long())
    }

    /// Takes out the call that gives way to a new one where it is too much, of a caller who has more than its share of the few. Dropping it refuses
    /// it. One for one: where the core becomes slower, those that were taken stay.
    fn make_way(&mut self) -> Option<Waiting> {
        if !self.is_too_much() {
            return None;
        }
        let share = share(|| self.of_each());
        let with_core_of = &self.with_core_of;
        self.queue.give_way(|caller, waiting| {
            let with_core = with_core_of.get(&caller).copied().unwrap_or_default();
            u32::try_from(waiting).unwrap_or(u32::MAX).saturating_add(with_core) > share
        })
    }

    /// A call of this caller goes to the core.
    fn enter(&mut self, admission: &Admission, caller: CallerId, now: Instant) -> Pass {
        self.with_core += 1;
        *self.with_core_of.entry(caller).or_default() += 1;
        let stay = self.pace.begins(self.with_core, now);
        Pass { admission: admission.clone(), caller, stay, taught: None }
    }

    /// The core has a call of this caller no more.
    fn leave(&mut self, caller: CallerId) {
        self.with_core = self.with_core.saturating_sub(1);
        if let Some(calls) = self.with_core_of.get_mut(&caller) {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                self.with_core_of.remove(&caller);
            }
        }
    }

    /// The calls whose turn has come, as many as the window has room for. One that would be answered too late is refused instead.
    fn advance(&mut self, admission: &Admission, now: Instant) -> Vec<(Waiting, Pass)> {
        let mut begin = Vec::new();
        while self.with_core < self.pace.window()
            && let Some(waiting) = self.queue.pop()
        {
            let left = waiting.deadline.saturating_duration_since(now);
            let takes = self.pace.time_for(self.with_core + 1).unwrap_or_default();
            // Few calls are always taken: a rate that was learnt too low is learnt anew from them.
            if !left.is_zero() && (takes < left || self.is_among_few(waiting.caller)) {
                let pass = self.enter(admission, waiting.caller, now);
                begin.push((waiting, pass));
            }
        }
        begin
    }
}

impl Pass {
    /// The core has answered, and a key signed for that: this says how fast it is.
    pub(crate) fn key_signed(&mut self) {
        self.taught = Some(Taught::Signed);
    }

    /// How long the core has had it.
    #[cfg(test)]
    fn has_stayed(&self) -> std::time::Duration {
        self.stay.lasted(Instant::now())
    }

    /// The core has refused it, since its time was over while it waited for a key.
    pub(crate) fn late_for_key(&mut self) {
        self.taught = Some(Taught::Late);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.admission.lock();
        match self.taught {
            Some(Taught::Signed) => state.pace.signed(self.stay, now),
            Some(Taught::Late) => state.pace.late(self.stay, now),
            None => {}
        }
        state.leave(self.caller);
        let begin = state.advance(&self.admission, now);
        drop(state);
        tell(begin);
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let taken_back = self.admission.lock().queue.remove(self.place);
        drop(taken_back);
        self.admission.0.counters.waits_no_more(self.urgency);
    }
}

#[cfg(test)]
mod tests;
