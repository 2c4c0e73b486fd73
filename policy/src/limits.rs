//! How much and how often: rates that are looked at before any work, and quotas that hold inside the ledger's transaction.

use crate::{
    content::{CertificateContent, Extension},
    file::{ProfileTable, QuotaTable},
    key::{SpkiDigest, sha256},
    name::{GeneralName, NameKind},
    profile::{NameFormat, Policy, Profile},
    template::{Bindings, INSTANCE, PROVIDER, Template},
    time::DAY_SECS,
};

/// Most calls that a rate can grant in its period.
pub const RATE_CALLS_MAX: u32 = 1_000_000;

/// Largest quota.
pub const QUOTA_MAX: u64 = 1_000_000_000;

/// So many calls in a period, written `200/s`, `30/m`, `6/h` or `100/d`.
///
/// Whoever was silent for a whole period may make all its calls at once; afterwards they come back one by one, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    calls: u32,
    period_secs: u64,
}

/// Text that is no [`Rate`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no rate: write a whole number from 1 to {RATE_CALLS_MAX}, a slash and one unit of s, m, h or d, such as `200/s`"
)]
pub struct RateError {
    /// What was read.
    pub text: String,
}

impl Rate {
    /// Reads `200/s`, `30/m`, `6/h`, `100/d`.
    ///
    /// # Errors
    /// [`RateError`] for everything else.
    pub fn parse(text: &str) -> Result<Self, RateError> {
        let wrong = || RateError { text: text.chars().take(40).collect() };
        let (digits, unit) = text.split_once('/').ok_or_else(wrong)?;
        let period_secs = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => DAY_SECS,
            _ => return Err(wrong()),
        };
        let number =
            Some(digits).filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let calls = number.and_then(|digits| digits.parse().ok()).filter(|calls| (1..=RATE_CALLS_MAX).contains(calls));
        Ok(Self { calls: calls.ok_or_else(wrong)?, period_secs })
    }

    /// How many calls a period has.
    #[must_use]
    pub fn calls(self) -> u32 {
        self.calls
    }

    /// The period, in nanoseconds.
    #[must_use]
    pub fn period_nanos(self) -> u64 {
        self.period_secs * 1_000_000_000
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = match self.period_secs {
            1 => "s",
            60 => "m",
            3_600 => "h",
            _ => "d",
        };
        write!(f, "{}/{unit}", self.calls)
    }
}

/// The limits of a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProfileLimits {
    /// Most certificates in one epoch of the authority.
    pub per_epoch: Option<u64>,
    /// Most certificates of one caller in one day of UTC.
    pub per_caller_per_day: Option<u64>,
    /// How often one instance may be certified.
    pub rate_per_instance: Option<Rate>,
    /// Whether a key stands under one set of names only.
    pub one_key_one_name: bool,
}

/// What the ledger counts for a certificate and compares, inside its transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The profile whose quotas these are.
    pub profile: String,
    /// Most certificates of the profile in this epoch.
    pub per_epoch: Option<u64>,
    /// Most certificates of the profile for this caller in one day of UTC.
    pub per_caller_per_day: Option<u64>,
    /// The key and its names, where the authority keeps them.
    pub key_names: Option<KeyNames>,
}

/// A key with the names that it stands under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyNames {
    /// The subject's key.
    pub spki: SpkiDigest,
    /// SHA-256 over its names, in an order that does not depend on the request's.
    pub names_sha256: [u8; 32],
    /// Whether other names of the same key are a reason to refuse. Otherwise they are only remembered.
    pub only: bool,
}

/// Whose rate an approval counts against, beside the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRate {
    /// The rate.
    pub rate: Rate,
    /// The profile.
    pub profile: String,
    /// The instance; for a certificate that names none, its names.
    pub instance: String,
}

/// What was typed, with every mistake as a sentence.
pub(crate) fn read(
    table: &ProfileTable,
    common_name: Option<&Template>,
    names: &[NameFormat],
) -> (ProfileLimits, Vec<String>) {
    let mut mistakes = Vec::new();
    let QuotaTable { per_epoch, per_caller_per_day } = table.quota.clone().unwrap_or_default();
    for (field, quota) in [("per-epoch", per_epoch), ("per-caller-per-day", per_caller_per_day)] {
        if quota.is_some_and(|quota| !(1..=QUOTA_MAX).contains(&quota)) {
            mistakes.push(format!("`quota.{field}` lies between 1 and {QUOTA_MAX}; leave it away for no quota"));
        }
    }
    if table.quota.is_some() && per_epoch.is_none() && per_caller_per_day.is_none() {
        mistakes.push("`quota` is empty; name `per-epoch` or `per-caller-per-day`, or leave it away".to_owned());
    }
    let typed = table.rate.as_ref().map(|table| Rate::parse(&table.per_instance));
    let rate_per_instance = match typed {
        Some(Err(error)) => {
            mistakes.push(format!("`rate.per-instance`: {error}"));
            None
        }
        Some(Ok(rate)) => Some(rate),
        None => None,
    };
    let mut templates = common_name.into_iter().chain(names.iter().filter_map(|format| format.pattern.template()));
    if rate_per_instance.is_some() && !templates.any(names_instance) {
        mistakes.push("`rate.per-instance` counts instances, and no format has `{instance}`".to_owned());
    }
    let one_key_one_name = table.one_key_one_name;
    (ProfileLimits { per_epoch, per_caller_per_day, rate_per_instance, one_key_one_name }, mistakes)
}

/// What the ledger has to count for a certificate of this profile.
pub(crate) fn limits(policy: &Policy, profile: &Profile, content: &CertificateContent) -> Limits {
    // Keys are remembered under all profiles of an authority as soon as one of them wants to know.
    let remembered = |other: &Profile| other.authority == profile.authority && other.limits.one_key_one_name;
    let key_names = policy.profiles.values().any(remembered).then(|| KeyNames {
        spki: content.key.digest(),
        names_sha256: names_sha256(content),
        only: profile.limits.one_key_one_name,
    });
    let ProfileLimits { per_epoch, per_caller_per_day, .. } = profile.limits;
    Limits { profile: profile.name.clone(), per_epoch, per_caller_per_day, key_names }
}

/// The rate that an instance has under this profile, if it has one: it is who the names say, by provider and id.
pub(crate) fn instance_rate(
    profile: &Profile,
    content: &CertificateContent,
    bound: Option<&Bindings>,
) -> Option<InstanceRate> {
    let rate = profile.limits.rate_per_instance?;
    let instance = bound.and_then(|bound| {
        let provider = bound.get(PROVIDER).map(|provider| format!("{provider} ")).unwrap_or_default();
        bound.get(INSTANCE).map(|instance| format!("instance {provider}{instance}"))
    });
    let instance = instance.unwrap_or_else(|| crate::hex(&names_sha256(content)));
    Some(InstanceRate { rate, profile: profile.name.clone(), instance })
}

fn names_instance(template: &Template) -> bool {
    template.parts().any(|part| part == INSTANCE)
}

fn alternative_names(content: &CertificateContent) -> &[GeneralName] {
    let names = content.extensions.iter().find_map(|extension| match extension {
        Extension::SubjectAltName { names, .. } => Some(names.as_slice()),
        Extension::EndEntity
        | Extension::CertificateAuthority { .. }
        | Extension::DigitalSignature
        | Extension::CertificateAndCrlSigning
        | Extension::ExtendedKeyUsage { .. }
        | Extension::NameConstraints(_)
        | Extension::CertificatePolicies(_)
        | Extension::CrlDistributionPoints(_)
        | Extension::CaIssuers(_)
        | Extension::Claim(_)
        | Extension::SubjectKeyIdentifier(_)
        | Extension::AuthorityKeyIdentifier(_)
        | Extension::EpochBinding(_) => None,
    });
    names.unwrap_or_default()
}

/// Names are sorted and ended with a NUL, which none of them has.
fn names_sha256(content: &CertificateContent) -> [u8; 32] {
    let common =
        content.subject.attributes().iter().map(|(_, value)| format!("{}:{value}", NameKind::CommonName.short()));
    let mut names: Vec<_> = common.chain(alternative_names(content).iter().map(ToString::to_string)).collect();
    names.sort();
    sha256(names.into_iter().fold(String::new(), |text, name| text + &name + "\0").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = include_str!("../../examples/policy.toml");

    fn mistakes(change: impl Fn(&str) -> String) -> String {
        Policy::parse(&change(POLICY)).unwrap_err().to_string()
    }

    fn in_mesh(line: &str) -> impl Fn(&str) -> String {
        move |policy| policy.replace("[profile.mesh]\n", &format!("[profile.mesh]\n{line}\n"))
    }

    #[test]
    fn rates_are_a_number_and_a_unit() {
        for text in ["1/s", "30/m", "6/h", "1000000/d"] {
            assert_eq!(Rate::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "5", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "1000001/s", "5/w", "5 / s", "5/s "] {
            assert!(Rate::parse(text).is_err(), "`{text}` was taken");
        }
        assert_eq!(Rate::parse("6/h").unwrap().period_nanos(), 3_600_000_000_000);
    }

    #[test]
    fn limits_that_limit_nothing_are_mistakes() {
        let told = mistakes(in_mesh("quota = { per-epoch = 0 }"));
        assert!(told.contains("[profile.mesh] `quota.per-epoch` lies between 1 and 1000000000"), "{told}");
        let told = mistakes(in_mesh("quota = {}"));
        assert!(told.contains("[profile.mesh] `quota` is empty"), "{told}");
        let told = mistakes(in_mesh("rate = { per-instance = \"6/h\" }"));
        assert!(told.contains("[profile.mesh] `rate.per-instance` counts instances"), "{told}");
        let told = mistakes(|policy| policy.replace("[caller.viewer]\n", "[caller.viewer]\nrate = \"many\"\n"));
        assert!(told.contains("[caller.viewer] `rate`: `many` is no rate: write a whole number"), "{told}");
    }

    #[test]
    fn what_is_typed_is_what_the_profile_has() {
        let limits = "quota = { per-epoch = 7, per-caller-per-day = 5 }\none-key-one-name = true";
        let policy = Policy::parse(&in_mesh(limits)(POLICY)).unwrap();
        let limits = policy.profile("mesh").unwrap().limits();
        assert_eq!((limits.per_epoch, limits.per_caller_per_day, limits.one_key_one_name), (Some(7), Some(5), true));
    }
}
