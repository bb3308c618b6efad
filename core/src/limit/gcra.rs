//! The generic cell rate algorithm in exact whole numbers.

use std::time::Duration;

use super::{Decision, Tier, TierStatus};
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// The state of one tier: the theoretical arrival time (TAT) of the next permit, as whole microseconds and a
/// rest in the tier's fractions ([`Tier::emission`]).
///
/// What is *used* of the tier is the time from now to the TAT. Taking `n` permits adds `n` emission
/// intervals to it, time takes it away, and a request is allowed while it stays within `burst` intervals.
/// Backends that can't run this code (a script) must do the same arithmetic; the suite compares them.
///
/// More than the burst can't be used. A time that is further ahead was stored before the clock was set back; it is as good as
/// one a burst ahead, and becomes that with the next check or refund, whatever that decides. So nobody waits longer for a
/// clock than for a limit that is spent.
///
/// # Stored form
/// A backend that stores the state outside the process stores [`parts`](Self::parts), one pair for each tier under its
/// [`id`](Tier::id), and reads them back with [`from_parts`](Self::from_parts). Redis has them as the text
/// `{micros}:{rest}`. What is not stored is [`Gcra::default`], a full tier; what is full again
/// ([`full_in`](Self::full_in) is zero) need not be stored any longer.
///
/// ```
/// use std::time::Duration;
/// use stanchion::limit::{Gcra, Tier};
/// use stanchion::time::Timestamp;
///
/// let tier = Tier::new(3, Duration::from_secs(1))?;
/// let now = Timestamp::from_micros(1_750_000_000_000_000);
/// let mut states = [Gcra::default()];
/// assert!(Gcra::check(&mut states, &[tier], 1, now).is_allowed());
/// // A third of a second from now is 333,333 whole microseconds and one third of one.
/// let (micros, rest) = states[0].parts();
/// assert_eq!((micros, rest), (1_750_000_000_333_333, 1));
/// assert_eq!(Gcra::from_parts(micros, rest)?, states[0]);
/// # Ok::<(), stanchion::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gcra {
    micros: u64,
    rest: u64,
}

impl Gcra {
    /// The first time that can't be stored: 2^53 µs, in the year 2255. From there on, numbers of Lua and of JavaScript
    /// are not exact.
    const TOO_LATE: u64 = 1 << 53;

    /// The theoretical arrival time as it is stored: whole microseconds of the clock that the backend counts by, and a rest
    /// in fractions of a microsecond, whose denominator is that of the tier's [`emission`](Tier::emission) and which is
    /// less than it.
    #[must_use]
    pub const fn parts(self) -> (u64, u64) {
        (self.micros, self.rest)
    }

    /// A state that was stored as its [`parts`](Self::parts). They say nothing of their tier: keep them under its
    /// [`id`](Tier::id), since those of one tier mean something else for another.
    ///
    /// Any time below 2^53 µs is taken, also one that is long over (a full tier) or further ahead than a burst takes (the
    /// clock has gone back), which counts as a tier that is spent. A rest of the tier's denominator or more counts as the whole microseconds that it makes, and is stored as
    /// such with the next change.
    ///
    /// # Errors
    /// [`Codec`](crate::ErrorKind::Codec) for what no tier can have stored: a time of 2^53 µs or later, a rest of
    /// [`Tier::MAX_COUNT`] or more.
    pub fn from_parts(micros: u64, rest: u64) -> Result<Self> {
        if micros >= Self::TOO_LATE || rest >= u64::from(Tier::MAX_COUNT) {
            return Err(Error::new(ErrorKind::Codec, "what is stored is no state of a rate limit"));
        }
        Ok(Self { micros, rest })
    }

    /// What is used, in fractions of the tier's emission interval's microseconds.
    fn used(self, tier: &Tier, now: Timestamp) -> u64 {
        self.ahead(tier, now).min(capacity(tier))
    }

    /// The same, but more than all of the tier where the clock was set back.
    fn ahead(self, tier: &Tier, now: Timestamp) -> u64 {
        let (_, denominator) = tier.emission();
        match self.micros.checked_sub(now.as_micros()) {
            Some(ahead) => ahead.saturating_mul(denominator).saturating_add(self.rest),
            None => 0,
        }
    }

    fn after(tier: &Tier, now: Timestamp, used: u64) -> Self {
        let (_, denominator) = tier.emission();
        Self { micros: now.as_micros() + used / denominator, rest: used % denominator }
    }

    /// What is left to a subject in this state.
    pub fn status(self, tier: &Tier, now: Timestamp) -> TierStatus {
        let (numerator, denominator) = tier.emission();
        let used = self.used(tier, now);
        let capacity = capacity(tier);
        let remaining = capacity.saturating_sub(used) / numerator;
        let for_one_more = used.saturating_sub(capacity.saturating_sub((remaining + 1) * numerator));
        TierStatus::new(
            u32::try_from(remaining).unwrap_or(u32::MAX),
            if remaining == u64::from(tier.burst()) {
                Duration::ZERO
            } else {
                micros(for_one_more, denominator)
            },
            micros(used, denominator),
        )
    }

    /// When the tier is full again, and the state can be forgotten.
    pub fn full_in(self, tier: &Tier, now: Timestamp) -> Duration {
        micros(self.used(tier, now), tier.emission().1)
    }

    /// The state after giving back `cost` permits.
    #[must_use]
    pub fn refunded(self, tier: &Tier, cost: u32, now: Timestamp) -> Self {
        let (numerator, _) = tier.emission();
        Self::after(tier, now, self.used(tier, now).saturating_sub(numerator.saturating_mul(u64::from(cost))))
    }

    /// Takes `cost` permits from every tier or from none. Where it is not allowed, only such states are changed as are further
    /// ahead than a burst takes; a backend stores what has changed. `states` and `tiers` have the same length.
    pub fn check(states: &mut [Self], tiers: &[Tier], cost: u32, now: Timestamp) -> Decision {
        if let Some(tier) = tiers.iter().position(|tier| cost > tier.burst()) {
            return Decision::CostExceedsCapacity { tier };
        }
        let mut wait: Option<(Duration, usize)> = None;
        for (index, (state, tier)) in states.iter().zip(tiers).enumerate() {
            let (numerator, denominator) = tier.emission();
            let wanted = state.used(tier, now).saturating_add(numerator * u64::from(cost));
            let excess = wanted.saturating_sub(capacity(tier));
            let needed = micros(excess, denominator);
            // A cost of zero takes nothing, so it is allowed even where the store's clock went back.
            if cost > 0 && excess > 0 && wait.is_none_or(|(longest, _)| needed > longest) {
                wait = Some((needed, index));
            }
        }
        // A cost of zero changes nothing: it is a look.
        for (state, tier) in states.iter_mut().zip(tiers).filter(|_| cost > 0) {
            let ((numerator, _), used) = (tier.emission(), state.used(tier, now));
            if wait.is_none() {
                *state = Self::after(tier, now, used + numerator * u64::from(cost));
            } else if state.ahead(tier, now) > used {
                *state = Self::after(tier, now, used);
            }
        }
        let tiers = states.iter().zip(tiers).map(|(state, tier)| state.status(tier, now)).collect();
        match wait {
            None => Decision::Allowed { tiers },
            Some((retry_after, tier)) => Decision::Denied { retry_after, tier, tiers },
        }
    }
}

/// All of the tier, in fractions of its emission interval's microseconds.
fn capacity(tier: &Tier) -> u64 {
    tier.emission().0 * u64::from(tier.burst())
}

/// Fractions as microseconds, rounded up: a wait is never too short.
fn micros(fractions: u64, denominator: u64) -> Duration {
    Duration::from_micros(fractions.div_ceil(denominator))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(1_750_000_000_000_000 + micros)
    }

    #[test]
    fn a_burst_is_taken_at_once_and_comes_back_evenly() {
        let tiers = [Tier::new(3, SECOND).unwrap()];
        let mut state = [Gcra::default()];
        for left in [2, 1, 0] {
            match Gcra::check(&mut state, &tiers, 1, at(0)) {
                Decision::Allowed { tiers } => assert_eq!(tiers[0].remaining, left),
                other => panic!("{other:?}"),
            }
        }
        let denied = Gcra::check(&mut state, &tiers, 1, at(0));
        assert_eq!(denied.retry_after(), Some(Duration::from_micros(333_334)));
        assert!(!Gcra::check(&mut state, &tiers, 1, at(333_333)).is_allowed());
        assert!(Gcra::check(&mut state, &tiers, 1, at(333_334)).is_allowed());
        // The fraction is not lost: the third permit after three thirds of a second.
        assert!(Gcra::check(&mut state, &tiers, 1, at(666_667)).is_allowed());
        assert!(Gcra::check(&mut state, &tiers, 1, at(1_000_000)).is_allowed());
    }

    #[test]
    fn a_denied_request_takes_nothing_from_any_tier() {
        let tiers = [Tier::new(10, SECOND).unwrap(), Tier::new(1, SECOND).unwrap()];
        let mut states = [Gcra::default(); 2];
        assert!(Gcra::check(&mut states, &tiers, 1, at(0)).is_allowed());
        for _ in 0..5 {
            match Gcra::check(&mut states, &tiers, 1, at(0)) {
                Decision::Denied { tier: 1, tiers, .. } => assert_eq!(tiers[0].remaining, 9),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(Gcra::check(&mut states, &tiers, 2, at(0)), Decision::CostExceedsCapacity { tier: 1 });
    }

    #[test]
    fn what_no_tier_can_have_stored_is_refused() {
        let latest = (Gcra::TOO_LATE - 1, u64::from(Tier::MAX_COUNT) - 1);
        assert_eq!(Gcra::from_parts(latest.0, latest.1).unwrap().parts(), latest);
        for (micros, rest) in [(latest.0 + 1, 0), (u64::MAX, 0), (0, latest.1 + 1), (0, u64::MAX)] {
            assert_eq!(Gcra::from_parts(micros, rest).unwrap_err().kind(), ErrorKind::Codec);
        }
        assert_eq!(Gcra::from_parts(0, 0).unwrap(), Gcra::default());
    }

    #[test]
    fn a_rest_of_whole_microseconds_counts_as_those() {
        let tier = Tier::new(3, SECOND).unwrap();
        let now = at(0);
        let (odd, even) =
            (Gcra::from_parts(now.as_micros(), 7).unwrap(), Gcra::from_parts(now.as_micros() + 2, 1));
        let even = even.unwrap();
        assert_eq!(odd.status(&tier, now), even.status(&tier, now));
        let (mut odd, mut even) = ([odd], [even]);
        assert_eq!(Gcra::check(&mut odd, &[tier], 1, now), Gcra::check(&mut even, &[tier], 1, now));
        assert_eq!(odd[0].parts(), even[0].parts());
    }

    /// Five a minute are spent, and the clock is set back by an hour.
    #[test]
    fn a_clock_set_back_denies_no_longer_than_a_burst_takes() {
        let hour = 3_600_000_000;
        let tier = Tier::new(5, Duration::from_mins(1)).unwrap();
        let mut spent = [Gcra::default()];
        assert!(Gcra::check(&mut spent, &[tier], 5, at(hour)).is_allowed());
        let (next, full) = (Duration::from_secs(12), Duration::from_mins(1));
        let status = spent[0].status(&tier, at(0));
        assert_eq!((status.remaining, status.next_in, status.full_in), (0, next, full));
        assert_eq!(spent[0].full_in(&tier, at(0)), full);
        let refunded = spent[0].refunded(&tier, 5, at(0));
        assert_eq!(refunded.status(&tier, at(0)).remaining, 5);
        assert_eq!(Gcra::check(&mut spent, &[tier], 1, at(0)).retry_after(), Some(next));
        assert!(!Gcra::check(&mut spent, &[tier], 1, at(11_999_999)).is_allowed());
        assert_eq!(spent[0].full_in(&tier, at(60_000_000)), Duration::ZERO);
        assert!(Gcra::check(&mut spent, &[tier], 1, at(12_000_000)).is_allowed());
        // A denial stores nothing else.
        let before = spent;
        assert!(!Gcra::check(&mut spent, &[tier], 1, at(12_000_001)).is_allowed());
        assert_eq!(spent, before);
    }

    fn whole_micros(wait: Duration) -> u64 {
        u64::try_from(wait.as_micros()).unwrap()
    }

    /// From a few permits a day to millions a second.
    fn tier() -> impl Strategy<Value = Tier> {
        let count = || prop_oneof![1_u32..20, 1_u32..=Tier::MAX_COUNT];
        let period =
            prop_oneof![1_u64..5_000, 1_u64..100_000_000, Just(86_400_000_000), Just(2_592_000_000_000)];
        (count(), period, count())
            .prop_filter_map("too fine for exact arithmetic", |(limit, period, burst)| {
                Tier::with_burst(limit, Duration::from_micros(period), burst).ok()
            })
    }

    proptest! {
        #[test]
        fn stored_and_read_back_it_is_the_same(
            tier in tier(), steps in prop::collection::vec((0_u64..20_000_000, 0_u32..20), 1..50),
        ) {
            let (mut kept, mut stored, mut now) = ([Gcra::default()], Gcra::default().parts(), 0);
            for (wait, cost) in steps {
                now += wait;
                let mut read = [Gcra::from_parts(stored.0, stored.1).unwrap()];
                prop_assert_eq!(
                    Gcra::check(&mut read, &[tier], cost, at(now)),
                    Gcra::check(&mut kept, &[tier], cost, at(now))
                );
                stored = read[0].parts();
                prop_assert!(stored.1 < tier.emission().1);
            }
        }

        // Whatever is stored, and however far the clock is from it, nothing overflows.
        #[test]
        fn any_stored_state_can_be_counted_with(
            micros in 0..Gcra::TOO_LATE, rest in 0..u64::from(Tier::MAX_COUNT), now in 0..Gcra::TOO_LATE,
            tier in tier(), cost in 0_u32..10,
        ) {
            let now = Timestamp::from_micros(now);
            let mut state = [Gcra::from_parts(micros, rest).unwrap()];
            let allowed = Gcra::check(&mut state, &[tier], cost, now).is_allowed();
            prop_assert!(allowed || cost > 0, "nothing is always there");
            let _standing = state[0].refunded(&tier, cost, now).status(&tier, now);
        }

        #[test]
        fn never_more_than_burst_plus_rate(
            limit in 1_u32..2_000, period in 1_u64..5_000_000, burst in 1_u32..500,
            steps in prop::collection::vec((0_u64..200_000, 0_u32..20), 1..200),
        ) {
            let tier = Tier::with_burst(limit, Duration::from_micros(period), burst).unwrap();
            let (mut state, mut now, mut taken) = ([Gcra::default()], 0_u64, 0_u64);
            for (wait, cost) in steps {
                now += wait;
                let before = state[0].status(&tier, at(now));
                let decision = Gcra::check(&mut state, &[tier], cost, at(now));
                prop_assert_eq!(decision.is_allowed(), cost <= before.remaining, "remaining tells the truth");
                if decision.is_allowed() { taken += u64::from(cost); }
                if let Some(wait) = decision.retry_after() {
                    let mut later = state;
                    prop_assert!(Gcra::check(&mut later, &[tier], cost, at(now + whole_micros(wait))).is_allowed());
                    let mut sooner = state;
                    prop_assert!(!Gcra::check(&mut sooner, &[tier], cost, at(now + whole_micros(wait) - 1)).is_allowed());
                }
                prop_assert!(u128::from(taken) * u128::from(period) <= u128::from(burst) * u128::from(period) + u128::from(now) * u128::from(limit));
            }
        }
    }
}
