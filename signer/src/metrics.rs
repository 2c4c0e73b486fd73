//! What the daemon counts, as text that monitoring reads (OpenMetrics 1.0). Counters begin with the process, and are what the ledger counted when
//! it had committed: what was never durable is in none.
//!
//! A label is a name of the configuration, of the policy or of this program, never one that a caller made up: so their number is bounded.
//! `docs/monitoring.md` lists every metric, and a test compares that with the text.

mod authorities;
mod ledger;
mod shown;
mod tokens;
mod work;

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use hallmark_policy::{Reason, ReasonCode};
use hallmark_proto::{
    link::Reply,
    operator::{MetricsRequest, MetricsResponse},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::info::Info,
    registry::{Registry, Unit},
};

use self::shown::{counter, counters, gauge};
use crate::{
    answer::{self, Failure},
    core::Inner,
    operate::decode,
};

/// Which alarm of which authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct OfAlarm {
    authority: String,
    alarm: &'static str,
}

impl Inner {
    /// The text. It reads the database, so that a thread for slow work makes it.
    pub(crate) async fn metrics_text(self: &Arc<Self>, body: Bytes) -> Result<Reply, Failure> {
        let MetricsRequest {} = decode(body)?;
        let inner = Arc::clone(self);
        let unwritten =
            || Failure::from(Reason::new(ReasonCode::LedgerFailed, "metrics", "the metrics could not be written down"));
        let text = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            encode(&mut text, &inner.metrics()?).map_err(|_| unwritten())?;
            Ok::<_, Failure>(text)
        });
        let text = text.await.map_err(|_| unwritten())??;
        Ok(answer::success(&MetricsResponse { text }))
    }

    fn metrics(&self) -> Result<Registry, Failure> {
        let mut registry = Registry::with_prefix("hallmark");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program that runs", build);
        registry.register_with_unit(
            "start_time",
            "When this core started, in seconds since 1970",
            Unit::Seconds,
            gauge(self.began.secs()),
        );
        let alarms = self.ledger.alarms().into_iter().map(|((authority, alarm), count)| {
            let of = OfAlarm { authority, alarm };
            (of, count)
        });
        registry.register("alarms", "Alarms about instances that stand in the log", counters(alarms.collect()));
        self.authority_metrics(&mut registry).map_err(|error| self.ledger_failed(&error))?;
        self.ledger_metrics(&mut registry);
        let unsent = counter(self.unsent.load(Ordering::Relaxed));
        registry.register("answers_unsent", "Answers to calls whose front had gone, or did not read", unsent);
        self.fronts.register(&mut registry);
        self.work_metrics(&mut registry);
        self.token_metrics(&mut registry);
        Ok(registry)
    }
}
