//! What a CA key is: the attributes that it is made with and that are read back.

use cryptoki::{
    mechanism::{
        Mechanism, MechanismType,
        eddsa::{EddsaParams, EddsaSignatureScheme},
        rsa::{PkcsMgfType, PkcsPssParams},
    },
    object::{Attribute, KeyType, ObjectClass},
    types::Ulong,
};
use hallmark_policy::key::{KeyKind, PublicKey, SignatureAlgorithm};

use crate::{
    backend::{KeyPurpose, Wrappers},
    encoding::{self, Parts},
    error::BackendError,
    reference::{KeyReference, KeyReferenceError},
};

/// OBJECT IDENTIFIER secp256r1, DER.
pub(crate) const SECP256R1: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// OBJECT IDENTIFIER secp384r1, DER.
pub(crate) const SECP384R1: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];
/// OBJECT IDENTIFIER id-Ed25519, DER: one of the two names of the curve (PKCS #11 v3.0, section 2.3.10).
pub(crate) const ED25519_BY_OID: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];
/// PrintableString `edwards25519`, DER: the other one.
pub(crate) const ED25519_BY_NAME: &[u8] = b"\x13\x0cedwards25519";

/// F4, big-endian.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// Salt of RSASSA-PSS, in bytes: as long as SHA-256 (RFC 4055, section 3.1).
const PSS_SALT_BYTES: u8 = 32;

/// An attribute's name in the specification, and the value that it must have.
pub(crate) type Wanted = (&'static str, Attribute);

/// What guards a private key and can be asked for: it signs with the named mechanisms, does nothing else, never leaves
/// the device and cannot be changed.
pub(crate) fn asked_for(kind: KeyKind) -> Vec<Wanted> {
    vec![
        ("CKA_TOKEN", Attribute::Token(true)),
        ("CKA_PRIVATE", Attribute::Private(true)),
        ("CKA_SENSITIVE", Attribute::Sensitive(true)),
        (EXTRACTABLE, Attribute::Extractable(false)),
        ("CKA_SIGN", Attribute::Sign(true)),
        ("CKA_SIGN_RECOVER", Attribute::SignRecover(false)),
        ("CKA_DECRYPT", Attribute::Decrypt(false)),
        ("CKA_UNWRAP", Attribute::Unwrap(false)),
        ("CKA_DERIVE", Attribute::Derive(false)),
        ("CKA_MODIFIABLE", Attribute::Modifiable(false)),
        ("CKA_COPYABLE", Attribute::Copyable(false)),
        (ALLOWED_MECHANISMS, Attribute::AllowedMechanisms(mechanisms(kind))),
    ]
}

/// What the device says of a key's history, and its type.
pub(crate) fn told_by_the_device(kind: KeyKind) -> Vec<Wanted> {
    vec![
        ("CKA_KEY_TYPE", Attribute::KeyType(key_type(kind))),
        ("CKA_LOCAL", Attribute::Local(true)),
        ("CKA_ALWAYS_SENSITIVE", Attribute::AlwaysSensitive(true)),
        ("CKA_NEVER_EXTRACTABLE", Attribute::NeverExtractable(true)),
    ]
}

/// Whether the key can be destroyed, as its life needs.
pub(crate) fn needed_for(purpose: KeyPurpose) -> Wanted {
    (DESTROYABLE, Attribute::Destroyable(purpose == KeyPurpose::Epoch))
}

/// What lets a key be wrapped, and by which keys; nothing for all others.
pub(crate) fn lets_wrap(purpose: KeyPurpose) -> Vec<Wanted> {
    match purpose {
        KeyPurpose::Root | KeyPurpose::Epoch => Vec::new(),
        KeyPurpose::Wrappable(by) => vec![
            (EXTRACTABLE, Attribute::Extractable(true)),
            (WRAP_WITH_TRUSTED, Attribute::WrapWithTrusted(by == Wrappers::Trusted)),
        ],
    }
}

/// The attribute that a key has which can leave its token in wrapped form.
pub(crate) const EXTRACTABLE: &str = "CKA_EXTRACTABLE";

/// The attribute of a key that only a trusted key may wrap.
pub(crate) const WRAP_WITH_TRUSTED: &str = "CKA_WRAP_WITH_TRUSTED";

/// The attribute that tells a root's key from an epoch's.
pub(crate) const DESTROYABLE: &str = "CKA_DESTROYABLE";

/// The one attribute that is compared as a set.
pub(crate) const ALLOWED_MECHANISMS: &str = "CKA_ALLOWED_MECHANISMS";

pub(crate) fn private_key(kind: KeyKind, id: &[u8], label: &str, purpose: KeyPurpose) -> Vec<Attribute> {
    let lets_wrap = lets_wrap(purpose);
    let is_its_own = |(name, _): &Wanted| lets_wrap.iter().any(|(own, _)| own == name);
    let mut template: Vec<_> =
        asked_for(kind).into_iter().filter(|wanted| !is_its_own(wanted)).map(|(_, attribute)| attribute).collect();
    template.extend(lets_wrap.into_iter().map(|(_, attribute)| attribute));
    template.extend(named(id, label, purpose));
    template
}

/// The public key, which is an object of its own. `curve` is CKA_EC_PARAMS and unused for RSA.
pub(crate) fn public_key(kind: KeyKind, curve: &[u8], id: &[u8], label: &str, purpose: KeyPurpose) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::VerifyRecover(false),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
        Attribute::Derive(false),
        Attribute::Modifiable(false),
    ];
    match kind {
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::Ed25519 => {
            template.push(Attribute::EcParams(curve.to_vec()));
        }
        KeyKind::Rsa2048 => template.extend(rsa(2048)),
        KeyKind::Rsa3072 => template.extend(rsa(3072)),
        KeyKind::Rsa4096 => template.extend(rsa(4096)),
    }
    template.extend(named(id, label, purpose));
    template
}

/// A public key that is known already, as an object.
pub(crate) fn stored_public_key(key: &KeyReference, public: &PublicKey) -> Result<Vec<Attribute>, BackendError> {
    let id = key.pkcs11_id().ok_or(KeyReferenceError::OtherBackend)?;
    let kind = public.kind();
    let mut template = vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(key_type(kind)),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::VerifyRecover(false),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
        Attribute::Derive(false),
        Attribute::Modifiable(false),
    ];
    match encoding::parts(public).ok_or(BackendError::Library { operation: "read a public key" })? {
        Parts::Point(point) => {
            let curve = curves(kind).first().copied().unwrap_or_default();
            template.extend([Attribute::EcParams(curve.to_vec()), Attribute::EcPoint(point)]);
        }
        Parts::Rsa { modulus, exponent } => {
            template.extend([Attribute::Modulus(modulus), Attribute::PublicExponent(exponent)]);
        }
    }
    template.extend(named(id, key.label().as_str(), KeyPurpose::Root));
    Ok(template)
}

/// The ways to name the curve in CKA_EC_PARAMS, to be tried in this order. RSA has one empty way.
pub(crate) fn curves(kind: KeyKind) -> &'static [&'static [u8]] {
    match kind {
        KeyKind::EcdsaP256 => &[SECP256R1],
        KeyKind::EcdsaP384 => &[SECP384R1],
        KeyKind::Ed25519 => &[ED25519_BY_OID, ED25519_BY_NAME],
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => &[&[]],
    }
}

pub(crate) fn generation(kind: KeyKind) -> Mechanism<'static> {
    match kind {
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 => Mechanism::EccKeyPairGen,
        KeyKind::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => Mechanism::RsaPkcsKeyPairGen,
    }
}

/// How the device signs. For ECDSA it gets a digest, for the others the message.
pub(crate) fn signing(algorithm: SignatureAlgorithm) -> Mechanism<'static> {
    match algorithm {
        SignatureAlgorithm::EcdsaSha256 | SignatureAlgorithm::EcdsaSha384 => Mechanism::Ecdsa,
        SignatureAlgorithm::RsaPkcs1Sha256 => Mechanism::Sha256RsaPkcs,
        SignatureAlgorithm::RsaPssSha256 => Mechanism::Sha256RsaPkcsPss(PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: Ulong::new(PSS_SALT_BYTES.into()),
        }),
        SignatureAlgorithm::Ed25519 => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519)),
    }
}

fn mechanisms(kind: KeyKind) -> Vec<MechanismType> {
    match kind {
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 => vec![MechanismType::ECDSA],
        KeyKind::Ed25519 => vec![MechanismType::EDDSA],
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
            vec![MechanismType::SHA256_RSA_PKCS, MechanismType::SHA256_RSA_PKCS_PSS]
        }
    }
}

pub(crate) fn key_type(kind: KeyKind) -> KeyType {
    match kind {
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 => KeyType::EC,
        KeyKind::Ed25519 => KeyType::EC_EDWARDS,
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => KeyType::RSA,
    }
}

fn rsa(bits: u16) -> [Attribute; 2] {
    [Attribute::ModulusBits(Ulong::new(bits.into())), Attribute::PublicExponent(RSA_EXPONENT.to_vec())]
}

fn named(id: &[u8], label: &str, purpose: KeyPurpose) -> [Attribute; 3] {
    [Attribute::Id(id.to_vec()), Attribute::Label(label.as_bytes().to_vec()), needed_for(purpose).1]
}
