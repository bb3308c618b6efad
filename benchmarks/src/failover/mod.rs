//! How long a service is without its store when a master is replaced, and what is left of it afterwards.

mod afterwards;
mod bare;
mod fault;
mod fred_client;
mod load;
mod ours;

use std::time::Duration;

use stanchion_conformance::servers::Cluster;

use self::afterwards::Afterwards;
use self::bare::Bare;
use self::fault::Fault;
use self::fred_client::Fred;
use self::load::{Load, Seen};
use self::ours::Ours;
use crate::report::{Report, Row};
use crate::rounds::Rounds;
use crate::timing::{now, pause};
use crate::{Failure, machine};

const METHOD: &str = "A Redis Cluster of three masters with a replica each (node timeout 2 s). A master is replaced by \
its replica: planned (CLUSTER FAILOVER at the replica), and killed (SIGKILL). Ours, the `redis` crate's Cluster connection and \
fred work side by side, so that each sees the same failover: each begins a write to keys of that master every 5 ms, whatever \
has become of those before, and gives each a second. Ours is `Cache::set` with a deadline of a second; the others `SET` with \
an expiry, redis with its defaults, fred with its defaults and a constant reconnect policy of 100 ms without an end. \
Without service: the longest time between two writes that were answered, from a second before the order until every one of \
the three has had a write answered that was begun after all nodes agreed on the new master and a quarter of the keys below has a near copy, and a second more. Failed: writes \
begun after the order that were answered by an error or not within the second. Medians of 3 rounds; the ratio is to \
the peer with the smaller median, the median of the rounds' ratios. Meanwhile a reader with a near cache reads, and another \
process writes, 500 keys of all masters, and there are 16 subscriptions. After each round, once it is quiet (the feed is up, \
and 64 marker keys, on all masters, have been written and seen to change, twice): how many near copies differ from what is \
stored, and how many subscriptions don't get an event that is published then. Less is better.";

const ROUNDS: usize = 3;
/// How long before the order, and how long after the end.
const MARGIN: Duration = Duration::from_secs(1);

/// What the sides are called, ours first.
const SIDES: [&str; 3] = ["ours", "redis", "fred"];

pub(crate) async fn run() -> Result<Report, Failure> {
    let cluster = Cluster::start_with_replicas().await?;
    let version = cluster.nodes()[0].version().await?;
    let ours = Load::of(Ours::on(&cluster).await?);
    let redis = Load::of(Bare::on(&cluster).await?);
    let fred = Load::of(Fred::on(&cluster).await?);
    let afterwards = Afterwards::on(&cluster).await?;

    let mut rows = Vec::new();
    for fault in [Fault::Planned, Fault::Killed] {
        let mut without = Rounds::of(SIDES.len());
        let mut failed = Rounds::of(SIDES.len());
        let (mut stale, mut compared, mut silent, mut subscriptions) = (0, 0, 0, 0);
        for _ in 0..ROUNDS {
            let seen = round(&cluster, fault, [&ours, &redis, &fred], &afterwards).await?;
            without.add(seen.iter().map(|seen| seen.without.as_secs_f64()).collect());
            failed.add(seen.iter().map(|seen| seen.failed).collect());
            let left = afterwards.quiet().await?;
            (stale, compared) = (stale + left.stale, compared + left.compared);
            (silent, subscriptions) = (silent + left.silent, subscriptions + left.subscriptions);
        }
        rows.extend(against_peers(fault, &without, &failed));
        let case = format!("{}: stale of {compared} near copies", fault.name());
        rows.push(Row::count(case, "copies", crate::timing::count(stale)).at_most(0.0));
        let case = format!("{}: silent of {subscriptions} subscriptions", fault.name());
        rows.push(Row::count(case, "subscriptions", crate::timing::count(silent)).at_most(0.0));
    }
    let crates = machine::versions(&["redis", "fred", "tokio", "stanchion", "moka"]);
    Ok(Report::new("failover", format!("Redis {version}, {crates}"), METHOD, rows))
}

/// One failover, as each side sees it.
async fn round(
    cluster: &Cluster,
    fault: Fault,
    loads: [&dyn load::Paced; 3],
    afterwards: &Afterwards,
) -> Result<Vec<Seen>, Failure> {
    let work: Vec<_> = loads.iter().map(|load| load.begin()).collect();
    let race = afterwards.begin();
    pause(MARGIN).await;
    let ordered = now();
    let old = fault.happen(cluster).await?;
    let promoted = now();
    for work in &work {
        work.answered_since(promoted).await?;
    }
    afterwards.is_near().await?;
    pause(MARGIN).await;
    let mut seen = Vec::new();
    for work in work {
        seen.push(work.end(ordered).await?);
    }
    race.end().await?;
    fault.mend(cluster, old).await?;
    Ok(seen)
}

/// Ours beside the better of the peers, and then the other one.
fn against_peers(fault: Fault, without: &Rounds, failed: &Rounds) -> Vec<Row> {
    let mut peers = [1, 2].map(|peer| (peer, without.pairs(0, peer)));
    peers.sort_by(|(_, one), (_, other)| one.theirs().total_cmp(&other.theirs()));
    let case = |what| format!("{}: {what}", fault.name());
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
