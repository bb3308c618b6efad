//! Compressed and encrypted values, through the façade.

use stanchion::cache::{Cache, CacheBuilder, Compression, EncryptionKey, Keyring, SetOptions, SetOutcome};
use stanchion::prelude::*;
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use stanchion_memory::MemoryBackend;

const SECRET: &str = "4111 1111 1111 1111";

fn key(id: u32) -> EncryptionKey {
    EncryptionKey::new(id, &[u8::try_from(id).unwrap_or_default(); 32])
}

fn cards(stores: &Stores, set: impl FnOnce(CacheBuilder<String>) -> CacheBuilder<String>) -> Cache<String> {
    set(stores.cache("card").ttl(minutes(10))).build().expect("a cache")
}

async fn stored(stores: &Stores, cards: &Cache<String>) -> Vec<u8> {
    let (store, key) = (stores.cache_store().expect("a store"), cards.key("u1").expect("a key"));
    let bytes = store.get(&key).await.expect("the store answers");
    bytes.expect("something is stored").to_vec()
}

fn shows(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

#[tokio::test]
async fn an_encrypted_value_is_stored_as_no_one_can_read_it() {
    let stores = MemoryBackend::new().stores();
    let sealed = cards(&stores, |cache| cache.encrypt(Keyring::new(key(1))));
    let bare = cards(&stores, |cache| cache);
    sealed.set("u1", &SECRET.to_owned()).await.unwrap();
    let bytes = stored(&stores, &sealed).await;
    assert!(!shows(&bytes));
    assert_eq!(sealed.get("u1").await.unwrap().as_deref().map(String::as_str), Some(SECRET));
    assert!(bare.get("u1").await.unwrap().is_none());
    // Moved to another key it is nothing.
    let other = sealed.key("u2").unwrap();
    let store = stores.cache_store().unwrap();
    let moved = SetOptions::new(Ttl::MAX);
    assert_eq!(store.set(&other, bytes.into(), &moved).await.unwrap(), SetOutcome::Stored);
    assert!(sealed.get("u2").await.unwrap().is_none());
    // One that is not encrypted is nothing to a cache that encrypts.
    bare.set("u1", &SECRET.to_owned()).await.unwrap();
    assert!(shows(&stored(&stores, &bare).await));
    assert!(sealed.get("u1").await.unwrap().is_none());
    assert_eq!(sealed.stats().undecodable, 2);
}

#[tokio::test]
async fn compare_and_set_and_touch_work_on_encrypted_values() {
    let stores = MemoryBackend::new().stores();
    let set = |cache: CacheBuilder<String>| {
        cache.encrypt(Keyring::new(key(1))).compress(Compression::lz4().over(10))
    };
    let sealed = cards(&stores, set);
    let (first, second) = ("a".repeat(100), "b".repeat(100));
    sealed.set("u1", &first).await.unwrap();
    let before = stored(&stores, &sealed).await;
    assert!(sealed.touch("u1").await.unwrap());
    assert_ne!(stored(&stores, &sealed).await, before, "a new nonce for a new header");
    assert_eq!(sealed.replace("u1", &second, &first).await.unwrap(), SetOutcome::NotStored);
    assert_eq!(sealed.replace("u1", &first, &second).await.unwrap(), SetOutcome::Stored);
    assert_eq!(sealed.get("u1").await.unwrap().as_deref(), Some(&second));
}

#[tokio::test]
async fn keys_are_changed_without_losing_the_cache() {
    let stores = MemoryBackend::new().stores();
    let old = cards(&stores, |cache| cache.encrypt(Keyring::new(key(1))));
    let ready = cards(&stores, |cache| cache.encrypt(Keyring::new(key(1)).reading(key(2))));
    let new = cards(&stores, |cache| cache.encrypt(Keyring::new(key(2)).reading(key(1))));
    old.set("u1", &SECRET.to_owned()).await.unwrap();
    assert!(new.get("u1").await.unwrap().is_some());
    // Renewing a value encrypts it with the new key.
    assert!(new.touch("u1").await.unwrap());
    assert!(ready.get("u1").await.unwrap().is_some());
    assert!(old.get("u1").await.unwrap().is_none());
}

#[tokio::test]
async fn that_there_is_none_is_encrypted_too() {
    let stores = MemoryBackend::new().stores();
    let none = || async { Ok::<Option<String>, std::io::Error>(None) };
    let sealed = cards(&stores, |cache| cache.encrypt(Keyring::new(key(1))).negative_ttl(minutes(1)));
    assert!(sealed.get_or_find("u1", none).await.unwrap().is_none());
    let some = || async { Ok::<_, std::io::Error>(Some(SECRET.to_owned())) };
    assert!(sealed.get_or_find("u1", some).await.unwrap().is_none(), "it was not remembered");
    assert!(stored(&stores, &sealed).await.len() > 44 + 4 + 24);
}

#[tokio::test]
async fn plain_values_are_neither_compressed_nor_encrypted() {
    let stores = MemoryBackend::new().stores();
    let plain = || stores.cache::<String>("card").plain();
    assert_eq!(plain().compress(Compression::lz4()).build().unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(plain().encrypt(Keyring::new(key(1))).build().unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn compression_needs_no_setting_to_be_read() {
    let stores = MemoryBackend::new().stores();
    let compressed = cards(&stores, |cache| cache.compress(Compression::lz4()));
    let long = SECRET.repeat(100);
    compressed.set("u1", &long).await.unwrap();
    assert!(stored(&stores, &compressed).await.len() < 200);
    assert_eq!(cards(&stores, |cache| cache).get("u1").await.unwrap().as_deref(), Some(&long));
}
