//! What a device's own command log has against this signer: alarms of the decision log.

use std::time::Duration;

use hallmark_backends::{DeviceLogAlarm, KeyReference};
use hallmark_ledger::{DeviceAlarm, Epochs, Event, LedgerError};

use crate::core::Inner;

/// How often it is asked for what was found, at the least.
pub(crate) const DEVICE_LOG_WINDOW: Duration = Duration::from_secs(1);

impl Inner {
    /// Logs what was found. What cannot be logged now is logged later.
    pub(crate) async fn log_device_alarms(&self) {
        let Some(found) = &self.device_log else { return };
        let mut alarms = found.take_alarms().into_iter();
        while let Some(alarm) = alarms.next() {
            if let Err(error) = self.log_device_alarm(&alarm).await {
                tracing::warn!(%error, "what was found in the device's command log is not logged yet");
                found.wait([alarm].into_iter().chain(alarms).collect());
                return;
            }
        }
    }

    async fn log_device_alarm(&self, found: &DeviceLogAlarm) -> Result<(), LedgerError> {
        let authority = found.key.map(|key| self.authority_of(key)).transpose()?.flatten();
        let alarm = if found.is_unasked { DeviceAlarm::UnaskedSignature } else { DeviceAlarm::LogBroken };
        let event = Event::DeviceAlarm { alarm, authority, sentence: found.sentence.clone() };
        self.ledger.record(event, self.clock.wall().millis).await.map(drop)
    }

    /// The authority that has the key of this number in a YubiHSM, as its root's or as an epoch's.
    fn authority_of(&self, key: u16) -> Result<Option<String>, LedgerError> {
        let is_it = |reference: &str| {
            let reference: Option<KeyReference> = reference.parse().ok();
            reference.and_then(|reference| reference.yubihsm_id()) == Some(key)
        };
        for authority in self.ledger.authorities()? {
            let epochs = [Epochs::Active, Epochs::Making, Epochs::Leftover];
            let epochs = epochs.map(|which| self.ledger.epochs(&authority.name, which));
            let epochs = epochs.into_iter().collect::<Result<Vec<_>, _>>()?;
            let mut keys = authority.key.iter().chain(epochs.iter().flatten().filter_map(|epoch| epoch.key.as_ref()));
            if keys.any(|stored| is_it(&stored.reference)) {
                return Ok(Some(authority.name));
            }
        }
        Ok(None)
    }
}
