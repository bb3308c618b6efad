//! Permits beyond a single limit: as many as there are, changes of limits, added permits, quotas.

use super::{HOUR, allowed, hourly, key, remaining};
use crate::check::{ensure, refused, same};
use crate::{Context, Outcome, Time};

use futures_util::future::try_join_all;

use std::time::Duration;

use stanchion::ErrorKind;
use stanchion::limit::{Calendar, Decision, Tier, Usage};
use stanchion::time::{Timestamp, Ttl};

pub(super) async fn as_many_as_there_are_are_taken(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.rate_limiter()?, cx.open().await?.rate_limiter()?);
    let tiers = [hourly(10)?, Tier::new(4, 2 * HOUR)?];
    let first = here.take_up_to(&key("a")?, &tiers, 3).await?;
    same((first.permits, remaining(&first.tiers)), (3, vec![7, 1]), "three of four")?;
    let rest = there.take_up_to(&key("a")?, &tiers, 3).await?;
    same((rest.permits, remaining(&rest.tiers)), (1, vec![6, 0]), "the last one")?;
    ensure(rest.next_in() > HOUR / 4, "a wait for the next", rest.next_in())?;
    for most in [0, 1, 100] {
        let none = here.take_up_to(&key("a")?, &tiers, most).await?;
        same((none.permits, remaining(&none.tiers)), (0, vec![6, 0]), "none of none")?;
    }
    // More than a burst may be asked for.
    same(here.take_up_to(&key("b")?, &tiers, u32::MAX).await?.permits, 4, "all that a tier has")
}

pub(super) async fn a_race_for_as_many_as_there_are_gives_none_twice(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.rate_limiter()?, cx.open().await?.rate_limiter()?);
    let (key, tiers) = (key("a")?, [hourly(20)?]);
    let racing = (0..30).map(|n| if n % 2 == 0 { &here } else { &there }.take_up_to(&key, &tiers, 3));
    let grants = try_join_all(racing).await?;
    same(grants.iter().map(|grant| grant.permits).sum::<u32>(), 20, "taken by 30 at once")
}

pub(super) async fn a_change_gives_the_greatest_at_most(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let mut taken = 0;
    for limit in [10, 20, 10, 15, 20, 10] {
        taken += limiter.take_up_to(&key("a")?, &[hourly(limit)?], 100).await?.permits;
    }
    same(taken, 20, "permits of limits of 10, 15 and 20, one after the other")?;
    // A refund is one under every limit.
    limiter.refund(&key("a")?, &[hourly(15)?], 1).await?;
    same(
        remaining(&limiter.peek(&key("a")?, &[hourly(20)?]).await?),
        vec![1],
        "given back under another limit",
    )?;
    same(limiter.take_up_to(&key("a")?, &[hourly(10)?], 100).await?.permits, 1, "and taken under a third")?;
    same(remaining(&limiter.peek(&key("a")?, &[hourly(20)?]).await?), vec![0], "and gone")
}

pub(super) async fn a_change_to_less_waits_for_the_lesser(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let _all = limiter.check(&key("a")?, &[hourly(1_000)?], 1_000).await?;
    let few = [Tier::with_burst(1_000, HOUR, 5)?];
    let denied = limiter.check(&key("a")?, &few, 5).await?;
    let Some(wait) = denied.retry_after() else { return crate::check::fail("denied", denied) };
    ensure(wait <= HOUR / 200, "a wait for five of a thousand an hour", wait)
}

pub(super) async fn a_reset_forgets_all_of_a_subject(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.rate_limiter()?, cx.open().await?.rate_limiter()?);
    let tiers = [hourly(2)?, Tier::new(3, 2 * HOUR)?, Tier::quota(4, Calendar::monthly())?];
    for subject in ["a", "b"] {
        let _two = here.check(&key(subject)?, &tiers, 2).await?;
        here.add(&key(subject)?, 5, Ttl::new(HOUR)?).await?;
    }
    there.reset(&key("a")?).await?;
    there.reset(&key("never seen")?).await?;
    same(remaining(&here.peek(&key("a")?, &tiers).await?), vec![2, 3, 4], "left after a reset")?;
    same(here.add(&key("a")?, 0, Ttl::new(HOUR)?).await?, 0, "added permits after a reset")?;
    same(remaining(&here.peek(&key("b")?, &tiers).await?), vec![0, 1, 2], "left to another subject")
}

pub(super) async fn added_permits_are_taken_once(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.rate_limiter()?, cx.open().await?.rate_limiter()?);
    let (tiers, life) = ([hourly(2)?], Ttl::new(HOUR)?);
    same(here.add(&key("a")?, 3, life).await?, 3, "added")?;
    same(there.add(&key("a")?, 1, life).await?, 4, "added to others")?;
    same(allowed(&here.check(&key("a")?, &tiers, 2).await?), Some(vec![0]), "of the tier")?;
    same(here.add(&key("a")?, 0, life).await?, 4, "added permits while the tier has enough")?;
    let racing = (0..10).map(|n| if n % 2 == 0 { &here } else { &there });
    let key = key("a")?;
    let decisions = try_join_all(racing.map(|limiter| limiter.check(&key, &tiers, 1))).await?;
    same(
        decisions.iter().filter(|decision| decision.is_allowed()).count(),
        4,
        "allowed by four added permits",
    )?;
    same(here.add(&key, 0, life).await?, 0, "added permits after all are taken")?;
    // What is over a burst can never be had.
    here.add(&key, 100, life).await?;
    let over = here.check(&key, &tiers, 3).await?;
    same(over, Decision::CostExceedsCapacity { tier: 0 }, "a cost over a burst, beside added permits")?;
    same(here.take_up_to(&key, &tiers, 1_000).await?.permits, 100, "all that were added")
}

pub(super) async fn added_permits_end(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    // Nothing comes back of it meanwhile.
    let tiers = [Tier::new(1, 500 * HOUR)?];
    let adding = cx.while_it_lasts(|life, attempt| {
        let limiter = &limiter;
        async move {
            let key = key(&format!("a{attempt}"))?;
            let _one = limiter.check(&key, &tiers, 1).await?;
            limiter.add(&key, 3, life).await?;
            same(limiter.add(&key, 0, life).await?, 3, "before their end")?;
            let one = limiter.check(&key, &tiers, 1).await?;
            ensure(one.is_allowed(), "taken before their end", one)?;
            Ok((key, life))
        }
    });
    let (key, life) = adding.await?;
    cx.pass(life).await;
    let denied = limiter.check(&key, &tiers, 1).await?;
    ensure(!denied.is_allowed(), "denied after the end of what was added", denied)?;
    same(limiter.add(&key, 0, life).await?, 0, "after their end")
}

pub(super) async fn too_many_added_permits_are_refused(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let life = Ttl::new(HOUR)?;
    let over = limiter.add(&key("a")?, Usage::MAX_EXTRA + 1, life).await;
    refused(over, ErrorKind::InvalidInput, "adding more than a million")?;
    same(limiter.add(&key("a")?, Usage::MAX_EXTRA, life).await?, Usage::MAX_EXTRA, "a million")?;
    same(limiter.add(&key("a")?, 1, life).await?, Usage::MAX_EXTRA, "and one more")
}

/// An hour on either side of now no window of it begins.
fn calendar(calendar: Calendar, now: Timestamp) -> Outcome<Calendar> {
    for offset in [0, 720] {
        let calendar = calendar.at_offset(offset)?;
        let (first, next) = calendar.window(now);
        if now.saturating_since(first) > HOUR && next.saturating_since(now) > HOUR {
            return Ok(calendar);
        }
    }
    crate::check::fail("a calendar with no midnight near", now)
}

pub(super) async fn a_quota_is_given_once_in_a_window(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?, cx.open().await?.rate_limiter()?);
    let now = here.environment().clock.wall();
    let here = here.rate_limiter()?;
    let tiers = [Tier::quota(3, calendar(Calendar::monthly(), now)?)?];
    same(allowed(&here.check(&key("a")?, &tiers, 2).await?), Some(vec![1]), "two of three")?;
    same(allowed(&there.check(&key("a")?, &tiers, 1).await?), Some(vec![0]), "the third")?;
    let denied = here.check(&key("a")?, &tiers, 1).await?;
    let Some(wait) = denied.retry_after() else { return crate::check::fail("denied", denied) };
    // Another number for the same windows keeps the count.
    let more = [Tier::quota(4, calendar(Calendar::monthly(), now)?)?];
    same(there.take_up_to(&key("a")?, &more, 9).await?.permits, 1, "one more, of four")?;
    if cx.time() == Time::Manual {
        cx.advance(wait).await;
        same(
            allowed(&here.check(&key("a")?, &tiers, 3).await?),
            Some(vec![0]),
            "all again in the next window",
        )?;
    }
    Ok(())
}

pub(super) async fn windows_are_those_of_the_calendar(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let (limiter, clock) = (stores.rate_limiter()?, stores.environment().clock.clone());
    // Two machines may differ by a little.
    let apart = Duration::from_mins(2);
    for unit in [Calendar::daily(), Calendar::weekly(), Calendar::monthly()] {
        for offset in [-1_080, -480, 0, 345, 1_080] {
            let calendar = unit.at_offset(offset)?;
            let (now, key) = (clock.wall(), key(&calendar.id())?);
            let (first, next) = calendar.window(now);
            if now.saturating_since(first) < apart || next.saturating_since(now) < apart {
                continue;
            }
            let tier = [Tier::quota(1, calendar)?];
            let _one = limiter.check(&key, &tier, 1).await?;
            let full_in = limiter.peek(&key, &tier).await?[0].full_in;
            let left = next.saturating_since(now);
            let differs = full_in.abs_diff(left);
            ensure(differs < apart, &format!("{calendar}: {left:?} to the next window"), full_in)?;
        }
    }
    Ok(())
}

pub(super) async fn a_quota_is_taken_with_other_tiers_or_not(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let now = stores.environment().clock.wall();
    let limiter = stores.rate_limiter()?;
    let monthly = calendar(Calendar::monthly(), now)?;
    let tiers = [hourly(2)?, Tier::quota(3, monthly)?];
    same(allowed(&limiter.check(&key("a")?, &tiers, 2).await?), Some(vec![0, 1]), "from both")?;
    let denied = limiter.check(&key("a")?, &tiers, 1).await?;
    ensure(matches!(denied, Decision::Denied { tier: 0, .. }), "denied by the rate", &denied)?;
    same(remaining(&limiter.peek(&key("a")?, &tiers).await?), vec![0, 1], "the quota is not charged for it")?;
    limiter.refund(&key("a")?, &tiers, 1).await?;
    same(remaining(&limiter.peek(&key("a")?, &tiers).await?), vec![1, 2], "given back to both")?;
    let twice = [Tier::quota(3, monthly)?, Tier::quota(4, monthly)?];
    refused(
        limiter.check(&key("a")?, &twice, 1).await,
        ErrorKind::InvalidInput,
        "two quotas of one calendar, which would share their count",
    )
}
