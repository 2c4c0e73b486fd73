//! What `[backend.aws-kms]` means.

use hallmark_policy::Policy;
use hallmark_signer::{
    Ability,
    config::{AwsKmsTable, BackendTable, ConfigError},
    secret::{SecretError, SecretSource},
};

use super::{Findings, kinds};
use crate::{settings::Settings, trouble::sentence};

pub(super) fn tell(
    table: &AwsKmsTable,
    backend: &BackendTable,
    settings: &Settings,
    policy: Option<&Policy>,
    findings: &mut Findings,
) {
    let AwsKmsTable { region, endpoint, account, .. } = table;
    let at = endpoint.as_ref().map(|endpoint| format!(", which is spoken to at `{endpoint}`")).unwrap_or_default();
    findings.say(format!("live in AWS KMS, in the region `{region}` of the account {account}{at}."));
    findings.say(format!("{} calls sign at the same time.", table.sessions()));
    findings.say(format!(
        "A key that is destroyed signs nothing from then on; AWS deletes it {} days later, and gives it back until then to whoever may cancel that.",
        table.deletion_days()
    ));
    tell_credentials(table, settings, findings);
    kinds::tell(policy, Ability::AWS_KMS, findings);
    match backend.check(&settings.directory) {
        Ok(()) => {}
        Err(ConfigError::Secret { source: SecretError::NoCredentials(_), .. }) => {
            findings.say("No service manager gave credentials to this command, so that they were not looked at.");
        }
        Err(error) => findings.problem(sentence(&error)),
    }
    if !settings.process.core_network {
        findings.problem(
            "the keys are in AWS KMS, and the core makes no connection; hint: write `core-network = true` in [process]"
                .to_owned(),
        );
    }
}

fn tell_credentials(table: &AwsKmsTable, settings: &Settings, findings: &mut Findings) {
    let profile = table.profile();
    match &table.credentials {
        SecretSource::File(path) => findings.say(format!(
            "The credentials are `[{profile}]` of the file `{}`, which is read again when it changes.",
            settings.directory.join(path).display()
        )),
        SecretSource::Credential(name) => findings.say(format!(
            "The credentials are `[{profile}]` of the credential `{name}` of the service manager, and those of the start until the next one."
        )),
        SecretSource::Env(_) | SecretSource::Typed | SecretSource::Given(_) => {}
    }
}
