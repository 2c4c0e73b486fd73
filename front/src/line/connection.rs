//! One connection to the core: who waits for which answer, and what is read and written.

use std::{
    collections::HashMap,
    future::Future,
    io,
    path::Path,
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
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Frames that wait to be written; further calls wait before the line.
const WAITING_FRAMES_MAX: usize = 1_024;
/// Frames that are written at once.
const BATCH_FRAMES_MAX: usize = 64;
/// Frames up to so many bytes are written together.
const BATCH_BYTES_MAX: usize = 64 * 1_024;
/// How much is read at once, in bytes.
const READ_BYTES: usize = 64 * 1_024;
/// How long a core may take for its first answer; it may be in its start.
const GREETING_TIME_MAX: Duration = Duration::from_secs(60);

/// Why a core is none to speak with.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("the socket failed")]
    Socket(#[source] io::Error),
    #[error("the core's process is of user {found}, not {wanted}; somebody else listens there")]
    OtherUser { found: u32, wanted: u32 },
    #[error("the core did not say how it is")]
    NoGreeting,
}

/// One connection: who waits for which answer, and the way to its writer.
pub(super) struct Connection {
    frames: mpsc::Sender<Frame>,
    next: AtomicU64,
    /// None once the connection has ended.
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Bytes>>>>,
    pub(super) greeting: CoreState,
}

/// Why a question has no answer: its connection ended.
pub(super) enum Lost {
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

impl Connection {
    /// The answer, unless the connection ends before it.
    pub(super) async fn ask(self: &Arc<Self>, kind: Kind, content: Bytes) -> Result<Bytes, Lost> {
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
    pub(super) fn end(&self) {
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

/// What goes on until a connection ends.
pub(super) type Reading = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// A connection whose core has said how it is.
pub(super) async fn connect(door: &Path, core_uid: u32) -> Result<(Arc<Connection>, Reading), LineError> {
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
pub(super) const ROOT: u32 = 0;

/// Whose process may be at the other end. A door that the core has not taken over yet is of whoever opened it: the supervisor, or systemd.
pub(super) fn admit(found: u32, core_uid: u32) -> Result<(), LineError> {
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
        Kind::State | Kind::Call | Kind::Reply | Kind::AskState | Kind::AskKeys | Kind::Counts => {
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
