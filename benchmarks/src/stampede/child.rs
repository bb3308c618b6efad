//! One of the processes: asks for the key in many tasks, and says on its output what became of it.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use stanchion::cache::Cache;
use stanchion_redis::RedisBackend;

use super::{LEASE, LOAD, TASKS};
use crate::Failure;
use crate::peers::bare_connection;
use crate::timing::{now, pause};

/// The role of a process, as the first of its arguments.
pub(crate) const CHILD: &str = "stampede-child";
/// Where loads are counted.
pub(crate) const LOADS: &str = "loads";
pub(super) const READY: &str = "ready";
pub(super) const LOADING: &str = "loading";
const KEY: &str = "cold";

/// What a process asks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Cache,
    Moka,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Moka => "moka",
        }
    }
}

/// What a process says at its end.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) served: usize,
    pub(crate) longest_micros: u64,
    /// How many loaders ran, and how many at once, where that is counted.
    #[serde(default)]
    pub(crate) loads: usize,
    #[serde(default)]
    pub(crate) most: usize,
}

/// Plays the role in this process.
pub(crate) async fn child(arguments: &[String]) -> Result<(), Failure> {
    let [role, url] = arguments else {
        return Err("a role and a URL are wanted".into());
    };
    let bare = bare_connection(url).await?;
    let told = if role == Role::Moka.name() {
        let moka = moka::future::Cache::new(10);
        wait_for_go()?;
        ask(move || by_moka(moka.clone(), bare.clone())).await?
    } else {
        let stores = RedisBackend::connect(url).await?.stores();
        let cache: Cache<i64> = stores.cache("stampede").lease(LEASE).build()?;
        // So that what is measured is not the first use of the connection.
        cache.get("other").await?;
        wait_for_go()?;
        ask(move || by_cache(cache.clone(), bare.clone())).await?
    };
    say(&serde_json::to_string(&told)?)
}

pub(crate) fn say(line: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}

/// Says that it is ready, and waits for a line.
pub(crate) fn wait_for_go() -> Result<(), Failure> {
    say(READY)?;
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

async fn ask<F>(once: impl Fn() -> F + Send + Sync + 'static) -> Result<Told, Failure>
where
    F: Future<Output = Result<i64, Failure>> + Send + 'static,
{
    let once = Arc::new(once);
    let begun = now();
    let callers: Vec<_> = (0..TASKS)
        .map(|_| {
            let once = Arc::clone(&once);
            tokio::spawn(async move { once().await.map(|_| begun.elapsed()) })
        })
        .collect();
    let mut longest = Duration::ZERO;
    let mut served = 0;
    for caller in callers {
        longest = longest.max(caller.await??);
        served += 1;
    }
    Ok(Told { served, longest_micros: u64::try_from(longest.as_micros())?, ..Told::default() })
}

async fn by_cache(cache: Cache<i64>, bare: MultiplexedConnection) -> Result<i64, Failure> {
    let value = cache.get_or_load(KEY, move || load(bare)).await;
    value.map(|value| *value).map_err(|error| error.to_string().into())
}

async fn by_moka(
    moka: moka::future::Cache<&'static str, i64>,
    mut bare: MultiplexedConnection,
) -> Result<i64, Failure> {
    let loading = async {
        if let Some(stored) = bare.get("bare:cold").await? {
            return Ok(stored);
        }
        let loaded = load(bare.clone()).await?;
        let () = bare.set_ex("bare:cold", loaded, 600).await?;
        Ok::<i64, Failure>(loaded)
    };
    moka.try_get_with(KEY, loading).await.map_err(|error| error.to_string().into())
}

/// Counts itself, says so, and takes its time.
async fn load(mut bare: MultiplexedConnection) -> Result<i64, Failure> {
    let number = bare.incr(LOADS, 1).await?;
    say(LOADING)?;
    pause(LOAD).await;
    Ok(number)
}
