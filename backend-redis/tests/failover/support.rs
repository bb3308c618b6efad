//! What the cases share.

#[macro_use]
#[path = "../support/mod.rs"]
mod shared;

#[path = "../support/calls.rs"]
mod calls;

use std::time::Duration;

use stanchion::Result;
use stanchion::cache::{SetOptions, SetOutcome};
use stanchion::key::Key;
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use stanchion_conformance::servers::Cluster;
use stanchion_redis::RedisConfig;

pub(crate) use self::calls::{TIMEOUT, eventually, soon};
pub(crate) use self::shared::case;

/// With the deadlines that a service has unless it sets others.
pub(crate) async fn connect(urls: &[String]) -> Stores {
    let config = RedisConfig::cluster(urls.iter().map(String::as_str)).unwrap();
    calls::connect(config).await
}

/// A key whose slot is served by this node at first, and the slot.
pub(crate) async fn key_on(cluster: &Cluster, node: usize) -> (Key, u16) {
    for n in 0.. {
        let key = Key::new("cache", "failover", format!("k{n}")).unwrap();
        let slot = cluster.slot_of(key.as_str()).await.unwrap();
        if Cluster::first_owner_of(slot) == node {
            return (key, slot);
        }
    }
    unreachable!("there are many keys")
}

pub(crate) async fn set(stores: &Stores, key: &Key, value: &str) -> Result<()> {
    let options = SetOptions::new(Ttl::new(Duration::from_hours(1))?);
    let outcome = stores.cache_store()?.set(key, value.to_owned().into(), &options).await?;
    assert_eq!(outcome, SetOutcome::Stored);
    Ok(())
}

pub(crate) async fn get(stores: &Stores, key: &Key) -> Result<Option<String>> {
    let value = stores.cache_store()?.get(key).await?;
    Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
}
