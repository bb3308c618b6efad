//! What stays apart.
use stanchion::cache::Tag;

use super::common::{bytes, entry, holds, key, put, put_many};
use super::generation::{bump, generation};
use super::lease::{is_held, lease};
use crate::check::same;
use crate::{Context, Outcome};

pub(super) async fn keys_stay_apart_whatever_they_hold(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let ids = [
        "a",
        "A",
        "a:",
        ":a",
        "a:b",
        "{a}",
        "{a",
        "a}",
        "a*",
        "a?",
        "[a]",
        "a\\",
        "a%",
        "a%3A",
        "a\n",
        "a\r\nb",
        "a\0",
        " a",
        "a ",
        "\t",
        "é",
        "e\u{301}",
        "\u{feff}a",
        "日本語",
    ];
    let keys = ids.map(key).into_iter().collect::<Outcome<Vec<_>>>()?;
    let entries: Vec<_> = keys.iter().zip(ids).map(|(key, id)| entry(key.clone(), bytes(id))).collect();
    put_many(&*store, &entries).await?;
    let expected: Vec<_> = ids.iter().map(|id| Some(bytes(id))).collect();
    same(store.get_many(&keys).await?, expected, "each its own value")?;
    same(store.remove_many(&keys[..1]).await?, 1, "removing one")?;
    let left = store.get_many(&keys).await?.iter().flatten().count();
    same(left, ids.len() - 1, "the others are left")
}

pub(super) async fn places_stay_apart(cx: &Context) -> Outcome {
    let (here, elsewhere) = (cx.open().await?.cache_store()?, cx.elsewhere().await?.cache_store()?);
    put(&*here, "a", "here").await?;
    holds(&*elsewhere, "a", None).await?;
    same(elsewhere.remove_many(&[key("a")?]).await?, 0, "removing elsewhere")?;
    holds(&*here, "a", Some("here")).await
}

pub(super) async fn leases_of_places_stay_apart(cx: &Context) -> Outcome {
    let (here, elsewhere) = (cx.open().await?.cache_store()?, cx.elsewhere().await?.cache_store()?);
    let a = key("a")?;
    lease(&*here, &a, 1).await?;
    lease(&*elsewhere, &a, 2).await?;
    put(&*elsewhere, "a", "elsewhere").await?;
    is_held(&*here, &a, "the lease here, after a write elsewhere").await
}

pub(super) async fn generations_of_places_stay_apart(cx: &Context) -> Outcome {
    let (here, elsewhere) = (cx.open().await?.cache_store()?, cx.elsewhere().await?.cache_store()?);
    let tag = Tag::new("user:u1")?;
    let before = generation(&*here, &tag).await?;
    let _elsewhere = bump(&*elsewhere, &tag).await?;
    same(generation(&*here, &tag).await?, before, "the generation here, after a bump elsewhere")
}
