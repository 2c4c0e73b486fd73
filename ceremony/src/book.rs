//! The log of ceremonies: a ledger with an origin of its own. It takes each decision before the signature that it speaks of.

use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::rand;
use hallmark_ledger::{
    CeremonyAction, CeremonyEvent, Event, Ledger, LedgerConfig, Logged, NotPrivate, Private, UnixMillis,
};
use hallmark_policy::{
    Policy,
    time::{Span, UnixTime},
};
use hallmark_tlog::note::SignerKey;
use zeroize::Zeroizing;

use crate::{
    error::CeremonyError,
    meaning::{Ceremony, LogPlace},
    output,
};

/// How far the clock may run behind the last entry, in milliseconds.
const BEHIND_MILLIS_MAX: i64 = 1_000;

/// An open log.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) ledger: Ledger,
    ceremony: String,
    file_sha256: [u8; 32],
    last_entry_at: UnixMillis,
}

impl Book {
    /// Opens the log; the first ceremony makes it, with its key.
    pub(crate) fn open(ceremony: &Ceremony) -> Result<Self, CeremonyError> {
        let place = &ceremony.log;
        output::directory(&place.directory)?;
        let config = LedgerConfig {
            database: place.directory.join("ceremonies.sqlite"),
            publish: published(&place.directory),
            retention: Span::from_days(1),
            ended_retention: Span::from_days(36_525),
            accept_missing_checkpoint: false,
            anchor: None,
            accept_missing_anchor: false,
            private: private()?,
            pages_max: None,
        };
        let is_new = !config.database.exists();
        let key = log_key(place, is_new)?;
        let opened = Ledger::open(config, key).map_err(Box::new)?;
        let last_entry_at = opened.recovery.last_entry_at.unwrap_or(UnixMillis(i64::MIN));
        let book = Self {
            ledger: opened.ledger,
            ceremony: ceremony.name.clone(),
            file_sha256: ceremony.sha256,
            last_entry_at,
        };
        if opened.key_change.is_some() {
            let sentence = "it is another key than the one that signed this log before".to_owned();
            return Err(CeremonyError::LogKey { sentence });
        }
        book.check_clock()?;
        Ok(book)
    }

    fn check_clock(&self) -> Result<(), CeremonyError> {
        if now().0.saturating_add(BEHIND_MILLIS_MAX) < self.last_entry_at.0 {
            let last = UnixTime::from_secs(self.last_entry_at.0.div_euclid(1_000));
            let sentence = format!("the machine's clock is before the last entry of the log, which is of {last}");
            return Err(CeremonyError::Incapable { sentence });
        }
        Ok(())
    }

    /// Puts a policy in force, for the decisions of this run.
    pub(crate) async fn under(&self, policy: &Policy) -> Result<Logged, CeremonyError> {
        let event =
            Event::PolicyLoaded { digest: policy.digest(), text: policy.text().to_owned(), by: self.ceremony.clone() };
        self.record(event).await
    }

    /// Writes down that something happened.
    pub(crate) async fn record(&self, event: Event) -> Result<Logged, CeremonyError> {
        Ok(self.ledger.record(event, self.at()).await?)
    }

    /// Writes down that something happened in this ceremony.
    pub(crate) async fn say(&self, action: CeremonyAction) -> Result<Logged, CeremonyError> {
        let (ceremony, file_sha256) = (self.ceremony.clone(), self.file_sha256);
        self.record(Event::Ceremony(CeremonyEvent { ceremony, file_sha256, action })).await
    }

    /// The time for entries: never before the last one.
    pub(crate) fn at(&self) -> UnixMillis {
        now().max(self.last_entry_at)
    }

    /// Its public key, as auditors have it.
    pub(crate) fn verifier(&self) -> String {
        self.ledger.verifier_key().to_string()
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        self.ledger.stop();
    }
}

/// The published log, below the log's directory.
#[must_use]
pub fn published(log: &Path) -> PathBuf {
    log.join("public")
}

/// The public key of the log, beside its secret key.
#[must_use]
pub fn verifier_path(log: &Path) -> PathBuf {
    log.join("log.vkey")
}

/// The time now.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The same, in seconds.
pub(crate) fn clock() -> UnixTime {
    UnixTime::from_secs(now().0.div_euclid(1_000))
}

fn private() -> Result<Private, CeremonyError> {
    let nothing: [&str; 0] = [];
    Private::new(nothing).map_err(|error: NotPrivate| CeremonyError::Defect { sentence: error.to_string() })
}

fn log_key(place: &LogPlace, may_make: bool) -> Result<SignerKey, CeremonyError> {
    let wrong = |sentence: String| CeremonyError::LogKey { sentence };
    let path = place.directory.join("log.key");
    if may_make && !path.exists() {
        let key = draw_log_key(&place.origin)?;
        let text = Zeroizing::new(format!("{}\n", key.to_secret_text().as_str()));
        output::create(&path, text.as_bytes(), output::SECRET)?;
    }
    let text = Zeroizing::new(output::read(&path).map_err(|error| wrong(error.to_string()))?);
    let text = std::str::from_utf8(&text).map_err(|_| wrong(format!("`{}` is no text", path.display())))?;
    let key = SignerKey::parse(text.trim_end()).map_err(|error| wrong(format!("`{}`: {error}", path.display())))?;
    if key.verifier().name() != place.origin {
        return Err(wrong(format!("it is that of `{}`, and the file says `{}`", key.verifier().name(), place.origin)));
    }
    let verifier = verifier_path(&place.directory);
    if !verifier.exists() {
        output::create(&verifier, format!("{}\n", key.verifier()).as_bytes(), output::PUBLIC)?;
    }
    Ok(key)
}

/// A new key for a log.
pub(crate) fn draw_log_key(origin: &str) -> Result<SignerKey, CeremonyError> {
    let mut seed = Zeroizing::new([0; 32]);
    rand::fill(seed.as_mut_slice())
        .map_err(|_| CeremonyError::Defect { sentence: "the system gives no random numbers".to_owned() })?;
    SignerKey::generate(origin, *seed).map_err(|error| CeremonyError::LogKey { sentence: error.to_string() })
}
