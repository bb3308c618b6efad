//! A hit in the memory backend against a hit in bare moka, holding the same bytes under the same keys.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stanchion::cache::{CacheStore, SetOptions};
use stanchion::key::Key;
use stanchion::time::Ttl;
use stanchion_memory::MemoryBackend;

use crate::report::{Report, Row};
use crate::rounds::{ROUNDS, Rounds};
use crate::timing::{rate, timed};
use crate::{Failure, machine};

const METHOD: &str = "10,000 values of 100 bytes under string keys, read in a scrambled order. Ours: `CacheStore::get` of the \
memory backend through the trait object (boxed future, expiry checked by the clock). moka: `sync::Cache::get` \
with a time to live set, of `Bytes` under the same `Key` type. Median of 8 paired rounds in balanced order after one to \
warm up; rates in operations per second, of all threads together.";

const KEYS: usize = 10_000;
const READS: usize = 400_000;

pub(crate) async fn run() -> Result<Report, Failure> {
    let keys: Arc<[Key]> = (0..KEYS).map(|n| Key::new("cache", "bench", n)).collect::<Result<_, _>>()?;
    let ttl = Ttl::new(Duration::from_hours(1))?;
    let store = MemoryBackend::new().stores().cache_store()?;
    let peer: moka::sync::Cache<Key, Bytes> =
        moka::sync::Cache::builder().max_capacity(2 * KEYS as u64).time_to_live(ttl.as_duration()).build();
    for (n, key) in keys.iter().enumerate() {
        // A distinct value for each: with a shared one the threads fight over its reference count.
        let value = Bytes::from(format!("{n:0100}"));
        let _stored = store.set(key, value.clone(), &SetOptions::new(ttl)).await?;
        peer.insert(key.clone(), value);
    }
    let mut rows = Vec::new();
    for threads in [1, 2] {
        let mut rounds = Rounds::of(2);
        for round in 0..=ROUNDS {
            let mut measured = vec![0.0; 2];
            for side in rounds.order(round) {
                let (done, elapsed) = timed(async {
                    let readers: Vec<_> = (0..threads)
                        .map(|thread| {
                            let keys = Arc::clone(&keys);
                            if side == 0 {
                                tokio::spawn(read_ours(Arc::clone(&store), keys, thread))
                            } else {
                                let peer = peer.clone();
                                tokio::spawn(async move { read_peer(&peer, &keys, thread) })
                            }
                        })
                        .collect();
                    for reader in readers {
                        reader.await??;
                    }
                    Ok::<_, Failure>(())
                })
                .await;
                done?;
                measured[side] = rate(READS * threads, elapsed);
            }
            if round > 0 {
                rounds.add(measured);
            }
        }
        let case = format!("{threads} threads");
        rows.push(Row::pairs(case, "moka", "op/s", &rounds.pairs(0, 1)).at_least(1.0));
    }
    Ok(Report::new("memory-hit", machine::versions(&["moka", "tokio", "stanchion-memory"]), METHOD, rows))
}

/// The same scrambled walk for both sides: a full cycle, since the step and the size have no common divisor.
fn walk(thread: usize) -> impl Iterator<Item = usize> {
    (0..READS).map(move |turn| (turn * 7_919 + thread * 31) % KEYS)
}

async fn read_ours(store: Arc<dyn CacheStore>, keys: Arc<[Key]>, thread: usize) -> Result<(), Failure> {
    for index in walk(thread) {
        std::hint::black_box(store.get(&keys[index]).await?.ok_or("a value is missing")?);
    }
    Ok(())
}

fn read_peer(peer: &moka::sync::Cache<Key, Bytes>, keys: &[Key], thread: usize) -> Result<(), Failure> {
    for index in walk(thread) {
        std::hint::black_box(peer.get(&keys[index]).ok_or("a value is missing")?);
    }
    Ok(())
}
