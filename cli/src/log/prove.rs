//! `hallmark log prove`: the entry of a certificate, and a receipt for it, made from the published log alone.

use std::path::Path;

use hallmark_entry::Summary;
use hallmark_tlog::{proof::prove_inclusion, published::PublishedNodes, receipt::Receipt};
use serde_json::json;

use super::{
    about,
    opened::Opened,
    scan::{Scan, bar},
    unclean,
};
use crate::{
    arguments::ProveArguments,
    exit::Exit,
    files::Target,
    problem::Problem,
    screen::{Screen, Tone, printable},
};

/// Finds it and proves it.
pub(crate) fn prove(arguments: &ProveArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let target = |path: &Option<std::path::PathBuf>| -> Result<_, Problem> {
        let path = path.as_deref().filter(|path| !Target::is_stdout(path));
        Ok(path.map(|path| Target::new(path, arguments.force)).transpose()?)
    };
    let (receipt_to, entry_to) = (target(&arguments.out)?, target(&arguments.entry_out)?);
    let certificate = about::read(&arguments.certificate)?;
    let opened = Opened::new(&arguments.log, config)?;
    let (source, head) = (&opened.source, &opened.head);
    let wanted = about::digest(&certificate);
    let look = |_: u64, bytes: &[u8], _: &[_]| {
        let mentions = std::str::from_utf8(bytes).is_ok_and(|entry| entry.contains(wanted.as_str()));
        let is_it = mentions && Summary::parse(bytes).is_ok_and(|entry| about::is_about(&entry, &certificate));
        is_it.then(|| bytes.to_vec())
    };
    let mut found = None;
    let scan = Scan { source, head, anchors: Vec::new(), pruned_before: opened.pruned_before, bar: bar(screen) };
    let scanned = scan.run(&look, &mut |index, entry: Option<Vec<u8>>| {
        found = found.take().or_else(|| entry.map(|entry| (index, entry)))
    })?;
    unclean(&scanned)?;
    let Some((index, entry)) = found else {
        return Err(Problem::NotInLog {
            path: arguments.certificate.clone(),
            size: head.size(),
            pruned_before: opened.pruned_before,
        });
    };
    let nodes = PublishedNodes::new(source, head.size());
    let path = prove_inclusion(&nodes, index, head.size())
        .map_err(|error| Problem::Unproven { sentence: error.to_string() })?;
    let receipt = Receipt::new(index, path, opened.note.clone());
    receipt.verify(&entry, &opened.keys)?;
    match &receipt_to {
        Some(target) => target.write(receipt.to_string().as_bytes())?,
        None if !screen.is_json() => screen.data(receipt.to_string().as_bytes())?,
        None => {}
    }
    if let Some(target) = &entry_to {
        target.write(&entry)?;
    }
    let word = screen.tone(Tone::Good, "proven:");
    screen.say(&format!("{word} entry {index} of the log `{}` decided on this certificate", printable(head.origin())));
    screen.answer(&json!({
        "result": "proven",
        "origin": head.origin(),
        "index": index,
        "size": head.size(),
        "receipt": receipt.to_string(),
        "entry": String::from_utf8_lossy(&entry),
    }))?;
    Ok(Exit::Done)
}
