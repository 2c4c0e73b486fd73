//! What `[backend.yubihsm]` means.

use hallmark_policy::{Policy, meaning::quoted};
use hallmark_signer::{
    Ability,
    config::{BackendTable, CommandLogWord, ConfigError, YubiHsmTable, kinds_here},
    yubihsm_needs,
};

use super::{Findings, core::tell_secret, kinds};
use crate::{files::directory_of, settings::Settings, trouble::sentence};

pub(super) fn tell(
    table: &YubiHsmTable,
    backend: &BackendTable,
    settings: &Settings,
    policy: Option<&Policy>,
    findings: &mut Findings,
) {
    let YubiHsmTable { connector, authentication_key, password, accept_capabilities, .. } = table;
    findings.say(format!(
        "live in the YubiHSM 2 at `{connector}`, which authentication key {authentication_key:#06x} opens."
    ));
    let domains: Vec<_> = table.domains().iter().map(ToString::to_string).collect();
    findings.say(format!("They are in the domains {}; {} sessions sign.", domains.join(", "), table.sessions()));
    findings.say(match table.command_log() {
        CommandLogWord::Read => "The device's own command log is compared with what this signer asks for.",
        CommandLogWord::Consume => {
            "The device's own command log is compared with what this signer asks for and kept, and the device told what was read."
        }
        CommandLogWord::Off => "The device's own command log is not looked at.",
    });
    if let Some(file) = &table.command_log_file {
        let file = settings.directory.join(file);
        findings.say(format!("It is kept in `{}`, for whoever reconciles it with the decision log.", file.display()));
        let directory = directory_of(&file);
        if !directory.is_dir() {
            findings.problem(format!(
                "`backend.yubihsm.command-log-file` is in `{}`, which is no directory; hint: make it, the core's own",
                directory.display()
            ));
        }
    }
    if let Some(policy) = policy {
        let (own, delegated) = yubihsm_needs(&kinds_here(policy), table.command_log() != CommandLogWord::Off);
        findings.say(format!("The authentication key needs {own}, and delegates {delegated}; nobody asked it here."));
    }
    if !accept_capabilities.is_empty() {
        findings.say(format!(
            "An exception: the authentication key may have {}, which this signer does not need.",
            quoted(accept_capabilities)
        ));
    }
    kinds::tell(policy, Ability::YUBIHSM, findings);
    tell_secret("password", backend.secret_field(), password, &settings.directory, findings);
    match backend.check(&settings.directory) {
        // Told above, with its place.
        Ok(()) | Err(ConfigError::Secret { .. }) => {}
        Err(error) => findings.problem(sentence(&error)),
    }
    if !table.is_usb() && !settings.process.core_network {
        findings.problem(format!(
            "`backend.yubihsm.connector` is `{connector}`, and the core makes no connection; hint: write `core-network = true` in [process]"
        ));
    }
}
