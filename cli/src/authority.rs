//! `hallmark authority`: what operators do about authorities, on their own listener.

use std::path::Path;

use hallmark_proto::operator::{
    FreezeAuthorityRequest, FreezeAuthorityResponse, ResumeAuthorityRequest, ResumeAuthorityResponse,
    ThawAuthorityRequest, ThawAuthorityResponse,
};
use serde_json::json;

use crate::{
    arguments::{AuthorityArguments, AuthorityCommand},
    config::Config,
    confirm::confirm,
    connection::operate,
    epochs,
    exit::Exit,
    problem::Problem,
    screen::{Screen, Tone, printable},
    settings::ConnectionSettings,
    table::Table,
};

/// Does what an operator asks for.
pub(crate) fn authority(command: &AuthorityCommand, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let config = Config::load(config)?;
    match command {
        AuthorityCommand::Freeze(arguments) => freeze(arguments, &config, screen),
        AuthorityCommand::Thaw(arguments) => thaw(arguments, &config, screen),
        AuthorityCommand::Resume(arguments) => resume(arguments, &config, screen),
    }
}

/// Nobody is asked: what it stops can be let go on, and what it does not stop cannot be undone.
fn freeze(arguments: &AuthorityArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = epochs::authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    let request = FreezeAuthorityRequest { authority: authority.clone(), why: arguments.why.clone() };
    let answer: FreezeAuthorityResponse =
        operate(&settings, request, async |mut client, request| client.freeze_authority(request).await)?;
    let mut table = Table::new();
    table.row(["log index", &answer.log_index.to_string()]);
    if answer.thrown_away > 0 {
        table.row(["thrown away", &format!("{} signatures that did not come in time", answer.thrown_away)]);
    }
    let word = screen.tone(Tone::Good, if answer.before { "frozen before:" } else { "frozen:" });
    let shown = printable(&authority);
    let hint = format!("hint: `hallmark authority thaw --authority {shown} --why ..` lets it issue again");
    screen.say(&format!(
        "{word} {shown} signs CRLs and its own epochs, and nothing for callers\n{}{hint}",
        table.render(2)
    ));
    screen.answer(&json!({
        "result": "authority-frozen",
        "authority": authority,
        "before": answer.before,
        "log-index": answer.log_index,
        "thrown-away": answer.thrown_away,
        "receipt": answer.receipt,
    }))?;
    Ok(Exit::Done)
}

fn thaw(arguments: &AuthorityArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = epochs::authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    screen.say(&format!("to thaw: {}", printable(&authority)));
    let why = "from then on it signs for callers again, under the epoch that is active";
    confirm(screen, arguments.yes, why, "Is what it was frozen for over?")?;
    let request = ThawAuthorityRequest { authority: authority.clone(), why: arguments.why.clone() };
    let answer: ThawAuthorityResponse =
        operate(&settings, request, async |mut client, request| client.thaw_authority(request).await)?;
    issues_again(screen, ("thawed:", "authority-thawed"), &authority, answer.log_index, &answer.receipt)
}

fn resume(arguments: &AuthorityArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = epochs::authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    screen.say(&format!("to resume: {} with the database that it has", printable(&authority)));
    let why = "instances whose certificates the database does not know are lost to it; the newest database, put back, knows them";
    confirm(screen, arguments.yes, why, "Is there no newer database?")?;
    let request = ResumeAuthorityRequest { authority: authority.clone(), why: arguments.why.clone() };
    let answer: ResumeAuthorityResponse =
        operate(&settings, request, async |mut client, request| client.resume_authority(request).await)?;
    issues_again(screen, ("resumed:", "authority-resumed"), &authority, answer.log_index, &answer.receipt)
}

/// The word for people and that for machines.
fn issues_again(
    screen: &Screen,
    (word, result): (&str, &str),
    authority: &str,
    log_index: u64,
    receipt: &str,
) -> Result<Exit, Problem> {
    let mut table = Table::new();
    table.row(["log index", &log_index.to_string()]);
    let (word, shown) = (screen.tone(Tone::Good, word), printable(authority));
    screen.say(&format!("{word} {shown} issues again\n{}", table.render(2)));
    screen.answer(&json!({
        "result": result,
        "authority": authority,
        "log-index": log_index,
        "receipt": receipt,
    }))?;
    Ok(Exit::Done)
}
