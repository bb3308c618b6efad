//! One master of a Cluster away: it costs its own slots, and nothing else.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stanchion::cache::{Cache, CacheBuilder, Tag};
use stanchion::clock::{Clock, SystemClock};
use stanchion::stores::Stores;
use stanchion_conformance::servers::{Cluster, until};
use stanchion_memory::MokaNear;

use crate::support::{TIMEOUT, cluster_config, connect, send};

const IDS: u32 = 300;
const DEAD: usize = 1;
/// Longer than it takes the others to notice.
const AWAY: Duration = Duration::from_secs(6);

/// The identifiers whose values the master that is to die holds, and the others.
struct Ids {
    dead: Vec<u32>,
    alive: Vec<u32>,
}

impl Ids {
    async fn of(cluster: &Cluster, cache: &Cache<u32>) -> Self {
        let (mut dead, mut alive) = (Vec::new(), Vec::new());
        for id in 0..IDS {
            let slot = cluster.slot_of(cache.key(id).unwrap().as_str()).await.unwrap();
            if Cluster::first_owner_of(slot) == DEAD { dead.push(id) } else { alive.push(id) }
        }
        Self { dead, alive }
    }
}

/// A Cluster in which the loss of one master does not stop the others.
async fn cluster() -> Cluster {
    let cluster = Cluster::start().await.unwrap();
    for node in cluster.nodes() {
        send(node, &["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await;
    }
    cluster
}

/// Its values carry two tags each: one of their own, and one of ten.
fn build(builder: CacheBuilder<u32>) -> Cache<u32> {
    let tags_of = |id: &str| {
        let tenth = id.bytes().last().map(char::from).unwrap_or_default();
        vec![tag(&format!("user:{id}")), tag(&format!("tenth:{tenth}"))]
    };
    builder.tags(tags_of).store_deadline(Duration::from_secs(10)).build().unwrap()
}

fn tag(name: &str) -> Tag {
    Tag::new(name).unwrap()
}

/// Asks for each of the values; answers those that were loaded.
async fn loaded(cache: &Cache<u32>, ids: &[u32]) -> Vec<u32> {
    let loaded = Arc::new(Mutex::new(Vec::new()));
    for id in ids.iter().copied() {
        let seen = Arc::clone(&loaded);
        let load = move || async move {
            seen.lock().unwrap().push(id);
            Ok::<_, Infallible>(id)
        };
        cache.get_or_load(id, load).await.unwrap();
    }
    std::mem::take(&mut *loaded.lock().unwrap())
}

/// The same in one batch.
async fn loaded_together(cache: &Cache<u32>) -> Vec<u32> {
    let ids: Vec<u32> = (0..IDS).collect();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let of = Arc::clone(&seen);
    let load = move |ids: Vec<u32>| async move {
        of.lock().unwrap().clone_from(&ids);
        Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect::<Vec<_>>())
    };
    assert!(cache.get_or_load_many(&ids, load).await.unwrap().iter().all(Option::is_some));
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort_unstable();
    seen
}

/// Until nothing has to be loaded any more.
async fn warm(cache: &Cache<u32>) {
    let ids: Vec<u32> = (0..IDS).collect();
    let warmed = until("every value is stored", TIMEOUT, || async {
        let loaded = loaded(cache, &ids).await;
        if loaded.is_empty() { Ok(()) } else { Err(format!("{loaded:?}")) }
    });
    warmed.await.unwrap();
}

/// Tags and the whole cache are dropped by another process, while the master is away.
async fn dropped(cache: &Cache<u32>, other: &Cache<u32>, ids: &Ids) {
    let of_tenth = |tenth: u32| ids.alive.iter().copied().filter(|id| id % 10 == tenth).collect::<Vec<_>>();
    let becomes = async |expected: Vec<u32>| {
        // Those that are loaded are stored again by the same call: so what was loaded is gathered.
        let seen = Mutex::new(Vec::new());
        let all = until("what was dropped is loaded", TIMEOUT, || async {
            let now = loaded(cache, &ids.alive).await;
            let mut seen = seen.lock().unwrap();
            seen.extend(now);
            seen.sort_unstable();
            seen.dedup();
            if *seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
        });
        all.await.unwrap();
    };
    for tenth in 0..10 {
        other.invalidate_tag(&tag(&format!("tenth:{tenth}"))).await.unwrap();
        becomes(of_tenth(tenth)).await;
    }
    other.clear().await.unwrap();
    becomes(ids.alive.clone()).await;
    cache.clear().await.unwrap();
    becomes(ids.alive.clone()).await;
    assert!(loaded(cache, &ids.alive).await.is_empty());
}

async fn one_master_dies(near: bool) {
    let cluster = cluster().await;
    let stores = connect(cluster_config(&cluster.urls())).await;
    let other = connect(cluster_config(&cluster.urls())).await;
    let builder = |stores: &Stores| stores.cache::<u32>("user");
    let here = builder(&stores);
    let cache = build(if near { here.near(MokaNear::entries(10_000)) } else { here });
    let writer = build(builder(&other));
    let ids = Ids::of(&cluster, &cache).await;
    warm(&cache).await;

    cluster.kill(DEAD).unwrap();
    // Near copies of its values are served until its end is noticed: soon, but it takes a task of this process.
    let noticed = until("its end is noticed", TIMEOUT, || async {
        assert_eq!(loaded(&cache, &ids.alive).await, [] as [u32; 0]);
        let loaded = loaded(&cache, &ids.dead).await;
        if loaded == ids.dead { Ok(()) } else { Err(format!("{loaded:?}")) }
    });
    noticed.await.unwrap();
    let (begun, mut rounds) = (SystemClock.now(), 0);
    while SystemClock.now().saturating_since(begun) < AWAY || rounds < 3 {
        rounds += 1;
        assert_eq!(loaded(&cache, &ids.alive).await, [] as [u32; 0], "round {rounds}");
        assert_eq!(loaded(&cache, &ids.dead).await, ids.dead, "they are served by the loader");
        assert_eq!(loaded_together(&cache).await, ids.dead);
        if rounds == 2 {
            dropped(&cache, &writer, &ids).await;
        }
        // Changes of what lives are heard of.
        let (id, value) = (ids.alive[rounds % ids.alive.len()], 1_000 + u32::try_from(rounds).unwrap());
        writer.set(id, &value).await.unwrap();
        let seen = until("the change", TIMEOUT, || async {
            match cache.get(id).await.unwrap().as_deref() {
                Some(seen) if *seen == value => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        seen.await.unwrap();
    }

    // It comes back with nothing in memory: what was copied from it before is not served.
    cluster.restart(DEAD).await.unwrap();
    for id in &ids.dead {
        let gone = until("the master answers", TIMEOUT, || cache.get(*id)).await.unwrap();
        assert_eq!(gone, None, "{id} is stale");
    }
    warm(&cache).await;
    assert_eq!(loaded_together(&cache).await, [] as [u32; 0]);
    let id = ids.dead[0];
    writer.set(id, &7).await.unwrap();
    let seen = until("a change there is heard of again", TIMEOUT, || async {
        match cache.get(id).await.unwrap().as_deref() {
            Some(7) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    seen.await.unwrap();
}

pub(crate) async fn of_the_keys_of_living_masters_none_is_loaded() {
    one_master_dies(false).await;
}

pub(crate) async fn with_a_near_cache_too() {
    one_master_dies(true).await;
}
