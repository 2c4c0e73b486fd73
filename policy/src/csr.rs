//! PKCS#10 certification requests (RFC 2986), read in one strict way.

use num_bigint::BigInt;
use rasn::Decoder as _;
use rasn::prelude::*;
use rasn_pkix::{AlgorithmIdentifier, Attribute, Extensions, Name, SubjectPublicKeyInfo};

use crate::{
    key::{Family, KeyKind, PublicKey, SignatureAlgorithm, arcs},
    name::NAMES_MAX,
    reason::{Reason, ReasonCode},
    request::NameInput,
    signed::to_be_signed,
};

/// Largest CSR that is read, in bytes, PEM included.
pub const CSR_BYTES_MAX: usize = 65_536;

/// Label of a PEM block that carries a CSR (RFC 7468, section 7).
const PEM_LABEL: &str = "CERTIFICATE REQUEST";

pub(crate) const EXTENSION_REQUEST: &[u32] = &[1, 2, 840, 113549, 1, 9, 14];
const SUBJECT_ALT_NAME: &[u32] = &[2, 5, 29, 17];
const COMMON_NAME: &[u32] = &[2, 5, 4, 3];

#[derive(AsnType, Clone, Debug, Decode, Encode, PartialEq, Eq)]
struct CertificationRequest {
    certification_request_info: CertificationRequestInfo,
    signature_algorithm: AlgorithmIdentifier,
    signature: BitString,
}

#[derive(AsnType, Clone, Debug, Decode, Encode, PartialEq, Eq)]
pub(crate) struct CertificationRequestInfo {
    pub(crate) version: Integer,
    pub(crate) subject: Name,
    pub(crate) subject_pk_info: SubjectPublicKeyInfo,
    #[rasn(tag(0))]
    pub(crate) attributes: SetOf<Attribute>,
}

/// What a CSR asks for, and what it takes to check its signature. Nothing here is approved.
#[derive(Clone, Debug)]
pub(crate) struct Csr {
    pub(crate) key: PublicKey,
    pub(crate) common_name: Option<String>,
    pub(crate) names: Vec<NameInput>,
    /// Object identifiers of extension requests other than subjectAltName, dotted.
    pub(crate) extensions: Vec<String>,
    /// Object identifiers of attributes other than extensionRequest, dotted.
    pub(crate) attributes: Vec<String>,
    to_be_signed: Vec<u8>,
    signature_algorithm: AlgorithmIdentifier,
    signature: Vec<u8>,
}

impl Csr {
    /// Reads DER, or one PEM block and nothing else, and gives every reason that keeps it from being well-formed.
    pub(crate) fn parse(input: &[u8]) -> Result<Self, Vec<Reason>> {
        let der = der_of(input).map_err(|reason| vec![reason])?;
        let not_der = |what: &str| vec![Reason::new(ReasonCode::CsrMalformed, "csr", what)];
        let request: CertificationRequest = rasn::der::decode(&der)
            .map_err(|_| not_der("the CSR is not the DER of a PKCS#10 CertificationRequest (RFC 2986)"))?;
        let again = rasn::der::encode(&request).map_err(|_| not_der("the CSR cannot be encoded again"))?;
        if again != der {
            return Err(vec![Reason::new(
                ReasonCode::CsrNotCanonical,
                "csr",
                "the CSR is not in its canonical DER, or bytes follow it",
            )]);
        }
        Self::of(request, &der)
    }

    /// Reads what a signer asks for its own key: its subject and extensions are for the caller to compare.
    pub(crate) fn parse_of_a_signer(input: &[u8]) -> Result<Self, Vec<Reason>> {
        let der = der_of(input).map_err(|reason| vec![reason])?;
        let not_der =
            || vec![Reason::new(ReasonCode::CsrMalformed, "csr", "it is no certification request in DER (RFC 2986)")];
        let request: CertificationRequest = rasn::der::decode(&der).map_err(|_| not_der())?;
        if rasn::der::encode(&request).ok().as_deref() != Some(der.as_slice())
            || !request.signature.len().is_multiple_of(8)
        {
            return Err(not_der());
        }
        let info = &request.certification_request_info;
        Ok(Self {
            key: public_key(&info.subject_pk_info).map_err(|reason| vec![reason])?,
            common_name: None,
            names: Vec::new(),
            extensions: Vec::new(),
            attributes: Vec::new(),
            to_be_signed: to_be_signed(&der).ok_or_else(not_der)?.to_vec(),
            signature_algorithm: request.signature_algorithm,
            signature: request.signature.into_vec(),
        })
    }

    fn of(request: CertificationRequest, der: &[u8]) -> Result<Self, Vec<Reason>> {
        let mut reasons = Vec::new();
        let info = &request.certification_request_info;
        if BigInt::from(info.version.clone()) != BigInt::ZERO {
            reasons.push(Reason::new(ReasonCode::CsrMalformed, "csr.version", "the version of a CSR is 0 (v1)"));
        }
        if !request.signature.len().is_multiple_of(8) {
            reasons.push(Reason::new(ReasonCode::CsrMalformed, "csr.signature", "the signature has unused bits"));
        }
        let key = public_key(&info.subject_pk_info).map_err(|reason| reasons.push(reason)).ok();
        let common_name = common_name(&info.subject, &mut reasons);
        let asked = attributes(&info.attributes, &mut reasons);
        let to_be_signed = to_be_signed(der);
        if to_be_signed.is_none() {
            reasons.push(Reason::new(ReasonCode::CsrMalformed, "csr", "it does not begin with what was signed"));
        }
        match (key, to_be_signed) {
            (Some(key), Some(to_be_signed)) if reasons.is_empty() => Ok(Self {
                key,
                common_name,
                names: asked.names,
                extensions: asked.extensions,
                attributes: asked.attributes,
                to_be_signed: to_be_signed.to_vec(),
                signature_algorithm: request.signature_algorithm,
                signature: request.signature.into_vec(),
            }),
            _ => Err(reasons),
        }
    }

    /// The DER of its CertificationRequestInfo.
    pub(crate) fn to_be_signed(&self) -> &[u8] {
        &self.to_be_signed
    }

    /// Checks the proof of possession: the CSR's signature under the CSR's own key.
    pub(crate) fn check_signature(&self) -> Result<(), Reason> {
        let wrong = |sentence: &str| Err(Reason::new(ReasonCode::CsrSignatureWrong, "csr.signature", sentence));
        let Some(verifier) = verifier(self.key.kind(), &self.signature_algorithm) else {
            return wrong("the CSR is signed with an algorithm that is not taken for its key")
                .map_err(|reason| reason.allowing("ECDSA or RSA with SHA-256, SHA-384 or SHA-512; Ed25519; ML-DSA"));
        };
        let usual = SignatureAlgorithm::default_for(self.key.kind());
        let is_usual = rasn::der::encode(&self.signature_algorithm).is_ok_and(|der| der == usual.identifier());
        // The same, for which the key is prepared.
        let verifies = if is_usual {
            self.key.verifies(usual, &self.to_be_signed, &self.signature)
        } else {
            verifier.verify_sig(self.key.raw(), &self.to_be_signed, &self.signature).is_ok()
        };
        if verifies { Ok(()) } else { wrong("the CSR's signature does not verify under the key in it") }
    }
}

fn der_of(input: &[u8]) -> Result<Vec<u8>, Reason> {
    let malformed = |sentence: &str| Reason::new(ReasonCode::CsrMalformed, "csr", sentence);
    if input.len() > CSR_BYTES_MAX {
        let sentence = format!("the CSR has {} bytes", input.len());
        let limit = format!("at most {CSR_BYTES_MAX} bytes");
        return Err(Reason::new(ReasonCode::FieldOutOfLimits, "csr", sentence).allowing(limit));
    }
    if !input.starts_with(b"-----BEGIN") {
        return Ok(input.to_vec());
    }
    let (label, der) = pem_rfc7468::decode_vec(input)
        .map_err(|_| malformed("the CSR looks like PEM but is not one strict PEM block (RFC 7468)"))?;
    if label != PEM_LABEL {
        return Err(malformed("the PEM block is labelled otherwise than CERTIFICATE REQUEST"));
    }
    Ok(der)
}

fn public_key(info: &SubjectPublicKeyInfo) -> Result<PublicKey, Reason> {
    let malformed = |sentence: String| Reason::new(ReasonCode::KeyMalformed, "csr.subjectPKInfo", sentence);
    PublicKey::of(info).map_err(|error| malformed(error.to_string()))
}

/// The one common name of a subject that has nothing else.
fn common_name(subject: &Name, reasons: &mut Vec<Reason>) -> Option<String> {
    let Name::RdnSequence(rdns) = subject;
    let mut found = None;
    for attribute in rdns.iter().flat_map(|rdn| rdn.iter()) {
        if arcs(&attribute.r#type) != COMMON_NAME {
            let sentence = format!("the subject has an attribute {}", attribute.r#type);
            let reason = Reason::new(ReasonCode::SubjectNotAllowed, "csr.subject", sentence);
            reasons.push(reason.allowing("one commonName and nothing else"));
        } else if found.is_some() {
            reasons.push(Reason::new(ReasonCode::Duplicate, "csr.subject", "the subject has two common names"));
        } else {
            match directory_string(attribute.value.as_bytes()) {
                Some(text) => found = Some(text),
                None => reasons.push(Reason::new(
                    ReasonCode::NameMalformed,
                    "csr.subject",
                    "the common name is neither a UTF8String nor a PrintableString",
                )),
            }
        }
    }
    found
}

fn directory_string(der: &[u8]) -> Option<String> {
    if let Ok(text) = rasn::der::decode::<Utf8String>(der) {
        return Some(text);
    }
    let printable = rasn::der::decode::<PrintableString>(der).ok()?;
    String::from_utf8(printable.as_bytes().to_vec()).ok()
}

#[derive(Default)]
struct Asked {
    names: Vec<NameInput>,
    extensions: Vec<String>,
    attributes: Vec<String>,
}

fn attributes(attributes: &SetOf<Attribute>, reasons: &mut Vec<Reason>) -> Asked {
    let mut asked = Asked::default();
    let mut requests = 0;
    for attribute in attributes.iter() {
        if arcs(&attribute.r#type) != EXTENSION_REQUEST {
            asked.attributes.push(attribute.r#type.to_string());
            continue;
        }
        requests += 1;
        let values = attribute.values.to_vec();
        match values.as_slice() {
            [value] if requests == 1 => extension_request(value.as_bytes(), &mut asked, reasons),
            _ => reasons.push(Reason::new(
                ReasonCode::Duplicate,
                "csr.attributes",
                "the CSR does not have exactly one extensionRequest with one value (RFC 2985, section 5.4.2)",
            )),
        }
    }
    asked
}

fn extension_request(der: &[u8], asked: &mut Asked, reasons: &mut Vec<Reason>) {
    let Ok(extensions) = rasn::der::decode::<Extensions>(der) else {
        reasons.push(Reason::new(ReasonCode::CsrMalformed, "csr.attributes", "the extensionRequest does not decode"));
        return;
    };
    if rasn::der::encode(&extensions).ok().as_deref() != Some(der) {
        reasons.push(Reason::new(
            ReasonCode::CsrNotCanonical,
            "csr.attributes",
            "the extensionRequest is not in its canonical DER",
        ));
    }
    let mut seen = Vec::new();
    for extension in extensions.iter() {
        if seen.contains(&&extension.extn_id) {
            let sentence = format!("the extension {} is asked for twice", extension.extn_id);
            reasons.push(Reason::new(ReasonCode::Duplicate, "csr.extensions", sentence));
            continue;
        }
        seen.push(&extension.extn_id);
        if arcs(&extension.extn_id) == SUBJECT_ALT_NAME {
            asked.names = alternative_names(&extension.extn_value, reasons);
        } else {
            asked.extensions.push(extension.extn_id.to_string());
        }
    }
}

fn alternative_names(der: &[u8], reasons: &mut Vec<Reason>) -> Vec<NameInput> {
    const FIELD: &str = "csr.subjectAltName";
    let Ok(names) = rasn::der::decode::<rasn_pkix::GeneralNames>(der) else {
        reasons.push(Reason::new(ReasonCode::CsrMalformed, FIELD, "the subjectAltName does not decode"));
        return Vec::new();
    };
    if rasn::der::encode(&names).ok().as_deref() != Some(der) {
        reasons.push(Reason::new(ReasonCode::CsrNotCanonical, FIELD, "the subjectAltName is not in its canonical DER"));
    }
    if names.is_empty() || names.len() > NAMES_MAX {
        let sentence = format!("the subjectAltName has {} names", names.len());
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, FIELD, sentence);
        reasons.push(reason.allowing(format!("1 to {NAMES_MAX}")));
        return Vec::new();
    }
    names.iter().map(general_name).collect()
}

/// A name as it stands there. What it may be is judged where the profile is known.
fn general_name(name: &rasn_pkix::GeneralName) -> NameInput {
    match name {
        rasn_pkix::GeneralName::DnsName(text) => NameInput::Dns(lossy(text.as_iso646_bytes())),
        rasn_pkix::GeneralName::Uri(text) => NameInput::Uri(lossy(text.as_iso646_bytes())),
        rasn_pkix::GeneralName::IpAddress(octets) => NameInput::Ip(octets.to_vec()),
        rasn_pkix::GeneralName::Rfc822Name(text) => NameInput::Email(lossy(text.as_iso646_bytes())),
        rasn_pkix::GeneralName::OtherName(_) => NameInput::Other("otherName"),
        rasn_pkix::GeneralName::X400Address(_) => NameInput::Other("x400Address"),
        rasn_pkix::GeneralName::DirectoryName(_) => NameInput::Other("directoryName"),
        rasn_pkix::GeneralName::EdiPartyName(_) => NameInput::Other("ediPartyName"),
        rasn_pkix::GeneralName::RegisteredId(_) => NameInput::Other("registeredID"),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The verifier for a CSR's signature algorithm, if it suits the key and its parameters are the canonical ones.
fn verifier(
    kind: KeyKind,
    algorithm: &AlgorithmIdentifier,
) -> Option<&'static dyn aws_lc_rs::signature::VerificationAlgorithm> {
    use aws_lc_rs::signature as lc;
    const NULL: Option<&[u8]> = Some(&[5, 0]);
    let parameters = algorithm.parameters.as_ref().map(|any| any.as_bytes());
    let rsa = match kind.family() {
        Family::Ecdsa => false,
        Family::Rsa => true,
        // These have one algorithm, and what is signed is the message and no digest of it.
        Family::Ed25519 | Family::MlDsa => {
            let only = SignatureAlgorithm::default_for(kind);
            let named = rasn::der::encode(algorithm).is_ok_and(|der| der == only.identifier());
            return named.then(|| only.verifier());
        }
    };
    match (arcs(&algorithm.algorithm), kind, parameters) {
        (&[1, 2, 840, 10045, 4, 3, 2], KeyKind::EcdsaP256, None) => Some(&lc::ECDSA_P256_SHA256_ASN1),
        (&[1, 2, 840, 10045, 4, 3, 3], KeyKind::EcdsaP256, None) => Some(&lc::ECDSA_P256_SHA384_ASN1),
        (&[1, 2, 840, 10045, 4, 3, 4], KeyKind::EcdsaP256, None) => Some(&lc::ECDSA_P256_SHA512_ASN1),
        (&[1, 2, 840, 10045, 4, 3, 2], KeyKind::EcdsaP384, None) => Some(&lc::ECDSA_P384_SHA256_ASN1),
        (&[1, 2, 840, 10045, 4, 3, 3], KeyKind::EcdsaP384, None) => Some(&lc::ECDSA_P384_SHA384_ASN1),
        (&[1, 2, 840, 10045, 4, 3, 4], KeyKind::EcdsaP384, None) => Some(&lc::ECDSA_P384_SHA512_ASN1),
        (&[1, 2, 840, 113549, 1, 1, 11], _, NULL) if rsa => Some(&lc::RSA_PKCS1_2048_8192_SHA256),
        (&[1, 2, 840, 113549, 1, 1, 12], _, NULL) if rsa => Some(&lc::RSA_PKCS1_2048_8192_SHA384),
        (&[1, 2, 840, 113549, 1, 1, 13], _, NULL) if rsa => Some(&lc::RSA_PKCS1_2048_8192_SHA512),
        _ => None,
    }
}
