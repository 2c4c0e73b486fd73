//! Reading entries: what an auditor or an operator wants at a glance, also of entries of types not known yet.

use serde::Deserialize;

use crate::ENTRY_BYTES_MAX;

/// What an entry says, as far as it is known here. Members and types that are not known are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Version of the format.
    pub version: u64,
    /// Its type: `decision`, `outcome`, `void`, `revocation`, `rotation` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its time in milliseconds since 1970.
    pub time: i64,
    /// `issued`, `refused` or `validated`.
    pub decision: Option<String>,
    /// `root`, `intermediate`, `mesh-ca`, `leaf`, `crl` or `request`.
    pub stage: Option<String>,
    /// The authority.
    pub authority: Option<Text>,
    /// The caller's name in the policy.
    pub caller: Option<Text>,
    /// The method that was called.
    pub method: Option<Text>,
    /// The profile.
    pub profile: Option<Text>,
    /// The caller's name for the request.
    pub request_id: Option<Text>,
    /// SHA-256 of the CSR or SPKI as it came, in hexadecimal.
    pub request_sha256: Option<Text>,
    /// SHA-256 of the policy, in hexadecimal.
    pub policy_sha256: Option<String>,
    /// SHA-256 of the subject's SPKI, in hexadecimal.
    pub spki_sha256: Option<Text>,
    /// SHA-256 of what is to be signed, in hexadecimal.
    pub tbs_sha256: Option<String>,
    /// The serial number, in hexadecimal.
    pub serial: Option<String>,
    /// The subject.
    pub subject: Option<Text>,
    /// The signature algorithm, by its name.
    pub algorithm: Option<String>,
    /// The names.
    #[serde(default)]
    pub names: Listed<Text>,
    /// The names in the caller's certificate.
    #[serde(default)]
    pub caller_identities: Listed<Text>,
    /// The instance that it is about.
    pub instance: Option<Instance>,
    /// First second of validity, since 1970.
    pub not_before: Option<i64>,
    /// Last second of validity, since 1970.
    pub not_after: Option<i64>,
    /// Number of a CRL.
    pub crl_number: Option<u64>,
    /// Number of the partition that a CRL is about, or that a revoked certificate is in.
    pub crl_partition: Option<u16>,
    /// How many certificates a CRL lists.
    pub entries: Option<u64>,
    /// thisUpdate of a CRL, in seconds since 1970.
    pub this_update: Option<i64>,
    /// nextUpdate of a CRL, in seconds since 1970.
    pub next_update: Option<i64>,
    /// Index of the newest revocation that a CRL takes into account.
    pub newest_revocation: Option<u64>,
    /// The epoch.
    pub epoch: Option<Epoch>,
    /// The issuer.
    pub issuer: Option<Issuer>,
    /// Why not.
    #[serde(default)]
    pub reasons: Listed<Reason>,
    /// The result of an outcome, `signing-failed` or `signing-again`; of a void entry, `forgotten` or `tampered`.
    pub result: Option<String>,
    /// Index of the decision that an outcome, a void entry or a revocation is about.
    pub decision_index: Option<u64>,
    /// Why: a certificate is revoked, or calls are not logged one by one.
    pub reason: Option<Text>,
    /// Who asked, where no caller did.
    pub by: Option<Text>,
    /// The step of a rotation.
    pub step: Option<String>,
    /// Label of the key of a root or an epoch that is to be made.
    pub label: Option<Text>,
    /// SHA-256 of the digests of a root's owner keys, one after another, in hexadecimal.
    pub owners_sha256: Option<String>,
    /// SHA-256 of an epoch's manifest or statement, in hexadecimal.
    pub manifest_sha256: Option<String>,
    /// The transition before an epoch's, in hexadecimal.
    pub previous: Option<String>,
    /// Lifetime of an epoch's CA certificates in seconds; 0: the policy's.
    pub lifetime: Option<u64>,
    /// Whether the intermediate before goes on the root's CRL.
    pub revoke_previous: Option<bool>,
    /// SubjectPublicKeyInfo of the owner who wants an epoch, DER in hexadecimal.
    pub owner_spki: Option<Text>,
    /// That owner's signature, in hexadecimal.
    pub owner_signature: Option<Text>,
    /// What happened to a key.
    pub action: Option<String>,
    /// The command of an operator.
    pub command: Option<Text>,
    /// How many calls an aggregate stands for.
    pub count: Option<u64>,
}

/// An instance, by what names say of it; nothing of it is known where it is private.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Instance {
    /// Who launches it.
    pub provider: Option<Text>,
    /// Its id.
    pub id: Option<Text>,
    /// The service that it runs.
    pub service: Option<Text>,
}

/// A text, whole or cut.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// Whole.
    Whole(String),
    /// How it begins.
    Cut {
        /// Its beginning.
        start: String,
        /// SHA-256 of all of it, in hexadecimal.
        sha256: String,
        /// Its length.
        bytes: u64,
    },
    /// Private: only its commitment stands here.
    Private {
        /// The commitment, in hexadecimal.
        commitment: String,
    },
}

/// A list, or the commitment in its place.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Listed<T> {
    /// The list.
    Known(Vec<T>),
    /// Private: only its commitment stands here.
    Private {
        /// The commitment, in hexadecimal.
        commitment: String,
    },
}

impl<T> Listed<T> {
    /// What is known of it.
    #[must_use]
    pub fn known(&self) -> &[T] {
        match self {
            Self::Known(items) => items,
            Self::Private { .. } => &[],
        }
    }

    /// Whether only a commitment stands in its place.
    #[must_use]
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Private { .. })
    }
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self::Known(Vec::new())
    }
}

impl Text {
    /// Whether it stands for that text, which may be cut here.
    #[must_use]
    pub fn is(&self, whole: &str) -> bool {
        match self {
            Self::Whole(text) => text == whole,
            Self::Cut { start, sha256, bytes } => {
                whole.starts_with(start.as_str())
                    && u64::try_from(whole.len()) == Ok(*bytes)
                    && hallmark_policy::hex(&crate::sha256(whole.as_bytes())) == *sha256
            }
            // What it stands for cannot be told without its salt.
            Self::Private { .. } => false,
        }
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(text) => f.write_str(text),
            Self::Cut { start, bytes, .. } => write!(f, "{start}… ({bytes} bytes)"),
            Self::Private { .. } => f.write_str("(private)"),
        }
    }
}

/// An epoch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Epoch {
    /// Generation, from 1.
    pub generation: u64,
    /// Transition digest, in hexadecimal.
    pub transition: Option<String>,
}

/// Who issued, and which number that had.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Issuer {
    /// SHA-256 of its SPKI, in hexadecimal.
    pub spki_sha256: String,
    /// Number of a certificate among those of its issuer, from 1 without gaps.
    pub sequence: Option<u64>,
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Reason {
    /// Its stable code.
    pub code: String,
    /// The field of the request.
    pub field: Option<Text>,
    /// One sentence.
    pub sentence: Option<Text>,
    /// What would have been allowed.
    pub allowed: Option<Text>,
}

/// Why bytes are no entry.
#[derive(Debug, thiserror::Error)]
pub enum SummaryError {
    /// Over [`ENTRY_BYTES_MAX`].
    #[error("the entry has {bytes} bytes; an entry has at most {ENTRY_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// No JSON object with `version`, `type` and `time`.
    #[error("the entry is not of this log's format: {0}; hint: it may be another program's log")]
    NotAnEntry(#[from] serde_json::Error),
}

impl Summary {
    /// Reads an entry.
    ///
    /// # Errors
    /// See [`SummaryError`].
    pub fn parse(entry: &[u8]) -> Result<Self, SummaryError> {
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(SummaryError::TooLong { bytes: entry.len() });
        }
        Ok(serde_json::from_slice(entry)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_later_type_is_read_as_far_as_it_is_known() {
        let entry = br#"{"authority":"mesh","moon-phase":{"full":true},"time":5,"type":"eclipse","version":2}"#;
        let summary = Summary::parse(entry).unwrap();
        assert_eq!((summary.kind.as_str(), summary.time, summary.version), ("eclipse", 5, 2));
        assert_eq!(summary.authority, Some(Text::Whole("mesh".to_owned())));
        assert_eq!(summary.decision, None);
    }

    #[test]
    fn a_cut_text_stands_for_one_text_alone() {
        let long = "x".repeat(5_000);
        let entry = crate::Object::new().text("caller", &long).text("authority", "mesh").into_entry("test", 1);
        let summary = Summary::parse(&entry).unwrap();
        let (caller, authority) = (summary.caller.unwrap(), summary.authority.unwrap());
        assert!(matches!(caller, Text::Cut { .. }) && caller.is(&long) && authority.is("mesh"));
        assert!(!caller.is(&format!("{}y", &long[1..])) && !caller.is(&long[1..]) && !authority.is("mesh2"));
    }

    #[test]
    fn private_members_are_said_to_be() {
        let commitment = "ab".repeat(32);
        let entry = format!(
            r#"{{"names":{{"commitment":"{commitment}"}},"subject":{{"commitment":"{commitment}"}},"time":1,"type":"decision","version":1}}"#
        );
        let summary = Summary::parse(entry.as_bytes()).unwrap();
        assert!(summary.names.is_private() && summary.names.known().is_empty() && !summary.reasons.is_private());
        let subject = summary.subject.unwrap();
        assert_eq!(subject.to_string(), "(private)");
        assert!(!subject.is("CN=a"));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for wrong in [&b""[..], b"{}", b"[]", br#"{"type":"x","version":1}"#, &[b' '; ENTRY_BYTES_MAX + 1]] {
            assert!(Summary::parse(wrong).is_err());
        }
    }
}
