//! What a subject has used of its limits: the state machine that every backend runs, or does the arithmetic of.

use std::time::Duration;

use super::gcra::{Gcra, Rate};
use super::moment::LimitTime;
use super::quota::Quota;
use super::working::Working;
use super::{Calendar, Decision, Grant, Tier, TierStatus};
use crate::time::Timestamp;

/// What a subject has used of its limits, and the permits that were added for it.
///
/// # When a limit changes
/// A tier is known by limit, period and burst. One that has no state yet starts from the states of tiers with the same
/// period: with as many permits used as the one that has most, to at most its own burst. Permits that are taken or given back
/// later count for all tiers of that period, also for those that the request does not name (an earlier limit, or another
/// plan). So whoever moves between limits of a period, as often as may be, takes within any span `t` no more than the greatest of the bursts and
/// `t` times the greatest of the rates; and after a change for less waits for no more than the lesser burst. Quotas of one [`Calendar`] share their count.
///
/// A state is forgotten once all of its period are full again; over [`MAX_STATES`](Self::MAX_STATES) the one of which fewest
/// permits are used goes first.
///
/// # Stored form
/// [`fields`](Self::fields) and [`from_fields`](Self::from_fields): named texts, those of the hash that Redis has. What is not
/// stored is [`Usage::default`], full tiers; it need not be stored for longer than it [lasts](Self::lasts).
///
/// ```
/// use std::time::Duration;
/// use stanchion::limit::{LimitTime, Tier, Usage};
/// use stanchion::time::Timestamp;
///
/// let tier = Tier::new(3, Duration::from_secs(1))?;
/// let now = LimitTime::wall(Timestamp::from_micros(1_750_000_000_000_000));
/// let mut usage = Usage::default();
/// assert!(usage.check(&[tier], 1, now).is_allowed());
/// // A third of a second from now is 333,333 whole microseconds and one third of one.
/// let fields: Vec<_> = usage.fields().collect();
/// assert_eq!(fields, [("3/1000000/3".to_owned(), "1750000000333333:1".to_owned())]);
/// assert_eq!(Usage::from_fields(fields)?, usage);
/// # Ok::<(), stanchion::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    pub(super) rates: Vec<(Tier, Gcra)>,
    pub(super) quotas: Vec<(Calendar, Quota)>,
    pub(super) extra: Extra,
}

/// Permits that were added, until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Extra {
    pub(super) permits: u32,
    pub(super) until: Timestamp,
}

impl Usage {
    /// The most states of tiers that are kept for a subject.
    pub const MAX_STATES: usize = 24;
    /// The most permits that can be added for a subject.
    pub const MAX_EXTRA: u32 = Tier::MAX_COUNT;

    /// Takes `cost` permits from every tier or from none; where a tier has too few, from the added ones.
    pub fn check(&mut self, tiers: &[Tier], cost: u32, at: LimitTime) -> Decision {
        if let Some(tier) = tiers.iter().position(|tier| cost > tier.burst()) {
            return Decision::CostExceedsCapacity { tier };
        }
        let mut works = self.works(tiers, at);
        if cost == 0 {
            return Decision::allowed(statuses(&works, at));
        }
        let mut wait: Option<(Duration, usize)> = None;
        for (index, work) in works.iter().enumerate() {
            if let Some(needed) = work.wait(cost, at)
                && wait.is_none_or(|(longest, _)| needed > longest)
            {
                wait = Some((needed, index));
            }
        }
        if wait.is_some() && self.extra(at) >= cost {
            self.extra.permits -= cost;
            self.keep(&works, at);
            return Decision::allowed(statuses(&works, at));
        }
        let Some((retry_after, tier)) = wait else {
            self.charge(&mut works, cost, at);
            return Decision::allowed(statuses(&works, at));
        };
        self.keep(&works, at);
        Decision::denied(retry_after, tier, statuses(&works, at))
    }

    /// Takes as many permits as there are, at most so many: what every tier has, and then of the added ones.
    pub fn take_up_to(&mut self, tiers: &[Tier], most: u32, at: LimitTime) -> Grant {
        let mut works = self.works(tiers, at);
        let there = works.iter().map(|work| work.status(at).remaining).min().unwrap_or(0).min(most);
        let extra = self.extra(at).min(most - there);
        self.extra.permits -= extra;
        if there > 0 {
            self.charge(&mut works, there, at);
        } else if most > 0 {
            self.keep(&works, at);
        }
        Grant::new(there + extra, statuses(&works, at))
    }

    /// What is left in each tier; changes nothing.
    pub fn peek(&self, tiers: &[Tier], at: LimitTime) -> Vec<TierStatus> {
        statuses(&self.works(tiers, at), at)
    }

    /// Gives permits back to every tier, to at most its burst. Added permits are not given back.
    pub fn refund(&mut self, tiers: &[Tier], cost: u32, at: LimitTime) {
        let mut works = self.works(tiers, at);
        self.forget(tiers, at);
        // Also what it starts from, or it would start from that again.
        works.retain_mut(|work| {
            let is_kept = work.is_stored || work.is_to_be_kept();
            work.give_back(cost);
            is_kept
        });
        self.others(tiers, at, |used, rate| used.saturating_sub(rate.each.saturating_mul(u64::from(cost))));
        for work in &works {
            self.store(work, at);
        }
        self.bound(tiers, at);
    }

    /// Adds permits, which are taken where a tier has too few, and are there until `until` by the steady clock: all of
    /// them until the latest such time that was given. Answers how many there are then, at most [`MAX_EXTRA`](Self::MAX_EXTRA).
    pub fn add(&mut self, permits: u32, until: Timestamp, at: LimitTime) -> u32 {
        let there = self.extra(at);
        if permits > 0 {
            self.extra.permits = there.saturating_add(permits).min(Self::MAX_EXTRA);
            self.extra.until = if there == 0 { until } else { until.max(self.extra.until) };
        }
        self.extra(at)
    }

    /// For how long this says anything: once that is over, it is as good as [`Usage::default`].
    pub fn lasts(&self, at: LimitTime) -> Duration {
        let rates = self.rates.iter().map(|(tier, gcra)| full_in(tier, *gcra, at));
        let quotas = self.quotas.iter().map(|(calendar, quota)| quota.lasts(*calendar, at.wall));
        let extra = if self.extra.permits > 0 {
            self.extra.until.saturating_since(at.steady)
        } else {
            Duration::ZERO
        };
        rates.chain(quotas).max().unwrap_or_default().max(extra)
    }

    /// Whether quotas are among it.
    pub fn has_quotas(&self) -> bool {
        !self.quotas.is_empty()
    }

    /// The added permits that are there.
    fn extra(&self, at: LimitTime) -> u32 {
        if self.extra.until > at.steady { self.extra.permits } else { 0 }
    }

    /// The tiers of a request, each with what is used of it.
    fn works(&self, tiers: &[Tier], at: LimitTime) -> Vec<Working> {
        tiers.iter().map(|tier| Working::new(*tier, &self.rates, &self.quotas, at)).collect()
    }

    fn charge(&mut self, works: &mut [Working], cost: u32, at: LimitTime) {
        let tiers: Vec<_> = works.iter().map(|work| work.tier).collect();
        self.forget(&tiers, at);
        for work in works.iter_mut() {
            work.take(cost);
            self.store(work, at);
        }
        self.others(&tiers, at, |used, rate| {
            used.saturating_add(rate.each.saturating_mul(u64::from(cost))).min(rate.capacity)
        });
        self.bound(&tiers, at);
    }

    /// Stores what was found but not taken: a state that starts from others, or that the clock had left too far ahead. It
    /// comes back from now on, whatever becomes of what it came from.
    fn keep(&mut self, works: &[Working], at: LimitTime) {
        for work in works.iter().filter(|work| work.is_to_be_kept()) {
            self.store(work, at);
        }
    }

    fn store(&mut self, work: &Working, at: LimitTime) {
        match (Rate::of(&work.tier), work.tier.calendar()) {
            (Some(rate), _) => put(&mut self.rates, work.tier, Gcra::after(rate, at.steady, work.used)),
            (None, Some(calendar)) => put(&mut self.quotas, calendar, work.quota(at)),
            (None, None) => {}
        }
    }

    /// Changes the states of tiers that a request does not name, and that have the period of one that it names.
    fn others(&mut self, tiers: &[Tier], at: LimitTime, change: impl Fn(u64, Rate) -> u64) {
        for (tier, gcra) in &mut self.rates {
            let has_period = |named: &Tier| named.calendar().is_none() && named.period() == tier.period();
            if let Some(rate) = Rate::of(tier)
                && !tiers.contains(tier)
                && tiers.iter().any(has_period)
            {
                let (used, _) = gcra.used(rate, at.steady);
                *gcra = Gcra::after(rate, at.steady, change(used, rate));
            }
        }
    }

    /// Forgets what says nothing any more. Before anything is taken: a tier that is full among full ones is as good as none.
    fn forget(&mut self, tiers: &[Tier], at: LimitTime) {
        let is_busy = |(tier, gcra): &(Tier, Gcra)| !full_in(tier, *gcra, at).is_zero();
        // Nearly always there is nothing but what is named.
        if self.rates.iter().any(|(tier, _)| !tiers.contains(tier)) {
            let busy: Vec<_> =
                self.rates.iter().filter(|state| is_busy(state)).map(|(tier, _)| tier.period()).collect();
            self.rates.retain(|(tier, _)| tiers.contains(tier) || busy.contains(&tier.period()));
        }
        self.quotas.retain(|(calendar, quota)| {
            is_named(tiers, *calendar) || !quota.lasts(*calendar, at.wall).is_zero()
        });
        if self.extra.until <= at.steady {
            self.extra = Extra::default();
        }
    }

    /// Forgets what is too much.
    fn bound(&mut self, tiers: &[Tier], at: LimitTime) {
        while self.rates.len() + self.quotas.len() > Self::MAX_STATES {
            let rates =
                self.rates.iter().filter(|(tier, _)| !tiers.contains(tier)).filter_map(|(tier, gcra)| {
                    let rate = Rate::of(tier)?;
                    Some((gcra.used(rate, at.steady).0 / rate.each, tier.id()))
                });
            let quotas = (self.quotas.iter().filter(|(calendar, _)| !is_named(tiers, *calendar)))
                .map(|(calendar, quota)| (u64::from(quota.used(*calendar, at.wall)), calendar.id()));
            let Some((_, least)) = rates.chain(quotas).min() else { return };
            self.rates.retain(|(tier, _)| tier.id() != least);
            self.quotas.retain(|(calendar, _)| calendar.id() != least);
        }
    }
}

fn statuses(works: &[Working], at: LimitTime) -> Vec<TierStatus> {
    works.iter().map(|work| work.status(at)).collect()
}

fn is_named(tiers: &[Tier], calendar: Calendar) -> bool {
    tiers.iter().any(|tier| tier.calendar() == Some(calendar))
}

fn full_in(tier: &Tier, gcra: Gcra, at: LimitTime) -> Duration {
    Rate::of(tier).map_or(Duration::ZERO, |rate| rate.micros(gcra.used(rate, at.steady).0))
}

fn put<K: PartialEq, V>(states: &mut Vec<(K, V)>, key: K, value: V) {
    match states.iter_mut().find(|(stored, _)| *stored == key) {
        Some((_, stored)) => *stored = value,
        None => states.push((key, value)),
    }
}
