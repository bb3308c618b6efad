//! Permits: bursts, denials, costs, refunds.

use super::{HOUR, allowed, hourly, key, remaining};
use crate::check::{dropped_after, ensure, fail, refused, same};
use crate::{Context, Outcome};
use futures_util::future::try_join_all;

use std::sync::Arc;
use std::time::Duration;

use stanchion::ErrorKind;
use stanchion::limit::{Decision, Tier, TierStatus};

pub(super) async fn a_burst_is_given_at_once_and_no_more(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.rate_limiter()?, cx.open().await?.rate_limiter()?);
    let tiers = [hourly(3)?];
    same(allowed(&here.check(&key("a")?, &tiers, 1).await?), Some(vec![2]), "the first")?;
    same(
        allowed(&there.check(&key("a")?, &tiers, 2).await?),
        Some(vec![0]),
        "two more at once, from another handle",
    )?;
    for limiter in [&here, &there] {
        let decision = limiter.check(&key("a")?, &tiers, 1).await?;
        ensure(matches!(decision, Decision::Denied { tier: 0, .. }), "the fourth is denied", &decision)?;
    }
    Ok(())
}

pub(super) async fn what_is_denied_is_not_charged(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let tiers = [hourly(2)?];
    let first = limiter.check(&key("a")?, &tiers, 2).await?;
    ensure(first.is_allowed(), "the whole burst", &first)?;
    let before = limiter.peek(&key("a")?, &tiers).await?[0].full_in;
    for _ in 0..5 {
        let decision = limiter.check(&key("a")?, &tiers, 2).await?;
        ensure(!decision.is_allowed(), "over the burst", &decision)?;
    }
    let after = limiter.peek(&key("a")?, &tiers).await?[0].full_in;
    ensure(after <= before, "the time to full capacity does not grow by denials", (before, after))
}

pub(super) async fn all_tiers_or_none(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let tiers = [hourly(10)?, Tier::new(1, 2 * HOUR)?];
    same(allowed(&limiter.check(&key("a")?, &tiers, 1).await?), Some(vec![9, 0]), "the first")?;
    match limiter.check(&key("a")?, &tiers, 1).await? {
        Decision::Denied { tier, tiers, .. } => {
            same(tier, 1, "the exhausted tier")?;
            same(remaining(&tiers), vec![9, 0], "permits left after a denial")
        }
        other => fail("denied by the second tier", other),
    }
}

pub(super) async fn the_longest_wait_is_told(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let tiers = [Tier::new(1, HOUR)?, Tier::new(1, 5 * HOUR)?, Tier::new(1, 2 * HOUR)?];
    let _first = limiter.check(&key("a")?, &tiers, 1).await?;
    match limiter.check(&key("a")?, &tiers, 1).await? {
        Decision::Denied { retry_after, tier, .. } => {
            same(tier, 1, "the tier exhausted for longest")?;
            ensure(
                retry_after > 4 * HOUR && retry_after <= 5 * HOUR,
                "retry_after is that tier's",
                retry_after,
            )
        }
        other => fail("denied", other),
    }
}

pub(super) async fn after_retry_after_the_same_request_is_allowed(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let denying = cx.while_it_lasts(|life, attempt| {
        let limiter = &limiter;
        async move {
            // Two sevenths are more than the life, so that two permits are not back before it is over; and they are no
            // whole number of microseconds: the wait may not be told too short.
            let (key, period) = (key(&format!("a{attempt}"))?, 6 * life.as_duration());
            let tiers = [Tier::new(7, period)?];
            let _burst = limiter.check(&key, &tiers, 7).await?;
            let denied = limiter.check(&key, &tiers, 2).await?;
            let Some(wait) = denied.retry_after() else { return fail("denied with a wait", denied) };
            let most = period * 2 / 7 + Duration::from_micros(1);
            ensure(wait <= most, "two sevenths of the period for two of seven, at most", wait)?;
            Ok((key, tiers, wait))
        }
    });
    let (key, tiers, wait) = denying.await?;
    cx.advance(wait).await;
    let again = limiter.check(&key, &tiers, 2).await?;
    ensure(again.is_allowed(), "allowed after retry_after", again)
}

pub(super) async fn more_than_the_burst_can_never_be_had(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let tiers = [hourly(10)?, hourly(3)?];
    same(
        limiter.check(&key("a")?, &tiers, 4).await?,
        Decision::CostExceedsCapacity { tier: 1 },
        "a cost over one burst",
    )?;
    same(remaining(&limiter.peek(&key("a")?, &tiers).await?), vec![10, 3], "nothing was taken")
}

pub(super) async fn peek_takes_nothing(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let tiers = [hourly(3)?];
    let fresh = limiter.peek(&key("a")?, &tiers).await?;
    same(fresh, vec![TierStatus::new(3, Duration::ZERO, Duration::ZERO)], "a subject never seen")?;
    let _one = limiter.check(&key("a")?, &tiers, 1).await?;
    for _ in 0..5 {
        let standing = limiter.peek(&key("a")?, &tiers).await?[0];
        same(standing.remaining, 2, "after one was taken")?;
        ensure(
            standing.full_in <= HOUR / 3 && standing.full_in > HOUR / 4,
            "a third of the hour to full",
            standing,
        )?;
        ensure(standing.next_in <= HOUR / 3, "the next comes with it", standing)?;
    }
    Ok(())
}

pub(super) async fn a_cost_of_zero_takes_nothing(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let tiers = [hourly(1)?];
    same(allowed(&limiter.check(&key("a")?, &tiers, 0).await?), Some(vec![1]), "zero of a fresh tier")?;
    let _one = limiter.check(&key("a")?, &tiers, 1).await?;
    same(allowed(&limiter.check(&key("a")?, &tiers, 0).await?), Some(vec![0]), "zero of an empty tier")
}

pub(super) async fn a_refund_gives_back_at_most_the_burst(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let tiers = [hourly(5)?];
    let _four = limiter.check(&key("a")?, &tiers, 4).await?;
    limiter.refund(&key("a")?, &tiers, 3).await?;
    same(remaining(&limiter.peek(&key("a")?, &tiers).await?), vec![4], "three of four given back")?;
    limiter.refund(&key("a")?, &tiers, 100).await?;
    limiter.refund(&key("never")?, &tiers, 1).await?;
    same(remaining(&limiter.peek(&key("a")?, &tiers).await?), vec![5], "more than was taken given back")?;
    same(
        remaining(&limiter.peek(&key("never")?, &tiers).await?),
        vec![5],
        "given back to a subject never seen",
    )
}

pub(super) async fn a_race_gives_no_permit_twice(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.rate_limiter()?, cx.open().await?.rate_limiter()?);
    let (key, tiers) = (key("a")?, [hourly(7)?]);
    let racing = (0..30).map(|n| if n % 2 == 0 { &here } else { &there }.check(&key, &tiers, 1));
    let decisions = try_join_all(racing).await?;
    same(decisions.iter().filter(|decision| decision.is_allowed()).count(), 7, "allowed of 30 at once")
}

pub(super) async fn subjects_and_tiers_stay_apart(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let tiers = [hourly(1)?];
    let _a = limiter.check(&key("a")?, &tiers, 1).await?;
    for other in ["b", "a:", "{a}", "a%3A", "A"] {
        same(remaining(&limiter.peek(&key(other)?, &tiers).await?), vec![1], other)?;
    }
    let minutely = Tier::new(2, Duration::from_mins(1))?;
    same(remaining(&limiter.peek(&key("a")?, &[minutely]).await?), vec![2], "another period is another limit")
}

pub(super) async fn bad_tiers_are_refused(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let nine = (1..=9).map(|n| Tier::new(n, n * HOUR)).collect::<Result<Vec<_>, _>>()?;
    let twice = [hourly(1)?, hourly(1)?];
    for tiers in [&[][..], &nine, &twice] {
        refused(limiter.check(&key("a")?, tiers, 1).await, ErrorKind::InvalidInput, "checking bad tiers")?;
        refused(limiter.peek(&key("a")?, tiers).await, ErrorKind::InvalidInput, "peeking at bad tiers")?;
        refused(limiter.refund(&key("a")?, tiers, 1).await, ErrorKind::InvalidInput, "refunding bad tiers")?;
    }
    let eight = &nine[..8];
    same(allowed(&limiter.check(&key("a")?, eight, 1).await?), Some((0..8).collect()), "eight tiers")
}

pub(super) async fn fractions_of_a_microsecond_are_kept(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    // A third of an hour and a microsecond is no whole number of microseconds.
    let period = HOUR + Duration::from_micros(1);
    let tiers = [Tier::new(3, period)?];
    match limiter.check(&key("at once")?, &tiers, 3).await? {
        // Of the very instant in which they were taken.
        Decision::Allowed { tiers, .. } => {
            same(tiers[0].full_in, period, "until three taken at once are back")?;
        }
        other => return fail("the whole burst", other),
    }
    for _ in 0..3 {
        let one = limiter.check(&key("one by one")?, &tiers, 1).await?;
        ensure(one.is_allowed(), "three, one by one", one)?;
    }
    let standing = limiter.peek(&key("one by one")?, &tiers).await?[0];
    same(standing.remaining, 0, "all are taken")?;
    ensure(standing.full_in <= period, "never more than the period to full", standing)
}

pub(super) async fn permits_come_back_evenly(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let (limiter, clock) = (stores.rate_limiter()?, Arc::clone(&stores.environment().clock));
    let (key, period, limit) = (key("a")?, cx.short().as_duration(), 8);
    let tiers = [Tier::new(limit, period)?];
    let (begun, steps) = (clock.now(), 2 * limit);
    let mut taken = 0;
    for step in 0..=steps {
        if step > 0 {
            cx.advance(period / limit).await;
        }
        // No more than the bound that is checked below, however wrong the limiter is.
        while taken <= limit + steps && limiter.check(&key, &tiers, 1).await?.is_allowed() {
            taken += 1;
        }
    }
    let passed = clock.now().saturating_since(begun);
    let most = u128::from(limit) + passed.as_micros() * u128::from(limit) / period.as_micros();
    ensure(u128::from(taken) <= most, "no more than the burst and what came back since", (taken, most))?;
    // The store's clock may run a little slower than ours.
    ensure(taken >= limit + steps - 1, "the burst, and one more with each step", taken)
}

pub(super) async fn places_stay_apart(cx: &Context) -> Outcome {
    let (here, elsewhere) = (cx.open().await?.rate_limiter()?, cx.elsewhere().await?.rate_limiter()?);
    let tiers = [hourly(1)?];
    let _taken = here.check(&key("a")?, &tiers, 1).await?;
    same(remaining(&elsewhere.peek(&key("a")?, &tiers).await?), vec![1], "the subject elsewhere")
}

pub(super) async fn a_dropped_check_takes_from_every_tier_or_from_none(cx: &Context) -> Outcome {
    let limiter = cx.open().await?.rate_limiter()?;
    let tiers = [hourly(10)?, Tier::new(10, 2 * HOUR)?];
    for polls in 0..8 {
        let key = key(&polls.to_string())?;
        dropped_after(polls, limiter.check(&key, &tiers, 1)).await;
        let left = remaining(&limiter.peek(&key, &tiers).await?);
        ensure(
            left[0] == left[1],
            "the permit of a dropped check is taken from both tiers or from none",
            left,
        )?;
    }
    Ok(())
}
