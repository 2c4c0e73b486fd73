//! The chain of transitions, as whoever read the manifests computes it.

use hallmark_policy::authority::{self, transition};

/// Where a history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Before the first manifest.
    Genesis,
    /// At a transition that somebody else computed.
    Transition([u8; 32]),
}

/// Manifests, or statements of an authority that rotates by age, in the order in which they became active. Epochs that were
/// given up are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    start: Start,
    digests: Vec<[u8; 32]>,
    transition: [u8; 32],
    generation: Option<u64>,
}

impl History {
    /// A history without manifests yet.
    #[must_use]
    pub fn new(start: Start) -> Self {
        let transition = match start {
            Start::Genesis => [0; 32],
            Start::Transition(transition) => transition,
        };
        Self { start, digests: Vec::new(), transition, generation: None }
    }

    /// The same, and a manifest with this SHA-256.
    #[must_use]
    pub fn then(mut self, manifest_sha256: [u8; 32]) -> Self {
        self.transition = transition(&manifest_sha256, &self.transition);
        self.digests.push(manifest_sha256);
        self.generation = None;
        self
    }

    /// The same, and the statement of an authority that rotates by age. It fixes the generation.
    #[must_use]
    pub fn then_generation(self, authority: &str, generation: u64) -> Self {
        let history = self.then(authority::statement_sha256(authority, generation));
        Self { generation: Some(generation), ..history }
    }

    /// Where it begins.
    #[must_use]
    pub fn start(&self) -> Start {
        self.start
    }

    /// How many manifests or statements there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::try_from(self.digests.len()).unwrap_or(u64::MAX)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// The transition that it ends with.
    #[must_use]
    pub fn transition(&self) -> [u8; 32] {
        self.transition
    }

    /// SHA-256 of the newest manifest or statement.
    #[must_use]
    pub fn newest(&self) -> Option<[u8; 32]> {
        self.digests.last().copied()
    }

    /// The generation, where statements fix it.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        self.generation
    }

    /// The smallest generation that the newest can have. An epoch that was given up keeps its number, so it can be larger.
    #[must_use]
    pub fn generation_min(&self) -> u64 {
        match self.start {
            Start::Genesis => self.len(),
            Start::Transition(_) => self.len().saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use hallmark_policy::hex;

    use super::*;

    /// SHA-256 of `manifest-A` and of `manifest-B`.
    const A: &str = "77241f074521adbcaeb153a162915828dd68b2c5bb5d7eaf3745e4fb83f499b6";
    const B: &str = "0dcbf1d82d51d37215dc5f6b78740dc2a6c713517378839612f70517efff01b8";

    fn bytes(text: &str) -> [u8; 32] {
        let digits: Vec<u8> = (0..64).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
        digits.try_into().unwrap()
    }

    #[test]
    fn transitions_are_contrasts_from_genesis_and_from_any_of_them_on() {
        let first = History::new(Start::Genesis).then(bytes(A));
        assert_eq!(hex(&first.transition()), "6b0e8483f2df31f24271c14d133669bf08000d3502c0e44078bf3aa8339e5c77");
        let third = first.clone().then(bytes(B)).then(bytes(A));
        assert_eq!(hex(&third.transition()), "0a38a5fc4e052d16d5e296dc608c34a462c031b064fba47fbbfddbe9c7884f22");
        assert_eq!((third.newest(), third.generation_min()), (Some(bytes(A)), 3));
        let later = History::new(Start::Transition(first.transition())).then(bytes(B)).then(bytes(A));
        assert_eq!((later.transition(), later.generation_min()), (third.transition(), 3));
    }

    #[test]
    fn statements_fix_the_generation_and_manifests_do_not() {
        let history = History::new(Start::Genesis).then_generation("lab", 1).then_generation("lab", 4);
        assert_eq!((history.generation(), history.len()), (Some(4), 2));
        assert_eq!(history.then(bytes(A)).generation(), None);
    }
}
