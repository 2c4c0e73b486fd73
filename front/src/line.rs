//! The line to a core in another process: frames over a Unix socket, which is connected again whenever it ends.
//!
//! While the core is away, calls wait for it. What was sent and never answered is sent again only where the method says that this is
//! safe. The core is trusted to answer; bytes that are no frame end the connection, and are no reason to panic.

use std::{
    collections::HashMap,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hallmark_proto::{
    frame::{HEADER_BYTES, Header, Kind},
    link::CoreState,
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::link::{Core, Patience};

/// How often a call is sent, at most: one that brings the core down each time is not sent for ever.
pub const SENT_MAX: usize = 3;
/// How long callers wait for a core that is away. A restart takes less than a second; later they are told at once.
pub const AWAY_TIME_MAX: Duration = Duration::from_secs(10);

/// Frames that wait to be written; further calls wait before the line.
const WAITING_FRAMES_MAX: usize = 1_024;
/// Frames that are written at once.
const BATCH_FRAMES_MAX: usize = 64;
/// Frames up to so many bytes are written together.
const BATCH_BYTES_MAX: usize = 64 * 1_024;
/// How much is read at once, in bytes.
const READ_BYTES: usize = 64 * 1_024;
/// Pauses before the line is connected again: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// How long a core may take for its first answer; it may be in its start.
const GREETING_TIME_MAX: Duration = Duration::from_secs(60);
/// Beyond its patience, so that who asked is the one that says that it is over.
const GRACE: Duration = Duration::from_secs(1);

/// Why a core is none to speak with.
#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error("the socket failed")]
    Socket(#[source] io::Error),
    #[error("the core's process is of user {found}, not {wanted}; somebody else listens there")]
    OtherUser { found: u32, wanted: u32 },
    #[error("the core did not say how it is")]
    NoGreeting,
}

/// The line. A cheap handle: clones are the same line.
#[derive(Clone)]
pub struct Line {
    connected: watch::Receiver<Link>,
}

/// Whether there is a core at the other end.
#[derive(Clone)]
enum Link {
    There(Arc<Connection>),
    AwaySince(Instant),
}

/// One connection: who waits for which answer, and the way to its writer.
struct Connection {
    frames: mpsc::Sender<Frame>,
    next: AtomicU64,
    /// None once the connection has ended.
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Bytes>>>>,
    greeting: CoreState,
}

/// Why a question has no answer: its connection ended.
enum Lost {
    /// Before it was handed to the writer: the core never saw it.
    Unsent,
    /// Afterwards: nobody knows what the core did with it.
    Sent,
}

struct Frame {
    header: Header,
    content: Bytes,
}

/// A question that waits for its answer; the answer is not kept for it once it is dropped.
struct Question {
    connection: Arc<Connection>,
    number: u64,
    answer: oneshot::Receiver<Bytes>,
}

impl Line {
    /// Keeps a line to the core behind this door, whose process must be of user `core_uid`, or of root. Needs a runtime.
    #[must_use]
    pub fn open(door: PathBuf, core_uid: u32) -> Self {
        let (tell, connected) = watch::channel(Link::AwaySince(Instant::now()));
        tokio::spawn(keep(door, core_uid, tell));
        Self { connected }
    }

    /// How the core is, with the CA keys that it knows, as soon as there is one.
    pub async fn greeting(&self) -> CoreState {
        let mut connected = self.connected.clone();
        let there = connected.wait_for(|link| matches!(link, Link::There(_))).await.map(|link| link.clone());
        match there {
            Ok(Link::There(connection)) => connection.greeting.clone(),
            Ok(Link::AwaySince(_)) | Err(_) => std::future::pending().await,
        }
    }

    /// How the core is now, with the CA keys that it knows where they are asked for; nothing if it does not say within `time_max`.
    pub async fn state(&self, with_keys: bool, time_max: Duration) -> Option<CoreState> {
        let kind = if with_keys { Kind::AskKeys } else { Kind::AskState };
        let asked = async {
            let connection = self.connection(Instant::now() + time_max).await?;
            connection.ask(kind, Bytes::new()).await.ok()
        };
        CoreState::decode(timeout(time_max, asked).await.ok()??).ok()
    }

    /// The connection, as soon as there is one; nothing if it takes too long.
    async fn connection(&self, until: Instant) -> Option<Arc<Connection>> {
        let mut connected = self.connected.clone();
        loop {
            let link = connected.borrow_and_update().clone();
            let since = match link {
                Link::There(connection) => return Some(connection),
                Link::AwaySince(since) => since,
            };
            timeout_at(until.min(since + AWAY_TIME_MAX), connected.changed()).await.ok()?.ok()?;
        }
    }

    async fn ask(&self, frame: Bytes, patience: Patience) -> Bytes {
        for _ in 0..SENT_MAX {
            let Some(connection) = self.connection(patience.until).await else { break };
            match connection.ask(Kind::Call, frame.clone()).await {
                Ok(answer) => return answer,
                Err(Lost::Sent) if !patience.repeatable => break,
                Err(Lost::Sent | Lost::Unsent) => {}
            }
        }
        Bytes::new()
    }
}

impl Core for Line {
    fn call(&self, frame: Bytes, patience: Patience) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        let line = self.clone();
        Box::pin(async move { timeout_at(patience.until + GRACE, line.ask(frame, patience)).await.unwrap_or_default() })
    }
}

impl Connection {
    /// The answer, unless the connection ends before it.
    async fn ask(self: &Arc<Self>, kind: Kind, content: Bytes) -> Result<Bytes, Lost> {
        let content_bytes = u32::try_from(content.len()).map_err(|_| Lost::Unsent)?;
        let mut question = self.question().ok_or(Lost::Unsent)?;
        let header = Header { kind, content_bytes, number: question.number };
        self.frames.send(Frame { header, content }).await.map_err(|_| Lost::Unsent)?;
        (&mut question.answer).await.map_err(|_| Lost::Sent)
    }

    fn question(self: &Arc<Self>) -> Option<Question> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.insert(number, tell);
        Some(Question { connection: Arc::clone(self), number, answer })
    }

    /// Gives an answer to whoever waits for it. Somebody may have gone.
    fn answer(&self, number: u64, content: Bytes) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tell) = waiting.as_mut().and_then(|waiting| waiting.remove(&number)) {
            drop(tell.send(content));
        }
    }

    /// Everybody who waits hears that nothing comes.
    fn end(&self) {
        drop(self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut waiting = self.connection.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = waiting.as_mut() {
            waiting.remove(&self.number);
        }
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

/// What goes on until a connection ends.
type Reading = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// A connection whose core has said how it is.
async fn connect(door: &Path, core_uid: u32) -> Result<(Arc<Connection>, Reading), LineError> {
    let stream = UnixStream::connect(door).await.map_err(LineError::Socket)?;
    let found = stream.peer_cred().map_err(LineError::Socket)?.uid();
    admit(found, core_uid)?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::with_capacity(READ_BYTES, read);
    let greeting = timeout(GREETING_TIME_MAX, greet(&mut read, &mut write)).await;
    let greeting = greeting.map_err(|_| LineError::NoGreeting)?.map_err(LineError::Socket)?;
    let (frames, waiting_frames) = mpsc::channel(WAITING_FRAMES_MAX);
    let waiting = Mutex::new(Some(HashMap::new()));
    let connection = Arc::new(Connection { frames, next: AtomicU64::new(1), waiting, greeting });
    let reading = Arc::clone(&connection);
    let both = async move {
        tokio::select! {
            ended = hear(read, &reading) => ended,
            ended = write_frames(write, waiting_frames) => ended,
        }
    };
    Ok((connection, Box::pin(both)))
}

/// The user whom everybody trusts.
const ROOT: u32 = 0;

/// Whose process may be at the other end. A door that the core has not taken over yet is of whoever opened it: the supervisor, or systemd.
fn admit(found: u32, core_uid: u32) -> Result<(), LineError> {
    if found == core_uid || found == ROOT { Ok(()) } else { Err(LineError::OtherUser { found, wanted: core_uid }) }
}

async fn greet(read: &mut BufReader<OwnedReadHalf>, write: &mut OwnedWriteHalf) -> io::Result<CoreState> {
    let ask = Header { kind: Kind::AskKeys, content_bytes: 0, number: 0 };
    write.write_all(&ask.bytes()).await?;
    let (header, content) = read_frame(read).await?;
    match header.kind {
        Kind::State if header.number == 0 => {
            let state = CoreState::decode(content).map_err(io::Error::other)?;
            if state.keys_known { Ok(state) } else { Err(io::Error::other("the core cannot read its CA keys")) }
        }
        Kind::State | Kind::Call | Kind::Reply | Kind::AskState | Kind::AskKeys => {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

async fn hear(mut read: BufReader<OwnedReadHalf>, connection: &Connection) -> io::Result<()> {
    loop {
        let (header, content) = read_frame(&mut read).await?;
        if header.kind.is_asked() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        connection.answer(header.number, content);
    }
}

async fn read_frame(read: &mut BufReader<OwnedReadHalf>) -> io::Result<(Header, Bytes)> {
    let mut header = [0; HEADER_BYTES];
    read.read_exact(&mut header).await?;
    let header = Header::read(header).map_err(io::Error::other)?;
    let mut content = BytesMut::zeroed(usize::try_from(header.content_bytes).unwrap_or(usize::MAX));
    read.read_exact(&mut content).await?;
    Ok((header, content.freeze()))
}

/// Writes what waits, small frames together.
async fn write_frames(mut write: OwnedWriteHalf, mut frames: mpsc::Receiver<Frame>) -> io::Result<()> {
    let (mut batch, mut together) = (Vec::with_capacity(BATCH_FRAMES_MAX), BytesMut::new());
    while frames.recv_many(&mut batch, BATCH_FRAMES_MAX).await > 0 {
        for Frame { header, content } in batch.drain(..) {
            together.extend_from_slice(&header.bytes());
            if together.len() + content.len() > BATCH_BYTES_MAX {
                write.write_all_buf(&mut together).await?;
                write.write_all(&content).await?;
            } else {
                together.extend_from_slice(&content);
            }
        }
        write.write_all_buf(&mut together).await?;
    }
    Ok(())
}

fn sentence(error: &LineError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
