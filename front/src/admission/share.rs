//! The few calls that are always taken, and how callers share them out.
//!
//! Each caller has an equal share, and what one leaves, the others have. So whoever has little under way is among the few, however much others have: nobody
//! else's calls can have his refused. Where callers alone are more than these few, none has a share.

use super::ALWAYS_TAKEN;

/// Whether all of these are few, with so many `more`: what callers have under way, of each of whom no more than `most` count.
pub(super) fn are_few(counts: impl Iterator<Item = u32>, most: u32, more: u32) -> bool {
    let left = ALWAYS_TAKEN.checked_sub(more);
    let mut counted = counts.map(|calls| calls.min(most));
    left.is_some_and(|left| counted.try_fold(left, u32::checked_sub).is_some())
}

/// How many calls a caller has under way at most that are all among the few.
pub(super) fn share<I: Iterator<Item = u32>>(counts: impl Fn() -> I) -> u32 {
    (1..=ALWAYS_TAKEN).take_while(|most| are_few(counts(), *most, 0)).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share_of<const N: usize>(counts: [u32; N]) -> u32 {
        share(|| counts.into_iter())
    }

    #[test]
    fn one_caller_has_all_of_them_and_several_have_as_many_each() {
        assert_eq!(share_of([]), ALWAYS_TAKEN);
        assert_eq!(share_of([1_000]), ALWAYS_TAKEN);
        assert_eq!(share_of([1_000, 1_000]), 32);
        assert_eq!(share_of([1_000, 1_000, 1_000]), 21);
    }

    #[test]
    fn what_a_caller_leaves_the_others_have() {
        assert_eq!(share_of([1_000, 1]), 63);
        assert_eq!(share_of([1_000, 1_000, 4]), 30);
        assert_eq!(share_of([10, 20, 34]), ALWAYS_TAKEN);
    }

    #[test]
    fn among_more_callers_than_these_few_nobody_has_a_share() {
        assert_eq!(share_of([1; 64]), ALWAYS_TAKEN);
        assert_eq!(share_of([2; 64]), 1);
        assert_eq!(share_of([1; 65]), 0);
        assert_eq!(share_of([u32::MAX; 65]), 0);
    }
}
