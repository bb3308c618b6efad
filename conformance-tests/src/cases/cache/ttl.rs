//! Lives.

use std::time::Duration;

use stanchion::cache::{SetEntry, SetOptions, SetOutcome, When};
use stanchion::time::Ttl;

use super::common::{always, bytes, holds, key, keys, put, set_if};
use crate::check::{ensure, fail, same};
use crate::{Context, Outcome};

pub(super) async fn a_value_is_gone_at_its_deadline(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let short = cx.short();
    let stored = here.set(&key("a")?, bytes("x"), &SetOptions::new(short)).await?;
    same(stored, SetOutcome::Stored, "a set")?;
    let stored = here.set_many(&[SetEntry::new(key("b")?, bytes("x"), SetOptions::new(short))]).await?;
    same(stored, vec![SetOutcome::Stored], "a set in a batch")?;
    if let Some(counters) = here.counters() {
        let _one = counters.add(&key("c")?, 1, short).await?;
    }
    cx.pass(short).await;
    let keys = keys(["a", "b", "c"])?;
    same(there.get_many(&keys).await?, vec![None, None, None], "values after their deadline")?;
    same(
        there.get_many_with_ttl(&keys).await?,
        vec![None, None, None],
        "values with TTL after their deadline",
    )?;
    same(there.ttl(&keys[0]).await?, None, "the TTL after the deadline")?;
    same(there.touch(&keys[0], Ttl::MAX).await?, false, "touching after the deadline")?;
    same(there.remove_many(&keys).await?, 0, "removing after the deadline")?;
    same(
        set_if(&*there, "b", "y", When::Present).await?,
        SetOutcome::NotStored,
        "present after the deadline",
    )?;
    same(
        set_if(&*there, "b", "y", When::Equals(bytes("x"))).await?,
        SetOutcome::NotStored,
        "equal after the deadline",
    )?;
    match there.counters() {
        Some(counters) => same(counters.add(&keys[2], 5, Ttl::MAX).await?, 5, "a counter after its deadline"),
        None => Ok(()),
    }
}

pub(super) async fn a_value_is_there_until_its_deadline(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    cx.while_it_lasts(|life, attempt| {
        let store = &store;
        async move {
            let key = key(&format!("a{attempt}"))?;
            let _stored = store.set(&key, bytes("x"), &SetOptions::new(life)).await?;
            cx.advance(cx.most_of(life)).await;
            same(store.get(&key).await?, Some(bytes("x")), "a value before its deadline")
        }
    })
    .await
}

pub(super) async fn the_ttl_is_told(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    same(store.ttl(&key("a")?).await?, None, "the TTL of nothing")?;
    let (life, passed) = (Duration::from_hours(2), cx.short().as_duration() / 2);
    let _stored = store.set(&key("a")?, bytes("x"), &SetOptions::new(Ttl::new(life)?)).await?;
    cx.advance(passed).await;
    match store.ttl(&key("a")?).await?.map(Ttl::as_duration) {
        Some(left) => ensure(left + passed <= life && left > life / 2, "what is left of the life", left),
        None => fail("what is left of the life", "nothing"),
    }
}

pub(super) async fn the_shortest_and_longest_lives_are_kept(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let _stored = store.set(&key("long")?, bytes("x"), &SetOptions::new(Ttl::new(Duration::MAX)?)).await?;
    let day = 24 * 60 * 60 * 1_000;
    let left = store.ttl(&key("long")?).await?.map_or(0, Ttl::as_millis);
    ensure(left > Ttl::MAX.as_millis() - day && left <= Ttl::MAX.as_millis(), "ten years", left)?;
    holds(&*store, "long", Some("x")).await?;
    let shortest = Ttl::new(Duration::from_nanos(1))?;
    let _stored = store.set(&key("short")?, bytes("x"), &SetOptions::new(shortest)).await?;
    cx.pass(shortest).await;
    holds(&*store, "short", None).await
}

pub(super) async fn a_set_gives_a_new_life(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let setting = cx.while_it_lasts(|life, attempt| {
        let store = &store;
        async move {
            let ids = ["a", "b", "c", "d"].map(|id| format!("{id}{attempt}"));
            let whens = [When::Always, When::Present, When::Equals(bytes("x"))];
            for (id, when) in ids.iter().zip(whens) {
                let _short = store.set(&key(id)?, bytes("x"), &SetOptions::new(life)).await?;
                let _long = store.set(&key(id)?, bytes("y"), &always().when(when)).await?;
            }
            let _long = store.set(&key(&ids[3])?, bytes("x"), &always()).await?;
            let _short = store.set(&key(&ids[3])?, bytes("y"), &SetOptions::new(life)).await?;
            Ok((ids, life))
        }
    });
    let (ids, life) = setting.await?;
    cx.pass(life).await;
    for (id, value) in ids.iter().zip([Some("y"), Some("y"), Some("y"), None]) {
        holds(&*store, id, value).await?;
    }
    Ok(())
}

pub(super) async fn a_set_that_was_not_stored_changes_no_life(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let setting = cx.while_it_lasts(|life, attempt| {
        let store = &*store;
        async move {
            let id = format!("a{attempt}");
            let _short = store.set(&key(&id)?, bytes("x"), &SetOptions::new(life)).await?;
            same(set_if(store, &id, "y", When::Absent).await?, SetOutcome::NotStored, "not absent")?;
            let not_equal = set_if(store, &id, "y", When::Equals(bytes("z"))).await?;
            same(not_equal, SetOutcome::NotStored, "not equal")?;
            Ok((id, life))
        }
    });
    let (id, life) = setting.await?;
    cx.pass(life).await;
    holds(&*store, &id, None).await
}

pub(super) async fn a_touch_gives_a_new_life_and_creates_nothing(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    same(store.touch(&key("none")?, Ttl::MAX).await?, false, "touching nothing")?;
    holds(&*store, "none", None).await?;
    let touching = cx.while_it_lasts(|life, attempt| {
        let store = &store;
        async move {
            let id = format!("a{attempt}");
            let _short = store.set(&key(&id)?, bytes("x"), &SetOptions::new(life)).await?;
            same(store.touch(&key(&id)?, Ttl::MAX).await?, true, "touching a value")?;
            Ok((id, life))
        }
    });
    let (id, life) = touching.await?;
    put(&*store, "b", "x").await?;
    same(store.touch(&key("b")?, life).await?, true, "touching a value")?;
    cx.pass(life).await;
    holds(&*store, &id, Some("x")).await?;
    holds(&*store, "b", None).await
}
