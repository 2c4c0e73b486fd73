//! What takes traces out of the queue and sends them, batch after batch. Nobody waits for it but a daemon that stops, and that not for long.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout_at},
};

use crate::{
    endpoint::Endpoint,
    line::{Failure, Line},
    trace::Trace,
    traces::Counts,
    wire::{ExportRequest, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans},
};

/// How long the first span of a batch waits for others.
pub const BATCH_TIME_MAX: Duration = Duration::from_secs(1);

/// How long a stop waits until what is queued was taken.
pub const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);

/// Spans after which a batch takes no further call: the work of a fraction of a millisecond.
const BATCH_SPANS: usize = 512;

/// How often a batch is sent, at most.
const TRIES_MAX: usize = 3;

/// Pauses after a failure: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How long after the last word about the receiver the next trouble is told.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Who this is, in every batch.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    /// Which signer, among those of one receiver.
    pub(crate) instance: String,
    /// Version of the program.
    pub(crate) version: &'static str,
}

pub(crate) struct Exporter {
    line: Line,
    sender: Sender,
    waiting: mpsc::Receiver<Box<Trace>>,
    stopping: watch::Receiver<bool>,
    counts: Arc<Counts>,
    pause: Duration,
    /// Which trouble was told last; none where there is none, or it is over.
    told: Option<&'static str>,
    told_at: Option<Instant>,
}

/// Waits until it is time to stop: also where there is nobody any more who could tell it.
async fn told(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stopping| *stopping).await);
}

impl Exporter {
    pub(crate) fn new(
        endpoint: Endpoint,
        sender: Sender,
        waiting: mpsc::Receiver<Box<Trace>>,
        stopping: watch::Receiver<bool>,
        counts: Arc<Counts>,
    ) -> Self {
        Self { line: Line::new(endpoint), sender, waiting, stopping, counts, pause: PAUSE, told: None, told_at: None }
    }

    /// Sends until it is told to stop, and what is queued then.
    pub(crate) async fn run(mut self) {
        while let Some(first) = self.next().await {
            let batch = self.batch(first).await;
            self.deliver(&batch).await;
        }
    }

    /// The next trace; none once it is told to stop and nothing is queued.
    async fn next(&mut self) -> Option<Box<Trace>> {
        tokio::select! {
            biased;
            next = self.waiting.recv() => next,
            () = told(&mut self.stopping) => {
                self.waiting.close();
                self.waiting.recv().await
            }
        }
    }

    async fn batch(&mut self, first: Box<Trace>) -> Vec<Box<Trace>> {
        let until = Instant::now() + BATCH_TIME_MAX;
        let (mut spans, mut batch) = (first.span_count(), vec![first]);
        while spans < BATCH_SPANS {
            let Ok(Some(next)) = timeout_at(until, self.next()).await else { break };
            spans += next.span_count();
            batch.push(next);
        }
        batch
    }

    async fn deliver(&mut self, batch: &[Box<Trace>]) {
        let request = self.request(batch);
        let count = batch.iter().map(|trace| trace.span_count()).sum();
        for _ in 0..TRIES_MAX {
            match self.line.export(request.clone()).await {
                Ok(taken) => {
                    let rejected = usize::try_from(taken.rejected).unwrap_or(count).min(count);
                    self.counts.exported(count - rejected);
                    self.counts.failed(rejected);
                    self.pause = PAUSE;
                    let trouble = (rejected > 0).then_some("rejects");
                    return self.say(trouble, || format!("it rejects {rejected} of {count} spans: {}", taken.sentence));
                }
                Err(failure) => {
                    self.say(Some(failure.kind()), || failure.to_string());
                    self.rest().await;
                    if !Failure::may_pass(&failure) || self.is_stopping() {
                        break;
                    }
                }
            }
        }
        self.counts.failed(count);
    }

    /// A pause that grows, unless it is time to stop.
    async fn rest(&mut self) {
        tokio::select! {
            () = told(&mut self.stopping) => {}
            () = sleep(self.pause) => self.pause = (2 * self.pause).min(PAUSE_MAX),
        }
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow() || self.stopping.has_changed().is_err()
    }

    /// Tells of trouble when it is of another kind than what was told last, and when it is over; a receiver that changes its mind fills no log.
    fn say(&mut self, trouble: Option<&'static str>, sentence: impl FnOnce() -> String) {
        let now = Instant::now();
        let is_soon = self.told_at.is_some_and(|told_at| now < told_at + TOLD_EVERY);
        if trouble == self.told || is_soon && trouble.is_some() {
            return;
        }
        (self.told, self.told_at) = (trouble, Some(now));
        let receiver = self.line.endpoint().to_string();
        match trouble {
            Some(_) => tracing::warn!(receiver, "the receiver of traces does not take them: {}", sentence()),
            None => tracing::info!(receiver, "the receiver of traces takes them"),
        }
    }

    fn request(&self, batch: &[Box<Trace>]) -> ExportRequest {
        let Sender { instance, version } = &self.sender;
        let attributes = vec![
            KeyValue::text("service.name", "hallmark"),
            KeyValue::text("service.version", *version),
            KeyValue::text("service.instance.id", instance.as_str()),
        ];
        let scope = Scope { name: "hallmark".to_owned(), version: (*version).to_owned() };
        let spans = batch.iter().flat_map(|trace| trace.spans()).collect();
        ExportRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes }),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
            }],
        }
    }
}
