//! How long a value is fresh, and what is served when it is stale.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::random::Random;
use crate::time::{Ttl, minutes, seconds};

/// When a value that is still fresh is loaded anew in the background.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Eager {
    /// Never: it is loaded when it is stale.
    Never,
    /// Once this share of its TTL is over, such as 0.8.
    After(f64),
    /// At random, more likely the nearer the end is and the longer loads take; `1.0` is the usual factor, more is
    /// earlier. Spreads the loads of many processes without any of them knowing of the others (XFetch: A. Vattani
    /// et al., "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015).
    AtRandom(f64),
}

/// The settings of a cache, checked; [`Settings`] as they were given.
#[derive(Debug, Clone)]
pub(super) struct Policy<L = Ttl> {
    pub(super) ttl: L,
    pub(super) jitter: f64,
    pub(super) negative_ttl: Option<L>,
    /// How long after its end it is still served that there is no value, while that is loaded anew or if it can't be.
    pub(super) negative_grace: Duration,
    /// For how long changes may have been missed of a near copy that is served while its feed is away.
    pub(super) near_in_outage: Option<Duration>,
    pub(super) eager: Eager,
    /// How long after its TTL a value is still served while it is loaded anew.
    pub(super) stale: Duration,
    /// How long after its TTL a value is served if it can't be loaded.
    pub(super) fail_safe: Duration,
    /// After a failed load with a stale value at hand: how long the loader is not run again.
    pub(super) backoff: Duration,
    pub(super) soft_timeout: Option<Duration>,
    /// Bounds a whole call, waiting included.
    pub(super) hard_timeout: Option<Duration>,
    /// How long a caller waits for somebody else's load; unless set, [`Policy::wait`].
    pub(super) wait_timeout: Option<Duration>,
    /// How long a load may run that no caller has to wait for; unless set, [`Policy::longest_load`].
    pub(super) background_timeout: Option<Duration>,
    /// How many background loads run at once.
    pub(super) background_loads: usize,
    /// How long the failure of a load is the answer to those who ask after it.
    pub(super) failure_ttl: Duration,
    /// Whether a load goes on when nobody waits for it any more.
    pub(super) background: bool,
    /// Whether a store that does not answer is the caller's error, and not the loader's to make up for.
    pub(super) fail_closed: bool,
    pub(super) lease: L,
    pub(super) store_deadline: Duration,
}

pub(super) type Settings = Policy<Duration>;

impl Default for Settings {
    fn default() -> Self {
        Self {
            ttl: minutes(10),
            jitter: 0.0,
            negative_ttl: None,
            negative_grace: Duration::ZERO,
            near_in_outage: None,
            eager: Eager::Never,
            stale: Duration::ZERO,
            fail_safe: Duration::ZERO,
            backoff: seconds(30),
            soft_timeout: None,
            hard_timeout: None,
            wait_timeout: None,
            background_timeout: None,
            background_loads: 64,
            failure_ttl: Duration::from_millis(500),
            background: false,
            fail_closed: false,
            lease: seconds(3),
            store_deadline: Duration::from_millis(100),
        }
    }
}

impl Settings {
    pub(super) fn check(self) -> Result<Policy> {
        const LONGEST_LEASE: Duration = Duration::from_mins(10);
        const MOST_BACKGROUND_LOADS: usize = 65_536;
        if !(0.0..1.0).contains(&self.jitter) {
            return Err(Error::invalid("a jitter is a share of the life, at least 0 and less than 1"));
        }
        match self.eager {
            Eager::After(share) if !(share > 0.0 && share < 1.0) => {
                return Err(Error::invalid(
                    "an eager refresh begins after a share of the life, between 0 and 1",
                ));
            }
            Eager::AtRandom(factor) if !(factor > 0.0 && factor.is_finite()) => {
                return Err(Error::invalid("the factor of an eager refresh at random is greater than 0"));
            }
            _ => {}
        }
        if self.store_deadline.is_zero() || self.lease > LONGEST_LEASE {
            return Err(Error::invalid(
                "a store deadline is longer than zero, and a load's lease at most 10 minutes",
            ));
        }
        if self.soft_timeout.is_some_and(|soft| self.hard_timeout.is_some_and(|hard| soft > hard)) {
            return Err(Error::invalid("the soft timeout of a loader is not longer than the hard one"));
        }
        if self.background_loads == 0 || self.background_loads > MOST_BACKGROUND_LOADS {
            return Err(Error::invalid("from 1 to 65,536 background loads run at once"));
        }
        if self.background_timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::invalid("the timeout of background loads is longer than zero"));
        }
        Ok(Policy {
            ttl: Ttl::new(self.ttl)?,
            jitter: self.jitter,
            negative_ttl: self.negative_ttl.map(Ttl::new).transpose()?,
            negative_grace: self.negative_grace,
            near_in_outage: self.near_in_outage,
            eager: self.eager,
            stale: self.stale,
            fail_safe: self.fail_safe,
            backoff: self.backoff,
            soft_timeout: self.soft_timeout,
            hard_timeout: self.hard_timeout,
            wait_timeout: self.wait_timeout,
            background_timeout: self.background_timeout,
            background_loads: self.background_loads,
            failure_ttl: self.failure_ttl,
            background: self.background,
            fail_closed: self.fail_closed,
            lease: Ttl::new(self.lease)?,
            store_deadline: self.store_deadline,
        })
    }
}

impl Policy {
    /// How long after its life a value stays in the store, or the knowledge that there is none.
    pub(super) fn grace(&self, is_value: bool) -> Duration {
        if is_value { self.stale.max(self.fail_safe) } else { self.negative_grace }
    }

    /// Whether what has been stale for so long is served while it is loaded anew.
    pub(super) fn revalidates(&self, is_value: bool, age: Duration) -> bool {
        age <= if is_value { self.stale } else { self.negative_grace }
    }

    /// Whether what has been stale for so long is served if it can't be loaded.
    pub(super) fn makes_up(&self, is_value: bool, age: Duration) -> bool {
        age <= if is_value { self.fail_safe } else { self.negative_grace }
    }

    /// Whether what was read may be served when the store is away.
    pub(super) fn has_last_resort(&self) -> bool {
        !self.fail_safe.is_zero() || self.near_in_outage.is_some()
    }

    /// A life, shortened by up to the jitter, so that values that were stored together don't end together.
    pub(super) fn jittered(&self, life: Ttl, random: &dyn Random) -> Ttl {
        if self.jitter == 0.0 {
            return life;
        }
        Ttl::new(life.as_duration().mul_f64(1.0 - self.jitter * unit(random))).unwrap_or(Ttl::MIN)
    }

    /// How long a loaded value is fresh, or the knowledge that there is none; `None` if it is not to be stored.
    pub(super) fn life_of(
        &self,
        own: Option<Duration>,
        is_value: bool,
        random: &dyn Random,
    ) -> Result<Option<Ttl>> {
        let life = match (own, is_value, self.negative_ttl) {
            // The loader says so, or it is not to be remembered that there is none.
            (Some(Duration::ZERO), _, _) | (None, false, None) => return Ok(None),
            (Some(ttl), _, _) => Ttl::new(ttl)?,
            (None, true, _) => self.ttl,
            (None, false, Some(negative)) => negative,
        };
        Ok(Some(self.jittered(life, random)))
    }

    /// How long a caller waits for somebody else's load. Two leases unless set: that of a process that has died is over by
    /// then. Half of the hard timeout is left for the caller's own loader.
    pub(super) fn wait(&self) -> Duration {
        let wait = self.wait_timeout.unwrap_or_else(|| self.lease.as_duration().saturating_mul(2));
        self.hard_timeout.map_or(wait, |hard| wait.min(hard / 2))
    }

    /// How long of that a load of this process waits for a lease: what it loads then serves all who wait for it here.
    pub(super) fn lease_wait(&self) -> Duration {
        self.wait().saturating_mul(3) / 4
    }

    /// How long a load may run that no caller has to wait for, and for how long any load keeps its lease.
    pub(super) fn longest_load(&self) -> Duration {
        self.background_timeout.or(self.hard_timeout).unwrap_or(Duration::from_mins(1))
    }

    /// How long the store keeps a value of this life, or the knowledge that there is none.
    pub(super) fn kept(&self, life: Ttl, is_value: bool) -> Ttl {
        Ttl::new(life.as_duration().saturating_add(self.grace(is_value))).unwrap_or(Ttl::MAX)
    }

    /// How long from now a fresh value is to be loaded anew in the background: of a whole life of which this much is
    /// left. `None` for never, zero for now.
    pub(super) fn due_in(
        &self,
        left: Duration,
        life: Duration,
        load_millis: u32,
        random: &dyn Random,
    ) -> Option<Duration> {
        match self.eager {
            Eager::Never => None,
            Eager::After(share) => Some(left.saturating_sub(life.mul_f64(1.0 - share))),
            Eager::AtRandom(factor) => {
                // -ln of a number in (0, 1] is exponentially distributed.
                let early = -(1.0 - unit(random)).max(f64::MIN_POSITIVE).ln();
                let early = f64::from(load_millis) / 1_000.0 * factor * early;
                // One that is too long for a duration is longer than what is left.
                Some(
                    Duration::try_from_secs_f64(early)
                        .map_or(Duration::ZERO, |early| left.saturating_sub(early)),
                )
            }
        }
    }
}

/// A number in [0, 1); without random bytes it is 0.
fn unit(random: &dyn Random) -> f64 {
    let mut bytes = [0; 4];
    match random.fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    #[test]
    fn jitter_shortens_and_never_lengthens() {
        let policy = Settings { jitter: 0.2, ..Settings::default() }.check().unwrap();
        for _ in 0..1_000 {
            let life = policy.jittered(policy.ttl, &SystemRandom);
            assert!(life <= policy.ttl && life.as_millis() >= 480_000, "{life:?}");
        }
    }

    #[test]
    fn settings_out_of_bounds_are_refused() {
        let bad: [fn(&mut Settings); 10] = [
            |s| s.background_loads = 0,
            |s| s.background_timeout = Some(Duration::ZERO),
            |s| s.ttl = Duration::ZERO,
            |s| s.jitter = 1.0,
            |s| s.jitter = f64::NAN,
            |s| s.negative_ttl = Some(Duration::ZERO),
            |s| s.eager = Eager::After(1.0),
            |s| s.eager = Eager::AtRandom(f64::INFINITY),
            |s| s.store_deadline = Duration::ZERO,
            |s| (s.soft_timeout, s.hard_timeout) = (Some(seconds(2)), Some(seconds(1))),
        ];
        for change in bad {
            let mut settings = Settings::default();
            change(&mut settings);
            assert!(settings.check().is_err());
        }
    }

    #[test]
    fn an_eager_refresh_is_due_near_the_end() {
        let after = Settings { eager: Eager::After(0.8), ..Settings::default() }.check().unwrap();
        let due_in = |left, life| after.due_in(left, life, 0, &SystemRandom);
        assert_eq!(due_in(minutes(3), minutes(10)), Some(minutes(1)));
        assert_eq!(due_in(minutes(1), minutes(10)), Some(Duration::ZERO));
        assert_eq!(due_in(seconds(30), seconds(30)), Some(seconds(24)), "of a life of its own");
        let random = Settings { eager: Eager::AtRandom(1.0), ..Settings::default() }.check().unwrap();
        let due_in = |left, load| random.due_in(left, minutes(10), load, &SystemRandom);
        assert!(due_in(minutes(9), 1) > Some(minutes(8)), "a load of a millisecond is never so early");
        assert!((0..1_000).any(|_| due_in(seconds(1), 1_000) == Some(Duration::ZERO)));
        let never = Settings::default().check().unwrap();
        assert_eq!(never.due_in(Duration::ZERO, minutes(10), 1_000, &SystemRandom), None);
    }
}
