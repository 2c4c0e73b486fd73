//! Front and core in one process, for laboratories: start the core, put the front before it, serve, stop the front, stop the core.

use std::{path::Path, sync::Arc};

use hallmark_front::{Front, FrontConfig, ReloadHandle};
use hallmark_signer::Core;
use tokio::sync::watch;

use crate::{
    arguments::RunArguments,
    callers_trust::{CaKey, anchor_rule},
    files, hardening,
    health::{self, Told, Whose},
    link::{InProcess, OperatorsInProcess},
    logging,
    probe::{PROBE_INTERVAL, PROBE_TIME_MAX, Probe, ability},
    runtime, secrets,
    service_manager::{self, State},
    settings::Settings,
    signals::{Asked, Signals},
    starting::{self, Starting},
    stdout,
    trouble::{Trouble, sentence},
};

/// Serves until it is told to stop.
pub(crate) fn run(arguments: &RunArguments) -> Result<(), Trouble> {
    hardening::close_to_others()?;
    hardening::raise_limit_of_locked_memory();
    hardening::raise_limit_of_files();
    logging::start(&arguments.logging)?;
    hardening::keep_out_of_swap();
    let settings = Settings::read(&arguments.start.file)?;
    let front = settings.front()?;
    let operators = settings.operators_front()?;
    let starting = Starting::read(&settings, &arguments.start, secrets::asked(&settings)?)?;
    tracing::warn!(
        "front and core are one process, which is for laboratories: nothing is kept from the half that the network reaches"
    );
    let runtime = runtime::start()?;
    let ended = runtime.block_on(async {
        let core = starting.start().await?;
        let served = serve(front, operators, &core, arguments.ready_file.as_deref()).await;
        core.stop().await;
        served.inspect(|()| tracing::info!("stopped"))
    });
    // A probe of a device that hangs does not hold up the end.
    runtime.shutdown_background();
    ended
}

/// Serves with a running core, until a signal says stop and the calls under way are answered.
async fn serve(
    config: FrontConfig,
    operators: Option<FrontConfig>,
    core: &Arc<Core>,
    ready_file: Option<&Path>,
) -> Result<(), Trouble> {
    let mut signals = Signals::listen()?;
    let rule = anchor_rule(keys_here(core)?, core.callers_signed_here());
    let front = Front::bind(config.with_anchor_rule(rule), Arc::new(InProcess(Arc::clone(core))))?;
    let operators = operators.map(|config| bind_operators(config, core)).transpose()?;
    let fronts: Vec<&Front> = [Some(&front), operators.as_ref()].into_iter().flatten().collect();
    let addresses: Vec<_> = fronts.iter().map(|front| front.local_addr()).collect();
    let whose = [Whose::Callers, Whose::Operators].into_iter();
    let told: Vec<_> = whose.zip(fronts.iter().map(|front| Told::of(front))).collect();
    let (tell, able) = watch::channel(false);
    let mut probe = Probe::new(ability(core), move |able| _ = tell.send_replace(able), PROBE_TIME_MAX);
    probe.look().await;
    health::look(core, &able, &told).await;
    if let Some(path) = ready_file {
        let lines = addresses.iter().fold(String::new(), |text, address| format!("{text}{address}\n"));
        files::replace(path, lines.as_bytes(), files::PUBLIC)?;
    }
    service_manager::tell(State::Ready);
    for (what, address) in ["serving", "operators"].into_iter().zip(&addresses) {
        stdout::line(format!("{what} on {address}"));
    }
    let reload = Reload { tls: fronts.iter().map(|front| front.reload_handle()).collect(), core: Arc::clone(core) };
    let (stop, core_failed) = (reload_until_stop(&mut signals, reload), core.failed());
    let (stopping, stopped) = watch::channel(false);
    let mut failed = None;
    let end = async {
        tokio::select! {
            () = stop => {}
            sentence = core_failed => failed = Some(sentence),
            () = probe.watch(PROBE_INTERVAL) => {}
            () = health::follow(core, &able, &told) => {}
        }
        service_manager::tell(State::Stopping);
        stopping.send_replace(true);
        Ok(())
    };
    let told = || {
        let mut stopped = stopped.clone();
        async move { drop(stopped.wait_for(|stopped| *stopped).await) }
    };
    let operated = async {
        match operators {
            Some(operators) => operators.serve(told()).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(front.serve(told()), operated, end)?;
    failed.map_or(Ok(()), |sentence| Err(Trouble::CoreFailed { sentence }))
}

/// The operators' listener. Nobody is an operator through an authority that is signed here.
fn bind_operators(config: FrontConfig, core: &Arc<Core>) -> Result<Front, Trouble> {
    let rule = anchor_rule(keys_here(core)?, &[]);
    Ok(Front::bind(config.with_anchor_rule(rule), Arc::new(OperatorsInProcess(Arc::clone(core))))?)
}

/// Every CA key of the ledger.
fn keys_here(core: &Core) -> Result<impl Iterator<Item = CaKey>, Trouble> {
    let keys = core.ca_keys().map_err(|source| Trouble::Start(source.into()))?;
    Ok(keys.into_iter().map(|(authority, _, spki)| CaKey { authority, spki }))
}

/// What SIGHUP reads again.
struct Reload {
    tls: Vec<ReloadHandle>,
    core: Arc<Core>,
}

impl Reload {
    /// Reads everything again. What cannot be used leaves in force what was before, and is told.
    async fn reload(&self) {
        for tls in &self.tls {
            match tls.reload().await {
                Ok(()) => tracing::info!("SIGHUP: the TLS files were read again"),
                Err(error) => tracing::error!("SIGHUP: the old TLS files stay in force: {}", sentence(&error)),
            }
        }
        starting::reload_policy(&self.core).await;
    }
}

/// Resolves when the daemon is to stop. Meanwhile files are read again as often as SIGHUP asks for it.
async fn reload_until_stop(signals: &mut Signals, reload: Reload) {
    while signals.next().await == Asked::Reload {
        reload.reload().await;
    }
    tracing::info!("told to stop");
}
