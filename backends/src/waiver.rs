//! What need not be true of a key, where somebody said so.

use serde::Deserialize;

/// What a key may lack. Of a key's history, some modules say something else than the others, and some devices write another one into what was copied
/// into them. How a key is guarded now is waived for keys alone that are named one by one ([`Exceptions`](crate::Exceptions)), but for what a
/// module does not know at all.
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
    /// CKA_COPYABLE, where the module does not know it.
    Copyable,
    /// CKA_ALLOWED_MECHANISMS, where the module does not know it.
    AllowedMechanisms,
    /// CKA_DESTROYABLE, where the module does not know it.
    Destroyable,
}

impl Waiver {
    /// Those that are about a key's history.
    pub const HISTORY: [Self; 3] = [Self::Local, Self::AlwaysSensitive, Self::NeverExtractable];

    /// Those of attributes that are younger than some modules: what a module says of them holds, if it says anything.
    pub const UNKNOWN: [Self; 3] = [Self::Copyable, Self::AllowedMechanisms, Self::Destroyable];

    /// The attribute, as the specification names it.
    #[must_use]
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Local => "CKA_LOCAL",
            Self::AlwaysSensitive => "CKA_ALWAYS_SENSITIVE",
            Self::NeverExtractable => "CKA_NEVER_EXTRACTABLE",
            Self::Extractable => "CKA_EXTRACTABLE",
            Self::Copyable => "CKA_COPYABLE",
            Self::AllowedMechanisms => "CKA_ALLOWED_MECHANISMS",
            Self::Destroyable => "CKA_DESTROYABLE",
        }
    }

    /// What keys are without, as a sentence's end after the attribute; none of a key's history.
    #[must_use]
    pub fn leaves_open(self) -> Option<&'static str> {
        match self {
            Self::Local | Self::AlwaysSensitive | Self::NeverExtractable | Self::Extractable => None,
            Self::Copyable => Some("whoever has the PIN can copy a key within its token"),
            Self::AllowedMechanisms => Some("a key signs with every mechanism that the module has for its type"),
            Self::Destroyable => Some(
                "whoever has the PIN can destroy every key, a root's too; this signer tells roots from epochs by their CKA_ID",
            ),
        }
    }

    /// Of attributes that are waived of a module, those of keys' history, and for each that the module need not know what that comes to, in a sentence.
    #[must_use]
    pub fn told<'a>(attributes: &[&'a str]) -> (Vec<&'a str>, Vec<String>) {
        let need_not_know = |attribute: &str| {
            let waiver = Self::UNKNOWN.into_iter().find(|waiver| waiver.attribute() == attribute)?;
            let leaves_open = waiver.leaves_open()?;
            Some(format!("this module need not know {attribute}; where it does not, {leaves_open}"))
        };
        let history = attributes.iter().copied().filter(|attribute| need_not_know(attribute).is_none());
        (history.collect(), attributes.iter().filter_map(|attribute| need_not_know(attribute)).collect())
    }

    /// What is asked of an attribute.
    pub(crate) fn asked(attribute: &str, waived: &[Self]) -> Asked {
        match waived.iter().find(|waiver| waiver.attribute() == attribute) {
            None => Asked::Whole,
            Some(waiver) if waiver.leaves_open().is_some() => Asked::IfKnown,
            Some(_) => Asked::Nothing,
        }
    }
}

/// What is asked of an attribute of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// That it is there, and as it should be.
    Whole,
    /// That it is as it should be, if it is there.
    IfKnown,
    /// Nothing.
    Nothing,
}

/// A waiver of a key's history, as configurations name it: one of a module's, but for those of what the module does not know.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "ModuleWaiver")]
pub struct HistoryWaiver(ModuleWaiver);

/// A word for a module alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is no part of a key's history; write one of CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE", Waiver::from(*.0).attribute())]
pub struct NotOfHistory(ModuleWaiver);

/// A waiver of a module, as configurations name it: of a key's history, or of what the module does not know. What it knows and says otherwise of
/// how a key is guarded now has no word here.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModuleWaiver {
    /// CKA_LOCAL.
    #[serde(rename = "CKA_LOCAL")]
    Local,
    /// CKA_ALWAYS_SENSITIVE.
    #[serde(rename = "CKA_ALWAYS_SENSITIVE")]
    AlwaysSensitive,
    /// CKA_NEVER_EXTRACTABLE.
    #[serde(rename = "CKA_NEVER_EXTRACTABLE")]
    NeverExtractable,
    /// CKA_COPYABLE.
    #[serde(rename = "CKA_COPYABLE")]
    Copyable,
    /// CKA_ALLOWED_MECHANISMS.
    #[serde(rename = "CKA_ALLOWED_MECHANISMS")]
    AllowedMechanisms,
    /// CKA_DESTROYABLE.
    #[serde(rename = "CKA_DESTROYABLE")]
    Destroyable,
}

impl ModuleWaiver {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Local,
        Self::AlwaysSensitive,
        Self::NeverExtractable,
        Self::Copyable,
        Self::AllowedMechanisms,
        Self::Destroyable,
    ];
}

impl HistoryWaiver {
    /// All of them.
    pub const ALL: [Self; 3] =
        [Self(ModuleWaiver::Local), Self(ModuleWaiver::AlwaysSensitive), Self(ModuleWaiver::NeverExtractable)];

    /// The attribute, as the specification names it.
    #[must_use]
    pub fn attribute(self) -> &'static str {
        Waiver::from(self).attribute()
    }
}

impl TryFrom<ModuleWaiver> for HistoryWaiver {
    type Error = NotOfHistory;

    fn try_from(word: ModuleWaiver) -> Result<Self, NotOfHistory> {
        let word = Self(word);
        if Self::ALL.contains(&word) { Ok(word) } else { Err(NotOfHistory(word.0)) }
    }
}

impl From<HistoryWaiver> for Waiver {
    fn from(word: HistoryWaiver) -> Self {
        word.0.into()
    }
}

impl From<HistoryWaiver> for ModuleWaiver {
    fn from(word: HistoryWaiver) -> Self {
        word.0
    }
}

impl From<ModuleWaiver> for Waiver {
    fn from(word: ModuleWaiver) -> Self {
        match word {
            ModuleWaiver::Local => Self::Local,
            ModuleWaiver::AlwaysSensitive => Self::AlwaysSensitive,
            ModuleWaiver::NeverExtractable => Self::NeverExtractable,
            ModuleWaiver::Copyable => Self::Copyable,
            ModuleWaiver::AllowedMechanisms => Self::AllowedMechanisms,
            ModuleWaiver::Destroyable => Self::Destroyable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_need_not_know_is_told_with_what_that_leaves_open() {
        let (history, unknown) = Waiver::told(&["CKA_LOCAL", "CKA_COPYABLE"]);
        assert_eq!(history, ["CKA_LOCAL"]);
        let wanted = "this module need not know CKA_COPYABLE; where it does not, whoever has the PIN can copy a key within its token";
        assert_eq!(unknown, [wanted]);
    }
}
