//! Bringing another policy into force: read and checked first, logged, and only then in its place. Whatever is wrong with it
//! leaves the one before in force, and stands in the log.

use std::{collections::HashMap, sync::Arc};

use hallmark_ledger::Event;
use hallmark_policy::{
    Policy, Reason, ReasonCode,
    profile::{Authority, PolicyDigest, PolicyError},
    reason::REASONS_MAX,
};

use crate::{
    answer::{Failure, Receipt},
    authorities::{self, AuthorityError, Keys, Serving},
    config::{ConfigError, read_policy_text},
    core::{Core, Inner},
    in_force::{Current, Since},
};

/// Who brings a policy at a start, in the log.
pub(crate) const BY_START: &str = "start";

/// Who brings a policy that is read again from its file, in the log.
pub(crate) const BY_RELOAD: &str = "reload";

/// What became of a policy that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyNews {
    /// The policy in force now.
    pub digest: PolicyDigest,
    /// Whether it is another than before.
    pub changed: bool,
    /// What an operator should know, in sentences.
    pub notes: Vec<String>,
}

/// Why a policy was not taken. The one before is in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", sentences.join("; "))]
pub struct PolicyNotTaken {
    /// The reasons, at least one.
    pub sentences: Vec<String>,
}

/// A policy that was looked at, and taken if that was wanted.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) digest: PolicyDigest,
    pub(crate) previous: PolicyDigest,
    pub(crate) in_force: bool,
    pub(crate) since: Option<Since>,
    pub(crate) notes: Vec<String>,
    pub(crate) receipt: Receipt,
}

/// What is wanted of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// That it comes into force.
    InForce,
    /// That it is checked.
    Checked,
}

impl Core {
    /// Reads the policy file again and brings it into force, as SIGHUP does.
    ///
    /// # Errors
    /// What is wrong with it. The policy before stays in force, and the log says so.
    pub async fn reload_policy(&self) -> Result<PolicyNews, PolicyNotTaken> {
        let inner = Arc::clone(&self.inner);
        let work = inner.begin();
        // Not cancelled with whoever waits: what is logged takes its place.
        let applying = tokio::spawn(async move {
            let applied = inner.reload().await;
            drop(work);
            applied
        });
        match applying.await {
            Ok(Ok(applied)) => Ok(PolicyNews {
                digest: applied.digest,
                changed: applied.digest != applied.previous,
                notes: applied.notes,
            }),
            Ok(Err(failure)) => {
                Err(PolicyNotTaken { sentences: failure.reasons.into_iter().map(|reason| reason.sentence).collect() })
            }
            Err(_) => Err(PolicyNotTaken { sentences: vec!["reading the policy was interrupted".to_owned()] }),
        }
    }
}

impl Inner {
    async fn reload(self: &Arc<Self>) -> Result<Applied, Failure> {
        let path = self.policy_file.clone();
        let read = tokio::task::spawn_blocking(move || read_policy_text(&path)).await;
        match read {
            Ok(Ok(text)) => self.apply_policy(text, BY_RELOAD, Want::InForce, None).await,
            Ok(Err(error)) => {
                let reason = Reason::new(ReasonCode::PolicyInvalid, "policy", error.to_string());
                Err(self.policy_refused(None, BY_RELOAD, vec![reason]).await)
            }
            Err(_) => Err(Reason::new(ReasonCode::LedgerFailed, "policy", "reading the policy was interrupted").into()),
        }
    }

    /// Checks a policy, and brings it into force if that is wanted, in the place of the expected one.
    pub(crate) async fn apply_policy(
        self: &Arc<Self>,
        text: String,
        by: &str,
        want: Want,
        expected: Option<PolicyDigest>,
    ) -> Result<Applied, Failure> {
        let _one_at_a_time = self.in_force.changing().await;
        let digest = PolicyDigest::of(&text);
        if let Some(reason) = stale(expected, digest, self.policy().digest()) {
            return Err(match want {
                Want::Checked => reason.into(),
                Want::InForce => self.policy_refused(Some(digest), by, vec![reason]).await,
            });
        }
        let checking = Arc::clone(self);
        let checked = tokio::task::spawn_blocking(move || check(&checking, &text)).await;
        let interrupted =
            || vec![Reason::new(ReasonCode::LedgerFailed, "policy", "checking the policy was interrupted")];
        let (policy, serving) = match checked.unwrap_or_else(|_| Err(interrupted())) {
            Ok(checked) => checked,
            Err(reasons) if want == Want::Checked => return Err(Failure { reasons, logged: None, retry_after: None }),
            Err(reasons) => return Err(self.policy_refused(Some(digest), by, reasons).await),
        };
        let before = self.in_force.current();
        let mut notes = self.notes(&policy);
        notes.extend(authorities::differences(&serving, &policy));
        let applied = Applied {
            digest,
            previous: before.policy.digest(),
            in_force: digest == before.policy.digest(),
            since: None,
            notes,
            receipt: Receipt::default(),
        };
        match want {
            Want::Checked => Ok(applied),
            Want::InForce if applied.in_force => Ok(Applied { since: Some(before.since), ..applied }),
            Want::InForce => self.swap(policy, serving, by, applied).await,
        }
    }

    /// Logs the policy and puts it in its place, while nothing is decided.
    async fn swap(
        &self,
        policy: Policy,
        serving: HashMap<String, Serving>,
        by: &str,
        applied: Applied,
    ) -> Result<Applied, Failure> {
        let alone = self.in_force.alone().await;
        let at = self.clock.wall().millis;
        let event = Event::PolicyLoaded { digest: policy.digest(), text: policy.text().to_owned(), by: by.to_owned() };
        let logged = self.ledger.record(event, at).await.map_err(|error| self.ledger_failed(&error))?;
        let since = Since { log_index: logged.index, at, by: by.to_owned() };
        self.in_force.replace(Current { policy: Arc::new(policy), since: since.clone() });
        self.serve(serving);
        drop(alone);
        tracing::info!(policy = %applied.digest, before = %applied.previous, by, "another policy is in force");
        Ok(Applied { in_force: true, since: Some(since), receipt: self.receipt_or_none(logged).await, ..applied })
    }

    /// Logs that a policy was not taken.
    async fn policy_refused(&self, digest: Option<PolicyDigest>, by: &str, reasons: Vec<Reason>) -> Failure {
        for reason in &reasons {
            tracing::error!(by, %reason, "a policy was not taken; the one before stays in force");
        }
        let sentences = reasons.iter().map(|reason| reason.sentence.clone()).collect();
        let digest = digest.map(|digest| *digest.as_bytes());
        let event = Event::PolicyRefused { digest, by: by.to_owned(), sentences };
        match self.ledger.record(event, self.clock.wall().millis).await {
            Ok(logged) => self.refused(reasons, logged).await,
            Err(error) => self.ledger_failed(&error),
        }
    }

    /// What the policy describes and this run does not serve.
    fn notes(&self, policy: &Policy) -> Vec<String> {
        let serving = self.all_serving();
        let idle = policy.authorities().filter(|authority| !serving.contains_key(&authority.name));
        let note = |authority: &Authority| {
            let waits = self.waits(authority);
            format!("authority `{}` is not served by this run: it {}; hint: {}", authority.name, waits.what, waits.hint)
        };
        idle.map(note).collect()
    }
}

/// The policy of that text with what is served under it, or every reason why it cannot be in force.
fn check(core: &Inner, text: &str) -> Result<(Policy, HashMap<String, Serving>), Vec<Reason>> {
    let policy = Policy::parse(text).map_err(mistakes)?;
    if let Some(name) = core.callers_signed_here.iter().find(|name| policy.authority(name).is_none()) {
        let error = ConfigError::UnknownAuthority(name.clone());
        return Err(vec![Reason::new(ReasonCode::PolicyDiffers, "policy", error.to_string())]);
    }
    let opened = core.all_serving();
    let serving =
        authorities::load(&core.ledger, Keys::Opened(&opened), &policy).map_err(|error| vec![unfit(&error)])?;
    let shared = core.owners_shared_under(&policy).map_err(|failure| failure.reasons)?;
    if shared.is_empty() { Ok((policy, serving)) } else { Err(shared) }
}

/// A policy that is in force already replaces none, whatever was expected: so a call whose answer was lost can be repeated.
fn stale(expected: Option<PolicyDigest>, wanted: PolicyDigest, in_force: PolicyDigest) -> Option<Reason> {
    expected.filter(|expected| *expected != in_force && wanted != in_force).map(|expected| {
        let sentence = format!("another policy is in force than {expected}, which was to be replaced");
        Reason::new(ReasonCode::PolicyStale, "expected_sha256", sentence).allowing(in_force.to_string())
    })
}

fn mistakes(error: PolicyError) -> Vec<Reason> {
    let mistakes = error.mistakes.into_iter().take(REASONS_MAX);
    mistakes.map(|mistake| Reason::new(ReasonCode::PolicyInvalid, "policy", mistake.to_string())).collect()
}

fn unfit(error: &AuthorityError) -> Reason {
    let code = match error {
        AuthorityError::PolicyDiffers { .. } | AuthorityError::Dropped { .. } => ReasonCode::PolicyDiffers,
        AuthorityError::Key { .. } => ReasonCode::DeviceFailed,
        AuthorityError::NoCeremony { .. } => ReasonCode::CertificateUnfit,
        AuthorityError::Ledger(_)
        | AuthorityError::Reference { .. }
        | AuthorityError::PublicKey { .. }
        | AuthorityError::Certificate { .. }
        | AuthorityError::Incomplete { .. } => ReasonCode::LedgerFailed,
    };
    Reason::new(code, "policy", error.to_string())
}
