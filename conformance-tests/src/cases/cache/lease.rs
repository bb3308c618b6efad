//! Leases on filling an entry.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use stanchion::cache::{CacheStore, Fetched, LeaseRequest, Release, SetOutcome, Want, When};
use stanchion::key::Key;
use stanchion::time::Ttl;

use super::common::{bytes, key, keys, put, set_if, token};
use crate::check::{fail, same};
use crate::{Context, Outcome};
use stanchion::cache::AllParts as _;

/// The answer to one request.
pub(super) async fn fetch(
    store: &dyn CacheStore,
    key: &Key,
    holder: u8,
    lease: Ttl,
    want: Want,
) -> Outcome<Fetched> {
    let request = LeaseRequest::new(key.clone(), token(holder), lease, want);
    let mut answers = store.fetch(&[request]).await?;
    match (answers.pop(), answers.is_empty()) {
        (Some(answer), true) => Ok(answer),
        (answer, _) => fail("one answer to one request", (answer, answers)),
    }
}

/// A lease that nobody else has, for an day.
pub(super) async fn lease(store: &dyn CacheStore, key: &Key, holder: u8) -> Outcome {
    match fetch(store, key, holder, day()?, Want::Anyway).await? {
        Fetched::Leased { .. } => Ok(()),
        other => fail("the lease that nobody has", other),
    }
}

pub(super) fn day() -> Outcome<Ttl> {
    Ok(Ttl::new(Duration::from_hours(24))?)
}

/// Somebody has the lease on this key. Asking takes none.
pub(super) async fn is_held(store: &dyn CacheStore, key: &Key, what: &str) -> Outcome {
    match fetch(store, key, 255, day()?, Want::Anyway).await? {
        Fetched::Busy { .. } => Ok(()),
        other => fail(format!("{what}: busy"), other),
    }
}

/// The lease was granted, with whatever value.
fn is_leased(answer: Fetched, what: &str) -> Outcome {
    if matches!(answer, Fetched::Leased { .. }) { Ok(()) } else { fail(format!("{what}: leased"), answer) }
}

/// Somebody else's lease of at most this length, with what else was answered.
fn busy(answer: Fetched, longest: Ttl) -> Outcome<Option<Bytes>> {
    match answer {
        Fetched::Busy { remaining, current }
            if remaining > longest.as_duration() / 2 && remaining <= longest.as_duration() =>
        {
            Ok(current)
        }
        other => fail(format!("busy, with more than half of {longest:?} left"), other),
    }
}

pub(super) async fn of_a_race_for_a_lease_one_gets_it(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    put(&*here, "stale", "old").await?;
    for (id, want) in [("cold", Want::IfAbsent), ("stale", Want::Anyway)] {
        let (key, lease) = (&key(id)?, day()?);
        let racing = (0..30).map(|n| {
            let store = if n % 2 == 0 { &here } else { &there };
            fetch(&**store, key, n, lease, want)
        });
        let answers = try_join_all(racing).await?;
        let granted = answers.iter().filter(|answer| matches!(answer, Fetched::Leased { .. })).count();
        same(granted, 1, "leases for 30 that ask at once")?;
    }
    Ok(())
}

pub(super) async fn who_does_not_get_it_is_told_how_long(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let (cold, stale) = (key("cold")?, key("stale")?);
    put(&*here, "stale", "old").await?;
    // Longer than what is asked for in vain.
    let long = Ttl::new(Duration::from_hours(72))?;
    is_leased(fetch(&*here, &cold, 1, long, Want::IfAbsent).await?, "where nothing is")?;
    is_leased(fetch(&*here, &stale, 1, long, Want::Anyway).await?, "over a value")?;
    for want in [Want::IfAbsent, Want::Anyway] {
        same(busy(fetch(&*there, &cold, 2, day()?, want).await?, long)?, None, "no value beside the lease")?;
    }
    let current = busy(fetch(&*there, &stale, 2, day()?, Want::Anyway).await?, long)?;
    same(current, Some(bytes("old")), "the value beside somebody else's lease")
}

pub(super) async fn a_hit_grants_no_lease(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let a = key("a")?;
    put(&*here, "a", "x").await?;
    let hit = Fetched::Hit(bytes("x"));
    same(fetch(&*here, &a, 1, day()?, Want::IfAbsent).await?, hit.clone(), "a value that is there")?;
    // Nobody has the lease then.
    is_leased(fetch(&*there, &a, 2, day()?, Want::Anyway).await?, "after a hit")?;
    same(fetch(&*here, &a, 1, day()?, Want::IfAbsent).await?, hit, "a value that is there, and being loaded")
}

pub(super) async fn a_lease_wanted_anyway_comes_with_the_value(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let (a, b) = (key("a")?, key("b")?);
    put(&*store, "a", "x").await?;
    let leased = Fetched::Leased { current: Some(bytes("x")) };
    same(fetch(&*store, &a, 1, day()?, Want::Anyway).await?, leased, "a lease, and the value")?;
    let leased = Fetched::Leased { current: None };
    same(fetch(&*store, &b, 1, day()?, Want::Anyway).await?, leased, "a lease, and no value")?;
    // It stays readable meanwhile.
    same(store.get(&a).await?, Some(bytes("x")), "the value under the lease")
}

pub(super) async fn the_same_token_is_leased_anew(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let (cold, stale) = (key("cold")?, key("stale")?);
    put(&*here, "stale", "old").await?;
    for (key, want) in [(&cold, Want::IfAbsent), (&stale, Want::Anyway)] {
        is_leased(fetch(&*here, key, 1, cx.short(), want).await?, "the first time")?;
        // From another handle too: it is the token that counts.
        is_leased(fetch(&*there, key, 1, day()?, want).await?, "the same token again")?;
    }
    cx.pass(cx.short()).await;
    for key in [&cold, &stale] {
        is_held(&*there, key, "a lease of the full length from when it was asked for again").await?;
    }
    Ok(())
}

pub(super) async fn a_lease_runs_out_and_is_taken_over(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    for (id, want) in [("cold", Want::IfAbsent), ("other", Want::Anyway)] {
        let key = key(id)?;
        is_leased(fetch(&*here, &key, 1, cx.short(), want).await?, "a lease")?;
        cx.pass(cx.short()).await;
        is_leased(fetch(&*there, &key, 2, day()?, want).await?, "a lease after its end, for the next")?;
        is_held(&*here, &key, "the lease that was taken over").await?;
    }
    Ok(())
}

pub(super) async fn a_lease_is_there_until_it_runs_out(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    cx.while_it_lasts(|life, attempt| {
        let store = &store;
        async move {
            let key = key(&format!("a{attempt}"))?;
            is_leased(fetch(&**store, &key, 1, life, Want::IfAbsent).await?, "a lease")?;
            cx.advance(cx.most_of(life)).await;
            is_held(&**store, &key, "a lease before its end").await
        }
    })
    .await
}

pub(super) async fn keep_extends_what_is_held(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let keeping = cx.while_it_lasts(|life, attempt| {
        let (here, there) = (&*here, &*there);
        async move {
            let ids = ["cold", "stale"].map(|id| format!("{id}{attempt}"));
            put(here, &ids[1], "old").await?;
            for id in &ids {
                let key = key(id)?;
                is_leased(fetch(here, &key, 1, life, Want::Anyway).await?, "a lease")?;
                let kept = fetch(there, &key, 1, day()?, Want::Keep).await?;
                same(kept, Fetched::Leased { current: None }, "the lease that is kept, and no value")?;
            }
            Ok((ids, life))
        }
    });
    let (ids, life) = keeping.await?;
    cx.pass(life).await;
    for id in &ids {
        is_held(&*there, &key(id)?, "a kept lease, past its first end").await?;
    }
    Ok(())
}

pub(super) async fn keep_takes_no_lease_anew(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let a = key("a")?;
    let not_held = Fetched::Busy { remaining: Duration::ZERO, current: None };
    same(fetch(&*here, &a, 1, day()?, Want::Keep).await?, not_held.clone(), "keeping what was never held")?;
    // After a write: what is being loaded is out of date.
    lease(&*here, &a, 1).await?;
    let _absent = there.remove_many(std::slice::from_ref(&a)).await?;
    same(fetch(&*here, &a, 1, day()?, Want::Keep).await?, not_held.clone(), "keeping what a removal voided")?;
    lease(&*here, &a, 1).await?;
    put(&*there, "a", "new").await?;
    same(fetch(&*here, &a, 1, day()?, Want::Keep).await?, not_held.clone(), "keeping what a set voided")?;
    // Nor after its end, nor in another's place.
    let b = key("b")?;
    is_leased(fetch(&*here, &b, 1, cx.short(), Want::IfAbsent).await?, "a lease")?;
    cx.pass(cx.short()).await;
    same(fetch(&*here, &b, 1, day()?, Want::Keep).await?, not_held, "keeping what ran out")?;
    lease(&*there, &b, 2).await?;
    let current = busy(fetch(&*here, &b, 1, day()?, Want::Keep).await?, day()?)?;
    same(current, None, "the value beside what is another's")?;
    is_leased(
        fetch(&*there, &b, 2, day()?, Want::Keep).await?,
        "keeping one's own, that another asked to keep",
    )
}

pub(super) async fn an_abandoned_lease_is_free_at_once(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let (a, b) = (key("a")?, key("b")?);
    lease(&*here, &a, 1).await?;
    lease(&*here, &b, 1).await?;
    there.release(&[Release::new(a.clone(), token(1)), Release::new(b.clone(), token(1))]).await?;
    for key in [&a, &b] {
        is_leased(fetch(&*there, key, 2, day()?, Want::IfAbsent).await?, "a lease that was abandoned")?;
    }
    Ok(())
}

pub(super) async fn only_the_holder_abandons(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let (a, b) = (key("a")?, key("b")?);
    lease(&*here, &a, 1).await?;
    // One that nobody has is passed over.
    there.release(&[Release::new(b, token(1)), Release::new(a.clone(), token(2))]).await?;
    is_held(&*here, &a, "a lease that another token abandoned").await
}

/// The lease on a key, released as failed for a day.
async fn fail_load(store: &dyn CacheStore, key: &Key, holder: u8) -> Outcome {
    lease(store, key, holder).await?;
    Ok(store.release(&[Release::new(key.clone(), token(holder)).failed(day()?)]).await?)
}

/// The answer that a load has failed, with what else was answered.
fn failed(answer: Fetched, longest: Ttl) -> Outcome<Option<Bytes>> {
    match answer {
        Fetched::Failed { remaining, current }
            if !remaining.is_zero() && remaining <= longest.as_duration() =>
        {
            Ok(current)
        }
        other => fail("that a load has failed, and for how long that is remembered yet", other),
    }
}

pub(super) async fn a_failed_load_is_known_to_all(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let (a, b) = (key("a")?, key("b")?);
    fail_load(&*here, &a, 1).await?;
    for store in [&here, &there] {
        for want in [Want::IfAbsent, Want::Anyway] {
            let current = failed(fetch(&**store, &a, 2, day()?, want).await?, day()?)?;
            same(current, None, "the value beside a failure")?;
        }
    }
    let not_held = Fetched::Busy { remaining: Duration::ZERO, current: None };
    same(fetch(&*there, &a, 1, day()?, Want::Keep).await?, not_held, "keeping what was released")?;
    // A value that is there is answered first, or comes with it.
    put(&*here, "b", "old").await?;
    fail_load(&*here, &b, 1).await?;
    same(
        fetch(&*there, &b, 2, day()?, Want::IfAbsent).await?,
        Fetched::Hit(bytes("old")),
        "a value that is there",
    )?;
    let current = failed(fetch(&*there, &b, 2, day()?, Want::Anyway).await?, day()?)?;
    same(current, Some(bytes("old")), "the value beside a failure")?;
    // Only the holder says so.
    let c = key("c")?;
    lease(&*here, &c, 1).await?;
    there.release(&[Release::new(c.clone(), token(2)).failed(day()?)]).await?;
    is_held(&*here, &c, "a lease whose load another token said to have failed").await
}

pub(super) async fn a_failure_ends(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let a = key("a")?;
    // By its time.
    lease(&*here, &a, 1).await?;
    here.release(&[Release::new(a.clone(), token(1)).failed(cx.short())]).await?;
    cx.pass(cx.short()).await;
    is_leased(fetch(&*there, &a, 2, day()?, Want::IfAbsent).await?, "a lease after a failure is over")?;
    // By who asks despite it, whose lease is as any other.
    let b = key("b")?;
    fail_load(&*here, &b, 1).await?;
    let request = LeaseRequest::new(b.clone(), token(2), day()?, Want::IfAbsent).despite_failure();
    let mut answers = there.fetch(&[request]).await?;
    is_leased(
        match answers.pop() {
            Some(answer) => answer,
            None => return fail("one answer to one request", answers),
        },
        "a lease despite a failure",
    )?;
    is_held(&*here, &b, "a lease that was taken despite a failure").await?;
    // By a write.
    for write in ["set", "removal"] {
        let key = key(write)?;
        fail_load(&*here, &key, 1).await?;
        if write == "set" {
            put(&*there, write, "new").await?;
        } else {
            let _absent = there.remove_many(std::slice::from_ref(&key)).await?;
        }
        is_leased(fetch(&*here, &key, 2, day()?, Want::Anyway).await?, &format!("a lease after a {write}"))?;
    }
    Ok(())
}

pub(super) async fn a_lease_is_no_entry(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let a = key("a")?;
    lease(&*here, &a, 1).await?;
    same(there.get(&a).await?, None, "the value under a lease")?;
    same(there.get_many(std::slice::from_ref(&a)).await?, vec![None], "the values under a lease")?;
    same(there.get_many_with_ttl(std::slice::from_ref(&a)).await?, vec![None], "the value and its TTL")?;
    same(there.ttl(&a).await?, None, "the TTL under a lease")?;
    same(there.touch(&a, Ttl::MAX).await?, false, "touching what is not there")?;
    same(set_if(&*there, "a", "x", When::Present).await?, SetOutcome::NotStored, "present")?;
    same(there.remove_many(std::slice::from_ref(&a)).await?, 0, "how many entries a removal finds")?;
    lease(&*here, &a, 1).await?;
    if let Some(counters) = there.counters() {
        same(counters.add(&a, 5, Ttl::MAX).await?, 5, "adding to nothing")?;
        lease(&*here, &a, 1).await?;
        same(there.remove_many(std::slice::from_ref(&a)).await?, 1, "how many entries a removal finds")?;
        lease(&*here, &a, 1).await?;
    }
    same(set_if(&*there, "a", "x", When::Absent).await?, SetOutcome::Stored, "absent")
}

pub(super) async fn leases_of_different_keys_stay_apart(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    // Also one that is called as the lease of the first might be.
    let keys = keys(["k", "K", "kl", "k:lease", "{k}:lease", "k*", "é"])?;
    let mut all = keys.clone();
    all.push(keys[0].subkey("lease")?);
    for (key, holder) in all.iter().zip(1..) {
        let answer = fetch(&*here, key, holder, day()?, Want::IfAbsent).await?;
        is_leased(answer, &format!("a lease of its own for {key}"))?;
    }
    put(&*there, "kl", "x").await?;
    for key in all.iter().filter(|key| **key != keys[2]) {
        is_held(&*here, key, &format!("the lease on {key}, after another was voided")).await?;
    }
    Ok(())
}

pub(super) async fn fetched_in_the_order_of_the_requests(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    put(&*here, "there", "x").await?;
    put(&*here, "stale", "y").await?;
    lease(&*there, &key("taken")?, 9).await?;
    let wants = [
        ("cold", Want::IfAbsent, "leased"),
        ("there", Want::IfAbsent, "hit"),
        ("taken", Want::IfAbsent, "busy"),
        ("stale", Want::Anyway, "leased"),
        ("there", Want::IfAbsent, "hit"),
        ("taken", Want::Anyway, "busy"),
    ];
    let requests = wants
        .iter()
        .map(|(id, want, _)| Ok(LeaseRequest::new(key(id)?, token(1), day()?, *want)))
        .collect::<Outcome<Vec<_>>>()?;
    let answers = here.fetch(&requests).await?.into_iter().map(|answer| match answer {
        Fetched::Hit(_) => "hit",
        Fetched::Leased { .. } => "leased",
        Fetched::Busy { .. } => "busy",
        _ => "something else",
    });
    let expected: Vec<_> = wants.iter().map(|(_, _, answer)| *answer).collect();
    same(answers.collect(), expected, "the answers in the order of the requests")
}
