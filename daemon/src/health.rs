//! What health checks hear: of the whole core, and of each authority.

use std::{sync::Arc, time::Duration};

use hallmark_front::HealthHandle;
use hallmark_proto::link::{AuthorityState, CoreState};
use hallmark_signer::{Core, Standing};
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
    CoreState { serving, authorities: standings.into_iter().map(state).collect(), ..CoreState::default() }
}

/// Whether callers are served by any of them. Where all wait for their first epochs, callers are who brings these.
fn any_serves(standings: impl Iterator<Item = Standing> + Clone) -> bool {
    let mut others = standings.clone();
    standings.into_iter().any(|standing| standing == Standing::Serves)
        || others.all(|standing| standing == Standing::Waits)
}

/// Tells health checks how a core is; nothing, if it does not say.
pub(crate) fn tell(health: &HealthHandle, state: Option<&CoreState>) {
    if let Some(CoreState { authorities, .. }) = state
        // None are there where the ledger does not answer; names stay known.
        && !authorities.is_empty()
    {
        health.set_authorities(authorities.iter().map(|state| (state.authority.clone(), state.serving)));
    }
    health.set_serving(state.is_some_and(|state| state.serving));
}

/// Tells health checks how the core of this process is, which is able to do its work or not.
pub(crate) async fn look(core: &Arc<Core>, able: &watch::Receiver<bool>, checks: &[(Whose, HealthHandle)]) {
    for (whose, health) in checks {
        let (core, able, whose) = (Arc::clone(core), *able.borrow(), *whose);
        let state = spawn_blocking(move || state(&core, able, whose)).await;
        tell(health, state.ok().as_ref());
    }
}

/// Does so again and again, for ever.
pub(crate) async fn follow(core: &Arc<Core>, able: &watch::Receiver<bool>, checks: &[(Whose, HealthHandle)]) {
    let mut ticks = interval(ASK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        look(core, able, checks).await;
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
