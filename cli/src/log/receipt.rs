//! `hallmark log receipt`: one entry and its proof.

use std::path::Path;

use hallmark_entry::Summary;
use hallmark_tlog::receipt::{RECEIPT_BYTES_MAX, Receipt};
use serde_json::json;

use super::{key, show};
use crate::{
    arguments::ReceiptArguments,
    config::Config,
    exit::Exit,
    files,
    problem::Problem,
    screen::{Screen, Tone, printable},
    settings::{SettingsError, first},
    table::Table,
    when,
};

/// Checks it.
pub(crate) fn receipt(arguments: &ReceiptArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let config = Config::load(config)?;
    let key = first(&arguments.key, &config.log_key).ok_or_else(SettingsError::no_log_key)?;
    let keys = key::read(&key)?;
    let receipt = Receipt::parse(&files::read_up_to(&arguments.receipt, RECEIPT_BYTES_MAX)?)?;
    let entry = files::read(&arguments.entry)?;
    let proven = receipt.verify(&entry, &keys)?;
    let summary = Summary::parse(&entry).ok();
    let mut table = Table::new();
    table.row(["index", &proven.index.to_string()]);
    table.row(["log size", &when::number(proven.size)]);
    table.row(["root", &proven.root.to_string()]);
    if let Some(summary) = &summary {
        table.row(["time", &when::rfc3339_of_millis(summary.time)]);
        table.row(["entry", &show::what(summary)]);
    }
    let word = screen.tone(Tone::Good, "proven:");
    screen.say(&format!("{word} the entry is in the log `{}`\n{}", printable(&proven.origin), table.render(2)));
    screen.answer(&json!({
        "result": "proven",
        "origin": proven.origin,
        "index": proven.index,
        "size": proven.size,
        "root": proven.root.to_string(),
    }))?;
    Ok(Exit::Done)
}
