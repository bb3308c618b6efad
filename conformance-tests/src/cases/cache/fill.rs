//! Filling an entry under a lease, and what voids it.

use bytes::Bytes;
use stanchion::ErrorKind;
use stanchion::cache::FillOutcome::{Fenced, Filled};
use stanchion::cache::SetOutcome::{NotStored, Stored};
use stanchion::cache::{
    CacheStore, Fetched, Fill, FillOutcome, SetEntry, SetOptions, SetOutcome, Want, When,
};
use stanchion::key::Key;
use stanchion::time::Ttl;

use super::common::{always, bytes, holds, key, put, set_if, token};
use super::lease::{day, fetch, is_held, lease};
use crate::check::{ensure, fail, refused, same};
use crate::{Context, Outcome};
use stanchion::cache::AllParts as _;

/// The outcome of one fill, of a value that lives long.
pub(super) async fn fill(
    store: &dyn CacheStore,
    key: &Key,
    holder: u8,
    value: &'static str,
) -> Outcome<FillOutcome> {
    let fill = Fill::new(key.clone(), token(holder), bytes(value), Ttl::MAX);
    match store.fill(&[fill]).await?.as_slice() {
        [outcome] => Ok(*outcome),
        other => fail("one outcome of one fill", other),
    }
}

pub(super) async fn a_fill_stores_and_gives_the_lease_back(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let (cold, stale, short) = (key("cold")?, key("stale")?, key("short")?);
    put(&*here, "stale", "old").await?;
    for key in [&cold, &stale, &short] {
        lease(&*here, key, 1).await?;
    }
    let fills = [(&cold, Ttl::MAX), (&stale, Ttl::MAX), (&short, cx.short())]
        .map(|(key, ttl)| Fill::new(key.clone(), token(1), bytes("new"), ttl));
    // The token proves the lease, also from another handle.
    same(there.fill(&fills).await?, vec![Filled; 3], "fills with live leases")?;
    for id in ["cold", "stale"] {
        holds(&*here, id, Some("new")).await?;
    }
    for (id, key) in [("cold", &cold), ("stale", &stale)] {
        same(fill(&*here, key, 1, "again").await?, Fenced, "filling a second time")?;
        holds(&*here, id, Some("new")).await?;
        // The next load need not wait.
        lease(&*there, key, 2).await?;
    }
    cx.pass(cx.short()).await;
    holds(&*here, "short", None).await?;
    holds(&*here, "cold", Some("new")).await
}

pub(super) async fn a_fill_without_the_live_lease_changes_nothing(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let fenced = |store, id: &'static str, holder, what: &'static str| async move {
        same(fill(store, &key(id)?, holder, "stale").await?, Fenced, what)
    };
    fenced(&*here, "never", 1, "a fill without a lease").await?;
    holds(&*here, "never", None).await?;
    put(&*here, "value", "kept").await?;
    fenced(&*here, "value", 1, "a fill without a lease, over a value").await?;
    holds(&*here, "value", Some("kept")).await?;
    let (taken, over) = (key("taken")?, key("over")?);
    lease(&*there, &taken, 2).await?;
    fenced(&*here, "taken", 1, "a fill with another token than the lease's").await?;
    holds(&*here, "taken", None).await?;
    is_held(&*here, &taken, "the other's lease, after a fill in vain").await?;
    let answer = fetch(&*here, &over, 1, cx.short(), Want::IfAbsent).await?;
    ensure(matches!(answer, Fetched::Leased { .. }), "a lease", answer)?;
    cx.pass(cx.short()).await;
    fenced(&*here, "over", 1, "a fill after the lease ran out").await?;
    holds(&*here, "over", None).await?;
    lease(&*there, &over, 2).await?;
    fenced(&*here, "over", 1, "a fill after the lease was taken over").await?;
    same(fill(&*there, &over, 2, "new").await?, Filled, "the fill of who took it over")?;
    holds(&*here, "over", Some("new")).await
}

pub(super) async fn fills_answer_in_order(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    for id in ["a", "c"] {
        lease(&*store, &key(id)?, 1).await?;
    }
    let fills = ["a", "b", "c", "d"]
        .into_iter()
        .map(|id| Ok(Fill::new(key(id)?, token(1), Bytes::from(id), Ttl::MAX)))
        .collect::<Outcome<Vec<_>>>()?;
    same(
        store.fill(&fills).await?,
        vec![Filled, Fenced, Filled, Fenced],
        "the outcomes in the order of the fills",
    )?;
    for (id, value) in [("a", Some("a")), ("b", None), ("c", Some("c")), ("d", None)] {
        holds(&*store, id, value).await?;
    }
    Ok(())
}

pub(super) async fn a_filled_value_may_be_as_large_as_declared(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let most = store.capabilities().max_value_bytes;
    let (a, b) = (key("a")?, key("b")?);
    lease(&*store, &a, 1).await?;
    lease(&*store, &b, 1).await?;
    let of = |key: &Key, value| Fill::new(key.clone(), token(1), value, Ttl::MAX);
    let larger = Bytes::from(vec![7; most + 1]);
    let fills = [of(&a, bytes("fine")), of(&b, larger)];
    refused(store.fill(&fills).await, ErrorKind::InvalidInput, "a fill over the cap")?;
    holds(&*store, "a", None).await?;
    is_held(&*store, &a, "a lease after a fill that was refused").await?;
    let largest = Bytes::from(vec![7; most]);
    let filled = store.fill(&[of(&b, largest.clone())]).await?;
    same(filled, vec![Filled], "a fill of the largest size")?;
    ensure(store.get(&b).await? == Some(largest), "the value of the largest size", "another")
}

/// The lease of a key that was written since, and the fill under it, are void.
async fn is_void(store: &dyn CacheStore, key: &Key, by: &str) -> Outcome {
    let before = store.get(key).await?;
    let filled = fill(store, key, 1, "stale").await?;
    same(filled, Fenced, &format!("a fill of what was loaded before {by}"))?;
    same(store.get(key).await?, before, &format!("the value after {by}"))?;
    // The next load need not wait.
    match fetch(store, key, 2, day()?, Want::Anyway).await? {
        Fetched::Leased { .. } => Ok(()),
        other => fail(format!("a lease for the next after {by}"), other),
    }
}

pub(super) async fn a_set_voids(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    for (id, old, when) in [
        ("cold", None, When::Always),
        ("always", Some("old"), When::Always),
        ("absent", None, When::Absent),
        ("present", Some("old"), When::Present),
        ("equals", Some("old"), When::Equals(bytes("old"))),
        // The same bytes again are a write too.
        ("unchanged", Some("new"), When::Always),
    ] {
        if let Some(old) = old {
            put(&*here, id, old).await?;
        }
        lease(&*here, &key(id)?, 1).await?;
        same(set_if(&*there, id, "new", when).await?, Stored, id)?;
        is_void(&*here, &key(id)?, &format!("a set ({id})")).await?;
    }
    Ok(())
}

pub(super) async fn a_set_of_a_lesser_schema_voids(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let a = key("a")?;
    let newer = Bytes::from_static(&[0xB5, 2, 0, 0, 0, 0, 0, 3]);
    same(here.set(&a, newer, &always()).await?, Stored, "a value of schema 3")?;
    lease(&*here, &a, 1).await?;
    let set = there.set(&a, bytes("older"), &always().schema(2)).await?;
    same(set, SetOutcome::Newer, "a set of schema 2")?;
    is_void(&*here, &a, "a set that found a newer value").await
}

pub(super) async fn a_batch_of_sets_voids(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    put(&*here, "there", "old").await?;
    let (cold, there_before, kept) = (key("cold")?, key("there")?, key("kept")?);
    for key in [&cold, &there_before, &kept] {
        lease(&*here, key, 1).await?;
    }
    let entries = [
        SetEntry::new(cold.clone(), bytes("new"), always()),
        SetEntry::new(there_before.clone(), bytes("new"), always()),
        SetEntry::new(kept.clone(), bytes("new"), always().when(When::Present)),
    ];
    same(there.set_many(&entries).await?, vec![Stored, Stored, NotStored], "sets")?;
    is_void(&*here, &cold, "a set in a batch").await?;
    is_void(&*here, &there_before, "a set in a batch, over a value").await?;
    is_held(&*here, &kept, "a lease over which nothing was stored").await
}

pub(super) async fn a_removal_voids(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let keys = [key("cold")?, key("there")?];
    put(&*here, "there", "old").await?;
    for key in &keys {
        lease(&*here, key, 1).await?;
    }
    let _found = there.remove_many(&keys).await?;
    is_void(&*here, &keys[1], "the removal of a value").await?;
    // What was read before may be the very thing that the removal is about.
    is_void(&*here, &keys[0], "a removal that found nothing").await
}

pub(super) async fn an_addition_voids(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    for (id, delta) in [("cold", 1), ("there", 1), ("zero", 0)] {
        let key = key(id)?;
        if id != "cold" {
            put(&*here, id, "41").await?;
        }
        lease(&*here, &key, 1).await?;
        let _sum = there.add(&key, delta, Ttl::MAX).await?;
        is_void(&*here, &key, &format!("an addition ({id})")).await?;
    }
    Ok(())
}

pub(super) async fn what_stores_nothing_voids_nothing(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let (cold, stale) = (key("cold")?, key("stale")?);
    put(&*here, "stale", "old").await?;
    lease(&*here, &cold, 1).await?;
    lease(&*here, &stale, 1).await?;
    for (id, when) in [
        ("cold", When::Present),
        ("cold", When::Equals(bytes("x"))),
        ("stale", When::Absent),
        ("stale", When::Equals(bytes("x"))),
    ] {
        same(set_if(&*there, id, "new", when).await?, NotStored, id)?;
    }
    // Reading is no write, and what is refused is none.
    let _seen = there.get_many_with_ttl(&[cold.clone(), stale.clone()]).await?;
    let _seen = there.ttl(&stale).await?;
    refused(there.add(&stale, 1, Ttl::MAX).await, ErrorKind::Codec, "adding to what is no number")?;
    let large = Bytes::from(vec![7; there.capabilities().max_value_bytes + 1]);
    refused(
        there.set(&cold, large, &SetOptions::new(day()?)).await,
        ErrorKind::InvalidInput,
        "a value over the cap",
    )?;
    for key in [&cold, &stale] {
        is_held(&*here, key, "a lease over which nothing was stored").await?;
        same(fill(&*here, key, 1, "new").await?, Filled, "the fill")?;
    }
    Ok(())
}
