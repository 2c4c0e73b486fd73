//! The line to a core in another process: frames over a Unix socket, which is connected again whenever it ends.
//!
//! While the core is away, calls wait for it. What was sent and never answered is sent again only where the method says that this is
//! safe. The core is trusted to answer; bytes that are no frame end the connection, and are no reason to panic.

mod connection;

use std::{
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use hallmark_proto::{
    frame::{Kind, USUAL_CALL_BYTES_MAX},
    link::{CoreState, FrontCounts},
};
use prost::Message as _;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};

use self::connection::{Connection, LineError, Lost, connect};
use crate::link::{Core, Patience};

/// How often a call is sent, at most: one that brings the core down each time is not sent for ever.
pub const SENT_MAX: usize = 3;
/// For how long a call is sent again that may be: after that nobody knows what it would meet.
pub const SENT_AGAIN_TIME_MAX: Duration = Duration::from_secs(45);
/// How long callers wait for a core that is away. A restart takes less than a second; later they are told at once.
pub const AWAY_TIME_MAX: Duration = Duration::from_secs(10);

/// Pauses before the line is connected again: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Beyond its patience, so that who asked is the one that says that it is over.
const GRACE: Duration = Duration::from_secs(1);

/// The line. A cheap handle: clones are the same line.
#[derive(Clone)]
pub struct Line {
    usual: Lane,
    /// For questions how the core is, from the first one on: they wait behind no call.
    state: Arc<OnceLock<Lane>>,
    /// For calls that carry a whole file, from the first one on: a manifest that waits for room, or takes its time on the way, holds up
    /// nobody else.
    large: Arc<OnceLock<Lane>>,
    door: PathBuf,
    core_uid: u32,
}

/// A connection that is kept.
#[derive(Clone)]
struct Lane {
    connected: watch::Receiver<Link>,
}

/// Whether there is a core at the other end.
#[derive(Clone)]
enum Link {
    There(Arc<Connection>),
    AwaySince(Instant),
}

impl Line {
    /// Keeps a line to the core behind this door, whose process must be of user `core_uid`, or of root. Needs a runtime.
    #[must_use]
    pub fn open(door: PathBuf, core_uid: u32) -> Self {
        let usual = Lane::open(door.clone(), core_uid);
        Self { usual, state: Arc::default(), large: Arc::default(), door, core_uid }
    }

    /// How the core is, with the CA keys that it knows, as soon as there is one.
    pub async fn greeting(&self) -> CoreState {
        let mut connected = self.usual.connected.clone();
        let there = connected.wait_for(|link| matches!(link, Link::There(_))).await.map(|link| link.clone());
        match there {
            Ok(Link::There(connection)) => connection.greeting.clone(),
            Ok(Link::AwaySince(_)) | Err(_) => std::future::pending().await,
        }
    }

    /// How the core is now, with the CA keys that it knows where they are asked for; nothing if it does not say within `time_max`.
    pub async fn state(&self, with_keys: bool, time_max: Duration) -> Option<CoreState> {
        self.question(if with_keys { Kind::AskKeys } else { Kind::AskState }, Bytes::new(), time_max).await
    }

    /// Tells the core what was counted, and hears how it is; nothing if it does not say within `time_max`.
    pub async fn tell(&self, counts: &FrontCounts, time_max: Duration) -> Option<CoreState> {
        self.question(Kind::Counts, counts.encode_to_vec().into(), time_max).await
    }

    async fn question(&self, kind: Kind, content: Bytes, time_max: Duration) -> Option<CoreState> {
        let asked = async {
            let connection = self.lane(&self.state).connection(Instant::now() + time_max).await?;
            connection.ask(kind, content).await.ok()
        };
        CoreState::decode(timeout(time_max, asked).await.ok()??).ok()
    }

    async fn ask(&self, frame: Bytes, patience: Patience) -> Bytes {
        let usual = u32::try_from(frame.len()).is_ok_and(|bytes| bytes <= USUAL_CALL_BYTES_MAX);
        let lane = if usual { &self.usual } else { self.lane(&self.large) };
        let mut until = patience.until;
        for _ in 0..SENT_MAX {
            let Some(connection) = lane.connection(until).await else { break };
            let sent = Instant::now();
            match connection.ask(Kind::Call, frame.clone()).await {
                Ok(answer) => return answer,
                Err(Lost::Sent) if !patience.repeatable => break,
                Err(Lost::Sent | Lost::Unsent) => until = until.min(sent + SENT_AGAIN_TIME_MAX),
            }
        }
        Bytes::new()
    }

    /// One that is opened when it is needed.
    fn lane<'a>(&self, lane: &'a OnceLock<Lane>) -> &'a Lane {
        lane.get_or_init(|| Lane::open(self.door.clone(), self.core_uid))
    }
}

impl Lane {
    fn open(door: PathBuf, core_uid: u32) -> Self {
        let (tell, connected) = watch::channel(Link::AwaySince(Instant::now()));
        tokio::spawn(keep(door, core_uid, tell));
        Self { connected }
    }

    /// The connection, as soon as there is one; nothing if it takes too long, or if it is too late already.
    async fn connection(&self, until: Instant) -> Option<Arc<Connection>> {
        let mut connected = self.connected.clone();
        loop {
            let link = connected.borrow_and_update().clone();
            if Instant::now() >= until {
                return None;
            }
            let since = match link {
                Link::There(connection) => return Some(connection),
                Link::AwaySince(since) => since,
            };
            timeout_at(until.min(since + AWAY_TIME_MAX), connected.changed()).await.ok()?.ok()?;
        }
    }
}

impl Core for Line {
    fn call(&self, frame: Bytes, patience: Patience) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        let line = self.clone();
        Box::pin(async move { timeout_at(patience.until + GRACE, line.ask(frame, patience)).await.unwrap_or_default() })
    }
}

/// Connects again and again, for as long as somebody has the line.
async fn keep(door: PathBuf, core_uid: u32, tell: watch::Sender<Link>) {
    let (mut pause, mut complaint) = (PAUSE, None);
    loop {
        match connect(&door, core_uid).await {
            Ok((connection, reading)) => {
                (pause, complaint) = (PAUSE, None);
                tell.send_replace(Link::There(Arc::clone(&connection)));
                let ended = tokio::select! {
                    ended = reading => ended,
                    () = tell.closed() => return connection.end(),
                };
                tell.send_replace(Link::AwaySince(Instant::now()));
                connection.end();
                tracing::warn!(
                    error = ended.err().map(|error| error.to_string()),
                    "the core went away; calls wait for it"
                );
            }
            Err(error) => {
                let told = sentence(&error);
                if complaint.as_ref() != Some(&told) {
                    tracing::warn!("there is no core behind `{}`: {told}", door.display());
                    complaint = Some(told);
                }
                tokio::select! {
                    () = sleep(pause) => {}
                    () = tell.closed() => return,
                }
                pause = (2 * pause).min(PAUSE_MAX);
            }
        }
    }
}

fn sentence(error: &LineError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
