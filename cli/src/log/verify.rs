//! `hallmark log verify`: the whole published log, offline.

use std::path::Path;

use hallmark_policy::time::Span;
use hallmark_tlog::{
    audit::{Auditor, Report},
    checkpoint::Checkpoint,
    note::VerifierKey,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{directory::LogDirectory, entries::Entries, key};
use crate::{
    arguments::VerifyArguments,
    config::Config,
    exit::Exit,
    files,
    problem::Problem,
    screen::{Screen, Tone, printable},
    settings::{SettingsError, first},
    table::Table,
    when,
};

/// Most findings that are printed; JSON has them all.
const FINDINGS_SHOWN_MAX: usize = 20;

const BAR: &str = "{bar:40} {human_pos} of {human_len} entries, {eta} left";

/// Checks, and says what was not checked.
pub(crate) fn verify(arguments: &VerifyArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let config = Config::load(config)?;
    let key = first(&arguments.key, &config.log_key).ok_or_else(SettingsError::no_log_key)?;
    let keys = key::read(&key)?;
    let directory = LogDirectory::open(&arguments.directory)?;
    let anchor = arguments.anchor.as_deref().map(|path| read_anchor(path, &keys)).transpose()?;
    let mut auditor = Auditor::new(&keys);
    if let Some(anchor) = &anchor {
        auditor = auditor.with_anchor(anchor.clone());
    }
    let bar = bar(screen);
    let mut entries = Entries::new(bar.clone());
    let report = auditor.audit(&directory, &mut entries).map_err(Problem::Audit);
    entries.close();
    bar.finish_and_clear();
    let audit = Audit::new(report?, entries, anchor, arguments.stale_after, when::now_millis());
    screen.say(&audit.render(screen));
    screen.answer(&audit.to_json())?;
    Ok(audit.exit())
}

fn read_anchor(path: &Path, keys: &[VerifierKey]) -> Result<Checkpoint, Problem> {
    let wrong = |source| Problem::Checkpoint { what: path.display().to_string(), source };
    Checkpoint::open(&files::read(path)?, keys).map_err(wrong)
}

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

/// All that was found out.
struct Audit {
    report: Report,
    entries: Entries,
    anchor: Option<Checkpoint>,
    /// Age of the newest entry in seconds; none if there is no entry.
    age_secs: Option<u64>,
    stale_after: Span,
}

/// How it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Stale,
    Failed,
}

impl Audit {
    fn new(report: Report, entries: Entries, anchor: Option<Checkpoint>, stale_after: Span, now_millis: i64) -> Self {
        let age = entries.newest_millis.map(|newest| now_millis.saturating_sub(newest) / 1_000);
        let age_secs = age.map(|secs| u64::try_from(secs).unwrap_or(0));
        Self { report, entries, anchor, age_secs, stale_after }
    }

    fn verdict(&self) -> Verdict {
        if !self.report.is_clean() || !self.entries.findings.is_empty() {
            Verdict::Failed
        } else if self.age_secs.is_none_or(|age| age > self.stale_after.secs()) {
            Verdict::Stale
        } else {
            Verdict::Good
        }
    }

    fn exit(&self) -> Exit {
        match self.verdict() {
            Verdict::Good => Exit::Done,
            Verdict::Stale => Exit::NotNow,
            Verdict::Failed => Exit::No,
        }
    }

    fn findings(&self) -> Vec<String> {
        let of_tree = self.report.findings.iter().map(ToString::to_string);
        of_tree.chain(self.entries.findings.iter().map(ToString::to_string)).collect()
    }

    fn findings_dropped(&self) -> u64 {
        self.report.findings_dropped + self.entries.findings_dropped
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
            Verdict::Stale => {
                let word = screen.tone(Tone::Doubtful, "good, but stale:");
                let age = match self.age_secs {
                    Some(age) => format!("the newest entry is {} old", when::span(age)),
                    None => "it has no entry".to_owned(),
                };
                format!("{word} every file of the log `{origin}` holds, and {age}")
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
        if let Some(anchor) = &self.anchor {
            table.row(["anchor", &format!("{} entries, {}", when::number(anchor.size()), anchor.root())]);
        }
        if entries.unknown_kinds > 0 {
            table.row([
                "unknown",
                &format!("{} of these have a type unknown here", when::number(entries.unknown_kinds)),
            ]);
        }
        if entries.later_versions > 0 {
            let count = when::number(entries.later_versions);
            table.row(["versions", &format!("{count} of these have another version of the format")]);
        }
        table
    }

    fn not_checked(&self) -> Vec<&'static str> {
        let mut sentences = vec![
            "Others may be shown another log under the same key: no co-signatures of witnesses were checked.",
            "Whether what the entries say is true: the certificates themselves were not looked at.",
        ];
        if self.anchor.is_none() {
            sentences.push("Whether this log continues what you saw before: give an earlier checkpoint with --anchor.");
        }
        sentences
    }

    fn hint(&self) -> Option<&'static str> {
        match self.verdict() {
            Verdict::Good => None,
            Verdict::Stale => {
                Some("fetch the log again; if it stays so, ask whoever runs the signer why it stands still")
            }
            Verdict::Failed => {
                Some("fetch the log again; if it stays so, keep this copy and ask whoever runs the signer")
            }
        }
    }

    fn to_json(&self) -> Value {
        let (report, entries) = (&self.report, &self.entries);
        let result = match self.verdict() {
            Verdict::Good => "good",
            Verdict::Stale => "stale",
            Verdict::Failed => "failed",
        };
        json!({
            "result": result,
            "origin": report.origin,
            "size": report.size,
            "root": report.root.to_string(),
            "types": entries.kinds,
            "unknown-types": entries.unknown_kinds,
            "other-versions": entries.later_versions,
            "issued": entries.issued,
            "refused": entries.refused,
            "validated": entries.validated,
            "revoked": entries.revoked,
            "crls": entries.crls,
            "issuers": entries.issuers,
            "first": entries.first_millis.map(when::rfc3339_of_millis),
            "newest": entries.newest_millis.map(when::rfc3339_of_millis),
            "newest-age-secs": self.age_secs,
            "bundles": report.bundles,
            "tiles": report.tiles,
            "entries-bytes": report.entries_bytes,
            "anchor-size": self.anchor.as_ref().map(Checkpoint::size),
            "findings": self.findings(),
            "findings-dropped": self.findings_dropped(),
            "not-checked": self.not_checked(),
        })
    }
}
