//! What is counted and timed while the core works: a few atomic additions for each stage of a call. `metrics` shows it.

use std::time::{Duration, Instant};

use hallmark_backends::Moments;
use hallmark_meter::{Histogram, Reading, Tally};
use hallmark_policy::{Method, Policy};
use hallmark_proto::status;
use prometheus_client::encoding::EncodeLabelSet;

use crate::{answer::Failure, core::Inner};

/// Most series of one counter. What is beyond is counted with empty labels: it cannot be reached but by a policy that is replaced again and again.
const SERIES_MAX: usize = 2_000;

/// A stage of the order of events, as monitoring names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// From the message's bytes to a request that is well-formed: a CSR's own signature is verified here.
    Decode,
    /// Policy decides.
    Decide,
    /// The draft is written, read back by the other library, and compared with what was approved.
    Endorse,
    /// The ledger: waiting for the batch, conditions, entry, and the sync of the disk.
    Commit,
    /// Waiting for a session of the key's device.
    Queue,
    /// The device signs.
    Sign,
    /// The signature is verified.
    Verify,
    /// Signature and content become a certificate.
    Assemble,
    /// Waiting for the checkpoint that proves the entry.
    Receipt,
    /// The reply is put together.
    Answer,
}

impl Stage {
    /// All, in the order of events.
    pub(crate) const ALL: [Self; 10] = [
        Self::Decode,
        Self::Decide,
        Self::Endorse,
        Self::Commit,
        Self::Queue,
        Self::Sign,
        Self::Verify,
        Self::Assemble,
        Self::Receipt,
        Self::Answer,
    ];

    /// Its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Decide => "decide",
            Self::Endorse => "endorse",
            Self::Commit => "commit",
            Self::Queue => "queue",
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::Assemble => "assemble",
            Self::Receipt => "receipt",
            Self::Answer => "answer",
        }
    }
}

/// Which profile of which authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(crate) struct OfProfile {
    authority: String,
    profile: String,
}

/// Which call came to which end.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(crate) struct OfCall {
    method: String,
    code: &'static str,
}

/// What was refused why.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(crate) struct OfRefusal {
    method: String,
    authority: String,
    profile: String,
    reason: &'static str,
}

impl OfProfile {
    /// What it is called: authority and profile, empty where there is none.
    pub(crate) fn names(&self) -> (&str, &str) {
        (&self.authority, &self.profile)
    }

    /// As far as the policy knows them: what a caller makes up is no label.
    pub(crate) fn known(policy: &Policy, authority: &str, profile: &str) -> Self {
        let found = policy.profiles().find(|(name, of)| *name == profile && (authority.is_empty() || *of == authority));
        match found {
            Some((profile, authority)) => Self { authority: authority.to_owned(), profile: profile.to_owned() },
            None => {
                let authority = policy.authority(authority).map(|known| known.name.clone()).unwrap_or_default();
                Self { authority, profile: String::new() }
            }
        }
    }
}

/// The counts of a core.
#[derive(Debug)]
pub(crate) struct Meters {
    stages: [Histogram; Stage::ALL.len()],
    durations: [Histogram; Method::ALL.len()],
    pub(crate) calls: Tally<OfCall>,
    pub(crate) issued: Tally<OfProfile>,
    pub(crate) repeated: Tally<OfProfile>,
    pub(crate) refused: Tally<OfRefusal>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            stages: Stage::ALL.map(|_| Histogram::of_durations()),
            durations: Method::ALL.map(|_| Histogram::of_durations()),
            calls: Tally::new(SERIES_MAX, OfCall::default()),
            issued: Tally::new(SERIES_MAX, OfProfile::default()),
            repeated: Tally::new(SERIES_MAX, OfProfile::default()),
            refused: Tally::new(SERIES_MAX, OfRefusal::default()),
        }
    }
}

impl Meters {
    /// A stage has ended.
    pub(crate) fn stage(&self, stage: Stage, from: Instant, to: Instant) {
        if let Some((_, histogram)) = Stage::ALL.iter().zip(&self.stages).find(|(one, _)| **one == stage) {
            histogram.observe_duration(to.saturating_duration_since(from));
        }
    }

    /// A caller's call has ended. `method` is none of a name that there is not.
    pub(crate) fn called(&self, method: Option<Method>, code: i32, took: Duration) {
        let timed = Method::ALL.iter().zip(&self.durations).find(|(one, _)| Some(**one) == method);
        if let Some((_, histogram)) = timed {
            histogram.observe_duration(took);
        }
        self.ended(method.map(Method::name), code);
    }

    /// A call has ended.
    pub(crate) fn ended(&self, method: Option<&str>, code: i32) {
        let method = method.unwrap_or_default().to_owned();
        self.calls.count(OfCall { method, code: status::name(code).unwrap_or_default() });
    }

    /// A call was not granted: once, by the first reason.
    pub(crate) fn refused(&self, method: Option<&str>, of: OfProfile, failure: &Failure) {
        let Some(reason) = failure.reasons.first() else { return };
        let OfProfile { authority, profile } = of;
        let method = method.unwrap_or_default().to_owned();
        self.refused.count(OfRefusal { method, authority, profile, reason: reason.code.as_str() });
    }

    pub(crate) fn stages(&self) -> impl Iterator<Item = (Stage, Reading)> {
        Stage::ALL.into_iter().zip(self.stages.iter().map(Histogram::read))
    }

    pub(crate) fn durations(&self) -> impl Iterator<Item = (Method, Reading)> {
        Method::ALL.into_iter().zip(self.durations.iter().map(Histogram::read))
    }
}

impl Inner {
    /// A stage of the call that this task works on has ended.
    pub(crate) fn stage(&self, stage: Stage, from: Instant, to: Instant) {
        self.meters.stage(stage, from, to);
        self.trace(|trace| trace.stage(stage.name(), from, to));
    }

    /// What the keyring timed of a signature.
    pub(crate) fn signed(&self, moments: &Moments) {
        let Moments { came, began, signed, verified, token } = *moments;
        self.trace(|trace| trace.token(self.keyring.token_name(token).unwrap_or_default()));
        self.stage(Stage::Queue, came, began);
        self.stage(Stage::Sign, began, signed);
        self.stage(Stage::Verify, signed, verified);
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    /// Everything that one certificate is counted and timed with. A release build takes a tenth of this bound.
    #[test]
    fn what_a_certificate_costs_to_count_is_a_few_microseconds_without_optimisation() {
        const TIMES: u32 = 10_000;
        let meters = Meters::default();
        let of = OfProfile { authority: "athenz".to_owned(), profile: "workload".to_owned() };
        let one = || {
            for stage in Stage::ALL {
                let now = Instant::now();
                meters.stage(black_box(stage), now, Instant::now());
            }
            meters.issued.count(of.clone());
            meters.called(Some(Method::MintCertificate), status::OK, Duration::from_millis(1));
        };
        let fastest = (0..5).map(|_| {
            let began = Instant::now();
            (0..TIMES).for_each(|_| one());
            began.elapsed() / TIMES
        });
        let fastest = fastest.min().unwrap();
        println!("{fastest:?} a certificate");
        assert!(fastest < Duration::from_micros(20), "{fastest:?}");
        assert!(meters.stages().all(|(_, reading)| reading.count() == u64::from(5 * TIMES)));
    }

    #[test]
    fn stages_are_counted_each_by_itself() {
        let meters = Meters::default();
        let began = Instant::now();
        meters.stage(Stage::Sign, began, began + Duration::from_millis(3));
        let counted: Vec<_> = meters.stages().filter(|(_, reading)| reading.count() > 0).collect();
        assert_eq!(counted.len(), 1);
        assert_eq!((counted[0].0.name(), counted[0].1.sum), ("sign", 3_000_000));
    }
}
