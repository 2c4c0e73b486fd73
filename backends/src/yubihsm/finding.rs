//! What is not as it should be with a device's command log, told as far as it is certain and no further.

use std::{fmt, path::PathBuf};

/// What is not as it should be with a command log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A key of this signer signed for somebody else.
    ByAnother { key: u16, authentication_key: u16, entry: u16 },
    /// A key signed for this authentication key more often than this process asked.
    Unasked { key: u16, logged: u64, sent: u64 },
    /// The device gave signatures that its log does not have, though it has others of this key.
    Missing { key: u16, logged: u64, answered: u64 },
    /// It keeps no log of what this key signs.
    NotKept { key: u16 },
    /// An entry does not follow the one before.
    Broken { entry: u16 },
    /// Entries were overwritten before they were read.
    Overwritten { entries: u16 },
    /// Entries that the client library does not read.
    Unread { after: Option<u16>, entries: usize },
    /// Things that the device had no room to log.
    NoRoom { boots: u16, authentications: u16 },
    /// What was read could not be kept, so that the device is not told that it was read.
    Unkept { path: PathBuf, error: String },
    /// What it signed for this authentication key before this process read its log for the first time.
    Before { signatures: u64 },
}

/// What a finding is about. The same again is no news.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Which {
    word: &'static str,
    /// The key, if it is about one.
    pub(super) key: Option<u16>,
    authentication_key: Option<u16>,
}

impl Finding {
    /// Its word, for monitoring.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::ByAnother { .. } => "by-another",
            Self::Unasked { .. } => "unasked",
            Self::Missing { .. } => "missing",
            Self::NotKept { .. } => "not-logged",
            Self::Broken { .. } => "broken",
            Self::Overwritten { .. } => "overwritten",
            Self::Unread { .. } => "unread",
            Self::NoRoom { .. } => "no-room",
            Self::Unkept { .. } => "unkept",
            Self::Before { .. } => "before-start",
        }
    }

    /// What it is about.
    pub(super) fn which(&self) -> Which {
        let (key, authentication_key) = match self {
            Self::ByAnother { key, authentication_key, .. } => (Some(*key), Some(*authentication_key)),
            Self::Unasked { key, .. } | Self::Missing { key, .. } | Self::NotKept { key } => (Some(*key), None),
            Self::Broken { .. }
            | Self::Overwritten { .. }
            | Self::Unread { .. }
            | Self::NoRoom { .. }
            | Self::Unkept { .. }
            | Self::Before { .. } => (None, None),
        };
        Which { word: self.word(), key, authentication_key }
    }

    /// Whether a key signed what was not asked for.
    pub(super) fn is_unasked(&self) -> bool {
        match self {
            Self::ByAnother { .. } | Self::Unasked { .. } => true,
            Self::Missing { .. }
            | Self::Broken { .. }
            | Self::NotKept { .. }
            | Self::Overwritten { .. }
            | Self::Unread { .. }
            | Self::NoRoom { .. }
            | Self::Unkept { .. }
            | Self::Before { .. } => false,
        }
    }

    /// Whether somebody has to look at it at once.
    pub(super) fn is_alarming(&self) -> bool {
        match self {
            Self::ByAnother { .. } | Self::Unasked { .. } | Self::Missing { .. } | Self::Broken { .. } => true,
            Self::NotKept { .. }
            | Self::Overwritten { .. }
            | Self::Unread { .. }
            | Self::NoRoom { .. }
            | Self::Unkept { .. }
            | Self::Before { .. } => false,
        }
    }

    /// Whether it is found again at each look, until somebody does something about it. All others are told whenever they happen.
    pub(super) fn is_standing(&self) -> bool {
        match self {
            Self::NotKept { .. } | Self::Unread { .. } => true,
            Self::ByAnother { .. }
            | Self::Unasked { .. }
            | Self::Missing { .. }
            | Self::Broken { .. }
            | Self::Overwritten { .. }
            | Self::NoRoom { .. }
            | Self::Unkept { .. }
            | Self::Before { .. } => false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByAnother { key, authentication_key, entry } => write!(
                f,
                "key {key:#06x} signed for authentication key {authentication_key:#06x} (entry {entry}), which is not this signer's; find out who that was: if it was \
                 neither a ceremony nor another signer of yours, treat the CA key as stolen"
            ),
            Self::Unasked { key, logged, sent } => write!(
                f,
                "key {key:#06x} signed {logged} times for this signer's authentication key, and this process asked {sent} times; find out who else uses that: if it was \
                 no other process of yours, and none that ended in the middle of a signature, treat the CA key as stolen"
            ),
            Self::Missing { key, logged, answered } => write!(
                f,
                "key {key:#06x} gave {answered} signatures, of which the device's log has {logged}: find out whether somebody turned its log off or said that \
                 it was read (yubihsm-shell, put option command-audit or audit set), and have the device examined if nobody did"
            ),
            Self::NotKept { key } => write!(
                f,
                "the device does not log what key {key:#06x} signs, so that this is not compared with what was asked for; turn it on with yubihsm-shell (put option \
                 command-audit)"
            ),
            Self::Broken { entry } => write!(
                f,
                "entry {entry} of the device's command log does not follow the one before: the device was reset, or it is another one, or its log was changed; look at \
                 it with yubihsm-shell (audit get)"
            ),
            Self::Overwritten { entries } => write!(
                f,
                "{entries} entries of the device's command log were overwritten before they were read; with force-audit, none is"
            ),
            Self::Unread { after, entries } => {
                write!(f, "{entries} entries of the device's command log are not read by the client library, ")?;
                match after {
                    Some(after) => write!(f, "from {} on, ", after.wrapping_add(1))?,
                    None => f.write_str("from the first on, ")?,
                }
                f.write_str("which is a command that it does not know; look at them with yubihsm-shell (audit get), and say that they are read (audit set)")
            }
            Self::NoRoom { boots, authentications } => write!(
                f,
                "the device had no room to log {boots} starts and {authentications} openings of sessions; its log is read too seldom"
            ),
            Self::Unkept { path, error } => write!(
                f,
                "the device's command log is not kept in `{}` ({error}), so that the device is not told that it was read, and signs until it is full; make room, or \
                 correct `command-log-file`",
                path.display()
            ),
            Self::Before { signatures } => write!(
                f,
                "the device's command log has {signatures} signatures for this signer's authentication key from before this start; `hallmark log reconcile` compares them"
            ),
        }
    }
}
