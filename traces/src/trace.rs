//! One call while it is worked on: its span, and one for each stage that has ended.

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    id::{SpanId, TraceId, random},
    parent::TraceParent,
    wire::{ERROR, INTERNAL, IS_REMOTE, KeyValue, REMOTE_IS_KNOWN, SAMPLED, SERVER, Span, Status},
};

/// Most stages of a call that have a span; of the others it is said how many there were.
const STAGES_MAX: usize = 256;

/// Stages that there is room for at first: those of a certificate.
const STAGES_USUAL: usize = 12;

/// The method of a call that there is not, in the place of what the caller wrote (OpenTelemetry, "Semantic conventions for RPC").
const OTHER: &str = "_OTHER";

/// The gRPC status of what went well.
const OK: i32 = 0;

tokio::task_local! {
    /// The call that this task works on, if it is traced.
    static TRACE: Cell<Option<Box<Trace>>>;
}

/// Which method of which service is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rpc {
    service: &'static str,
    method: Option<String>,
}

impl Rpc {
    /// A method of a service, by its full name; none if there is none of that name: what a caller made up names no span.
    #[must_use]
    pub fn new(service: &'static str, method: Option<&str>) -> Self {
        Self { service, method: method.map(str::to_owned) }
    }

    fn method(&self) -> &str {
        self.method.as_deref().unwrap_or(OTHER)
    }
}

/// A traced call.
#[derive(Clone, Debug)]
pub struct Trace {
    trace: TraceId,
    span: SpanId,
    parent: Option<SpanId>,
    rpc: Rpc,
    began: Instant,
    /// When that was, in nanoseconds since 1970: the one moment by the wall clock, so that stages add up whatever happens to that clock.
    began_unix_nanos: u64,
    ended: Instant,
    stages: Vec<Stage>,
    stages_left_out: usize,
    authority: String,
    profile: String,
    token: String,
    code: i32,
    reason: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
struct Stage {
    name: &'static str,
    from: Instant,
    to: Instant,
}

impl Trace {
    /// Of a call that came at `began`; none where the system gives no random numbers.
    pub(crate) fn begin(rpc: Rpc, parent: Option<TraceParent>, began: Instant) -> Option<Box<Self>> {
        let span = SpanId::new(random()?)?;
        let trace = match parent {
            Some(parent) => parent.trace,
            None => TraceId::new(random()?)?,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(Box::new(Self {
            trace,
            span,
            parent: parent.map(|parent| parent.span),
            rpc,
            began,
            began_unix_nanos: nanos(now.saturating_sub(began.elapsed())),
            ended: began,
            stages: Vec::with_capacity(STAGES_USUAL),
            stages_left_out: 0,
            authority: String::new(),
            profile: String::new(),
            token: String::new(),
            code: OK,
            reason: None,
        }))
    }

    /// Works on the call: until then, [`current`] finds it in the task that does. None comes back if the work panicked in noting something.
    pub async fn around<F: Future>(self: Box<Self>, work: F) -> (F::Output, Option<Box<Self>>) {
        let working = async {
            let output = work.await;
            (output, TRACE.with(Cell::take))
        };
        TRACE.scope(Cell::new(Some(self)), working).await
    }

    /// A stage of it has ended.
    pub fn stage(&mut self, name: &'static str, from: Instant, to: Instant) {
        if self.stages.len() < STAGES_MAX {
            self.stages.push(Stage { name, from, to });
        } else {
            self.stages_left_out += 1;
        }
    }

    /// The authority that it is about: one of the policy's, or none.
    pub fn authority(&mut self, name: &str) {
        name.clone_into(&mut self.authority);
    }

    /// The profile that it is about: one of the policy's, or none.
    pub fn profile(&mut self, name: &str) {
        name.clone_into(&mut self.profile);
    }

    /// The token that signed.
    pub fn token(&mut self, label: String) {
        self.token = label;
    }

    /// It has ended: with which gRPC status, and by which reason if it was not granted.
    pub(crate) fn end(&mut self, code: i32, reason: Option<&'static str>) {
        (self.code, self.reason, self.ended) = (code, reason, Instant::now());
    }

    /// How many spans it is.
    pub(crate) fn span_count(&self) -> usize {
        1 + self.stages.len()
    }

    /// Its spans, as they travel. Those of stages get their identifiers here, where nobody waits for it.
    pub(crate) fn spans(&self) -> impl Iterator<Item = Span> {
        let stages = self.stages.iter().filter_map(|stage| self.span_of(stage));
        std::iter::once(self.own_span()).chain(stages)
    }

    fn own_span(&self) -> Span {
        let remote = if self.parent.is_some() { IS_REMOTE } else { 0 };
        let message = self.reason.unwrap_or_default().to_owned();
        Span {
            trace_id: self.trace.bytes().to_vec(),
            span_id: self.span.bytes().to_vec(),
            parent_span_id: self.parent.map(|parent| parent.bytes().to_vec()).unwrap_or_default(),
            name: format!("{}/{}", self.rpc.service, self.rpc.method()),
            kind: SERVER,
            start_time_unix_nano: self.unix_nanos(self.began),
            end_time_unix_nano: self.unix_nanos(self.ended),
            attributes: self.attributes(),
            status: (self.code != OK).then_some(Status { message, code: ERROR }),
            flags: SAMPLED | REMOTE_IS_KNOWN | remote,
        }
    }

    fn span_of(&self, stage: &Stage) -> Option<Span> {
        Some(Span {
            trace_id: self.trace.bytes().to_vec(),
            span_id: SpanId::new(random()?)?.bytes().to_vec(),
            parent_span_id: self.span.bytes().to_vec(),
            name: stage.name.to_owned(),
            kind: INTERNAL,
            start_time_unix_nano: self.unix_nanos(stage.from),
            end_time_unix_nano: self.unix_nanos(stage.to.max(stage.from)),
            attributes: Vec::new(),
            status: None,
            flags: SAMPLED | REMOTE_IS_KNOWN,
        })
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::text("rpc.system", "grpc"),
            KeyValue::text("rpc.service", self.rpc.service),
            KeyValue::text("rpc.method", self.rpc.method()),
            KeyValue::number("rpc.grpc.status_code", i64::from(self.code)),
        ];
        let known = [
            ("hallmark.authority", self.authority.as_str()),
            ("hallmark.profile", &self.profile),
            ("hallmark.token", &self.token),
            ("hallmark.reason", self.reason.unwrap_or_default()),
        ];
        let known = known.into_iter().filter(|(_, value)| !value.is_empty());
        attributes.extend(known.map(|(key, value)| KeyValue::text(key, value)));
        if self.stages_left_out > 0 {
            let left_out = i64::try_from(self.stages_left_out).unwrap_or(i64::MAX);
            attributes.push(KeyValue::number("hallmark.stages_left_out", left_out));
        }
        attributes
    }

    fn unix_nanos(&self, at: Instant) -> u64 {
        self.began_unix_nanos.saturating_add(nanos(at.saturating_duration_since(self.began)))
    }
}

/// Notes something about the call that this task works on, if it is traced.
pub fn current(note: impl FnOnce(&mut Trace)) {
    // Elsewhere nothing is traced.
    let _ = TRACE.try_with(|current| {
        if let Some(mut trace) = current.take() {
            note(&mut trace);
            current.set(Some(trace));
        }
    });
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "hallmark.signer.v1.Signer";

    fn begun(parent: Option<TraceParent>) -> Box<Trace> {
        Trace::begin(Rpc::new(SERVICE, Some("MintCertificate")), parent, Instant::now()).unwrap()
    }

    #[tokio::test]
    async fn what_a_task_notes_is_noted_of_the_call_that_it_works_on() {
        current(|_| panic!("no call is worked on"));
        let one = |authority: &'static str| {
            begun(None).around(async move {
                current(|trace| trace.authority(authority));
                tokio::task::yield_now().await;
                let now = Instant::now();
                current(|trace| trace.stage("sign", now, now));
                // Another task's work is none of it.
                tokio::spawn(async { current(|_| panic!("another task")) }).await.unwrap();
                authority
            })
        };
        let ((first, one_trace), (second, other_trace)) = tokio::join!(one("first"), one("second"));
        let (one_trace, other_trace) = (one_trace.unwrap(), other_trace.unwrap());
        assert_eq!((one_trace.authority.as_str(), other_trace.authority.as_str()), (first, second));
        assert_eq!((one_trace.span_count(), other_trace.span_count()), (2, 2));
        assert_ne!(one_trace.trace, other_trace.trace);
        current(|_| panic!("no call is worked on any more"));
    }

    #[test]
    fn stages_lie_in_their_call_and_add_up() {
        let mut trace = begun(None);
        let began = trace.began;
        let at = |millis| began + Duration::from_millis(millis);
        trace.stage("decode", at(0), at(2));
        trace.stage("decide", at(2), at(3));
        trace.end(OK, None);
        trace.ended = at(4);
        let spans: Vec<_> = trace.spans().collect();
        let [call, decode, decide] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!(decode.start_time_unix_nano, call.start_time_unix_nano);
        assert_eq!(decode.end_time_unix_nano, decide.start_time_unix_nano);
        assert_eq!(call.end_time_unix_nano - call.start_time_unix_nano, 4_000_000);
        assert_eq!(decide.end_time_unix_nano - decide.start_time_unix_nano, 1_000_000);
        for stage in [decode, decide] {
            assert_eq!((&stage.parent_span_id, &stage.trace_id), (&call.span_id, &call.trace_id));
            assert!(stage.span_id != call.span_id && stage.kind == INTERNAL);
        }
        assert!(call.parent_span_id.is_empty() && call.status.is_none());
        assert_eq!((call.kind, call.flags), (SERVER, 0x101));
        let now = nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
        assert!(now.abs_diff(call.start_time_unix_nano) < 60_000_000_000);
    }

    #[test]
    fn a_caller_s_trace_goes_on_and_its_span_is_the_parent() {
        let header = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let parent = TraceParent::parse(header).unwrap();
        let span = begun(Some(parent)).spans().next().unwrap();
        assert_eq!(
            (&span.trace_id[..], &span.parent_span_id[..]),
            (&parent.trace.bytes()[..], &parent.span.bytes()[..])
        );
        assert_eq!(span.flags, 0x301);
    }

    #[test]
    fn a_call_has_no_more_spans_than_there_is_room_for() {
        let mut trace = begun(None);
        let now = Instant::now();
        (0..STAGES_MAX + 7).for_each(|_| trace.stage("sign", now, now));
        assert_eq!(trace.spans().count(), STAGES_MAX + 1);
        let left_out = KeyValue::number("hallmark.stages_left_out", 7);
        assert!(trace.own_span().attributes.contains(&left_out));
    }

    #[test]
    fn a_method_that_there_is_not_and_a_reason_are_told_by_words_of_ours() {
        let mut trace = Trace::begin(Rpc::new(SERVICE, None), None, Instant::now()).unwrap();
        trace.end(12, Some("METHOD_UNKNOWN"));
        let span = trace.own_span();
        assert_eq!(span.name, "hallmark.signer.v1.Signer/_OTHER");
        assert_eq!(span.status, Some(Status { message: "METHOD_UNKNOWN".to_owned(), code: ERROR }));
        assert!(span.attributes.contains(&KeyValue::text("hallmark.reason", "METHOD_UNKNOWN")));
        assert!(span.attributes.contains(&KeyValue::number("rpc.grpc.status_code", 12)));
    }
}
