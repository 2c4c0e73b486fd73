//! Starting: the ledger is opened, the keys are found and compared, and only then is anything served.

use std::{error::Error as _, sync::Arc, time::Duration};

use hallmark_backends::{BackendConfig, BackendError, Keyring, RefusedPins, SoftwareKeys};
use hallmark_ledger::{
    Acceptance, CaKey, Epochs, Event, KeyAction, KeyChange, Ledger, LedgerConfig, LedgerError, OpenError, Recovery,
    UnixMillis,
};
use hallmark_policy::{Policy, key::PublicKey, profile::Authority};

use crate::{
    apply::BY_START,
    authorities::{self, AuthorityError, Keys},
    backups::Backups,
    bring::Roots,
    clock::{Clock, ClockGuard},
    config::CoreConfig,
    core::{Core, Setting},
    epoch, genesis,
    in_force::{Current, Since},
    later_epochs,
    making::MakingError,
    retire,
    spoken_for::without_ceremony,
};

/// How to start.
pub struct StartOptions {
    /// Whether CA keys may live in files.
    pub software_keys: SoftwareKeys,
    /// What is known of PINs that tokens refused, where somebody remembers it longer than this process lives.
    pub refused_pins: Option<RefusedPins>,
    /// An operator's word that the clock is right, although it disagrees with the log.
    pub accept_clock: bool,
    /// An operator's word that the database is the newest, although the published checkpoint is gone.
    pub accept_missing_checkpoint: bool,
    /// An operator's word that the database is the newest, although the copy of its checkpoint on another volume is gone.
    pub accept_missing_anchor: bool,
    /// Make the authorities that the policy describes and the ledger does not have yet.
    pub create_authorities: bool,
    /// Certificates of offline roots, for the authorities that are made.
    pub roots: Roots,
    /// Whether CRLs are kept fresh in the background. Without it [`Core::refresh_crls`] does so, whenever it is called.
    pub refresh_crls: bool,
    /// How long a window is: what happens in the background happens at its end, and a heartbeat after ten. [`WINDOW`](crate::WINDOW) but for tests, which have less time.
    pub window: Duration,
    /// SHA-256 of the configuration file, for the log.
    pub config_sha256: [u8; 32],
    /// The clocks.
    pub clock: Box<dyn Clock>,
}

/// What the start found and did, in sentences.
#[derive(Clone, Debug, Default)]
pub struct StartReport {
    /// The sentences.
    pub lines: Vec<String>,
    /// Whether the log has the start, and what was left by the run before.
    is_logged: bool,
}

/// Why the core does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The ledger cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The ledger does not take the start's entries.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The key backend cannot be opened.
    #[error(transparent)]
    Backend(#[from] Box<BackendError>),
    /// A key or certificate is not what it should be.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// An authority cannot be made.
    #[error(transparent)]
    Genesis(#[from] MakingError),
}

impl StartError {
    /// Whether the PIN was not right, so that the same start again could lock the token.
    #[must_use]
    pub fn may_lock_the_token(&self) -> bool {
        if let Self::Backend(error) = self {
            return error.is_about_the_pin();
        }
        let mut cause = self.source();
        while let Some(error) = cause {
            let backend = error.downcast_ref::<Box<BackendError>>().map(Box::as_ref);
            if backend.or_else(|| error.downcast_ref()).is_some_and(BackendError::is_about_the_pin) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// A CA certificate of an authority that is served.
#[derive(Clone, Debug)]
pub struct CaCertificate {
    /// The authority.
    pub authority: String,
    /// `root`, `intermediate` or `mesh-ca`.
    pub what: &'static str,
    /// SubjectPublicKeyInfo of its key, DER.
    pub spki: Vec<u8>,
    /// The certificate, DER.
    pub der: Vec<u8>,
}

impl Core {
    /// Starts the core: opens ledger and keys, logs the start and the policy, checks every key, and serves.
    ///
    /// # Errors
    /// See [`StartError`]: each is one sentence that names what is wrong.
    pub async fn start(config: CoreConfig, options: StartOptions) -> Result<(Self, StartReport), StartError> {
        let mut report = StartReport::default();
        let wall_millis = options.clock.wall_millis();
        let (accept_missing_checkpoint, accept_missing_anchor) =
            (options.accept_missing_checkpoint, options.accept_missing_anchor);
        let publish = config.ledger.publish.clone();
        let ledger = LedgerConfig { accept_missing_checkpoint, accept_missing_anchor, ..config.ledger };
        let opened = Ledger::open(ledger, config.log_key)?;
        let at = UnixMillis(wall_millis.max(opened.recovery.last_entry_at.map_or(i64::MIN, |last| last.0)));
        let stopped_cleanly = !opened.recovery.unclean;
        let keys_changed = opened.key_change.is_some();
        if let Some(change) = opened.key_change {
            // Nothing is signed by other keys before the log says so.
            report.lines.push(said_of_keys(&change));
            opened.ledger.record(Event::LogKeys { change, by: BY_START.to_owned() }, at).await?;
        }
        let device_log = config.backend.device_log_findings();
        let started = start(
            opened.ledger.clone(),
            opened.recovery,
            config.backend,
            config.policy,
            Setting {
                policy_file: config.policy_file,
                operators: config.operators,
                monitors: config.monitors,
                callers_signed_here: config.callers_signed_here,
                roots_without_ceremony: config.roots_without_ceremony,
                drain_time_max: config.drain_time_max,
                publish,
                backups: Backups::new(config.backups, config.public_files),
                device_log,
                traces: config.traces,
            },
            options,
            &mut report,
        )
        .await;
        match started {
            Ok(core) => Ok((core, report)),
            Err(error) => {
                let ledger = opened.ledger;
                // A start that is refused is no crash: what it began in the log ends with a stop. Where it has said nothing of a crash
                // before it, the log still ends as the crash left it, and the next start says so.
                if (report.is_logged || keys_changed && stopped_cleanly)
                    && let Err(failed) = ledger.record(Event::Stop, at).await
                {
                    tracing::error!(error = %failed, "the refused start could not be logged");
                }
                ledger.stop();
                Err(error)
            }
        }
    }

    /// Every CA key that the ledger knows, of every authority and epoch, whatever its state: authority, what it is, and
    /// its SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn ca_keys(&self) -> Result<Vec<CaKey>, LedgerError> {
        self.inner.ledger.ca_keys()
    }

    /// The CA certificates of every authority that is served, and the roots of those that wait for their first epoch: whoever sets a
    /// first manifest signs over its root.
    #[must_use]
    pub fn ca_certificates(&self) -> Vec<CaCertificate> {
        let mut certificates = Vec::new();
        for (authority, serving) in self.inner.all_serving().iter() {
            let root_spki = self.inner.ledger.authority(authority).ok().flatten().and_then(|record| record.key);
            let root_spki = root_spki.map(|key| key.spki).unwrap_or_default();
            let epoch_spki = serving.issuer.key.spki().to_vec();
            let each = [
                ("root", root_spki, &serving.chain.root),
                ("intermediate", epoch_spki.clone(), &serving.chain.intermediate),
                ("mesh-ca", epoch_spki, &serving.chain.mesh_ca),
            ];
            certificates.extend(each.map(|(what, spki, der)| CaCertificate {
                authority: authority.clone(),
                what,
                spki,
                der: der.clone(),
            }));
        }
        certificates.extend(self.waiting_roots());
        certificates
    }

    /// The roots of authorities that have no active epoch.
    fn waiting_roots(&self) -> Vec<CaCertificate> {
        let (policy, serving) = (self.inner.policy(), self.inner.all_serving());
        let waiting = policy.authorities().filter(|authority| !serving.contains_key(&authority.name));
        let root = |authority: &Authority| {
            let record = self.inner.ledger.authority(&authority.name).ok().flatten()?;
            let key = authorities::stored_key(&record.name, record.key.as_ref()).ok()?;
            let der = authorities::certificate(&record.name, record.root.as_ref(), &key).ok()?;
            Some(CaCertificate { authority: record.name, what: "root", spki: key.spki().to_vec(), der })
        };
        waiting.filter_map(root).collect()
    }
}

async fn start(
    ledger: Ledger,
    recovery: Recovery,
    backend: BackendConfig,
    policy: Policy,
    setting: Setting,
    options: StartOptions,
    report: &mut StartReport,
) -> Result<Core, StartError> {
    let software = matches!(backend, BackendConfig::Software { .. });
    let (exceptions, waivers) = (backend.exceptions().all(), backend.module_waivers());
    let keyring = match options.refused_pins {
        Some(refused_pins) => Keyring::open_remembering(backend, options.software_keys, refused_pins),
        None => Keyring::open_backend(backend, options.software_keys),
    };
    let keyring = keyring.map_err(Box::new)?;
    let clock = ClockGuard::new(options.clock, recovery.last_entry_at, recovery.clock_distrusted);
    let backends = keyring.describe_all();
    report.lines.extend(backends.iter().map(|backend| format!("key backend: {backend}")));
    report.lines.extend(keyring.tokens().into_iter().filter_map(|token| {
        let why = token.away?;
        Some(format!("token {} is away: {why}; what it holds is signed with by the others", token.name))
    }));
    for (module, waived) in waivers {
        let (unknown, history): (Vec<_>, Vec<_>) =
            waived.into_iter().partition(|waiver| waiver.leaves_open().is_some());
        if !history.is_empty() {
            let waived = history.iter().map(|waiver| waiver.attribute()).collect::<Vec<_>>().join(" ");
            tracing::warn!(module, waived, "less is believed about the history of keys that are made in this module");
            report
                .lines
                .push(format!("waived: of a key that is made in the module {module}, {waived} need not be true"));
        }
        for (waived, leaves_open) in unknown.iter().filter_map(|it| Some((it.attribute(), it.leaves_open()?))) {
            tracing::warn!(module, waived, "this module need not know an attribute of CA keys");
            report
                .lines
                .push(format!("waived: the module {module} need not know {waived}; where it does not, {leaves_open}"));
        }
    }
    for (key, exception) in exceptions {
        let meaning = exception.meaning();
        tracing::warn!(%key, because = exception.name(), "a key that is kept less strictly than CA keys are");
        report.lines.push(format!("exception: the key with SPKI SHA-256 {key} {meaning}"));
    }
    report.lines.push(format!("decision log: {} entries", recovery.entries));
    let policy = Arc::new(policy);
    let start = Event::Start {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config_sha256: options.config_sha256,
        backends,
        software_keys: software,
        roots_without_ceremony: without_ceremony(&ledger, &setting.roots_without_ceremony)?,
    };
    let since = log_start(&ledger, &clock, &policy, recovery, start, report).await?;
    let core = Core::new(ledger, keyring, clock, Current { policy: Arc::clone(&policy), since }, setting);
    let is_accepted = |accepted| match accepted {
        Acceptance::MissingCheckpoint => options.accept_missing_checkpoint,
        Acceptance::MissingAnchor => options.accept_missing_anchor,
    };
    for accepted in Acceptance::ALL.into_iter().filter(|one| is_accepted(*one) || recovery.unlogged.has(*one)) {
        let command = Event::OperatorCommand { command: accepted.command().to_owned() };
        core.inner.ledger.record(command, core.inner.clock.wall().millis).await?;
    }
    if options.accept_clock {
        core.inner.clock.accept();
        core.inner.ledger.record(Event::ClockAccepted, core.inner.clock.wall().millis).await?;
    } else if let Err(reason) = core.inner.trusted_clock().await {
        tracing::error!(%reason, "nothing is minted until the clock is right");
        report.lines.push(format!("nothing is minted: {reason}"));
    }
    if options.create_authorities {
        for authority in policy.authorities() {
            report.lines.extend(genesis::create(&core.inner, authority, &options.roots).await?);
        }
    }
    report.lines.extend(core.inner.all_spoken_for(&policy)?);
    let serving = authorities::load(&core.inner.ledger, Keys::Open(&core.inner.keyring), &policy);
    if let Err(AuthorityError::Key { authority, stored, source }) = &serving
        && source.is_about_the_key()
        && let Ok(key) = PublicKey::parse(&stored.spki)
    {
        core.inner.key_event(authority, KeyAction::Refused, &stored.reference, &key).await?;
    }
    core.inner.serve(serving?);
    log_open_keys(&core).await?;
    for authority in policy.authorities() {
        go_on(&core, authority, report).await;
    }
    report.lines.extend(core.inner.expiring());
    let serving = core.inner.all_serving();
    for authority in policy.authorities() {
        let line = match serving.get(&authority.name) {
            Some(serving) => format!(
                "authority `{}`: epoch {} is active, until {}",
                authority.name, serving.issuer.epoch.generation, serving.issuer.validity.not_after
            ),
            None => core.inner.waits(authority).sentence(&authority.name),
        };
        report.lines.push(line);
    }
    report.lines.extend(authorities::differences(&serving, &policy));
    for authority in policy.authorities() {
        if let Some(reason) = core.inner.ledger.stopped(&authority.name)? {
            tracing::error!(%reason, "it issues nothing until an operator decides");
            let allowed = reason.allowed.unwrap_or_default();
            report.lines.push(format!("{}; hint: {allowed}", reason.sentence));
        }
        if let Some(reason) = core.inner.ledger.frozen(&authority.name)? {
            tracing::warn!(%reason, "it signs nothing for callers until an operator thaws it");
            let allowed = reason.allowed.unwrap_or_default();
            report.lines.push(format!("{}; hint: {allowed}", reason.sentence));
        }
    }
    core.start_background(options.window);
    if options.refresh_crls {
        core.start_refreshing();
    }
    Ok(core)
}

/// Goes on with what was interrupted. What cannot be done now is no reason not to serve.
async fn go_on(core: &Core, authority: &Authority, report: &mut StartReport) {
    let (core, name) = (&core.inner, &authority.name);
    // First: what an older database says is to be done is not done.
    let looked = later_epochs::look(core, name).await;
    let done = [
        (looked, "it is not known whether tokens have keys of later epochs; they are asked again every minute"),
        (
            epoch::resume(core, authority).await,
            "a rotation is not finished; the same call goes on with it, or the next start",
        ),
        (retire::settle(core, name).await, "an old epoch's key is still there; this is tried again every minute"),
        (
            retire::destroy_strays(core, name).await,
            "keys of epochs that are over were not looked for; the next start does",
        ),
    ];
    for (result, sentence) in done {
        match result {
            Ok(said) => report.lines.extend(said),
            Err(error) => {
                tracing::error!(%error, "{sentence}");
                report.lines.push(format!("{sentence}: {error}"));
            }
        }
    }
}

/// Says in the log which keys were found and are what they should be.
async fn log_open_keys(core: &Core) -> Result<(), StartError> {
    let inner = &core.inner;
    for (authority, serving) in inner.all_serving().iter() {
        let record = inner.ledger.authority(authority)?;
        let epoch = inner.ledger.epoch(authority, Epochs::Generation(serving.issuer.epoch.generation))?;
        let root_key = record.filter(|record| !record.is_offline()).and_then(|record| record.key);
        let keys = [root_key, epoch.and_then(|epoch| epoch.key)];
        for key in keys.into_iter().flatten() {
            let Ok(public) = PublicKey::parse(&key.spki) else { continue };
            let event = Event::KeyEvent {
                authority: authority.clone(),
                action: KeyAction::Opened,
                reference: key.reference,
                spki: public.digest(),
                kind: public.kind(),
                backend: inner.keyring.places(public.digest()),
            };
            inner.ledger.record(event, inner.clock.wall().millis).await?;
        }
    }
    Ok(())
}

/// Which keys sign the log from here on.
fn said_of_keys(KeyChange { added, removed, .. }: &KeyChange) -> String {
    let words = [("new", added), ("gone", removed)];
    let said: Vec<String> =
        words.iter().flat_map(|(word, keys)| keys.iter().map(move |key| format!("`{key}` is {word}"))).collect();
    format!(
        "log key: {}; an entry says so",
        if said.is_empty() { "another of the same two is the log's own".to_owned() } else { said.join(", ") }
    )
}

async fn log_start(
    ledger: &Ledger,
    clock: &ClockGuard,
    policy: &Policy,
    recovery: Recovery,
    start: Event,
    report: &mut StartReport,
) -> Result<Since, StartError> {
    let at = clock.wall().millis;
    ledger.record(start, at).await?;
    if recovery.unclean {
        tracing::warn!(unsigned = recovery.pending, "the last run did not stop cleanly");
        report.lines.push(format!(
            "the last run did not stop cleanly: {} request(s) were committed and not signed; their callers get them by asking again",
            recovery.pending
        ));
        ledger.record(Event::Recovered { unsigned: recovery.pending }, at).await?;
    }
    let by = BY_START.to_owned();
    let loaded = Event::PolicyLoaded { digest: policy.digest(), text: policy.text().to_owned(), by: by.clone() };
    let logged = ledger.record(loaded, at).await?;
    report.is_logged = true;
    Ok(Since { log_index: logged.index, at, by })
}
