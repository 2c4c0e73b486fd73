//! What the daemon counts, as text that monitoring reads (OpenMetrics 1.0). Counters begin with the process, and are what the ledger counted when
//! it had committed: what was never durable is in none.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use hallmark_ledger::{AuthorityRecord, Room};
use hallmark_policy::{Reason, ReasonCode};
use hallmark_proto::{
    link::Reply,
    operator::{MetricsRequest, MetricsResponse},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    answer::{self, Failure},
    core::Inner,
    operate::decode,
};

/// Of which authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAuthority {
    authority: String,
}

/// Which alarm of which authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAlarm {
    authority: String,
    alarm: &'static str,
}

/// Which token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfToken {
    token: String,
}

impl Inner {
    /// The text.
    pub(crate) fn metrics_text(&self, body: Bytes) -> Result<Reply, Failure> {
        let MetricsRequest {} = decode(body)?;
        let mut text = String::new();
        let written = encode(&mut text, &self.metrics()?);
        written
            .map_err(|_| Reason::new(ReasonCode::LedgerFailed, "metrics", "the metrics could not be written down"))?;
        Ok(answer::success(&MetricsResponse { text }))
    }

    fn metrics(&self) -> Result<Registry, Failure> {
        let failed = |error| self.ledger_failed(&error);
        let mut registry = Registry::with_prefix("hallmark");
        let alarms = Family::<OfAlarm, Counter>::default();
        for ((authority, alarm), count) in self.ledger.alarms() {
            alarms.get_or_create(&OfAlarm { authority, alarm }).inc_by(count);
        }
        registry.register("alarms", "Alarms about instances that stand in the log", alarms);
        let stopped = Family::<OfAuthority, Gauge>::default();
        let frozen = Family::<OfAuthority, Gauge>::default();
        for AuthorityRecord { name, .. } in self.ledger.authorities().map_err(failed)? {
            let is_stopped = i64::from(self.ledger.stopped(&name).map_err(failed)?.is_some());
            let is_frozen = i64::from(self.ledger.frozen(&name).map_err(failed)?.is_some());
            stopped.get_or_create(&OfAuthority { authority: name.clone() }).set(is_stopped);
            frozen.get_or_create(&OfAuthority { authority: name }).set(is_frozen);
        }
        registry.register("authority_frozen", "Whether an operator froze an authority", frozen);
        registry.register(
            "authority_stopped",
            "Whether an authority stopped itself: its database was restored",
            stopped,
        );
        let entries = Gauge::<i64>::default();
        entries.set(i64::try_from(self.ledger.head().size).unwrap_or(i64::MAX));
        registry.register("log_entries", "Entries of the decision log", entries);
        let commits = Counter::<u64>::default();
        commits.inc_by(self.ledger.commits());
        registry.register("ledger_commits", "Transactions of the ledger", commits);
        let room = Gauge::<i64>::default();
        room.set(match self.ledger.room() {
            Room::Ample => 2,
            Room::Low => 1,
            Room::Last => 0,
        });
        registry.register(
            "ledger_room",
            "What the ledger's disk has room for: 2 everything, 1 no refusals, 0 only revocations and what operators do",
            room,
        );
        let unsent = Counter::<u64>::default();
        unsent.inc_by(self.unsent.load(Ordering::Relaxed));
        registry.register("answers_unsent", "Answers to calls whose front had gone, or did not read", unsent);
        self.fronts.register(&mut registry);
        self.tokens(&mut registry);
        Ok(registry)
    }

    /// How the tokens (or the directory) stand. No device is asked.
    fn tokens(&self, registry: &mut Registry) {
        let [serves, sessions, hanging, keys] = [(); 4].map(|()| Family::<OfToken, Gauge>::default());
        let [signatures, failures] = [(); 2].map(|()| Family::<OfToken, Counter>::default());
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for token in self.keyring.tokens() {
            let of = OfToken { token: token.name };
            serves.get_or_create(&of).set(token.away.is_none().into());
            sessions.get_or_create(&of).set(number(token.sessions));
            hanging.get_or_create(&of).set(number(token.hanging));
            keys.get_or_create(&of).set(number(token.keys));
            signatures.get_or_create(&of).inc_by(token.signatures);
            failures.get_or_create(&of).inc_by(token.failures);
        }
        registry.register(
            "token_serves",
            "Whether a token signs: 0 while it is away, or out until the next start",
            serves,
        );
        registry.register("token_sessions", "Signing sessions of a token", sessions);
        registry.register("token_hanging", "Sessions of a token whose calls hang", hanging);
        registry.register("token_keys", "Open keys that a token has, checked", keys);
        registry.register("token_signatures", "Signatures that a token gave, each verified", signatures);
        registry.register("token_failures", "Jobs that a token failed", failures);
    }
}
