//! A bundle of several backends: whose stores are taken, and whose life it shares.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;

use futures_util::StreamExt;
use stanchion::cache::CacheParts;
use stanchion::environment::Environment;
use stanchion::event::standard::UserUpdated;
use stanchion::prelude::*;
use stanchion::stores::{Area, Backend};
use stanchion_memory::{MemoryBackend, MemoryConfig};

fn bundle(most: &MemoryBackend, cache: &MemoryBackend) -> Stores {
    Stores::builder(Environment::system())
        .backend(Arc::new(most.clone()))
        .area_of(Area::Cache, Arc::new(cache.clone()))
        .unwrap()
        .build()
}

#[tokio::test]
async fn each_area_is_of_the_backend_it_was_taken_from() {
    let (most, cached) = (MemoryBackend::new(), MemoryBackend::new());
    let stores = bundle(&most, &cached);
    stores.cache::<u32>("n").build().unwrap().set("a", &1).await.unwrap();
    let _guard = stores.locks().unwrap().acquire("job").await.unwrap();

    let of = |backend: &MemoryBackend| backend.handle().stores().cache::<u32>("n").build().unwrap();
    assert_eq!(of(&cached).get("a").await.unwrap().as_deref(), Some(&1));
    assert_eq!(of(&most).get("a").await.unwrap(), None);
    let lock = |backend: &MemoryBackend| backend.handle().stores().locks().unwrap();
    assert!(lock(&most).try_acquire("job").await.unwrap().is_none());
    assert!(lock(&cached).try_acquire("job").await.unwrap().is_some());
}

#[tokio::test]
async fn its_health_is_the_worst_of_its_backends_and_closing_it_closes_all() {
    let (most, cached) = (MemoryBackend::new(), MemoryBackend::new());
    let stores = bundle(&most, &cached);
    let mut health = stores.health();
    assert_eq!(health.current(), Health::Up);
    Backend::close(&cached).await;
    assert_eq!(health.changed().await, Health::Down);
    assert_eq!(
        stores.cache::<u32>("n").plain().build().unwrap().get("a").await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert!(stores.locks().unwrap().try_acquire("job").await.is_ok(), "the other one is open");

    stores.close(seconds(1)).await.unwrap();
    assert_eq!(stores.locks().unwrap().try_acquire("job").await.unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn an_area_that_a_backend_lacks_is_refused_when_the_bundle_is_made() {
    let stores = Stores::builder(Environment::system()).build();
    let refused = [
        stores.cache::<u32>("n").build().map(drop),
        stores.counters("n").build().map(drop),
        stores.sessions().build().map(drop),
        stores.topic::<UserUpdated>().map(drop),
        stores.locks().map(drop),
        stores.limits("n").per_second(1).build().map(drop),
        stores.tokens().build().map(drop),
    ];
    for answer in refused {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let parts = CacheParts::none();
    let small = MemoryBackend::with(MemoryConfig::new().cache_parts(parts)).stores();
    assert_eq!(small.counters("n").build().unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn events_are_a_stream() {
    let stores = MemoryBackend::new().stores();
    let topic = stores.topic::<UserUpdated>().unwrap();
    let events = topic.subscribe().await.unwrap();
    for user in ["ada", "grace"] {
        topic.publish(&UserUpdated { user_id: user.into(), changed: vec![] }).await.unwrap();
    }
    let users = events.filter_map(|delivery| async move {
        match delivery {
            Delivery::Event { data, .. } => Some(data.user_id),
            _ => None,
        }
    });
    assert_eq!(users.take(2).collect::<Vec<_>>().await, ["ada", "grace"]);
}
