//! What health checks hear: of the whole core, and of each authority.

use std::{sync::Arc, time::Duration};

use hallmark_front::{Counters, Front, HealthHandle, PaceHandle};
use hallmark_proto::link::{AuthorityState, CoreState, FrontCounts};
use hallmark_signer::{Core, FrontDoor, Standing};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

/// How often a core is asked how it is.
pub(crate) const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// Who asks how a core is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Callers want certificates: at least one authority has to sign.
    Callers,
    /// Operators resume authorities, and so are served where none signs.
    Operators,
}

/// What a front is told of its core, and what it tells.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    health: HealthHandle,
    pace: PaceHandle,
    counters: Arc<Counters>,
}

impl Told {
    /// What this one is told.
    pub(crate) fn of(front: &Front) -> Self {
        Self { health: front.health(), pace: front.pace(), counters: front.counters() }
    }

    /// What it has counted.
    pub(crate) fn counts(&self) -> FrontCounts {
        self.counters.told()
    }
}

/// How a core is, which is `able` to do its work or not. It may block.
pub(crate) fn state(core: &Core, able: bool, whose: Whose) -> CoreState {
    let standings = match core.standings() {
        Ok(standings) => standings,
        Err(error) => {
            tracing::error!(%error, "how the authorities stand cannot be read from the ledger");
            return CoreState::default();
        }
    };
    let serving = able && (whose == Whose::Operators || any_serves(standings.iter().map(|(_, standing)| *standing)));
    let state = |(authority, standing)| AuthorityState { authority, serving: standing == Standing::Serves };
    let signs_at_once = u32::try_from(core.threads().sessions).unwrap_or(u32::MAX);
    let authorities = standings.into_iter().map(state).collect();
    CoreState { serving, authorities, signs_at_once, ..CoreState::default() }
}

/// Whether callers are served by any of them. Where all wait for their first epochs, callers are who brings these.
fn any_serves(standings: impl Iterator<Item = Standing> + Clone) -> bool {
    let mut others = standings.clone();
    standings.into_iter().any(|standing| standing == Standing::Serves)
        || others.all(|standing| standing == Standing::Waits)
}

/// Tells a front how its core is; nothing, if it does not say.
pub(crate) fn tell(Told { health, pace, .. }: &Told, state: Option<&CoreState>) {
    if let Some(CoreState { signs_at_once: signatures @ 1.., .. }) = state {
        pace.signs_at_once(*signatures);
    }
    if let Some(CoreState { authorities, .. }) = state
        // None are there where the ledger does not answer; names stay known.
        && !authorities.is_empty()
    {
        health.set_authorities(authorities.iter().map(|state| (state.authority.clone(), state.serving)));
    }
    health.set_serving(state.is_some_and(|state| state.serving));
}

/// Tells fronts how the core of this process is, which is able to do its work or not, and the core what they have counted.
pub(crate) async fn look(core: &Arc<Core>, able: &watch::Receiver<bool>, fronts: &[(Whose, Told)]) {
    for (whose, told) in fronts {
        let door = match whose {
            Whose::Callers => FrontDoor::Callers,
            Whose::Operators => FrontDoor::Operators,
        };
        core.front_counted(door, told.counts());
        let (core, able, whose) = (Arc::clone(core), *able.borrow(), *whose);
        let state = spawn_blocking(move || state(&core, able, whose)).await;
        tell(told, state.ok().as_ref());
    }
}

/// Does so again and again, for ever.
pub(crate) async fn follow(core: &Arc<Core>, able: &watch::Receiver<bool>, fronts: &[(Whose, Told)]) {
    let mut ticks = interval(ASK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        look(core, able, fronts).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_served_where_an_authority_signs_or_all_wait_for_their_first_epoch() {
        use Standing::{Rests, Serves, Stopped, Waits};
        let served = |standings: &[Standing]| any_serves(standings.iter().copied());
        for standings in [&[Serves][..], &[Rests, Serves], &[Stopped, Waits, Serves], &[Waits, Waits], &[]] {
            assert!(served(standings), "{standings:?}");
        }
        for standings in [&[Rests][..], &[Stopped], &[Stopped, Rests], &[Waits, Rests]] {
            assert!(!served(standings), "{standings:?}");
        }
    }
}
