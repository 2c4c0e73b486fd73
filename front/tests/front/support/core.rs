//! A core that records frames and answers as it is told.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hallmark_front::{Core, Patience};
use hallmark_proto::link::{Call, Reply, TurnedAway, Unary, call::Kind};
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the core does with a call.
#[derive(Clone)]
pub(crate) enum Act {
    /// Answers with the request's body.
    Echo,
    /// Answers with these bytes.
    Say(Bytes),
    /// Answers with each of these in turn, and after the last one not at all.
    Tell(Arc<Mutex<VecDeque<Reply>>>),
    /// Waits for one permit each, then answers with the request's body.
    WaitFor(Arc<Semaphore>),
    /// The same without a signature.
    Repeat(Arc<Semaphore>),
}

pub(crate) struct FakeCore {
    act: Mutex<Act>,
    finished: Arc<AtomicUsize>,
    heard: mpsc::UnboundedSender<Kind>,
    hearing: tokio::sync::Mutex<mpsc::UnboundedReceiver<Kind>>,
}

impl FakeCore {
    pub(crate) fn new() -> Arc<Self> {
        let (heard, hearing) = mpsc::unbounded_channel();
        let hearing = tokio::sync::Mutex::new(hearing);
        Arc::new(Self { act: Mutex::new(Act::Echo), finished: Arc::default(), heard, hearing })
    }

    pub(crate) fn act(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }

    /// Answers every call with this reply.
    pub(crate) fn reply(&self, reply: &Reply) {
        self.act(Act::Say(reply.encode_to_vec().into()));
    }

    /// Calls that came to their end, whoever still waited.
    pub(crate) fn finished(&self) -> usize {
        self.finished.load(Ordering::SeqCst)
    }

    async fn next(&self) -> Kind {
        tokio::time::timeout(PATIENCE, async { self.hearing.lock().await.recv().await }).await.unwrap().unwrap()
    }

    /// The next frame, which is a call.
    pub(crate) async fn next_unary(&self) -> Unary {
        match self.next().await {
            Kind::Unary(unary) => unary,
            Kind::TurnedAway(turned_away) => panic!("{turned_away:?}"),
        }
    }

    /// The next frame, which tells of a call turned away.
    pub(crate) async fn next_turned_away(&self) -> TurnedAway {
        match self.next().await {
            Kind::TurnedAway(turned_away) => turned_away,
            Kind::Unary(unary) => panic!("{unary:?}"),
        }
    }

    /// The next frame that tells of a call turned away, whatever calls come before it.
    pub(crate) async fn turned_away_among_calls(&self) -> TurnedAway {
        loop {
            if let Kind::TurnedAway(turned_away) = self.next().await {
                return turned_away;
            }
        }
    }

    /// Whether no frame is waiting to be looked at.
    pub(crate) async fn heard_nothing_more(&self) -> bool {
        self.hearing.lock().await.try_recv().is_err()
    }
}

impl Core for FakeCore {
    fn call(&self, frame: Bytes, _patience: Patience) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        let kind = Call::decode(frame).unwrap().kind.unwrap();
        self.heard.send(kind.clone()).unwrap();
        let act = self.act.lock().unwrap().clone();
        let finished = Arc::clone(&self.finished);
        Box::pin(async move {
            let Kind::Unary(unary) = kind else { return Bytes::new() };
            let signed = !matches!(act, Act::Repeat(_));
            let echo = Reply { body: unary.body, signed, ..Reply::default() }.encode_to_vec().into();
            let answer = match act {
                Act::Echo => echo,
                Act::Say(bytes) => bytes,
                Act::Tell(replies) => {
                    let reply = replies.lock().unwrap().pop_front();
                    match reply {
                        Some(reply) => reply.encode_to_vec().into(),
                        None => std::future::pending().await,
                    }
                }
                Act::WaitFor(gate) | Act::Repeat(gate) => {
                    gate.acquire().await.unwrap().forget();
                    echo
                }
            };
            finished.fetch_add(1, Ordering::SeqCst);
            answer
        })
    }
}
