//! Other TOML files than policies, read as strictly: every misspelling is told at its line.

use serde::de::DeserializeOwned;

use crate::{
    mistake::{Mistake, PolicyError},
    typed::{self, Typed},
};

/// Reads what was typed. Settings that the type does not know are mistakes.
///
/// # Errors
/// Every mistake that can be told, each with its line, in the order of the lines.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Vec<Mistake>> {
    let Typed { file, mistakes, left_away: _ } = typed::read(text);
    match file {
        Some(file) if mistakes.is_empty() => Ok(file),
        Some(_) | None => Err(located(mistakes, text)),
    }
}

/// Finds the lines of mistakes that were found in what a file means, and puts all of them in the order of the lines.
#[must_use]
pub fn located(mistakes: Vec<Mistake>, text: &str) -> Vec<Mistake> {
    PolicyError::new(mistakes, text).mistakes
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct File {
        host_name: String,
    }

    #[test]
    fn another_file_is_read_as_strictly_as_a_policy() {
        assert_eq!(read::<File>("host-name = \"a\"\n").unwrap().host_name, "a");
        let told: Vec<_> = read::<File>("\nhost-nam = \"a\"\n").unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "line 1: `host-name` is missing",
                "line 2: there is no setting `host-nam` here; did you mean `host-name`?"
            ]
        );
        let told = read::<File>("host-name = \"a\"\nport = 1\n").unwrap_err();
        assert_eq!(told.len(), 1, "what is known of it is not enough: {told:?}");
        let found = located(vec![Mistake::new("", "`a b` is no host name; give one")], "\n\nhost-name = \"a b\"\n");
        assert_eq!(found[0].to_string(), "line 3: `a b` is no host name; give one");
    }
}
