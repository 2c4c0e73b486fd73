//! Whether a log is what its own entries say of its name, its keys and what it continues.

use hallmark_tlog::{audit::Finding, checkpoint::Checkpoint, frontier::Frontier, published::PublishedNodes};

use super::{
    entries_of,
    names::{Names, Opened as OpenedEntry},
    opened::Opened,
    source::Source,
};
use crate::{problem::Problem, screen::printable, table::Table, when};

/// What is wrong with names, keys and what came before. `whole`: all entries were there.
pub(super) fn findings(
    opened: &Opened,
    names: &Names,
    anchors: &[&Checkpoint],
    whole: bool,
) -> Result<Vec<String>, Problem> {
    let mut findings = names.judge(&opened.head, &opened.note, &opened.keys, whole);
    for (index, entry) in names.opened() {
        findings.extend(root_differs(opened, *index, entry));
    }
    for (place, (named, last)) in opened.previous.iter().enumerate() {
        let fits = |(_, entry): &&(u64, OpenedEntry)| is_last(entry, last);
        let left = names.opened().iter().find(|(_, entry)| is_left(entry, last));
        if let Some((index, entry)) = left {
            findings.extend(is_other_before(opened, place, (*index, entry)));
        } else if !names.opened().iter().any(|entry| fits(&entry)) {
            let (size, origin) = (entries_of(last.size()), last.origin());
            findings.push(format!("`{named}` ends with {size} of `{origin}`, and no entry of this log continues that"));
        }
    }
    for anchor in anchors.iter().filter(|anchor| anchor.origin() != opened.head.origin()) {
        let of = names.opened().iter().find(|(_, entry)| entry.previous_origin == anchor.origin());
        let origin = anchor.origin();
        match of {
            None => findings.push(format!(
                "the anchor is a checkpoint of `{origin}`, which is another log than `{}` and none that it continues",
                opened.head.origin()
            )),
            Some((_, entry)) if anchor.size() <= entry.previous_size => {
                findings.extend(is_no_beginning(&opened.source, &opened.head, anchor));
            }
            Some((_, entry)) if entry.is_restored => findings.extend(differs_from_left(opened, entry, anchor)),
            Some((_, entry)) => findings.push(format!(
                "`{origin}` had {}, and this log says that it was closed with {}",
                entries_of(anchor.size()),
                entries_of(entry.previous_size)
            )),
        }
    }
    Ok(findings)
}

/// Whether a log does not begin with the entries of a checkpoint, under whatever name that was signed.
fn is_no_beginning(source: &Source, head: &Checkpoint, anchor: &Checkpoint) -> Option<String> {
    let then = Frontier::rebuild(anchor.size(), &PublishedNodes::new(source, head.size()));
    match then {
        Ok(then) if then.root() == anchor.root() => None,
        Ok(_) => Some(Finding::AnchorDiffers { anchor_size: anchor.size() }.to_string()),
        Err(error) => {
            let size = entries_of(anchor.size());
            Some(format!("the first {size} cannot be compared with the anchor that has as many: {error}"))
        }
    }
}

/// What speaks against a checkpoint of the log that was left, beyond the backup. What it has there is not in this log, but in that one alone.
fn differs_from_left(opened: &Opened, entry: &OpenedEntry, anchor: &Checkpoint) -> Option<String> {
    let (origin, size) = (&entry.previous_origin, entries_of(anchor.size()));
    if Some(anchor.size()) > entry.seen_size {
        let known = entries_of(entry.previous_size);
        return Some(format!("`{origin}` had {size}, and whoever restored a backup of {known} did not know that"));
    }
    let root = hallmark_policy::hex(anchor.root().as_bytes());
    if Some(anchor.size()) == entry.seen_size && entry.seen_root.as_ref().is_some_and(|seen| *seen != root) {
        return Some(format!("`{origin}` had {size}, and others than whoever restored a backup of it has seen"));
    }
    let Source::Continued(_, earlier) = &opened.source else { return None };
    let (source, (named, last)) =
        earlier.iter().zip(&opened.previous).find(|(_, (_, last))| last.origin() == origin)?;
    if last.size() < anchor.size() {
        let ends = entries_of(last.size());
        return Some(format!("`{named}` ends with {ends} of `{origin}`, which had {size} before"));
    }
    let finding = is_no_beginning(source, last, anchor)?;
    Some(format!("in `{named}`: {finding}"))
}

/// Whether the entry says what the last checkpoint of the log before says.
fn is_last(entry: &OpenedEntry, last: &Checkpoint) -> bool {
    entry.previous_origin == last.origin()
        && entry.previous_size == last.size()
        && entry.previous_root == hallmark_policy::hex(last.root().as_bytes())
}

/// Whether the log before was left for a backup, and went on for itself.
fn is_left(entry: &OpenedEntry, last: &Checkpoint) -> bool {
    entry.is_restored && entry.previous_origin == last.origin() && last.size() >= entry.previous_size
}

/// Whether the log before has others in the place of the entries that this one says it has of it.
fn is_other_before(opened: &Opened, place: usize, (index, entry): (u64, &OpenedEntry)) -> Option<String> {
    let Source::Continued(_, earlier) = &opened.source else { return None };
    let (source, (named, last)) = (earlier.get(place)?, opened.previous.get(place)?);
    let nodes = PublishedNodes::new(source, last.size());
    let what = match Frontier::rebuild(entry.previous_size, &nodes) {
        Ok(then) if hallmark_policy::hex(then.root().as_bytes()) == entry.previous_root => return None,
        Ok(then) => format!("there they have the root {}", then.root()),
        Err(error) => format!("their root cannot be had there: {error}"),
    };
    let size = entries_of(entry.previous_size);
    Some(format!("entry {index} says that this log begins with {size} of `{named}`, and {what}"))
}

/// Whether the hashes of this log give another root for the log before than the entry says.
fn root_differs(opened: &Opened, index: u64, entry: &OpenedEntry) -> Option<String> {
    let nodes = PublishedNodes::new(&opened.source, opened.head.size());
    let (size, origin) = (entry.previous_size, &entry.previous_origin);
    let sentence = match Frontier::rebuild(size, &nodes) {
        Ok(then) if hallmark_policy::hex(then.root().as_bytes()) == entry.previous_root => return None,
        Ok(then) => format!("they have the root {}", then.root()),
        Err(error) => format!("their root cannot be had: {error}"),
    };
    Some(format!(
        "entry {index} says that the first {size} entries are `{origin}`, and not what its root says: {sentence}"
    ))
}

/// What to give, so that more can be checked.
pub(super) fn not_given(opened: &Opened, names: &Names) -> Vec<String> {
    let mut sentences = Vec::new();
    let given: Vec<String> = opened.keys.iter().map(ToString::to_string).collect();
    for key in names.keys().iter().flat_map(|(_, keys)| keys).filter(|key| !given.contains(key)) {
        let key = printable(key);
        sentences.push(format!("Signatures of `{key}`, by which the log says it is signed, too: give it with --key."));
    }
    for (_, entry) in names.opened() {
        let origin = printable(&entry.previous_origin);
        if entry.is_restored {
            let size = entries_of(entry.previous_size);
            sentences.push(format!(
                "What `{origin}` has after its first {size}, when a backup was restored: it is in that log alone."
            ));
        }
        let is_given = |last| is_last(entry, last) || is_left(entry, last);
        if !opened.previous.iter().any(|(_, last)| is_given(last)) {
            sentences.push(format!("Whether `{origin}` ends where this log begins: give it with --previous."));
        }
    }
    if let Some((_, closed)) = names.closed() {
        let next = printable(&closed.next_origin);
        sentences.push(format!("What came after: the log goes on as `{next}`."));
    }
    sentences
}

/// What the log says of itself.
pub(super) fn tell(names: &Names, table: &mut Table) {
    for (index, entry) in names.opened() {
        let (origin, size) = (printable(&entry.previous_origin), when::number(entry.previous_size));
        if entry.is_restored {
            let known = entry.seen_size.map_or_else(
                || "nobody knew how many it had".to_owned(),
                |seen| format!("it had {} at least", when::number(seen)),
            );
            let what = format!("a backup of `{origin}` with its first {size} entries, by entry {index}; {known}");
            table.row(["restored", &what]);
        } else {
            table.row(["continues", &format!("`{origin}` with its {size} entries, by entry {index}")]);
        }
    }
    if let Some((since, keys)) = names.keys() {
        let keys: Vec<_> = keys.iter().map(|key| printable(key)).collect();
        table.row(["log key", &format!("{} by entry {since}", keys.join(" and "))]);
    }
    if let Some((index, closed)) = names.closed() {
        let (next, key) = (printable(&closed.next_origin), printable(&closed.next_key));
        table.row(["closed", &format!("by entry {index}; it goes on as `{next}`, signed by {key}")]);
    }
}
