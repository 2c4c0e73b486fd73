//! `hallmark policy explain`: each rule with what it saw, and the certificate that would come out.

use hallmark_policy::{
    Policy, Reason, ReasonCode, SubjectInput,
    evidence::VerifiedBy,
    key::{KeyKind, PublicKey},
    time::{Span, UnixTime},
};
use serde_json::{Value, json};

use super::{
    certificate, manifest,
    rule::Rule,
    stand_in::StandIns,
    trial::{Question, Trial, trial},
};
use crate::{
    arguments::ExplainArguments,
    certificate::{asked_of_csr, spki_of_csr},
    exit::Exit,
    files,
    problem::Problem,
    screen::{Screen, Tone},
    table::Table,
    when,
};

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Fail,
    NotLookedAt,
}

/// A rule with what it saw.
struct Row {
    rule: Rule,
    verdict: Verdict,
    saw: String,
    reasons: Vec<Reason>,
}

/// Decides about the CSR and shows why.
pub(crate) fn explain(arguments: &ExplainArguments, screen: &Screen) -> Result<Exit, Problem> {
    let policy = super::read(&arguments.policy)?;
    let csr = files::read_up_to(&arguments.csr, hallmark_policy::CSR_BYTES_MAX)?;
    let manifest = arguments.manifest.as_ref().map(|path| manifest::read(path, &policy, &arguments.profile));
    let question = Question {
        caller: &arguments.caller,
        profile: &arguments.profile,
        subject: SubjectInput::Csr(csr),
        claims: Vec::new(),
        manifest: manifest.transpose()?,
        policy_hash: arguments.policy_hash.map(Vec::from).unwrap_or_default(),
        evidence_jwt: arguments.evidence_jwt.as_deref().map(files::read_jwt).transpose()?.unwrap_or_default(),
        lifetime_secs: arguments.lifetime.map_or(0, Span::secs),
        at: arguments.at.unwrap_or_else(|| UnixTime::from_secs(when::now_millis() / 1_000)),
    };
    let trial = trial(&policy, &question, &mut StandIns::default())?;
    let keeps_instances = policy.profile(question.profile).is_some_and(|profile| profile.instances().is_some());
    let rows = Rule::ALL.into_iter().map(|rule| row(rule, &policy, &question, &trial));
    let rows: Vec<Row> = rows.filter(|row| row.rule != Rule::Instance || keeps_instances).collect();
    if screen.is_json() {
        screen.answer(&to_json(&rows, &trial))?;
    } else {
        screen.data(render(&rows, &policy, &question, &trial, screen).as_bytes())?;
    }
    Ok(if trial.approved.is_some() { Exit::Done } else { Exit::No })
}

fn row(rule: Rule, policy: &Policy, question: &Question<'_>, trial: &Trial) -> Row {
    let reasons: Vec<Reason> = trial.reasons.iter().filter(|reason| Rule::of(reason) == rule).cloned().collect();
    let profile_is_known = !trial.reasons.iter().any(|reason| Rule::of(reason) == Rule::Profile);
    let read = trial.facts.is_some();
    let caller_is_known = policy.caller(&trial.caller).is_some();
    let looked_at = match rule {
        Rule::Request | Rule::Caller => true,
        Rule::Method => caller_is_known,
        Rule::Profile => read && caller_is_known,
        Rule::Transition => read,
        Rule::Signer => false,
        Rule::Provider => trial.provider.is_some(),
        Rule::Evidence if question.evidence_jwt.is_empty() => false,
        _ if rule.is_the_profiles() => read && profile_is_known,
        Rule::Key
        | Rule::Possession
        | Rule::Extensions
        | Rule::Names
        | Rule::Evidence
        | Rule::Instance
        | Rule::Lifetime => true,
    };
    let verdict = match (reasons.is_empty(), looked_at) {
        (false, _) => Verdict::Fail,
        (true, true) => Verdict::Pass,
        (true, false) => Verdict::NotLookedAt,
    };
    Row { rule, verdict, saw: saw(rule, policy, question, trial), reasons }
}

fn saw(rule: Rule, policy: &Policy, question: &Question<'_>, trial: &Trial) -> String {
    let csr: &[u8] = if let SubjectInput::Csr(csr) = &question.subject { csr } else { &[] };
    let profile = policy.profile(question.profile);
    match rule {
        Rule::Request => format!("a CSR of {}", when::count(csr.len() as u64, "byte")),
        Rule::Caller => {
            let identities: Vec<_> = trial.caller.identities().iter().map(ToString::to_string).collect();
            let who = match policy.caller(&trial.caller) {
                Some(rule) => format!("`{}`", rule.name()),
                None => "a stranger".to_owned(),
            };
            format!("{who}, whose certificate says {}", identities.join(", "))
        }
        Rule::Method => "MintCertificate".to_owned(),
        Rule::Profile => match profile {
            Some(profile) => format!("`{}` under authority `{}`", profile.name(), profile.authority()),
            None => format!("`{}`", question.profile),
        },
        Rule::Key => match spki_of_csr(csr).and_then(|spki| PublicKey::parse(&spki).ok()) {
            Some(key) => format!("{}, spki-sha256 {}", key.kind(), hallmark_policy::hex(key.digest().as_bytes())),
            None => "no key that reads".to_owned(),
        },
        Rule::Possession => "the CSR's signature".to_owned(),
        Rule::Extensions => match asked_of_csr(csr) {
            Some(asked) if asked.is_empty() => "nothing beside names".to_owned(),
            Some(asked) => asked.join(", "),
            None => "nothing that reads".to_owned(),
        },
        Rule::Names if !question.policy_hash.is_empty() => {
            let names = trial.facts.as_ref().map(|facts| facts.names.join(", ")).unwrap_or_default();
            let own = if names.is_empty() { String::new() } else { format!("; {names}") };
            format!("the policy hash {}{own}", hallmark_policy::hex(&question.policy_hash))
        }
        Rule::Names => match trial.facts.as_ref().map(|facts| facts.names.join(", ")) {
            Some(names) if names.is_empty() => "no names".to_owned(),
            Some(names) => names,
            None => "nothing that reads".to_owned(),
        },
        Rule::Provider => match &trial.provider {
            Some(provider) => format!("`{provider}`"),
            None => "the names say none".to_owned(),
        },
        Rule::Evidence => match question.evidence_jwt.len() {
            0 => "none".to_owned(),
            bytes => format!("a JWT of {}{}", when::count(bytes as u64, "byte"), verified_by(trial)),
        },
        Rule::Instance => match trial.approved.as_ref().and_then(|approved| approved.conditions().instance.as_ref()) {
            Some(moved) => format!("a registration of {}", moved.name),
            None => "no registration".to_owned(),
        },
        Rule::Lifetime => match (question.lifetime_secs, profile) {
            (0, Some(profile)) => format!("no wish, so the profile's {}", profile.lifetime_default()),
            (0, None) => "no wish".to_owned(),
            (secs, _) => format!("a wish for {}", Span::from_secs(secs)),
        },
        Rule::Transition => "none named".to_owned(),
        Rule::Signer => "what only a running signer knows: its epoch, earlier requests, its clock".to_owned(),
    }
}

/// The key that verified the evidence, where the request is approved.
fn verified_by(trial: &Trial) -> String {
    let facts = trial.approved.as_ref().and_then(|approved| approved.facts().evidence.as_ref());
    match facts.and_then(|facts| facts.verified_by.as_ref()) {
        Some(VerifiedBy { kid, spki }) if kid.is_empty() => format!(", verified by the key {spki}"),
        Some(VerifiedBy { kid, .. }) => format!(", verified by the key `{kid}`"),
        None => String::new(),
    }
}

fn render(rows: &[Row], policy: &Policy, question: &Question<'_>, trial: &Trial, screen: &Screen) -> String {
    let mut table = Table::new();
    for row in rows {
        table.row([word(row.verdict), row.rule.name(), &row.saw]);
        for reason in &row.reasons {
            table.row(["", "", &format!("{}: {}", reason.code.as_str(), reason.sentence)]);
            if let Some(allowed) = &reason.allowed {
                table.row(["", "", &format!("allowed: {allowed}")]);
            }
        }
    }
    let mut text = table.render(0);
    text.push('\n');
    let Some(content) = trial.approved.as_ref().and_then(|approved| approved.certificate()) else {
        let why = when::count(trial.reasons.len() as u64, "reason");
        text.push_str(&format!("{} for {why}, at {}\n", screen.tone(Tone::Bad, "refused"), question.at));
        if trial.reasons.iter().any(|reason| reason.code == ReasonCode::ManifestMissing) {
            text.push_str("hint: name the manifest with --manifest FILE\n");
        }
        return text;
    };
    let good = screen.tone(Tone::Good, "approved");
    text.push_str(&format!("{good} at {}; the certificate would say:\n", question.at));
    text.push_str(&certificate::table(content).render(2));
    text.push_str(&stand_in_remark(policy, trial));
    text
}

fn stand_in_remark(policy: &Policy, trial: &Trial) -> String {
    let has = policy.authority(&trial.issuer.authority).map(|authority| authority.epoch.key);
    let stands_in = trial.issuer.key.kind();
    match has {
        Some(kind) if kind != stands_in => format!(
            "No key was touched: a new {stands_in} key stands in for the {kind} key of `{}`.\n",
            trial.issuer.authority
        ),
        Some(_) | None => {
            format!("No key was touched: a new key stands in for that of `{}`.\n", trial.issuer.authority)
        }
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::NotLookedAt => "-",
    }
}

fn to_json(rows: &[Row], trial: &Trial) -> Value {
    let row = |row: &Row| {
        let verdict = match row.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::NotLookedAt => "not-looked-at",
        };
        json!({ "rule": row.rule.name(), "verdict": verdict, "saw": row.saw, "reasons": reasons(&row.reasons) })
    };
    json!({
        "result": if trial.approved.is_some() { "approved" } else { "refused" },
        "rules": rows.iter().map(row).collect::<Vec<_>>(),
        "certificate": trial.approved.as_ref().and_then(|approved| approved.certificate()).map(certificate::to_json),
        "issuer-key": { "stand-in": true, "kind": KeyKind::name(trial.issuer.key.kind()) },
    })
}

fn reasons(reasons: &[Reason]) -> Vec<Value> {
    let reason = |reason: &Reason| {
        json!({
            "code": reason.code.as_str(),
            "field": reason.field,
            "sentence": reason.sentence,
            "allowed": reason.allowed,
        })
    };
    reasons.iter().map(reason).collect()
}
