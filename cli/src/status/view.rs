//! A signer's status as lines that fit a terminal.

use super::state::{Alarm, Authority, Calls, Count, End, Log, Named, Stage, Status, Token};
use crate::{
    screen::{Screen, Tone, printable},
    when,
};

/// Where values begin, in columns.
const INDENT: usize = 11;

/// Between two values of a line.
const GAP: &str = "  ";

/// Reasons and codes that are named; the others are counted.
const NAMED_MAX: usize = 6;

/// From when on it is said in colour that something ends, in seconds.
const SOON_SECS: f64 = 7.0 * 86_400.0;

/// Narrower than this, nothing is broken into more lines: it is cut off.
const WIDTH_LEAST: usize = 24;

/// A piece of a line, and how it is meant.
#[derive(Clone, Debug)]
struct Piece {
    text: String,
    tone: Option<Tone>,
}

/// A line.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(Vec<Piece>);

impl Piece {
    fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: None }
    }

    fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Some(tone) }
    }

    fn letters(&self) -> usize {
        self.text.chars().count()
    }
}

impl Line {
    fn of(text: impl Into<String>) -> Self {
        Self(vec![Piece::plain(text)])
    }

    fn letters(&self) -> usize {
        self.0.iter().map(Piece::letters).sum()
    }

    /// As text of so many columns at most, in colour or without.
    pub(super) fn render(&self, width: usize, colour: bool) -> String {
        let is_cut = self.letters() > width;
        let mut left = if is_cut { width.saturating_sub(1) } else { width };
        let mut text = String::new();
        for piece in &self.0 {
            let shown: String = piece.text.chars().take(left).collect();
            left -= shown.chars().count();
            match piece.tone {
                Some(tone) if colour && !shown.is_empty() => text.push_str(&Screen::painted(tone, &shown)),
                Some(_) | None => text.push_str(&shown),
            }
        }
        if is_cut && width > 0 {
            text.push('…');
        }
        text
    }
}

/// All lines, for a terminal of so many columns.
pub(super) fn lines(status: &Status, width: usize) -> Vec<Line> {
    let mut lines = vec![head(status, width), Line::default()];
    lines.extend(authorities(&status.authorities, width));
    lines.push(Line::default());
    let Calls { stages, .. } = &status.calls;
    lines.extend(flow("calls", calls(&status.calls), width));
    lines.extend(flow("mints", mints(&status.calls), width));
    lines.extend(flow("stages", self::stages(stages), width));
    lines.extend(flow("refused", named(&status.refused), width));
    for (place, one) in status.tokens.iter().enumerate() {
        lines.extend(flow(if place == 0 { "tokens" } else { "" }, token(one), width));
    }
    lines.extend(flow("log", log(&status.log), width));
    lines.extend(flow("disk", disk(&status.log), width));
    lines.extend(flow("alarms", alarms(&status.alarms), width));
    lines
}

/// Whether it serves, and as much more as there is room for.
fn head(status: &Status, width: usize) -> Line {
    let all = !status.authorities.is_empty() && status.authorities.iter().all(|one| one.state == "serves");
    let any = status.authorities.iter().any(|one| one.state == "serves");
    let word = match (all, any) {
        (true, _) => Piece::toned(Tone::Good, "serving"),
        (false, true) => Piece::toned(Tone::Doubtful, "serving in part"),
        (false, false) => Piece::toned(Tone::Bad, "not serving"),
    };
    let mut line = Line(vec![word, Piece::plain(format!(": {}", printable(&status.signer)))]);
    let up = status.up_seconds.map(|secs| format!(", up {}", when::span(whole(secs))));
    let version = status.version.as_ref().map(|version| format!(", hallmark {}", printable(version)));
    for part in [Some(format!(" at {}", status.at)), up, version].into_iter().flatten() {
        let piece = Piece::plain(part);
        if line.letters() + piece.letters() > width {
            break;
        }
        line.0.push(piece);
    }
    line
}

/// A table; in a narrow terminal without its last columns.
fn authorities(all: &[Authority], width: usize) -> Vec<Line> {
    if all.is_empty() {
        return vec![Line(vec![Piece::toned(Tone::Doubtful, "no authorities")])];
    }
    let heading = ["AUTHORITY", "STATE", "EPOCH", "ENDS FIRST", "ISSUED", "REFUSED"].map(Piece::plain);
    let mut rows = vec![heading.to_vec()];
    rows.extend(all.iter().map(row));
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(Piece::letters).max().unwrap_or_default())
        .collect();
    let mut shown = columns;
    while shown > 2 && widths.iter().take(shown).sum::<usize>() + GAP.len() * (shown - 1) > width {
        shown -= 1;
    }
    let line = |row: Vec<Piece>| {
        let cells = row.into_iter().take(shown).zip(&widths).enumerate().flat_map(|(at, (cell, width))| {
            let space = if at + 1 < shown { width - cell.letters() + GAP.len() } else { 0 };
            [cell, Piece::plain(" ".repeat(space))]
        });
        Line(cells.collect())
    };
    rows.into_iter().map(line).collect()
}

fn row(one: &Authority) -> Vec<Piece> {
    let tone = match one.state {
        "serves" => Tone::Good,
        "waits" => Tone::Doubtful,
        _ => Tone::Bad,
    };
    vec![
        Piece::plain(printable(&one.name)),
        Piece::toned(tone, one.state),
        Piece::plain(if one.epoch > 0.0 { number(one.epoch) } else { "none".to_owned() }),
        one.ends.first().map_or_else(|| Piece::plain("nothing"), end),
        Piece::plain(count(&one.issued)),
        Piece::plain(count(&one.refused)),
    ]
}

fn end(end: &End) -> Piece {
    let what = printable(&end.what);
    if end.seconds < 0.0 {
        return Piece::toned(Tone::Bad, format!("{what} has ended"));
    }
    let text = format!("{what} in {}", when::span(whole(end.seconds)));
    if end.seconds < SOON_SECS { Piece::toned(Tone::Doubtful, text) } else { Piece::plain(text) }
}

fn calls(calls: &Calls) -> Vec<Piece> {
    let waiting = |count: f64, what: &str| {
        let text = format!("{} waiting {what}", number(count));
        if count > 0.0 { Piece::toned(Tone::Doubtful, text) } else { Piece::plain(text) }
    };
    vec![
        Piece::plain(format!("{} in all", count(&calls.all))),
        Piece::plain(format!("{} under way", number(calls.under_way))),
        waiting(calls.waiting_in_fronts, "for the core"),
        waiting(calls.waiting_for_a_key, "for a key"),
        waiting(calls.waiting_for_the_ledger, "for the ledger"),
    ]
}

fn mints(calls: &Calls) -> Vec<Piece> {
    match (calls.mint_p50_seconds, calls.mint_p99_seconds) {
        (Some(half), Some(most)) => {
            vec![
                Piece::plain(format!("half within {}", time(half))),
                Piece::plain(format!("99 % within {}", time(most))),
            ]
        }
        _ => vec![Piece::plain("none")],
    }
}

/// How long each takes on average.
fn stages(all: &[Stage]) -> Vec<Piece> {
    let mean = |stage: &Stage| Piece::plain(format!("{} {}", printable(&stage.stage), time(stage.mean_seconds)));
    let last = Piece::plain(if all.is_empty() { "none" } else { "on average" });
    all.iter().map(mean).chain([last]).collect()
}

fn named(all: &[Named]) -> Vec<Piece> {
    let mut pieces: Vec<_> = all
        .iter()
        .take(NAMED_MAX)
        .map(|one| Piece::plain(format!("{} {}", printable(&one.name), count(&one.count))))
        .collect();
    match all.len() {
        0 => pieces.push(Piece::plain("none")),
        many if many > NAMED_MAX => pieces.push(Piece::plain(format!("and {} more", many - NAMED_MAX))),
        _ => {}
    }
    pieces
}

fn token(token: &Token) -> Vec<Piece> {
    let name = printable(&token.name);
    let serves = match token.serves {
        true => Piece::toned(Tone::Good, format!("{name} serves")),
        false => Piece::toned(Tone::Bad, format!("{name} is away")),
    };
    let sessions = Piece::plain(format!("{} sessions", number(token.sessions)));
    let mut pieces = vec![serves, sessions, Piece::plain(format!("signatures {}", count(&token.signatures)))];
    pieces.extend(token.sign_p99_seconds.map(|secs| Piece::plain(format!("99 % within {}", time(secs)))));
    if token.hanging > 0.0 {
        pieces.push(Piece::toned(Tone::Bad, format!("{} hang", number(token.hanging))));
    }
    if token.failures > 0.0 {
        pieces.push(Piece::toned(Tone::Bad, format!("{} failures", number(token.failures))));
    }
    if !token.errors.is_empty() {
        pieces.extend(named(&token.errors));
    }
    pieces
}

fn log(log: &Log) -> Vec<Piece> {
    let mut pieces = vec![Piece::plain(format!("{} entries", number(log.entries)))];
    pieces.push(Piece::plain(if log.unpublished > 0.0 {
        format!("{} not published yet", number(log.unpublished))
    } else {
        "all published".to_owned()
    }));
    pieces.extend(log.published_seconds_ago.map(|secs| Piece::plain(format!("last {} ago", when::span(whole(secs))))));
    pieces
}

fn disk(log: &Log) -> Vec<Piece> {
    let mut pieces = Vec::new();
    pieces.extend(log.free_bytes.map(|bytes| Piece::plain(format!("{} free", size(bytes)))));
    pieces.extend(log.room_for.map(|what| match what {
        "everything" => Piece::plain("room for everything"),
        less => Piece::toned(Tone::Bad, format!("room for {less}")),
    }));
    pieces.extend(log.commit_p99_seconds.map(|secs| Piece::plain(format!("99 % of commits within {}", time(secs)))));
    pieces.extend(log.operations_each.map(|mean| Piece::plain(format!("{mean:.1} operations each"))));
    if pieces.is_empty() { vec![Piece::plain("not told")] } else { pieces }
}

fn alarms(alarms: &[Alarm]) -> Vec<Piece> {
    if alarms.is_empty() {
        return vec![Piece::plain("none since the start")];
    }
    let one = |alarm: &Alarm| {
        // One about a device may be of none.
        let of = Some(printable(&alarm.authority)).filter(|name| !name.is_empty());
        let of = of.map(|name| format!("{name}: ")).unwrap_or_default();
        let text = format!("{of}{} {}", printable(&alarm.alarm), number(alarm.count));
        Piece::toned(Tone::Bad, text)
    };
    alarms.iter().map(one).collect()
}

/// Values behind a name, in as many lines as they need.
fn flow(name: &str, values: Vec<Piece>, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = Line::of(format!("{name:INDENT$}"));
    let mut is_empty = true;
    for value in values {
        let wanted = line.letters() + value.letters() + if is_empty { 0 } else { GAP.len() };
        if !is_empty && wanted > width.max(WIDTH_LEAST) {
            lines.push(std::mem::replace(&mut line, Line::of(" ".repeat(INDENT))));
            is_empty = true;
        }
        if !is_empty {
            line.0.push(Piece::plain(GAP));
        }
        line.0.push(value);
        is_empty = false;
    }
    lines.push(line);
    lines
}

/// `12,345 (3.5/s)`.
fn count(count: &Count) -> String {
    match count.per_second {
        Some(rate) => format!("{} ({rate:.1}/s)", number(count.total)),
        None => number(count.total),
    }
}

fn number(value: f64) -> String {
    when::number(whole(value))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as many as there are, none below 0")]
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

/// `250 us`, `2.1 ms`, `1.5 s`.
fn time(secs: f64) -> String {
    match secs {
        secs if secs < 0.001 => format!("{:.0} us", secs * 1e6),
        secs if secs < 1.0 => format!("{:.1} ms", secs * 1e3),
        secs => format!("{secs:.1} s"),
    }
}

fn size(bytes: f64) -> String {
    const GIB: f64 = 1_073_741_824.0;
    if bytes < GIB { format!("{:.0} MiB", bytes / 1_048_576.0) } else { format!("{:.1} GiB", bytes / GIB) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{samples::Samples, state::Looked},
        *,
    };

    const TEXT: &str = include_str!("example.txt");

    fn shown(before: Option<&str>, width: usize, colour: bool) -> String {
        let now = Samples::read(TEXT).unwrap();
        let before = before.map(|text| Samples::read(text).unwrap());
        let looked = Looked::new(&now, before.as_ref().map(|before| (before, Duration::from_secs(2))));
        let status = looked.status("signer.lab:9443", 1_800_011_520, "2027-01-15T11:12:00Z".to_owned());
        lines(&status, width).iter().map(|line| line.render(width, colour).trim_end().to_owned() + "\n").collect()
    }

    fn earlier() -> String {
        TEXT.replace(" 1234\n", " 1034\n").replace(" 41\n", " 40\n")
    }

    #[test]
    fn everything_is_on_one_screen() {
        let text = shown(Some(&earlier()), 80, false);
        insta::assert_snapshot!(text);
        assert!(text.lines().count() <= 24, "{text}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 1..120 {
            for line in shown(None, width, false).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
        insta::assert_snapshot!(shown(None, 44, false));
    }

    #[test]
    fn colour_is_beside_the_text_and_never_in_place_of_it() {
        let (plain, colour) = (shown(None, 80, false), shown(None, 80, true));
        assert_ne!(plain, colour);
        let mut without = String::new();
        let mut rest = colour.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            without.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        assert_eq!(without + rest, plain);
    }
}
