//! Leases of what is in flight.

use super::{HOUR, key};
use crate::check::{ensure, fail, refused, same};
use crate::{Context, Outcome};

use futures_util::future::try_join_all;

use std::sync::Arc;

use stanchion::ErrorKind;
use stanchion::key::Key;
use stanchion::limit::{LeaseOutcome, LeaseRequest, RateLimiter};
use stanchion::time::Ttl;

fn places() -> Outcome<Key> {
    Ok(key("a")?.subkey("in_flight")?)
}

fn hour() -> Outcome<Ttl> {
    Ok(Ttl::new(HOUR)?)
}

/// Two handles on a backend that has leases; one that says that it has none refuses them.
async fn offered(cx: &Context) -> Outcome<Option<[Arc<dyn RateLimiter>; 2]>> {
    let (here, there) = (cx.open().await?.rate_limiter()?, cx.open().await?.rate_limiter()?);
    if here.capabilities().max_leases.is_some() {
        return Ok(Some([here, there]));
    }
    let lease = here.lease(&places()?, &LeaseRequest::new("a", 1, hour()?)).await;
    refused(lease, ErrorKind::Unsupported, "a lease in flight")?;
    refused(here.give_back(&places()?, "a").await, ErrorKind::Unsupported, "giving a lease back")?;
    Ok(None)
}

pub(super) async fn no_more_than_said(cx: &Context) -> Outcome {
    let Some([here, there]) = offered(cx).await? else { return Ok(()) };
    let ask = async |limiter: &Arc<dyn RateLimiter>, holder: &str, most: u32| -> Outcome<LeaseOutcome> {
        Ok(limiter.lease(&places()?, &LeaseRequest::new(holder, most, hour()?)).await?)
    };
    let leased = |outcome: LeaseOutcome, number: u32, what: &str| match outcome {
        LeaseOutcome::Leased { in_flight } => same(in_flight, number, what),
        other => fail(what, other),
    };
    leased(ask(&here, "a", 2).await?, 1, "the first")?;
    leased(ask(&there, "b", 2).await?, 2, "the second, from another handle")?;
    match ask(&here, "c", 2).await? {
        LeaseOutcome::Full { retry_after } => {
            ensure(retry_after <= HOUR && retry_after > HOUR / 2, "until the first ends", retry_after)?;
        }
        other => return fail("full after two", other),
    }
    leased(ask(&here, "b", 2).await?, 2, "a holder that has a place is granted the same again")?;
    leased(ask(&here, "c", 3).await?, 3, "a third of three")?;
    let full = ask(&here, "d", 1).await?;
    ensure(matches!(full, LeaseOutcome::Full { .. }), "full when the number is lowered", full)
}

pub(super) async fn a_race_lets_in_no_more_than_said(cx: &Context) -> Outcome {
    let Some(limiters) = offered(cx).await? else { return Ok(()) };
    let places = places()?;
    let requests =
        (0..40).map(|n| Ok(LeaseRequest::new(format!("h{n}"), 7, hour()?))).collect::<Outcome<Vec<_>>>()?;
    let racing = requests.iter().enumerate().map(|(n, request)| limiters[n % 2].lease(&places, request));
    let outcomes = try_join_all(racing).await?;
    let leased = outcomes.iter().filter(|outcome| matches!(outcome, LeaseOutcome::Leased { .. })).count();
    same(leased, 7, "let in of 40 at once")
}

pub(super) async fn a_lease_ends_by_itself(cx: &Context) -> Outcome {
    let Some([here, there]) = offered(cx).await? else { return Ok(()) };
    let leasing = cx.while_it_lasts(|life, attempt| {
        let (here, there) = (&here, &there);
        async move {
            let places = key(&format!("a{attempt}"))?.subkey("in_flight")?;
            let held = LeaseRequest::new("dead", 1, life);
            here.lease(&places, &held).await?;
            // A renewal counts from now.
            here.lease(&places, &held.clone().renewing()).await?;
            match there.lease(&places, &LeaseRequest::new("next", 1, life)).await? {
                LeaseOutcome::Full { retry_after } if retry_after <= life.as_duration() => Ok((places, life)),
                other => fail("full while the lease lasts", other),
            }
        }
    });
    let (places, life) = leasing.await?;
    cx.pass(life).await;
    let renewed = here.lease(&places, &LeaseRequest::new("dead", 1, hour()?).renewing()).await?;
    same(renewed, LeaseOutcome::Lost, "renewing what has ended")?;
    let next = there.lease(&places, &LeaseRequest::new("next", 1, hour()?)).await?;
    same(next, one(), "the place of a holder that is dead")?;
    same(here.give_back(&places, "dead").await?, false, "giving back what has ended")?;
    let full = here.lease(&places, &LeaseRequest::new("third", 1, hour()?)).await?;
    ensure(matches!(full, LeaseOutcome::Full { .. }), "that was another's place", full)
}

pub(super) async fn a_lease_lasts_for_its_own_life(cx: &Context) -> Outcome {
    let Some([here, there]) = offered(cx).await? else { return Ok(()) };
    let (places, short) = (places()?, cx.short());
    let long = Ttl::new(10 * short.as_duration().max(HOUR))?;
    here.lease(&places, &LeaseRequest::new("long", 2, long)).await?;
    here.lease(&places, &LeaseRequest::new("short", 2, short)).await?;
    cx.pass(short).await;
    match there.lease(&places, &LeaseRequest::new("next", 1, short)).await? {
        LeaseOutcome::Full { retry_after } => {
            ensure(retry_after > HOUR, "until the longer lease ends", retry_after)
        }
        other => fail("full after the end of the shorter lease", other),
    }
}

fn one() -> LeaseOutcome {
    LeaseOutcome::Leased { in_flight: 1 }
}

pub(super) async fn a_place_is_given_back_by_its_holder_once(cx: &Context) -> Outcome {
    let Some([here, there]) = offered(cx).await? else { return Ok(()) };
    let places = places()?;
    here.lease(&places, &LeaseRequest::new("a", 1, hour()?)).await?;
    same(there.give_back(&places, "b").await?, false, "giving back another's place")?;
    same(there.give_back(&places, "a").await?, true, "giving it back")?;
    same(here.give_back(&places, "a").await?, false, "giving it back again")?;
    let lost = here.lease(&places, &LeaseRequest::new("a", 1, hour()?).renewing()).await?;
    same(lost, LeaseOutcome::Lost, "renewing what was given back")?;
    same(here.lease(&places, &LeaseRequest::new("b", 1, hour()?)).await?, one(), "the next")
}

pub(super) async fn bad_numbers_are_refused(cx: &Context) -> Outcome {
    let Some([here, _]) = offered(cx).await? else { return Ok(()) };
    let most = here.capabilities().max_leases.unwrap_or_default();
    for most in [0, most + 1] {
        let lease = here.lease(&places()?, &LeaseRequest::new("a", most, hour()?)).await;
        refused(lease, ErrorKind::InvalidInput, "a bad number in flight")?;
    }
    same(here.lease(&places()?, &LeaseRequest::new("a", most, hour()?)).await?, one(), "the largest number")
}
