//! The master is replaced.

use std::time::Duration;

use stanchion::environment::Health;
use stanchion_conformance::servers::{Sentinel, until};

use crate::service::{Done, Service};
use crate::support::{TIMEOUT, becomes, config, connect, connections, send};

/// No heartbeat comes in the time of a case.
const NEVER: Duration = Duration::from_hours(1);

async fn started(sentinel: &Sentinel) -> (Service, Done) {
    let service = Service::start(config(sentinel)).await;
    service.is_served_by(&sentinel.nodes()[0]).await;
    let done = service.works_at(&sentinel.nodes()[0]).await;
    (service, done)
}

/// Everything works at this node, for another process too.
async fn is_at(mut service: Service, done: &Done, sentinel: &Sentinel, new: usize) {
    service.goes_on().await;
    service.is_served_by(&sentinel.nodes()[new]).await;
    service.keeps(done).await;
    let other = connect(config(sentinel)).await;
    service.sees(&other).await;
}

pub(crate) async fn by_command_everything_goes_on_at_the_new_master() {
    let sentinel = Sentinel::start().await.unwrap();
    let (service, done) = started(&sentinel).await;
    let old = sentinel.begin_failover().await.unwrap();
    let new = sentinel.replaced(old).await.unwrap();
    is_at(service, &done, &sentinel, new).await;
    until("nothing of ours is left at the old one", TIMEOUT, || async {
        let left = connections(&sentinel.nodes()[old]).await;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await
    .unwrap();
}

pub(crate) async fn a_killed_master_is_replaced_for_everything() {
    let sentinel = Sentinel::start().await.unwrap();
    let (service, done) = started(&sentinel).await;
    let old = sentinel.kill_master().await.unwrap();
    becomes(&service.stores, Health::Down).await;
    let new = sentinel.replaced(old).await.unwrap();
    is_at(service, &done, &sentinel, new).await;
}

/// When it goes on it does not know that it was replaced, and answers as if nothing had happened, for ten seconds.
pub(crate) async fn a_master_that_hung_is_not_gone_back_to() {
    let sentinel = Sentinel::start().await.unwrap();
    let (service, done) = started(&sentinel).await;
    sentinel.pause(0).unwrap();
    let new = sentinel.replaced(0).await.unwrap();
    service.goes_on().await;
    sentinel.resume(0).unwrap();
    is_at(service, &done, &sentinel, new).await;
}

/// Whichever is listened to: two of three are lost one after the other, and one is enough to hear of the failover.
pub(crate) async fn a_sentinel_that_is_lost_is_not_missed() {
    let sentinel = Sentinel::start().await.unwrap();
    let service = Service::start(config(&sentinel).ping_every(NEVER)).await;
    let listened_to = async |without: Option<usize>| {
        until("one is listened to", TIMEOUT, || async {
            for (at, one) in sentinel.sentinels().iter().enumerate().filter(|(at, _)| Some(*at) != without) {
                let list = send(one, &["CLIENT", "LIST"]).await.text();
                let listens =
                    |line: &str| line.contains("name=stanchion:sentinels ") && line.contains(" sub=1 ");
                if list.lines().any(listens) {
                    return Ok(at);
                }
            }
            Err("none is")
        })
        .await
        .unwrap()
    };
    let first = listened_to(None).await;
    sentinel.sentinels()[first].kill().unwrap();
    let second = listened_to(Some(first)).await;
    assert_ne!(second, first);
    let old = sentinel.begin_failover().await.unwrap();
    let new = sentinel.replaced(old).await.unwrap();
    service.is_served_by(&sentinel.nodes()[new]).await;
    service.goes_on().await;
}

/// No call, no heartbeat, and the old master closes no connection: only the sentinels say it.
pub(crate) async fn while_nothing_is_called_the_switch_is_heard() {
    let sentinel = Sentinel::start().await.unwrap();
    let service = Service::start(config(&sentinel).ping_every(NEVER)).await;
    // Its connections are open, and stay so.
    sentinel.pause(0).unwrap();
    let new = sentinel.replaced(0).await.unwrap();
    service.is_served_by(&sentinel.nodes()[new]).await;
    becomes(&service.stores, Health::Up).await;
}
