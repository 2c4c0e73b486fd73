//! Who waits for the core, and whose turn it is. Pure: it knows no clock, and what waits is its user's.
//!
//! Callers take turns, one call each, however many calls and connections they have. In a caller's turn its most urgent call goes first, and
//! among equals the one that waits longest. Who is passed over so often gets a turn all the same, so that nothing of a caller starves.

use std::collections::{HashMap, VecDeque};

use super::Urgency;
use crate::caller::CallerId;

/// Calls that wait, of everybody.
#[derive(Debug)]
pub(super) struct Queue<T> {
    callers: HashMap<CallerId, Waiting<T>>,
    /// Callers of whom calls wait, in the order of their turns.
    turns: VecDeque<CallerId>,
    length: usize,
    next: u64,
}

/// What waits of one caller.
#[derive(Debug)]
struct Waiting<T> {
    /// By urgency, each in the order of arrival.
    lanes: [Lane<T>; Urgency::ALL.len()],
    length: usize,
}

#[derive(Debug)]
struct Lane<T> {
    calls: VecDeque<(u64, T)>,
    /// Turns of its caller since its last one, while something waited in it.
    passed_over: u32,
}

/// Where a call waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    caller: CallerId,
    urgency: Urgency,
    number: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { callers: HashMap::new(), turns: VecDeque::new(), length: 0, next: 0 }
    }
}

impl<T> Queue<T> {
    /// Calls that wait.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Lets a call wait.
    pub(super) fn push(&mut self, caller: CallerId, urgency: Urgency, call: T) -> Place {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let waiting = self.callers.entry(caller).or_default();
        if waiting.length == 0 {
            self.turns.push_back(caller);
        }
        waiting.lane(urgency).calls.push_back((number, call));
        waiting.length += 1;
        self.length += 1;
        Place { caller, urgency, number }
    }

    /// Calls that would have their turn before a further call of this caller, whatever its urgency.
    pub(super) fn ahead_of(&self, caller: CallerId) -> usize {
        let own = self.waiting_of(caller);
        let others = self.callers.iter().filter(|(other, _)| **other != caller);
        own + others.map(|(_, waiting)| waiting.length.min(own + 1)).sum::<usize>()
    }

    /// Callers of whom calls wait, and how many.
    pub(super) fn callers(&self) -> impl Iterator<Item = (CallerId, usize)> {
        self.callers.iter().map(|(caller, waiting)| (*caller, waiting.length))
    }

    /// Calls that wait of this caller.
    pub(super) fn waiting_of(&self, caller: CallerId) -> usize {
        self.callers.get(&caller).map_or(0, |waiting| waiting.length)
    }

    /// The call whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let caller = self.turns.pop_front()?;
        let waiting = self.callers.get_mut(&caller)?;
        let call = waiting.take_turn();
        if waiting.length == 0 {
            self.callers.remove(&caller);
        } else {
            self.turns.push_back(caller);
        }
        self.length -= usize::from(call.is_some());
        call
    }

    /// Takes a call out; none if it does not wait any more.
    pub(super) fn remove(&mut self, place: Place) -> Option<T> {
        let waiting = self.callers.get_mut(&place.caller)?;
        let calls = &mut waiting.lane(place.urgency).calls;
        let at = calls.binary_search_by_key(&place.number, |(number, _)| *number).ok()?;
        let (_, call) = calls.remove(at)?;
        self.left(place.caller);
        Some(call)
    }

    /// Takes out what has to give way where too much waits: of the caller of whom most waits, among those who may have to, the least urgent call, and
    /// among equals the last one. What has waited longest of its urgency stays, as long as there is anything else, so that ageing has something to
    /// work on.
    pub(super) fn give_way(&mut self, may_have_to: impl Fn(CallerId, usize) -> bool) -> Option<T> {
        let heavy = self.callers.iter().filter(|(caller, waiting)| may_have_to(**caller, waiting.length));
        let heaviest = heavy.max_by_key(|(_, waiting)| (waiting.length, waiting.last()));
        let caller = *heaviest?.0;
        let call = self.callers.get_mut(&caller)?.give_way()?;
        self.left(caller);
        Some(call)
    }

    /// One call of this caller was taken out.
    fn left(&mut self, caller: CallerId) {
        self.length -= 1;
        if let Some(waiting) = self.callers.get_mut(&caller) {
            waiting.length -= 1;
            if waiting.length == 0 {
                self.callers.remove(&caller);
                self.turns.retain(|turn| *turn != caller);
            }
        }
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { lanes: [(); Urgency::ALL.len()].map(|()| Lane { calls: VecDeque::new(), passed_over: 0 }), length: 0 }
    }
}

impl<T> Waiting<T> {
    fn lane(&mut self, urgency: Urgency) -> &mut Lane<T> {
        let [nearly_expired, refresh, registration, other] = &mut self.lanes;
        match urgency {
            Urgency::NearlyExpired => nearly_expired,
            Urgency::Refresh => refresh,
            Urgency::Registration => registration,
            Urgency::Other => other,
        }
    }

    /// The number of the call that came last.
    fn last(&self) -> Option<u64> {
        self.lanes.iter().filter_map(|lane| lane.calls.back().map(|(number, _)| *number)).max()
    }

    /// The most urgent call; before it one that was passed over too often.
    fn take_turn(&mut self) -> Option<T> {
        let waits = |urgency: &Urgency, lanes: &[Lane<T>]| lanes.get(*urgency as usize).is_some_and(Lane::waits);
        let is_due = |urgency: &&Urgency| {
            self.lanes.get(**urgency as usize).is_some_and(|lane| {
                lane.waits() && urgency.passed_over_max().is_some_and(|passed_over| lane.passed_over >= passed_over)
            })
        };
        let due = Urgency::ALL.iter().find(is_due);
        let turn = *due.or_else(|| Urgency::ALL.iter().find(|urgency| waits(urgency, &self.lanes)))?;
        for urgency in Urgency::ALL {
            let lane = self.lane(urgency);
            lane.passed_over = if urgency == turn || !lane.waits() { 0 } else { lane.passed_over + 1 };
        }
        let (_, call) = self.lane(turn).calls.pop_front()?;
        self.length -= 1;
        Some(call)
    }

    fn give_way(&mut self) -> Option<T> {
        let least = |least: usize, lanes: &[Lane<T>]| lanes.iter().rposition(|lane| lane.calls.len() > least);
        let at = least(1, &self.lanes).or_else(|| least(0, &self.lanes))?;
        self.lanes.get_mut(at)?.calls.pop_back().map(|(_, call)| call)
    }
}

impl<T> Lane<T> {
    fn waits(&self) -> bool {
        !self.calls.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Urgency::{NearlyExpired, Other, Refresh, Registration};

    fn caller(name: u8) -> CallerId {
        CallerId::of_name(&[name])
    }

    /// A queue of these calls in the order of arrival: whose, how urgent, and what they are called.
    fn queue<const N: usize>(calls: [(u8, Urgency, u32); N]) -> Queue<u32> {
        let mut queue = Queue::default();
        for (name, urgency, call) in calls {
            queue.push(caller(name), urgency, call);
        }
        queue
    }

    fn all(mut queue: Queue<u32>) -> Vec<u32> {
        let calls: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert!(queue.is_empty() && queue.callers.is_empty() && queue.turns.is_empty());
        calls
    }

    #[test]
    fn callers_take_turns_however_many_calls_they_have() {
        let waiting =
            queue([(1, Other, 10), (1, Other, 11), (1, Other, 12), (2, Other, 20), (3, Other, 30), (2, Other, 21)]);
        assert_eq!(waiting.len(), 6);
        assert_eq!(all(waiting), [10, 20, 30, 11, 21, 12]);
    }

    #[test]
    fn urgency_decides_within_a_caller_and_not_between_callers() {
        let waiting = queue([
            (1, Other, 10),
            (1, Registration, 11),
            (1, Refresh, 12),
            (1, NearlyExpired, 13),
            (1, NearlyExpired, 14),
            (2, Other, 20),
        ]);
        assert_eq!(all(waiting), [13, 20, 14, 12, 11, 10]);
    }

    #[test]
    fn nothing_of_a_caller_starves_behind_what_is_more_urgent() {
        let mut waiting = queue([(1, Other, 3), (1, Registration, 2), (1, Refresh, 1)]);
        let mut served = Vec::new();
        for _ in 0..64 {
            waiting.push(caller(1), NearlyExpired, 0);
            served.extend(waiting.pop());
        }
        let at = |call| served.iter().position(|served| *served == call).expect("it had a turn");
        let [refresh, registration, other] = [Refresh, Registration, Other].map(|it| it.passed_over_max().unwrap());
        assert_eq!(at(1), usize::try_from(refresh).unwrap());
        assert_eq!(at(2), usize::try_from(registration).unwrap());
        assert_eq!(at(3), usize::try_from(other).unwrap());
    }

    #[test]
    fn the_heaviest_caller_s_least_urgent_and_latest_call_gives_way() {
        let mut waiting = queue([
            (1, Other, 10),
            (1, Other, 11),
            (1, Other, 12),
            (1, NearlyExpired, 13),
            (1, NearlyExpired, 14),
            (2, Other, 20),
            (2, Other, 21),
        ]);
        let order: Vec<_> = std::iter::from_fn(|| waiting.give_way(|_, _| true)).collect();
        // What waits longest of its kind stays while there is anything else; of two callers with as many, the one that came last yields.
        assert_eq!(order, [12, 11, 14, 21, 10, 20, 13]);
        assert!(waiting.is_empty() && waiting.turns.is_empty());
    }

    #[test]
    fn who_does_not_have_to_give_way_keeps_what_waits() {
        let mut waiting = queue([(1, Other, 10), (1, Other, 11), (2, Other, 20)]);
        let order: Vec<_> = std::iter::from_fn(|| waiting.give_way(|it, _| it != caller(1))).collect();
        assert_eq!(order, [20]);
        assert_eq!((waiting.waiting_of(caller(1)), waiting.waiting_of(caller(2))), (2, 0));
    }

    #[test]
    fn a_call_that_is_taken_back_leaves_no_trace() {
        let mut waiting = queue([(1, Other, 10)]);
        let place = waiting.push(caller(1), Other, 11);
        let alone = waiting.push(caller(2), Refresh, 20);
        assert_eq!((waiting.remove(place), waiting.remove(place)), (Some(11), None));
        assert_eq!(waiting.remove(alone), Some(20));
        assert_eq!(waiting.pop(), Some(10));
        assert_eq!((waiting.len(), waiting.pop(), waiting.give_way(|_, _| true)), (0, None, None));
        assert!(waiting.callers.is_empty() && waiting.turns.is_empty());
    }

    #[test]
    fn what_is_ahead_of_a_call_is_its_caller_s_own_and_as_many_of_each_other() {
        let waiting = queue([(1, Other, 10), (1, Other, 11), (1, Other, 12), (2, Other, 20)]);
        assert_eq!(waiting.ahead_of(caller(3)), 2);
        assert_eq!(waiting.ahead_of(caller(2)), 3);
        assert_eq!(waiting.ahead_of(caller(1)), 4);
    }
}
