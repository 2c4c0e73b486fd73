//! Random bytes, drawn before they are used, so that a system that gives none is an error and no panic.

use aws_lc_rs::rand;
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use crate::{error::CeremonyError, run::defect};

/// Far more than splitting takes: a scalar takes 32 to 64 bytes, and there are 15 at most.
const BYTES: usize = 8_192;

/// Random bytes of the system's, each used once.
pub(super) struct Entropy {
    bytes: Zeroizing<Vec<u8>>,
    at: usize,
}

impl Entropy {
    pub(super) fn draw() -> Result<Self, CeremonyError> {
        let mut bytes = Zeroizing::new(vec![0; BYTES]);
        rand::fill(&mut bytes).map_err(|_| defect("the system gives no random numbers"))?;
        Ok(Self { bytes, at: 0 })
    }

    /// Whether every byte that was taken was there. Without this, nothing that was made of them may be used.
    pub(super) fn was_enough(&self) -> Result<(), CeremonyError> {
        if self.at <= BYTES { Ok(()) } else { Err(defect("more random numbers were wanted than were drawn")) }
    }
}

impl TryRng for Entropy {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// What is not there any more is nothing but ones: whoever draws scalars ends, and [`Entropy::was_enough`] says no.
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        let end = self.at.saturating_add(out.len());
        match self.bytes.get(self.at..end) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => out.fill(1),
        }
        self.at = end;
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}
