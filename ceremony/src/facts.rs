//! What a step found or made, as people and transcripts have it.

use serde::{Deserialize, Serialize};

/// One thing that a step found or made.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// Its value, in words.
    pub value: String,
    /// Whether it differs from one run to the next, as keys and digests do. All else must be as it was rehearsed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub varies: bool,
}

impl Fact {
    /// Something that every run of the same file finds alike.
    pub(crate) fn same(name: &str, value: impl ToString) -> Self {
        Self { name: name.to_owned(), value: value.to_string(), varies: false }
    }

    /// Something that each run finds otherwise.
    pub(crate) fn varies(name: &str, value: impl ToString) -> Self {
        Self { varies: true, ..Self::same(name, value) }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A step with what it found or made.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Done {
    /// The step.
    pub step: String,
    /// When it was done, in milliseconds since 1970.
    pub at: i64,
    /// What it found or made.
    pub facts: Vec<Fact>,
}
