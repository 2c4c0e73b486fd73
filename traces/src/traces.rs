//! Traces of a process: which calls have one, and the queue in which they wait to be sent.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    endpoint::Endpoint,
    exporter::{Exporter, FLUSH_TIME_MAX, Sender},
    parent::TraceParent,
    sampling::Ratio,
    trace::{Rpc, Trace},
};

/// Calls that wait to be sent, if nothing else is set: some megabyte.
pub const QUEUE_DEFAULT: usize = 2_048;
/// The most that can be set.
pub const QUEUE_MAX: usize = 65_536;

/// How a process traces.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where spans are sent to.
    pub endpoint: Endpoint,
    /// How many calls are traced, of those that no caller decides on.
    pub ratio: Ratio,
    /// Calls that wait to be sent; what is beyond is dropped. From 1 to [`QUEUE_MAX`].
    pub queue: usize,
    /// Whether a caller that says whether it records its span decides for its call.
    pub callers_decide: bool,
    /// Which signer this is, among those of one receiver.
    pub instance: String,
    /// Version of the program.
    pub version: &'static str,
}

/// What became of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// The receiver took them.
    pub exported: u64,
    /// They never were sent: the queue was full, or the process stopped.
    pub dropped: u64,
    /// They were sent, or tried to be, and the receiver did not take them.
    pub failed: u64,
}

/// The traces of this process. Dropping it ends the sending, after what is queued.
#[derive(Debug)]
pub struct Traces {
    ratio: Ratio,
    callers_decide: bool,
    queue: mpsc::Sender<Box<Trace>>,
    stopping: watch::Sender<bool>,
    counts: Arc<Counts>,
    exporter: Mutex<Option<JoinHandle<()>>>,
}

/// The counts behind [`Spans`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    queued: AtomicU64,
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Traces {
    /// Begins. Needs a runtime; no connection is made before there is something to send.
    #[must_use]
    pub fn start(setting: Setting) -> Self {
        let Setting { endpoint, ratio, queue, callers_decide, instance, version } = setting;
        let (queue, waiting) = mpsc::channel(queue.clamp(1, QUEUE_MAX));
        let (stopping, stopped) = watch::channel(false);
        let counts = Arc::new(Counts::default());
        let exporter = Exporter::new(endpoint, Sender { instance, version }, waiting, stopped, Arc::clone(&counts));
        let exporter = Mutex::new(Some(tokio::spawn(exporter.run())));
        Self { ratio, callers_decide, queue, stopping, counts, exporter }
    }

    /// A call came at `began`, with this header `traceparent` or an empty one; its trace, if it has one.
    ///
    /// A caller's identifiers are taken over. Whether the call is traced is drawn here, unless callers are to decide.
    #[must_use]
    pub fn begin(&self, rpc: impl FnOnce() -> Rpc, trace_parent: &[u8], began: Instant) -> Option<Box<Trace>> {
        let parent = TraceParent::parse(trace_parent);
        let is_traced = match parent.filter(|_| self.callers_decide) {
            Some(parent) => parent.sampled,
            None => self.ratio.draw(),
        };
        if is_traced { Trace::begin(rpc(), parent, began) } else { None }
    }

    /// A call has ended: with which gRPC status, and by which reason if it was not granted. It is queued, or dropped; nothing is waited for.
    pub fn end(&self, mut trace: Box<Trace>, code: i32, reason: Option<&'static str>) {
        trace.end(code, reason);
        let spans = trace.span_count();
        // Before it is there to be sent, so that never more is sent than was queued.
        add(&self.counts.queued, spans);
        if self.queue.try_send(trace).is_err() {
            self.counts.queued.fetch_sub(number(spans), Ordering::Relaxed);
            add(&self.counts.dropped, spans);
        }
    }

    /// What became of spans since the start.
    #[must_use]
    pub fn spans(&self) -> Spans {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { queued: _, exported, dropped, failed } = &*self.counts;
        Spans { exported: read(exported), dropped: read(dropped), failed: read(failed) }
    }

    /// Ends the sending: what is queued is sent within [`FLUSH_TIME_MAX`], or dropped.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        let exporter = self.exporter.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut exporter) = exporter else { return };
        if timeout(FLUSH_TIME_MAX, &mut exporter).await.is_err() {
            exporter.abort();
        }
        let Spans { exported, failed, .. } = self.spans();
        let left = self.counts.queued.load(Ordering::Relaxed).saturating_sub(exported + failed);
        self.counts.dropped.fetch_add(left, Ordering::Relaxed);
        if left > 0 {
            tracing::warn!(spans = left, "spans were not sent before the stop, and are lost");
        }
    }
}

impl Counts {
    pub(crate) fn exported(&self, spans: usize) {
        add(&self.exported, spans);
    }

    pub(crate) fn failed(&self, spans: usize) {
        add(&self.failed, spans);
    }
}

fn add(count: &AtomicU64, spans: usize) {
    count.fetch_add(number(spans), Ordering::Relaxed);
}

fn number(spans: usize) -> u64 {
    u64::try_from(spans).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{hint::black_box, time::Duration};

    use super::*;

    const SAMPLED: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const NOT_SAMPLED: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    /// To a place where nobody is.
    fn traces(ratio: f64, callers_decide: bool, queue: usize) -> Traces {
        Traces::start(Setting {
            endpoint: Endpoint::parse("unix:/no/such/socket").unwrap(),
            ratio: Ratio::new(ratio).unwrap(),
            queue,
            callers_decide,
            instance: "log.hallmark.lab".to_owned(),
            version: "0",
        })
    }

    fn rpc() -> Rpc {
        Rpc::new("hallmark.signer.v1.Signer", Some("MintCertificate"))
    }

    #[tokio::test]
    async fn a_caller_turns_tracing_on_or_off_only_where_callers_decide() {
        for (ratio, callers_decide, header, traced) in [
            (0.0, false, SAMPLED, false),
            (1.0, false, NOT_SAMPLED, true),
            (0.0, true, SAMPLED, true),
            (1.0, true, NOT_SAMPLED, false),
            (0.0, true, b"".as_slice(), false),
            (1.0, true, b"".as_slice(), true),
            (0.0, true, b"00-not-a-header-01".as_slice(), false),
        ] {
            let begun = traces(ratio, callers_decide, 1).begin(rpc, header, Instant::now());
            assert_eq!(begun.is_some(), traced, "{ratio} {callers_decide} {header:?}");
        }
    }

    #[tokio::test]
    async fn what_has_no_room_is_dropped_and_counted_and_what_is_queued_at_a_stop_too() {
        let traces = traces(1.0, false, 2);
        for _ in 0..5 {
            let mut trace = traces.begin(rpc, &[], Instant::now()).unwrap();
            trace.stage("sign", Instant::now(), Instant::now());
            traces.end(trace, 0, None);
        }
        assert_eq!(traces.spans(), Spans { exported: 0, dropped: 6, failed: 0 });
        traces.stop().await;
        let Spans { exported, dropped, failed } = traces.spans();
        assert_eq!((exported, dropped + failed), (0, 10));
        // Nothing is taken any more.
        traces.end(traces.begin(rpc, &[], Instant::now()).unwrap(), 0, None);
        assert_eq!(traces.spans().dropped, dropped + 1);
    }

    /// What a traced certificate costs the task that makes it. A release build takes a fraction of this bound.
    #[tokio::test]
    async fn a_trace_costs_its_call_less_than_100_microseconds_without_optimisation() {
        const TIMES: u32 = 10_000;
        let traces = traces(1.0, false, 1);
        let one = || {
            let mut trace = traces.begin(rpc, black_box(SAMPLED), Instant::now()).unwrap();
            for stage in ["decode", "decide", "endorse", "commit", "queue", "sign", "verify", "assemble", "receipt"] {
                trace.stage(stage, Instant::now(), Instant::now());
            }
            traces.end(trace, 0, None);
        };
        let fastest = (0..5).map(|_| {
            let began = Instant::now();
            (0..TIMES).for_each(|_| one());
            began.elapsed() / TIMES
        });
        let fastest = fastest.min().unwrap();
        println!("{fastest:?} a traced call");
        assert!(fastest < Duration::from_micros(100), "{fastest:?}");
    }
}
