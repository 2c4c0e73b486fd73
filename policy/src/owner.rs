//! Owners: those who may put a manifest in the place of another, and the signature by which one of them does.
//!
//! The signer checks it itself, so that a stolen coordinator cannot slip in a manifest. Which keys are the owners' is
//! what the manifest in force says; before the first one it is what the policy says.

use crate::{
    file::{OwnerSignatureWord, RotatesWord},
    key::{Family, PublicKey, SPKI_BYTES_MAX, SpkiDigest},
    profile::{Authority, Policy},
    reason::{Reason, ReasonCode},
};

/// First line of what an owner signs.
const STATEMENT: &str = "hallmark-rotate-v1";

/// Longest signature, in bytes: DER of two numbers of P-384 takes 104.
pub const OWNER_SIGNATURE_BYTES_MAX: usize = 256;

/// Everything that a rotation does, as its owner signs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationStatement {
    /// The authority's root.
    pub root: SpkiDigest,
    /// The transition to the new manifest.
    pub transition: [u8; 32],
    /// `lifetime_seconds` of the request: 0 for the policy's.
    pub lifetime_seconds: u64,
    /// `revoke_previous` of the request.
    pub revoke_previous: bool,
}

impl RotationStatement {
    /// The bytes that are signed with `owner-signature = "hallmark"`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { root, transition, lifetime_seconds, revoke_previous } = self;
        let transition = crate::hex(transition);
        let revoke = u8::from(*revoke_previous);
        format!("{STATEMENT}\n{root}\n{transition}\n{lifetime_seconds}\n{revoke}\n").into_bytes()
    }

    /// The bytes that are signed under `authority`'s policy.
    #[must_use]
    pub fn signed_bytes(&self, authority: &Authority) -> Vec<u8> {
        match authority.owner_signature() {
            OwnerSignatureWord::Hallmark => self.to_bytes(),
            OwnerSignatureWord::Contrast => crate::hex(&self.transition).into_bytes(),
        }
    }
}

/// Whether one of the owners in force wants this rotation: `spki` is the key of one of them, and `signature` its ECDSA
/// signature with SHA-256 over the statement, DER. `in_force` are the owners of the manifest in force, or
/// [`Authority::owner_keys`] before the first.
///
/// # Errors
/// All the reasons why not, at least one.
pub fn check(
    authority: &Authority,
    in_force: &[SpkiDigest],
    statement: &RotationStatement,
    spki: &[u8],
    signature: &[u8],
) -> Result<(), Vec<Reason>> {
    if authority.rotates() == RotatesWord::Age {
        let sentence = format!("authority `{}` rotates by age, and takes no manifest", authority.name);
        return Err(vec![Reason::new(ReasonCode::RotatesByAge, "authority", sentence)]);
    }
    let mut reasons = Vec::new();
    check_unsigned(authority, statement, &mut reasons);
    if in_force.is_empty() {
        reasons.push(Reason::new(ReasonCode::ManifestImmutable, "authority", immutable(authority)));
        return Err(reasons);
    }
    let key = owner_key(spki).map_err(|reason| reasons.push(reason)).ok();
    if let Some(key) = key {
        if !in_force.contains(&key.digest()) {
            let sentence = format!("the key with the SHA-256 {} is no owner's of the manifest in force", key.digest());
            reasons.push(Reason::new(ReasonCode::OwnerUnknown, "owner_key", sentence));
        } else if signature.len() > OWNER_SIGNATURE_BYTES_MAX {
            let sentence = format!("`owner_signature` has {} bytes", signature.len());
            let reason = Reason::new(ReasonCode::FieldOutOfLimits, "owner_signature", sentence);
            reasons.push(reason.allowing(format!("at most {OWNER_SIGNATURE_BYTES_MAX} bytes")));
        } else if !key.verifies_ecdsa_sha256(&statement.signed_bytes(authority), signature) {
            reasons.push(signature_wrong(authority));
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// What the signature does not say is not the caller's to say.
fn check_unsigned(authority: &Authority, statement: &RotationStatement, reasons: &mut Vec<Reason>) {
    let said = [
        ("lifetime_seconds", statement.lifetime_seconds != 0, "0: the policy's lifetime"),
        ("revoke_previous", statement.revoke_previous, "false: the policy says it"),
    ];
    let contrast = authority.owner_signature() == OwnerSignatureWord::Contrast;
    for (field, _, allowed) in said.into_iter().filter(|(_, set, _)| *set && contrast) {
        let sentence = format!("`{field}` is set, and the owner's signature does not say it");
        reasons.push(Reason::new(ReasonCode::FieldsConflict, field, sentence).allowing(allowed));
    }
}

fn immutable(authority: &Authority) -> String {
    format!("no owner of authority `{}` is named, so that nobody may ever set another manifest", authority.name)
}

fn owner_key(spki: &[u8]) -> Result<PublicKey, Reason> {
    const FIELD: &str = "owner_key";
    if spki.is_empty() {
        return Err(Reason::new(ReasonCode::FieldMissing, FIELD, "`owner_key` is empty"));
    }
    if spki.len() > SPKI_BYTES_MAX {
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, FIELD, format!("`owner_key` has {} bytes", spki.len()));
        return Err(reason.allowing(format!("at most {SPKI_BYTES_MAX} bytes")));
    }
    let key =
        PublicKey::parse(spki).map_err(|error| Reason::new(ReasonCode::KeyMalformed, FIELD, error.to_string()))?;
    if key.kind().family() == Family::Ecdsa {
        return Ok(key);
    }
    let sentence = format!("an owner does not sign with {}", key.kind());
    Err(Reason::new(ReasonCode::KeyNotAllowed, FIELD, sentence).allowing("ecdsa-p256, ecdsa-p384"))
}

fn signature_wrong(authority: &Authority) -> Reason {
    let sentence = "the owner's signature does not verify over this rotation";
    let reason = Reason::new(ReasonCode::OwnerSignatureWrong, "owner_signature", sentence);
    reason.allowing(match authority.owner_signature() {
        OwnerSignatureWord::Hallmark => "ECDSA with SHA-256, DER, over root, transition, lifetime and revocation",
        OwnerSignatureWord::Contrast => "ECDSA with SHA-256, DER, over the transition in 64 hexadecimal digits",
    })
}

/// Owners of a manifest that is to be set for `authority` which another authority has, too, where one signature would
/// be good for both. `others` are the owners in force at the other authorities, by name.
///
/// # Errors
/// One reason for each authority that shares a key.
pub fn check_shared<'a>(
    policy: &Policy,
    authority: &Authority,
    owners: &[SpkiDigest],
    others: impl IntoIterator<Item = (&'a str, &'a [SpkiDigest])>,
) -> Result<(), Vec<Reason>> {
    let others = others.into_iter().filter_map(|(name, theirs)| Some((policy.authority(name)?, theirs)));
    let reasons: Vec<_> = others
        .filter_map(|(other, theirs)| shared(authority, other, owners, theirs))
        .map(|(other, key)| {
            let sentence = format!(
                "the owner with the key {key} is one of authority `{other}`, too, where the same signature would count"
            );
            let reason = Reason::new(ReasonCode::OwnerKeyShared, "manifest", sentence);
            reason.allowing("owners of its own for each authority with `owner-signature = \"contrast\"`")
        })
        .collect();
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// The first key that two different authorities share, if a signature over a bare transition counts at both.
pub(crate) fn shared(
    authority: &Authority,
    other: &Authority,
    owners: &[SpkiDigest],
    theirs: &[SpkiDigest],
) -> Option<(String, SpkiDigest)> {
    let contrast = [authority, other].iter().all(|one| one.owner_signature() == OwnerSignatureWord::Contrast);
    let key = owners.iter().find(|key| theirs.contains(key))?;
    (contrast && authority.name != other.name).then(|| (other.name.clone(), *key))
}
