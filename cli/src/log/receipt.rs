//! `hallmark log receipt`: one entry and its proof.

use std::path::Path;

use hallmark_entry::Summary;
use hallmark_tlog::{
    bundle,
    receipt::{RECEIPT_BYTES_MAX, Receipt},
    tile::TILE_WIDTH,
};
use serde_json::json;

use super::{about, opened, show, source::Source};
use crate::{
    arguments::ReceiptArguments,
    exit::Exit,
    files,
    problem::Problem,
    screen::{Screen, Tone, printable},
    table::Table,
    when,
};

/// Checks it.
pub(crate) fn receipt(arguments: &ReceiptArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let keys = opened::keys(&arguments.key, config)?;
    let receipt = Receipt::parse(&files::read_up_to(&arguments.receipt, RECEIPT_BYTES_MAX)?)?;
    let entry = entry(arguments, receipt.index())?;
    let proven = receipt.verify(&entry, &keys)?;
    let summary = Summary::parse(&entry).ok();
    if let Some(path) = &arguments.certificate {
        let certificate = about::read(path)?;
        if !summary.as_ref().is_some_and(|summary| about::is_about(summary, &certificate)) {
            return Err(Problem::OtherCertificate { path: path.clone(), index: proven.index });
        }
    }
    let mut table = Table::new();
    table.row(["index", &proven.index.to_string()]);
    table.row(["log size", &when::number(proven.size)]);
    table.row(["root", &proven.root.to_string()]);
    if let Some(summary) = &summary {
        table.row(["time", &when::rfc3339_of_millis(summary.time)]);
        table.row(["entry", &show::what(summary)]);
    }
    let word = screen.tone(Tone::Good, "proven:");
    let what =
        if arguments.certificate.is_some() { "this certificate was decided on by an entry" } else { "the entry is" };
    screen.say(&format!("{word} {what} in the log `{}`\n{}", printable(&proven.origin), table.render(2)));
    screen.answer(&json!({
        "result": "proven",
        "origin": proven.origin,
        "index": proven.index,
        "size": proven.size,
        "root": proven.root.to_string(),
    }))?;
    Ok(Exit::Done)
}

/// The entry, from its file or from the log.
fn entry(arguments: &ReceiptArguments, index: u64) -> Result<Vec<u8>, Problem> {
    match (&arguments.entry, &arguments.log) {
        (Some(path), _) => Ok(files::read(path)?),
        (None, Some(log)) => from_log(&Source::open(log, arguments.ca.as_deref())?, index),
        // clap has seen to it that one of the two is there.
        (None, None) => Ok(Vec::new()),
    }
}

fn from_log(source: &Source, index: u64) -> Result<Vec<u8>, Problem> {
    let size = source.size_unverified()?;
    let none = || Problem::NoSuchEntry { size, from: index };
    if index >= size {
        return Err(none());
    }
    let (path, bytes) = source.bundle(index / TILE_WIDTH, size)?;
    let entries = bundle::decode(&bytes).map_err(|source| Problem::Bundle { path: path.clone(), source })?;
    let at = usize::try_from(index % TILE_WIDTH).unwrap_or(usize::MAX);
    entries.get(at).map(|entry| entry.to_vec()).ok_or_else(none)
}
