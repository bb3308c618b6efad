//! Leases, schemas and generations, as they stand on the server.

use std::pin::Pin;

use bytes::{BufMut, Bytes, BytesMut};
use redis::cmd;
use stanchion::cache::AllParts as _;
use stanchion::cache::{
    CacheStore, Fetched, Fill, FillOutcome, Generation, LeaseRequest, LeaseToken, Release, SetEntry,
    SetOptions, SetOutcome, Tag, Want, When,
};
use stanchion::time::{Timestamp, Ttl};

use crate::place::{Place, cache_key, cache_keys, ttl};

const TOKEN: LeaseToken = LeaseToken::new([0xAB; 16]);

fn value() -> Bytes {
    Bytes::from_static(b"1")
}

fn options() -> SetOptions {
    SetOptions::new(ttl(60))
}

async fn lease(cache: &dyn CacheStore, id: &str, token: LeaseToken) -> Fetched {
    let request = LeaseRequest::new(cache_key(id), token, ttl(30), Want::Anyway);
    cache.fetch(&[request]).await.unwrap().remove(0)
}

async fn fill(cache: &dyn CacheStore, id: &str, token: LeaseToken) -> FillOutcome {
    cache.fill(&[Fill::new(cache_key(id), token, value(), ttl(60))]).await.unwrap().remove(0)
}

type Done<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
type Work = for<'a> fn(&'a dyn CacheStore) -> Done<'a>;

async fn set(cache: &dyn CacheStore, when: When, schema: u32) -> SetOutcome {
    cache.set(&cache_key("u1"), value(), &options().when(when).schema(schema)).await.unwrap()
}

/// What is done to an entry, whether one is there before, and whether the lease lives on.
const WORKS: &[(&str, bool, bool, Work)] = &[
    ("set", false, false, |c| {
        Box::pin(async { assert_eq!(set(c, When::Always, 0).await, SetOutcome::Stored) })
    }),
    ("set over", true, false, |c| {
        Box::pin(async { assert_eq!(set(c, When::Always, 0).await, SetOutcome::Stored) })
    }),
    ("set absent", false, false, |c| {
        Box::pin(async { assert_eq!(set(c, When::Absent, 0).await, SetOutcome::Stored) })
    }),
    ("set present", true, false, |c| {
        Box::pin(async { assert_eq!(set(c, When::Present, 0).await, SetOutcome::Stored) })
    }),
    ("set equals", true, false, |c| {
        Box::pin(async { assert_eq!(set(c, When::Equals(value()), 0).await, SetOutcome::Stored) })
    }),
    ("set of a schema", true, false, |c| {
        Box::pin(async { assert_eq!(set(c, When::Always, 1).await, SetOutcome::Stored) })
    }),
    ("set absent, not stored", true, true, |c| {
        Box::pin(async { assert_eq!(set(c, When::Absent, 0).await, SetOutcome::NotStored) })
    }),
    ("set present, not stored", false, true, |c| {
        Box::pin(async { assert_eq!(set(c, When::Present, 0).await, SetOutcome::NotStored) })
    }),
    ("set equals, not stored", true, true, |c| {
        Box::pin(async { assert_eq!(set(c, When::Equals("2".into()), 0).await, SetOutcome::NotStored) })
    }),
    ("set_many", false, false, |c| {
        Box::pin(async {
            let _ = c.set_many(&[SetEntry::new(cache_key("u1"), value(), options())]).await.unwrap();
        })
    }),
    ("remove_many", true, false, |c| {
        Box::pin(async { assert_eq!(c.remove_many(&[cache_key("u1")]).await.unwrap(), 1) })
    }),
    ("remove_many of nothing", false, false, |c| {
        Box::pin(async { assert_eq!(c.remove_many(&[cache_key("u1")]).await.unwrap(), 0) })
    }),
    ("add", false, false, |c| {
        Box::pin(async { assert_eq!(c.add(&cache_key("u1"), 1, ttl(60)).await.unwrap(), 1) })
    }),
    ("add to", true, false, |c| {
        Box::pin(async { assert_eq!(c.add(&cache_key("u1"), 1, ttl(60)).await.unwrap(), 2) })
    }),
    ("add, refused", true, true, |c| {
        Box::pin(async { assert!(c.add(&cache_key("u1"), i64::MAX, ttl(60)).await.is_err()) })
    }),
    ("touch", true, true, |c| Box::pin(async { assert!(c.touch(&cache_key("u1"), ttl(60)).await.unwrap()) })),
    ("get", true, true, |c| {
        Box::pin(async { assert_eq!(c.get(&cache_key("u1")).await.unwrap(), Some(value())) })
    }),
    ("another's fill", true, true, |c| {
        Box::pin(async { assert_eq!(fill(c, "u1", LeaseToken::new([1; 16])).await, FillOutcome::Fenced) })
    }),
    ("another's abandon", true, true, |c| {
        Box::pin(async {
            c.release(&[Release::new(cache_key("u1"), LeaseToken::new([1; 16]))]).await.unwrap();
        })
    }),
    ("another's fetch", true, true, |c| {
        Box::pin(async {
            let busy = lease(c, "u1", LeaseToken::new([1; 16])).await;
            assert!(matches!(busy, Fetched::Busy { current: Some(_), .. }), "{busy:?}");
        })
    }),
];

pub(crate) async fn every_write_voids_the_lease(mut place: Place) {
    let cache = place.stores.cache_store().unwrap();
    let (entry, lease_key) = cache_keys(&place, "u1");
    for (what, there, lives, work) in WORKS {
        place.run::<()>("DEL", &[&entry, &lease_key]).await;
        if *there {
            place.run::<()>("SET", &[&entry, "1", "PX", "60000"]).await;
        }
        let leased = lease(&*cache, "u1", TOKEN).await;
        assert!(
            matches!(leased, Fetched::Leased { ref current } if current.is_some() == *there),
            "{leased:?}"
        );
        work(&*cache).await;
        assert_eq!(place.run::<bool>("EXISTS", &[&lease_key]).await, *lives, "the lease after {what}");
        let before: Option<String> = place.run("GET", &[&entry]).await;
        let expected = if *lives { FillOutcome::Filled } else { FillOutcome::Fenced };
        assert_eq!(fill(&*cache, "u1", TOKEN).await, expected, "a fill after {what}");
        if !lives {
            assert_eq!(place.run::<Option<String>>("GET", &[&entry]).await, before, "{what}");
        }
        // Once filled it is given back.
        assert_eq!(fill(&*cache, "u1", TOKEN).await, FillOutcome::Fenced, "a second fill after {what}");
    }
}

pub(crate) async fn a_lease_is_its_holders(mut place: Place) {
    let cache = place.stores.cache_store().unwrap();
    let (entry, lease_key) = cache_keys(&place, "u1");
    let absent = |token| LeaseRequest::new(cache_key("u1"), token, ttl(30), Want::IfAbsent);
    assert_eq!(cache.fetch(&[absent(TOKEN)]).await.unwrap(), [Fetched::Leased { current: None }]);
    assert_eq!(place.run::<String>("GET", &[&lease_key]).await, "ab".repeat(16));
    // Renewed by its holder, for the whole of it.
    place.run::<()>("PEXPIRE", &[&lease_key, "5000"]).await;
    assert_eq!(cache.fetch(&[absent(TOKEN)]).await.unwrap(), [Fetched::Leased { current: None }]);
    let left: u64 = place.run("PTTL", &[&lease_key]).await;
    assert!(left > 5_000, "{left}");
    let other = LeaseToken::new([1; 16]);
    let busy = cache.fetch(&[absent(other)]).await.unwrap();
    assert!(
        matches!(busy[..], [Fetched::Busy { remaining, current: None }] if remaining.as_millis() > 5_000),
        "{busy:?}"
    );
    // What has no end is no lease of this library.
    place.run::<()>("PERSIST", &[&lease_key]).await;
    assert_eq!(cache.fetch(&[absent(other)]).await.unwrap(), [Fetched::Leased { current: None }]);
    let releases = [("u1", TOKEN), ("u1", other), ("u2", TOKEN)];
    cache.release(&releases.map(|(id, token)| Release::new(cache_key(id), token))).await.unwrap();
    assert!(!place.run::<bool>("EXISTS", &[&lease_key]).await);
    assert!(!place.run::<bool>("EXISTS", &[&entry]).await, "nor is anything left of waking those who wait");
    // Of a load that has failed: a mark with an end, which a request despite it overwrites.
    assert_eq!(cache.fetch(&[absent(other)]).await.unwrap(), [Fetched::Leased { current: None }]);
    cache.release(&[Release::new(cache_key("u1"), other).failed(ttl(9))]).await.unwrap();
    assert_eq!(place.run::<String>("GET", &[&lease_key]).await, "failed");
    let left: u64 = place.run("PTTL", &[&lease_key]).await;
    assert!((1..=9_000).contains(&left), "{left}");
    let failed = cache.fetch(&[absent(TOKEN)]).await.unwrap();
    assert!(
        matches!(failed[..], [Fetched::Failed { remaining, current: None }] if remaining.as_millis() <= 9_000),
        "{failed:?}"
    );
    let despite = cache.fetch(&[absent(TOKEN).despite_failure()]).await.unwrap();
    assert_eq!(despite, [Fetched::Leased { current: None }]);
    // The life of a value that is there stays as it was.
    place.run::<()>("SET", &[&entry, "v", "PX", "60000"]).await;
    cache.release(&[Release::new(cache_key("u1"), TOKEN)]).await.unwrap();
    let left: u64 = place.run("PTTL", &[&entry]).await;
    assert!((1..=60_000).contains(&left), "{left}");
    assert_eq!(place.run::<String>("GET", &[&entry]).await, "v");
    // A value that is there needs none, an empty one too; and is answered beside one that is taken all the same.
    place.run::<()>("SET", &[&entry, "", "PX", "60000"]).await;
    assert_eq!(cache.fetch(&[absent(TOKEN)]).await.unwrap(), [Fetched::Hit(Bytes::new())]);
    assert_eq!(lease(&*cache, "u1", TOKEN).await, Fetched::Leased { current: Some(Bytes::new()) });
    let many: Vec<_> = [TOKEN, other].map(absent).into_iter().collect();
    assert_eq!(cache.fetch(&many).await.unwrap(), [Fetched::Hit(Bytes::new()), Fetched::Hit(Bytes::new())]);
    let read = cache.get_many_with_ttl(&[cache_key("u1"), cache_key("none")]).await.unwrap();
    assert!(
        matches!(&read[..], [Some((bytes, left)), None] if bytes.is_empty() && left.as_millis() > 5_000),
        "{read:?}"
    );
    place.run::<()>("PERSIST", &[&entry]).await;
    let read = cache.get_many_with_ttl(&[cache_key("u1")]).await.unwrap();
    assert_eq!(read, [Some((Bytes::new(), Ttl::MAX))]);
}

/// The head of a stored value of this schema, cut to so many bytes.
fn stored(version: u8, schema: u32, length: usize) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_slice(&[0xB5, version, 1, 0]);
    bytes.put_u32(schema);
    bytes.put_slice(b"the rest");
    bytes.truncate(length);
    bytes.freeze()
}

pub(crate) async fn a_schema_is_read_in_the_header(place: Place) {
    let cache = place.stores.cache_store().unwrap();
    let key = cache_key("u1");
    let max = u32::MAX;
    for (there, ours, expected) in [
        (stored(2, 7, 16), 6, SetOutcome::Newer),
        (stored(2, 7, 8), 6, SetOutcome::Newer),
        (stored(2, max, 16), max - 1, SetOutcome::Newer),
        (stored(2, 256, 16), 255, SetOutcome::Newer),
        (stored(2, 7, 16), 7, SetOutcome::Stored),
        (stored(2, 7, 16), 8, SetOutcome::Stored),
        (stored(2, max, 16), max, SetOutcome::Stored),
        // A writer without a schema does not look for one.
        (stored(2, 7, 16), 0, SetOutcome::Stored),
        // What has no such header has none.
        (stored(1, 7, 16), 6, SetOutcome::Stored),
        (stored(3, 7, 16), 6, SetOutcome::Stored),
        (stored(2, 7, 7), 6, SetOutcome::Stored),
        (stored(2, 7, 1), 6, SetOutcome::Stored),
        (Bytes::new(), 6, SetOutcome::Stored),
        (Bytes::from_static(b"plain text"), 6, SetOutcome::Stored),
    ] {
        for batch in [false, true] {
            assert_eq!(cache.set(&key, there.clone(), &options()).await.unwrap(), SetOutcome::Stored);
            assert!(matches!(lease(&*cache, "u1", TOKEN).await, Fetched::Leased { .. }));
            let options = options().schema(ours);
            let outcome = if batch {
                cache.set_many(&[SetEntry::new(key.clone(), value(), options)]).await.unwrap().remove(0)
            } else {
                cache.set(&key, value(), &options).await.unwrap()
            };
            assert_eq!(outcome, expected, "{ours} over {there:?}");
            let left = (expected == SetOutcome::Stored).then(value);
            assert_eq!(cache.get(&key).await.unwrap(), left, "{ours} over {there:?}");
            assert_eq!(fill(&*cache, "u1", TOKEN).await, FillOutcome::Fenced);
        }
    }
    // The condition comes first.
    assert_eq!(cache.set(&key, stored(2, 7, 16), &options()).await.unwrap(), SetOutcome::Stored);
    let outcome = cache.set(&key, value(), &options().when(When::Absent).schema(6)).await.unwrap();
    assert_eq!(outcome, SetOutcome::NotStored);
}

pub(crate) async fn a_generation_never_comes_back(mut place: Place) {
    let cache = place.stores.cache_store().unwrap();
    let tags = ["a", "b c"].map(|name| Tag::new(name).unwrap());
    let keys = ["tags:tag:a", "tags:tag:b%20c"].map(|key| place.key(key));
    let (seconds, micros): (u64, u64) = cmd("TIME").query_async(&mut place.server).await.unwrap();
    let now = Generation::new(seconds * 1_000_000 + micros);
    let first = generations(&*cache, &tags).await;
    assert!(first.iter().all(|generation| *generation >= now));
    assert_eq!(generations(&*cache, &tags).await, first, "they stay until they are bumped");
    for (key, generation) in keys.iter().zip(&first) {
        assert_eq!(place.run::<u64>("GET", &[key]).await, generation.get());
        let kept: u64 = place.run("PTTL", &[key]).await;
        assert!((29 * 86_400_000..=30 * 86_400_000).contains(&kept), "kept {kept} ms");
    }
    let bumped = cache.bump(&[tags[0].clone(), tags[0].clone()]).await.unwrap();
    assert!(first[0] < bumped[0] && bumped[0] < bumped[1], "{first:?} {bumped:?}");
    assert_eq!(generations(&*cache, &tags).await, [bumped[1], first[1]]);
    // Evicted, it comes back greater; with the clock behind it, greater by one.
    place.run::<()>("DEL", &[&keys[0]]).await;
    assert!(generations(&*cache, &tags).await[0] > bumped[1]);
    place.run::<()>("SET", &[&keys[0], "9000000000000000", "PX", "60000"]).await;
    assert_eq!(cache.bump(&tags[..1]).await.unwrap(), [Generation::new(9_000_000_000_000_001)]);
    let kept: u64 = place.run("PTTL", &[&keys[0]]).await;
    assert!(kept > 86_400_000, "a bump keeps it anew");

    let time: Vec<u64> = cmd("TIME").query_async(&mut place.server).await.unwrap();
    let server = Timestamp::from_micros(time[0] * 1_000_000 + time[1]);
    let off = cache.now().saturating_since(server).max(server.saturating_since(cache.now()));
    assert!(off.as_secs() < 5, "the store's time is off by {off:?}");
}

/// By one call each, single and batched; every call finds that the server forgot its script.
pub(crate) async fn every_forgotten_script_is_sent_again(mut place: Place) {
    let cache = place.stores.cache_store().unwrap();
    let tags = ["a", "b"].map(|name| Tag::new(name).unwrap());
    let ids = ["u1", "u2", "u3"];
    let keys = ids.map(cache_key);
    let entries = keys.clone().map(|key| SetEntry::new(key, value(), options()));
    let leases = keys.clone().map(|key| Release::new(key, TOKEN));
    let requests = keys.clone().map(|key| LeaseRequest::new(key, TOKEN, ttl(30), Want::Anyway));
    let fills = keys.clone().map(|key| Fill::new(key, TOKEN, value(), ttl(60)));
    let mut forget = async || cmd("SCRIPT").arg("FLUSH").exec_async(&mut place.server).await.unwrap();
    forget().await;
    assert_eq!(cache.set_many(&entries).await.unwrap(), [SetOutcome::Stored; 3]);
    forget().await;
    assert_eq!(cache.set(&keys[0], value(), &options()).await.unwrap(), SetOutcome::Stored);
    forget().await;
    // Of a key given twice the last value holds, here too.
    let twice = ["2", "3"].map(|text| SetEntry::new(keys[0].clone(), text.into(), options()));
    assert_eq!(cache.set_many(&twice).await.unwrap(), [SetOutcome::Stored; 2]);
    assert_eq!(cache.get(&keys[0]).await.unwrap(), Some("3".into()));
    forget().await;
    assert!(cache.get_many_with_ttl(&keys).await.unwrap().iter().all(Option::is_some));
    forget().await;
    assert!(cache.fetch(&requests).await.unwrap().iter().all(|f| matches!(f, Fetched::Leased { .. })));
    forget().await;
    assert_eq!(cache.fill(&fills).await.unwrap(), [FillOutcome::Filled; 3]);
    cache.fetch(&requests).await.unwrap();
    forget().await;
    cache.release(&leases).await.unwrap();
    assert_eq!(cache.fill(&fills).await.unwrap(), [FillOutcome::Fenced; 3]);
    forget().await;
    assert_eq!(cache.add(&keys[0], 1, ttl(60)).await.unwrap(), 2);
    forget().await;
    assert!(cache.touch(&keys[0], ttl(60)).await.unwrap());
    forget().await;
    assert!(cache.ttl(&keys[0]).await.unwrap().is_some());
    forget().await;
    assert_eq!(cache.remove_many(&keys).await.unwrap(), 3);
    forget().await;
    let made = generations(&*cache, &tags).await;
    forget().await;
    let bumped = cache.bump(&tags).await.unwrap();
    assert!(made.iter().zip(&bumped).all(|(made, bumped)| made < bumped));
}

async fn generations(cache: &dyn CacheStore, tags: &[Tag]) -> Vec<Generation> {
    cache.generations(tags).await.unwrap().into_iter().map(|(generation, _)| generation).collect()
}
