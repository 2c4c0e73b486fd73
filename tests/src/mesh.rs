//! Authorities that rotate by manifest, and the owners who sign for it.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use hallmark_policy::{authority::transition, hex, key::SpkiDigest, owner::RotationStatement};
use hallmark_proto::signer::{RotateIntermediateRequest, RotateIntermediateResponse};

use crate::{AUTHORITY, World, asking::Refused, example_policy, tools};

/// What lets an authority sign CRLs.
pub const CRL: &str = r#"crl = { lifetime = "7d", refresh = "1d" }"#;

/// Transition before the first.
pub const GENESIS: [u8; 32] = [0; 32];

/// SubjectPublicKeyInfo of P-256 up to the point (RFC 5480).
const P256_SPKI_START: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";

/// One who may set manifests.
pub struct Owner {
    key: EcdsaKeyPair,
}

impl Default for Owner {
    fn default() -> Self {
        Self::new()
    }
}

impl Owner {
    /// With a new key, ECDSA P-256.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn new() -> Self {
        Self { key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key") }
    }

    /// Its SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        let mut spki = tools::from_hex(P256_SPKI_START);
        spki.extend(self.key.public_key().as_ref());
        spki
    }

    /// SHA-256 of that, as policies and manifests name it.
    #[must_use]
    pub fn digest(&self) -> String {
        SpkiDigest::of(&self.spki()).to_string()
    }

    /// Signs.
    ///
    /// # Panics
    /// If there are no random numbers.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.key.sign(&SystemRandom::new(), bytes).expect("a signature").as_ref().to_vec()
    }
}

/// The example policy, whose authority rotates by manifest; `owners` may set the first one. Certificates are short.
#[must_use]
pub fn policy(owners: &[&Owner]) -> String {
    let owners: Vec<_> = owners.iter().map(|owner| format!("\"{}\"", owner.digest())).collect();
    let head = format!(
        "[authority.athenz]\nrotates = \"manifest\"\n{CRL}\nowner-keys = [{}]\n\n[authority.athenz.root]",
        owners.join(", ")
    );
    let methods = r#"methods = ["MintCertificate", "GetChain", "ListEpochs", "WatchEpochs"]"#;
    let rotating = methods.replace("\"GetChain\"", "\"GetChain\", \"RotateIntermediate\"");
    let policy = example_policy().replacen("[authority.athenz.root]", &head, 1).replacen(methods, &rotating, 1);
    assert!(policy.contains("RotateIntermediate"), "the example's callers have changed");
    policy
}

/// A manifest that names these owners; `what` tells it from others.
#[must_use]
pub fn manifest(what: &str, owners: &[&Owner]) -> Vec<u8> {
    let owners: Vec<_> = owners.iter().map(|owner| format!("\"{}\"", owner.digest())).collect();
    let policy = hex(&tools::sha256(what.as_bytes()));
    format!(
        r#"{{"Policies":{{"{policy}":{{"SANs":["{what}.mesh.internal"],"WorkloadSecretID":"{what}"}}}},"WorkloadOwnerKeyDigests":[{}]}}"#,
        owners.join(",")
    )
    .into_bytes()
}

/// What an owner signs to put `manifest` in the place of `expected`.
///
/// # Panics
/// If the world has no root.
#[must_use]
pub fn request(
    world: &World,
    owner: &Owner,
    expected: [u8; 32],
    manifest: &[u8],
    lifetime_seconds: u64,
    revoke_previous: bool,
) -> RotateIntermediateRequest {
    let transition = transition(&tools::sha256(manifest), &expected);
    let statement = RotationStatement { root: world.root_key(), transition, lifetime_seconds, revoke_previous };
    request_of(&statement, owner, expected, manifest)
}

/// The same, for any signer whose statement that is.
#[must_use]
pub fn request_of(
    statement: &RotationStatement,
    owner: &Owner,
    expected: [u8; 32],
    manifest: &[u8],
) -> RotateIntermediateRequest {
    RotateIntermediateRequest {
        authority: AUTHORITY.to_owned(),
        expected_transition: expected.to_vec().into(),
        manifest: manifest.to_vec().into(),
        owner_key: owner.spki().into(),
        owner_signature: owner.sign(&statement.to_bytes()).into(),
        lifetime_seconds: statement.lifetime_seconds,
        revoke_previous: statement.revoke_previous,
    }
}

/// Sets a manifest.
///
/// # Errors
/// The refusal.
pub async fn rotate(
    world: &World,
    owner: &Owner,
    expected: [u8; 32],
    manifest: &[u8],
) -> Result<RotateIntermediateResponse, Refused> {
    world.rotate(&request(world, owner, expected, manifest, 0, false)).await
}

/// The transition of an answer.
///
/// # Panics
/// If it has none.
#[must_use]
pub fn transition_of(response: &RotateIntermediateResponse) -> [u8; 32] {
    let epoch = response.epoch.as_ref().expect("an epoch");
    epoch.transition.as_ref().try_into().expect("32 bytes")
}
