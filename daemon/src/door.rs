//! The core's door: where the front of another process comes in. Whatever it sends costs the core a bounded amount of memory and time.
//!
//! What a call takes is given back when it is answered; a call that may stay until something happens keeps its place, and gives its room back at once. How the core is,
//! fronts ask by a connection of their own, where they wait behind no call.
//!
//! A front is believed in who calls, and in nothing else; which door it came through decides what it may ask. Its process must be of
//! the one user for whom the door is. No bytes make this panic: what is no frame ends its connection.

use std::{future::Future, io, pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use hallmark_proto::{
    frame::{
        CONTENT_BYTES_MAX, HEADER_BYTES, Header, Kind, LARGE_METHODS, STREAMING_CALL_BYTES_MAX, STREAMING_METHODS,
        USUAL_CALL_BYTES_MAX,
    },
    link::{Call, CoreState, FrontCounts, Unary, call},
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Connections at one time: the three of a front, those of its successor, and some whose end was not noticed yet.
const CONNECTIONS_MAX: usize = 12;
/// Questions how the core is that are answered and not yet read by the front, over all connections of a door. They take no place of calls.
const QUESTIONS_MAX: usize = 64;
/// Calls under way or answered and not yet read by the front, over all connections of a door. The core turns away what is beyond its own
/// limit, which is lower, with an answer.
const FRAMES_MAX: usize = 6 * 1_024;
/// Bytes of calls under way, over all connections of a door: of usual ones, thousands.
const ROOM_BYTES: usize = 16 * 1_024 * 1_024;
/// The same of large ones: three of the largest. They have a room of their own, so that usual ones do not wait behind a manifest.
const LARGE_ROOM_BYTES: usize = 52 * 1_024 * 1_024;
/// What one permit of the room stands for, in bytes.
const ROOM_UNIT_BYTES: usize = 1_024;
/// Longest time that a frame may take to arrive once it has begun, and that answers may take to be read.
const TRANSFER_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1_024;
/// Answers that are written at once.
const BATCH_FRAMES_MAX: usize = 64;
/// Pause after the system refused a connection, which it does when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What stands behind a door.
pub(crate) trait Answers: Send + Sync + 'static {
    /// Takes an encoded `Call`, gives an encoded `Reply`, or nothing. The work goes on if the future is dropped.
    fn call(&self, frame: Bytes) -> Pin<Box<dyn Future<Output = Bytes> + Send>>;

    /// An answer was given to nobody.
    fn unsent(&self);

    /// What the front has counted.
    fn counted(&self, counts: FrontCounts);

    /// How the core is; with the CA keys that it knows, if they are asked for. It may block.
    fn state(&self, with_keys: bool) -> CoreState;
}

/// A door, and the one user whose processes come in.
pub(crate) struct Door {
    listener: UnixListener,
    uid: u32,
    shared: Shared,
}

/// Tells when nothing is under way any more.
pub(crate) struct Quiet(Arc<Semaphore>);

impl Quiet {
    /// Waits until every answer was written. No call is taken meanwhile.
    pub(crate) async fn come(&self) {
        drop(self.0.acquire_many(u32::try_from(FRAMES_MAX).unwrap_or(u32::MAX)).await);
    }
}

#[derive(Clone)]
struct Shared {
    answers: Arc<dyn Answers>,
    places: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    room: Arc<Semaphore>,
    large_room: Arc<Semaphore>,
}

/// An answer on its way to the front.
struct Answer {
    header: Header,
    content: Bytes,
    way: Way,
}

/// Until when a call stays with the core, and how much it may bring.
#[derive(Clone, Copy)]
enum Stay {
    UntilDone { may_be_large: bool },
    UntilSomethingHappens,
}

impl Stay {
    /// As its method says. Its message is not copied for the look.
    fn of(frame: Bytes) -> Self {
        let kind = Call::decode(frame).ok().and_then(|call| call.kind);
        let Some(call::Kind::Unary(Unary { method, .. })) = kind else {
            return Self::UntilDone { may_be_large: false };
        };
        if STREAMING_METHODS.contains(&method.as_str()) {
            return Self::UntilSomethingHappens;
        }
        Self::UntilDone { may_be_large: LARGE_METHODS.iter().any(|(name, _)| *name == method) }
    }

    /// Largest frame of such a call, in bytes.
    fn call_bytes_max(self) -> u32 {
        match self {
            Self::UntilDone { may_be_large: true } => CONTENT_BYTES_MAX,
            Self::UntilDone { may_be_large: false } => USUAL_CALL_BYTES_MAX,
            Self::UntilSomethingHappens => STREAMING_CALL_BYTES_MAX,
        }
    }
}

/// The place that a call takes until its answer is written; an answer that is dropped before is counted.
struct Way {
    _place: OwnedSemaphorePermit,
    unsent: Option<Arc<dyn Answers>>,
}

impl Way {
    /// It was written.
    fn ends(mut self) {
        self.unsent = None;
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Some(answers) = &self.unsent {
            answers.unsent();
        }
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("it sent what is no frame: {0}")]
    NoFrame(#[from] hallmark_proto::frame::FrameError),
    #[error("it sent a frame that only the core sends")]
    NotAQuestion,
    #[error("what it says that it counted does not decode")]
    NoCounts,
    #[error("it sent a message of {0} bytes, which its method does not take")]
    TooLarge(u32),
    #[error("a frame did not arrive whole within {} s", TRANSFER_TIME_MAX.as_secs())]
    TooSlow,
    #[error("it did not read its answers within {} s", TRANSFER_TIME_MAX.as_secs())]
    DoesNotRead,
    #[error("the front went away")]
    Gone,
    #[error("the socket failed: {0}")]
    Socket(#[from] io::Error),
}

impl Door {
    /// A door for processes of user `uid`. Needs a runtime.
    ///
    /// # Errors
    /// If the system does not take the socket.
    pub(crate) fn new(
        listener: std::os::unix::net::UnixListener,
        uid: u32,
        answers: Arc<dyn Answers>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let shared = Shared {
            answers,
            places: Arc::new(Semaphore::new(FRAMES_MAX)),
            questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            room: Arc::new(Semaphore::new(ROOM_BYTES / ROOM_UNIT_BYTES)),
            large_room: Arc::new(Semaphore::new(LARGE_ROOM_BYTES / ROOM_UNIT_BYTES)),
        };
        Ok(Self { listener: UnixListener::from_std(listener)?, uid, shared })
    }

    /// Its quiet.
    pub(crate) fn quiet(&self) -> Quiet {
        Quiet(Arc::clone(&self.shared.places))
    }

    /// Answers, for ever.
    pub(crate) async fn attend(self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.begin(stream, &mut connections),
                    Err(error) => {
                        tracing::warn!(%error, "the system refuses connections; raise its limit on open files");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    fn begin(&self, stream: UnixStream, connections: &mut JoinSet<()>) {
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == self.uid => {}
            Ok(peer) => {
                return tracing::error!(uid = peer.uid(), "a process of another user was refused at the core's door");
            }
            Err(error) => return tracing::error!(%error, "who comes to the core's door cannot be told"),
        }
        if connections.len() >= CONNECTIONS_MAX {
            return tracing::warn!("a connection to the core was refused: {CONNECTIONS_MAX} are there");
        }
        connections.spawn(self.shared.clone().attend(stream));
    }
}

impl Shared {
    /// The life of a connection. What is under way when it ends goes on.
    async fn attend(self, stream: UnixStream) {
        let (read, write) = stream.into_split();
        // Its places bound what waits here.
        let (answered, answers) = mpsc::unbounded_channel();
        let read = BufReader::with_capacity(READ_BYTES, read);
        let ended = tokio::select! {
            ended = self.hear(read, answered) => ended,
            ended = write_answers(write, answers) => ended,
        };
        match ended {
            Err(Ended::Gone) | Ok(()) => tracing::info!("a front went away"),
            Err(why) => tracing::error!("the connection of a front was ended: {why}"),
        }
    }

    async fn hear(
        &self,
        mut read: BufReader<OwnedReadHalf>,
        answered: mpsc::UnboundedSender<Answer>,
    ) -> Result<(), Ended> {
        loop {
            let header = read_header(&mut read).await?;
            match header.kind {
                Kind::Call => self.hear_call(header, &mut read, answered.clone()).await?,
                Kind::AskState | Kind::AskKeys | Kind::Counts => {
                    self.hear_question(header, &mut read, &answered).await?
                }
                Kind::Reply | Kind::State => return Err(Ended::NotAQuestion),
            }
        }
    }

    /// Has a call worked on.
    async fn hear_call(
        &self,
        Header { content_bytes, number, .. }: Header,
        read: &mut BufReader<OwnedReadHalf>,
        answered: mpsc::UnboundedSender<Answer>,
    ) -> Result<(), Ended> {
        let (place, room) = self.space(content_bytes).await.ok_or(Ended::Gone)?;
        let content = read_content(read, content_bytes).await?;
        let room = match Stay::of(content.clone()) {
            stay if content_bytes > stay.call_bytes_max() => return Err(Ended::TooLarge(content_bytes)),
            Stay::UntilDone { .. } => Some(room),
            // They are few and small, and the core lets go of what it has read: whatever waits for long takes no room from others.
            Stay::UntilSomethingHappens => None,
        };
        let (work, answers) = (self.answers.call(content), Arc::clone(&self.answers));
        tokio::spawn(async move {
            let content = work.await;
            drop(room);
            // What was turned away has no answer that anybody misses.
            let unsent = (!content.is_empty()).then_some(answers);
            tell(&answered, Kind::Reply, number, content, Way { _place: place, unsent });
        });
        Ok(())
    }

    /// Says how the core is. One after another: a flood of them takes no threads from those who work.
    async fn hear_question(
        &self,
        Header { kind, content_bytes, number }: Header,
        read: &mut BufReader<OwnedReadHalf>,
        answered: &mpsc::UnboundedSender<Answer>,
    ) -> Result<(), Ended> {
        let place = Arc::clone(&self.questions).acquire_owned().await.map_err(|_| Ended::Gone)?;
        let content = read_content(read, content_bytes).await?;
        if kind == Kind::Counts {
            self.answers.counted(FrontCounts::decode(content).map_err(|_| Ended::NoCounts)?);
        }
        let state = self.state(kind == Kind::AskKeys).await;
        tell(answered, Kind::State, number, state, Way { _place: place, unsent: None });
        Ok(())
    }

    /// A place and room for a call, as soon as there are: until then nothing more is read.
    async fn space(&self, content_bytes: u32) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let units = content_bytes.div_ceil(u32::try_from(ROOM_UNIT_BYTES).unwrap_or(u32::MAX));
        let room = if content_bytes > USUAL_CALL_BYTES_MAX { &self.large_room } else { &self.room };
        let room = Arc::clone(room).acquire_many_owned(units).await.ok()?;
        Some((place, room))
    }

    /// How the core is, encoded.
    async fn state(&self, with_keys: bool) -> Bytes {
        let answers = Arc::clone(&self.answers);
        let state = tokio::task::spawn_blocking(move || answers.state(with_keys)).await;
        state.unwrap_or_default().encode_to_vec().into()
    }
}

/// The next header. Between frames a front may be silent as long as it likes.
async fn read_header(read: &mut BufReader<OwnedReadHalf>) -> Result<Header, Ended> {
    let mut header = [0; HEADER_BYTES];
    let (first, rest) = header.split_at_mut(1);
    match read.read(first).await? {
        0 => return Err(Ended::Gone),
        _ => timeout(TRANSFER_TIME_MAX, read.read_exact(rest)).await.map_err(|_| Ended::TooSlow)??,
    };
    Ok(Header::read(header)?)
}

async fn read_content(read: &mut BufReader<OwnedReadHalf>, content_bytes: u32) -> Result<Bytes, Ended> {
    let mut content = BytesMut::zeroed(usize::try_from(content_bytes).unwrap_or(usize::MAX));
    timeout(TRANSFER_TIME_MAX, read.read_exact(&mut content)).await.map_err(|_| Ended::TooSlow)??;
    Ok(content.freeze())
}

/// Puts an answer on its way. A connection that has ended has nobody to write it.
fn tell(answered: &mpsc::UnboundedSender<Answer>, kind: Kind, number: u64, content: Bytes, way: Way) {
    let content_bytes = u32::try_from(content.len()).unwrap_or(u32::MAX);
    drop(answered.send(Answer { header: Header { kind, content_bytes, number }, content, way }));
}

/// Writes what is answered, small answers together.
async fn write_answers(mut write: OwnedWriteHalf, mut answers: mpsc::UnboundedReceiver<Answer>) -> Result<(), Ended> {
    let mut batch = Vec::with_capacity(BATCH_FRAMES_MAX);
    let mut together = BytesMut::with_capacity(READ_BYTES);
    while answers.recv_many(&mut batch, BATCH_FRAMES_MAX).await > 0 {
        let mut ways = Vec::with_capacity(batch.len());
        let written = async {
            for Answer { header, content, way } in batch.drain(..) {
                ways.push(way);
                together.extend_from_slice(&header.bytes());
                if together.len() + content.len() > READ_BYTES {
                    write.write_all_buf(&mut together).await?;
                    write.write_all(&content).await?;
                } else {
                    together.extend_from_slice(&content);
                }
            }
            write.write_all_buf(&mut together).await
        };
        timeout(TRANSFER_TIME_MAX, written).await.map_err(|_| Ended::DoesNotRead)??;
        ways.into_iter().for_each(Way::ends);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
