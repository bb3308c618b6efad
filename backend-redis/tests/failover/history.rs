//! What callers were answered over a failover, held against what is there afterwards.

use std::time::Duration;

use stanchion_conformance::history::{Findings, History};
use stanchion_conformance::servers::Cluster;

use crate::support::connect;
use crate::work::Work;

/// A slot of the master that is replaced.
const SLOT: u16 = 0;
/// More than replication takes on a busy machine.
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(2);

/// Each of them has changed something, before and after.
fn is_of_use(findings: &Findings) {
    assert_eq!(findings.violations, [], "{findings:?}");
    assert!(findings.confirmed > 400, "{findings:?}");
}

pub(crate) async fn a_planned_failover_loses_nothing_that_was_confirmed() {
    let cluster = Cluster::start_with_replicas().await.unwrap();
    let stores = connect(&cluster.urls()).await;
    let history = History::new();
    let work = Work::begin(&stores, &history);
    stores.environment().sleep(BEFORE).await;
    cluster.failover(SLOT).await.unwrap();
    stores.environment().sleep(AFTER).await;
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
    stores.environment().sleep(BEFORE).await;
    history.loss_begins();
    stores.environment().sleep(BEFORE).await;
    let killed = cluster.kill_master_of(SLOT).await.unwrap();
    cluster.replaced(SLOT, killed).await.unwrap();
    history.loss_ends();
    stores.environment().sleep(AFTER).await;
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
