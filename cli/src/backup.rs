//! `hallmark backup`: has the signer make a backup of its ledger, and waits until it is whole.

use std::{path::Path, time::Duration};

use hallmark_proto::operator::{BackUpRequest, BackUpResponse};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::{
    arguments::BackupArguments,
    config::Config,
    connection::{self, Connection},
    exit::Exit,
    problem::Problem,
    screen::{Screen, Tone, printable},
    settings::ConnectionSettings,
    table::Table,
    when,
};

/// How often the signer is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);

const BAR: &str = "{bar:40} {human_pos} of {human_len} pages, {eta} left";

/// Has it made. What is begun goes on at the signer, whatever becomes of this process: the same name waits for it again.
pub(crate) fn backup(arguments: &BackupArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let settings = ConnectionSettings::resolve(&arguments.connection, &Config::load(config)?)?;
    let name = arguments.name.clone().unwrap_or_else(|| when::rfc3339_of_millis(when::now_millis()).replace(':', "-"));
    let request = BackUpRequest { name: name.clone(), why: arguments.why.clone() };
    let bar = bar(screen);
    let answer = connection::runtime()?.block_on(async {
        let mut connection = Connection::open(&settings).await?;
        loop {
            let asked =
                connection.call_operator(request.clone(), async |mut client, request| client.back_up(request).await);
            let answer: BackUpResponse = asked.await?;
            bar.set_length(answer.pages_total);
            bar.set_position(answer.pages_done);
            if answer.done {
                bar.finish_and_clear();
                return Ok::<_, Problem>(answer);
            }
            tokio::time::sleep(ASK_EVERY).await;
            connection = connection.lasting(settings.timeout);
        }
    })?;
    tell(&name, &answer, screen)?;
    Ok(Exit::Done)
}

fn tell(name: &str, answer: &BackUpResponse, screen: &Screen) -> Result<(), Problem> {
    let mut table = Table::new();
    table.row(["directory", &printable(&answer.directory)]);
    table.row(["begun", &when::rfc3339_of_millis(answer.at_millis)]);
    table.row(["entries", &when::number(answer.log_size)]);
    table.row(["database", &when::count(answer.database_bytes, "byte")]);
    table.row(["log index", &answer.log_index.to_string()]);
    if answer.removed > 0 {
        table.row(["removed", &when::count(answer.removed, "backup that was not finished")]);
    }
    let word = screen.tone(Tone::Good, "backed up:");
    screen.say(&format!(
        "{word} {}, whole and read again\n{}hint: take it to another machine; it has neither keys nor PINs, which are kept apart",
        printable(name),
        table.render(2)
    ));
    screen.answer(&json!({
        "result": "backed-up",
        "name": name,
        "directory": answer.directory,
        "begun": when::rfc3339_of_millis(answer.at_millis),
        "size": answer.log_size,
        "root": hallmark_policy::hex(&answer.log_root),
        "database-bytes": answer.database_bytes,
        "log-index": answer.log_index,
        "removed": answer.removed,
        "receipt": answer.receipt,
    }))
}

/// A progress bar, where somebody looks.
fn bar(screen: &Screen) -> ProgressBar {
    if !screen.shows_progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
