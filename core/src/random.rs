//! Randomness, injected: ids, tokens and jitter come from here.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// A source of random bytes.
pub trait Random: fmt::Debug + Send + Sync + 'static {
    /// Fills the buffer.
    ///
    /// # Errors
    /// [`Internal`](ErrorKind::Internal) if the system's source fails; no id is ever made from less.
    fn fill(&self, buffer: &mut [u8]) -> Result<()>;
}

/// The operating system's cryptographically secure source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer)
            .map_err(|e| Error::new(ErrorKind::Internal, format!("the system gave no random bytes: {e}")))
    }
}

/// A duration between half of `base` and `base`, for jitter. Without random bytes it is `base`.
pub fn jittered(random: &dyn Random, base: Duration) -> Duration {
    let mut bytes = [0; 4];
    match random.fill(&mut bytes) {
        Ok(()) => base.mul_f64(0.5 + f64::from(u32::from_le_bytes(bytes)) / (2.0 * f64::from(u32::MAX))),
        Err(_) => base,
    }
}

/// The same bytes for the same seed: for tests, never for secrets.
#[cfg(feature = "test-util")]
#[derive(Debug)]
pub struct SeededRandom(std::sync::Mutex<rand::rngs::StdRng>);

#[cfg(feature = "test-util")]
impl SeededRandom {
    /// A source that repeats itself for the same seed.
    pub fn new(seed: u64) -> Self {
        use rand::SeedableRng;
        Self(std::sync::Mutex::new(rand::rngs::StdRng::seed_from_u64(seed)))
    }
}

#[cfg(feature = "test-util")]
impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        use rand::Rng;
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fill_bytes(buffer);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_between_half_and_whole() {
        for _ in 0..1_000 {
            let wait = jittered(&SystemRandom, Duration::from_secs(2));
            assert!((Duration::from_secs(1)..=Duration::from_secs(2)).contains(&wait));
        }
    }
}
