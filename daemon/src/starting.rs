//! How a core is started, whichever process it is in.

use std::sync::Arc;

use hallmark_signer::{
    Core, PolicyNews, RefusedPins, Roots, SoftwareKeys, StartOptions, SystemClock, WINDOW, config::BackendTable,
};
use secrecy::SecretString;

use crate::{arguments::StartArguments, settings::Settings, trouble::Trouble};

/// Everything that a start needs, read and checked.
pub(crate) struct Starting {
    config: hallmark_signer::config::CoreConfig,
    options: StartOptions,
}

impl Starting {
    /// Reads what the settings name: policy, secrets, log key; the secret of the key backend is this one, where it was asked for.
    pub(crate) fn read(
        settings: &Settings,
        arguments: &StartArguments,
        secret: Option<SecretString>,
    ) -> Result<Self, Trouble> {
        let software_keys = software_keys(&settings.core.backend, arguments.allow_software_keys)?;
        let config = settings.core.clone().given(secret).read(&settings.directory)?;
        // It names the places of secrets, and has none.
        let config = config.with_public_files(vec![("signer.toml".to_owned(), settings.file.clone())]);
        let config = match &settings.operators {
            Some(table) => config.with_operators(table.identities()?).with_monitors(table.monitor_identities()?),
            None => config,
        };
        let options = StartOptions {
            software_keys,
            refused_pins: None,
            accept_clock: arguments.accept_clock,
            accept_missing_checkpoint: arguments.accept_missing_checkpoint,
            accept_missing_anchor: arguments.accept_missing_anchor,
            create_authorities: false,
            roots: Roots::default(),
            refresh_crls: true,
            window: WINDOW,
            config_sha256: settings.sha256,
            clock: Box::new(SystemClock),
        };
        Ok(Self { config, options })
    }

    /// The same, with what a supervisor remembers of PINs that tokens refused.
    pub(crate) fn remembering(self, refused_pins: Option<RefusedPins>) -> Self {
        Self { options: StartOptions { refused_pins, ..self.options }, ..self }
    }

    /// Starts the core, and tells what it found.
    pub(crate) async fn start(self) -> Result<Arc<Core>, Trouble> {
        let (core, report) = Core::start(self.config, self.options).await?;
        for line in &report.lines {
            tracing::info!("{line}");
        }
        Ok(Arc::new(core))
    }
}

/// Whether keys may live in files: the configuration alone cannot choose that.
pub(crate) fn software_keys(backend: &BackendTable, allowed: bool) -> Result<SoftwareKeys, Trouble> {
    match (backend, allowed) {
        (BackendTable::Software { .. }, false) => Err(Trouble::SoftwareKeys),
        (
            BackendTable::Software { .. }
            | BackendTable::YubiHsm(_)
            | BackendTable::AwsKms(_)
            | BackendTable::Pkcs11(_),
            true,
        ) => Ok(SoftwareKeys::Admitted),
        (BackendTable::YubiHsm(_) | BackendTable::AwsKms(_) | BackendTable::Pkcs11(_), false) => {
            Ok(SoftwareKeys::Refused)
        }
    }
}

/// SIGHUP: reads the policy again. What cannot be used leaves in force what was before, and is told.
pub(crate) async fn reload_policy(core: &Core) {
    match core.reload_policy().await {
        Ok(PolicyNews { digest, changed, notes }) => {
            let what = if changed { "another policy is in force" } else { "the policy is as it was" };
            tracing::info!("SIGHUP: {what}: {digest}");
            notes.iter().for_each(|note| tracing::warn!("{note}"));
        }
        Err(error) => tracing::error!("SIGHUP: the old policy stays in force: {error}"),
    }
}
