//! What the daemon counts, as text that monitoring reads (OpenMetrics 1.0). Counters begin with the process, and are what the ledger counted when
//! it had committed: what was never durable is in none.
//!
//! A label is a name of the configuration, of the policy or of this program, never one that a caller made up: so their number is bounded.
//! `docs/monitoring.md` lists every metric, and a test compares that with the text.

mod authorities;
mod ledger;
mod shown;
mod tokens;
mod traces;
mod work;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use hallmark_entry::schema::ALARMS;
use hallmark_ledger::{AuthorityRecord, DeviceAlarm};
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
            encode(&mut text, &inner.metrics()).map_err(|_| unwritten())?;
            Ok::<_, Failure>(text)
        });
        let text = text.await.map_err(|_| unwritten())??;
        Ok(answer::success(&MetricsResponse { text }))
    }

    fn metrics(&self) -> Registry {
        let mut registry = Registry::with_prefix("hallmark");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program that runs", build);
        registry.register_with_unit(
            "start_time",
            "When this core started, in seconds since 1970",
            Unit::Seconds,
            gauge(self.began.secs()),
        );
        registry.register("alarms", "Alarms that stand in the log", counters(self.alarms()));
        // What else there is matters most when the database cannot be read.
        let told = self.authority_metrics(&mut registry);
        if let Err(error) = &told {
            tracing::warn!(%error, "the metrics of authorities could not be read");
        }
        let help = "Whether the metrics of authorities are missing, since the ledger could not be read";
        registry.register("metrics_incomplete", help, gauge(i64::from(told.is_err())));
        self.ledger_metrics(&mut registry);
        let unsent = counter(self.unsent.load(Ordering::Relaxed));
        registry.register("answers_unsent", "Answers to calls whose front had gone, or did not read", unsent);
        self.fronts.register(&mut registry);
        self.work_metrics(&mut registry);
        self.token_metrics(&mut registry);
        self.trace_metrics(&mut registry);
        registry
    }

    /// Every alarm that there can be, from 0 on: a counter that is not there before it is 1 is seen to rise by nobody.
    fn alarms(&self) -> BTreeMap<OfAlarm, u64> {
        // Where they cannot be read, `metrics_incomplete` says so.
        let authorities = self.ledger.authorities().unwrap_or_default();
        let each = |authority: AuthorityRecord| {
            ALARMS.iter().map(move |alarm| (OfAlarm { authority: authority.name.clone(), alarm }, 0))
        };
        let mut alarms: BTreeMap<_, _> = authorities.into_iter().flat_map(each).collect();
        let raised = self.ledger.alarms().into_iter();
        // Not every alarm about a device is an authority's.
        let of_device = DeviceAlarm::ALL.into_iter().filter(|_| self.device_log.is_some());
        alarms.extend(of_device.map(|alarm| (OfAlarm { authority: String::new(), alarm: alarm.name() }, 0)));
        alarms.extend(raised.map(|((authority, alarm), count)| (OfAlarm { authority, alarm }, count)));
        alarms
    }
}
