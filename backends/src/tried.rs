//! Which tokens have failed a job.

use crate::backend::bit;

/// Which tokens have failed a job, so that it goes to another. Whoever gets one with an error gives it back when the job is done again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    holders: u64,
    /// All that were there have failed it once, and it begins anew.
    anew: bool,
}

impl Tried {
    /// These, and one more.
    pub(crate) fn and(self, holder: usize) -> Self {
        Self { holders: self.holders | bit(holder), ..self }
    }

    pub(crate) fn has(self, holder: usize) -> bool {
        self.holders & bit(holder) != 0
    }

    /// As if nobody had failed it; once.
    pub(crate) fn anew(self) -> Option<Self> {
        (!self.anew).then_some(Self { holders: 0, anew: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_among_the_tokens_was_not_tried() {
        let tried = Tried::default().and(0).and(7);
        assert!(tried.has(0) && tried.has(7) && !tried.has(1) && !tried.has(64) && !tried.has(usize::MAX));
    }

    #[test]
    fn it_begins_anew_once() {
        let anew = Tried::default().and(3).anew().unwrap();
        assert!(!anew.has(3) && anew.and(3).has(3));
        assert_eq!(anew.and(3).anew(), None);
    }
}
