//! TLS files reload by themselves when their content changes. A bad file leaves the old ones in force.

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::time_provider::TimeProvider;
use tokio::sync::watch;

use crate::{
    config::{AnchorRule, FrontConfig, TlsPaths},
    counters::Counters,
    error::FrontError,
    tls_files::{TlsFiles, TlsState},
};

/// The TLS files in force, and the eye on their successors.
#[derive(Debug)]
pub(crate) struct TlsWatch {
    paths: TlsPaths,
    clock: Arc<dyn TimeProvider>,
    rule: AnchorRule,
    counters: Arc<Counters>,
    /// What was seen last, good or bad; held while looking, so that looks do not overtake each other.
    seen: Mutex<Seen>,
    current: watch::Sender<Arc<TlsState>>,
}

#[derive(Debug)]
struct Seen {
    digest: [u8; 32],
    /// The last complaint, so that a fault that lasts is logged once.
    complaint: Option<String>,
}

/// Reloads the TLS files on demand, for SIGHUP.
#[derive(Clone, Debug)]
pub struct ReloadHandle(pub(crate) Arc<TlsWatch>);

impl ReloadHandle {
    /// Reads the TLS files now. New handshakes use them when this returns; connections whose callers they no longer admit end.
    ///
    /// # Errors
    /// What is wrong with the files; the old ones stay in force.
    pub async fn reload(&self) -> Result<(), FrontError> {
        TlsWatch::look_aside(Arc::clone(&self.0), Look::Whatever).await
    }
}

/// Whether content that was seen before is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Only what changed.
    IfChanged,
    /// In any case.
    Whatever,
}

impl TlsWatch {
    pub(crate) fn start(config: &FrontConfig, counters: Arc<Counters>) -> Result<Self, FrontError> {
        let files = TlsFiles::read(&config.paths)?;
        let state = files.build(&config.paths, Arc::clone(&config.clock), &config.anchor_rule)?;
        Ok(Self {
            paths: config.paths.clone(),
            clock: Arc::clone(&config.clock),
            rule: config.anchor_rule.clone(),
            counters,
            seen: Mutex::new(Seen { digest: files.digest(), complaint: None }),
            current: watch::Sender::new(Arc::new(state)),
        })
    }

    pub(crate) fn current(&self) -> Arc<TlsState> {
        Arc::clone(&self.current.borrow())
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<TlsState>> {
        self.current.subscribe()
    }

    /// Looks from a thread that may block.
    pub(crate) async fn look_aside(watch: Arc<Self>, look: Look) -> Result<(), FrontError> {
        tokio::task::spawn_blocking(move || watch.look(look)).await.unwrap_or(Err(FrontError::Interrupted))
    }

    fn look(&self, look: Look) -> Result<(), FrontError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = TlsFiles::read(&self.paths).and_then(|files| {
            let digest = files.digest();
            seen.complaint = None;
            if look == Look::IfChanged && digest == seen.digest {
                return Ok(());
            }
            seen.digest = digest;
            let state = files.build(&self.paths, Arc::clone(&self.clock), &self.rule)?;
            self.current.send_replace(Arc::new(state));
            self.counters.reloaded();
            tracing::info!("the TLS files changed and are in force for new connections");
            Ok(())
        });
        if let Err(error) = &looked {
            let complaint = sentence(error);
            if seen.complaint.as_ref() != Some(&complaint) {
                self.counters.reload_failed();
                tracing::warn!(error = %complaint, "the TLS files changed and cannot be used; the old ones stay in force");
                seen.complaint = Some(complaint);
            }
        }
        looked
    }
}

/// An error with its causes, in one line.
fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
