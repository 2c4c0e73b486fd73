//! Methods that answer with a stream: the core is asked again and again, each time with what its last reply gave for that, and each
//! reply becomes a message. The front knows no message of it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, body::Body};

use crate::{
    connection::{Connection, UnderWay},
    counters::Counters,
    deadline::{Deadline, boottime_nanos},
    link::{self, Answer, Core, Patience},
    message,
    turned_away::{self, Reason},
};

/// Longest time that the core may take to say that there is nothing new: so long does it remember a caller that is gone.
pub const QUESTION_TIME_MAX: Duration = Duration::from_secs(30);
/// How long beyond that its answer is waited for.
const GRACE: Duration = Duration::from_secs(5);
/// Messages that wait for a slow reader; then the core is not asked.
const WAITING_MAX: usize = 4;

/// A part of the body.
type Fed = Result<Frame<Bytes>, Infallible>;

/// A stream that is to be answered.
pub(crate) struct Stream {
    pub(crate) core: Arc<dyn Core>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) method: String,
    pub(crate) deadline: Deadline,
    pub(crate) repeatable: bool,
    pub(crate) counters: Arc<Counters>,
    /// The room of its question and its place among its caller's streams. What the core still works on holds them, too, so that who ends streams and
    /// begins others has no more of them.
    pub(crate) held: Arc<dyn Send + Sync>,
}

/// The response, whose body is fed by a task of its own.
pub(crate) fn respond(stream: Stream, question: Bytes, under_way: UnderWay) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        let end = stream.feed(question, &sender).await;
        drop(sender.send(Ok(Frame::trailers(trailers(&end)))).await);
        drop(under_way);
    });
    let mut response = Response::new(Body::new(StreamBody::new(ReceiverStream::new(receiver))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// What ends the stream.
fn trailers(end: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if end.add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("13"));
    }
    trailers
}

impl Stream {
    /// Sends messages until something ends the stream; gives what that was.
    async fn feed(mut self, mut question: Bytes, sender: &mpsc::Sender<Fed>) -> Status {
        loop {
            let Answer { message, next, .. } = match self.ask(question, sender).await {
                Ok(part) => part,
                Err(end) => return end,
            };
            question = next;
            if message.is_empty() {
                continue;
            }
            let frame = match message::frame(&message) {
                Ok(frame) => frame,
                Err(end) => return end,
            };
            let followed = self.connection.follow(frame, ());
            if sender.send(Ok(Frame::data(followed))).await.is_err() {
                return gone();
            }
        }
    }

    /// Asks the core once.
    async fn ask(&mut self, question: Bytes, sender: &mpsc::Sender<Fed>) -> Result<Answer, Status> {
        if Instant::now() >= self.deadline.at {
            self.counters.late();
            return Err(turned_away::late());
        }
        let mut dismissed = self.connection.dismissed();
        let patience = self.patience();
        let (call, held) = (self.core.call(self.frame(question), patience), Arc::clone(&self.held));
        let work = tokio::spawn(async move {
            let answer = call.await;
            drop(held);
            answer
        });
        let asked = timeout_at(patience.until, work);
        let deadline = tokio::time::sleep_until(self.deadline.at);
        let answered = tokio::select! {
            answered = asked => answered,
            () = deadline => return Err(turned_away::late()),
            _ = self.stopping.wait_for(|stopping| *stopping) => return Err(Reason::Stopping.status()),
            _ = dismissed.wait_for(|dismissed| *dismissed) => return Err(Reason::CallerNotAdmitted.status()),
            () = sender.closed() => return Err(gone()),
        };
        match answered.ok().and_then(Result::ok).and_then(link::answer) {
            Some(part) => part.map_err(|refusal| refusal.status),
            None => {
                self.counters.core_was_away();
                Err(turned_away::core_away(self.repeatable))
            }
        }
    }

    fn frame(&self, question: Bytes) -> Bytes {
        let question_max = u64::try_from(QUESTION_TIME_MAX.as_nanos()).unwrap_or(u64::MAX);
        let until = self.deadline.boottime_nanos.min(boottime_nanos().saturating_add(question_max));
        link::unary(&self.method, self.connection.caller.certificate(), until, question, Bytes::new())
    }

    fn patience(&self) -> Patience {
        Patience { until: Instant::now() + QUESTION_TIME_MAX + GRACE, repeatable: self.repeatable }
    }
}

/// Nobody hears it.
fn gone() -> Status {
    Status::cancelled("the caller went away")
}
