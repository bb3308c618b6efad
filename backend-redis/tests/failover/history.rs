//! What callers were answered over a failover, held against what is there afterwards.

use stanchion::stores::Stores;
use stanchion_conformance::history::{Findings, History};
use stanchion_conformance::servers::Cluster;

use crate::support::{connect, eventually, key_on, set, soon};
use crate::work::Work;

/// A slot of the master that is replaced.
const SLOT: u16 = 0;
/// So many changes are confirmed before and after.
const MANY: usize = 400;

/// Waits until the master of the slot serves again.
async fn serves_again(cluster: &Cluster, stores: &Stores) {
    let (key, _) = key_on(cluster, Cluster::first_owner_of(SLOT)).await;
    eventually("the new master", || set(stores, &key, "x")).await;
}

/// Waits until so many more changes are confirmed than were.
async fn works(history: &History) {
    let before = history.check().confirmed;
    soon("calls are answered", || history.check().confirmed >= before + MANY).await;
}

/// Each of them has changed something, before and after.
fn is_of_use(findings: &Findings) {
    assert_eq!(findings.violations, [], "{findings:?}");
    assert!(findings.confirmed > 2 * MANY, "{findings:?}");
}

pub(crate) async fn a_planned_failover_loses_nothing_that_was_confirmed() {
    let cluster = Cluster::start_with_replicas().await.unwrap();
    let stores = connect(&cluster.urls()).await;
    let history = History::new();
    let work = Work::begin(&stores, &history);
    works(&history).await;
    cluster.failover(SLOT).await.unwrap();
    serves_again(&cluster, &stores).await;
    works(&history).await;
    work.end().await.look(&stores, &history).await;
    let findings = history.check();
    is_of_use(&findings);
    assert_eq!(findings.lost, 0);
}

/// What was confirmed shortly before may be lost: Redis replicates asynchronously. Nothing else may.
pub(crate) async fn a_killed_master_loses_what_was_not_replicated_and_nothing_else() {
    let cluster = Cluster::start_with_replicas().await.unwrap();
    let stores = connect(&cluster.urls()).await;
    let history = History::new();
    let work = Work::begin(&stores, &history);
    works(&history).await;
    history.loss_begins();
    // What was confirmed until now has reached the replicas.
    cluster.settled().await.unwrap();
    let killed = cluster.kill_master_of(SLOT).await.unwrap();
    cluster.replaced(SLOT, killed).await.unwrap();
    history.loss_ends();
    serves_again(&cluster, &stores).await;
    works(&history).await;
    // It comes back as a replica, empty, while the work goes on.
    cluster.restart(killed).await.unwrap();
    work.end().await.look(&stores, &history).await;
    let findings = history.check();
    is_of_use(&findings);
    println!(
        "{} confirmed, {} lost to replication, {} failed",
        findings.confirmed, findings.lost, findings.failed
    );
}
