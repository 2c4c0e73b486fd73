//! How long is waited for a device, in each kind of thing.

use std::time::Duration;

/// Bounds of waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the token and all its sessions to open, at the start.
    pub(crate) start: Duration,
    /// For a key to be made; RSA keys take devices their time.
    pub(crate) make: Duration,
    /// For a key to be found, opened, destroyed; for all to be listed.
    pub(crate) operate: Duration,
    /// For random numbers and for health.
    pub(crate) probe: Duration,
    /// For one signature, until the device is said to hang.
    pub(crate) hung_after: Duration,
    /// For signatures under way, at the stop.
    pub(crate) stop: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(60),
            make: Duration::from_secs(180),
            operate: Duration::from_secs(20),
            probe: Duration::from_secs(2),
            hung_after: Duration::from_secs(3),
            stop: Duration::from_secs(10),
        }
    }
}
