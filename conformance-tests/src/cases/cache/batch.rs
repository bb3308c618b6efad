//! Many values at once.

use std::time::Duration;

use bytes::Bytes;
use stanchion::ErrorKind;
use stanchion::cache::SetOutcome::{NotStored, Stored};
use stanchion::cache::{Fill, LeaseRequest, SetEntry, SetOptions, Tag, Want, When};
use stanchion::key::Key;
use stanchion::time::Ttl;

use super::common::{always, bytes, entry, holds, key, keys, put, put_many, token};
use crate::check::{ensure, refused, same};
use crate::{Context, Outcome};

pub(super) async fn a_batch_over_the_bound_changes_nothing(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    put(&*store, "k0", "kept").await?;
    let most = store.capabilities().max_batch;
    let keys = (0..=most).map(|n| key(&format!("k{n}"))).collect::<Outcome<Vec<_>>>()?;
    let entries: Vec<_> = keys.iter().map(|key| entry(key.clone(), bytes("new"))).collect();
    refused(store.get_many(&keys).await, ErrorKind::InvalidInput, "too many to get")?;
    refused(store.get_many_with_ttl(&keys).await, ErrorKind::InvalidInput, "too many to get with their TTL")?;
    refused(store.set_many(&entries).await, ErrorKind::InvalidInput, "too many to set")?;
    refused(store.remove_many(&keys).await, ErrorKind::InvalidInput, "too many to remove")?;
    if let Some(leases) = store.leases() {
        let want = |key: &Key| LeaseRequest::new(key.clone(), token(1), cx.short(), Want::Anyway);
        let fill = |key: &Key| Fill::new(key.clone(), token(1), bytes("new"), Ttl::MAX);
        let (requests, fills): (Vec<_>, Vec<_>) = keys.iter().map(|key| (want(key), fill(key))).unzip();
        refused(leases.fetch(&requests).await, ErrorKind::InvalidInput, "too many to fetch")?;
        refused(leases.fill(&fills).await, ErrorKind::InvalidInput, "too many to fill")?;
    }
    if let Some(of_tags) = store.tags() {
        let tags = (0..=most).map(|n| Ok(Tag::new(n as u64)?)).collect::<Outcome<Vec<_>>>()?;
        refused(of_tags.generations(&tags).await, ErrorKind::InvalidInput, "too many generations")?;
        refused(of_tags.bump(&tags).await, ErrorKind::InvalidInput, "too many to bump")?;
    }
    holds(&*store, "k0", Some("kept")).await
}

pub(super) async fn batches_answer_in_the_order_of_the_keys(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let entries = (0..100)
        .map(|n| Ok(entry(key(&format!("k{n}"))?, Bytes::from(n.to_string()))))
        .collect::<Outcome<Vec<_>>>()?;
    put_many(&*store, &entries).await?;
    let asked = keys(["k7", "none", "k99", "k7", "k0"])?;
    let expected = [Some("7"), None, Some("99"), Some("7"), Some("0")].map(|value| value.map(bytes));
    same(store.get_many(&asked).await?, expected.to_vec(), "values in the order asked")?;
    let all: Vec<_> = entries.iter().map(|entry| entry.key.clone()).collect();
    let found = store.get_many(&all).await?;
    same(
        found.into_iter().flatten().collect::<Vec<_>>(),
        entries.into_iter().map(|entry| entry.value).collect(),
        "all",
    )
}

pub(super) async fn an_empty_batch_is_no_error(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    same(store.get_many(&[]).await?, Vec::new(), "nothing asked")?;
    same(store.get_many_with_ttl(&[]).await?, Vec::new(), "nothing asked with its TTL")?;
    put_many(&*store, &[]).await?;
    same(store.remove_many(&[]).await?, 0, "nothing removed")?;
    let Some(leases) = store.leases() else { return Ok(()) };
    same(leases.fetch(&[]).await?, Vec::new(), "nothing fetched")?;
    same(leases.fill(&[]).await?, Vec::new(), "nothing filled")?;
    Ok(leases.release(&[]).await?)
}

pub(super) async fn the_last_of_a_key_given_twice_holds(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    put_many(&*store, &[entry(key("a")?, bytes("first")), entry(key("a")?, bytes("last"))]).await?;
    holds(&*store, "a", Some("last")).await
}

pub(super) async fn each_entry_is_set_by_its_own_options(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    put(&*here, "old", "kept").await?;
    put(&*here, "same", "kept").await?;
    put(&*here, "equal", "kept").await?;
    let short = SetOptions::new(cx.short());
    let batch = [
        ("long", "1", always()),
        ("old", "2", always().when(When::Absent)),
        ("short", "3", short.clone()),
        ("none", "4", always().when(When::Present)),
        ("same", "5", short.clone().when(When::Equals(bytes("other")))),
        ("equal", "6", short.when(When::Equals(bytes("kept")))),
    ];
    let entries = batch
        .into_iter()
        .map(|(id, value, options)| Ok(SetEntry::new(key(id)?, bytes(value), options)))
        .collect::<Outcome<Vec<_>>>()?;
    let outcomes = [Stored, NotStored, Stored, NotStored, NotStored, Stored];
    same(here.set_many(&entries).await?, outcomes.to_vec(), "the outcomes in the order of the entries")?;
    cx.pass(cx.short()).await;
    for (id, value) in [
        ("long", Some("1")),
        ("old", Some("kept")),
        ("short", None),
        ("none", None),
        ("same", Some("kept")),
        ("equal", None),
    ] {
        holds(&*there, id, value).await?;
    }
    Ok(())
}

pub(super) async fn values_are_told_with_their_lives(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let (hour, passed) = (Duration::from_hours(2), cx.short().as_duration() / 2);
    let _stored = store.set(&key("a")?, bytes("1"), &SetOptions::new(Ttl::new(hour)?)).await?;
    put(&*store, "b", "2").await?;
    cx.advance(passed).await;
    let read = store.get_many_with_ttl(&keys(["b", "none", "a", "b"])?).await?;
    let values: Vec<_> = read.iter().map(|read| read.as_ref().map(|(value, _)| value.clone())).collect();
    let expected: Vec<_> =
        [Some("2"), None, Some("1"), Some("2")].map(|value| value.map(bytes)).into_iter().collect();
    same(values, expected, "values in the order asked, nothing for what is not there")?;
    let lives: Vec<_> = read.into_iter().flatten().map(|(_, left)| left.as_duration()).collect();
    let [b, a, again] = lives.as_slice() else {
        return ensure(false, "three lives", lives);
    };
    ensure(*a + passed <= hour && *a > hour / 2, "what is left of the life", a)?;
    let day = Duration::from_hours(24);
    let is_long = |left: &Duration| *left <= Ttl::MAX.as_duration() && *left + day > Ttl::MAX.as_duration();
    ensure(is_long(b) && is_long(again), "what is left of ten years", (b, again))
}
