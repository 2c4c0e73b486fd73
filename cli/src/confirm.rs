//! Asking a person before something that cannot be taken back.

use crate::{screen::Screen, settings::SettingsError};

/// The answer that counts.
const YES: &str = "yes";

/// Goes on only with a yes: typed before as `--yes`, or now in a terminal. `what` says in a sentence why one is wanted.
pub(crate) fn confirm(screen: &Screen, yes: bool, what: &'static str, question: &str) -> Result<(), SettingsError> {
    if yes {
        return Ok(());
    }
    if !screen.can_ask() {
        return Err(SettingsError::NotAsked { question: what });
    }
    if screen.ask(&format!("{question} Type `{YES}`:")) == YES { Ok(()) } else { Err(SettingsError::NotConfirmed) }
}
