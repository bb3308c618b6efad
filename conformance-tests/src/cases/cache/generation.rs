//! The generations of tags, and the store's time.

use std::time::Duration;

use futures_util::future::try_join_all;
use stanchion::cache::{CacheStore, Generation, Tag};
use stanchion::key::Namespace;
use stanchion::time::{Timestamp, Ttl};

use crate::check::{ensure, fail, same};
use crate::{Context, Outcome};
use stanchion::cache::AllParts as _;

/// What is left of a machine's slowness when it comes to ages and clocks.
const SOME_SECONDS: Duration = Duration::from_secs(10);

/// By so much the store's clock may run slower than ours.
const A_LITTLE: Duration = Duration::from_millis(10);

pub(super) async fn generation(store: &dyn CacheStore, tag: &Tag) -> Outcome<Generation> {
    Ok(with_age(store, tag).await?.0)
}

async fn with_age(store: &dyn CacheStore, tag: &Tag) -> Outcome<(Generation, Duration)> {
    match store.generations(std::slice::from_ref(tag)).await?.as_slice() {
        [one] => Ok(*one),
        other => fail("one generation of one tag", other),
    }
}

pub(super) async fn bump(store: &dyn CacheStore, tag: &Tag) -> Outcome<Generation> {
    match store.bump(std::slice::from_ref(tag)).await?.as_slice() {
        [one] => Ok(*one),
        other => fail("one generation of one tag", other),
    }
}

pub(super) async fn a_generation_stays_until_it_is_bumped(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let (tag, other) = (Tag::new("user:u1")?, Tag::new("user:u2")?);
    let first = generation(&*here, &tag).await?;
    for n in 0..3 {
        // Neither time nor other tags make another of it.
        cx.advance(cx.short().as_duration() / 4).await;
        let _others = bump(&*there, &other).await?;
        let _new = generation(&*there, &Tag::new(format!("new{n}"))?).await?;
        same(generation(&*there, &tag).await?, first, "the generation through another handle")?;
        same(generation(&*here, &tag).await?, first, "the generation")?;
    }
    let bumped = bump(&*there, &tag).await?;
    same(generation(&*here, &tag).await?, bumped, "the generation that a bump answered")?;
    same(generation(&*there, &tag).await?, bumped, "the generation that a bump answered")
}

pub(super) async fn a_bump_makes_it_greater_and_no_other(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let (tag, other) = (Tag::new("user:u1")?, Tag::new("user:u2")?);
    let untouched = generation(&*here, &other).await?;
    let mut last = generation(&*here, &tag).await?;
    for n in 0..50 {
        let store = if n % 2 == 0 { &here } else { &there };
        let next = bump(&**store, &tag).await?;
        ensure(next > last, "a greater generation with each bump", (last, next))?;
        last = next;
    }
    same(generation(&*here, &other).await?, untouched, "the generation of another tag")?;
    // One that there was not is bumped as well.
    let new = Tag::new("new")?;
    let bumped = bump(&*there, &new).await?;
    same(generation(&*here, &new).await?, bumped, "the generation that a bump made")
}

pub(super) async fn of_a_race_of_bumps_each_makes_its_own(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let tag = &Tag::new("user:u1")?;
    let before = generation(&*here, tag).await?;
    let racing = (0..60).map(|n| {
        let store = if n % 2 == 0 { &here } else { &there };
        bump(&**store, tag)
    });
    let mut made = try_join_all(racing).await?;
    made.sort_unstable();
    let greatest = made.last().copied();
    made.dedup();
    same(made.len(), 60, "different generations of 60 bumps at once")?;
    ensure(made.first() > Some(&before), "greater ones than before", before)?;
    same(Some(generation(&*there, tag).await?), greatest, "the greatest, after all")
}

pub(super) async fn a_generation_is_a_time(cx: &Context) -> Outcome {
    // In 2024: no store's clock is behind the day on which this was written.
    const EARLIEST: u64 = 1_720_000_000_000_000;
    let store = cx.open().await?.cache_store()?;
    let read = generation(&*store, &Tag::new("read")?).await?;
    let bumped = bump(&*store, &Tag::new("bumped")?).await?;
    for generation in [read, bumped] {
        ensure(generation.get() > EARLIEST, "not less than the time in microseconds", generation)?;
    }
    // What is made later is greater, whatever was forgotten in between.
    cx.advance(cx.short().as_duration()).await;
    let later = generation(&*store, &Tag::new("later")?).await?;
    let passed = later.get().saturating_sub(read.get());
    let least = cx.short().as_duration().saturating_sub(A_LITTLE);
    ensure(
        u128::from(passed) >= least.as_micros(),
        "greater by the time that has passed, in microseconds",
        passed,
    )
}

pub(super) async fn an_age_is_the_time_since_it_was_made(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let (read, bumped) = (Tag::new("read")?, Tag::new("bumped")?);
    let _first = generation(&*here, &read).await?;
    let _first = bump(&*here, &bumped).await?;
    for tag in [&read, &bumped] {
        let (_, age) = with_age(&*there, tag).await?;
        ensure(age <= SOME_SECONDS, "the age of a generation that was just made", age)?;
    }
    let passed = cx.short().as_duration();
    cx.advance(passed).await;
    for tag in [&read, &bumped] {
        let (_, age) = with_age(&*there, tag).await?;
        let least = passed.saturating_sub(A_LITTLE);
        ensure(age >= least && age <= passed + SOME_SECONDS, "an age that grows with the time", age)?;
    }
    let _again = bump(&*there, &read).await?;
    let (_, age) = with_age(&*here, &read).await?;
    ensure(age <= SOME_SECONDS, "the age after another bump", age)
}

pub(super) async fn tags_stay_apart(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let names = [
        "a",
        "A",
        "a:b",
        "a%3Ab",
        ":a",
        "{a}",
        "{a",
        "a*",
        "a?",
        "[a]",
        "a\\",
        "a\n",
        "a\r\nb",
        "a\0",
        " a",
        "é",
        "e\u{301}",
        "日本語",
        "cache:user",
        "namespace",
    ];
    let mut tags = names.map(Tag::new).into_iter().collect::<stanchion::Result<Vec<_>>>()?;
    // The namespace of the same text is another tag.
    tags.push(Tag::of_namespace(&Namespace::new("cache", "user")?)?);
    tags.push(Tag::of_namespace(&Namespace::new("cache", "users")?)?);
    let mut before = Vec::new();
    for tag in &tags {
        before.push(generation(&*here, tag).await?);
    }
    for (at, tag) in tags.iter().enumerate() {
        let bumped = bump(&*here, tag).await?;
        before[at] = bumped;
        let now: Vec<_> =
            there.generations(&tags).await?.into_iter().map(|(generation, _)| generation).collect();
        same(
            now,
            before.clone(),
            &format!("the generations in the order of the tags, after a bump of {tag}"),
        )?;
    }
    let reversed: Vec<_> = tags.iter().rev().cloned().collect();
    let bumped = here.bump(&reversed).await?;
    let now: Vec<_> =
        there.generations(&reversed).await?.into_iter().map(|(generation, _)| generation).collect();
    same(now, bumped, "the generations of a batch of bumps, in its order")
}

pub(super) async fn of_no_tags_there_are_none(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    same(store.generations(&[]).await?, Vec::new(), "the generations of no tags")?;
    same(store.bump(&[]).await?, Vec::new(), "the bumps of no tags")
}

pub(super) async fn the_time_is_told(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    ensure(there.now() > Timestamp::default(), "a time, before anything was asked", there.now())?;
    for n in 0..2 {
        let made = match here.tags() {
            // Greater ones than the time are made only by bumping one of the same instant.
            Some(_) => generation(&*here, &Tag::new(format!("made{n}"))?).await?.get(),
            // Nothing else that a store answers shows its time; its handles agree on it.
            None => here.now().as_micros(),
        };
        let made = Timestamp::from_micros(made);
        for store in [&here, &there] {
            let now = store.now();
            let apart = now.saturating_since(made).max(made.saturating_since(now));
            ensure(apart <= SOME_SECONDS, "the time within some seconds of the store's", (now, made))?;
        }
        cx.advance(Ttl::MIN.as_duration().max(cx.short().as_duration() / 4)).await;
    }
    Ok(())
}
