//! Counts what a hit in the near cache allocates. Says it in JSON.

use std::time::Duration;

use futures_util::FutureExt;
use stanchion::cache::{Cache, NearEngine};
use stanchion_memory::{MemoryBackend, MokaNear, QuickNear};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const KEYS: usize = 10_000;
const HITS: usize = 100_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut counted = Vec::new();
    count("MokaNear", MokaNear::entries(2 * KEYS as u64), &mut counted).await?;
    count("QuickNear", QuickNear::entries(2 * KEYS as u64), &mut counted).await?;
    println!("{}", serde_json::to_string(&counted)?);
    Ok(())
}

async fn count(
    engine: &str,
    near: impl NearEngine,
    counted: &mut Vec<(String, f64)>,
) -> Result<(), Failure> {
    let stores = MemoryBackend::new().stores();
    let cache = stores.cache::<String>("bench").ttl(Duration::from_hours(1)).near(near).build()?;
    let ids: Vec<String> = (0..KEYS).map(|n| format!("u{n}")).collect();
    for id in &ids {
        cache.set(id, id).await?;
        cache.get(id).await?;
    }
    for (call, one) in [("get", get as fn(&Cache<String>, &str) -> bool), ("peek", peek)] {
        let all = || (0..HITS).filter(|turn| one(&cache, &ids[turn * 7_919 % KEYS])).count();
        all();
        let mut hits = 0;
        let allocations = allocation_counter::measure(|| hits = all());
        if hits < HITS {
            return Err(format!("{engine}, {call}: only {hits} hits").into());
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let each = allocations.count_total as f64 / HITS as f64;
        counted.push((format!("{engine}, {call}"), each));
    }
    Ok(())
}

fn get(cache: &Cache<String>, id: &str) -> bool {
    // A hit never waits.
    matches!(cache.get(id).now_or_never(), Some(Ok(Some(_))))
}

fn peek(cache: &Cache<String>, id: &str) -> bool {
    cache.peek(id).is_some()
}
