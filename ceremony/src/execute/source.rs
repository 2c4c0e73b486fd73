//! The wrap key of a backup, in the token or brought by its custodians for the one call; and that of a restoration, which is always brought.

use std::path::Path;

use hallmark_backends::{BackendError, WrapKey, WrapKeyFound, WrapValue};

use crate::{
    device::{self, Device},
    error::CeremonyError,
    meaning::WrapSource,
    people::People,
    quorum::{QuorumRecord, Shared},
};

/// Finds what wraps, or has it brought; with what tells it from others, which is empty where the token does not say.
pub(super) fn wrap_key(
    device: &Device,
    source: &WrapSource,
    people: &mut dyn People,
) -> Result<(WrapKey, String), CeremonyError> {
    match source {
        WrapSource::Token(label) => {
            let missing = || BackendError::WrapKeyNotFound { label: label.to_string() };
            let found = device.keyring.wrap_key(label)?.ok_or_else(missing)?;
            Ok((WrapKey::InToken(label.clone()), told(&found)))
        }
        WrapSource::Quorum(record) => {
            let (value, check_value) = unwrapping(record, people)?;
            Ok((WrapKey::Brought(value), check_value))
        }
    }
}

/// Has the wrap key of this record brought; with what tells it from others.
pub(super) fn unwrapping(record: &Path, people: &mut dyn People) -> Result<(WrapValue, String), CeremonyError> {
    let value = brought(&QuorumRecord::read_of(record, Shared::WrapKey)?, people)?;
    let check_value = value.check_value()?.to_string();
    Ok((value, check_value))
}

/// The value that custodians have together.
pub(super) fn brought(record: &QuorumRecord, people: &mut dyn People) -> Result<WrapValue, CeremonyError> {
    let value = device::secret_of_quorum(record, people)?.wrap_value();
    is_that_of(record, &value.check_value()?.to_string())?;
    Ok(value)
}

/// Whether a wrap key is the one of a record, as far as that can be told from outside.
pub(super) fn is_that_of(record: &QuorumRecord, found: &str) -> Result<(), CeremonyError> {
    if found == record.check_value || found.is_empty() {
        return Ok(());
    }
    Err(CeremonyError::OtherWrapKey { found: found.to_owned(), wanted: record.check_value.clone() })
}

/// The check value of a wrap key in the token; empty where that does not say.
pub(super) fn told(found: &WrapKeyFound) -> String {
    found.check_value.map(|value| value.to_string()).unwrap_or_default()
}
