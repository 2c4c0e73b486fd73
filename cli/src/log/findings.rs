//! Sentences about what is wrong, as many as anybody reads: a log that was made to have millions does not fill the memory.

use super::show;

/// Most that are kept.
pub(crate) const FINDINGS_MAX: usize = 1_000;

/// Longest sentence, in letters. Sentences quote what was read.
const FINDING_LETTERS_MAX: usize = 1_000;

/// The first ones, and how many there were on top.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: Vec<String>,
    dropped: u64,
}

impl Findings {
    /// One more; it is cut where it is longer than anybody reads.
    pub(crate) fn add(&mut self, finding: &str) {
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(show::cut_to(finding, FINDING_LETTERS_MAX));
        } else {
            self.dropped += 1;
        }
    }

    /// All of these.
    pub(crate) fn extend(&mut self, more: Self) {
        self.dropped += more.dropped;
        more.kept.iter().for_each(|finding| self.add(finding));
    }

    /// Those that are kept.
    pub(crate) fn kept(&self) -> &[String] {
        &self.kept
    }

    /// How many there were on top.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted() {
        let (mut findings, mut more) = (Findings::default(), Findings::default());
        for _ in 0..FINDINGS_MAX - 1 {
            findings.add("a");
        }
        for _ in 0..FINDINGS_MAX + 7 {
            more.add(&"x".repeat(70_000));
        }
        findings.extend(more);
        assert_eq!((findings.kept().len(), findings.dropped()), (FINDINGS_MAX, FINDINGS_MAX as u64 + 6));
        assert!(findings.kept().iter().all(|finding| finding.chars().count() <= FINDING_LETTERS_MAX + 1));
    }
}
