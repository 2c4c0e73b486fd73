//! The daemon's life: start the core, put the front before it, serve, stop the front, stop the core.

use std::{path::Path, sync::Arc};

use hallmark_front::{Front, FrontConfig, ReloadHandle};
use hallmark_signer::{Core, PolicyNews, Roots, SoftwareKeys, StartOptions, SystemClock, config::BackendTable};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    arguments::RunArguments,
    callers_trust::{CaKey, anchor_rule},
    files, hardening,
    link::{InProcess, OperatorsInProcess},
    logging,
    probe::{PROBE_INTERVAL, PROBE_TIME_MAX, Probe, ability},
    service_manager::{self, State},
    settings::Settings,
    stdout,
    trouble::{Trouble, sentence},
};

/// Serves until it is told to stop.
pub(crate) fn run(arguments: RunArguments) -> Result<(), Trouble> {
    hardening::close_to_others()?;
    logging::start(arguments.log_format, &arguments.log)?;
    let settings = Settings::read(&arguments.file)?;
    let software_keys = software_keys(&settings.core.backend, arguments.allow_software_keys)?;
    let front = FrontConfig::from_file(settings.listen.clone(), &settings.directory)?;
    let mut config = settings.core.read(&settings.directory)?;
    let mut operators = None;
    if let Some(table) = &settings.operators {
        config = config.with_operators(table.identities()?).with_monitors(table.monitor_identities()?);
        let listener = FrontConfig::from_file(table.listener(&settings.listen), &settings.directory)?;
        operators = Some(listener.for_operators());
    }
    let options = StartOptions {
        software_keys,
        accept_clock: arguments.accept_clock,
        accept_missing_checkpoint: arguments.accept_missing_checkpoint,
        accept_missing_anchor: arguments.accept_missing_anchor,
        create_authorities: false,
        roots: Roots::default(),
        refresh_crls: true,
        config_sha256: settings.sha256,
        clock: Box::new(SystemClock),
    };
    let runtime = Runtime::new().map_err(|source| Trouble::Runtime { source })?;
    let ended = runtime.block_on(async {
        let (core, report) = Core::start(config, options).await?;
        for line in &report.lines {
            tracing::info!("{line}");
        }
        let core = Arc::new(core);
        let served = serve(front, operators, &core, arguments.ready_file.as_deref()).await;
        core.stop().await;
        served.inspect(|()| tracing::info!("stopped"))
    });
    // A probe of a device that hangs does not hold up the end.
    runtime.shutdown_background();
    ended
}

/// Whether keys may live in files: the configuration alone cannot choose that.
pub(crate) fn software_keys(backend: &BackendTable, allowed: bool) -> Result<SoftwareKeys, Trouble> {
    match (backend, allowed) {
        (BackendTable::Software { .. }, false) => Err(Trouble::SoftwareKeys),
        (BackendTable::Software { .. } | BackendTable::Pkcs11 { .. }, true) => Ok(SoftwareKeys::Admitted),
        (BackendTable::Pkcs11 { .. }, false) => Ok(SoftwareKeys::Refused),
    }
}

/// Serves with a running core, until a signal says stop and the calls under way are answered.
async fn serve(
    config: FrontConfig,
    operators: Option<FrontConfig>,
    core: &Arc<Core>,
    ready_file: Option<&Path>,
) -> Result<(), Trouble> {
    let mut signals = Signals::listen().map_err(|source| Trouble::Runtime { source })?;
    let rule = anchor_rule(keys_here(core)?, core.callers_signed_here());
    let front = Front::bind(config.with_anchor_rule(rule), Arc::new(InProcess(Arc::clone(core))))?;
    let operators = operators.map(|config| bind_operators(config, core)).transpose()?;
    let fronts: Vec<&Front> = [Some(&front), operators.as_ref()].into_iter().flatten().collect();
    let addresses: Vec<_> = fronts.iter().map(|front| front.local_addr()).collect();
    let health: Vec<_> = fronts.iter().map(|front| front.health()).collect();
    let tell = move |serving| health.iter().for_each(|health| health.set_serving(serving));
    let mut probe = Probe::new(ability(core), tell, PROBE_TIME_MAX);
    probe.look().await;
    if let Some(path) = ready_file {
        let lines = addresses.iter().fold(String::new(), |text, address| format!("{text}{address}\n"));
        files::replace(path, lines.as_bytes(), files::PUBLIC)?;
    }
    service_manager::tell(State::Ready);
    for (what, address) in ["serving", "operators"].into_iter().zip(&addresses) {
        stdout::line(format!("{what} on {address}"));
    }
    let reload = Reload { tls: fronts.iter().map(|front| front.reload_handle()).collect(), core: Arc::clone(core) };
    let (stop, core_failed) = (signals.stop(reload), core.failed());
    let (stopping, stopped) = watch::channel(false);
    let mut failed = None;
    let end = async {
        tokio::select! {
            () = stop => {}
            sentence = core_failed => failed = Some(sentence),
            () = probe.watch(PROBE_INTERVAL) => {}
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
        match self.core.reload_policy().await {
            Ok(PolicyNews { digest, changed, notes }) => {
                let what = if changed { "another policy is in force" } else { "the policy is as it was" };
                tracing::info!("SIGHUP: {what}: {digest}");
                notes.iter().for_each(|note| tracing::warn!("{note}"));
            }
            Err(error) => tracing::error!("SIGHUP: the old policy stays in force: {error}"),
        }
    }
}

/// The signals that a daemon hears.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves when the daemon is to stop. Meanwhile files are read again as often as SIGHUP asks for it.
    async fn stop(&mut self, reload: Reload) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return tracing::info!("SIGTERM: stopping"),
                _ = self.interrupt.recv() => return tracing::info!("SIGINT: stopping"),
                Some(()) = self.hang_up.recv() => reload.reload().await,
            }
        }
    }
}
