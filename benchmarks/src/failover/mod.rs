//! How long a service is without its store when a master is replaced, and what is left of it afterwards.

mod afterwards;
mod bare;
mod deployment;
mod fault;
mod fred_client;
mod load;
mod ours;

use std::time::Duration;

use stanchion_conformance::servers::{Cluster, Sentinel};

use self::afterwards::Afterwards;
use self::bare::Bare;
use self::deployment::Deployment;
use self::fault::Fault;
use self::fred_client::Fred;
use self::load::{Load, Seen};
use self::ours::Ours;
use crate::report::{Report, Row};
use crate::rounds::Rounds;
use crate::timing::{now, pause};
use crate::{Failure, machine};

const METHOD: &str = "A Redis Cluster of three masters with a replica each (node timeout 2 s), and a master with two replicas \
and three sentinels (down after 1 s). A master is replaced by a replica: planned (CLUSTER FAILOVER at the replica; SENTINEL \
FAILOVER, which does not stop the old master's clients, so that what they write until they leave it is lost), and killed \
(SIGKILL). Ours, the `redis` crate and fred work side by side, so that each sees the same failover: each begins a write to keys \
of that master every 5 ms, whatever has become of those before, and gives each a second. Ours is `Cache::set` with a deadline \
of a second; the others `SET` with an expiry: redis by its Cluster connection with its defaults, or by its `SentinelClient`, \
which is asked for another connection when a write has failed; fred with its defaults and a constant reconnect policy of 100 ms \
without an end. Without service: the longest time between two writes that were answered, from a second before the order until \
every one of the three has had a write answered that was begun after all nodes, or all sentinels, agreed on the new master (a \
peer that has none within half a minute is waited for no longer, and counted until then) and a quarter of the keys below has a \
near copy, and a second more. Each round begins with clients of its own. Failed: writes begun after the order that were answered by an \
error or not within the second. Medians of 3 rounds; the ratio is to the peer with the smaller median, the median of the \
rounds' ratios. Meanwhile a reader with a near cache reads, and another process writes, 500 keys of all masters, and there are \
16 subscriptions. After each round, once it is quiet (the feed is up, and 64 marker keys, on all masters, have been written \
and seen to change, twice): how many near copies differ from what is stored, and how many subscriptions don't get an event \
that is published then. Less is better.";

const ROUNDS: usize = 3;
/// How long before the order, and how long after the end.
const MARGIN: Duration = Duration::from_secs(1);

/// What the sides are called, ours first.
const SIDES: [&str; 3] = ["ours", "redis", "fred"];

pub(crate) async fn run() -> Result<Report, Failure> {
    let cluster = Deployment::Cluster(Cluster::start_with_replicas().await?);
    let version = cluster.nodes()[0].version().await?;
    let mut rows = on(&cluster).await?;
    drop(cluster);
    rows.extend(on(&Deployment::Sentinel(Sentinel::start().await?)).await?);
    let crates = machine::versions(&["redis", "fred", "tokio", "stanchion", "moka"]);
    Ok(Report::new("failover", format!("Redis {version}, {crates}"), METHOD, rows))
}

async fn on(deployment: &Deployment) -> Result<Vec<Row>, Failure> {
    let afterwards = Afterwards::on(deployment).await?;

    let mut rows = Vec::new();
    for fault in [Fault::Planned, Fault::Killed] {
        let mut without = Rounds::of(SIDES.len());
        let mut failed = Rounds::of(SIDES.len());
        let (mut stale, mut compared, mut silent, mut subscriptions) = (0, 0, 0, 0);
        for _ in 0..ROUNDS {
            let ours = Load::of(Ours::on(deployment).await?);
            let redis = Load::of(Bare::on(deployment).await?);
            let fred = Load::of(Fred::on(deployment).await?);
            let seen = round(deployment, fault, [&ours, &redis, &fred], &afterwards).await?;
            without.add(seen.iter().map(|seen| seen.without.as_secs_f64()).collect());
            failed.add(seen.iter().map(|seen| seen.failed).collect());
            let left = afterwards.quiet().await?;
            (stale, compared) = (stale + left.stale, compared + left.compared);
            (silent, subscriptions) = (silent + left.silent, subscriptions + left.subscriptions);
        }
        let case = format!("{}, {}", deployment.name(), fault.name());
        rows.extend(against_peers(&case, &without, &failed));
        let stale_of = format!("{case}: stale of {compared} near copies");
        rows.push(Row::count(stale_of, "copies", crate::timing::count(stale)).at_most(0.0));
        let silent_of = format!("{case}: silent of {subscriptions} subscriptions");
        rows.push(Row::count(silent_of, "subscriptions", crate::timing::count(silent)).at_most(0.0));
    }
    Ok(rows)
}

/// One failover, as each side sees it.
async fn round(
    deployment: &Deployment,
    fault: Fault,
    loads: [&dyn load::Paced; 3],
    afterwards: &Afterwards,
) -> Result<Vec<Seen>, Failure> {
    let work: Vec<_> = loads.iter().map(|load| load.begin()).collect();
    let race = afterwards.begin();
    pause(MARGIN).await;
    let ordered = now();
    let old = deployment.suffer(fault).await?;
    let promoted = now();
    for (side, work) in SIDES.iter().zip(&work) {
        let what = format!("{}, {}: {side}", deployment.name(), fault.name());
        let back = work.answered_since(promoted, &what).await;
        // A peer that does not come back is counted as it is.
        if *side == SIDES[0] {
            back?;
        }
    }
    afterwards.is_near().await?;
    pause(MARGIN).await;
    let mut seen = Vec::new();
    for work in work {
        seen.push(work.end(ordered).await?);
    }
    race.end().await?;
    deployment.mend(fault, old).await?;
    Ok(seen)
}

/// Ours beside the better of the peers, and then the other one.
fn against_peers(case: &str, without: &Rounds, failed: &Rounds) -> Vec<Row> {
    let mut peers = [1, 2].map(|peer| (peer, without.pairs(0, peer)));
    peers.sort_by(|(_, one), (_, other)| one.theirs().total_cmp(&other.theirs()));
    let case = |what| format!("{case}: {what}");
    let mut rows = Vec::new();
    for (place, (peer, pairs)) in peers.iter().enumerate() {
        let row = Row::pairs(case("without service"), SIDES[*peer], "s", pairs);
        rows.push(if place == 0 { row.at_most(1.0) } else { row });
    }
    for (peer, _) in &peers {
        let pairs = failed.pairs(0, *peer);
        rows.push(
            Row::count(case("writes failed"), "writes", pairs.ours()).beside(SIDES[*peer], pairs.theirs()),
        );
    }
    rows
}
