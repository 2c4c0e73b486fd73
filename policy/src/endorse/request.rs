//! Certification requests of our own keys, read back.

use num_bigint::BigInt;
use rasn::types::{Any, SetOf};
use rasn_pkix::{Attribute, Extensions};

use super::{TBS_BYTES_MAX, extensions, field, read};
use crate::{
    certification_request::RequestContent,
    content::Extension,
    csr::{CertificationRequestInfo, EXTENSION_REQUEST},
    key::arcs,
    readback::{self, is_encoded},
};

/// The first field in which a CertificationRequestInfo differs from its approved content.
pub(super) fn difference(content: &RequestContent, draft: &[u8]) -> Option<&'static str> {
    let read: CertificationRequestInfo = match read(draft, TBS_BYTES_MAX) {
        Ok(read) => read,
        Err(what) => return Some(what),
    };
    field("version", BigInt::from(read.version.clone()) == BigInt::ZERO)
        .or_else(|| field("subject", is_encoded(&read.subject, readback::name(&content.subject))))
        .or_else(|| field("subjectPKInfo", is_encoded(&read.subject_pk_info, Ok(content.key.spki()))))
        .or_else(|| attributes_differ(&content.extensions, &read.attributes))
}

/// There is one attribute, extensionRequest, with one value.
fn attributes_differ(approved: &[Extension], found: &SetOf<Attribute>) -> Option<&'static str> {
    let attributes = found.to_vec();
    let [attribute] = attributes.as_slice() else { return Some("the number of attributes") };
    if arcs(&attribute.r#type) != EXTENSION_REQUEST {
        return Some("which attributes there are");
    }
    let values: Vec<&Any> = attribute.values.to_vec();
    let [value] = values.as_slice() else { return Some("the number of values of extensionRequest") };
    match read::<Extensions>(value.as_bytes(), TBS_BYTES_MAX) {
        Ok(found) => extensions::difference(approved, Some(&found)),
        Err(what) => Some(what),
    }
}

/// Reads any CertificationRequestInfo; for fuzzing the decoder.
pub fn read_back_request(draft: &[u8]) -> bool {
    read::<CertificationRequestInfo>(draft, TBS_BYTES_MAX).is_ok()
}
