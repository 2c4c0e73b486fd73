//! A JSON Web Token in the compact serialisation of JWS (RFC 7515, section 7.1), read in one strict way.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::json::{Json, Members};
use crate::reason::{Reason, ReasonCode, quote};

/// Longest JWT, in bytes.
pub const EVIDENCE_JWT_BYTES_MAX: usize = 16_384;

/// The field of the request.
pub(super) const FIELD: &str = "evidence_jwt";

/// A JWT as it came: it reads, and nothing about it is believed.
#[derive(Clone, Debug)]
pub(crate) struct Jwt {
    text: String,
    signed_bytes: usize,
    pub(super) algorithm: String,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    pub(super) claims: Members,
    pub(super) signature: Vec<u8>,
}

impl Jwt {
    /// Reads a JWT.
    ///
    /// Its header has `alg`, and may have `kid` and `typ`. All else is refused: `crit` and `b64` change what is signed, and
    /// `jwk`, `jku`, `x5c` and `x5u` bring keys of the sender's choice (RFC 8725, sections 3.1 and 3.10).
    pub(crate) fn parse(text: &str) -> Result<Self, Reason> {
        if text.len() > EVIDENCE_JWT_BYTES_MAX {
            let sentence = format!("`{FIELD}` has {} bytes", text.len());
            let reason = Reason::new(ReasonCode::FieldOutOfLimits, FIELD, sentence);
            return Err(reason.allowing(format!("at most {EVIDENCE_JWT_BYTES_MAX} bytes")));
        }
        let mut pieces = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (pieces.next(), pieces.next(), pieces.next(), pieces.next())
        else {
            let sentence = format!("it has {} parts with dots between", text.split('.').count());
            return Err(malformed(sentence).allowing("header, payload and signature (JWS compact serialisation)"));
        };
        let mut header = members("header", header)?;
        let claims = members("payload", payload)?;
        let signature = decoded("signature", signature)?;
        let algorithm = match header.remove("alg") {
            Some(Json::Text(algorithm)) => algorithm,
            Some(_) | None => return Err(malformed("its header has no `alg` that is text")),
        };
        let (kid, typ) = (text_member(&mut header, "kid")?, text_member(&mut header, "typ")?);
        if let Some(name) = header.keys().next() {
            let sentence = format!("its header has {}, which is not taken", quote(name));
            return Err(malformed(sentence).allowing("`alg`, `kid`, `typ`"));
        }
        let signed_bytes = text.rfind('.').unwrap_or(0);
        Ok(Self { text: text.to_owned(), signed_bytes, algorithm, kid, typ, claims, signature })
    }

    /// As it came.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// What the signature is over.
    pub(super) fn signed(&self) -> &[u8] {
        self.text.as_bytes().get(..self.signed_bytes).unwrap_or_default()
    }
}

fn malformed(sentence: impl std::fmt::Display) -> Reason {
    Reason::new(ReasonCode::EvidenceMalformed, FIELD, format!("the JWT does not read: {sentence}"))
}

/// Without padding, other letters, or bits that are left over (RFC 7515, section 2).
fn decoded(what: &str, text: &str) -> Result<Vec<u8>, Reason> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed(format_args!("its {what} is not base64url without padding")))
}

fn members(what: &str, text: &str) -> Result<Members, Reason> {
    Json::object(&decoded(what, text)?).map_err(|error| malformed(format_args!("its {what}: {error}")))
}

fn text_member(header: &mut Members, name: &str) -> Result<Option<String>, Reason> {
    match header.remove(name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err(malformed(format_args!("`{name}` of its header is no text"))),
    }
}
