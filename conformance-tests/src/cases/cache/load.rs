//! From end to end: what the façade makes of a store that keeps the rules.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use stanchion::cache::{Cache, LoadError, NearEngine, NearEntry};
use stanchion::stores::Stores;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet, yield_now};

use crate::check::{FIRST_PAUSE, PATIENCE, ensure, eventually, fail, pause, same};
use crate::{Context, Failure, Outcome};

/// The smallest near cache that can be: it forgets nothing by itself.
#[derive(Debug, Default)]
struct Tiny(Mutex<HashMap<String, NearEntry>>);

impl Tiny {
    fn entries(&self) -> MutexGuard<'_, HashMap<String, NearEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[deny(clippy::missing_trait_methods)]
impl NearEngine for Tiny {
    fn get(&self, key: &str) -> Option<NearEntry> {
        self.entries().get(key).cloned()
    }

    fn insert(&self, key: &str, entry: NearEntry) {
        self.entries().insert(key.to_owned(), entry);
    }

    fn remove(&self, key: &str) {
        self.entries().remove(key);
    }

    fn clear(&self) {
        self.entries().clear();
    }

    fn len(&self) -> u64 {
        self.entries().len() as u64
    }

    fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }
}

fn cache(stores: &Stores) -> Outcome<Cache<u32>> {
    // No store of a test is so slow that its answer should be passed over.
    Ok(stores.cache("number").store_deadline(PATIENCE).build()?)
}

/// A near cache's engine, for cases elsewhere.
pub(crate) fn engine() -> impl NearEngine {
    Tiny::default()
}

fn near(stores: &Stores) -> Outcome<Cache<u32>> {
    Ok(stores.cache("number").store_deadline(PATIENCE).near(Tiny::default()).build()?)
}

/// The longest lease that the façade takes.
const LONGEST_LEASE: Duration = Duration::from_mins(10);

fn leasing(stores: &Stores, lease: Duration) -> Outcome<Cache<u32>> {
    let builder = stores.cache("number").store_deadline(PATIENCE).lease(lease);
    // Kept for as long as the load runs.
    Ok(builder.background_timeout(Duration::from_hours(24)).build()?)
}

/// How a task ended; a panic in it is the case's.
async fn ended<T>(task: JoinHandle<Outcome<T>>) -> Outcome<T> {
    match tokio::time::timeout(PATIENCE, task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Err(Failure::broken("a task did not end well", &error)),
        Err(_) => fail(format!("an end within {PATIENCE:?}"), "none"),
    }
}

pub(super) async fn a_near_cache_is_never_left_stale(cx: &Context) -> Outcome {
    const KEYS: u32 = 300;
    const ROUNDS: u32 = 5;
    let (here, there) = (cx.open().await?, cx.open().await?);
    let (reader, writer) = (near(&here)?, cache(&there)?);
    writer.set(0_u32, &0).await?;
    eventually("a value that is kept near once it was read", || async {
        reader.get(0_u32).await?;
        Ok(reader.peek(0_u32).is_none().then(|| "it is not".to_owned()))
    })
    .await?;
    let writing = tokio::spawn(async move {
        for round in 1..=ROUNDS {
            for key in 0..KEYS {
                // By each kind of write, and the last of them a set.
                match (round, key % 3) {
                    (ROUNDS, 0) => writer.set_many(&[(key, round)]).await?,
                    (ROUNDS, _) | (_, 0) => writer.set(key, &round).await?,
                    (_, 1) => writer.invalidate(key).await?,
                    _ => drop(writer.set_if_absent(key, &round).await?),
                }
                yield_now().await;
            }
        }
        Ok(())
    });
    // Hot keys are read while they are written, cold ones in between.
    let mut next = 0;
    while !writing.is_finished() {
        for key in [next % KEYS, next % 7, 0] {
            reader.get(key).await?;
        }
        next += 1;
        yield_now().await;
    }
    ended(writing).await?;
    eventually("no key that is stale once all is quiet", || async {
        let mut stale = 0;
        for key in 0..KEYS {
            stale += u32::from(reader.get(key).await?.as_deref() != Some(&ROUNDS));
        }
        Ok((stale > 0).then(|| format!("{stale} of {KEYS} are stale")))
    })
    .await?;
    let near = reader.stats().near_hits;
    ensure(near > 0, "reads that were served near", near)
}

pub(super) async fn of_all_callers_one_loads(cx: &Context) -> Outcome {
    const CALLERS: usize = 40;
    let caches = [leasing(&cx.open().await?, LONGEST_LEASE)?, leasing(&cx.open().await?, LONGEST_LEASE)?];
    let (asking, loads) = (watch::channel(0).0, Arc::new(AtomicUsize::new(0)));
    let mut callers = JoinSet::new();
    for n in 0..CALLERS {
        let (cache, asking, loads) = (caches[n % 2].clone(), asking.clone(), Arc::clone(&loads));
        callers.spawn(async move {
            asking.send_modify(|n| *n += 1);
            let load = move || async move {
                loads.fetch_add(1, Ordering::SeqCst);
                // It takes until all have asked.
                let _all = asking.subscribe().wait_for(|n| *n == CALLERS).await.map(drop);
                for _ in 0..20 {
                    yield_now().await;
                }
                Ok::<_, Infallible>(7)
            };
            cache.get_or_load("cold", load).await.map(|value| *value)
        });
    }
    // Who gets no notification looks again after a while, by the clock that is driven here. The lease is far longer.
    let answers = async {
        let mut all = std::pin::pin!(callers.join_all());
        loop {
            tokio::select! {
                biased;
                answers = &mut all => return answers,
                () = pause(FIRST_PAUSE) => cx.advance(Duration::from_millis(20)).await,
            }
        }
    };
    let Ok(answers) = tokio::time::timeout(PATIENCE, answers).await else {
        return fail(format!("an answer for everybody within {PATIENCE:?}"), "none for some");
    };
    for answer in answers {
        match answer {
            Ok(value) => same(value, 7, "the loaded value")?,
            Err(error) => return fail("the loaded value", error),
        }
    }
    let (loads, stats) = (loads.load(Ordering::SeqCst), caches.map(|cache| cache.stats()));
    ensure(loads == 1, "loads for 40 callers in two processes: 1", (loads, stats))
}

/// A load that has begun, and is held up.
struct Slow {
    /// Lets it end.
    end: oneshot::Sender<()>,
    outcome: JoinHandle<Outcome<u32>>,
}

type Loading = BoxFuture<'static, Result<u32, Infallible>>;

/// Has something load an old value, and waits until the loader has begun.
async fn begin<F>(old: u32, call: impl FnOnce(Box<dyn FnOnce() -> Loading + Send>) -> F) -> Outcome<Slow>
where
    F: Future<Output = Result<Arc<u32>, LoadError<Infallible>>> + Send + 'static,
{
    let (begun, has_begun) = oneshot::channel();
    let (end, ends) = oneshot::channel();
    let loader = move || -> Loading {
        Box::pin(async move {
            let _told = begun.send(());
            let _let_go: Result<(), _> = ends.await;
            Ok(old)
        })
    };
    let calling = call(Box::new(loader));
    let outcome = tokio::spawn(async move {
        match calling.await {
            Ok(value) => Ok(*value),
            Err(error) => fail("the loaded value", error),
        }
    });
    match tokio::time::timeout(PATIENCE, has_begun).await {
        Ok(Ok(())) => Ok(Slow { end, outcome }),
        _ => fail("a load that begins", "none"),
    }
}

/// A load of what is not there.
async fn load(cache: &Cache<u32>, id: &'static str, old: u32) -> Outcome<Slow> {
    let cache = cache.clone();
    begin(old, |loader| async move { cache.get_or_load(id, loader).await }).await
}

/// A load over what is there.
async fn refresh(cache: &Cache<u32>, id: &'static str, old: u32) -> Outcome<Slow> {
    let cache = cache.clone();
    begin(old, |loader| async move { cache.refresh(id, loader).await }).await
}

impl Slow {
    /// Lets it end, and waits until what comes of it is stored or not.
    async fn finish(self) -> Outcome<u32> {
        let _running = self.end.send(());
        ended(self.outcome).await
    }
}

/// Only the new value is read, or none.
async fn only_new(caches: [&Cache<u32>; 2], id: &'static str, new: u32) -> Outcome {
    for cache in caches {
        for _ in 0..3 {
            let read = cache.get(id).await?;
            ensure(
                read.as_deref().is_none_or(|read| *read == new),
                "never what was loaded before the write",
                read,
            )?;
        }
        let loaded = cache.get_or_load(id, move || async move { Ok::<_, Infallible>(new) }).await;
        same(loaded.ok().as_deref(), Some(&new), "the value that is served after the write")?;
        same(cache.get(id).await?.as_deref(), Some(&new), "the value that is read after that")?;
    }
    Ok(())
}

pub(super) async fn what_was_loaded_before_a_write_is_not_read_after_it(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?, cx.open().await?);
    let (loader, writer) = (cache(&here)?, cache(&there)?);
    let slow = load(&loader, "removed", 1).await?;
    writer.invalidate("removed").await?;
    // Who asked before the write may be served what was so then.
    same(slow.finish().await?, 1, "what the loader answered")?;
    only_new([&loader, &writer], "removed", 2).await?;
    let slow = load(&loader, "set", 1).await?;
    writer.set("set", &2).await?;
    same(slow.finish().await?, 1, "what the loader answered")?;
    only_new([&loader, &writer], "set", 2).await?;
    // A value that was there before, and is loaded anew.
    writer.set("refreshed", &0).await?;
    let slow = refresh(&loader, "refreshed", 1).await?;
    writer.invalidate("refreshed").await?;
    same(slow.finish().await?, 1, "what the loader answered")?;
    only_new([&loader, &writer], "refreshed", 2).await
}

pub(super) async fn a_long_load_takes_no_lease_anew(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?, cx.open().await?);
    let lease = cx.short().as_duration().min(LONGEST_LEASE);
    let (loader, writer) = (leasing(&here, lease)?, cache(&there)?);
    let slow = load(&loader, "a", 1).await?;
    writer.invalidate("a").await?;
    // The loader asks to keep its lease, in vain.
    for _ in 0..4 {
        let_run(cx, lease).await;
    }
    same(slow.finish().await?, 1, "what the loader answered")?;
    only_new([&loader, &writer], "a", 2).await
}

/// Lets half a lease pass, and everybody who sleeps do what is due.
async fn let_run(cx: &Context, lease: Duration) {
    cx.advance(lease / 2).await;
    for _ in 0..50 {
        yield_now().await;
    }
}
