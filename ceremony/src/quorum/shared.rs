//! What a quorum is for.

use serde::{Deserialize, Serialize};

/// What custodians have together.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shared {
    /// The PIN of a token.
    #[default]
    Pin,
    /// A key that wraps others.
    WrapKey,
}

impl Shared {
    /// What custodians do with it, as the end of a sentence about them.
    pub(crate) fn use_of_it(self) -> &'static str {
        match self {
            Self::Pin => "open the token",
            Self::WrapKey => "bring the wrap key",
        }
    }

    pub(super) fn record(self) -> &'static str {
        match self {
            Self::Pin => "record of a quorum",
            Self::WrapKey => "record of a quorum that has a wrap key",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives it so")]
    pub(super) fn is_pin(&self) -> bool {
        *self == Self::Pin
    }
}
