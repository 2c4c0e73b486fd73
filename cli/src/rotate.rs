//! `hallmark rotate`: an owner sets a manifest.

mod answer;
pub(crate) mod owner;
mod plan;

use std::path::Path;

use hallmark_proto::signer::RotateIntermediateResponse;
use serde_json::json;

use crate::{
    arguments::RotateArguments,
    bundle::{self, Directory},
    config::Config,
    confirm::confirm,
    connection::{self, Connection, ConnectionError},
    exit::Exit,
    files,
    log::key,
    problem::{Problem, again},
    rotate::{answer::Rotated, owner::Consent, plan::Plan},
    screen::{Screen, Tone, printable},
    settings::{ConnectionSettings, first},
};

/// Rotates, or prints what an owner would have to sign for it.
pub(crate) fn rotate(arguments: &RotateArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let config = Config::load(config)?;
    if arguments.print_statement {
        return print_statement(&Plan::new(arguments, &config)?, screen);
    }
    let settings = ConnectionSettings::resolve_for_keys(&arguments.connection, &config)?;
    let log_keys =
        first(&arguments.log_key, &config.log_key).map(|key| key::read(&key)).transpose()?.unwrap_or_default();
    let names = [bundle::INTERMEDIATE, bundle::MESH_CA, bundle::ROOT, bundle::ROOT_CRL, bundle::RECEIPT, bundle::ENTRY];
    let out = arguments.out.as_deref().map(|path| Directory::new(path, arguments.force, &names)).transpose()?;
    let plan = Plan::new(arguments, &config)?;
    let consent = Consent::obtain(arguments, &plan.statement()?)?;
    if let Some(path) = arguments.owner_key.as_ref().filter(|path| files::is_open_to_others(path)) {
        let path = path.display().to_string();
        let word = screen.tone(Tone::Doubtful, "warning:");
        screen.say(&format!("{word} others may read the owner's key `{}`; chmod 600 it", printable(&path)));
    }
    screen.say(&plan.render(&consent)?);
    if let Some(doubt) = plan.doubt() {
        confirm(screen, arguments.yes, doubt, "Is this what you want?")?;
    }
    let answer = ask(&settings, &plan, &consent)?;
    let does_not_hold = |source| Problem::Check { request_id: None, source };
    let rotated = Rotated::check(answer, &plan, &log_keys).map_err(does_not_hold)?;
    let not_written = |source| Problem::RotatedNotWritten { expected: hallmark_policy::hex(&plan.expected()), source };
    let written = out.map(|out| out.write(&rotated.files())).transpose().map_err(not_written)?.unwrap_or_default();
    screen.say(&rotated.render(&written, screen));
    screen.answer(&rotated.to_json(&plan))?;
    Ok(Exit::Done)
}

fn print_statement(plan: &Plan, screen: &Screen) -> Result<Exit, Problem> {
    let statement = plan.statement()?;
    if !screen.is_json() {
        screen.data(&statement)?;
    }
    screen.answer(&json!({
        "result": "statement",
        "statement": String::from_utf8_lossy(&statement),
        "expected-transition": hallmark_policy::hex(&plan.expected()),
        "transition": hallmark_policy::hex(&plan.transition()),
    }))?;
    Ok(Exit::Done)
}

fn ask(settings: &ConnectionSettings, plan: &Plan, consent: &Consent) -> Result<RotateIntermediateResponse, Problem> {
    let request = plan.request(consent);
    let answered = connection::runtime()?.block_on(async {
        let connection = Connection::open(settings).await?;
        connection.call(request, async |mut client, request| client.rotate_intermediate(request).await).await
    });
    answered.map_err(|problem| how_to_ask_again(problem, plan))
}

/// Whoever did not get an answer must name the same transition again: the one that is active by then may be the new one.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are about what was not sent")]
fn how_to_ask_again(problem: Problem, plan: &Plan) -> Problem {
    let expected = hallmark_policy::hex(&plan.expected());
    match problem {
        Problem::Refused(refused) => Problem::Refused(Box::new(refused.with_hint_to_try_again(again(&expected)))),
        Problem::Connection(source @ (ConnectionError::Lost { .. } | ConnectionError::NotInTime { .. })) => {
            Problem::RotationUnanswered { expected, source: Box::new(source) }
        }
        other => other,
    }
}
