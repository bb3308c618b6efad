//! Counters.

use bytes::Bytes;
use futures_util::future::try_join_all;
use stanchion::ErrorKind;
use stanchion::time::Ttl;

use super::common::{holds, key, put};
use crate::check::{refused, same};
use crate::{Context, Outcome};
use stanchion::cache::AllParts as _;

pub(super) async fn a_counter_starts_at_zero_and_is_text(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    same(here.add(&key("a")?, 5, Ttl::MAX).await?, 5, "the first addition")?;
    same(there.add(&key("a")?, -7, Ttl::MAX).await?, -2, "a subtraction")?;
    same(here.add(&key("a")?, 0, Ttl::MAX).await?, -2, "adding nothing")?;
    holds(&*here, "a", Some("-2")).await?;
    put(&*here, "b", "41").await?;
    same(here.add(&key("b")?, 1, Ttl::MAX).await?, 42, "adding to a number that was set")
}

pub(super) async fn no_addition_is_lost(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let key = key("a")?;
    let mut sums =
        try_join_all((0..60).map(|n| if n % 2 == 0 { &here } else { &there }.add(&key, 1, Ttl::MAX))).await?;
    sums.sort_unstable();
    same(sums, (1..=60).collect(), "the sums of 60 additions at once")
}

pub(super) async fn a_counter_lives_from_its_first_addition(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let adding = cx.while_it_lasts(|life, attempt| {
        let store = &store;
        async move {
            let id = format!("a{attempt}");
            let _first = store.add(&key(&id)?, 1, life).await?;
            let _second = store.add(&key(&id)?, 1, Ttl::MAX).await?;
            Ok((id, life))
        }
    });
    let (id, life) = adding.await?;
    cx.pass(life).await;
    holds(&*store, &id, None).await
}

pub(super) async fn a_counter_keeps_its_range(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    same(store.add(&key("a")?, i64::MAX, Ttl::MAX).await?, i64::MAX, "the greatest number")?;
    refused(store.add(&key("a")?, 1, Ttl::MAX).await, ErrorKind::InvalidInput, "one more")?;
    same(store.add(&key("a")?, -1, Ttl::MAX).await?, i64::MAX - 1, "the counter is as it was")?;
    same(store.add(&key("b")?, i64::MIN, Ttl::MAX).await?, i64::MIN, "the least number")?;
    refused(store.add(&key("b")?, -1, Ttl::MAX).await, ErrorKind::InvalidInput, "one less")?;
    same(store.get(&key("b")?).await?, Some(Bytes::from(i64::MIN.to_string())), "the counter is as it was")
}

pub(super) async fn what_is_no_number_is_left_alone(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    for (id, value) in [
        ("word", "seven"),
        ("empty", ""),
        ("space", " 7"),
        ("line", "7\n"),
        ("plus", "+7"),
        ("zero", "07"),
        ("zeros", "-00"),
        ("minus", "-"),
        ("minus zero", "-0"),
        ("real", "7.0"),
        ("exponent", "1e3"),
        ("hexadecimal", "0x7"),
        ("too great", "9223372036854775808"),
    ] {
        put(&*store, id, value).await?;
        refused(store.add(&key(id)?, 1, Ttl::MAX).await, ErrorKind::Codec, id)?;
        holds(&*store, id, Some(value)).await?;
    }
    Ok(())
}
