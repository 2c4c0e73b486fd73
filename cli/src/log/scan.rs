//! The whole log, read and verified by all processors at once: parts side by side, and what they are together in order.

use std::{
    num::NonZero,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use hallmark_entry::privacy::Opening;
use hallmark_tlog::{
    audit::{AuditError, Auditor, Part, Report},
    checkpoint::Checkpoint,
    tile::{TILE_WIDTH, TileKind, TilePath},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{findings::Findings, openings, source::Source};
use crate::{files::FileError, problem::Problem, screen::Screen};

/// Parts that a thread is ahead at most, so that memory does not grow with the log.
const PARTS_AHEAD: usize = 4;

const BAR: &str = "{bar:40} {human_pos} of {human_len} entries, {eta} left";

/// What to read, and against what.
pub(crate) struct Scan<'a> {
    /// The files.
    pub(crate) source: &'a Source,
    /// The checkpoint, verified.
    pub(crate) head: &'a Checkpoint,
    /// What the log must continue.
    pub(crate) anchors: Vec<Checkpoint>,
    /// Entries before this one have no bundles any more; 0 if all have.
    pub(crate) pruned_before: u64,
    /// How far it is.
    pub(crate) bar: ProgressBar,
}

/// What a thread found in a part.
struct Read<T> {
    part: Part,
    seen: Vec<(u64, T)>,
    strays: Findings,
}

/// What came of it.
pub(crate) struct Scanned {
    /// Of the tree.
    pub(crate) report: Report,
    /// Openings that open nothing, and files of them that do not read.
    pub(crate) strays: Findings,
}

/// A look at one entry, on any thread.
pub(crate) type Look<'a, T> = &'a (dyn Fn(u64, &[u8], &[Opening]) -> T + Sync);

impl Scan<'_> {
    /// Reads all of it, or as much as is of use where so much is missing that there is no end of it. `look` sees each entry on some thread, `take` gets what it made of them in order.
    pub(crate) fn run<T: Send>(&self, look: Look<'_, T>, take: &mut dyn FnMut(u64, T)) -> Result<Scanned, Problem> {
        let keys = [];
        let auditor = self.anchors.iter().cloned().fold(Auditor::new(&keys), Auditor::with_anchor);
        let mut audit = auditor.begin_at(self.source, self.head);
        let (parts, threads) = (audit.parts(), thread::available_parallelism().map_or(1, NonZero::get));
        self.bar.set_length(self.head.size());
        let mut strays = Findings::default();
        thread::scope(|scope| {
            let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| sync_channel(PARTS_AHEAD)).unzip();
            for (sender, first) in senders.into_iter().zip(0_u64..) {
                scope.spawn(move || self.read_every(first, threads, parts, look, &sender));
            }
            for index in 0..parts {
                let Read { part, seen, strays: more } = next(&receivers, index)?;
                audit.add(part).map_err(Problem::Audit)?;
                seen.into_iter().for_each(|(index, seen)| take(index, seen));
                strays.extend(more);
                self.bar.set_position(audit.progress().entries);
                if audit.is_hopeless() {
                    break;
                }
            }
            Ok::<(), Problem>(())
        })?;
        self.bar.finish_and_clear();
        let report = audit.finish().map_err(Problem::Audit)?;
        Ok(Scanned { report, strays })
    }

    /// One thread's share: every so many parts, until nobody wants them any more.
    fn read_every<T>(
        &self,
        first: u64,
        threads: usize,
        parts: u64,
        look: Look<'_, T>,
        sender: &SyncSender<Result<Read<T>, AuditError<FileError>>>,
    ) {
        for index in (first..parts).step_by(threads) {
            let read = self.read(index, look);
            let failed = read.is_err();
            if sender.send(read).is_err() || failed {
                return;
            }
        }
    }

    fn read<T>(&self, index: u64, look: Look<'_, T>) -> Result<Read<T>, AuditError<FileError>> {
        let size = self.head.size();
        if (index + 1) * TILE_WIDTH <= self.pruned_before {
            let part = Part::read_pruned(self.source, size, index)?;
            return Ok(Read { part, seen: Vec::new(), strays: Findings::default() });
        }
        let mut seen = Vec::new();
        let mut openings = openings::Bundle::new(self.source, TilePath::of_row(TileKind::Entries, index, size));
        let part = Part::read(self.source, size, index, |index, bytes| {
            let of_entry = openings.of(index, bytes);
            seen.push((index, look(index, bytes, of_entry)));
        })?;
        Ok(Read { part, seen, strays: openings.into_strays() })
    }
}

/// The part of that index, from the thread whose share it is.
fn next<T>(receivers: &[Receiver<Result<Read<T>, AuditError<FileError>>>], index: u64) -> Result<Read<T>, Problem> {
    let whose = usize::try_from(index % receivers.len().max(1) as u64).unwrap_or(0);
    let received = receivers.get(whose).and_then(|receiver| receiver.recv().ok());
    received.ok_or(Problem::Scan)?.map_err(Problem::Audit)
}

/// A progress bar, where somebody looks.
pub(crate) fn bar(screen: &Screen) -> ProgressBar {
    if !screen.shows_progress() {
        return ProgressBar::hidden();
    }
    styled(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
}

fn styled(bar: ProgressBar) -> ProgressBar {
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use hallmark_tlog::{bundle, frontier::Frontier, hash::Hash, tile};

    use super::*;

    #[test]
    fn the_bar_goes_from_nothing_to_all_entries() {
        let directory = tempfile::tempdir().unwrap();
        let entries: Vec<Vec<u8>> = (0..200_u8).map(|number| vec![b'0' + number % 10; 5]).collect();
        let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::of_leaf(entry)).collect();
        for (path, content) in [
            ("tile/entries/000.p/200", bundle::encode(&entries).unwrap()),
            ("tile/0/000.p/200", tile::encode_hashes(&leaves)),
        ] {
            std::fs::create_dir_all(directory.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(directory.path().join(path), content).unwrap();
        }
        let mut frontier = Frontier::empty();
        frontier.append_all(leaves);
        let head = Checkpoint::new("signer.example/log", 200, frontier.root()).unwrap();
        let (source, bar) = (Source::Directory(directory.path().to_owned()), ProgressBar::hidden());
        let scan = Scan { source: &source, head: &head, anchors: Vec::new(), pruned_before: 0, bar: bar.clone() };
        let mut told = Vec::new();
        scan.run(&|_, _, _| (), &mut |index, ()| told.extend((index == 199).then(|| bar.position()))).unwrap();
        assert_eq!((told, bar.length(), bar.position(), bar.is_finished()), (vec![0], Some(200), 200, true));
        ProgressStyle::with_template(BAR).unwrap();
    }
}
