//! `hallmark log stats`: how much, of what, and when.

use std::{collections::BTreeMap, path::Path};

use hallmark_entry::{Summary, privacy};
use serde_json::{Value, json};

use super::{
    but_pruned,
    opened::Opened,
    scan::{Scan, bar},
    show, unclean,
};
use crate::{
    arguments::StatsArguments,
    exit::Exit,
    problem::Problem,
    screen::{Screen, printable},
    table::Table,
    when,
};

const MILLIS_PER_HOUR: i64 = 3_600_000;

/// Lengths of time that a bar can stand for, in hours, with their names.
const PERIODS: [(i64, &str); 4] = [(1, "hour"), (24, "day"), (168, "week"), (720, "30 days")];

/// Most bars of a plot.
const BARS_MAX: usize = 40;

/// Letters of the longest bar.
const BAR_LETTERS: u64 = 50;

/// Rows of a ranking.
const RANKS: usize = 8;

/// Different words that are counted apart; what comes on top is counted together.
const WORDS_MAX: usize = 1_000;

/// Longest word, in letters. Entries have texts of up to 600 bytes whole.
const WORD_LETTERS_MAX: usize = 600;

/// Most hours that are told apart: those of 22 years, some 10 MB.
const HOURS_MAX: usize = 200_000;

/// Eighths of a letter, so that short bars are told apart.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// What was counted.
#[derive(Debug, Default)]
struct Stats {
    entries: u64,
    /// Issued, refused and all by hour.
    hours: BTreeMap<i64, [u64; 2]>,
    /// Entries of more hours than are told apart.
    undrawn: u64,
    kinds: Words,
    authorities: Words,
    profiles: Words,
    callers: Words,
    reasons: Words,
    policies: Words,
    private: u64,
}

/// How often each word came.
#[derive(Debug, Default)]
struct Words(BTreeMap<String, u64>);

impl Words {
    fn add(&mut self, word: &str) {
        let word = show::cut_to(word, WORD_LETTERS_MAX);
        let word = if self.0.len() >= WORDS_MAX && !self.0.contains_key(&word) { "(others)".to_owned() } else { word };
        *self.0.entry(word).or_default() += 1;
    }

    /// The most frequent first.
    fn ranked(&self) -> Vec<(&str, u64)> {
        let mut ranked: Vec<_> = self.0.iter().map(|(word, count)| (word.as_str(), *count)).collect();
        ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        ranked
    }
}

/// Counts, and draws what was counted.
pub(crate) fn stats(arguments: &StatsArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let opened = Opened::new(&arguments.log, config)?;
    let (source, head) = (&opened.source, &opened.head);
    let look = |_: u64, bytes: &[u8], openings: &[_]| {
        let entry =
            if openings.is_empty() { Summary::parse(bytes) } else { Summary::parse(&privacy::reveal(bytes, openings)) };
        entry.ok().filter(|entry| arguments.filter.admits(entry))
    };
    let mut stats = Stats::default();
    let scan = Scan { source, head, anchors: Vec::new(), pruned_before: opened.pruned_before, bar: bar(screen) };
    let scanned = scan.run(&look, &mut |_, entry: Option<Summary>| {
        if let Some(entry) = entry {
            stats.add(&entry);
        }
    })?;
    unclean(&scanned)?;
    if screen.is_json() {
        screen.answer(&stats.to_json())?;
    } else {
        screen.data(stats.render().as_bytes())?;
    }
    screen.say(&format!("All of the log holds.{}", but_pruned(opened.pruned_before)));
    Ok(Exit::Done)
}

impl Stats {
    fn add(&mut self, entry: &Summary) {
        self.entries += 1;
        self.kinds.add(&entry.kind);
        let hour = entry.time.div_euclid(MILLIS_PER_HOUR);
        if self.hours.len() < HOURS_MAX || self.hours.contains_key(&hour) {
            let counts = self.hours.entry(hour).or_default();
            match entry.decision.as_deref() {
                Some("issued") => counts[0] += 1,
                Some("refused") => counts[1] += 1,
                Some(_) | None => {}
            }
        } else {
            self.undrawn += 1;
        }
        if entry.kind != "decision" {
            return;
        }
        let text = |text: &Option<hallmark_entry::summary::Text>| text.as_ref().map(ToString::to_string);
        text(&entry.authority).iter().for_each(|word| self.authorities.add(word));
        text(&entry.profile).iter().for_each(|word| self.profiles.add(word));
        text(&entry.caller).iter().for_each(|word| self.callers.add(word));
        entry.policy_sha256.iter().for_each(|word| self.policies.add(word));
        entry.reasons.known().iter().for_each(|reason| self.reasons.add(&reason.code));
        self.private += u64::from(entry.names.is_private() || entry.reasons.is_private());
    }

    /// Issued and refused by period, the shortest that makes no more than [`BARS_MAX`] bars.
    fn periods(&self) -> (&'static str, Vec<(i64, [u64; 2])>) {
        let span = self
            .hours
            .first_key_value()
            .zip(self.hours.last_key_value())
            .map_or(0, |((first, _), (last, _))| last - first);
        let fits = |hours: i64| usize::try_from(span / hours).is_ok_and(|bars| bars < BARS_MAX);
        let (hours, name) = PERIODS.into_iter().find(|(hours, _)| fits(*hours)).unwrap_or((8_760, "365 days"));
        let mut periods: BTreeMap<i64, [u64; 2]> = BTreeMap::new();
        for (hour, counts) in &self.hours {
            let period = periods.entry(hour.div_euclid(hours) * hours).or_default();
            period.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        (name, periods.into_iter().collect())
    }

    fn render(&self) -> String {
        let mut text = format!("{} entries\n", when::number(self.entries));
        let (name, periods) = self.periods();
        for (position, what) in [(0, "Issued"), (1, "Refused")] {
            let counts: Vec<_> =
                periods.iter().map(|(hour, counts)| (*hour, counts.get(position).copied().unwrap_or(0))).collect();
            text.push_str(&plot(&format!("{what} each {name}"), &counts));
        }
        let rankings = [
            ("Types", &self.kinds),
            ("Authorities", &self.authorities),
            ("Profiles", &self.profiles),
            ("Callers", &self.callers),
            ("Reasons of refusals", &self.reasons),
            ("Policies", &self.policies),
        ];
        rankings.into_iter().for_each(|(name, words)| text.push_str(&ranking(name, words)));
        if self.undrawn > 0 {
            text.push_str(&format!("\nOf more hours than are drawn: {}\n", when::number(self.undrawn)));
        }
        if self.private > 0 {
            text.push_str(&format!("\nPrivate and not counted by name or reason: {}\n", when::number(self.private)));
        }
        text
    }

    fn to_json(&self) -> Value {
        let (name, periods) = self.periods();
        let periods: Vec<Value> = periods
            .iter()
            .map(|(hour, [issued, refused])| {
                json!({ "from": when::rfc3339_of_millis(hour * MILLIS_PER_HOUR), "issued": issued, "refused": refused })
            })
            .collect();
        json!({
            "entries": self.entries,
            "period": name,
            "periods": periods,
            "types": self.kinds.0,
            "authorities": self.authorities.0,
            "profiles": self.profiles.0,
            "callers": self.callers.0,
            "reasons": self.reasons.0,
            "policies": self.policies.0,
            "undrawn": self.undrawn,
            "private": self.private,
        })
    }
}

/// A bar for each period.
fn plot(title: &str, counts: &[(i64, u64)]) -> String {
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let mut table = Table::new();
    for (hour, count) in counts {
        let from = when::rfc3339_of_millis(hour * MILLIS_PER_HOUR);
        table.row([from.get(..16).unwrap_or(&from), &when::number(*count), &bar_of(*count, most)]);
    }
    format!("\n{title}\n{}", table.render(2))
}

fn ranking(title: &str, words: &Words) -> String {
    let ranked = words.ranked();
    let Some((_, most)) = ranked.first() else { return String::new() };
    let mut table = Table::new();
    for (word, count) in ranked.iter().take(RANKS) {
        table.row([&printable(word), &when::number(*count), &bar_of(*count, *most)]);
    }
    let others = ranked.len().saturating_sub(RANKS);
    let others = if others == 0 { String::new() } else { format!("  and {} more\n", when::number(others as u64)) };
    format!("\n{title}\n{}{others}", table.render(2))
}

/// A bar of as many letters, in eighths.
fn bar_of(count: u64, most: u64) -> String {
    let eighths = u128::from(count) * u128::from(BAR_LETTERS) * 8 / u128::from(most.max(1));
    let eighths = usize::try_from(eighths).unwrap_or(0).max(usize::from(count > 0));
    "█".repeat(eighths / 8) + EIGHTHS.get(eighths % 8).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_what_they_stand_for() {
        assert_eq!(bar_of(100, 100).chars().count(), 50);
        assert_eq!(bar_of(1, 100), "▌");
        assert_eq!(bar_of(1, 1_000_000), "▏", "nothing that happened is invisible");
        assert_eq!(bar_of(0, 100), "");
    }

    #[test]
    fn words_and_hours_without_end_are_counted_together() {
        let mut stats = Stats::default();
        for number in 0..HOURS_MAX as u64 + 7 {
            let time = number * 3_600_000;
            let name = if number < 2_000 { "x".repeat(5_000) } else { String::new() };
            let text = format!(r#"{{"caller":"{number} {name}","time":{time},"type":"decision","version":1}}"#);
            stats.add(&Summary::parse(text.as_bytes()).unwrap());
        }
        assert_eq!((stats.hours.len(), stats.undrawn), (HOURS_MAX, 7));
        assert_eq!(stats.callers.0.len(), WORDS_MAX + 1);
        assert!(stats.callers.0.keys().all(|word| word.len() < 700));
    }

    #[test]
    fn periods_are_the_shortest_that_fit_a_screen() {
        let spanning = |hours: i64| {
            let hours = BTreeMap::from([(0, [1, 0]), (hours, [2, 3])]);
            Stats { hours, ..Stats::default() }.periods().0
        };
        assert_eq!(
            [spanning(1), spanning(41), spanning(24 * 41), spanning(168 * 41)],
            ["hour", "day", "week", "30 days"]
        );
        assert_eq!(spanning(24 * 365 * 20), "365 days");
    }
}
