//! Generations, and the lives of entries and leases.

use bytes::Bytes;
use stanchion::cache::AllParts as _;
use stanchion::cache::{CacheStore, Fetched, Generation, LeaseRequest, LeaseToken, SetOptions, Tag, Want};
use stanchion::key::Key;
use stanchion::time::Ttl;

use super::{HOUR, ROUND};
use crate::check::{ensure, fail, same};
use crate::{Context, Outcome, WallStep};

async fn generation(store: &dyn CacheStore, tag: &Tag) -> Outcome<u64> {
    let generations = store.generations(std::slice::from_ref(tag)).await?;
    Ok(generations.first().map_or(0, |(generation, _)| generation.get()))
}

async fn bump(store: &dyn CacheStore, tag: &Tag) -> Outcome<u64> {
    Ok(store.bump(std::slice::from_ref(tag)).await?.first().copied().map_or(0, Generation::get))
}

pub(in crate::cases) async fn generations_only_grow(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let (tag, other) = (Tag::new("bumped")?, Tag::new("read")?);
    let (mut bumped, mut read) = (bump(&*store, &tag).await?, generation(&*store, &other).await?);
    for step in ROUND {
        let frame = cx.step(step).await?;
        (bumped, read) = (frame.now(bumped), frame.now(read));
        same(
            generation(&*store, &other).await?,
            read,
            &format!("a generation that nobody bumped, {step:?}"),
        )?;
        same(
            generation(&*store, &tag).await?,
            bumped,
            &format!("the generation of the last bump, {step:?}"),
        )?;
        for _ in 0..2 {
            let next = bump(&*store, &tag).await?;
            ensure(next > bumped, &format!("a greater generation after {step:?}"), (bumped, next))?;
            bumped = next;
        }
    }
    Ok(())
}

/// An entry, and a lease where there are leases, that are begun, and are over after this life and the one that is added to it.
async fn are_over(cx: &Context, step: WallStep, life: Ttl, longer: Ttl) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let leases = store.leases();
    let (entry, leased) = (Key::new("cache", "case", "entry")?, Key::new("cache", "case", "leased")?);
    let request = |n| LeaseRequest::new(leased.clone(), LeaseToken::new([n; 16]), life, Want::IfAbsent);
    let _stored = store.set(&entry, Bytes::from_static(b"x"), &SetOptions::new(life)).await?;
    if let Some(leases) = leases {
        let _leased = leases.fetch(&[request(1)]).await?;
    }
    let _frame = cx.step(step).await?;
    cx.pass(longer).await;
    same(store.get(&entry).await?, None, &format!("an entry that has lived long enough, {step:?}"))?;
    let Some(leases) = leases else { return Ok(()) };
    match leases.fetch(&[request(2)]).await?.as_slice() {
        [Fetched::Leased { .. }] => Ok(()),
        other => fail(format!("a lease after another that has lived long enough, {step:?}"), other),
    }
}

pub(in crate::cases) async fn lives_after_a_step_back(cx: &Context) -> Outcome {
    let life = cx.short();
    are_over(cx, WallStep::Back(life.as_duration()), life, Ttl::new(2 * life.as_duration())?).await
}

pub(in crate::cases) async fn lives_after_a_step_forth(cx: &Context) -> Outcome {
    are_over(cx, WallStep::Forth(HOUR), cx.short(), cx.short()).await
}
