//! What was found in a device's command log since the start, for whoever counts it and logs it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::finding::{Finding, Which};

/// The words of everything that can be found, in the order of the alphabet.
pub const DEVICE_LOG_FINDINGS: [&str; 10] = [
    "before-start",
    "broken",
    "by-another",
    "missing",
    "no-room",
    "not-logged",
    "overwritten",
    "unasked",
    "unkept",
    "unread",
];

/// How often the same is an alarm: another signer that uses the same key is told of at each of its signatures, and would fill the log.
const AGAIN_AFTER: Duration = Duration::from_secs(3_600);

/// Most alarms that wait for somebody to log them.
const ALARMS_MAX: usize = 256;

/// What was found since the start. All clones are the same.
#[derive(Clone, Debug, Default)]
pub struct DeviceLogFindings(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    counts: BTreeMap<&'static str, u64>,
    alarms: Vec<DeviceLogAlarm>,
    /// When the same was an alarm for the last time.
    raised: BTreeMap<Which, Instant>,
}

/// Something that somebody has to look at at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLogAlarm {
    /// Whether a key signed what this signer did not ask for. Otherwise it is the log that is not what it should be.
    pub is_unasked: bool,
    /// The key's object number, where it is about one.
    pub key: Option<u16>,
    /// What was found, and what to do.
    pub sentence: String,
}

impl DeviceLogFindings {
    /// How often what was found, by its word; what never was is left out.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.lock().counts.clone()
    }

    /// Takes the alarms that nobody has taken.
    #[must_use]
    pub fn take_alarms(&self) -> Vec<DeviceLogAlarm> {
        std::mem::take(&mut self.lock().alarms)
    }

    /// Alarms that are still to be logged.
    pub fn wait(&self, alarms: Vec<DeviceLogAlarm>) {
        let mut state = self.lock();
        let room = ALARMS_MAX.saturating_sub(state.alarms.len());
        let mut alarms = alarms.into_iter();
        state.alarms.extend(alarms.by_ref().take(room));
        for lost in alarms {
            tracing::error!(
                sentence = lost.sentence,
                "an alarm of the device's command log is not in the decision log"
            );
        }
    }

    pub(super) fn add(&self, finding: &Finding) {
        let mut state = self.lock();
        *state.counts.entry(finding.word()).or_default() += 1;
        let (which, now) = (finding.which(), Instant::now());
        let is_new = state.raised.get(&which).is_none_or(|raised| now.duration_since(*raised) >= AGAIN_AFTER);
        if finding.is_alarming() && is_new && state.alarms.len() < ALARMS_MAX {
            state.alarms.push(DeviceLogAlarm {
                is_unasked: finding.is_unasked(),
                key: which.key,
                sentence: finding.to_string(),
            });
            state.raised.insert(which, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u16 = 0x6001;

    #[test]
    fn everything_that_is_found_is_counted_by_its_word_and_the_alarming_is_an_alarm_once_an_hour() {
        let found = DeviceLogFindings::default();
        let all = [
            Finding::Before { signatures: 3 },
            Finding::Broken { entry: 17 },
            Finding::ByAnother { key: KEY, authentication_key: 9, entry: 17 },
            Finding::Missing { key: KEY, logged: 1, answered: 2 },
            Finding::NoRoom { boots: 1, authentications: 2 },
            Finding::NotKept { key: KEY },
            Finding::Overwritten { entries: 20 },
            Finding::Unasked { key: KEY, logged: 2, sent: 1 },
            Finding::Unkept { path: "commands".into(), error: "full".to_owned() },
            Finding::Unread { after: None, entries: 3 },
        ];
        all.iter().for_each(|finding| found.add(finding));
        assert!(found.counts().into_iter().eq(DEVICE_LOG_FINDINGS.map(|word| (word, 1))), "{:?}", found.counts());
        let alarms = found.take_alarms();
        assert_eq!(alarms.iter().map(|alarm| alarm.key).collect::<Vec<_>>(), [None, Some(KEY), Some(KEY), Some(KEY)]);
        let unasked: Vec<_> = alarms.iter().map(|alarm| alarm.is_unasked).collect();
        assert_eq!(unasked, [false, true, false, true]);

        // The same again: another entry of the same stranger. Another stranger is another alarm.
        found.add(&Finding::ByAnother { key: KEY, authentication_key: 9, entry: 18 });
        assert_eq!((found.take_alarms().len(), found.counts()["by-another"]), (0, 2));
        found.add(&Finding::ByAnother { key: KEY, authentication_key: 10, entry: 19 });
        let alarms = found.take_alarms();
        assert_eq!(alarms.len(), 1);
        // Whoever could not log them gives them back.
        found.wait(alarms.clone());
        assert_eq!(found.take_alarms(), alarms);
    }
}
