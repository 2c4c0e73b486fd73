//! A PIN, or a wrap key, that nobody has alone: it follows from a secret that is split, k of n (Feldman, "A practical scheme for non-interactive verifiable
//! secret sharing", 1987, on P-256).
//!
//! The record of a quorum is public: it has a commitment to each coefficient, by which every share is checked when it is made and when it is
//! entered. Shares that do not belong together combine to a wrong secret without an error, so that what comes out is compared with its
//! commitment, too. Secrets are wiped, have no `Debug`, and are in no transcript.

mod entropy;
mod html;
pub(crate) mod paper;
mod pdf;
pub(crate) mod sealed;
mod shared;

use std::path::Path;

use elliptic_curve::{
    Group as _,
    ff::{Field as _, PrimeField as _},
    group::GroupEncoding as _,
};
use hallmark_backends::WrapValue;
use hallmark_policy::hex;
use p256::{ProjectivePoint, Scalar};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use vsss_rs::{DefaultShare, FeldmanVerifierSet, IdentifierPrimeField, ReadableShareSet as _, ValueGroup, feldman};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    canonical,
    digest::{self, from_words, sha256, words},
    error::CeremonyError,
    output,
    run::defect,
};

use entropy::Entropy;

pub use shared::Shared;

/// Fewest and most custodians whose shares are wanted.
pub const THRESHOLD_RANGE: std::ops::RangeInclusive<usize> = 2..=15;

/// Most custodians.
pub const CUSTODIANS_MAX: usize = 15;

/// Hexadecimal digits of a PIN: 96 bits.
const PIN_DIGITS: usize = 24;

/// What a PIN is derived with.
const PIN_CONTEXT: &[u8] = b"hallmark-pin-v1\n";

/// What a wrap key is derived with.
const WRAP_KEY_CONTEXT: &[u8] = b"hallmark-wrap-key-v1\n";

/// First word of a share.
const SHARE: &str = "hallmark-share-v1";

/// Words of a share's value.
const WORDS: usize = 24;

type Field = IdentifierPrimeField<Scalar>;
type FieldShare = DefaultShare<Field, Field>;
type Commitment = ValueGroup<ProjectivePoint>;

/// What everybody may know of a quorum.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct QuorumRecord {
    /// 1.
    pub version: u32,
    /// How many shares are wanted.
    pub threshold: usize,
    /// The custodians, in the order of their shares' numbers, from 1.
    pub custodians: Vec<String>,
    /// Commitments to the coefficients, SEC 1 compressed, hexadecimal; the first is to the secret itself.
    pub commitments: Vec<String>,
    /// What they have together.
    #[serde(default, skip_serializing_if = "Shared::is_pin")]
    pub shared: Shared,
    /// What tells a wrap key from others; empty for a PIN.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub check_value: String,
}

/// One share. It is wiped when dropped.
pub struct Share {
    number: usize,
    value: Zeroizing<[u8; 32]>,
}

/// The secret of a quorum. It is wiped when dropped.
pub(crate) struct Secret(Zeroizing<[u8; 32]>);

/// Why a share is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// It does not read.
    #[error("that is no share: it has a number and {WORDS} words, and a word is wrong or missing")]
    Misread,
    /// It reads, and is not one of this set.
    #[error("share {number} is not one of this set: it is mistyped, or from another set")]
    Foreign {
        /// Its number.
        number: usize,
    },
    /// It was entered before.
    #[error("share {number} was entered before; another custodian's is wanted")]
    Again {
        /// Its number.
        number: usize,
    },
}

impl Secret {
    /// The PIN that follows from it.
    pub(crate) fn pin(&self) -> SecretString {
        let input = Zeroizing::new([PIN_CONTEXT, self.0.as_slice()].concat());
        let mut digest = Zeroizing::new([0; 32]);
        digest::sha256_into(&input, &mut digest);
        let digits = Zeroizing::new(hex(digest.as_slice()));
        SecretString::from(digits.get(..PIN_DIGITS).unwrap_or_default())
    }

    /// The wrap key that follows from it.
    pub(crate) fn wrap_value(&self) -> WrapValue {
        let input = Zeroizing::new([WRAP_KEY_CONTEXT, self.0.as_slice()].concat());
        WrapValue::filled(|value| digest::sha256_into(&input, value))
    }
}

/// Draws a secret and splits it. Every share is checked against the commitments, and combined again.
pub(crate) fn split(
    custodians: &[String],
    threshold: usize,
    shared: Shared,
) -> Result<(Secret, QuorumRecord, Vec<Share>), CeremonyError> {
    let failed = |_| defect("the secret could not be split");
    let mut entropy = Entropy::draw()?;
    let mut secret = Scalar::random(&mut entropy);
    let (shares, verifiers) = feldman::split_secret::<FieldShare, Commitment>(
        threshold,
        custodians.len(),
        &IdentifierPrimeField(secret),
        None,
        &mut entropy,
    )
    .map_err(failed)?;
    entropy.was_enough()?;
    let kept = Secret(Zeroizing::new(secret.to_repr().into()));
    secret.zeroize();
    let points = FeldmanVerifierSet::<FieldShare, Commitment>::verifiers(&verifiers);
    let commitments = points.iter().map(|point| hex(&point.0.to_bytes())).collect();
    let check_value = match shared {
        Shared::Pin => String::new(),
        Shared::WrapKey => kept.wrap_value().check_value()?.to_string(),
    };
    let record =
        QuorumRecord { version: 1, threshold, custodians: custodians.to_vec(), commitments, shared, check_value };
    let shares: Vec<Share> = shares
        .into_iter()
        .enumerate()
        .map(|(at, share)| Share { number: at + 1, value: Zeroizing::new(share.value.0.to_repr().into()) })
        .collect();
    // Whatever was made is checked as it will be when it is entered: from both ends.
    for window in [shares.get(..threshold), shares.get(shares.len().saturating_sub(threshold)..)] {
        let again = record.combine(window.unwrap_or_default()).map_err(|error| defect(&error.to_string()))?;
        if again.0 != kept.0 {
            return Err(defect("the shares do not give the secret back"));
        }
    }
    if shares.iter().any(|share| !record.has(share)) {
        return Err(defect("a share does not fit its commitments"));
    }
    Ok((kept, record, shares))
}

impl QuorumRecord {
    /// Reads the record of a quorum that has a PIN.
    ///
    /// # Errors
    /// If it cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<Self, CeremonyError> {
        Self::read_of(path, Shared::Pin)
    }

    /// Reads the record of a quorum that has this.
    ///
    /// # Errors
    /// If it cannot be read, or is something else.
    pub fn read_of(path: &Path, shared: Shared) -> Result<Self, CeremonyError> {
        let wanted = shared.record();
        let not_one = || CeremonyError::NotOne { path: path.to_owned(), wanted };
        let record: Self = serde_json::from_slice(&output::read(path)?).map_err(|_| not_one())?;
        let fits = record.version == 1
            && record.shared == shared
            && record.check_value.is_empty() == shared.is_pin()
            && record.commitments.len() == record.threshold
            && THRESHOLD_RANGE.contains(&record.threshold)
            && (record.threshold..=CUSTODIANS_MAX).contains(&record.custodians.len())
            && record.points().is_some();
        if fits { Ok(record) } else { Err(not_one()) }
    }

    /// Its canonical JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        canonical::bytes(self)
    }

    /// What tells this set from others: 8 hexadecimal digits.
    #[must_use]
    pub fn set(&self) -> String {
        let digest = sha256(self.commitments.concat().as_bytes());
        hex(digest.get(..4).unwrap_or_default())
    }

    /// Reads a share as somebody typed it: its number and its words, with or without what stands before them on paper.
    ///
    /// # Errors
    /// See [`ShareError`].
    pub fn parse(&self, text: &str) -> Result<Share, ShareError> {
        let text = Zeroizing::new(text.to_lowercase());
        let typed: Vec<&str> = text.split_whitespace().collect();
        let at = typed.len().checked_sub(WORDS).ok_or(ShareError::Misread)?;
        let (before, typed) = typed.split_at_checked(at).ok_or(ShareError::Misread)?;
        let number: usize = before.last().and_then(|number| number.parse().ok()).ok_or(ShareError::Misread)?;
        let joined = Zeroizing::new(typed.join(" "));
        let value = Zeroizing::new(from_words(&joined).ok_or(ShareError::Misread)?);
        let share = Share { number, value };
        if self.has(&share) { Ok(share) } else { Err(ShareError::Foreign { number }) }
    }

    /// Whether a share is one of this set: its value is what the commitments say at its number.
    fn has(&self, share: &Share) -> bool {
        let (Some(points), Some(value)) = (self.points(), scalar(&share.value)) else { return false };
        let Ok(number) = u64::try_from(share.number) else { return false };
        if !(1..=self.custodians.len()).contains(&share.number) {
            return false;
        }
        let generator = ValueGroup(ProjectivePoint::generator());
        let verifiers = points.into_iter().map(ValueGroup);
        let set: Vec<Commitment> = std::iter::once(generator).chain(verifiers).collect();
        let identifier = IdentifierPrimeField(Scalar::from(number));
        let share = FieldShare { identifier, value: IdentifierPrimeField(value) };
        set.verify_share(&share).is_ok()
    }

    /// Combines shares, each of which was checked, and compares what comes out with its commitment.
    pub(crate) fn combine(&self, shares: &[Share]) -> Result<Secret, ShareError> {
        let number = shares.last().map_or(0, |share| share.number);
        let foreign = ShareError::Foreign { number };
        let field = |share: &Share| {
            let number = u64::try_from(share.number).ok()?;
            let (identifier, value) = (Scalar::from(number), scalar(&share.value)?);
            Some(FieldShare { identifier: IdentifierPrimeField(identifier), value: IdentifierPrimeField(value) })
        };
        let mut fields =
            shares.iter().map(field).collect::<Option<Vec<FieldShare>>>().ok_or_else(|| foreign.clone())?;
        let combined = fields.combine();
        fields.iter_mut().for_each(|share| share.value.0.zeroize());
        let mut secret = combined.map_err(|_| foreign.clone())?.0;
        let committed = self.points().and_then(|points| points.first().copied());
        let fits = committed == Some(ProjectivePoint::generator() * secret);
        let kept = Secret(Zeroizing::new(secret.to_repr().into()));
        secret.zeroize();
        if fits { Ok(kept) } else { Err(foreign) }
    }

    fn points(&self) -> Option<Vec<ProjectivePoint>> {
        let point = |text: &String| {
            let bytes: [u8; 33] = digest::from_hex(text)?.try_into().ok()?;
            let point: ProjectivePoint = Option::from(ProjectivePoint::from_bytes(&bytes.into()))?;
            // The library reads other spellings of a point, too.
            let is_own = hex(&point.to_bytes()) == *text && !bool::from(point.is_identity());
            is_own.then_some(point)
        };
        self.commitments.iter().map(point).collect()
    }
}

/// Reads the share of a custodian from a file: sealed to one of these identities, or a line of text.
///
/// # Errors
/// If it cannot be read, or no identity opens it.
pub fn open_share(path: &Path, identities: &[std::path::PathBuf]) -> Result<Zeroizing<String>, CeremonyError> {
    let content = Zeroizing::new(output::read(path)?);
    let not_one = |wanted| CeremonyError::NotOne { path: path.to_owned(), wanted };
    if !content.starts_with(b"-----BEGIN AGE") {
        let text = std::str::from_utf8(&content).map_err(|_| not_one("share in text"))?;
        return Ok(Zeroizing::new(text.to_owned()));
    }
    for identity in identities {
        let identity = Zeroizing::new(output::read(identity)?);
        if let Some(text) = sealed::open(&content, &identity) {
            return Ok(text);
        }
    }
    Err(not_one("share that one of these identities opens"))
}

impl Share {
    /// Its number, from 1.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// What its custodian keeps: one line.
    pub(crate) fn text(&self, record: &QuorumRecord) -> Zeroizing<String> {
        let words = words(&self.value).join(" ");
        Zeroizing::new(format!("{SHARE} {} {} {words}", record.set(), self.number))
    }
}

fn scalar(bytes: &[u8; 32]) -> Option<Scalar> {
    Option::from(Scalar::from_repr((*bytes).into()))
}

#[cfg(test)]
mod tests;
