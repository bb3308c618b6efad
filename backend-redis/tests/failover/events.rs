//! Events.

use stanchion::event::standard::UserUpdated;
use stanchion::event::{Delivery, Events, Topic};
use stanchion::stores::Stores;
use stanchion_conformance::servers::Cluster;

use crate::support::{TIMEOUT, connect, eventually};

const CHANNEL: &str = "events:user:channel";

fn updated(id: &str) -> UserUpdated {
    UserUpdated { user_id: id.to_owned(), changed: Vec::new() }
}

fn topic(stores: &Stores) -> Topic<UserUpdated> {
    stores.topic::<UserUpdated>().unwrap()
}

async fn next(events: &mut Events<UserUpdated>) -> Delivery<UserUpdated> {
    tokio::time::timeout(TIMEOUT, events.next()).await.expect("something comes").expect("it goes on")
}

/// The node that this subscription is at, which is the only one.
async fn carrier(cluster: &Cluster) -> usize {
    for (at, node) in cluster.nodes().iter().enumerate() {
        let reply = node.command(&["PUBSUB", "NUMSUB", CHANNEL]).await.unwrap();
        if reply.items()[1].int() == Some(1) {
            return at;
        }
    }
    panic!("nobody subscribes")
}

/// Subscribers learn that they may have missed something, and get what is published from then on, from here and elsewhere.
async fn goes_on(events: &mut Events<UserUpdated>, publishers: [&Stores; 2]) {
    assert!(matches!(next(events).await, Delivery::Reconnected));
    for (name, publisher) in ["here", "there"].into_iter().zip(publishers) {
        // That of another process may need a moment longer to see what has happened: what it publishes until then is lost.
        let topic = topic(publisher);
        loop {
            let event = updated(name);
            eventually("it is published", || topic.publish(&event)).await;
            let waited = tokio::time::timeout(std::time::Duration::from_secs(1), events.next()).await;
            match waited {
                Ok(Some(Delivery::Event { data, .. })) if data.user_id == name => break,
                Ok(None) => panic!("it has ended"),
                Ok(Some(_)) | Err(_) => {}
            }
        }
    }
}

pub(crate) async fn a_node_whose_bus_is_cut_is_left() {
    let cluster = Cluster::start_with_replicas().await.unwrap();
    let (here, there) = (connect(&cluster.urls()).await, connect(&cluster.urls()).await);
    let mut events = topic(&here).subscribe().await.unwrap();
    let carrier = carrier(&cluster).await;
    cluster.cut_bus(carrier).unwrap();
    goes_on(&mut events, [&here, &there]).await;
}

/// Its slots were given away, the others have forgotten it, and it lives on with whoever is connected to it.
pub(crate) async fn a_node_that_is_forgotten_is_left() {
    let cluster = Cluster::start().await.unwrap();
    let (here, there) = (connect(&cluster.urls()).await, connect(&cluster.urls()).await);
    let mut events = topic(&here).subscribe().await.unwrap();
    let carrier = carrier(&cluster).await;
    let heir = (carrier + 1) % 3;
    let last = (carrier + 2) % 3;
    for node in cluster.nodes() {
        node.command(&["CONFIG", "SET", "cluster-allow-replica-migration", "no"]).await.unwrap();
    }
    // Or the word of the one that leaves could count.
    cluster.nodes()[heir].command(&["CLUSTER", "BUMPEPOCH"]).await.unwrap();
    for slot in (0..16_384_u16).filter(|slot| Cluster::first_owner_of(*slot) == carrier) {
        let keys = cluster.nodes()[carrier].command(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]).await;
        if keys.unwrap().int() != Some(0) {
            cluster.migrate_slot(slot, carrier, heir).await.unwrap();
            continue;
        }
        for node in [heir, carrier, last] {
            let words = ["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", cluster.id(heir)];
            let reply = cluster.nodes()[node].command(&words).await.unwrap();
            assert!(!reply.is_error(), "{reply:?}");
        }
    }
    for node in [heir, last] {
        let reply = cluster.nodes()[node].command(&["CLUSTER", "FORGET", cluster.id(carrier)]).await.unwrap();
        assert!(!reply.is_error(), "{reply:?}");
    }
    goes_on(&mut events, [&here, &there]).await;
}
