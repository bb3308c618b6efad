//! Counters and leases.

use bytes::Bytes;
use stanchion::key::Key;

use super::PROCESSES;
use crate::check::{ensure, same};
use crate::child::{Task, race};
use crate::{Context, Outcome};

pub(in crate::cases) async fn no_addition_is_lost(cx: &Context) -> Outcome {
    const TIMES: u32 = 100;
    let mut children = cx.children(PROCESSES).await?;
    let cache = cx.open().await?.cache_store()?;
    let sums: Vec<Vec<i64>> = race(&mut children, |_| Task::Add { key: "a".into(), times: TIMES }).await?;
    let all = i64::from(TIMES) * i64::try_from(PROCESSES).unwrap_or_default();
    let mut sums = sums.concat();
    sums.sort_unstable();
    sums.dedup();
    same(sums.len().to_string(), all.to_string(), "different sums of all additions of all processes")?;
    let stored = cache.get(&Key::new("cache", "case", "a")?).await?;
    same(stored, Some(Bytes::from(all.to_string())), "the sum of all additions of all processes")
}

pub(in crate::cases) async fn one_holds_the_lease(cx: &Context) -> Outcome {
    let mut children = cx.children(PROCESSES).await?;
    let cache = cx.open().await?.cache_store()?;
    let keys: Vec<_> = (0..30).map(|n| format!("a{n}")).collect();
    let token = |n: usize| u8::try_from(n + 1).unwrap_or_default();
    let take = |n| Task::TakeLeases { keys: keys.clone(), token: token(n) };
    let granted: Vec<Vec<bool>> = race(&mut children, take).await?;
    for (at, key) in keys.iter().enumerate() {
        let holders = granted.iter().filter(|granted| granted.get(at) == Some(&true)).count();
        same(holders, 1, &format!("processes that were granted the lease on {key}"))?;
    }
    let fill = |n| Task::Fill { keys: keys.clone(), token: token(n) };
    let filled: Vec<Vec<bool>> = race(&mut children, fill).await?;
    ensure(filled == granted, "each lease fills its entry once, and no process without it does", &filled)?;
    for (at, key) in keys.iter().enumerate() {
        let holder = granted.iter().position(|granted| granted.get(at) == Some(&true)).map(token);
        let stored = cache.get(&Key::new("cache", "case", key)?).await?;
        same(stored, holder.map(|holder| Bytes::from(holder.to_string())), "what the lease's holder stored")?;
    }
    Ok(())
}
