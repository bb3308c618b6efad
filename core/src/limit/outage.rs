//! What a limiter does while its store is away.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::bounded::Bounded;
use super::moment::LimitTime;
use super::usage::Usage;
use super::{DecidedBy, Decision, Tier};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::time::Timestamp;

/// What is decided while the store does not answer: the error is that it is unavailable, timed out, or throttles.
///
/// Any other error is none of that, and is answered as it is: a bad subject, a wrong configuration, a store that was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnOutage {
    /// The error is answered, and the caller decides.
    #[default]
    Fail,
    /// Everything is denied, with [`OnOutage::RETRY_AFTER`]: for what must not be tried without a limit.
    Closed,
    /// Everything is allowed: for what is limited to be fair, and not to be safe.
    Open,
    /// Each process counts for itself, by its share of the limit: of four processes a quarter each, but at least one permit in a
    /// period and at once; what costs more at once than a share has is denied, with [`OnOutage::RETRY_AFTER`]. Counts begin afresh with each process; what was counted here is not made known to the store. Over
    /// [`OnOutage::LOCAL_SUBJECTS`] subjects at once, the later ones share one count.
    Local {
        /// How many processes there are, at least 1.
        processes: u32,
    },
}

impl OnOutage {
    /// When somebody who was denied because the store is away may try again.
    pub const RETRY_AFTER: Duration = Duration::from_secs(1);
    /// How many subjects a process counts by itself.
    pub const LOCAL_SUBJECTS: usize = 10_000;

    pub(super) fn covers(error: &Error) -> bool {
        matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Throttled)
    }
}

/// The policy of a limiter, and what it has counted by itself.
pub(super) struct Outage {
    policy: OnOutage,
    local: Mutex<Local>,
}

struct Local {
    subjects: Bounded<Usage>,
    /// Of all for whom there is no room.
    others: Usage,
}

impl fmt::Debug for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.policy)
    }
}

impl Outage {
    pub(super) fn new(policy: OnOutage) -> Result<Self> {
        if policy == (OnOutage::Local { processes: 0 }) {
            return Err(Error::invalid("a share of a limit is that of at least one process"));
        }
        let local = Local { subjects: Bounded::new(OnOutage::LOCAL_SUBJECTS), others: Usage::default() };
        Ok(Self { policy, local: Mutex::new(local) })
    }

    /// What is decided in place of an error.
    pub(super) fn decide(
        &self,
        error: Error,
        key: &Key,
        tiers: &[Tier],
        cost: u32,
        clock: &dyn Clock,
    ) -> Result<Decision> {
        if !OnOutage::covers(&error) {
            return Err(error);
        }
        match self.policy {
            OnOutage::Fail => Err(error),
            OnOutage::Open => Ok(Decision::allowed(Vec::new()).by(DecidedBy::Open)),
            OnOutage::Closed => {
                Ok(Decision::denied(OnOutage::RETRY_AFTER, 0, Vec::new()).by(DecidedBy::Closed))
            }
            OnOutage::Local { processes } => {
                let shares = tiers.iter().map(|tier| tier.share(processes)).collect::<Result<Vec<_>>>()?;
                let decision = match self.count(key, &shares, cost, clock) {
                    // The store would allow it at some time: a share never does.
                    Decision::CostExceedsCapacity { tier }
                        if tiers.iter().all(|tier| cost <= tier.burst()) =>
                    {
                        Decision::denied(OnOutage::RETRY_AFTER, tier, Vec::new())
                    }
                    decision => decision,
                };
                Ok(decision.by(DecidedBy::Local))
            }
        }
    }

    fn count(&self, key: &Key, tiers: &[Tier], cost: u32, clock: &dyn Clock) -> Decision {
        let now = clock.now();
        let steady = Timestamp::from_micros(0).saturating_add(now.since_origin());
        let at = LimitTime::new(steady, clock.wall());
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        if !local.subjects.has_room(key, now) {
            return local.others.check(tiers, cost, at);
        }
        let mut usage = local.subjects.remove(key).unwrap_or_default();
        let decision = usage.check(tiers, cost, at);
        let end = now.saturating_add(usage.lasts(at));
        local.subjects.put(key, usage, end, now);
        decision
    }
}
