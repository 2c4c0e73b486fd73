//! `hallmark authority`: what operators do about authorities, on their own listener.

use std::path::Path;

use hallmark_proto::operator::{ResumeAuthorityRequest, ResumeAuthorityResponse};
use serde_json::json;

use crate::{
    arguments::{AuthorityCommand, AuthorityResumeArguments},
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
        AuthorityCommand::Resume(resume) => self::resume(resume, &config, screen),
    }
}

fn resume(arguments: &AuthorityResumeArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = epochs::authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    screen.say(&format!("to resume: {} with the database that it has", printable(&authority)));
    let why = "instances whose certificates the database does not know are lost to it; the newest database, put back, knows them";
    confirm(screen, arguments.yes, why, "Is there no newer database?")?;
    let request = ResumeAuthorityRequest { authority: authority.clone(), why: arguments.why.clone() };
    let answer: ResumeAuthorityResponse =
        operate(&settings, request, async |mut client, request| client.resume_authority(request).await)?;
    let mut table = Table::new();
    table.row(["log index", &answer.log_index.to_string()]);
    let (word, shown) = (screen.tone(Tone::Good, "resumed:"), printable(&authority));
    screen.say(&format!("{word} {shown} issues again\n{}", table.render(2)));
    screen.answer(&json!({
        "result": "authority-resumed",
        "authority": authority,
        "log-index": answer.log_index,
        "receipt": answer.receipt,
    }))?;
    Ok(Exit::Done)
}
