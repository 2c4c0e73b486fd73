//! Keys as JOSE writes them: JSON Web Keys (RFC 7517) that a policy trusts, and thumbprints (RFC 7638) of keys of requests.

use aws_lc_rs::signature as lc;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::json::{Json, Members};
use crate::key::{Family, KeyKind, PublicKey, rsa_numbers, rsa_public_key, sha256};

/// Members of a JWK that make it a private or a shared key (RFC 7518, section 6).
const SECRET: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Members that are read.
const KNOWN: [&str; 10] = ["kty", "crv", "x", "y", "n", "e", "kid", "use", "alg", "key_ops"];

const SPKI_P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04";
const SPKI_P384: &[u8] =
    b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00\x04";
const SPKI_ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// The algorithms that evidence may be signed with: `none` and those with a shared secret are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwsAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl JwsAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::EdDsa, Self::Ps256, Self::Rs256];

    /// The value of `alg` (RFC 7518, section 3.1; RFC 8037, section 3.1).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Whether a key of this kind signs with it.
    #[must_use]
    pub fn fits(self, kind: KeyKind) -> bool {
        match self {
            Self::Es256 => kind == KeyKind::EcdsaP256,
            Self::Es384 => kind == KeyKind::EcdsaP384,
            Self::EdDsa => kind.family() == Family::Ed25519,
            Self::Ps256 | Self::Rs256 => kind.family() == Family::Rsa,
        }
    }

    /// Whether `signature` is one over `message` by `key`, in the form of JWS: of ECDSA two numbers side by side.
    pub(super) fn verifies(self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let verifier: &dyn lc::VerificationAlgorithm = match self {
            Self::Es256 => &lc::ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &lc::ECDSA_P384_SHA384_FIXED,
            Self::EdDsa => &lc::ED25519,
            Self::Ps256 => &lc::RSA_PSS_2048_8192_SHA256,
            Self::Rs256 => &lc::RSA_PKCS1_2048_8192_SHA256,
        };
        self.fits(key.kind()) && verifier.verify_sig(key.raw(), message, signature).is_ok()
    }
}

impl std::fmt::Display for JwsAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A key that evidence may be signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceKey {
    /// Its name in headers; a JWT without `kid` is signed with the one key that has none.
    pub kid: Option<String>,
    /// The key.
    pub key: PublicKey,
    /// The one algorithm that it is for, where that is said.
    pub algorithm: Option<JwsAlgorithm>,
}

impl EvidenceKey {
    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.kid {
            Some(kid) => crate::reason::quote(kid),
            None => "without a `kid`".to_owned(),
        }
    }
}

/// The keys of a JWK set (RFC 7517, section 5), or what is wrong with it.
pub(crate) fn read_set(text: &str) -> Result<Vec<EvidenceKey>, String> {
    let mut set = Json::object(text.as_bytes())?;
    let Some(Json::List(keys)) = set.remove("keys") else { return Err("it has no list `keys`".to_owned()) };
    if let Some(name) = set.keys().next() {
        return Err(format!("`{name}` beside `keys` is not read; leave it out"));
    }
    let read = |(at, key)| {
        let Json::Object(members) = key else { return Err(format!("key {at} is no object")) };
        read_key(&members).map_err(|error| format!("key {at}: {error}"))
    };
    (1_usize..).zip(keys).map(read).collect()
}

fn read_key(members: &Members) -> Result<EvidenceKey, String> {
    if let Some(secret) = SECRET.iter().find(|name| members.contains_key(**name)) {
        return Err(format!(
            "`{secret}` belongs to a key that is kept secret; it is known to others from now on: replace it, and write its public half"
        ));
    }
    if let Some(name) = members.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(format!("`{}` is not read; leave it out", name.escape_debug()));
    }
    let text = |name: &str| members.get(name).map(|value| value.text().ok_or_else(|| format!("`{name}` is no text")));
    let text = |name: &str| text(name).transpose();
    if text("use")?.is_some_and(|word| word != "sig") {
        return Err("`use` is not `sig`".to_owned());
    }
    if members.get("key_ops").is_some_and(|ops| *ops != Json::List(vec![Json::Text("verify".to_owned())])) {
        return Err("`key_ops` is not [\"verify\"]".to_owned());
    }
    let algorithm = match text("alg")? {
        None => None,
        Some(name) => Some(JwsAlgorithm::from_name(name).ok_or_else(|| format!("`alg`: there is no `{name}` here"))?),
    };
    let bytes = |name: &'static str| {
        let text = text(name)?.ok_or_else(|| format!("`{name}` is missing"))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("`{name}` is not base64url without padding"))
    };
    let spki = match (text("kty")?, text("crv")?) {
        (Some("EC"), Some("P-256")) => point(SPKI_P256, 32, &bytes("x")?, &bytes("y")?)?,
        (Some("EC"), Some("P-384")) => point(SPKI_P384, 48, &bytes("x")?, &bytes("y")?)?,
        (Some("OKP"), Some("Ed25519")) => [SPKI_ED25519, &bytes("x")?].concat(),
        (Some("RSA"), None) => rsa_public_key(&bytes("n")?, &bytes("e")?).ok_or("`n` or `e` is no number")?,
        _ => return Err("`kty` and `crv` are none of EC with P-256 or P-384, OKP with Ed25519, and RSA".to_owned()),
    };
    let key = PublicKey::parse(&spki).map_err(|error| error.to_string())?;
    if let Some(algorithm) = algorithm.filter(|algorithm| !algorithm.fits(key.kind())) {
        return Err(format!("`alg` is {algorithm}, which no {} key signs with", key.kind()));
    }
    Ok(EvidenceKey { kid: text("kid")?.map(ToOwned::to_owned), key, algorithm })
}

fn point(head: &[u8], bytes: usize, x: &[u8], y: &[u8]) -> Result<Vec<u8>, String> {
    if x.len() != bytes || y.len() != bytes {
        return Err(format!("`x` and `y` have {} and {} bytes, not {bytes} each", x.len(), y.len()));
    }
    Ok([head, x, y].concat())
}

/// The JWK thumbprint of a key (RFC 7638, RFC 8037 section 2), in base64url without padding.
#[must_use]
pub fn thumbprint(key: &PublicKey) -> String {
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let coordinates = || {
        let crv = if key.kind() == KeyKind::EcdsaP256 { "P-256" } else { "P-384" };
        let (x, y) = key.raw().get(1..).map(|both| both.split_at(both.len() / 2)).unwrap_or_default();
        format!(r#"{{"crv":"{crv}","kty":"EC","x":"{}","y":"{}"}}"#, encoded(x), encoded(y))
    };
    let canonical = match key.kind().family() {
        Family::Ecdsa => coordinates(),
        // ML-DSA for JOSE and COSE (draft-ietf-cose-dilithium), section 5: the algorithm is a part of the key.
        Family::MlDsa => {
            let algorithm = key.kind().name().to_ascii_uppercase();
            format!(r#"{{"alg":"{algorithm}","kty":"AKP","pub":"{}"}}"#, encoded(key.raw()))
        }
        Family::Ed25519 => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encoded(key.raw())),
        Family::Rsa => {
            let (n, e) = rsa_numbers(key.raw()).unwrap_or_default();
            format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encoded(&e), encoded(&n))
        }
    };
    encoded(&sha256(canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_kind_are_read_with_their_names_and_algorithms() {
        // RFC 8037, appendix A.2.
        let ed25519 = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"e"}"#;
        let modulus = URL_SAFE_NO_PAD.encode([0xc5; 256]);
        let rsa =
            format!(r#"{{"kty":"RSA","n":"{modulus}","e":"AQAB","alg":"PS256","use":"sig","key_ops":["verify"]}}"#);
        let read = read_set(&format!(r#"{{"keys":[{ed25519},{rsa}]}}"#)).unwrap();
        let kinds: Vec<_> = read.iter().map(|read| (read.key.kind(), read.name(), read.algorithm)).collect();
        assert_eq!(
            kinds,
            [
                (KeyKind::Ed25519, "`e`".to_owned(), None),
                (KeyKind::Rsa2048, "without a `kid`".to_owned(), Some(JwsAlgorithm::Ps256)),
            ]
        );
    }

    /// draft-ietf-cose-dilithium-11, appendix A, where a key's `kid` is its thumbprint and its seed is 32 zero bytes.
    #[test]
    fn a_thumbprint_of_an_ml_dsa_key_is_that_of_the_draft() {
        let known = [
            (KeyKind::MlDsa44, &lc::ML_DSA_44_SIGNING, "T4xl70S7MT6Zeq6r9V9fPJGVn76wfnXJ21-gyo0Gu6o"),
            (KeyKind::MlDsa65, &lc::ML_DSA_65_SIGNING, "Suiu29qbfuaBaR4Ats-c6XQBePB_OpAxAwcTR_0KXVM"),
        ];
        for (kind, algorithm, thumb) in known {
            let pair = lc::PqdsaKeyPair::from_seed(algorithm, &[0; 32]).unwrap();
            let key = PublicKey::of_raw(kind, lc::KeyPair::public_key(&pair).as_ref()).unwrap();
            assert_eq!(thumbprint(&key), thumb, "{kind}");
            assert!(JwsAlgorithm::ALL.into_iter().all(|algorithm| !algorithm.fits(kind)));
        }
    }

    #[test]
    fn algorithms_have_the_names_of_the_standard_and_fit_their_keys() {
        assert_eq!(
            JwsAlgorithm::ALL.map(|algorithm| algorithm.to_string()),
            ["ES256", "ES384", "EdDSA", "PS256", "RS256"]
        );
        let fits = |kind| JwsAlgorithm::ALL.into_iter().filter(|algorithm| algorithm.fits(kind)).collect::<Vec<_>>();
        assert_eq!(fits(KeyKind::EcdsaP256), [JwsAlgorithm::Es256]);
        assert_eq!(fits(KeyKind::EcdsaP384), [JwsAlgorithm::Es384]);
        assert_eq!(fits(KeyKind::Ed25519), [JwsAlgorithm::EdDsa]);
        for kind in [KeyKind::Rsa2048, KeyKind::Rsa3072, KeyKind::Rsa4096] {
            assert_eq!(fits(kind), [JwsAlgorithm::Ps256, JwsAlgorithm::Rs256]);
        }
        for algorithm in JwsAlgorithm::ALL {
            assert_eq!(JwsAlgorithm::from_name(algorithm.name()), Some(algorithm));
        }
        assert_eq!(JwsAlgorithm::from_name("none"), None);
    }
}
