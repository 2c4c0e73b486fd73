//! The daemon's life: start the core, put the front before it, serve, stop the front, stop the core.

use std::{path::Path, sync::Arc};

use hallmark_front::{Front, FrontConfig, ReloadHandle};
use hallmark_signer::{Core, SoftwareKeys, StartOptions, SystemClock, config::BackendTable};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    arguments::RunArguments,
    callers_trust::{CaKey, anchor_rule},
    files, hardening,
    link::InProcess,
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
    let config = settings.core.read(&settings.directory)?;
    let options = StartOptions {
        software_keys,
        accept_clock: arguments.accept_clock,
        accept_missing_checkpoint: arguments.accept_missing_checkpoint,
        create_authorities: false,
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
        let served = serve(front, &core, arguments.ready_file.as_deref()).await;
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
async fn serve(config: FrontConfig, core: &Arc<Core>, ready_file: Option<&Path>) -> Result<(), Trouble> {
    let mut signals = Signals::listen().map_err(|source| Trouble::Runtime { source })?;
    let keys = core.ca_keys().map_err(|source| Trouble::Start(source.into()))?;
    let keys = keys.into_iter().map(|(authority, _, spki)| CaKey { authority, spki });
    let rule = anchor_rule(keys, core.callers_signed_here());
    let front = Front::bind(config.with_anchor_rule(rule), Arc::new(InProcess(Arc::clone(core))))?;
    let address = front.local_addr();
    let health = front.health();
    let mut probe = Probe::new(ability(core), move |serving| health.set_serving(serving), PROBE_TIME_MAX);
    probe.look().await;
    if let Some(path) = ready_file {
        files::replace(path, format!("{address}\n").as_bytes(), files::PUBLIC)?;
    }
    service_manager::tell(State::Ready);
    stdout::line(format!("serving on {address}"));
    let (stop, core_failed) = (signals.stop(front.reload_handle()), core.failed());
    let mut failed = None;
    let end = async {
        tokio::select! {
            () = stop => {}
            sentence = core_failed => failed = Some(sentence),
            () = probe.watch(PROBE_INTERVAL) => {}
        }
        service_manager::tell(State::Stopping);
    };
    front.serve(end).await?;
    failed.map_or(Ok(()), |sentence| Err(Trouble::CoreFailed { sentence }))
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

    /// Resolves when the daemon is to stop. Meanwhile the TLS files are read again as often as SIGHUP asks for it.
    async fn stop(&mut self, reload: ReloadHandle) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return tracing::info!("SIGTERM: stopping"),
                _ = self.interrupt.recv() => return tracing::info!("SIGINT: stopping"),
                Some(()) = self.hang_up.recv() => match reload.reload().await {
                    Ok(()) => tracing::info!("SIGHUP: the TLS files were read again"),
                    Err(error) => tracing::error!("SIGHUP: the old TLS files stay in force: {}", sentence(&error)),
                },
            }
        }
    }
}
