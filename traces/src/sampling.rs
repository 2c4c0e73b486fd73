//! Which calls are traced: a share of all, drawn by this process alone.

use crate::id::random;

/// Bits of a draw, as many as a number of this kind tells apart.
const DRAW_BITS: u32 = 53;

/// A share of calls, from none to all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

/// A number that is no share.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("`{0}` is no share of calls; write a number from 0.0 (none) to 1.0 (all), such as 0.01 for one in a hundred")]
pub struct RatioError(f64);

impl Ratio {
    /// Every call.
    pub const ALL: Self = Self(1.0);

    /// A share.
    ///
    /// # Errors
    /// [`RatioError`] if it is not from 0 to 1.
    pub fn new(share: f64) -> Result<Self, RatioError> {
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err(RatioError(share)) }
    }

    /// As a number.
    #[must_use]
    pub fn share(self) -> f64 {
        self.0
    }

    /// Whether this call is among them. The draw is this process's own: an identifier of the caller's would let the caller choose.
    pub(crate) fn draw(self) -> bool {
        if self.0 <= 0.0 {
            return false;
        }
        self.0 >= 1.0 || random().is_some_and(|bytes| self.takes(u64::from_be_bytes(bytes)))
    }

    fn takes(self, drawn: u64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "it has no more bits than the number tells apart")]
        let (drawn, all) = ((drawn >> (u64::BITS - DRAW_BITS)) as f64, (1_u64 << DRAW_BITS) as f64);
        drawn < self.0 * all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_from_none_to_all() {
        for share in [0.0, 0.001, 0.5, 1.0] {
            assert_eq!(Ratio::new(share).unwrap().share(), share);
        }
        for share in [-0.1, 1.000_001, 100.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let told = Ratio::new(share).unwrap_err().to_string();
            assert!(told.contains("from 0.0 (none) to 1.0 (all)"), "{told}");
        }
    }

    #[test]
    fn of_none_and_all_nothing_is_drawn() {
        assert!((0..100).all(|_| Ratio::ALL.draw() && !Ratio::new(0.0).unwrap().draw()));
    }

    #[test]
    fn about_as_many_are_taken_as_the_share_says() {
        let quarter = Ratio::new(0.25).unwrap();
        assert!(quarter.takes(0) && quarter.takes((1 << 62) - 1));
        assert!(!quarter.takes(1 << 62) && !quarter.takes(u64::MAX));
        let taken = (0..4_000).filter(|_| quarter.draw()).count();
        // 13 standard deviations.
        assert!((640..=1_360).contains(&taken), "{taken}");
    }
}
