//! Rate limits.

use std::time::Duration;

use stanchion::key::Key;
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, LeaseOutcome, LeaseRequest, Lockout, RateLimiter, Tier,
};
use stanchion::time::Ttl;

use super::HOUR;
use crate::check::{ensure, fail, same};
use crate::{Context, Outcome, WallStep};

const BURST: u32 = 3;

/// How many of this many permits are given, one by one.
async fn allowed(limiter: &dyn RateLimiter, tier: Tier, asked: u32) -> Outcome<u32> {
    let (key, mut allowed) = (Key::new("rate_limit", "case", "a")?, 0);
    for _ in 0..asked {
        allowed += u32::from(limiter.check(&key, &[tier], 1).await?.is_allowed());
    }
    Ok(allowed)
}

pub(in crate::cases) async fn a_step_back_gives_nothing(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let tier = Tier::new(BURST, HOUR)?;
    same(allowed(&*limiter, tier, BURST).await?, BURST, "the whole burst")?;
    let _frame = cx.step(WallStep::Back(HOUR)).await?;
    same(allowed(&*limiter, tier, 1).await?, 0, "permits that a step back gives")
}

pub(in crate::cases) async fn a_step_back_denies_for_a_burst_at_most(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let one = cx.short();
    let tier = Tier::new(BURST, BURST * one.as_duration())?;
    same(allowed(&*limiter, tier, BURST).await?, BURST, "the whole burst")?;
    // By more than all that passes here.
    let _frame = cx.step(WallStep::Back((5 * one.as_duration()).max(HOUR))).await?;
    // From now on at the latest the store can know of its clock.
    allowed(&*limiter, tier, 1).await?;
    cx.pass(one).await;
    let given = allowed(&*limiter, tier, 1).await?;
    same(given, 1, "permits after a step back, once the time for one has passed")?;
    cx.pass(Ttl::new(BURST * one.as_duration())?).await;
    let given = allowed(&*limiter, tier, BURST).await?;
    same(given, BURST, "permits after a step back, once the time for a burst has passed")
}

pub(in crate::cases) async fn a_step_forth_gives_a_burst_at_most(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    // Twenty come back in an hour, and there is room for three.
    let tier = Tier::new(BURST, Duration::from_mins(9))?;
    same(allowed(&*limiter, tier, BURST).await?, BURST, "the whole burst")?;
    let _frame = cx.step(WallStep::Forth(HOUR)).await?;
    let given = allowed(&*limiter, tier, 4 * BURST).await?;
    ensure(given <= BURST, "at most a burst after a step forth", given)
}

pub(in crate::cases) async fn a_step_back_holds_places_for_a_lease_at_most(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    if limiter.capabilities().max_leases.is_none() {
        return Ok(());
    }
    let (places, life) = (Key::new("rate_limit", "case", "a")?.subkey("in_flight")?, cx.short());
    let lease = async |holder| limiter.lease(&places, &LeaseRequest::new(holder, 1, life)).await;
    lease("dead").await?;
    let _frame = cx.step(WallStep::Back((5 * life.as_duration()).max(HOUR))).await?;
    // From now on at the latest the store can know of its clock. On a slow machine the lease may be over.
    if let LeaseOutcome::Full { retry_after } = lease("early").await? {
        ensure(retry_after <= life.as_duration(), "full for a lease at most after a step back", retry_after)?;
    }
    cx.pass(life).await;
    let next = lease("next").await?;
    same(next, LeaseOutcome::Leased { in_flight: 1 }, "after a step back, once a lease has passed")
}

pub(in crate::cases) async fn a_step_back_locks_out_for_the_longest_at_most(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    if !limiter.capabilities().attempts {
        return Ok(());
    }
    let (key, life) = (Key::new("attempts", "case", "a")?, cx.short());
    let longest = life.as_duration();
    let rule = Lockout::new(2, longest, longest, longest, longest)?;
    let request = AttemptRequest::new(Lockout::new(100, longest, longest, longest, longest)?);
    let request = request.from_source("s", rule);
    for _ in 0..2 {
        limiter.attempt(&key, &request).await?;
    }
    let _frame = cx.step(WallStep::Back((5 * longest).max(HOUR))).await?;
    if let AttemptOutcome::Locked { retry_after, .. } = limiter.attempt(&key, &request).await? {
        ensure(retry_after <= longest, "locked out for the longest at most after a step back", retry_after)?;
    }
    cx.pass(life).await;
    match limiter.attempt(&key, &request).await? {
        AttemptOutcome::Admitted(_) => Ok(()),
        other => fail("admitted after a step back, once the longest lock-out has passed", other),
    }
}
