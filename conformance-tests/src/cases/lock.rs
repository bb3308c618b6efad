//! Locks.

use super::{process, rules, wall_clock};
use crate::check::{dropped_after, ensure, fail, same};
use crate::child::Task;
use crate::{Context, Outcome};
use futures_util::future::try_join_all;

use std::time::Duration;

use stanchion::key::Key;
use stanchion::lock::{
    AcquireOutcome, Fence, Lease, LockRequest, LockToken, Locker, ReleaseOutcome, RenewOutcome,
};
use stanchion::time::Ttl;

fn key(name: &str) -> Outcome<Key> {
    Ok(Key::new("locks", "lock", name)?)
}
fn token(n: u8) -> LockToken {
    LockToken::new([n; 16])
}
fn long() -> Ttl {
    Ttl::MAX
}

async fn ask(locker: &dyn Locker, name: &str, n: u8, lease: Ttl) -> Outcome<Option<Lease>> {
    Ok(match locker.acquire(&LockRequest::new(key(name)?, token(n), lease)).await? {
        AcquireOutcome::Acquired(lease) => Some(lease),
        _ => None,
    })
}
async fn take(locker: &dyn Locker, name: &str, n: u8, lease: Ttl) -> Outcome<Lease> {
    match ask(locker, name, n, lease).await? {
        Some(lease) => Ok(lease),
        None => fail("the lock is free", "busy"),
    }
}

async fn one_holder_at_a_time(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.locker()?, cx.open().await?.locker()?);
    let lease = Ttl::new(Duration::from_mins(1))?;
    take(&*here, "a", 1, lease).await?;
    match there.acquire(&LockRequest::new(key("a")?, token(2), long())).await? {
        AcquireOutcome::Busy { remaining } => ensure(
            remaining <= lease.as_duration() && remaining > lease.as_duration() / 2,
            "busy for what is left of the lease",
            remaining,
        ),
        other => fail("busy", other),
    }
}

async fn a_race_has_one_winner(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.locker()?, cx.open().await?.locker()?);
    let racing = (1..=30).map(|n| ask(if n % 2 == 0 { &*here } else { &*there }, "a", n, long()));
    let won = try_join_all(racing).await?.into_iter().flatten().count();
    same(won, 1, "winners of 30 at once")
}

async fn a_release_frees_the_lock(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.locker()?, cx.open().await?.locker()?);
    let lease = take(&*here, "a", 1, long()).await?;
    // Who has found it held must not hold on to that.
    same(ask(&*there, "a", 2, long()).await?, None, "the lock before its release")?;
    same(here.release(&lease).await?, ReleaseOutcome::Released, "the holder's release")?;
    same(here.release(&lease).await?, ReleaseOutcome::WasLost, "a second release")?;
    take(&*there, "a", 2, long()).await.map(drop)
}

async fn only_the_holder_releases(cx: &Context) -> Outcome {
    let locker = cx.open().await?.locker()?;
    let held = take(&*locker, "a", 1, long()).await?;
    let mut forged = held.clone();
    forged.token = token(2);
    same(locker.release(&forged).await?, ReleaseOutcome::WasLost, "a release by another token")?;
    same(ask(&*locker, "a", 3, long()).await?, None, "the lock is still held")?;
    same(locker.release(&held).await?, ReleaseOutcome::Released, "the holder's release")
}

async fn fences_only_grow(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.locker()?, cx.open().await?.locker()?);
    let mut last = None;
    for n in 1..=5 {
        let locker = if n % 2 == 0 { &here } else { &there };
        let lease = take(&**locker, "a", n, long()).await?;
        ensure(Some(lease.fence) > last, "each fence is greater", (last, lease.fence))?;
        last = Some(lease.fence);
        locker.release(&lease).await?;
    }
    take(&*here, "a", 8, cx.short()).await?;
    cx.pass(cx.short()).await;
    let after_expiry = take(&*there, "a", 9, long()).await?;
    ensure(Some(after_expiry.fence) > last, "also after a lease ran out", (last, after_expiry.fence))
}

async fn a_lease_runs_out(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.locker()?, cx.open().await?.locker()?);
    let old = take(&*here, "a", 1, cx.short()).await?;
    cx.pass(cx.short()).await;
    same(here.inspect(&key("a")?).await?, None, "the lock after the lease")?;
    take(&*there, "a", 2, long()).await?;
    same(here.release(&old).await?, ReleaseOutcome::WasLost, "the late release of the old holder")?;
    same(here.renew(&[old]).await?, vec![RenewOutcome::Lost], "the late renewal of the old holder")?;
    same(ask(&*here, "a", 3, long()).await?, None, "the new holder still has it")
}

async fn a_renewal_holds_for_a_whole_lease(cx: &Context) -> Outcome {
    let locker = cx.open().await?.locker()?;
    let renewing = cx.while_it_lasts(|life, attempt| {
        let locker = &*locker;
        async move {
            let name = format!("a{attempt}");
            let mut lease = take(locker, &name, 1, life).await?;
            lease.lease = long();
            same(locker.renew(&[lease]).await?, vec![RenewOutcome::Held], "the holder's renewal")?;
            Ok((name, life))
        }
    });
    let (name, life) = renewing.await?;
    cx.pass(life).await;
    same(ask(&*locker, &name, 2, long()).await?, None, "the lock after the first lease")
}

async fn an_expired_lease_is_never_revived(cx: &Context) -> Outcome {
    let locker = cx.open().await?.locker()?;
    let lease = take(&*locker, "a", 1, cx.short()).await?;
    cx.pass(cx.short()).await;
    same(
        locker.renew(&[lease]).await?,
        vec![RenewOutcome::Lost],
        "renewing an expired lease on a free lock",
    )?;
    same(locker.inspect(&key("a")?).await?, None, "the lock stays free")
}

async fn only_the_holder_renews(cx: &Context) -> Outcome {
    let locker = cx.open().await?.locker()?;
    let held = take(&*locker, "a", 1, Ttl::new(Duration::from_mins(1))?).await?;
    let mut forged = held.clone();
    forged.token = token(2);
    forged.lease = long();
    let mut other = take(&*locker, "b", 3, Ttl::new(Duration::from_mins(1))?).await?;
    other.lease = long();
    let outcomes = locker.renew(&[forged, other]).await?;
    same(
        outcomes,
        vec![RenewOutcome::Lost, RenewOutcome::Held],
        "a forged and a held lease, in their order",
    )?;
    let left = |inspected: Option<(_, Duration)>| inspected.map(|(_, left)| left).unwrap_or_default();
    let (a, b) = (left(locker.inspect(&key("a")?).await?), left(locker.inspect(&key("b")?).await?));
    ensure(a <= Duration::from_mins(1), "the forged renewal changed nothing", a)?;
    ensure(b > Duration::from_mins(1), "the held one was renewed", b)
}

async fn asking_again_with_the_same_token_answers_the_same(cx: &Context) -> Outcome {
    let locker = cx.open().await?.locker()?;
    let first = take(&*locker, "a", 1, Ttl::new(Duration::from_mins(1))?).await?;
    let second = take(&*locker, "a", 1, long()).await?;
    same(second.fence, first.fence, "the fence of the same acquisition asked twice")?;
    let left = locker.inspect(&key("a")?).await?.map(|(_, left)| left).unwrap_or_default();
    ensure(left > Duration::from_mins(1), "the full lease from now", left)
}

async fn inspect_tells_fence_and_time(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.locker()?, cx.open().await?.locker()?);
    same(there.inspect(&key("a")?).await?, None, "a lock nobody took")?;
    let lease = take(&*here, "a", 1, Ttl::new(Duration::from_mins(1))?).await?;
    match there.inspect(&key("a")?).await? {
        Some((fence, left)) => {
            same(fence, lease.fence, "the holder's fence")?;
            ensure(left <= Duration::from_mins(1) && left > Duration::from_secs(30), "what is left", left)
        }
        None => fail("held", "free"),
    }
}

async fn names_stay_apart(cx: &Context) -> Outcome {
    let locker = cx.open().await?.locker()?;
    for (n, name) in (1..).zip(["a", "a:b", "{a}", "a b", "a%3Ab", "*", "A", "é"]) {
        take(&*locker, name, n, long()).await?;
    }
    Ok(())
}

async fn a_token_whose_lease_ran_out_acquires_anew(cx: &Context) -> Outcome {
    let locker = cx.open().await?.locker()?;
    let first = take(&*locker, "a", 1, cx.short()).await?;
    cx.pass(cx.short()).await;
    let second = take(&*locker, "a", 1, long()).await?;
    ensure(second.fence > first.fence, "a greater fence", (first.fence, second.fence))
}

async fn places_stay_apart(cx: &Context) -> Outcome {
    let (here, elsewhere) = (cx.open().await?.locker()?, cx.elsewhere().await?.locker()?);
    take(&*here, "a", 1, long()).await?;
    let theirs = take(&*elsewhere, "a", 2, long()).await?;
    same(elsewhere.release(&theirs).await?, ReleaseOutcome::Released, "the release elsewhere")?;
    same(ask(&*here, "a", 3, long()).await?, None, "the lock is still held here")
}

async fn renewing_nothing_is_no_error(cx: &Context) -> Outcome {
    let locker = cx.open().await?.locker()?;
    same(locker.renew(&[]).await?, Vec::new(), "the renewals of no lease")
}

async fn a_fence_is_a_time(cx: &Context) -> Outcome {
    // In 2024: no store's clock is behind the day on which this was written.
    const EARLIEST: u64 = 1_720_000_000_000_000;
    let locker = cx.open().await?.locker()?;
    let fence = take(&*locker, "a", 1, long()).await?.fence;
    ensure(fence.get() > EARLIEST, "a fence is not less than the time in microseconds", fence)
}

async fn a_dropped_acquire_takes_the_lock_or_not(cx: &Context) -> Outcome {
    let (locker, minute) = (cx.open().await?.locker()?, Ttl::new(Duration::from_mins(1))?);
    for polls in 0..8 {
        let key = key(&polls.to_string())?;
        dropped_after(polls, locker.acquire(&LockRequest::new(key.clone(), token(1), minute))).await;
        // What was sent and then dropped may come late.
        if let Some((_, left)) = locker.inspect(&key).await? {
            ensure(left <= minute.as_duration(), "the lease that was asked for", left)?;
        }
    }
    Ok(())
}

async fn the_lock_of_a_killed_process_is_free_after_its_lease(cx: &Context) -> Outcome {
    let locker = cx.open().await?.locker()?;
    let (name, fence, life) = cx
        .while_it_lasts(|life, attempt| {
            let locker = &locker;
            async move {
                let name = format!("a{attempt}");
                let mut holder = cx.child().await?;
                let (lease, token) = (life.as_duration(), 255);
                holder.give(&Task::Acquire { name: name.clone(), token, lease }).await?;
                let fence: Option<u64> = holder.result().await?;
                holder.kill().await?;
                let Some(fence) = fence.map(Fence::new) else { return fail("the lock is free", "busy") };
                match ask(&**locker, &name, 1, long()).await? {
                    None => Ok((name, fence, life)),
                    Some(lease) => fail("held for the lease of the process that was killed", lease),
                }
            }
        })
        .await?;
    cx.pass(life).await;
    let next = take(&*locker, &name, 2, long()).await?;
    ensure(next.fence > fence, "a greater fence than that of the killed process", (fence, next.fence))
}

rules! {
    "LOCK-01" Must "At any time at most one lease on a key is live; another request gets how long it lasts." => [
        "acquire::one_holder": one_holder_at_a_time,
        "acquire::race_has_one_winner": a_race_has_one_winner,
    ];
    "LOCK-02" Must "A release frees the lock at once, for every handle." => ["release::frees": a_release_frees_the_lock];
    "LOCK-03" Must "Only the token that acquired releases." => ["release::only_the_holder": only_the_holder_releases];
    "LOCK-04" Must "The fence of each acquisition is greater than that of every earlier one." => [
        "fence::only_grows": fences_only_grow,
        "fence::grows_for_the_same_token": a_token_whose_lease_ran_out_acquires_anew,
    ];
    "LOCK-05" Must "A lease runs out by the store's clock, and its holder can harm the next one's no more." => [
        "lease::runs_out": a_lease_runs_out,
    ];
    "LOCK-06" Must "A renewal holds for a whole lease from now." => ["renew::whole_lease": a_renewal_holds_for_a_whole_lease];
    "LOCK-07" Must "A lease that has run out is never revived." => ["renew::never_revives": an_expired_lease_is_never_revived];
    "LOCK-08" Must "Only the token that acquired renews; outcomes are in the order of the leases." => [
        "renew::only_the_holder": only_the_holder_renews,
    ];
    "LOCK-09" Must "Asking again with the token that holds answers the same fence, and the full lease from now." => [
        "acquire::same_token_again": asking_again_with_the_same_token_answers_the_same,
    ];
    "LOCK-10" Must "inspect tells the holder's fence and what is left of its lease." => [
        "inspect::fence_and_time": inspect_tells_fence_and_time,
    ];
    "LOCK-11" Must "Names stay apart, whatever they hold." => ["isolation::names": names_stay_apart];
    "LOCK-12" Must "Places stay apart." => ["isolation::places": places_stay_apart];
    "LOCK-13" Must "Renewing no lease is no error." => ["renew::nothing": renewing_nothing_is_no_error];
    "LOCK-14" Must "A fence is not less than the store's time in microseconds, so that one that was lost never comes again." => [
        "fence::is_a_time": a_fence_is_a_time,
    ];
    "LOCK-15" Must "A dropped acquire leaves the lock free, or held for the lease that was asked for." => [
        "cancel::free_or_leased": a_dropped_acquire_takes_the_lock_or_not,
    ];
    "LOCK-16" Must "The lock of a process that was killed is held until its lease is over, and then it is free, with a greater fence." => [
        "process::killed_holder": the_lock_of_a_killed_process_is_free_after_its_lease,
    ];
    "LOCK-17" Must "No two processes hold a lock at the same time, and their fences are different and only grow." => [
        "process::one_holder": process::lock::one_holds_a_lock,
    ];
    "LOCK-18" Must "Fences only grow, also when the store's wall clock is set back or forth." => [
        "wall_clock::fences_only_grow": wall_clock::lock::fences_only_grow,
    ];
    "LOCK-19" Must "A step of the store's wall clock prolongs no lease by more than the step." => [
        "wall_clock::lives_after_a_step_back": wall_clock::lock::lives_after_a_step_back,
        "wall_clock::lives_after_a_step_forth": wall_clock::lock::lives_after_a_step_forth,
    ];
}
