//! What is asked of failed attempts, and answered.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::time::{Timestamp, Ttl};

/// The longest name of a source, in bytes.
pub(super) const MAX_SOURCE_NAME: usize = 512;

/// When failures lock out, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lockout {
    pub(crate) failures: u32,
    pub(crate) window: Ttl,
    pub(crate) first: Ttl,
    pub(crate) longest: Ttl,
    pub(crate) memory: Ttl,
}

impl Lockout {
    /// The longest window, lock-out and memory: 31 days.
    pub const MAX: Duration = Duration::from_hours(31 * 24);

    /// `failures` within `window`, from the first of them on, lock out. The first lock-out takes `first`, each later one twice
    /// the one before, to at most `longest`; for `memory` after its end a lock-out makes the next one longer.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for no failures or more than a million, a duration of zero or over
    /// [`Self::MAX`], and a first lock-out that is longer than the longest.
    pub fn new(
        failures: u32,
        window: Duration,
        first: Duration,
        longest: Duration,
        memory: Duration,
    ) -> Result<Self> {
        if failures == 0 || failures > 1_000_000 {
            return Err(Error::invalid(format!("1 to 1,000,000 failures lock out, got {failures}")));
        }
        if [window, first, longest, memory].into_iter().any(|duration| duration > Self::MAX)
            || first > longest
        {
            return Err(Error::invalid(
                "a lock-out takes at most 31 days, and the first no more than the longest",
            ));
        }
        let ttl = Ttl::new;
        Ok(Self {
            failures,
            window: ttl(window)?,
            first: ttl(first)?,
            longest: ttl(longest)?,
            memory: ttl(memory)?,
        })
    }

    /// How many failures lock out.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Window, first and longest lock-out and memory, in microseconds: as scripts take them.
    pub fn micros(&self) -> [u64; 4] {
        [self.window, self.first, self.longest, self.memory].map(|ttl| ttl.as_millis() * 1_000)
    }
}

/// An attempt that is to be made: it is counted as failed before, so that no more can be made at once than may fail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptRequest {
    /// When all failures of the key together lock out.
    pub overall: Lockout,
    /// Where it comes from, in 1 to 512 bytes, and when the failures from there lock it out; none if nobody knows, or asks.
    pub source: Option<(String, Lockout)>,
    /// Whether only a source that has succeeded before is admitted.
    pub only_known: bool,
}

impl AttemptRequest {
    /// An attempt, wherever it comes from.
    pub const fn new(overall: Lockout) -> Self {
        Self { overall, source: None, only_known: false }
    }

    /// From this source.
    #[must_use]
    pub fn from_source(mut self, source: impl Into<String>, lockout: Lockout) -> Self {
        self.source = Some((source.into(), lockout));
        self
    }

    /// Refuses a source whose name is empty, or longer than [`Failures::MAX_SOURCE_NAME`](super::Failures::MAX_SOURCE_NAME).
    pub fn check(&self) -> Result<()> {
        self.source.as_ref().map_or(Ok(()), |(name, _)| check_source(name))
    }

    /// Only from a source that has succeeded before.
    #[must_use]
    pub const fn only_known(mut self, only: bool) -> Self {
        self.only_known = only;
        self
    }
}

/// Which failures lock out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LockedBy {
    /// All of the key.
    Overall,
    /// Those from the source.
    Source,
}

/// What came of announcing an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// It may be made, and counts as failed until something else is said of it.
    Admitted(AttemptTicket),
    /// It must not be made; nothing was counted.
    Locked {
        /// When the lock-out ends.
        retry_after: Duration,
        /// Whose failures it is.
        by: LockedBy,
    },
    /// Only known sources were to be admitted, and this one is none; nothing was counted or written.
    Unknown,
}

/// What an attempt was counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AttemptTicket {
    /// The window of the failures of the key, by its first microsecond; zero if it was not counted there.
    pub overall: Timestamp,
    /// The same, of the source.
    pub source: Timestamp,
    /// Whether the source has succeeded before.
    pub known: bool,
    /// How long the lock-out is that begins with this attempt, unless it succeeds.
    pub locks_for: Option<Duration>,
}

impl AttemptTicket {
    /// A ticket, for backends.
    pub const fn new(
        overall: Timestamp,
        source: Timestamp,
        known: bool,
        locks_for: Option<Duration>,
    ) -> Self {
        Self { overall, source, known, locks_for }
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// It does not count, as if it had not been announced.
    Withdrawn {
        /// Where it came from.
        source: Option<String>,
        /// What it was counted in.
        ticket: AttemptTicket,
    },
    /// It succeeded: neither it nor any failure of its source counts from now on, and the source is known.
    Succeeded {
        /// Where it came from.
        source: String,
        /// What it was counted in.
        ticket: AttemptTicket,
        /// For how long the source is known.
        known_for: Ttl,
    },
    /// All failures and lock-outs of the key and of its sources are forgotten; known sources stay so.
    Unlocked,
}

impl Settlement {
    /// Refuses a source whose name is empty, or longer than [`Failures::MAX_SOURCE_NAME`](super::Failures::MAX_SOURCE_NAME).
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Withdrawn { source: Some(name), .. } | Self::Succeeded { source: name, .. } => {
                check_source(name)
            }
            Self::Withdrawn { source: None, .. } | Self::Unlocked => Ok(()),
        }
    }
}

fn check_source(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_SOURCE_NAME {
        let most = MAX_SOURCE_NAME;
        return Err(Error::invalid(format!("a source has 1 to {most} bytes, got {}", name.len())));
    }
    Ok(())
}
