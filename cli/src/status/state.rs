//! What a signer's metrics say of it, and how fast that changes.

use std::{cmp::Ordering, collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::samples::{Sample, Samples};

/// How often a signer did something.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Count {
    /// Since it started.
    pub(super) total: f64,
    /// Each second since it was looked at before; none the first time.
    pub(super) per_second: Option<f64>,
}

/// How a signer stands.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Status {
    pub(super) signer: String,
    pub(super) at: String,
    pub(super) version: Option<String>,
    pub(super) up_seconds: Option<f64>,
    pub(super) authorities: Vec<Authority>,
    pub(super) calls: Calls,
    /// By reason, the most frequent first.
    pub(super) refused: Vec<Named>,
    pub(super) tokens: Vec<Token>,
    pub(super) log: Log,
    pub(super) alarms: Vec<Alarm>,
}

/// An authority.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Authority {
    pub(super) name: String,
    /// `serves`, `frozen`, `stopped`, `waits` for an epoch, or `rests` because its device fails.
    pub(super) state: &'static str,
    pub(super) epoch: f64,
    pub(super) issued: Count,
    pub(super) refused: Count,
    /// What ends, soonest first, with the seconds until then.
    pub(super) ends: Vec<End>,
}

/// Something that ends.
#[derive(Clone, Debug, Serialize)]
pub(super) struct End {
    pub(super) what: String,
    pub(super) seconds: f64,
}

/// What is under way.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Calls {
    pub(super) all: Count,
    pub(super) under_way: f64,
    /// Mints that fronts hold back while the core is busy.
    pub(super) waiting_in_fronts: f64,
    pub(super) waiting_for_a_key: f64,
    pub(super) waiting_for_the_ledger: f64,
    /// Seconds from a mint's arrival in the core to its answer, since it was looked at before.
    pub(super) mint_p50_seconds: Option<f64>,
    pub(super) mint_p99_seconds: Option<f64>,
    /// Mean seconds of each stage.
    pub(super) stages: Vec<Stage>,
}

/// A stage of the order of events.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Stage {
    pub(super) stage: String,
    pub(super) mean_seconds: f64,
}

/// A count with a name.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Named {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) count: Count,
}

impl Named {
    fn was_there(&self) -> bool {
        self.count.total > 0.0
    }

    fn most_frequent(&self, other: &Self) -> Ordering {
        let key = |named: &Self| (named.count.per_second.unwrap_or_default(), named.count.total);
        let (one, other) = (key(self), key(other));
        other.0.total_cmp(&one.0).then(other.1.total_cmp(&one.1))
    }
}

/// A token.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Token {
    pub(super) name: String,
    pub(super) serves: bool,
    pub(super) sessions: f64,
    pub(super) hanging: f64,
    pub(super) signatures: Count,
    pub(super) sign_p99_seconds: Option<f64>,
    pub(super) failures: f64,
    /// By the device's own code.
    pub(super) errors: Vec<Named>,
}

/// Log and disk.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Log {
    pub(super) entries: f64,
    pub(super) unpublished: f64,
    pub(super) published_seconds_ago: Option<f64>,
    pub(super) free_bytes: Option<f64>,
    /// `everything`, `no refusals`, or `revocations and operators only`; none where the signer does not tell.
    pub(super) room_for: Option<&'static str>,
    pub(super) commit_p99_seconds: Option<f64>,
    pub(super) operations_each: Option<f64>,
}

/// Alarms of a kind.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Alarm {
    pub(super) authority: String,
    pub(super) alarm: String,
    pub(super) count: f64,
}

/// What was read now, and before.
pub(super) struct Looked<'a> {
    now: &'a Samples,
    before: Option<(&'a Samples, f64)>,
}

impl<'a> Looked<'a> {
    /// What was read before counts only where the signer has not started anew since.
    pub(super) fn new(now: &'a Samples, before: Option<(&'a Samples, Duration)>) -> Self {
        let started = |samples: &Samples| samples.one("hallmark_start_time_seconds");
        let before = before.filter(|(samples, between)| started(samples) == started(now) && !between.is_zero());
        Self { now, before: before.map(|(samples, between)| (samples, between.as_secs_f64())) }
    }

    /// How it stands.
    pub(super) fn status(&self, signer: &str, now_secs: i64, at: String) -> Status {
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in 53 bits")]
        let up = self.now.one("hallmark_start_time_seconds").map(|start| (now_secs as f64 - start).max(0.0));
        Status {
            signer: signer.to_owned(),
            at,
            version: self.now.each("hallmark_build_info").next().map(|build| build.label("version").to_owned()),
            up_seconds: up,
            authorities: self
                .names("hallmark_authority_serves", "authority")
                .map(|name| self.authority(name))
                .collect(),
            calls: self.calls(),
            refused: self.refused(),
            tokens: self.names("hallmark_token_serves", "token").map(|name| self.token(name)).collect(),
            log: self.log(),
            alarms: self.now.each("hallmark_alarms_total").filter(|alarm| alarm.value > 0.0).map(Alarm::of).collect(),
        }
    }

    /// What the core refused, and what its fronts turned away before it.
    fn refused(&self) -> Vec<Named> {
        let by_core = self.named("hallmark_requests_refused_total", "reason", ("", ""));
        let by_fronts = self.named("hallmark_front_turned_away_total", "reason", ("", ""));
        let mut refused: Vec<_> = by_core.into_iter().chain(by_fronts.into_iter().filter(Named::was_there)).collect();
        refused.sort_by(Named::most_frequent);
        refused
    }

    fn authority(&self, name: &str) -> Authority {
        let of = ("authority", name);
        let is = |metric| self.now.sum_of(metric, of) > 0.0;
        let epoch = self.now.sum_of("hallmark_epoch_generation", of);
        let state = if is("hallmark_authority_stopped") {
            "stopped"
        } else if is("hallmark_authority_frozen") {
            "frozen"
        } else if is("hallmark_authority_serves") {
            "serves"
        } else if epoch == 0.0 {
            "waits"
        } else {
            "rests"
        };
        let own = |metric, label: &'static str, word: &'static str| {
            let of_it = self.now.each(metric).filter(move |sample| sample.label("authority") == name);
            of_it.map(move |sample| End { what: format!("{word}{}", sample.label(label)), seconds: sample.value })
        };
        let certificates = own("hallmark_certificate_remaining_seconds", "certificate", "");
        let crls = own("hallmark_crl_remaining_seconds", "ca", "CRL of ");
        let mut ends: Vec<_> = certificates.chain(crls).collect();
        ends.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        let (issued, refused) =
            (self.count("hallmark_certificates_issued_total", of), self.count("hallmark_requests_refused_total", of));
        Authority { name: name.to_owned(), state, epoch, issued, refused, ends }
    }

    fn calls(&self) -> Calls {
        let (duration, mint) = ("hallmark_call_duration_seconds", ("method", "MintCertificate"));
        let gauge = |name| self.now.one(name).unwrap_or_default();
        let stages = self.names("hallmark_stage_duration_seconds_count", "stage").filter_map(|stage| {
            let mean_seconds = self.mean("hallmark_stage_duration_seconds", ("stage", stage))?;
            Some(Stage { stage: stage.to_owned(), mean_seconds })
        });
        Calls {
            all: self.count("hallmark_calls_total", ("", "")),
            under_way: gauge("hallmark_calls_under_way"),
            waiting_in_fronts: self.now.sum("hallmark_front_calls_waiting"),
            waiting_for_a_key: gauge("hallmark_key_queue_jobs"),
            waiting_for_the_ledger: gauge("hallmark_ledger_queue_operations"),
            mint_p50_seconds: self.quantile(duration, mint, 0.5),
            mint_p99_seconds: self.quantile(duration, mint, 0.99),
            stages: stages.collect(),
        }
    }

    fn token(&self, name: &str) -> Token {
        let of = ("token", name);
        let gauge = |metric| self.now.sum_of(metric, of);
        Token {
            name: name.to_owned(),
            serves: gauge("hallmark_token_serves") > 0.0,
            sessions: gauge("hallmark_token_sessions"),
            hanging: gauge("hallmark_token_hanging"),
            signatures: self.count("hallmark_token_signatures_total", of),
            sign_p99_seconds: self.quantile("hallmark_token_sign_duration_seconds", of, 0.99),
            failures: gauge("hallmark_token_failures_total"),
            errors: self.named("hallmark_token_errors_total", "code", of),
        }
    }

    fn log(&self) -> Log {
        let entries = self.now.one("hallmark_log_entries").unwrap_or_default();
        let published = self.now.one("hallmark_log_published_entries").unwrap_or_default();
        let room = self.now.one("hallmark_ledger_room");
        Log {
            entries,
            unpublished: (entries - published).max(0.0),
            published_seconds_ago: self.now.one("hallmark_log_publication_age_seconds"),
            free_bytes: self.now.one("hallmark_ledger_free_bytes"),
            room_for: room.map(|room| match room {
                room if room >= 2.0 => "everything",
                room if room >= 1.0 => "no refusals",
                _ => "revocations and operators only",
            }),
            commit_p99_seconds: self.quantile("hallmark_ledger_commit_duration_seconds", ("", ""), 0.99),
            operations_each: self.mean("hallmark_ledger_batch_operations", ("", "")),
        }
    }

    /// The values of a label, each once, in the order of the text.
    fn names(&self, metric: &'a str, label: &'a str) -> impl Iterator<Item = &'a str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.now.each(metric).map(|sample| sample.label(label)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        // The encoder keeps no order.
        names.sort_by_key(|name| (STAGES.iter().position(|stage| stage == name), *name));
        names.into_iter()
    }

    fn count(&self, metric: &str, of: (&str, &str)) -> Count {
        let sum = |samples: &Samples| if of.0.is_empty() { samples.sum(metric) } else { samples.sum_of(metric, of) };
        let total = sum(self.now);
        let per_second = self.before.map(|(before, secs)| ((total - sum(before)) / secs).max(0.0));
        Count { total, per_second }
    }

    /// Counts by one label, of those that have another; the most frequent first.
    fn named(&self, metric: &str, label: &str, (other, value): (&str, &str)) -> Vec<Named> {
        let by_name = |samples: &Samples| {
            let mut sums = BTreeMap::<String, f64>::new();
            let of = samples.each(metric).filter(|sample| other.is_empty() || sample.label(other) == value);
            of.for_each(|sample| *sums.entry(sample.label(label).to_owned()).or_default() += sample.value);
            sums
        };
        let before = self.before.map(|(before, secs)| (by_name(before), secs));
        let named = by_name(self.now).into_iter().map(|(name, total)| {
            let earlier = |sums: &BTreeMap<String, f64>| sums.get(&name).copied().unwrap_or_default();
            let per_second = before.as_ref().map(|(sums, secs)| ((total - earlier(sums)) / secs).max(0.0));
            Named { count: Count { total, per_second }, name }
        });
        let mut named: Vec<_> = named.collect();
        named.sort_by(Named::most_frequent);
        named
    }

    /// The mean of a histogram since it was looked at before, or since the start.
    fn mean(&self, metric: &str, of: (&str, &str)) -> Option<f64> {
        let more = |suffix: &str| {
            let name = format!("{metric}_{suffix}");
            let sum = |samples: &Samples| if of.0.is_empty() { samples.sum(&name) } else { samples.sum_of(&name, of) };
            sum(self.now) - self.before.map_or(0.0, |(before, _)| sum(before))
        };
        let count = more("count");
        (count > 0.0).then(|| more("sum") / count)
    }

    /// A quantile of a histogram since it was looked at before, or since the start; as Prometheus tells it: straight within a bucket.
    fn quantile(&self, metric: &str, of: (&str, &str), quantile: f64) -> Option<f64> {
        let mut buckets = self.now.buckets(metric, of);
        let before = self.before.map(|(before, _)| before.buckets(metric, of)).unwrap_or_default();
        for ((_, count), (_, earlier)) in buckets.iter_mut().zip(&before) {
            *count -= earlier;
        }
        let all = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
        let wanted = quantile * all;
        let (mut below, mut lower) = (0.0, 0.0);
        for (bound, count) in buckets {
            if count >= wanted && count > below {
                let part = (wanted - below) / (count - below);
                return Some(if bound.is_finite() { lower + (bound - lower) * part } else { lower });
            }
            (below, lower) = (count, bound);
        }
        None
    }
}

/// Stages in the order of events.
const STAGES: [&str; 10] =
    ["decode", "decide", "endorse", "commit", "queue", "sign", "verify", "assemble", "receipt", "answer"];

impl Alarm {
    fn of(sample: &Sample) -> Self {
        let [authority, alarm] = ["authority", "alarm"].map(|label| sample.label(label).to_owned());
        Self { authority, alarm, count: sample.value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(text: &str) -> Samples {
        Samples::read(&format!("{text}# EOF\n")).unwrap()
    }

    #[test]
    fn a_rate_is_what_came_between_two_looks() {
        let (before, now) = (samples("hallmark_calls_total 10\n"), samples("hallmark_calls_total 30\n"));
        let looked = Looked::new(&now, Some((&before, Duration::from_secs(4))));
        assert_eq!(looked.calls().all, Count { total: 30.0, per_second: Some(5.0) });
        assert_eq!(Looked::new(&now, None).calls().all, Count { total: 30.0, per_second: None });
    }

    #[test]
    fn a_signer_that_started_anew_has_no_rate_yet() {
        let of = |start: u32, calls: u32| {
            samples(&format!("hallmark_start_time_seconds {start}\nhallmark_calls_total {calls}\n"))
        };
        let (before, now) = (of(1, 100), of(2, 3));
        let looked = Looked::new(&now, Some((&before, Duration::from_secs(1))));
        assert_eq!(looked.calls().all, Count { total: 3.0, per_second: None });
    }

    #[test]
    fn a_quantile_lies_within_its_bucket_and_counts_only_what_is_new() {
        let metric = "hallmark_call_duration_seconds";
        let of = |low: u32, all: u32, over: u32| {
            let bucket = |le: &str, count: u32| format!("{metric}_bucket{{method=\"m\",le=\"{le}\"}} {count}\n");
            samples(&[bucket("1", low), bucket("2", all), bucket("+Inf", over)].concat())
        };
        let (before, now) = (of(100, 100, 100), of(100, 200, 200));
        let quantile = |quantile| {
            let looked = Looked::new(&now, Some((&before, Duration::from_secs(1))));
            looked.quantile(metric, ("method", "m"), quantile)
        };
        assert_eq!([quantile(0.5), quantile(0.99)], [Some(1.5), Some(1.99)]);
        let beyond = of(0, 0, 4);
        assert_eq!(Looked::new(&beyond, None).quantile(metric, ("method", "m"), 0.5), Some(2.0));
        assert_eq!(Looked::new(&before, None).quantile(metric, ("method", "other"), 0.5), None);
    }
}
