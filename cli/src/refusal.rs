//! What a signer answered instead of doing it: all its reasons, decoded from the status and said to people.

use hallmark_proto::{signer::Refusal, status};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::pb::{ErrorInfo, RetryInfo, Status as RichStatus};

use crate::{
    exit::Exit,
    screen::{Screen, Tone, printable},
    table::Table,
};

/// Full name of the detail that says where a refusal stands in the log.
const REFUSAL_NAME: &str = "hallmark.signer.v1.Refusal";

/// Full name of the detail that holds one reason.
const ERROR_INFO_NAME: &str = "google.rpc.ErrorInfo";

/// Full name of the detail that says when to try again.
const RETRY_INFO_NAME: &str = "google.rpc.RetryInfo";

/// A status other than OK.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refused {
    code: Code,
    message: String,
    reasons: Vec<Reason>,
    logged: Option<Refusal>,
    retry_secs: Option<i64>,
    request_id: Option<String>,
    again: Option<String>,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reason {
    code: String,
    field: String,
    sentence: String,
    allowed: String,
}

impl Refused {
    /// Decodes a status. Details that do not read are passed over: the message is there, too.
    pub(crate) fn of(status: &Status) -> Self {
        let rich = RichStatus::decode(status.details()).unwrap_or_default();
        let detail = |name: &'static str| rich.details.iter().filter(move |any| last_part(&any.type_url) == name);
        let reasons = detail(ERROR_INFO_NAME).filter_map(|any| ErrorInfo::decode(any.value.as_slice()).ok());
        let retry = detail(RETRY_INFO_NAME).find_map(|any| RetryInfo::decode(any.value.as_slice()).ok());
        let logged = detail(REFUSAL_NAME).find_map(|any| Refusal::decode(any.value.as_slice()).ok());
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reasons: reasons.map(Reason::of).collect(),
            logged,
            retry_secs: retry
                .and_then(|retry| retry.retry_delay)
                .map(|delay| delay.seconds + i64::from(delay.nanos > 0)),
            request_id: None,
            again: None,
        }
    }

    /// How the same thing is asked for again, where trying again can help.
    pub(crate) fn with_hint_to_try_again(mut self, hint: String) -> Self {
        self.again = Some(hint).filter(|_| Exit::of_status(self.code) == Exit::NotNow);
        self
    }

    /// The request that was not done.
    pub(crate) fn with_request_id(mut self, request_id: &str) -> Self {
        self.request_id = Some(request_id.to_owned());
        self
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// For people.
    pub(crate) fn render(&self, screen: &Screen) -> String {
        let mut text = self.headline(screen);
        for reason in &self.reasons {
            text.push_str(&reason.render());
        }
        let mut table = Table::new();
        if let Some(logged) = &self.logged {
            table.row(["log index", &logged.log_index.to_string()]);
        }
        table.list("request id", self.request_id.as_deref());
        text.push_str(&table.render(2));
        text.push_str(&format!("hint: {}\n", self.hint()));
        text
    }

    fn headline(&self, screen: &Screen) -> String {
        let (tone, word) = match Exit::of_status(self.code) {
            Exit::No => (Tone::Bad, "refused:"),
            Exit::Done | Exit::Unusable | Exit::NotNow => (Tone::Doubtful, "not done:"),
        };
        let why = match self.reasons.len() {
            0 if self.message.is_empty() => String::new(),
            0 => format!(", {}", printable(&self.message)),
            1 => ", for one reason".to_owned(),
            reasons => format!(", for {reasons} reasons"),
        };
        format!("{} {}{why}\n", screen.tone(tone, word), name(self.code))
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let result = if Exit::of_status(self.code) == Exit::No { "refused" } else { "failed" };
        json!({
            "result": result,
            "status": name(self.code),
            "message": self.message,
            "reasons": self.reasons.iter().map(Reason::to_json).collect::<Vec<_>>(),
            "log-index": self.logged.as_ref().map(|logged| logged.log_index),
            "receipt": self.logged.as_ref().map(|logged| &logged.receipt),
            "retry-after-secs": self.retry_secs,
            "request-id": self.request_id,
            "hint": self.hint(),
        })
    }

    /// What to do: by the first reason that has a hint of its own, otherwise by the status.
    pub(crate) fn hint(&self) -> String {
        let by_reason = self.reasons.iter().find_map(|reason| hint_of_reason(&reason.code));
        let hint = self.again.as_deref().or(by_reason).unwrap_or_else(|| hint_of_status(self.code));
        match self.retry_secs {
            Some(secs) => format!("{hint} (in {secs} s)"),
            None => hint.to_owned(),
        }
    }
}

impl Reason {
    fn of(info: ErrorInfo) -> Self {
        let text = |key: &str| info.metadata.get(key).cloned().unwrap_or_default();
        Self { field: text("field"), sentence: text("sentence"), allowed: text("allowed"), code: info.reason }
    }

    fn render(&self) -> String {
        let field = if self.field.is_empty() { String::new() } else { format!(" ({})", printable(&self.field)) };
        let mut text = format!("  {}{field}: {}\n", printable(&self.code), printable(&self.sentence));
        if !self.allowed.is_empty() {
            text.push_str(&format!("    allowed: {}\n", printable(&self.allowed)));
        }
        text
    }

    fn to_json(&self) -> Value {
        json!({ "code": self.code, "field": self.field, "sentence": self.sentence, "allowed": self.allowed })
    }
}

fn last_part(type_url: &str) -> &str {
    type_url.rsplit('/').next().unwrap_or(type_url)
}

fn hint_of_reason(code: &str) -> Option<&'static str> {
    Some(match code {
        "CALLER_UNKNOWN" => "the policy file names callers by the URI or DNS name in their certificate; check --cert",
        "CALLER_EXPIRED" => "renew the client certificate that --cert names",
        "METHOD_NOT_ALLOWED" | "PROFILE_NOT_ALLOWED" | "PROVIDER_NOT_ALLOWED" => {
            "the policy's owner grants this caller methods, profiles and providers"
        }
        "PROFILE_UNKNOWN" | "AUTHORITY_UNKNOWN" => "compare --profile and --authority with the policy file",
        "POSSESSION_NOT_PROVEN" => "send a CSR with --csr: it proves that its sender has the key",
        "INSTANCE_PROOF_MISSING" => {
            "sign with the key of the certificate that is replaced, and name the signature with --refresh-proof"
        }
        "EVIDENCE_MISSING" => "name the provider's JWT with --evidence-jwt",
        "EVIDENCE_NOT_ALLOWED" => {
            "leave --evidence-jwt away, or have the policy's owner put `evidence` into the profile"
        }
        "EVIDENCE_EXPIRED" => "have the provider make new evidence; compare the clocks if it is new",
        "EVIDENCE_NOT_YET_VALID" => "compare the provider's clock with the signer's",
        "EVIDENCE_KEY_UNKNOWN" | "EVIDENCE_ALGORITHM_NOT_ALLOWED" | "EVIDENCE_SIGNATURE_WRONG" => {
            "the policy's owner compares the keys of `evidence` with those of the provider"
        }
        "EVIDENCE_MALFORMED" | "EVIDENCE_CLAIM_WRONG" | "EVIDENCE_OF_OTHER_KEY" => {
            "have the provider make evidence for these names and this key"
        }
        "LIFETIME_TOO_LONG" => "leave --lifetime away for the profile's own",
        "TRANSITION_STALE" => "`hallmark chain` shows the active transition",
        "EPOCH_NOT_ACTIVE" => "an operator has to start an epoch of this authority",
        "MANIFEST_INVALID" => "correct the manifest, and have an owner sign it again",
        "MANIFEST_IMMUTABLE" => {
            "the manifest in force names no owner, so that it stays; a new deployment is a new authority"
        }
        "OWNER_UNKNOWN" => {
            "sign with a key that the manifest in force names; before the first one, those that the policy names"
        }
        "OWNER_SIGNATURE_WRONG" => {
            "sign what --print-statement prints; with `owner-signature = \"contrast\"` in the policy, add --contrast"
        }
        "OWNER_KEY_SHARED" => "an owner's key is for one authority; name another key in the manifest",
        "ROTATES_BY_AGE" => {
            "an operator rotates this authority: `hallmark epoch prepare`, then `hallmark epoch activate`"
        }
        "REQUEST_ID_REUSED" | "REQUEST_VOID" => "ask again with a new --request-id",
        "CLOCK_UNTRUSTED" => "an operator has to look at the signer's clock",
        "MESSAGE_TOO_LARGE" => "send a smaller request: a CSR has at most 65,536 bytes",
        "POLICY_INVALID" => "correct the policy file; the policy before stays in force",
        "POLICY_DIFFERS" => "the policy before stays in force; CA certificates are made once, so put those tables back",
        "POLICY_STALE" => {
            "`hallmark policy status` shows the policy in force; compare it with yours, then name it with --expect"
        }
        "NAME_CLAIMED" => "`hallmark name list` shows whose the form is; an operator can release it",
        "NAME_NOT_CLAIMED" => "`hallmark name list` shows the forms, and whose they are",
        "NAME_IN_USE" => {
            "wait until the last certificate with the form has ended, or give --force and say why in --reason"
        }
        "RATE_EXCEEDED" => "ask less often, or have the policy's owner raise the rate",
        "QUOTA_EXCEEDED" => "wait for the quota's next period, or have the policy's owner raise it",
        "KEY_HAS_OTHER_NAMES" => "make a new key for these names",
        "STATE_DIFFERS" => "do as the reason says; `hallmark epochs` shows how the epochs stand",
        "CRL_NOT_CONFIGURED" => "the policy's owner gives the authority `crl = { .. }`",
        "CRL_TOO_LARGE" => "rotate the epoch: a new key begins with an empty list",
        "DEVICE_INCAPABLE" => {
            "nothing was committed: ask for a shorter certificate; of an epoch's CRL, rotate the epoch, so that a new key begins an empty list, or choose an ECDSA key"
        }
        "CRL_STALE" => "try again: a certificate was revoked, or another CRL made, meanwhile",
        "CERTIFICATE_UNKNOWN" => "look the serial number up in the log: `hallmark log show`",
        "DRAFT_DISAGREES" => "this is a defect of the signer; tell whoever runs it, with the log index",
        _ => return None,
    })
}

fn hint_of_status(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument | Code::OutOfRange => "correct the request; nothing was signed",
        Code::PermissionDenied | Code::Unauthenticated => {
            "what the policy does not name is refused; change the request, or the policy's owner changes the policy"
        }
        Code::NotFound => "compare the names with the policy file",
        Code::AlreadyExists => "ask again with a new --request-id",
        Code::FailedPrecondition => "the signer's state does not permit it now; an operator can say more",
        Code::Unimplemented => "this signer does not know this yet; leave the field away",
        Code::ResourceExhausted => "ask for less, or later",
        Code::DeadlineExceeded => {
            "try again with the same --request-id, which cannot mint twice, or give a longer --timeout"
        }
        Code::Unavailable | Code::Aborted | Code::Cancelled => {
            "try again with the same --request-id: it cannot mint twice"
        }
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => "tell whoever runs the signer",
    }
}

/// The code as gRPC writes it.
fn name(code: Code) -> &'static str {
    // tonic has no other codes than gRPC's.
    status::name(i32::from(code)).unwrap_or_default()
}
