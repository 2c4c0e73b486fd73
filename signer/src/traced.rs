//! Traces of calls, where the configuration has a receiver for them: a span for each call, and one for each stage that `meters` times.
//!
//! What waits for something to happen, and what monitoring asks, is not traced: it says nothing of the work. Nor is what goes on by itself, beside a call
//! or without one, such as CRLs.

use std::time::Instant;

use hallmark_policy::{Method, Reason};
use hallmark_proto::{link::Reply, status};
use hallmark_traces::{Rpc, Trace, current};

use crate::{
    answer::{self, Failure},
    core::Inner,
    meters::OfProfile,
};

/// The operators' method that monitoring asks.
const METRICS: &str = "Metrics";

/// A call that may be traced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traced<'a> {
    pub(crate) service: &'static str,
    /// None if there is no method of that name.
    pub(crate) method: Option<&'a str>,
    /// When it came.
    pub(crate) began: Instant,
}

impl Traced<'_> {
    fn is_work(self) -> bool {
        self.method.is_none_or(|method| ![Method::WatchEpochs.name(), METRICS].contains(&method))
    }
}

impl Inner {
    /// Works on a call, with a trace if it has one. The header is the caller's, or empty.
    pub(crate) async fn traced<F: Future<Output = Result<Reply, Failure>> + Send>(
        &self,
        call: Traced<'_>,
        trace_parent: &[u8],
        work: impl FnOnce() -> F + Send,
    ) -> Result<Reply, Failure> {
        let traces = self.traces.as_ref().filter(|_| call.is_work());
        let rpc = || Rpc::new(call.service, call.method);
        let begun = traces.and_then(|traces| Some((traces, traces.begin(rpc, trace_parent, call.began)?)));
        let Some((traces, trace)) = begun else { return work().await };
        // On the heap, so that calls without a trace are no larger for it.
        let (done, trace) = trace.around(Box::pin(work())).await;
        let (code, reason) = match &done {
            Ok(_) => (status::OK, None),
            Err(failure) => (answer::code(failure), failure.reasons.first()),
        };
        if let Some(trace) = trace {
            traces.end(trace, code, reason.map(|Reason { code, .. }| code.as_str()));
        }
        done
    }

    /// Notes something about the call that this task works on, if it is traced.
    pub(crate) fn trace(&self, note: impl FnOnce(&mut Trace)) {
        if self.traces.is_some() {
            current(note);
        }
    }

    /// What a call is about, as far as the policy knows it.
    pub(crate) fn trace_profile(&self, of: &OfProfile) {
        let (authority, profile) = of.names();
        self.trace(|trace| {
            trace.authority(authority);
            trace.profile(profile);
        });
    }

    /// The authority that a call is about, if the policy has it.
    pub(crate) fn trace_authority(&self, name: &str) {
        self.trace(|trace| {
            if let Some(known) = self.policy().authority(name) {
                trace.authority(&known.name);
            }
        });
    }
}
