//! `hallmark epoch`: what operators do about epochs, on their own listener.

use std::{fmt::Write as _, path::Path};

use hallmark_proto::{
    operator::{
        AbortEpochRequest, ActivateEpochRequest, BringIntermediateRequest, EpochResponse, PrepareEpochRequest,
        RevokeEpochRequest, RevokeEpochResponse,
    },
    signer::{EpochState, EpochStatus, ListEpochsRequest, ListEpochsResponse},
};
use serde_json::{Value, json};

use crate::{
    arguments::{
        EpochAbortArguments, EpochActivateArguments, EpochBringArguments, EpochCommand, EpochListArguments,
        EpochPrepareArguments, EpochRevokeArguments,
    },
    bundle::{self, Directory},
    config::Config,
    confirm::confirm,
    connection::operate,
    epochs::{self, view},
    exit::Exit,
    files::{self, FileError},
    pem,
    problem::Problem,
    screen::{Screen, Tone, printable},
    settings::ConnectionSettings,
    table::Table,
    when,
};

/// Epochs that are looked through for the active one.
const LOOKED_THROUGH: u32 = 100;

/// Does what an operator asks for.
pub(crate) fn epoch(command: &EpochCommand, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let config = Config::load(config)?;
    match command {
        EpochCommand::List(list) => self::list(list, &config, screen),
        EpochCommand::Prepare(prepare) => self::prepare(prepare, &config, screen),
        EpochCommand::Activate(activate) => self::activate(activate, &config, screen),
        EpochCommand::Abort(abort) => self::abort(abort, &config, screen),
        EpochCommand::Revoke(revoke) => self::revoke(revoke, &config, screen),
        EpochCommand::Bring(bring) => self::bring(bring, &config, screen),
    }
}

fn list(arguments: &EpochListArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = epochs::authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    let before_generation = arguments.before.unwrap_or(0);
    let answer = page(&settings, &authority, before_generation, arguments.limit)?;
    epochs::show_list(&authority, &answer, arguments.full, screen)
}

fn prepare(arguments: &EpochPrepareArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = epochs::authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve_for_keys(&arguments.connection, config)?;
    let names = [bundle::INTERMEDIATE, bundle::MESH_CA, bundle::ROOT];
    let out = arguments.out.as_deref().map(|path| Directory::new(path, arguments.force, &names)).transpose()?;
    let lifetime_seconds = arguments.lifetime.map_or(0, |lifetime| lifetime.secs());
    let request = PrepareEpochRequest { authority: authority.clone(), lifetime_seconds };
    let answer = operate(&settings, request, async |mut client, request| client.prepare_epoch(request).await)?;
    let written = match out {
        Some(out) => {
            let mut contents = bundle::certificates(&answer.root, &answer.intermediate, &answer.mesh_ca);
            contents.push(bundle::request(&answer.certification_request));
            out.write(&contents)?
        }
        None => Vec::new(),
    };
    let hint = match answer.epoch.as_ref().map(EpochStatus::state) {
        Some(EpochState::Prepared) => Some(format!(
            "have the callers fetch its chain (`hallmark chain --generation {}`), then `hallmark epoch activate {0} --authority {authority}`",
            generation(&answer)
        )),
        Some(EpochState::Keyed) => Some(format!(
            "have the offline root sign {}, then `hallmark epoch bring {} --authority {authority} --certificate FILE`",
            bundle::REQUEST,
            generation(&answer)
        )),
        Some(_) | None => None,
    };
    let paths: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    say(&authority, &answer, &paths, hint.as_deref(), screen)
}

fn activate(arguments: &EpochActivateArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = epochs::authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    let generation = arguments.generation;
    let epochs = page(&settings, &authority, 0, LOOKED_THROUGH)?;
    let active = epochs.epochs.iter().find(|epoch| epoch.state() == EpochState::Active).cloned();
    let wanted = match epochs.epochs.iter().find(|epoch| view::generation(epoch) == generation) {
        Some(wanted) => wanted.clone(),
        None => epochs::pick(page(&settings, &authority, generation.saturating_add(1), 1)?, &authority, generation)?,
    };
    if wanted.state() == EpochState::Prepared {
        screen.say(&before_activation(&authority, &wanted, active.as_ref(), arguments.revoke_previous, screen));
        confirm(screen, arguments.yes, "the active epoch is replaced for good", "Is it time?")?;
    }
    let request =
        ActivateEpochRequest { authority: authority.clone(), generation, revoke_previous: arguments.revoke_previous };
    let answer = operate(&settings, request, async |mut client, request| client.activate_epoch(request).await)?;
    say(&authority, &answer, &[], None, screen)
}

fn abort(arguments: &EpochAbortArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = epochs::authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    let generation = arguments.generation;
    screen.say(&format!("to abort: {} generation {generation}; its key will be destroyed", printable(&authority)));
    confirm(screen, arguments.yes, "the epoch's key is destroyed", "Is this what you want?")?;
    let request = AbortEpochRequest { authority: authority.clone(), generation, reason: arguments.reason.clone() };
    let answer = operate(&settings, request, async |mut client, request| client.abort_epoch(request).await)?;
    say(&authority, &answer, &[], None, screen)
}

fn revoke(arguments: &EpochRevokeArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = epochs::authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    let generation = arguments.generation;
    screen.say(&format!("to revoke: the intermediate of {} generation {generation}", printable(&authority)));
    let why = "whoever looks at the root's CRL refuses every certificate of that epoch, and it cannot be undone";
    confirm(screen, arguments.yes, why, "Is this what you want?")?;
    let request = RevokeEpochRequest {
        authority: authority.clone(),
        generation,
        reason: arguments.reason.name().to_owned(),
        why: arguments.why.clone(),
    };
    let answer: RevokeEpochResponse =
        operate(&settings, request, async |mut client, request| client.revoke_epoch(request).await)?;
    let serial = hallmark_policy::hex(&answer.serial);
    let mut table = Table::new();
    table.row(["serial number", &serial]);
    table.row(["reason", &answer.reason]);
    table.row(["log index", &answer.log_index.to_string()]);
    let word = screen.tone(Tone::Good, if answer.before { "revoked before:" } else { "revoked:" });
    screen.say(&format!(
        "{word} the intermediate of {} generation {generation}\n{}",
        printable(&authority),
        table.render(2)
    ));
    screen.answer(&json!({
        "result": "epoch-revoked",
        "authority": authority,
        "generation": generation,
        "serial": serial,
        "reason": answer.reason,
        "before": answer.before,
        "log-index": answer.log_index,
        "receipt": answer.receipt,
    }))?;
    Ok(Exit::Done)
}

fn bring(arguments: &EpochBringArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = epochs::authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    let path = &arguments.certificate;
    let unexpected = || FileError::Unexpected { path: path.clone(), expected: "CA certificate in PEM or DER" };
    let certificate = pem::first_certificate(&files::read(path)?).ok_or_else(unexpected)?.into();
    let request =
        BringIntermediateRequest { authority: authority.clone(), generation: arguments.generation, certificate };
    let answer = operate(&settings, request, async |mut client, request| client.bring_intermediate(request).await)?;
    let prepared = answer.epoch.as_ref().is_some_and(|epoch| epoch.state() == EpochState::Prepared);
    let hint = prepared.then(|| {
        format!("`hallmark epoch activate {} --authority {authority}` puts it in force", arguments.generation)
    });
    say(&authority, &answer, &[], hint.as_deref(), screen)
}

/// Everything an operator should see before an epoch takes another's place: above all, who does not know it yet.
fn before_activation(
    authority: &str,
    wanted: &EpochStatus,
    active: Option<&EpochStatus>,
    revoke: bool,
    screen: &Screen,
) -> String {
    let now = epochs::now_secs();
    let mut table = Table::new();
    table.row(["transition", &view::transition(wanted, true)]);
    if let Some(end) = wanted.not_after {
        table.row(["valid until", &format!("{}, {}", when::rfc3339(end), view::left_in_words(end, now))]);
    }
    match active {
        Some(active) => {
            let since = active.active_at.map_or_else(String::new, |at| format!(", active since {}", when::rfc3339(at)));
            table.row(["replaces", &format!("generation {}{since}", view::generation(active))]);
        }
        None => table.row(["replaces", "nothing: no epoch is active"]),
    }
    table.row(["intermediate before", if revoke { "goes on the root's CRL" } else { "is not revoked by this" }]);
    table.list("fetched by", view::fetched(wanted).iter().map(String::as_str));
    let knows = |caller: &str| wanted.fetched.iter().any(|fetched| fetched.caller == caller);
    let of_active = active.iter().flat_map(|active| &active.fetched);
    let missing: Vec<&str> = of_active.map(|fetched| fetched.caller.as_str()).filter(|caller| !knows(caller)).collect();
    table.list("not fetched by", missing.iter().copied());
    let generation = view::generation(wanted);
    let mut text = format!("to activate: {} generation {generation}\n{}", printable(authority), table.render(2));
    if !missing.is_empty() {
        let word = screen.tone(Tone::Doubtful, "warning:");
        let _ = writeln!(
            text,
            "{word} {} fetched the active chain and not this one",
            when::count(missing.len() as u64, "caller")
        );
    }
    text
}

/// What became of it.
fn say(
    authority: &str,
    answer: &EpochResponse,
    written: &[String],
    hint: Option<&str>,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let epoch = answer.epoch.clone().unwrap_or_default();
    let mut table = Table::new();
    table.row(["transition", &view::transition(&epoch, true)]);
    if let (Some(from), Some(to)) = (epoch.not_before, epoch.not_after) {
        table.row(["valid", &format!("{} to {}", when::rfc3339(from), when::rfc3339(to))]);
    }
    table.row(["log index", &answer.log_index.to_string()]);
    table.list("written", written.iter().map(String::as_str));
    let word = screen.tone(Tone::Good, &format!("{}:", view::state(&epoch)));
    let mut text =
        format!("{word} {} generation {}\n{}", printable(authority), view::generation(&epoch), table.render(2));
    for note in &answer.notes {
        let _ = writeln!(text, "note: {}", printable(note));
    }
    if let Some(hint) = hint {
        let _ = writeln!(text, "hint: {hint}");
    }
    screen.say(&text);
    screen.answer(&to_json(answer, &epoch))?;
    Ok(Exit::Done)
}

fn to_json(answer: &EpochResponse, epoch: &EpochStatus) -> Value {
    let one = |der: &[u8]| if der.is_empty() { Value::Null } else { pem::certificates([der]).into() };
    let request = &answer.certification_request;
    json!({
        "result": view::state(epoch),
        "epoch": view::to_json(epoch),
        "log-index": answer.log_index,
        "root": one(&answer.root),
        "intermediate": one(&answer.intermediate),
        "mesh-ca": one(&answer.mesh_ca),
        "certification-request": if request.is_empty() { Value::Null } else { pem::request(request).into() },
        "notes": answer.notes,
    })
}

fn generation(answer: &EpochResponse) -> u64 {
    answer.epoch.as_ref().map_or(0, view::generation)
}

fn page(
    settings: &ConnectionSettings,
    authority: &str,
    before_generation: u64,
    limit: u32,
) -> Result<ListEpochsResponse, Problem> {
    let request = ListEpochsRequest { authority: authority.to_owned(), before_generation, limit };
    operate(settings, request, async |mut client, request| client.list_epochs(request).await)
}
