//! Many values at once.

use bytes::Bytes;
use stanchion::ErrorKind;

use super::common::{bytes, entry, holds, key, put, put_many};
use crate::check::{refused, same};
use crate::{Context, Outcome};

pub(super) async fn a_batch_over_the_bound_changes_nothing(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    put(&*store, "k0", "kept").await?;
    let most = store.capabilities().max_batch;
    let keys = (0..=most).map(|n| key(&format!("k{n}"))).collect::<Outcome<Vec<_>>>()?;
    let entries: Vec<_> = keys.iter().map(|key| entry(key.clone(), bytes("new"))).collect();
    refused(store.get_many(&keys).await, ErrorKind::InvalidInput, "too many to get")?;
    refused(store.set_many(&entries).await, ErrorKind::InvalidInput, "too many to set")?;
    refused(store.remove_many(&keys).await, ErrorKind::InvalidInput, "too many to remove")?;
    holds(&*store, "k0", Some("kept")).await
}

pub(super) async fn batches_answer_in_the_order_of_the_keys(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let entries = (0..100)
        .map(|n| Ok(entry(key(&format!("k{n}"))?, Bytes::from(n.to_string()))))
        .collect::<Outcome<Vec<_>>>()?;
    put_many(&*store, &entries).await?;
    let asked = ["k7", "none", "k99", "k7", "k0"].map(key).into_iter().collect::<Outcome<Vec<_>>>()?;
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
    same(store.get_many(&[]).await?, Vec::<Option<Bytes>>::new(), "nothing asked")?;
    put_many(&*store, &[]).await?;
    same(store.remove_many(&[]).await?, 0, "nothing removed")
}

pub(super) async fn the_last_of_a_key_given_twice_holds(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    put_many(&*store, &[entry(key("a")?, bytes("first")), entry(key("a")?, bytes("last"))]).await?;
    holds(&*store, "a", Some("last")).await
}
