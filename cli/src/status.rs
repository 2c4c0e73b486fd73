//! `hallmark status`: how a signer stands, on one screen; with `--watch` again and again.
//!
//! Everything comes from its metrics, so that whoever may read those may read this.

mod samples;
mod state;
mod terminal;
mod view;

use std::{
    future::Future,
    io::{self, IsTerminal as _},
    path::Path,
    time::Duration,
};

use hallmark_proto::operator::{MetricsRequest, MetricsResponse};
use serde_json::json;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use self::{
    samples::Samples,
    state::{Looked, Status},
    terminal::Live,
};
use crate::{
    arguments::SignerStatusArguments,
    config::Config,
    connection::{self, Connection},
    exit::Exit,
    problem::Problem,
    screen::{Screen, printable},
    settings::ConnectionSettings,
    when,
};

/// Columns of what is no terminal.
const PLAIN_COLUMNS: usize = 100;

/// Shows it.
pub(crate) fn status(
    arguments: &SignerStatusArguments,
    config: Option<&Path>,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let settings = ConnectionSettings::resolve(&arguments.connection, &Config::load(config)?)?;
    let interval = Duration::from_secs(arguments.interval.into());
    connection::runtime()?.block_on(async {
        let mut looking = Looking { settings: &settings, connection: None, before: None };
        let first = looking.look().await?;
        if !arguments.watch {
            screen.answer(&json!(first))?;
            if !screen.is_json() {
                let (columns, _) = size();
                screen.data(block(&first, columns, screen).as_bytes())?;
            }
            return Ok(Exit::Done);
        }
        // From here on no signal ends this without the terminal being as it was.
        let signals = Signals::register()?;
        let shows = if io::stdout().is_terminal() && !screen.is_json() {
            Shows::InPlace(Live::enter().map_err(Problem::Stdout)?)
        } else {
            Shows::Repeats
        };
        watch(looking, first, interval, screen, &shows, signals).await
    })
}

/// How it is shown again.
enum Shows {
    InPlace(Live),
    Repeats,
}

/// What ends it, or changes its size.
struct Signals {
    resized: Signal,
    ending: [Signal; 3],
}

impl Signals {
    fn register() -> Result<Self, Problem> {
        let on = |kind| signal(kind).map_err(Problem::Runtime);
        let ending = [on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?];
        Ok(Self { resized: on(SignalKind::window_change())?, ending })
    }
}

/// Who looks.
struct Looking<'a> {
    settings: &'a ConnectionSettings,
    connection: Option<Connection>,
    before: Option<(Samples, Instant)>,
}

impl Looking<'_> {
    /// Looks once, over the connection of the time before if it still stands.
    async fn look(&mut self) -> Result<Status, Problem> {
        let connection = match self.connection.take() {
            Some(connection) => connection.lasting(self.settings.timeout),
            None => Connection::open(self.settings).await?,
        };
        let asked =
            connection.call_operator(MetricsRequest {}, async |mut client, request| client.metrics(request).await);
        let MetricsResponse { text } = asked.await?;
        let (now, address) = (Instant::now(), connection.address().to_owned());
        let samples = Samples::read(&text).ok_or(Problem::NoMetrics)?;
        let before = self.before.as_ref().map(|(samples, at)| (samples, now.duration_since(*at)));
        let millis = when::now_millis();
        let at = when::rfc3339_of_millis(millis);
        let status = Looked::new(&samples, before).status(&address, millis.div_euclid(1_000), at);
        (self.connection, self.before) = (Some(connection), Some((samples, now)));
        Ok(status)
    }
}

/// Looks again and again, until somebody ends it, or the signer says no.
async fn watch(
    mut looking: Looking<'_>,
    first: Status,
    interval: Duration,
    screen: &Screen,
    shows: &Shows,
    mut signals: Signals,
) -> Result<Exit, Problem> {
    let Signals { resized, ending } = &mut signals;
    let (mut status, mut lost) = (first, None);
    let mut next = Instant::now() + interval;
    if !show(&status, None, screen, shows)? {
        return Ok(Exit::Done);
    }
    loop {
        let looked = async {
            sleep_until(next).await;
            looking.look().await
        };
        let looked = tokio::select! {
            looked = looked => looked,
            () = ended(shows, ending) => return Ok(Exit::Done),
            _ = resized.recv() => {
                show_again(&status, lost.as_deref(), screen, shows)?;
                continue;
            }
        };
        next = Instant::now() + interval;
        match looked {
            Ok(now) => (status, lost) = (now, None),
            // What may pass is waited for.
            Err(problem) if problem.exit() == Exit::NotNow => {
                let sentence = printable(&problem.to_string()).into_owned();
                lost = Some(format!("{sentence}; trying again in {} s", interval.as_secs()));
            }
            Err(problem) => return Err(problem),
        }
        if !show(&status, lost.as_deref(), screen, shows)? {
            return Ok(Exit::Done);
        }
    }
}

/// Shows it. Whether anybody looks.
fn show(status: &Status, lost: Option<&str>, screen: &Screen, shows: &Shows) -> Result<bool, Problem> {
    match (shows, lost) {
        (Shows::InPlace(_), _) => show_again(status, lost, screen, shows).map(|()| true),
        (Shows::Repeats, Some(lost)) if screen.is_json() => {
            screen.reaches(format!("{}\n", json!({ "result": "lost", "error": lost })).as_bytes())
        }
        (Shows::Repeats, Some(lost)) => {
            screen.say(&format!("lost: {lost}"));
            Ok(true)
        }
        (Shows::Repeats, None) if screen.is_json() => screen.reaches(format!("{}\n", json!(status)).as_bytes()),
        (Shows::Repeats, None) => screen.reaches(format!("{}\n", block(status, PLAIN_COLUMNS, screen)).as_bytes()),
    }
}

/// The same in its place, where that is a terminal.
fn show_again(status: &Status, lost: Option<&str>, screen: &Screen, shows: &Shows) -> Result<(), Problem> {
    let Shows::InPlace(_) = shows else { return Ok(()) };
    let (columns, rows) = Live::size();
    let mut lines: Vec<_> =
        view::lines(status, columns).iter().map(|line| line.render(columns, screen.colours_data())).collect();
    if let Some(first) = lines.first_mut().filter(|_| lost.is_some()) {
        *first = format!("lost: {}", lost.unwrap_or_default()).chars().take(columns).collect();
    }
    let footer: String = "q ends it".chars().take(columns).collect();
    lines.truncate(rows.saturating_sub(1));
    lines.resize(rows.saturating_sub(1), String::new());
    lines.push(footer);
    Live::show(&lines, rows).map_err(Problem::Stdout)
}

/// As a block of lines.
fn block(status: &Status, columns: usize, screen: &Screen) -> String {
    let lines = view::lines(status, columns);
    lines.iter().map(|line| line.render(columns, screen.colours_data()).trim_end().to_owned() + "\n").collect()
}

/// Columns and rows to fill.
fn size() -> (usize, usize) {
    if io::stdout().is_terminal() { Live::size() } else { (PLAIN_COLUMNS, usize::MAX) }
}

/// Waits until somebody ends it.
async fn ended(shows: &Shows, [interrupt, terminate, hangup]: &mut [Signal; 3]) {
    let key: std::pin::Pin<Box<dyn Future<Output = ()>>> = match shows {
        Shows::InPlace(live) => Box::pin(live.ended()),
        Shows::Repeats => Box::pin(std::future::pending()),
    };
    tokio::select! {
        () = key => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
