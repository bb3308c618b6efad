//! One tier of a request while it is decided.

use std::time::Duration;

use super::gcra::Rate;
use super::moment::LimitTime;
use super::quota::Quota;
use super::{Calendar, Gcra, Tier, TierStatus};

/// A tier, and what is used of it: fractions of a rate, permits of a quota.
#[derive(Debug, Clone, Copy)]
pub(super) struct Working {
    pub(super) tier: Tier,
    pub(super) used: u64,
    /// Whether the store has its state.
    pub(super) is_stored: bool,
    /// Whether the clock was set back since.
    was_ahead: bool,
}

impl Working {
    pub(super) fn new(
        tier: Tier,
        rates: &[(Tier, Gcra)],
        quotas: &[(Calendar, Quota)],
        at: LimitTime,
    ) -> Self {
        if let Some(calendar) = tier.calendar() {
            let stored = quotas.iter().find(|(stored, _)| *stored == calendar).map(|(_, quota)| *quota);
            let used = stored.map_or(0, |quota| quota.used(calendar, at.wall));
            let was_ahead = stored.is_some_and(|quota| quota.start > calendar.window(at.wall).0);
            return Self { tier, used: u64::from(used), is_stored: stored.is_some(), was_ahead };
        }
        let Some(rate) = Rate::of(&tier) else {
            return Self { tier, used: 0, is_stored: false, was_ahead: false };
        };
        if let Some((_, gcra)) = rates.iter().find(|(stored, _)| *stored == tier) {
            let (used, was_ahead) = gcra.used(rate, at.steady);
            return Self { tier, used, is_stored: true, was_ahead };
        }
        let others = rates.iter().filter(|(other, _)| other.period() == tier.period());
        let used = others.filter_map(|(other, gcra)| {
            let of = Rate::of(other)?;
            Some(rate.converted(gcra.used(of, at.steady).0, of))
        });
        Self { tier, used: used.max().unwrap_or(0), is_stored: false, was_ahead: false }
    }

    /// Whether what was found differs from what is stored.
    pub(super) const fn is_to_be_kept(&self) -> bool {
        self.was_ahead || (!self.is_stored && self.used > 0)
    }

    pub(super) fn take(&mut self, permits: u32) {
        self.used += self.each() * u64::from(permits);
    }

    pub(super) fn give_back(&mut self, permits: u32) {
        self.used = self.used.saturating_sub(self.each().saturating_mul(u64::from(permits)));
    }

    /// How long until it has so many permits, if it has not. A quota may have been lowered under what is used of it.
    pub(super) fn wait(&self, permits: u32, at: LimitTime) -> Option<Duration> {
        let wanted = self.used + self.each() * u64::from(permits);
        let excess = wanted.checked_sub(self.capacity()).filter(|excess| *excess > 0)?;
        Some(match Rate::of(&self.tier) {
            Some(rate) => rate.micros(excess),
            None => self.window_ends_in(at),
        })
    }

    pub(super) fn status(&self, at: LimitTime) -> TierStatus {
        let (each, capacity) = (self.each(), self.capacity());
        let remaining = capacity.saturating_sub(self.used) / each;
        let count = u32::try_from(remaining).unwrap_or(u32::MAX);
        let (next_in, full_in) = match Rate::of(&self.tier) {
            Some(rate) => {
                let for_one_more = self.used.saturating_sub(capacity.saturating_sub((remaining + 1) * each));
                let next_in =
                    if count == self.tier.burst() { Duration::ZERO } else { rate.micros(for_one_more) };
                (next_in, rate.micros(self.used))
            }
            None if self.used == 0 => (Duration::ZERO, Duration::ZERO),
            None => (self.window_ends_in(at), self.window_ends_in(at)),
        };
        TierStatus::new(count, next_in, full_in)
    }

    /// As it is stored, if it is a quota.
    pub(super) fn quota(&self, at: LimitTime) -> Quota {
        let start = self.tier.calendar().map(|calendar| calendar.window(at.wall).0).unwrap_or_default();
        Quota { start, used: u32::try_from(self.used).unwrap_or(u32::MAX) }
    }

    fn each(&self) -> u64 {
        Rate::of(&self.tier).map_or(1, |rate| rate.each)
    }

    fn capacity(&self) -> u64 {
        Rate::of(&self.tier).map_or(u64::from(self.tier.burst()), |rate| rate.capacity)
    }

    fn window_ends_in(&self, at: LimitTime) -> Duration {
        self.tier
            .calendar()
            .map(|calendar| calendar.window(at.wall).1.saturating_since(at.wall))
            .unwrap_or_default()
    }
}
