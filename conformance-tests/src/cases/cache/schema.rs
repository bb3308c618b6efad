//! Values of several schemas of one type, written by processes of several ages.

use bytes::Bytes;
use stanchion::cache::{CacheStore, SetEntry, SetOptions, SetOutcome, When};
use stanchion::time::Ttl;

use super::common::{bytes, holds, key, keys};
use crate::check::same;
use crate::{Context, Outcome};

/// A value with the header of `core/docs/wire-format.md`, as far as a store looks at it.
fn of_schema(schema: u32, text: &str) -> Bytes {
    // The magic number, the version of the header, codec and flags.
    [&[0xB5, 2, 0, 0], &schema.to_be_bytes()[..], text.as_bytes()].concat().into()
}

fn options(schema: u32) -> SetOptions {
    SetOptions::new(Ttl::MAX).schema(schema)
}

async fn put(store: &dyn CacheStore, id: &str, value: &Bytes) -> Outcome {
    same(store.set(&key(id)?, value.clone(), &options(0)).await?, SetOutcome::Stored, "an unconditional set")
}

async fn is(store: &dyn CacheStore, id: &str, value: &Bytes) -> Outcome {
    same(store.get(&key(id)?).await?.as_ref(), Some(value), id)
}

pub(super) async fn a_newer_value_is_removed_and_not_replaced(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    // Each byte of the number counts, the first one most.
    for (there, lesser) in [(3, 2), (0x0100, 0x00FF), (0x0100_0000, 0x00FF_FFFF), (u32::MAX, u32::MAX - 1)] {
        let (newer, older) = (of_schema(there, "newer"), of_schema(lesser, "older"));
        for when in [When::Always, When::Present, When::Equals(newer.clone())] {
            put(&*store, "a", &newer).await?;
            let set = store.set(&key("a")?, older.clone(), &options(lesser).when(when)).await?;
            same(set, SetOutcome::Newer, "a set of a lesser schema")?;
            holds(&*store, "a", None).await?;
        }
        // Once it is gone, there is nothing newer.
        same(
            store.set(&key("a")?, older.clone(), &options(lesser)).await?,
            SetOutcome::Stored,
            "the same set again",
        )?;
        is(&*store, "a", &older).await?;
    }
    // The condition is judged first: one that does not hold changes nothing.
    let newer = of_schema(3, "newer");
    put(&*store, "b", &newer).await?;
    let set = options(2).when(When::Equals(bytes("other")));
    let set = store.set(&key("b")?, of_schema(2, "older"), &set).await?;
    same(set, SetOutcome::NotStored, "a condition that does not hold")?;
    is(&*store, "b", &newer).await?;
    // In a batch it is the same, each entry by its own number.
    put(&*store, "c", &newer).await?;
    let entry = |id, schema| Ok(SetEntry::new(key(id)?, of_schema(schema, "set"), options(schema)));
    let batch = [entry("b", 2), entry("c", 3), entry("d", 1)].into_iter().collect::<Outcome<Vec<_>>>()?;
    let outcomes = vec![SetOutcome::Newer, SetOutcome::Stored, SetOutcome::Stored];
    same(store.set_many(&batch).await?, outcomes, "a batch of several schemas")?;
    let expected = vec![None, Some(of_schema(3, "set")), Some(of_schema(1, "set"))];
    same(store.get_many(&keys(["b", "c", "d"])?).await?, expected, "what the batch leaves")
}

pub(super) async fn any_other_value_is_replaced(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let replacements = [
        ("an equal schema", of_schema(3, "old"), 3),
        ("a lesser schema", of_schema(2, "old"), 3),
        ("no header", bytes("a value of text"), 3),
        ("another magic number", Bytes::from_static(&[0xB4, 2, 0, 0, 255, 255, 255, 255]), 3),
        ("the first version of the header", Bytes::from_static(&[0xB5, 1, 0, 0, 255, 255, 255, 255]), 3),
        ("a header that is cut short", Bytes::from_static(&[0xB5, 2, 0, 0, 255, 255, 255]), 3),
        ("nothing in it", Bytes::new(), 3),
        ("a greater schema, by a set without one", of_schema(9, "old"), 0),
    ];
    for (what, old, schema) in replacements {
        put(&*store, "a", &old).await?;
        let new = of_schema(schema, "new");
        let set = store.set(&key("a")?, new.clone(), &options(schema)).await?;
        same(set, SetOutcome::Stored, what)?;
        is(&*store, "a", &new).await?;
    }
    Ok(())
}
