//! The signals that a daemon hears.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::trouble::Trouble;

/// From now on these do not end the process.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

impl Signals {
    /// Needs a runtime.
    pub(crate) fn listen() -> Result<Self, Trouble> {
        let listen = || {
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hang_up: signal(SignalKind::hangup())?,
            })
        };
        listen().map_err(|source| Trouble::Runtime { source })
    }

    /// Waits until one asks for a stop; nothing is there yet that could be read again.
    pub(crate) async fn stop(&mut self) {
        while self.next().await == Asked::Reload {}
    }

    /// The next.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}
