//! Single values.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use stanchion::ErrorKind;
use stanchion::cache::{CacheStore, SetEntry, SetOptions, SetOutcome, When};
use stanchion::key::Key;
use stanchion::time::Ttl;

use super::common::{always, bytes, entry, holds, key, keys, put, set_if};
use crate::check::{dropped_after, ensure, refused, same};
use crate::{Context, Outcome};

pub(super) async fn a_value_is_read_back_by_every_handle(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    holds(&*here, "a", None).await?;
    for (writer, value) in [(&here, "one"), (&there, "two"), (&here, "three")] {
        put(&**writer, "a", value).await?;
        // Each has read the value before: what it remembers of that must not be told.
        holds(&*here, "a", Some(value)).await?;
        holds(&*there, "a", Some(value)).await?;
    }
    Ok(())
}

pub(super) async fn any_bytes_are_a_value(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let every_byte: Bytes = (0..=255_u8).cycle().take(4_096).collect::<Vec<_>>().into();
    for (id, value) in [("empty", Bytes::new()), ("all", every_byte), ("crlf", bytes("\r\n$-1\r\n"))] {
        let stored = store.set(&key(id)?, value.clone(), &always()).await?;
        same(stored, SetOutcome::Stored, "a set")?;
        same(store.get(&key(id)?).await?, Some(value), id)?;
    }
    Ok(())
}

pub(super) async fn a_value_may_be_as_large_as_declared_and_no_larger(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let most = store.capabilities().max_value_bytes;
    let largest = Bytes::from(vec![7; most]);
    let stored = store.set(&key("a")?, largest.clone(), &always()).await?;
    same(stored, SetOutcome::Stored, "a value of the largest size")?;
    let larger = Bytes::from(vec![7; most + 1]);
    refused(
        store.set(&key("a")?, larger.clone(), &always()).await,
        ErrorKind::InvalidInput,
        "a value over the cap",
    )?;
    let entries = [entry(key("b")?, bytes("fine")), entry(key("a")?, larger)];
    refused(store.set_many(&entries).await, ErrorKind::InvalidInput, "a batch with a value over the cap")?;
    holds(&*store, "b", None).await?;
    ensure(store.get(&key("a")?).await? == Some(largest), "the first value is still there", "another")
}

pub(super) async fn removing_counts_what_was_there(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    for id in ["a", "b", "c"] {
        put(&*here, id, "x").await?;
    }
    let keys = keys(["a", "none", "b", "a"])?;
    same(there.remove_many(&keys).await?, 2, "distinct keys that held something")?;
    holds(&*here, "a", None).await?;
    holds(&*here, "b", None).await?;
    holds(&*here, "c", Some("x")).await
}

pub(super) async fn set_if_absent(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    same(set_if(&*store, "a", "one", When::Absent).await?, SetOutcome::Stored, "absent")?;
    same(set_if(&*store, "a", "two", When::Absent).await?, SetOutcome::NotStored, "no longer absent")?;
    holds(&*store, "a", Some("one")).await
}

pub(super) async fn set_if_present(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    same(set_if(&*store, "a", "one", When::Present).await?, SetOutcome::NotStored, "not present")?;
    holds(&*store, "a", None).await?;
    put(&*store, "a", "one").await?;
    same(set_if(&*store, "a", "two", When::Present).await?, SetOutcome::Stored, "present")?;
    holds(&*store, "a", Some("two")).await
}

pub(super) async fn compare_and_set(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let equals = |text| When::Equals(bytes(text));
    same(
        set_if(&*store, "a", "two", equals("")).await?,
        SetOutcome::NotStored,
        "nothing is not the empty value",
    )?;
    put(&*store, "a", "one").await?;
    same(set_if(&*store, "a", "two", equals("on")).await?, SetOutcome::NotStored, "another value")?;
    same(set_if(&*store, "a", "two", equals("one")).await?, SetOutcome::Stored, "the same value")?;
    holds(&*store, "a", Some("two")).await
}

pub(super) async fn of_a_race_to_set_one_wins(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    put(&*here, "equals", "old").await?;
    for (id, when) in [("absent", When::Absent), ("equals", When::Equals(bytes("old")))] {
        let (key, options) = (key(id)?, always().when(when));
        let racing = (0..30).map(|n| {
            let store = if n % 2 == 0 { &here } else { &there };
            store.set(&key, Bytes::from(format!("{n}")), &options)
        });
        let stored = try_join_all(racing).await?.into_iter().filter(|outcome| *outcome == SetOutcome::Stored);
        same(stored.count(), 1, &format!("sets of 30 at once on the condition {id}"))?;
    }
    Ok(())
}

/// Calls that are dropped after so many polls; answers the keys that they may have written.
async fn dropped(store: &dyn CacheStore, polls: u32, life: Ttl) -> Outcome<Vec<Key>> {
    let keys = ["set", "add", "one", "two"].map(|what| key(&format!("{what}{polls}")));
    let keys = keys.into_iter().collect::<Outcome<Vec<_>>>()?;
    dropped_after(polls, store.set(&keys[0], bytes("7"), &SetOptions::new(life))).await;
    if let Some(counters) = store.counters() {
        dropped_after(polls, counters.add(&keys[1], 7, life)).await;
    }
    let batch = [&keys[2], &keys[3]].map(|key| SetEntry::new(key.clone(), bytes("7"), SetOptions::new(life)));
    dropped_after(polls, store.set_many(&batch)).await;
    dropped_after(polls, store.get(&key("other")?)).await;
    dropped_after(polls, store.get_many(&[key("other")?])).await;
    Ok(keys)
}

pub(super) async fn a_dropped_call_is_done_or_not_done(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let minute = Ttl::new(Duration::from_mins(1))?;
    put(&*store, "other", "another").await?;
    let keys = try_join_all((0..12).map(|polls| dropped(&*store, polls, minute))).await?;
    for key in keys.iter().flatten() {
        // What was sent and then dropped may come late; once it is there, it stays for a minute.
        if let Some(value) = store.get(key).await? {
            same(value, bytes("7"), "the whole value")?;
            let left = store.ttl(key).await?;
            ensure(left.is_some_and(|left| left <= minute), "the life that was asked for", (key, left))?;
        }
    }
    for n in 0..20 {
        let (key, value) = (key(&format!("after{n}"))?, Bytes::from(format!("value {n}")));
        let _stored = store.set(&key, value.clone(), &always()).await?;
        same(store.get(&key).await?, Some(value), "its own value, after calls that were dropped")?;
    }
    Ok(())
}
