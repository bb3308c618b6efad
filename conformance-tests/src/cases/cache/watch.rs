//! Being told of changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use stanchion::cache::{CacheStore, Release, SetEntry, Shard, Tag, Watch, Watcher};
use stanchion::key::{Key, Namespace};
use stanchion::time::Ttl;
use tokio::sync::watch;

use super::common::{always, bytes, token};
use super::fill::fill;
use super::generation::bump;
use super::lease::lease;
use crate::check::{PATIENCE, ensure, fail, same};
use crate::{Context, Failure, Outcome};
use stanchion::cache::AllParts as _;

/// What a watcher was notified of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum News {
    Restored(Shard),
    Lost(Shard),
    Changed(String),
}

/// Writes down what it is notified of.
#[derive(Debug)]
struct Recorder(watch::Sender<Vec<News>>);

impl Watcher for Recorder {
    fn changed(&self, key: &str) {
        self.0.send_modify(|told| told.push(News::Changed(key.to_owned())));
    }

    fn lost(&self, shard: Shard) {
        self.0.send_modify(|told| told.push(News::Lost(shard)));
    }

    fn restored(&self, shard: Shard) {
        self.0.send_modify(|told| told.push(News::Restored(shard)));
    }
}

impl Recorder {
    fn new() -> Arc<Self> {
        Arc::new(Self(watch::channel(Vec::new()).0))
    }

    fn told(&self) -> Vec<News> {
        self.0.borrow().clone()
    }

    /// Waits until it was notified of this.
    async fn until(&self, what: &str, told: impl Fn(&[News]) -> bool) -> Outcome {
        let mut seen = self.0.subscribe();
        let waiting = seen.wait_for(|news| told(news));
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(Ok(_)) => Ok(()),
            _ => fail(format!("{what}, told within {PATIENCE:?}"), self.told()),
        }
    }

    fn times(&self, key: &Key) -> usize {
        count(&self.0.borrow(), key)
    }

    /// Does something with a key, and waits until that is notified.
    async fn tells(&self, what: &str, key: &Key, work: impl Future<Output = Outcome>) -> Outcome {
        let before = self.times(key);
        work.await?;
        self.until(&format!("{what} {key}"), |told| count(told, key) > before).await
    }
}

fn count(told: &[News], key: &Key) -> usize {
    told.iter().filter(|news| matches!(news, News::Changed(changed) if changed == key.as_str())).count()
}

fn namespace(kind: &str) -> Outcome<Namespace> {
    Ok(Namespace::new("cache", kind)?)
}

/// A watch of a namespace, from which on every change is notified.
async fn watched(store: &dyn CacheStore, namespace: &Namespace) -> Outcome<(Watch, Arc<Recorder>)> {
    let recorder = Recorder::new();
    let watch = store.watch(namespace, Arc::clone(&recorder) as Arc<dyn Watcher>)?;
    let shards = shards(store, namespace)?;
    let is_up = |told: &[News]| shards.iter().all(|shard| told.contains(&News::Restored(*shard)));
    recorder.until(&format!("restored of each of {shards:?}"), is_up).await?;
    Ok((watch, recorder))
}

/// The shards in which a namespace has keys: those of so many keys that every server of a cluster has some.
fn shards(store: &dyn CacheStore, namespace: &Namespace) -> Outcome<BTreeSet<Shard>> {
    (0..500).map(|n| Ok(store.shard_of(&namespace.key(format!("sample{n}"))?))).collect()
}

pub(super) async fn each_shard_of_a_namespace_is_restored(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let [tags, namespaces] = Tag::namespaces()?;
    for namespace in [namespace("user")?, tags, namespaces] {
        watched(&*store, &namespace).await.map(drop)?;
    }
    Ok(())
}

pub(super) async fn a_release_is_told(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let namespace = namespace("user")?;
    let (_watch, recorder) = watched(&*there, &namespace).await?;
    let (absent, present) = (namespace.key("absent")?, namespace.key("present")?);
    recorder.tells("a set of", &present, set(&*here, &present)).await?;
    let life = here.ttl(&present).await?;
    for (key, failed) in [(&absent, false), (&absent, true), (&present, false), (&present, true)] {
        let release = Release::new(key.clone(), token(1));
        let release = if failed { release.failed(Ttl::MIN) } else { release };
        let give_back = async {
            lease(&*here, key, 1).await?;
            Ok(here.release(&[release]).await?)
        };
        recorder.tells("a release of the lease on", key, give_back).await?;
        if failed {
            // So that the next gets it.
            let _absent = here.remove_many(std::slice::from_ref(&absent)).await?;
        }
    }
    same(here.get(&absent).await?, None, "the value of which a lease was released")?;
    same(here.get(&present).await?, Some(bytes("x")), "the value of which a lease was released")?;
    let after = here.ttl(&present).await?;
    ensure(after <= life, "a life that is no longer than before the release", (life, after))
}

async fn set(store: &dyn CacheStore, key: &Key) -> Outcome {
    let _stored = store.set(key, bytes("x"), &always()).await?;
    Ok(())
}

/// Changes that come last, so many that they come from every server of a cluster: once they are notified, so is all that
/// came before.
async fn markers(store: &dyn CacheStore, recorder: &Recorder, namespace: &Namespace) -> Outcome<Vec<Key>> {
    let keys = (0..24).map(|n| Ok(namespace.key(format!("marker{n}"))?)).collect::<Outcome<Vec<_>>>()?;
    for key in &keys {
        recorder.tells("the marker", key, set(store, key)).await?;
    }
    Ok(keys)
}

pub(super) async fn it_is_there_where_it_is_declared(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let watch = store.watch(&namespace("user")?, Recorder::new());
    ensure(watch.is_ok(), "a watch, as declared", watch)
}

pub(super) async fn restored_is_told_first(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let mut watches = Vec::new();
    // The first has the feed begin; the others find it there, of the same namespace and of another one.
    for kind in ["user", "user", "order"] {
        let recorder = Recorder::new();
        watches.push(store.watch(&namespace(kind)?, Arc::clone(&recorder) as Arc<dyn Watcher>)?);
        recorder.until("anything", |told| !told.is_empty()).await?;
        let first = recorder.told().into_iter().next();
        ensure(matches!(first, Some(News::Restored(_))), "what is told first is restored", first)?;
    }
    Ok(())
}

pub(super) async fn each_kind_of_change_is_told(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let user = namespace("user")?;
    let (_watch, told) = watched(&*here, &user).await?;
    for (who, store) in [("here", &here), ("there", &there)] {
        let key = |id: &str| Ok::<_, Failure>(user.key(format!("{who}{id}"))?);
        let a = key("a")?;
        told.tells("a set of", &a, set(&**store, &a)).await?;
        told.tells("another set of", &a, set(&**store, &a)).await?;
        let touch = async { same(store.touch(&a, Ttl::new(PATIENCE * 60)?).await?, true, "a touch") };
        told.tells("a touch of", &a, touch).await?;
        let remove = async { same(store.remove_many(std::slice::from_ref(&a)).await?, 1, "a removal") };
        told.tells("a removal of", &a, remove).await?;
        let batch = [key("b")?, key("c")?];
        let entries = batch.clone().map(|key| SetEntry::new(key, bytes("x"), always()));
        let before = told.told().len();
        let _stored = store.set_many(&entries).await?;
        told.until("a batch of sets", |news| batch.iter().all(|key| count(&news[before..], key) > 0)).await?;
        if let Some(counters) = store.counters() {
            let counter = key("counter")?;
            for what in ["the first addition to", "another addition to"] {
                let add = async { Ok(counters.add(&counter, 1, Ttl::MAX).await.map(drop)?) };
                told.tells(what, &counter, add).await?;
            }
        }
        if store.leases().is_some() {
            let filled = key("filled")?;
            lease(&**store, &filled, 1).await?;
            let work = async { fill(&**store, &filled, 1, "loaded").await.map(drop) };
            told.tells("a fill of", &filled, work).await?;
        }
        let newer = key("newer")?;
        let of_schema_3 = Bytes::from_static(&[0xB5, 2, 0, 0, 0, 0, 0, 3]);
        let work = async { Ok(store.set(&newer, of_schema_3, &always()).await.map(drop)?) };
        told.tells("a set of", &newer, work).await?;
        let work = async { Ok(store.set(&newer, bytes("x"), &always().schema(2)).await.map(drop)?) };
        told.tells("a set of a lesser schema, which removes", &newer, work).await?;
        // A key that is written otherwise than it is named.
        let odd = key("é:{b}\n")?;
        told.tells("a set of", &odd, set(&**store, &odd)).await?;
    }
    Ok(())
}

pub(super) async fn each_bump_is_told(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?, cx.open().await?);
    let tags = [Tag::new("user:u1")?, Tag::of_namespace(&namespace("user")?)?];
    for (namespace, tag) in Tag::namespaces()?.iter().zip(tags) {
        for watching in [&here, &there] {
            let (_watch, told) = watched(&*watching.cache_store()?, namespace).await?;
            for bumping in [&here, &there] {
                let store = bumping.cache_store()?;
                let work = async { bump(&*store, &tag).await.map(drop) };
                told.tells("a bump of", tag.key(), work).await?;
            }
        }
    }
    Ok(())
}

pub(super) async fn nothing_is_told_of_others(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let user = namespace("user")?;
    let (_watch, told) = watched(&*here, &user).await?;
    for (service, kind) in [
        ("cache", "users"),
        ("cache", "use"),
        ("cache", "user-x"),
        ("cache", "order"),
        ("caches", "user"),
        ("tags", "tag"),
    ] {
        for id in ["a", "user", "cache:user:a"] {
            set(&*there, &Key::new(service, kind, id)?).await?;
        }
    }
    let marked = markers(&*there, &told, &user).await?;
    let others = told.told().into_iter().filter(|news| match news {
        News::Changed(key) => marked.iter().all(|marker| marker.as_str() != key),
        News::Restored(_) | News::Lost(_) => false,
    });
    same(others.collect(), Vec::new(), "news of other namespaces")
}

pub(super) async fn nothing_is_told_of_other_places(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let elsewhere = cx.elsewhere().await?.cache_store()?;
    let user = namespace("user")?;
    let (_watch, told) = watched(&*here, &user).await?;
    let a = user.key("a")?;
    set(&*elsewhere, &a).await?;
    let _marked = markers(&*there, &told, &user).await?;
    same(told.times(&a), 0, "news of another place")
}

pub(super) async fn nothing_is_told_once_it_is_dropped(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let user = namespace("user")?;
    let (_kept, told) = watched(&*here, &user).await?;
    let (dropped, silent) = watched(&*here, &user).await?;
    let a = user.key("a")?;
    silent.tells("a set of", &a, set(&*there, &a)).await?;
    drop(dropped);
    let before = silent.told();
    set(&*there, &a).await?;
    let _marked = markers(&*there, &told, &user).await?;
    same(silent.told(), before, "what is told to a watcher that was dropped: no more than before")
}

pub(super) async fn closing_tells_lost(cx: &Context) -> Outcome {
    let (closing, staying) = (cx.open().await?, cx.open().await?);
    let (here, there) = (closing.cache_store()?, staying.cache_store()?);
    let user = namespace("user")?;
    let (_watch, told) = watched(&*here, &user).await?;
    let (_other, still_told) = watched(&*there, &user).await?;
    let before = still_told.told().len();
    closing.close(PATIENCE).await?;
    let shards = shards(&*here, &user)?;
    let is_lost = |told: &[News], shard: Shard| {
        let of_shard = |news: &&News| matches!(news, News::Lost(of) | News::Restored(of) if *of == shard);
        told.iter().rfind(of_shard) == Some(&News::Lost(shard))
    };
    told.until("lost after the close", |told| shards.iter().all(|shard| is_lost(told, *shard))).await?;
    // The other handle's go on.
    let _marked = markers(&*there, &still_told, &user).await?;
    let since = still_told.told().split_off(before);
    let lost = since.iter().any(|news| matches!(news, News::Lost(_)));
    ensure(!lost, "nothing lost in another handle", since)
}

pub(super) async fn nothing_is_missed_once_restored_is_told(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    for n in 0..20 {
        let kind = namespace(&format!("kind{}", n % 3))?;
        let key = kind.key(format!("a{n}"))?;
        let (_watch, told) = watched(&*here, &kind).await?;
        told.tells("what was set right after restored:", &key, set(&*there, &key)).await?;
    }
    Ok(())
}

/// Counts its notifications of a key and its shard.
#[derive(Debug)]
struct Bell(watch::Sender<u64>, Shard);

impl Watcher for Bell {
    fn changed(&self, _: &str) {
        self.0.send_modify(|times| *times += 1);
    }

    fn lost(&self, _: Shard) {}

    fn restored(&self, shard: Shard) {
        if shard == self.1 {
            self.0.send_modify(|times| *times += 1);
        }
    }
}

/// Whether it rings before long.
async fn rings(rung: &mut watch::Receiver<u64>) -> bool {
    tokio::time::timeout(PATIENCE, rung.changed()).await.is_ok()
}

pub(super) async fn what_is_told_is_done(cx: &Context) -> Outcome {
    const WRITES: u64 = 100;
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let user = namespace("user")?;
    let a = &user.key("a")?;
    let bell = Arc::new(Bell(watch::channel(0).0, here.shard_of(a)));
    let mut rung = bell.0.subscribe();
    let _watch = here.watch(&user, Arc::clone(&bell) as Arc<dyn Watcher>)?;
    if !rings(&mut rung).await {
        return fail("restored", "nothing is told");
    }
    let writing = async {
        for n in 1..=WRITES {
            let _stored = there.set(a, Bytes::from(n.to_string()), &always()).await?;
            // The reader's turn.
            tokio::task::yield_now().await;
        }
        Ok::<_, Failure>(())
    };
    // Reads when it is notified of a change, and only then: what it has read last is the last value.
    let last = Some(Bytes::from(WRITES.to_string()));
    let reading = async {
        let mut read = None;
        while read != last {
            if !rings(&mut rung).await {
                return fail("what is read after the last news is the last value", read);
            }
            read = here.get(a).await?;
        }
        Ok(())
    };
    futures_util::future::try_join(writing, reading).await.map(drop)
}
