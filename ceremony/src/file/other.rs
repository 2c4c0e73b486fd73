//! `[device]` where it is no token: what that is, and `[device.aws-kms]`.

use std::path::PathBuf;

use hallmark_backends::{AwsAccount, AwsCredentialsPlace, AwsKmsConfig, AwsKmsPlace as Region};
use serde::Deserialize;

use super::DevicePlace;

/// Which credentials are meant, and how long a destroyed key waits for its deletion, if the file does not say.
const PROFILE_DEFAULT: &str = "default";
const DELETION_DAYS_DEFAULT: u8 = 7;

/// What a rehearsal's token stands for, where that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandsFor {
    /// A YubiHSM.
    YubiHsm,
    /// AWS KMS.
    AwsKms,
}

/// `[device.aws-kms]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AwsKmsPlace {
    /// The region, such as `eu-central-1`.
    pub region: String,
    /// An endpoint in the place of the region's own.
    pub endpoint: Option<String>,
    /// Which credentials of the file; `default` if not set.
    pub profile: Option<String>,
    /// Days until a destroyed key is deleted; 7 if not set.
    pub deletion_days: Option<u8>,
}

impl AwsKmsPlace {
    /// How it is opened, in this account and with the credentials of this file.
    pub(crate) fn config(&self, account: &str, credentials: PathBuf) -> Result<AwsKmsConfig, String> {
        let place = Region::parse(&self.region, self.endpoint.as_deref()).map_err(|error| error.to_string())?;
        let config = AwsKmsConfig {
            place,
            account: AwsAccount::parse(account).map_err(|error| error.to_string())?,
            credentials: AwsCredentialsPlace::File(credentials),
            profile: self.profile.clone().unwrap_or_else(|| PROFILE_DEFAULT.to_owned()),
            sessions: 1,
            deletion_days: self.deletion_days.unwrap_or(DELETION_DAYS_DEFAULT),
        };
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }
}

impl DevicePlace {
    /// What it stands for in a rehearsal.
    pub(crate) fn stands_for(&self) -> Option<StandsFor> {
        let yubihsm = self.yubihsm.as_ref().map(|_| StandsFor::YubiHsm);
        yubihsm.or_else(|| self.aws_kms.as_ref().map(|_| StandsFor::AwsKms))
    }

    /// What kind of device it is, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match self.stands_for() {
            None => "token",
            Some(StandsFor::YubiHsm) => "YubiHSM",
            Some(StandsFor::AwsKms) => "account",
        }
    }
}
