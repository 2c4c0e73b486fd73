//! `hallmark policy apply` and `status`: what operators do about the policy in force.

use std::path::Path;

use hallmark_policy::file::POLICY_BYTES_MAX;
use hallmark_proto::operator::{ApplyPolicyRequest, ApplyPolicyResponse, PolicyStatusRequest, PolicyStatusResponse};
use serde_json::{Value, json};

use crate::{
    arguments::{ApplyArguments, StatusArguments},
    config::Config,
    connection::operate,
    exit::Exit,
    files::{self, FileError},
    problem::Problem,
    screen::{Screen, Tone, printable},
    settings::ConnectionSettings,
    table::Table,
    when,
};

/// Brings a policy into force, or has it checked.
pub(crate) fn apply(arguments: &ApplyArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let config = Config::load(config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, &config)?;
    let unexpected = |_| FileError::Unexpected { path: arguments.file.clone(), expected: "policy in UTF-8" };
    let policy = String::from_utf8(files::read_up_to(&arguments.file, POLICY_BYTES_MAX)?).map_err(unexpected)?;
    let expected_sha256 = arguments.expect.map(|digest| digest.to_vec()).unwrap_or_default().into();
    let request = ApplyPolicyRequest { policy, dry_run: arguments.dry_run, expected_sha256 };
    let answer: ApplyPolicyResponse =
        operate(&settings, request, async |mut client, request| client.apply_policy(request).await)?;
    screen.say(&describe(&answer, arguments.dry_run, screen));
    screen.answer(&applied_to_json(&answer, arguments.dry_run))?;
    Ok(Exit::Done)
}

/// Says which policy is in force.
pub(crate) fn status(arguments: &StatusArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let config = Config::load(config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, &config)?;
    let question = PolicyStatusRequest {};
    let answer: PolicyStatusResponse =
        operate(&settings, question, async |mut client, request| client.policy_status(request).await)?;
    let digest = hallmark_policy::hex(&answer.policy_sha256);
    let since = when::rfc3339_of_millis(answer.in_force_since_millis);
    let mut table = Table::new();
    table.row(["since", &since]);
    table.row(["applied by", &printable(&answer.applied_by)]);
    table.row(["log index", &answer.log_index.to_string()]);
    screen.say(&format!("{} {digest}\n{}", screen.tone(Tone::Good, "in force:"), table.render(2)));
    screen.answer(&json!({
        "result": "policy",
        "policy-sha256": digest,
        "since": since,
        "applied-by": answer.applied_by,
        "log-index": answer.log_index,
    }))?;
    Ok(Exit::Done)
}

fn describe(answer: &ApplyPolicyResponse, dry_run: bool, screen: &Screen) -> String {
    let digest = hallmark_policy::hex(&answer.policy_sha256);
    let same = answer.policy_sha256 == answer.previous_sha256;
    let word = match (same, dry_run) {
        (true, _) => "unchanged:",
        (false, true) => "good:",
        (false, false) => "in force:",
    };
    let mut table = Table::new();
    if !same {
        let before = if dry_run { "in force" } else { "before" };
        table.row([before, &hallmark_policy::hex(&answer.previous_sha256)]);
    }
    if let Some(index) = answer.log_index {
        table.row(["log index", &index.to_string()]);
    }
    let mut text = format!("{} {digest}\n{}", screen.tone(Tone::Good, word), table.render(2));
    for note in &answer.notes {
        text.push_str(&format!("note: {}\n", printable(note)));
    }
    let hint = match (same, dry_run) {
        (true, _) => "",
        (false, true) => "hint: nothing was changed; leave --dry-run away to bring it into force\n",
        (false, false) => "hint: put it into the policy file of the signer, too: a start and SIGHUP read that one\n",
    };
    text + hint
}

fn applied_to_json(answer: &ApplyPolicyResponse, dry_run: bool) -> Value {
    json!({
        "result": if dry_run { "policy-good" } else { "policy-applied" },
        "policy-sha256": hallmark_policy::hex(&answer.policy_sha256),
        "previous-sha256": hallmark_policy::hex(&answer.previous_sha256),
        "in-force": answer.in_force,
        "notes": answer.notes,
        "log-index": answer.log_index,
        "receipt": answer.receipt,
        "log-entry": String::from_utf8_lossy(&answer.log_entry),
    })
}
