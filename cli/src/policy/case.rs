//! Cases beside a policy: requests, and what is expected of them.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use hallmark_policy::{
    Manifest, NameInput, Policy, SubjectInput,
    claim::ClaimInput,
    file::PossessionWord,
    key::KeyKind,
    time::{Span, SpanError, TimeError, UnixTime},
};
use serde::Deserialize;

use super::{
    expectation::{Expect, Expectation, sorted},
    manifest,
    stand_in::{Names, StandInError, StandIns},
    trial::{Question, trial},
};
use crate::{
    files::{self, FILE_BYTES_MAX, FileError},
    hex,
    problem::Problem,
    when,
};

/// What stands between the name of a policy and the end of the name of its cases.
const CASES_SUFFIX: &str = "tests.toml";

/// Why a case cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaseError {
    /// Its CSR.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its lifetime.
    #[error(transparent)]
    Span(#[from] SpanError),
    /// Its time.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// Its caller, key or names.
    #[error(transparent)]
    StandIn(#[from] StandInError),
    /// A claim that is not written in hexadecimal digits.
    #[error("`{value}` of a claim is no DER in hexadecimal digits, such as `0101ff`")]
    Claim {
        /// What was typed.
        value: String,
    },
    /// A policy hash that is not written in hexadecimal digits.
    #[error("`{value}` is no policy hash in hexadecimal digits")]
    PolicyHash {
        /// What was typed.
        value: String,
    },
    /// A CSR from a file and settings for making one.
    #[error("`csr` names a file, which has its own names and key")]
    TwoRequests,
}

impl CaseError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::File(error) => error.hint(),
            Self::StandIn(error) => error.hint(),
            Self::Span(_) | Self::Time(_) | Self::Claim { .. } | Self::PolicyHash { .. } | Self::TwoRequests => {
                "`hallmark policy test --help` shows how cases are written".to_owned()
            }
        }
    }
}

/// A file of cases, as it was typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CasesTable {
    at: Option<String>,
    manifest: Option<PathBuf>,
    #[serde(default)]
    case: Vec<Case>,
}

/// One case, as it was typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Case {
    pub(crate) name: String,
    caller: String,
    profile: String,
    at: Option<String>,
    common_name: Option<String>,
    #[serde(default)]
    dns: Vec<String>,
    #[serde(default)]
    uri: Vec<String>,
    #[serde(default)]
    ip: Vec<String>,
    #[serde(default)]
    email: Vec<String>,
    key: Option<String>,
    csr: Option<PathBuf>,
    #[serde(default)]
    possession: PossessionWord,
    #[serde(default)]
    claims: Vec<ClaimTable>,
    manifest: Option<PathBuf>,
    policy_hash: Option<String>,
    evidence_jwt: Option<PathBuf>,
    lifetime: Option<String>,
    expect: Option<Expect>,
    #[serde(default)]
    reasons: Vec<String>,
    names: Option<Vec<String>>,
    lifetime_seconds: Option<u64>,
}

/// A claim, as it was typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ClaimTable {
    oid: String,
    /// DER, in hexadecimal digits.
    value: String,
}

/// The cases of a policy.
#[derive(Clone, Debug)]
pub(crate) struct Cases {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) cases: Vec<Case>,
    at: Option<String>,
    manifest: Option<PathBuf>,
}

/// The file beside a policy that has its cases: `x.tests.toml` for `x.toml`.
pub(crate) fn beside(policy: &Path) -> PathBuf {
    policy.with_extension(CASES_SUFFIX)
}

impl Cases {
    /// Reads them.
    pub(crate) fn read(path: &Path) -> Result<Self, Problem> {
        let text = super::text(path, FILE_BYTES_MAX)?;
        let table: CasesTable = toml::from_str(&text).map_err(|error| Problem::Cases {
            path: path.to_owned(),
            line: error.span().map(|span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1),
            sentence: error.message().trim().to_owned(),
        })?;
        if table.case.is_empty() {
            let sentence = "it has no `[[case]]`".to_owned();
            return Err(Problem::Cases { path: path.to_owned(), line: None, sentence });
        }
        Ok(Self { path: path.to_owned(), text, cases: table.case, at: table.at, manifest: table.manifest })
    }

    /// What is decided about a case.
    pub(crate) fn decide(
        &self,
        case: &Case,
        policy: &Policy,
        stand_ins: &mut StandIns,
    ) -> Result<Expectation, Problem> {
        let manifest = case.manifest.as_ref().or(self.manifest.as_ref());
        let manifest = manifest.map(|path| manifest::read(&self.beside(path), policy, &case.profile)).transpose()?;
        self.try_decide(case, policy, manifest, stand_ins).map_err(|source| Problem::Case {
            path: self.path.clone(),
            case: case.name.clone(),
            source,
        })
    }

    /// A file that a case names.
    fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or_else(|| Path::new(".")).join(path)
    }

    fn try_decide(
        &self,
        case: &Case,
        policy: &Policy,
        manifest: Option<Arc<Manifest>>,
        stand_ins: &mut StandIns,
    ) -> Result<Expectation, CaseError> {
        let at = match case.at.as_ref().or(self.at.as_ref()) {
            Some(text) => UnixTime::parse(text)?,
            None => UnixTime::from_secs(when::now_millis() / 1_000),
        };
        let lifetime = case.lifetime.as_deref().map(Span::parse).transpose()?;
        let question = Question {
            caller: &case.caller,
            profile: &case.profile,
            subject: self.subject(case, stand_ins)?,
            claims: case.claims.iter().map(claim).collect::<Result<_, _>>()?,
            manifest,
            policy_hash: case.policy_hash.as_deref().map(policy_hash).transpose()?.unwrap_or_default(),
            evidence_jwt: self.evidence(case)?,
            lifetime_secs: lifetime.map_or(0, Span::secs),
            at,
        };
        Ok(Expectation::of(&trial(policy, &question, stand_ins)?, at))
    }

    /// The provider's JWT from the file beside the cases.
    fn evidence(&self, case: &Case) -> Result<String, CaseError> {
        let jwt = case.evidence_jwt.as_ref().map(|path| files::read_jwt(&self.beside(path))).transpose()?;
        Ok(jwt.unwrap_or_default())
    }

    fn subject(&self, case: &Case, stand_ins: &mut StandIns) -> Result<SubjectInput, CaseError> {
        let Case { common_name, dns, uri, ip, email, key, csr, possession, .. } = case;
        if let Some(path) = csr {
            let own =
                common_name.is_none() && key.is_none() && [dns, uri, ip, email].iter().all(|names| names.is_empty());
            if !own || *possession == PossessionWord::Caller {
                return Err(CaseError::TwoRequests);
            }
            return Ok(SubjectInput::Csr(files::read(&self.beside(path))?));
        }
        let kind = key.as_deref().unwrap_or_else(|| KeyKind::EcdsaP256.name());
        let kind = KeyKind::from_name(kind).ok_or_else(|| StandInError::NoKeyKind { kind: kind.to_owned() })?;
        match possession {
            PossessionWord::Csr => {
                let (dns, uri, ip, email) = (dns.clone(), uri.clone(), ip.clone(), email.clone());
                let names = Names { common_name: common_name.clone(), dns, uri, ip, email };
                Ok(SubjectInput::Csr(stand_ins.csr(kind, &names)?))
            }
            PossessionWord::Caller => {
                let dns = dns.iter().cloned().map(NameInput::Dns);
                let uri = uri.iter().cloned().map(NameInput::Uri);
                let email = email.iter().cloned().map(NameInput::Email);
                let mut names: Vec<_> = dns.chain(uri).chain(email).collect();
                for text in ip {
                    names.push(NameInput::Ip(octets(text)?));
                }
                let common_name = common_name.clone().unwrap_or_default();
                Ok(SubjectInput::Spki { spki: stand_ins.spki(kind)?, common_name, names })
            }
        }
    }
}

fn policy_hash(text: &str) -> Result<Vec<u8>, CaseError> {
    hex::bytes(text).ok_or_else(|| CaseError::PolicyHash { value: text.to_owned() })
}

fn claim(table: &ClaimTable) -> Result<ClaimInput, CaseError> {
    let value = hex::bytes(&table.value).ok_or_else(|| CaseError::Claim { value: table.value.clone() })?;
    Ok(ClaimInput { oid: table.oid.clone(), value })
}

/// The octets of an address.
fn octets(text: &str) -> Result<Vec<u8>, StandInError> {
    match text.parse() {
        Ok(IpAddr::V4(address)) => Ok(address.octets().to_vec()),
        Ok(IpAddr::V6(address)) => Ok(address.octets().to_vec()),
        Err(_) => Err(StandInError::Name { text: text.to_owned() }),
    }
}

impl Case {
    /// What it expects.
    pub(crate) fn expectation(&self) -> Expectation {
        Expectation {
            expect: self.expect,
            reasons: sorted(self.reasons.clone()),
            names: self.names.clone(),
            lifetime_seconds: self.lifetime_seconds,
        }
    }
}
