//! `hallmark name`: what operators do about written forms of names, on their own listener.

use std::path::Path;

use hallmark_proto::operator::{
    ListNameClaimsRequest, ListNameClaimsResponse, NameClaim, ReleaseNameClaimRequest, ReleaseNameClaimResponse,
};
use serde_json::{Value, json};

use crate::{
    arguments::{NameCommand, NameListArguments, NameReleaseArguments},
    config::Config,
    confirm::confirm,
    connection::operate,
    epochs::authority,
    exit::Exit,
    problem::Problem,
    screen::{Screen, Tone, printable},
    settings::ConnectionSettings,
    table::Table,
    when,
};

/// Does what an operator asks for.
pub(crate) fn name(command: &NameCommand, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let config = Config::load(config)?;
    match command {
        NameCommand::List(list) => self::list(list, &config, screen),
        NameCommand::Release(release) => self::release(release, &config, screen),
    }
}

fn list(arguments: &NameListArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    let after_form = arguments.after.clone().unwrap_or_default();
    let request = ListNameClaimsRequest { authority: authority.clone(), after_form, limit: arguments.limit };
    let answer: ListNameClaimsResponse =
        operate(&settings, request, async |mut client, request| client.list_name_claims(request).await)?;
    if !screen.is_json() && !answer.claims.is_empty() {
        screen.data(table(&answer.claims).render(0).as_bytes())?;
    }
    if answer.claims.is_empty() {
        screen.say(&format!("{} has no such form", printable(&authority)));
    }
    if let Some(last) = answer.claims.last().filter(|_| answer.more) {
        screen.say(&format!("hint: there are more; give --after {}", printable(&last.form)));
    }
    screen.answer(&json!({
        "result": "names",
        "authority": authority,
        "names": answer.claims.iter().map(to_json).collect::<Vec<_>>(),
        "more": answer.more,
    }))?;
    Ok(Exit::Done)
}

fn release(arguments: &NameReleaseArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    let NameReleaseArguments { form, name, reason, force, yes, .. } = arguments;
    let (shown_form, shown_name) = (printable(form), printable(name));
    screen.say(&format!("to release: `{shown_form}` of {}, which `{shown_name}` has", printable(&authority)));
    if *force {
        let word = screen.tone(Tone::Doubtful, "warning:");
        screen.say(&format!("{word} while certificates with it have not ended, two names can be written alike"));
    }
    confirm(screen, *yes, "the next name that comes with the form has it", "Is this what you want?")?;
    let (form, name, reason) = (form.clone(), name.clone(), reason.clone());
    let request = ReleaseNameClaimRequest { authority: authority.clone(), form, name, reason, force: *force };
    let answer: ReleaseNameClaimResponse =
        operate(&settings, request, async |mut client, request| client.release_name_claim(request).await)?;
    let mut table = Table::new();
    table.row(["log index", &answer.log_index.to_string()]);
    screen.say(&format!("{} `{shown_form}`\n{}", screen.tone(Tone::Good, "free:"), table.render(2)));
    screen.answer(&json!({
        "result": "name-released",
        "authority": authority,
        "form": arguments.form,
        "name": arguments.name,
        "log-index": answer.log_index,
        "receipt": answer.receipt,
        "log-entry": String::from_utf8_lossy(&answer.log_entry),
    }))?;
    Ok(Exit::Done)
}

fn table(claims: &[NameClaim]) -> Table {
    let mut table = Table::new();
    table.row(["FORM", "NAME", "LAST CERTIFICATE ENDS", "LOG INDEX"]);
    for NameClaim { form, name, log_index, not_after } in claims {
        table.row([form, name, &when::rfc3339(*not_after), &log_index.to_string()]);
    }
    table
}

fn to_json(claim: &NameClaim) -> Value {
    let NameClaim { form, name, log_index, not_after } = claim;
    json!({ "form": form, "name": name, "log-index": log_index, "not-after": when::rfc3339(*not_after) })
}
