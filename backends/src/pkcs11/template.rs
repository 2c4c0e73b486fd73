//! What a CA key is: the attributes that it is made with and that are read back.

use cryptoki::{
    mechanism::{
        Mechanism, MechanismType,
        dsa::{HedgeType, SignAdditionalContext},
        eddsa::{EddsaParams, EddsaSignatureScheme},
        rsa::{PkcsMgfType, PkcsPssParams},
    },
    object::{Attribute, AttributeType, KeyType, MlDsaParameterSetType, ObjectClass},
    types::Ulong,
};
use hallmark_policy::key::{Family, KeyKind, PublicKey, SignatureAlgorithm};

use crate::{
    backend::{KeyPurpose, Wrappers},
    encoding,
    error::BackendError,
    reference::{KeyReference, KeyReferenceError},
};

/// OBJECT IDENTIFIER secp256r1, DER.
const SECP256R1: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// OBJECT IDENTIFIER secp384r1, DER.
const SECP384R1: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];
/// OBJECT IDENTIFIER id-Ed25519, DER: one of the two names of the curve (PKCS #11 v3.0, section 2.3.10).
const ED25519_BY_OID: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];
/// PrintableString `edwards25519`, DER: the other one.
const ED25519_BY_NAME: &[u8] = b"\x13\x0cedwards25519";

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
        (ALLOWED_MECHANISMS, Attribute::AllowedMechanisms(words(kind).mechanisms)),
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

/// The public key, which is an object of its own. `way` says of which kind it is, see [`ways`].
pub(crate) fn public_key(way: &[Attribute], id: &[u8], label: &str, purpose: KeyPurpose) -> Vec<Attribute> {
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
    template.extend_from_slice(way);
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
    match kind.family() {
        Family::Ecdsa | Family::Ed25519 => {
            template.extend(ways(kind).into_iter().next().unwrap_or_default());
            template.push(Attribute::EcPoint(encoding::wrapped_point(public.raw())));
        }
        Family::MlDsa => {
            template.extend(ways(kind).into_iter().next().unwrap_or_default());
            template.push(Attribute::Value(public.raw().to_vec()));
        }
        Family::Rsa => {
            let unreadable = BackendError::Library { operation: "read a public key" };
            let (modulus, exponent) = public.rsa_numbers().ok_or(unreadable)?;
            template.extend([Attribute::Modulus(modulus), Attribute::PublicExponent(exponent)]);
        }
    }
    template.extend(named(id, key.label().as_str(), KeyPurpose::Root));
    Ok(template)
}

/// How PKCS #11 speaks of a kind of key.
struct Words {
    key_type: KeyType,
    generation: Mechanism<'static>,
    /// What its private keys sign with, and nothing else.
    mechanisms: Vec<MechanismType>,
    /// See [`ways`].
    ways: Vec<Vec<Attribute>>,
    /// The attribute of a private key that says which public key, or at least which kind of one, it belongs to.
    mark: (&'static str, AttributeType),
}

/// The one place where PKCS #11 learns of a kind; for its signatures, [`signing`].
fn words(kind: KeyKind) -> Words {
    let on_curve = |names: &[&[u8]]| names.iter().map(|name| vec![Attribute::EcParams(name.to_vec())]).collect();
    let ecdsa = |curve: &[u8]| Words {
        key_type: KeyType::EC,
        generation: Mechanism::EccKeyPairGen,
        mechanisms: vec![MechanismType::ECDSA],
        ways: on_curve(&[curve]),
        mark: EC_PARAMS,
    };
    let rsa = |bits: u16| Words {
        key_type: KeyType::RSA,
        generation: Mechanism::RsaPkcsKeyPairGen,
        mechanisms: vec![MechanismType::SHA256_RSA_PKCS, MechanismType::SHA256_RSA_PKCS_PSS],
        ways: vec![vec![
            Attribute::ModulusBits(Ulong::new(bits.into())),
            Attribute::PublicExponent(RSA_EXPONENT.to_vec()),
        ]],
        mark: ("CKA_MODULUS", AttributeType::Modulus),
    };
    // Of PKCS #11 v3.2. CKM_HASH_ML_DSA is another algorithm, whose signatures verify nowhere here.
    let ml_dsa = |set: MlDsaParameterSetType| Words {
        key_type: KeyType::ML_DSA,
        generation: Mechanism::MlDsaKeyPairGen,
        mechanisms: vec![MechanismType::ML_DSA],
        ways: vec![vec![Attribute::ParameterSet(set.into())]],
        mark: ("CKA_PARAMETER_SET", AttributeType::ParameterSet),
    };
    match kind {
        KeyKind::EcdsaP256 => ecdsa(SECP256R1),
        KeyKind::EcdsaP384 => ecdsa(SECP384R1),
        KeyKind::Rsa2048 => rsa(2_048),
        KeyKind::Rsa3072 => rsa(3_072),
        KeyKind::Rsa4096 => rsa(4_096),
        KeyKind::Ed25519 => Words {
            key_type: KeyType::EC_EDWARDS,
            generation: Mechanism::EccEdwardsKeyPairGen,
            mechanisms: vec![MechanismType::EDDSA],
            ways: on_curve(&[ED25519_BY_OID, ED25519_BY_NAME]),
            mark: EC_PARAMS,
        },
        KeyKind::MlDsa44 => ml_dsa(MlDsaParameterSetType::ML_DSA_44),
        KeyKind::MlDsa65 => ml_dsa(MlDsaParameterSetType::ML_DSA_65),
        KeyKind::MlDsa87 => ml_dsa(MlDsaParameterSetType::ML_DSA_87),
    }
}

const EC_PARAMS: (&str, AttributeType) = ("CKA_EC_PARAMS", AttributeType::EcParams);

/// The attributes that say to a device which kind of key is wanted, in each of the ways that devices take, to be tried in this order.
pub(crate) fn ways(kind: KeyKind) -> Vec<Vec<Attribute>> {
    words(kind).ways
}

/// The attribute, and its name, by which a private key says what it is the other half of.
pub(crate) fn mark(kind: KeyKind) -> (&'static str, AttributeType) {
    words(kind).mark
}

/// Whether a private key with this mark can be the other half of that public key. Every signature proves it.
pub(crate) fn fits(mark: &Attribute, public: &PublicKey) -> bool {
    match (public.rsa_numbers(), mark) {
        (Some((modulus, _)), Attribute::Modulus(found)) => encoding::without_zeros(found) == modulus,
        (Some(_), _) => false,
        (None, mark) => ways(public.kind()).iter().any(|way| way.contains(mark)),
    }
}

pub(crate) fn generation(kind: KeyKind) -> Mechanism<'static> {
    words(kind).generation
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
        // Without a parameter: an empty context, as RFC 9881 wants it, and hedged where the device can.
        SignatureAlgorithm::MlDsa44 | SignatureAlgorithm::MlDsa65 | SignatureAlgorithm::MlDsa87 => {
            Mechanism::MlDsa(SignAdditionalContext::new(HedgeType::Preferred, None))
        }
    }
}

/// Whether an attribute of a template is one of these, by their names.
pub(crate) fn is_one_of(attribute: &Attribute, kind: KeyKind, names: &[&str]) -> bool {
    let known = asked_for(kind).into_iter().chain([needed_for(KeyPurpose::Epoch)]);
    let of = |(_, own): &Wanted| own.attribute_type() == attribute.attribute_type();
    known.into_iter().filter(of).any(|(name, _)| names.contains(&name))
}

pub(crate) fn key_type(kind: KeyKind) -> KeyType {
    words(kind).key_type
}

fn named(id: &[u8], label: &str, purpose: KeyPurpose) -> [Attribute; 3] {
    [Attribute::Id(id.to_vec()), Attribute::Label(label.as_bytes().to_vec()), needed_for(purpose).1]
}
