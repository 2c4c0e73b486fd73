//! Devices that are no tokens behind a module: what is assumed of them before the log-in, and foretold of their keys.

use hallmark_backends::{
    AwsCredentials, BackendError, Description, PinState, Survey, WrapAbility, aws_kms_guards, aws_kms_kinds,
    aws_kms_never_signs, yubihsm_guards, yubihsm_never_signs,
};
use hallmark_policy::{Warrant, key::KeyKind};

use super::Device;
use crate::{
    error::CeremonyError,
    file::{AwsKmsPlace, StandsFor},
    meaning::DevicePlace,
};

/// What a YubiHSM is called in a description.
pub(super) const YUBIHSM: &str = "yubihsm";
pub(super) const PKCS11: &str = "pkcs11";

/// What AWS KMS is called in a description.
pub(super) const AWS_KMS: &str = "aws-kms";

/// What of its guards is another for each key, or as the file says.
pub(super) const OF_EACH_KEY: [&str; 7] = [
    "yubihsm.object-id",
    "yubihsm.sequence",
    "yubihsm.domains",
    "aws-kms.key-id",
    "aws-kms.account",
    "aws-kms.region",
    "aws-kms.purpose",
];

/// AWS is asked for nothing before the log-in: whether the credentials can be used is all that can be seen.
pub(super) fn look_at_region(region: &AwsKmsPlace, place: &DevicePlace) -> Result<Survey, CeremonyError> {
    let file = place.pin_file.clone().unwrap_or_default();
    let config = region.config(&place.serial, file).map_err(|sentence| CeremonyError::Incapable { sentence })?;
    let usable = AwsCredentials::new(config.credentials, &config.profile).check();
    usable.map_err(|error| BackendError::CredentialsUnusable { detail: error.to_string() })?;
    Ok(untold(AWS_KMS, config.place.to_string(), aws_kms_kinds().collect(), place))
}

/// What is assumed of a device that tells nothing before the log-in.
pub(super) fn untold(kind: &'static str, path: String, kinds: Vec<KeyKind>, place: &DevicePlace) -> Survey {
    Survey {
        description: Description { kind, path, token_serial: place.serial.clone(), ..Description::default() },
        kinds,
        wrapping: WrapAbility::default(),
        pin: PinState { is_set: true, count_low: false, final_try: false, locked: false, to_be_changed: false },
        write_protected: false,
        sessions_open: None,
        sessions_max: None,
        free_private_bytes: None,
        clock: None,
        labels: Vec::new(),
    }
}

/// The guards of its keys, with a value where that is always the same.
pub(super) fn foretold(stands_for: StandsFor, kind: KeyKind) -> Vec<(&'static str, Option<String>)> {
    match stands_for {
        StandsFor::YubiHsm => yubihsm_guards(kind),
        StandsFor::AwsKms => aws_kms_guards(kind),
    }
}

impl Device {
    /// What it never signs, where this is such a thing: then it is not to be committed. A rehearsal's device says what the one would say that it stands for.
    pub(crate) fn never_signs(&self, warrant: &Warrant) -> Option<String> {
        let (algorithm, length) = (warrant.content().algorithm(), warrant.to_be_signed().len());
        match self.foretells {
            Some(StandsFor::YubiHsm) => yubihsm_never_signs(algorithm, length),
            Some(StandsFor::AwsKms) => aws_kms_never_signs(algorithm, length),
            None => self.keyring.never_signs(algorithm, length),
        }
    }
}
