//! How many commands an operation costs, counted where they pass.

use std::sync::Arc;
use std::time::Duration;

use stanchion::cache::{Cache, Loaded, Tag};
use stanchion_conformance::servers::{Proxy, until};
use stanchion_memory::MokaNear;
use stanchion_redis::RedisBackend;

use crate::report::{Report, Row};
use crate::server::Server;
use crate::timing::count;
use crate::{Failure, machine};

const METHOD: &str = "Each operation 50 times, thrice after as often to warm up, the median, through a proxy in front of each master that counts what \
clients send, on all their connections together; per operation: what is judged, since each of them may cost a trip. The tag check is of a value with two tags of its own, while \
the feed is up. `invalidate_tag` and `clear` may cost six on a Cluster: each generation is kept on three masters, read and raised in two trips, so that one master's failure takes no tag away (record 0024); the target was 1 while it was kept once. Beside it what the servers say they carried out (`INFO commandstats` after `CONFIG RESETSTAT`), which \
includes what the scripts call. A batch is 100 keys, judged by the number of writes that reached any one master \
(counted as reads of the proxy); 20 times.";

const TIMES: usize = 50;
const BATCHES: usize = 20;
const BATCH: usize = 100;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn run() -> Result<Report, Failure> {
    let mut rows = Vec::new();
    let mut version = String::new();
    for (server, proxies) in
        [Server::standalone_behind_proxy().await?, Server::cluster_behind_proxies().await?]
    {
        version = server.version().await?;
        let meter = Meter::on(server, proxies).await?;
        single(&meter, &mut rows).await?;
        batches(&meter, &mut rows).await?;
    }
    let crates = machine::versions(&["redis", "tokio", "stanchion"]);
    Ok(Report::new("commands", format!("Redis {version}, {crates}"), METHOD, rows))
}

async fn single(meter: &Meter, rows: &mut Vec<Row>) -> Result<(), Failure> {
    let (near, plain) = (&meter.near, &meter.plain);
    let tagged = Loaded::new(1).tag(Tag::new("a")?).tag(Tag::new("b")?);
    for n in 0..4 * TIMES {
        near.set(n, &1).await?;
        plain.put(format!("tagged-{n}"), tagged.clone()).await?;
    }
    for n in 0..4 * TIMES {
        meter.is_near(n).await?;
    }
    let name = meter.server.name();
    let mut add = |what: &str, counted: Counted, limit: f64| {
        let row = Row::count(format!("{name}: {what}"), "commands", counted.sent).at_most(limit);
        rows.push(row.beside("carried out", counted.carried_out));
    };
    let hit = meter.count(async |n| found(near.get(n).await?)).await?;
    add("hit in the near cache", hit, 0.0);
    let hit = meter.count(async |n| found(plain.get(n).await?)).await?;
    add("hit in the store", hit, 1.0);
    let hit = meter.count(async |n| found(plain.get(format!("tagged-{n}")).await?)).await?;
    add("hit in the store, with a check of two tags", hit, 1.0);
    let load = async |n: usize| {
        let loaded = plain.get_or_load(format!("cold-{n}"), || async { Ok::<_, Failure>(1) }).await;
        loaded.map(drop).map_err(|error| stanchion::Error::invalid(error.to_string()))
    };
    let loads = plain.stats().loads;
    let counted = meter.count(load).await?;
    // One part to warm up, and three.
    if plain.stats().loads - loads != 4 * u64::try_from(TIMES)? {
        return Err("not every miss was loaded".into());
    }
    add("miss, load and fill", counted, 3.0);
    add("set", meter.count(async |n| plain.set(n, &2).await).await?, 1.0);
    add("remove", meter.count(async |n| plain.remove(n).await.map(drop)).await?, 1.0);
    let tag = Tag::new("a")?;
    let bump = if matches!(meter.server, Server::Cluster(_)) { 6.0 } else { 1.0 };
    add("invalidate_tag", meter.count(async |_| plain.invalidate_tag(&tag).await).await?, bump);
    add("clear", meter.count(async |_| plain.clear().await).await?, bump);
    Ok(())
}

fn found(value: Option<Arc<u64>>) -> stanchion::Result<()> {
    value.map(drop).ok_or_else(|| stanchion::Error::invalid("a hit was none"))
}

async fn batches(meter: &Meter, rows: &mut Vec<Row>) -> Result<(), Failure> {
    let plain = &meter.plain;
    let ids: Vec<String> = (0..BATCH).map(|n| format!("batch-{n}")).collect();
    let entries: Vec<(&String, u64)> = ids.iter().map(|id| (id, 1)).collect();
    let name = meter.server.name();
    let mut add = |what: &str, writes: f64| {
        let case = format!("{name}: {what} of {BATCH} keys, to any one master");
        rows.push(Row::count(case, "writes", writes).at_most(1.0));
    };
    add("set_many", meter.writes(async || plain.set_many(&entries).await).await?);
    add("get_many", meter.writes(async || plain.get_many(&ids).await.map(drop)).await?);
    add("remove_many", meter.writes(async || plain.remove_many(&ids).await.map(drop)).await?);
    Ok(())
}

/// A deployment, and caches whose commands are counted on the way.
struct Meter {
    server: Server,
    proxies: Vec<Proxy>,
    near: Cache<u64>,
    plain: Cache<u64>,
}

/// Per operation.
struct Counted {
    sent: f64,
    carried_out: f64,
}

impl Meter {
    async fn on(server: Server, proxies: Vec<Proxy>) -> Result<Self, Failure> {
        // Nothing of its own accord meanwhile.
        let config = server.config(&proxies)?.ping_every(Duration::from_hours(1));
        let config = config.deadline(PATIENCE).cache_deadline(PATIENCE);
        let stores = RedisBackend::connect(config).await?.stores();
        let build = || stores.cache::<u64>("count").store_deadline(PATIENCE);
        let meter = Self {
            server,
            proxies,
            near: build().near(MokaNear::entries(10_000)).build()?,
            plain: build().build()?,
        };
        meter.near.set(0, &1).await?;
        meter.is_near(0).await?;
        Ok(meter)
    }

    /// Waits until a key is near: the feed is up, and has told of the last write of it.
    async fn is_near(&self, key: usize) -> Result<(), Failure> {
        let is_near = || async {
            let read = self.near.get(key).await;
            if self.near.peek(key).is_some() { Ok(()) } else { Err(format!("{key} is not near: {read:?}")) }
        };
        Ok(until("a near copy", PATIENCE, is_near).await?)
    }

    /// What each of so many operations costs: the median of three counts, after one to warm up. (Now and then a
    /// connection looks after itself meanwhile.)
    async fn count(&self, work: impl AsyncFn(usize) -> stanchion::Result<()>) -> Result<Counted, Failure> {
        // On every master, so that all know the scripts.
        self.count_once(3, &work).await?;
        let mut counts = Vec::new();
        for part in 0..3 {
            counts.push(self.count_once(part, &work).await?);
        }
        counts.sort_by(|a, b| a.sent.total_cmp(&b.sent));
        Ok(counts.swap_remove(1))
    }

    async fn count_once(
        &self,
        part: usize,
        work: &impl AsyncFn(usize) -> stanchion::Result<()>,
    ) -> Result<Counted, Failure> {
        for node in self.server.nodes() {
            node.command(&["CONFIG", "RESETSTAT"]).await?;
        }
        self.proxies.iter().for_each(Proxy::forget_requests);
        for n in part * TIMES..(part + 1) * TIMES {
            work(n).await?;
        }
        let sent: usize = self.proxies.iter().map(|proxy| proxy.requests("")).sum();
        let mut carried_out = 0;
        for node in self.server.nodes() {
            carried_out += calls(&node.command(&["INFO", "commandstats"]).await?.text());
        }
        let each = |number: usize| count(number) / count(TIMES);
        Ok(Counted { sent: each(sent), carried_out: each(carried_out) })
    }

    /// The most writes that one operation sent to one master.
    async fn writes(&self, work: impl AsyncFn() -> stanchion::Result<()>) -> Result<f64, Failure> {
        work().await?;
        let mut most = 0;
        for _ in 0..BATCHES {
            self.proxies.iter().for_each(Proxy::forget_requests);
            work().await?;
            let writes = self.proxies.iter().map(|proxy| proxy.reads("")).max();
            most = most.max(writes.unwrap_or_default());
        }
        Ok(count(most))
    }
}

/// The calls that a server counts, without those that ask it.
fn calls(stats: &str) -> usize {
    let calls = stats.lines().filter_map(|line| {
        let (command, figures) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let asks = command.starts_with("config") || command.starts_with("info");
        figures.split(',').next().filter(|_| !asks)?.parse::<usize>().ok()
    });
    calls.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_summed_without_those_that_ask() {
        let stats = "# Commandstats\r\ncmdstat_get:calls=3,usec=1\r\ncmdstat_evalsha:calls=2,usec=1\r\n\
                     cmdstat_config|resetstat:calls=1,usec=9\r\ncmdstat_info:calls=1,usec=9\r\n";
        assert_eq!(calls(stats), 5);
    }
}
