//! `hallmark epochs --watch`: every change of an authority's epochs as one line, across lost connections.

use std::time::Duration;

use bytes::Bytes;
use hallmark_proto::signer::{EpochStatus, WatchEpochsRequest, WatchEpochsResponse};
use serde_json::json;
use tokio::time;

use super::view;
use crate::{
    connection::{self, Connection},
    exit::Exit,
    problem::Problem,
    screen::{Screen, printable},
    settings::ConnectionSettings,
    when,
};

/// How long one call lasts at most: the longest that signers take.
const CALL_TIME: Duration = Duration::from_secs(600);

/// How long is waited after a lost connection, at first and at most.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Shows changes until somebody ends it, or the signer says no.
pub(super) fn watch(
    settings: &ConnectionSettings,
    authority: &str,
    full: bool,
    screen: &Screen,
) -> Result<Exit, Problem> {
    connection::runtime()?.block_on(async {
        let mut watch = Watch { authority, full, screen, revision: Bytes::new(), heard: false, pause: PAUSE_FIRST };
        loop {
            match watch.one_call(settings).await {
                Ok(()) => {}
                Err(problem) if watch.heard && problem.exit() == Exit::NotNow => watch.lost(&problem).await,
                Err(problem) => return Err(problem),
            }
        }
    })
}

/// What was heard so far.
struct Watch<'a> {
    authority: &'a str,
    full: bool,
    screen: &'a Screen,
    revision: Bytes,
    /// Whether anything was heard at all: what never worked is not tried again.
    heard: bool,
    pause: Duration,
}

impl Watch<'_> {
    /// Connects and shows what it hears until the stream ends.
    async fn one_call(&mut self, settings: &ConnectionSettings) -> Result<(), Problem> {
        let connection = Connection::open(settings).await?.lasting(CALL_TIME);
        let question =
            WatchEpochsRequest { authority: self.authority.to_owned(), after_revision: self.revision.clone() };
        let watched = connection.call(question, async |mut client, request| client.watch_epochs(request).await);
        let mut stream = watched.await?;
        while let Some(change) = connection.next(&mut stream).await? {
            self.show(&change)?;
            self.revision = change.revision;
            (self.heard, self.pause) = (true, PAUSE_FIRST);
        }
        Ok(())
    }

    fn show(&self, change: &WatchEpochsResponse) -> Result<(), Problem> {
        let now = when::rfc3339_of_millis(when::now_millis());
        if self.screen.is_json() {
            let one = |epoch: &Option<EpochStatus>| epoch.as_ref().map(view::to_json);
            let (active, next) = (one(&change.active), one(&change.next));
            // One line for each change, so that other programs can read while this one writes.
            return self.screen.data(format!("{}\n", json!({ "at": now, "active": active, "next": next })).as_bytes());
        }
        let active = change.active.as_ref().map_or_else(|| "none is active".to_owned(), |epoch| self.one(epoch));
        let next = change.next.as_ref().map_or_else(String::new, |epoch| format!("; next {}", self.one(epoch)));
        self.screen.data(format!("{now}  {}: {active}{next}\n", printable(self.authority)).as_bytes())
    }

    fn one(&self, epoch: &EpochStatus) -> String {
        let end = epoch.not_after.map_or_else(String::new, |end| format!(" until {}", when::rfc3339(end)));
        let (generation, state) = (view::generation(epoch), view::state(epoch));
        format!("generation {generation} {state}, transition {}{end}", view::transition(epoch, self.full))
    }

    /// Says why, and waits.
    async fn lost(&mut self, problem: &Problem) {
        let secs = self.pause.as_secs_f32();
        if !matches!(problem, Problem::Refused(refused) if refused.code() == tonic::Code::DeadlineExceeded) {
            self.screen.say(&format!("lost: {}; trying again in {secs} s", printable(&problem.to_string())));
            time::sleep(self.pause).await;
            self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }
}
