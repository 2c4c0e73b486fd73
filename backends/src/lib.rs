//! Where CA keys live: tokens behind PKCS#11 modules, YubiHSMs, AWS KMS and, for laboratories, encrypted files.
//!
//! A [`Keyring`] makes keys, opens them by reference and expected public key, and signs what the ledger committed. This
//! crate knows messages and keys and nothing of X.509. It must never sign bytes that are not in a `Committed`, release a
//! signature that was not verified, try a wrong PIN twice, or use a key whose public key or attributes are not as
//! expected: the first two hold by type (`Signature` is made in one place, after verifying), the others are tested in
//! `conformance/` over every backend.

mod ability;
mod alarm;
mod aws_kms;
mod backend;
mod backoff;
mod breaker;
mod choosing;
mod class;
mod config;
mod crew;
mod desk;
mod encoding;
mod ending;
mod error;
mod exception;
mod holder;
mod keeper;
mod keyring;
mod making;
mod patience;
mod pkcs11;
mod queue;
mod reference;
mod refused_pins;
mod seat;
mod several;
mod sign_error;
mod signature;
mod software;
mod token;
mod tried;
mod waiver;
mod wrap_key;
mod yubihsm;

#[cfg(test)]
mod conformance;

pub use ability::{Ability, Lack};
pub use aws_kms::{aws_kms_guards, aws_kms_kinds, aws_kms_never_signs};
pub use backend::{Description, Guard, KeyPurpose, KeyRequest, NewKey, Wrappers};
pub use class::{ErrorClass, Failure};
pub use config::{
    AwsKmsConfig, BackendConfig, Choice, CommandLogUse, ModuleConfig, SESSIONS_MAX, SoftwareKeys, TOKENS_MAX,
    TokenConfig, YubiHsmConfig,
};
pub use ending::{Cleared, Everywhere};
pub use error::BackendError;
pub use exception::{Exception, Exceptions, NamedException};
pub use hallmark_aws_kms::{
    Account as AwsAccount, Credentials as AwsCredentials, CredentialsError as AwsCredentialsError,
    CredentialsPlace as AwsCredentialsPlace, Place as AwsKmsPlace, PlaceError as AwsKmsPlaceError,
    RAW_MESSAGE_BYTES_MAX as AWS_KMS_MESSAGE_BYTES_MAX,
};
pub use hallmark_yubihsm::{
    CommandLog, EDDSA_MESSAGE_BYTES_MAX as YUBIHSM_MESSAGE_BYTES_MAX, LogEntry, Place as YubiHsmPlace,
    PlaceError as YubiHsmPlaceError, SESSIONS_OF_A_DEVICE as SESSIONS_OF_A_YUBIHSM,
};
pub use keyring::{Done, Health, Keyring};
pub use pkcs11::survey::{PinState, Survey, WrapAbility};
pub use queue::QUEUE_JOBS_MAX;
pub use reference::{ID_BYTES_MAX, KeyLabel, KeyReference, KeyReferenceError, LABEL_BYTES_MAX};
pub use refused_pins::{PIN_DIGEST_BYTES, PinDigest, RefusedPins};
pub use several::TokenStatus;
pub use sign_error::SignError;
pub use signature::{Moments, Signature, SignatureParts};
pub use software::stand_in;
pub use token::{make_throwaway_token, make_trusted_wrap_key, survey};
pub use tried::Tried;
pub use waiver::{HistoryWaiver, ModuleWaiver, Waiver};
pub use wrap_key::{CheckValue, WRAP_KEY_BYTES, WRAP_MECHANISM, WrapKey, WrapKeyFound, WrapValue};
pub use yubihsm::{
    CommandLogFile, DEVICE_LOG_FINDINGS, DeviceLogAlarm, DeviceLogFindings, SESSIONS_BESIDE, YUBIHSM_SESSIONS_MAX,
    look_for_connector, yubihsm_guards, yubihsm_kinds, yubihsm_needs, yubihsm_never_signs,
};
