//! What a key says of itself: the description that it was made with has its purpose and its label, so that no key is ever without its name.

use crate::{backend::KeyPurpose, reference::KeyLabel};

/// What the descriptions of this signer's keys begin with.
const OURS: &str = "hallmark";

/// Tags, so that an IAM policy can tell keys apart, too.
pub(super) const TAG_PURPOSE: &str = "hallmark-purpose";
/// The label once more.
pub(super) const TAG_LABEL: &str = "hallmark-label";

/// A key's purpose and label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) purpose: KeyPurpose,
    pub(super) label: KeyLabel,
}

impl Name {
    /// The description: `hallmark root LABEL` or `hallmark epoch LABEL`.
    pub(super) fn description(&self) -> String {
        format!("{OURS} {} {}", self.purpose.name(), self.label)
    }

    /// What a description says; none if this signer did not write it.
    pub(super) fn read(description: &str) -> Option<Self> {
        let (purpose, label) = description.strip_prefix(OURS)?.strip_prefix(' ')?.split_once(' ')?;
        let purpose = [KeyPurpose::Root, KeyPurpose::Epoch].into_iter().find(|known| known.name() == purpose)?;
        Some(Self { purpose, label: KeyLabel::parse(label).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_as_it_was_written_and_no_other_is() {
        for (purpose, label) in [(KeyPurpose::Root, "root-2026.a"), (KeyPurpose::Epoch, "hallmark-a-epoch-1-00ff")] {
            let name = Name { purpose, label: KeyLabel::parse(label).unwrap() };
            assert_eq!(Name::read(&name.description()), Some(name));
        }
        for text in [
            "",
            "hallmark",
            "hallmark root",
            "hallmark root ",
            "hallmark root a b",
            "hallmark  root a",
            "hallmark wrappable a",
            "Hallmark root a",
            "somebody's key",
            "hallmark root a\n",
        ] {
            assert_eq!(Name::read(text), None, "{text:?}");
        }
    }
}
