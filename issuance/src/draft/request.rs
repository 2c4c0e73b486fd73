//! The CertificationRequestInfo of approved content (RFC 2986, section 4.1).

use der::{Encode, asn1::SetOfVec};
use hallmark_policy::certification_request::RequestContent;
use spki::SubjectPublicKeyInfoOwned;
use x509_cert::{
    attr::Attribute,
    request::{CertReqInfo, ExtensionReq, Version},
};

use super::{DraftError, extensions::extensions, name};

/// Writes the CertificationRequestInfo of what was approved.
pub(super) fn request(content: &RequestContent) -> Result<Vec<u8>, DraftError> {
    let asked = Attribute::try_from(ExtensionReq(extensions(&content.extensions)?))?;
    let info = CertReqInfo {
        version: Version::V1,
        subject: name(&content.subject)?,
        public_key: SubjectPublicKeyInfoOwned::try_from(content.key.spki())?,
        attributes: SetOfVec::try_from(vec![asked])?,
    };
    Ok(info.to_der()?)
}
