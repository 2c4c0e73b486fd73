//! `hallmark log verify`: the whole published log.

mod unchecked;

use hallmark_policy::time::Span;
use hallmark_tlog::{
    audit::Report,
    checkpoint::Checkpoint,
    cosignature::WitnessKey,
    note::{Note, VerifierKey},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

use super::{
    continuity,
    entries::{DISORDER_MILLIS_MAX, Entries},
    findings::{FINDINGS_MAX, Findings},
    key,
    leftovers::{self, Leftovers},
    opened::Opened,
    policies::Texts,
    scan::{Scan, Scanned, bar},
    seen,
    state::State,
};
use crate::{
    arguments::VerifyArguments,
    exit::Exit,
    files,
    problem::Problem,
    screen::{Screen, Tone, printable},
    table::Table,
    when,
};

/// Most findings that are printed; JSON has them all.
const FINDINGS_SHOWN_MAX: usize = 20;

/// Checks, and says what was not checked.
pub(crate) fn verify(arguments: &VerifyArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let witnesses = arguments.witness.iter().map(|witness| key::witness(witness)).collect::<Result<Vec<_>, _>>()?;
    let opened = Opened::new(&arguments.log, config)?;
    let (source, head) = (&opened.source, &opened.head);
    let anchor = arguments.anchor.as_deref().map(|path| read_anchor(path, &opened)).transpose()?;
    let state = || State::of(head.origin(), &opened.keys, arguments.state.as_deref());
    let state = if arguments.no_state { None } else { state() };
    let remembered = state.as_ref().map(State::load).transpose()?.flatten();
    let earlier = if arguments.no_state { Vec::new() } else { earlier_states(&opened, arguments.state.as_deref())? };
    let anchors: Vec<&Checkpoint> = [&anchor, &remembered].into_iter().flatten().chain(&earlier).collect();
    let scan = Scan {
        source,
        head,
        // Those of logs before it are compared once its entries have said how far it goes on from them.
        anchors: anchors
            .iter()
            .filter(|anchor| anchor.origin() == head.origin())
            .map(|anchor| (*anchor).clone())
            .collect(),
        pruned_before: opened.pruned_before,
        bar: bar(screen),
    };
    let mut entries = Entries::new(arguments.silence.secs(), opened.pruned_before > 0);
    let mut kept = Ok(());
    let scanned = scan.run(&seen::look, &mut |index, seen| {
        kept = std::mem::replace(&mut kept, Ok(())).and_then(|()| entries.add(index, seen));
    })?;
    kept.and_then(|()| entries.close()).map_err(Problem::Scratch)?;
    let of_names = continuity::findings(&opened, &entries.names, &anchors, opened.pruned_before == 0)?;
    let leftovers = source.directory().map(|directory| leftovers::look(directory, head.size())).transpose()?;
    let texts = entries.policies.read(source, |_, _| Ok::<_, Problem>(()))?;
    let Scanned { report, strays } = scanned;
    let audit = Audit {
        report,
        strays,
        leftovers,
        texts,
        under_other_keys: state.as_ref().map_or(0, State::under_other_keys),
        has_previous: !opened.previous.is_empty(),
        quorum: Quorum::of(&opened.note, &witnesses, arguments.quorum),
        age_millis: entries.newest_millis.map(|newest| when::now_millis().saturating_sub(newest)),
        not_given: continuity::not_given(&opened, &entries.names),
        of_names,
        entries,
        anchor,
        remembered,
        stale_after: arguments.stale_after,
        pruned_before: opened.pruned_before,
    };
    if let Some(state) = state.filter(|_| audit.exit() != Exit::No) {
        state.keep(opened.note.to_string().as_bytes())?;
    }
    screen.say(&audit.render(screen));
    screen.answer(&audit.to_json())?;
    Ok(audit.exit())
}

fn read_anchor(path: &Path, opened: &Opened) -> Result<Checkpoint, Problem> {
    let wrong = |source| Problem::Checkpoint { what: path.display().to_string(), source };
    let keys: Vec<VerifierKey> = opened.keys.iter().chain(&opened.previous_keys).cloned().collect();
    Checkpoint::open(&files::read(path)?, &keys).map_err(wrong)
}

/// What earlier runs saw of the logs that this one continues.
fn earlier_states(opened: &Opened, named: Option<&Path>) -> Result<Vec<Checkpoint>, Problem> {
    let states = opened.previous.iter().filter_map(|(_, head)| State::of(head.origin(), &opened.previous_keys, named));
    states.filter_map(|state| state.load().transpose()).collect()
}

/// Which witnesses co-signed, of those that were named.
struct Quorum {
    cosigned: Vec<(String, u64)>,
    asked: usize,
    wanted: usize,
}

impl Quorum {
    fn of(note: &Note, witnesses: &[WitnessKey], wanted: Option<usize>) -> Self {
        let cosigned = |witness: &WitnessKey| Some((witness.name().to_owned(), witness.cosigned(note)?));
        let wanted = wanted.unwrap_or(witnesses.len());
        Self { cosigned: witnesses.iter().filter_map(cosigned).collect(), asked: witnesses.len(), wanted }
    }

    fn is_there(&self) -> bool {
        self.cosigned.len() >= self.wanted
    }
}

/// All that was found out.
struct Audit {
    report: Report,
    strays: Findings,
    /// What else lies in the directory; nothing for a server, which does not say what it has.
    leftovers: Option<Leftovers>,
    /// Texts of the policies that came into force.
    texts: Texts,
    /// Checkpoints of this origin that are remembered under keys that were not given.
    under_other_keys: usize,
    /// Whether logs that it continues were given.
    has_previous: bool,
    quorum: Quorum,
    /// What its names and keys have against it.
    of_names: Vec<String>,
    /// What was not given, to check them with.
    not_given: Vec<String>,
    entries: Entries,
    anchor: Option<Checkpoint>,
    remembered: Option<Checkpoint>,
    /// Age of the newest entry, if there is one; less than nothing if it lies ahead of this machine's clock.
    age_millis: Option<i64>,
    stale_after: Span,
    pruned_before: u64,
}

/// Why a log that holds is not simply good: a word, and a sentence.
struct Doubt {
    word: &'static str,
    sentence: String,
}

/// How it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Doubtful,
    Failed,
}

impl Audit {
    fn verdict(&self) -> Verdict {
        if !self.report.is_clean() || !self.findings().is_empty() {
            Verdict::Failed
        } else if self.doubts().is_empty() {
            Verdict::Good
        } else {
            Verdict::Doubtful
        }
    }

    fn exit(&self) -> Exit {
        match self.verdict() {
            Verdict::Good => Exit::Done,
            Verdict::Doubtful => Exit::NotNow,
            Verdict::Failed => Exit::No,
        }
    }

    fn doubts(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        match self.age_millis {
            // Such a log would never be stale.
            Some(age) if age < -DISORDER_MILLIS_MAX => {
                let ahead = when::span(age.unsigned_abs() / 1_000);
                let sentence = format!("the newest entry lies {ahead} ahead of this machine's clock");
                doubts.push(Doubt { word: "ahead", sentence });
            }
            // Nothing follows in a log that is closed.
            Some(_) if self.entries.names.closed().is_some() => {}
            Some(_) if self.age_secs() > Some(self.stale_after.secs()) => {
                let age = when::span(self.age_secs().unwrap_or(0));
                doubts.push(Doubt { word: "stale", sentence: format!("the newest entry is {age} old") });
            }
            Some(_) => {}
            None => doubts.push(Doubt { word: "stale", sentence: "it has no entry".to_owned() }),
        }
        if let Some(first) = self.entries.silences.first() {
            let others = self.entries.silences.len() as u64 - 1 + self.entries.silences_dropped;
            let others = if others == 0 { String::new() } else { format!("; {} more", when::number(others)) };
            doubts.push(Doubt { word: "silent", sentence: format!("{first}{others}") });
        }
        if !self.quorum.is_there() {
            let Quorum { cosigned, asked, wanted } = &self.quorum;
            let sentence = format!("{} of {asked} witnesses co-signed it, and {wanted} are wanted", cosigned.len());
            doubts.push(Doubt { word: "without quorum", sentence });
        }
        doubts
    }

    /// Age of the newest entry in seconds; none if there is no entry.
    fn age_secs(&self) -> Option<u64> {
        self.age_millis.map(|millis| u64::try_from(millis / 1_000).unwrap_or(0))
    }

    /// The first [`FINDINGS_MAX`].
    fn findings(&self) -> Vec<String> {
        self.all_findings().take(FINDINGS_MAX).collect()
    }

    fn all_findings(&self) -> impl Iterator<Item = String> {
        let of_tree = self.report.findings.iter().map(ToString::to_string);
        let of_entries = self.entries.findings.iter().map(ToString::to_string);
        let left = self.leftovers.iter().flat_map(|leftovers| leftovers.findings.kept());
        // A text that is wrong may be met in both ways.
        let met = |text: &&String| !self.leftovers.iter().any(|leftovers| leftovers.findings.kept().contains(text));
        let texts = self.texts.findings.kept().iter().filter(met);
        let others = self.of_names.iter().chain(self.strays.kept()).chain(left).chain(texts).cloned();
        of_tree.chain(of_entries).chain(others)
    }

    fn findings_dropped(&self) -> u64 {
        let left = self.leftovers.as_ref().map_or(0, |leftovers| leftovers.findings.dropped());
        let over = self.all_findings().count().saturating_sub(FINDINGS_MAX) as u64;
        let more = self.strays.dropped() + left + self.texts.findings.dropped() + over;
        self.report.findings_dropped + self.entries.findings_dropped + more
    }

    fn render(&self, screen: &Screen) -> String {
        let mut text = format!("{}\n{}", self.headline(screen), self.table().render(2));
        let findings = self.findings();
        if !findings.is_empty() {
            text.push_str("Found:\n");
            for finding in findings.iter().take(FINDINGS_SHOWN_MAX) {
                text.push_str(&format!("  {}\n", printable(finding)));
            }
            let hidden = findings.len().saturating_sub(FINDINGS_SHOWN_MAX) as u64 + self.findings_dropped();
            if hidden > 0 {
                text.push_str(&format!("  and {} more; --json has up to 1,000\n", when::number(hidden)));
            }
        }
        text.push_str("Not checked:\n");
        for sentence in self.not_checked() {
            text.push_str(&format!("  {sentence}\n"));
        }
        if let Some(hint) = self.hint() {
            text.push_str(&format!("hint: {hint}\n"));
        }
        text
    }

    fn headline(&self, screen: &Screen) -> String {
        let origin = printable(&self.report.origin).into_owned();
        match self.verdict() {
            Verdict::Good => format!("{} every file of the log `{origin}` holds", screen.tone(Tone::Good, "good:")),
            Verdict::Doubtful => {
                let doubts = self.doubts();
                let words: Vec<_> = doubts.iter().map(|doubt| doubt.word).collect();
                let sentences: Vec<_> = doubts.iter().map(|doubt| doubt.sentence.as_str()).collect();
                let word = screen.tone(Tone::Doubtful, &format!("good, but {}:", words.join(" and ")));
                format!("{word} every file of the log `{origin}` holds, and {}", sentences.join("; and "))
            }
            Verdict::Failed => {
                format!("{} the log `{origin}` is not what was signed", screen.tone(Tone::Bad, "failed:"))
            }
        }
    }

    fn table(&self) -> Table {
        let (report, entries) = (&self.report, &self.entries);
        let mut table = Table::new();
        table.row(["entries", &when::number(report.size)]);
        table.row(["root", &report.root.to_string()]);
        let kinds: Vec<String> =
            entries.kinds.iter().map(|(kind, count)| format!("{} {kind}", when::number(*count))).collect();
        table.list("types", kinds.iter().map(String::as_str));
        let (issued, refused) = (when::number(entries.issued), when::number(entries.refused));
        let validated = when::number(entries.validated);
        table.row(["decisions", &format!("{issued} issued, {refused} refused, {validated} validated only")]);
        continuity::tell(&entries.names, &mut table);
        if entries.revoked > 0 || entries.crls > 0 {
            let (revoked, crls) = (when::number(entries.revoked), when::number(entries.crls));
            table.row(["revocation", &format!("{revoked} revoked, {crls} CRLs")]);
        }
        table.row(["issuers", &when::number(entries.issuers.len() as u64)]);
        if let Some((first, newest)) = entries.first_millis.zip(entries.newest_millis) {
            table.row(["first", &when::rfc3339_of_millis(first)]);
            table.row(["newest", &when::rfc3339_of_millis(newest)]);
        }
        let (bundles, tiles) = (when::count(report.bundles, "bundle"), when::count(report.tiles, "hash tile"));
        let bytes = when::count(report.entries_bytes, "byte");
        table.row(["read", &format!("{bundles} with {bytes} of entries, {tiles}")]);
        for (name, anchor) in [("anchor", &self.anchor), ("last run", &self.remembered)] {
            if let Some(anchor) = anchor {
                table.row([name, &format!("{} entries, {}", when::number(anchor.size()), anchor.root())]);
            }
        }
        for (name, secs) in &self.quorum.cosigned {
            let at = when::rfc3339(i64::try_from(*secs).unwrap_or(i64::MAX));
            table.row(["witness", &format!("{name} co-signed at {at}")]);
        }
        if entries.private > 0 {
            let (private, opened) = (when::count(entries.private, "value"), when::number(entries.opened));
            table.row(["private", &format!("{private}, of which {opened} are opened and are what was committed to")]);
        }
        if self.texts.there > 0 {
            table.row(["policies", &format!("{} with the SHA-256 of their names", when::number(self.texts.there))]);
        }
        if entries.unknown_kinds > 0 {
            table.row([
                "unknown",
                &format!("{} of these have a type unknown here", when::number(entries.unknown_kinds)),
            ]);
        }
        if entries.other_versions > 0 {
            let count = when::number(entries.other_versions);
            table.row(["versions", &format!("{count} of these have another version of the format")]);
        }
        table
    }

    fn to_json(&self) -> Value {
        let (report, entries) = (&self.report, &self.entries);
        let result = match self.verdict() {
            Verdict::Good => "good",
            Verdict::Doubtful => self.doubts().first().map_or("good", |doubt| doubt.word),
            Verdict::Failed => "failed",
        };
        json!({
            "result": result,
            "origin": report.origin,
            "size": report.size,
            "root": report.root.to_string(),
            "types": entries.kinds,
            "unknown-types": entries.unknown_kinds,
            "other-versions": entries.other_versions,
            "issued": entries.issued,
            "refused": entries.refused,
            "validated": entries.validated,
            "revoked": entries.revoked,
            "crls": entries.crls,
            "issuers": entries.issuers.iter().map(|(issuer, issued)| (hallmark_policy::hex(issuer), issued)).collect::<BTreeMap<_, _>>(),
            "first": entries.first_millis.map(when::rfc3339_of_millis),
            "newest": entries.newest_millis.map(when::rfc3339_of_millis),
            "newest-age-secs": self.age_secs(),
            "bundles": report.bundles,
            "tiles": report.tiles,
            "entries-bytes": report.entries_bytes,
            "log-keys": entries.names.keys().map(|(_, keys)| keys),
            "closed": entries.names.closed().map(|(_, closed)| json!({ "next-origin": closed.next_origin, "next-key": closed.next_key })),
            "continues": entries.names.opened().iter().map(|(index, opened)| json!({
                "index": index, "origin": opened.previous_origin, "size": opened.previous_size,
            })).collect::<Vec<_>>(),
            "anchor-size": self.anchor.as_ref().map(Checkpoint::size),
            "last-run-size": self.remembered.as_ref().map(Checkpoint::size),
            "private": entries.private,
            "opened": entries.opened,
            "policies": self.texts.there,
            "policies-missing": self.texts.missing,
            "ended-before": self.report.ended_before,
            "pruned-before": self.pruned_before,
            "witnesses": self.quorum.cosigned.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "doubts": self.doubts().iter().map(|doubt| doubt.sentence.clone()).collect::<Vec<_>>(),
            "findings": self.findings(),
            "findings-dropped": self.findings_dropped(),
            "not-checked": self.not_checked(),
        })
    }
}
