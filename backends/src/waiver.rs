//! What need not be true of a key, where somebody said so.

use serde::Deserialize;

/// What a key may lack. Of a key's history, some modules say something else than the others, and some devices write another one into what was copied
/// into them. How a key is guarded now is waived for keys alone that are named one by one ([`Exceptions`](crate::Exceptions)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiver {
    /// CKA_LOCAL: it was generated in this token.
    Local,
    /// CKA_ALWAYS_SENSITIVE: it was sensitive since it came to be in this token.
    AlwaysSensitive,
    /// CKA_NEVER_EXTRACTABLE: the same of CKA_EXTRACTABLE.
    NeverExtractable,
    /// CKA_EXTRACTABLE: it can be wrapped and leave the token. For [`Exception::Wrappable`] alone.
    Extractable,
}

impl Waiver {
    /// Those that are about a key's history.
    pub const HISTORY: [Self; 3] = [Self::Local, Self::AlwaysSensitive, Self::NeverExtractable];

    /// The attribute, as the specification names it.
    #[must_use]
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Local => "CKA_LOCAL",
            Self::AlwaysSensitive => "CKA_ALWAYS_SENSITIVE",
            Self::NeverExtractable => "CKA_NEVER_EXTRACTABLE",
            Self::Extractable => "CKA_EXTRACTABLE",
        }
    }
}

/// A waiver of a key's history, as configurations name it: how a key is guarded now has no word here.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub enum HistoryWaiver {
    /// CKA_LOCAL.
    #[serde(rename = "CKA_LOCAL")]
    Local,
    /// CKA_ALWAYS_SENSITIVE.
    #[serde(rename = "CKA_ALWAYS_SENSITIVE")]
    AlwaysSensitive,
    /// CKA_NEVER_EXTRACTABLE.
    #[serde(rename = "CKA_NEVER_EXTRACTABLE")]
    NeverExtractable,
}

impl HistoryWaiver {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Local, Self::AlwaysSensitive, Self::NeverExtractable];

    /// The attribute, as the specification names it.
    #[must_use]
    pub fn attribute(self) -> &'static str {
        Waiver::from(self).attribute()
    }
}

impl From<HistoryWaiver> for Waiver {
    fn from(word: HistoryWaiver) -> Self {
        match word {
            HistoryWaiver::Local => Self::Local,
            HistoryWaiver::AlwaysSensitive => Self::AlwaysSensitive,
            HistoryWaiver::NeverExtractable => Self::NeverExtractable,
        }
    }
}
