//! `[backend.aws-kms]`, as it was typed.

use std::path::Path;

use hallmark_backends::{AwsAccount, AwsCredentials, AwsCredentialsPlace, AwsKmsConfig, AwsKmsPlace};
use serde::Deserialize;

use super::{ConfigError, pkcs11::SESSIONS_DEFAULT};
use crate::secret::SecretSource;

/// Which credentials of a file are meant if the configuration does not say, as everywhere in AWS.
const PROFILE_DEFAULT: &str = "default";

/// Days until a destroyed key is deleted if the configuration does not say: the fewest that there may be.
const DELETION_DAYS_DEFAULT: u8 = 7;

/// Where the credentials stand, for people.
pub(super) const AWS_CREDENTIALS: &str = "backend.aws-kms.credentials";

/// `[backend.aws-kms]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AwsKmsTable {
    /// The region, such as `eu-central-1`.
    pub region: String,
    /// An endpoint in the place of the region's own: of a VPC, or of FIPS.
    pub endpoint: Option<String>,
    /// The number of the account that the keys are in.
    pub account: String,
    /// Where the credentials are, in the format of the shared credentials file.
    pub credentials: SecretSource,
    /// Which of those; `default` if not set.
    pub profile: Option<String>,
    /// Calls that sign at the same time; 4 if not set.
    pub sessions: Option<usize>,
    /// Days until a destroyed key is deleted; 7 if not set.
    pub deletion_days: Option<u8>,
}

impl AwsKmsTable {
    /// Calls that sign at the same time.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.unwrap_or(SESSIONS_DEFAULT)
    }

    /// Which credentials of the file.
    #[must_use]
    pub fn profile(&self) -> &str {
        self.profile.as_deref().unwrap_or(PROFILE_DEFAULT)
    }

    /// Days until a destroyed key is deleted.
    #[must_use]
    pub fn deletion_days(&self) -> u8 {
        self.deletion_days.unwrap_or(DELETION_DAYS_DEFAULT)
    }

    /// Reads it, and looks whether the credentials can be used. A file is read again whenever it changes; what the service manager gave stays.
    pub(super) fn read(&self, directory: &Path) -> Result<AwsKmsConfig, ConfigError> {
        let place = |source| ConfigError::AwsKmsPlace { source };
        let credentials = match &self.credentials {
            SecretSource::File(path) => AwsCredentialsPlace::File(directory.join(path)),
            given @ (SecretSource::Credential(_) | SecretSource::Given(_)) => {
                let text = given.read_text(directory);
                AwsCredentialsPlace::Given(
                    text.map_err(|source| ConfigError::Secret { field: AWS_CREDENTIALS, source })?,
                )
            }
            SecretSource::Env(_) | SecretSource::Typed => return Err(ConfigError::AwsCredentialsPlace),
        };
        let config = AwsKmsConfig {
            place: AwsKmsPlace::parse(&self.region, self.endpoint.as_deref()).map_err(place)?,
            account: AwsAccount::parse(&self.account).map_err(place)?,
            credentials: credentials.clone(),
            profile: self.profile().to_owned(),
            sessions: self.sessions(),
            deletion_days: self.deletion_days(),
        };
        config.check().map_err(|source| ConfigError::AwsKms { source: Box::new(source) })?;
        let usable = AwsCredentials::new(credentials, self.profile()).check();
        usable.map_err(|source| ConfigError::AwsCredentials { source })?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use hallmark_backends::BackendConfig;

    use super::*;
    use crate::config::BackendTable;

    const CREDENTIALS: &str = "[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = se/cr+et\n";
    const LEAST: &str = "region = 'eu-central-1'\naccount = '123456789012'\ncredentials = { file = 'aws' }\n";

    fn read(directory: &Path, text: &str) -> Result<BackendConfig, String> {
        let table: BackendTable = toml::from_str(&format!("[aws-kms]\n{text}")).unwrap();
        table.read(directory).map_err(|error| error.to_string())
    }

    #[test]
    fn kms_is_read_with_what_is_not_said_and_what_cannot_work_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("aws");
        fs::write(&file, CREDENTIALS).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let Ok(BackendConfig::AwsKms(config)) = read(directory.path(), LEAST) else { panic!() };
        assert_eq!((config.sessions, config.deletion_days, config.profile.as_str()), (4, 7, "default"));
        assert_eq!(config.place.to_string(), "eu-central-1");
        let told = [
            (LEAST.replace("eu-central-1", "Frankfurt"), "`region` is `Frankfurt`"),
            (LEAST.replace("123456789012", "1234"), "`account` is `1234`"),
            (format!("{LEAST}endpoint = 'http://kms.example'"), "`endpoint` is `http://kms.example`; without TLS"),
            (format!("{LEAST}sessions = 65"), "`sessions` is 65"),
            (format!("{LEAST}deletion-days = 3"), "`deletion-days` is 3"),
            (format!("{LEAST}profile = 'prod'"), "there is no `[prod]`"),
            (LEAST.replace("file = 'aws'", "file = 'none'"), "No such file"),
            (LEAST.replace("file = 'aws'", "env = 'PATH'"), "are a file"),
            (LEAST.replace("file = 'aws'", "typed = true"), "are a file"),
            (LEAST.replace("file = 'aws'", "credential = 'aws'"), "`backend.aws-kms.credentials`"),
        ];
        for (text, sentence) in told {
            let error = read(directory.path(), &text).unwrap_err();
            assert!(error.contains(sentence) && !error.contains("cr+et"), "{error}");
        }
    }

    #[test]
    fn credentials_that_were_given_at_the_start_are_read_as_a_file_is() {
        let table: BackendTable = toml::from_str(&format!("[aws-kms]\n{LEAST}")).unwrap();
        let BackendTable::AwsKms(table) = table else { panic!() };
        let given = AwsKmsTable { credentials: SecretSource::Given(CREDENTIALS.into()), ..table };
        let config = given.read(Path::new("/nowhere")).unwrap();
        assert!(matches!(config.credentials, AwsCredentialsPlace::Given(_)));
        assert!(!format!("{config:?} {given:?}").contains("cr+et"));
    }
}
