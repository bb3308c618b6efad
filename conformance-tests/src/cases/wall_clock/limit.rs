//! Rate limits.

use std::time::Duration;

use stanchion::key::Key;
use stanchion::limit::{RateLimiter, Tier};
use stanchion::time::Ttl;

use super::HOUR;
use crate::check::{ensure, same};
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
