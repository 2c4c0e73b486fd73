//! A key for a decision log: Ed25519, in a file that only its owner reads.

use hallmark_tlog::note::SignerKey;
use zeroize::Zeroizing;

use super::{Left, OutFile};
use crate::{
    book,
    error::CeremonyError,
    facts::Fact,
    meaning::LogKeyTask,
    output,
    run::{Open, Run},
};

pub(super) async fn draw(run: &mut Run<'_>, open: &mut Open, task: &LogKeyTask) -> Result<Left, CeremonyError> {
    run.begin("draw", Some(open)).await?;
    open.journal.touch()?;
    // The one that an interrupted run of this ceremony wrote is the key.
    let key = match task.key.exists() {
        true => left_behind(task)?,
        false => book::draw_log_key(&task.origin)?,
    };
    let verifier = key.verifier().to_string();
    let secret = Zeroizing::new(format!("{}\n", key.to_secret_text().as_str()));
    run.done(vec![Fact::same("origin", &task.origin), Fact::varies("key", &verifier)], Some(open)).await?;
    Ok(Left {
        files: vec![
            OutFile::plain("secret-log-key", secret.as_bytes().to_vec(), output::SECRET),
            OutFile::plain("log-key", format!("{verifier}\n").into_bytes(), output::PUBLIC),
        ],
        ..Left::default()
    })
}

fn left_behind(task: &LogKeyTask) -> Result<SignerKey, CeremonyError> {
    let text = Zeroizing::new(output::read(&task.key)?);
    let key = std::str::from_utf8(&text).ok().and_then(|text| SignerKey::parse(text.trim_end()).ok());
    let wanted = "secret key of a log";
    key.filter(|key| key.verifier().name() == task.origin)
        .ok_or_else(|| CeremonyError::NotOne { path: task.key.clone(), wanted })
}
