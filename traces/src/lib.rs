//! Spans of calls: taken where the work is done, and sent to a receiver by OTLP over gRPC.
//!
//! It knows no house and no rule: whoever works says which stage has ended. What is sent is names of the configuration, codes and times. It must
//! never hold up a call, never grow without a bound, and never believe a caller who wants to be traced: a receiver that is away, hangs or refuses costs
//! spans and nothing else.

mod endpoint;
mod exporter;
mod id;
mod line;
mod parent;
mod sampling;
mod trace;
mod traces;
mod wire;

pub use endpoint::{Endpoint, EndpointError};
pub use exporter::{BATCH_TIME_MAX, FLUSH_TIME_MAX};
pub use id::{SpanId, TraceId};
pub use line::EXPORT_TIME_MAX;
pub use parent::{TRACE_PARENT_BYTES_MAX, TraceParent};
pub use sampling::{Ratio, RatioError};
pub use trace::{Rpc, Trace, current};
pub use traces::{QUEUE_DEFAULT, QUEUE_MAX, Setting, Spans, Traces};
