//! `hallmark ceremony`: what roots sign, in front of witnesses.

mod show;
mod terminal;
mod unattended;

use std::{
    io::{self, Read as _},
    path::Path,
};

use hallmark_ceremony::{
    Ceremony, CeremonyError, Finished, Foretold, People, Transcript, aloud,
    rehearse::{self, this_program},
    verify,
};
use hallmark_policy::hex;
use serde_json::{Value, json};

use crate::{
    arguments::{
        CeremonyCommand, CeremonyPlanArguments, CeremonyRehearseArguments, CeremonyReportArguments,
        CeremonyRunArguments, CeremonyVerifyArguments, RehearseHereArguments,
    },
    exit::Exit,
    files::Target,
    log::key,
    problem::Problem,
    screen::{Screen, Tone, printable},
};

use self::{terminal::Terminal, unattended::Unattended};

/// Does one of the commands.
pub(crate) fn ceremony(command: &CeremonyCommand, screen: &Screen) -> Result<Exit, Problem> {
    match command {
        CeremonyCommand::Plan(arguments) => plan(arguments, screen),
        CeremonyCommand::Rehearse(arguments) => rehearse(arguments, screen),
        CeremonyCommand::Run(arguments) => run(arguments, screen),
        CeremonyCommand::Verify(arguments) => verify(arguments, screen),
        CeremonyCommand::Report(arguments) => report(arguments),
        CeremonyCommand::RehearseHere(arguments) => rehearse_here(arguments, screen),
    }
}

/// The exit code of a ceremony that does not go on.
pub(crate) fn exit(error: &CeremonyError) -> Exit {
    match error {
        CeremonyError::Unreadable { .. }
        | CeremonyError::NotOne { .. }
        | CeremonyError::Unwritable { .. }
        | CeremonyError::OutputExists { .. }
        | CeremonyError::NoPin { .. }
        | CeremonyError::Nobody { .. }
        | CeremonyError::Open(_)
        | CeremonyError::LogKey { .. }
        | CeremonyError::Journal { .. }
        | CeremonyError::Defect { .. } => Exit::Unusable,
        CeremonyError::Device(_) | CeremonyError::Ledger(_) | CeremonyError::NotSigned { .. } => Exit::NotNow,
        CeremonyError::Mistakes { .. }
        | CeremonyError::NoAuthority { .. }
        | CeremonyError::Refused { .. }
        | CeremonyError::OtherDevice { .. }
        | CeremonyError::Incapable { .. }
        | CeremonyError::ClockApart { .. }
        | CeremonyError::LabelTaken { .. }
        | CeremonyError::NoRoot { .. }
        | CeremonyError::RootExists { .. }
        | CeremonyError::OtherRoot { .. }
        | CeremonyError::OtherBackup { .. }
        | CeremonyError::OtherWrapKey { .. }
        | CeremonyError::Finished { .. }
        | CeremonyError::OtherFile { .. }
        | CeremonyError::Differs { .. }
        | CeremonyError::Rehearsal { .. }
        | CeremonyError::Declined { .. }
        | CeremonyError::Share(_)
        | CeremonyError::Wrong { .. } => Exit::No,
    }
}

/// Each mistake of a file.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are one thing that happened")]
pub(crate) fn details(error: &CeremonyError) -> Vec<String> {
    match error {
        CeremonyError::Mistakes { mistakes, .. } => mistakes.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

fn plan(arguments: &CeremonyPlanArguments, screen: &Screen) -> Result<Exit, Problem> {
    let ceremony = read(&arguments.file)?;
    let plan = hallmark_ceremony::plan(&ceremony).map_err(Box::new)?;
    screen.say(&show::plan(&ceremony, &plan));
    screen.answer(&show::plan_json(&ceremony, &plan))?;
    Ok(Exit::Done)
}

fn rehearse(arguments: &CeremonyRehearseArguments, screen: &Screen) -> Result<Exit, Problem> {
    let ceremony = read(&arguments.file)?;
    hallmark_ceremony::plan(&ceremony).map_err(Box::new)?;
    let foretold = rehearse::rehearse(&ceremony, &this_program()).map_err(Box::new)?;
    if let Some(path) = &arguments.out {
        Target::new(path, false)?.write(&foretold.to_json())?;
    }
    screen.say(&show::foretold(&foretold));
    let good = screen.tone(Tone::Good, "rehearsed:");
    screen.say(&format!("{good} `{}`; no device was touched", printable(&ceremony.name)));
    screen.answer(&json!({
        "result": "rehearsed",
        "ceremony": ceremony.name,
        "rehearsal-sha256": hex(&foretold.sha256()),
        "rehearsal": foretold,
    }))?;
    Ok(Exit::Done)
}

fn run(arguments: &CeremonyRunArguments, screen: &Screen) -> Result<Exit, Problem> {
    harden()?;
    let ceremony = read(&arguments.file)?;
    let expected = arguments.expected.as_deref().map(Foretold::read).transpose().map_err(Box::new)?;
    let mut nobody = Unattended::new(screen, &arguments.share, &arguments.identity);
    let mut terminal = Terminal::new(&ceremony.witnesses, arguments.countdown, arguments.large);
    let people: &mut dyn People = match arguments.unattended {
        true => &mut nobody,
        false if ceremony.witnesses.is_empty() => {
            let sentence = "the file names no witness".to_owned();
            return Err(Box::new(CeremonyError::Nobody { sentence }).into());
        }
        false => &mut terminal,
    };
    let finished = hallmark_ceremony::run(&ceremony, people, &this_program(), expected.as_ref()).map_err(Box::new)?;
    screen.say(&done(&ceremony, &finished, screen));
    screen.answer(&finished_json(&ceremony, &finished))?;
    Ok(Exit::Done)
}

/// A PIN comes into this process: no other looks into it, and it leaves no core behind.
fn harden() -> Result<(), Problem> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .and_then(|()| setrlimit(Resource::Core, none))
        .map_err(|error| Problem::Runtime(error.into()))
}

fn verify(arguments: &CeremonyVerifyArguments, screen: &Screen) -> Result<Exit, Problem> {
    let keys = key::read(&arguments.key)?;
    let directory = arguments.transcript.parent().unwrap_or_else(|| Path::new("."));
    let files = arguments.files.as_deref().unwrap_or(directory);
    let mut result = None;
    for key in &keys {
        let judged = verify::verify(&arguments.transcript, &arguments.log, key, files);
        // Of several keys, one is the log's.
        if !matches!(result, Some(Ok(_))) {
            result = Some(judged);
        }
    }
    let mut verdict = result.transpose().map_err(Box::new)?.unwrap_or_default();
    if arguments.device {
        let mut nobody = Unattended::new(screen, &arguments.share, &arguments.identity);
        let mut terminal = Terminal::new(&[], 0, false);
        let people: &mut dyn People = if arguments.share.is_empty() { &mut terminal } else { &mut nobody };
        harden()?;
        let quorum = arguments.pin_quorum.as_deref();
        let of_device = verify::verify_device(&arguments.transcript, files, quorum, people).map_err(Box::new)?;
        verdict.holds.extend(of_device.holds);
        verdict.broken.extend(of_device.broken);
    }
    for sentence in &verdict.holds {
        screen.say(&format!("  {} {}", screen.tone(Tone::Good, "holds:"), printable(sentence)));
    }
    for sentence in &verdict.broken {
        screen.say(&format!("  {} {}", screen.tone(Tone::Bad, "broken:"), printable(sentence)));
    }
    let (result, exit) = if verdict.is_good() { ("good", Exit::Done) } else { ("bad", Exit::No) };
    if !verdict.is_good() {
        let error = screen.tone(Tone::Bad, "error:");
        screen.say(&format!("{error} the transcript does not hold\nhint: compare it with the copies of the witnesses"));
    }
    screen.answer(&json!({ "result": result, "holds": verdict.holds, "broken": verdict.broken }))?;
    Ok(exit)
}

fn report(arguments: &CeremonyReportArguments) -> Result<Exit, Problem> {
    let (transcript, _) = Transcript::read(&arguments.transcript).map_err(Box::new)?;
    Target::new(&arguments.out, false)?.write(hallmark_ceremony::report::page(&transcript).as_bytes())?;
    Ok(Exit::Done)
}

fn rehearse_here(arguments: &RehearseHereArguments, screen: &Screen) -> Result<Exit, Problem> {
    let mut text = String::new();
    let limit = hallmark_ceremony::file::FILE_BYTES_MAX as u64 + 1;
    io::stdin()
        .lock()
        .take(limit)
        .read_to_string(&mut text)
        .map_err(|source| Box::new(CeremonyError::Unreadable { path: "-".into(), source }))?;
    let ceremony = Ceremony::parse(&text, &arguments.directory)
        .map_err(|mistakes| Box::new(CeremonyError::Mistakes { path: "-".into(), mistakes }))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Problem::Runtime)?;
    let foretold = runtime.block_on(rehearse::rehearse_here(&ceremony, &arguments.scratch)).map_err(Box::new)?;
    screen.data(&foretold.to_json())?;
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<Ceremony, Problem> {
    Ok(hallmark_ceremony::read(path).map_err(Box::new)?)
}

fn done(ceremony: &Ceremony, finished: &Finished, screen: &Screen) -> String {
    let mut text = String::new();
    for artefact in &finished.artefacts {
        text.push_str(&format!("  {} `{}`\n", artefact.what, printable(&artefact.path)));
    }
    text.push_str(&format!("{} `{}`\n", screen.tone(Tone::Good, "done:"), printable(&ceremony.name)));
    text.push_str(&format!("  transcript `{}`\n", ceremony.transcript.display()));
    for row in aloud(&finished.transcript_sha256) {
        text.push_str(&format!("    {row}\n"));
    }
    for witness in &ceremony.witnesses {
        let Some(key) = &witness.key else { continue };
        let how = key.how_to_sign(&ceremony.transcript.display().to_string(), &witness.initials);
        text.push_str(&format!("  {} signs it: {how}\n", printable(&witness.name)));
    }
    text
}

fn finished_json(ceremony: &Ceremony, finished: &Finished) -> Value {
    json!({
        "result": "done",
        "ceremony": ceremony.name,
        "transcript": ceremony.transcript.display().to_string(),
        "transcript-sha256": hex(&finished.transcript_sha256),
        "artefacts": finished.artefacts,
        "steps": finished.steps,
    })
}
