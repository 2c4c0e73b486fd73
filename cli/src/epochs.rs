//! `hallmark epochs`: how an authority's epochs stand.

pub(crate) mod view;
mod watch;

use std::path::Path;

use hallmark_proto::signer::{EpochStatus, ListEpochsRequest, ListEpochsResponse};
use serde_json::json;

use crate::{
    arguments::{EpochsArguments, EpochsCommand, EpochsListArguments, EpochsShowArguments},
    config::Config,
    connection::{self, Connection},
    exit::Exit,
    problem::Problem,
    screen::{Screen, Tone, printable},
    settings::{ConnectionSettings, SettingsError, first},
    when,
};

/// Lists, watches or shows them.
pub(crate) fn epochs(arguments: &EpochsArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let config = Config::load(config)?;
    match &arguments.command {
        Some(EpochsCommand::Show(show)) => self::show(show, &config, screen),
        None => list(&arguments.list, &config, screen),
    }
}

/// The authority that was typed, or that of the file.
pub(crate) fn authority(typed: &Option<String>, config: &Config) -> Result<String, SettingsError> {
    first(typed, &config.authority).ok_or(SettingsError::Missing { what: "the authority", name: "authority" })
}

/// Shows a page of epochs on stdout, and what should be done about them.
pub(crate) fn show_list(
    authority: &str,
    answer: &ListEpochsResponse,
    full: bool,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let now = now_secs();
    let warnings = view::warnings(&answer.epochs, now);
    if !screen.is_json() {
        screen.data(view::table(&answer.epochs, full, now).render(0).as_bytes())?;
    }
    for warning in &warnings {
        screen.say(&format!("{} {}", screen.tone(Tone::Doubtful, warning.word), warning.sentence));
    }
    if let Some(oldest) = answer.epochs.last().filter(|_| answer.more) {
        screen.say(&format!("hint: there are older ones; give --before {}", view::generation(oldest)));
    }
    if answer.epochs.is_empty() {
        screen.say(&format!("{} has no such epoch", printable(authority)));
    }
    screen.answer(&json!({
        "result": "epochs",
        "authority": authority,
        "epochs": answer.epochs.iter().map(view::to_json).collect::<Vec<_>>(),
        "more": answer.more,
        "warnings": warnings.iter().map(|warning| &warning.sentence).collect::<Vec<_>>(),
    }))?;
    Ok(Exit::Done)
}

/// This moment, in seconds since 1970.
pub(crate) fn now_secs() -> i64 {
    when::now_millis().div_euclid(1_000)
}

/// The epoch of this generation in a page that begins with it.
pub(crate) fn pick(answer: ListEpochsResponse, authority: &str, generation: u64) -> Result<EpochStatus, Problem> {
    let found = answer.epochs.into_iter().find(|epoch| view::generation(epoch) == generation);
    found.ok_or_else(|| Problem::NoSuchEpoch { authority: authority.to_owned(), generation })
}

fn list(arguments: &EpochsListArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    if arguments.watch {
        return watch::watch(&settings, &authority, arguments.full, screen);
    }
    let before_generation = arguments.before.unwrap_or(0);
    let request = ListEpochsRequest { authority: authority.clone(), before_generation, limit: arguments.limit };
    show_list(&authority, &ask(&settings, request)?, arguments.full, screen)
}

fn show(arguments: &EpochsShowArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    let generation = arguments.generation;
    let before_generation = generation.saturating_add(1);
    let request = ListEpochsRequest { authority: authority.clone(), before_generation, limit: 1 };
    let epoch = pick(ask(&settings, request)?, &authority, generation)?;
    if !screen.is_json() {
        let details = view::details(&epoch, now_secs()).render(2);
        screen.data(format!("{} generation {generation}\n{details}", printable(&authority)).as_bytes())?;
    }
    for warning in view::warnings(std::slice::from_ref(&epoch), now_secs()) {
        screen.say(&format!("{} {}", screen.tone(Tone::Doubtful, warning.word), warning.sentence));
    }
    screen.answer(&json!({ "result": "epoch", "authority": authority, "epoch": view::to_json(&epoch) }))?;
    Ok(Exit::Done)
}

fn ask(settings: &ConnectionSettings, request: ListEpochsRequest) -> Result<ListEpochsResponse, Problem> {
    connection::runtime()?.block_on(async {
        let connection = Connection::open(settings).await?;
        connection.call(request, async |mut client, request| client.list_epochs(request).await).await
    })
}
