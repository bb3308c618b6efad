//! What a near cache and subscriptions are worth after a failover.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use stanchion::clock::SystemClock;
use stanchion::event::{Envelope, EventBus, EventId, EventType, Received, SubscribeOptions, Subscription};
use stanchion::key::Name;
use stanchion::random::{Random, SystemRandom};
use stanchion::time::Timestamp;
use stanchion_conformance::servers::until;
use stanchion_redis::RedisBackend;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Failure;
use super::deployment::Deployment;
use crate::coherence::{Near, Racer};
use crate::timing::pause;

const KEYS: usize = 500;
const SUBSCRIPTIONS: usize = 16;
/// An event that has not come by then never will.
const GIVE_UP: Duration = Duration::from_secs(10);
const BREATH: Duration = Duration::from_millis(2);

pub(super) struct Afterwards {
    near: Near,
    publisher: Arc<dyn EventBus>,
    subscriptions: Mutex<Vec<(String, Box<dyn Subscription>)>>,
}

/// What is not as it should be, of how many.
#[derive(Default)]
pub(super) struct Left {
    pub(super) stale: usize,
    pub(super) compared: usize,
    pub(super) silent: usize,
    pub(super) subscriptions: usize,
}

impl Afterwards {
    pub(super) async fn on(deployment: &Deployment) -> Result<Self, Failure> {
        let reader = RedisBackend::connect(deployment.config()?).await?.stores();
        let writer = RedisBackend::connect(deployment.config()?).await?.stores();
        let mut subscriptions = Vec::new();
        for number in 0..SUBSCRIPTIONS {
            let domain = format!("domain-{number}");
            let options = SubscribeOptions::new(Name::new(&domain)?);
            subscriptions.push((domain, reader.event_bus()?.subscribe(options).await?));
        }
        let publisher = writer.event_bus()?;
        let near = Near::between(&reader, &writer).await?;
        Ok(Self { near, publisher, subscriptions: Mutex::new(subscriptions) })
    }

    /// Has the reader and the writer work.
    pub(super) fn begin(&self) -> Race {
        let stopped = Arc::new(AtomicBool::new(false));
        let (near, flag) = (self.near.clone(), Arc::clone(&stopped));
        let reading = tokio::spawn(async move {
            while !flag.load(Ordering::Relaxed) {
                // What fails while the master is away is counted elsewhere.
                let _ = near.read(some_key()?).await;
                pause(BREATH).await;
            }
            Ok(())
        });
        let (near, flag) = (self.near.clone(), Arc::clone(&stopped));
        let writing = tokio::spawn(async move {
            let mut version = 1;
            while !flag.load(Ordering::Relaxed) {
                version += 1;
                let _ = near.write(some_key()?, version).await;
                pause(BREATH).await;
            }
            Ok(())
        });
        Race { stopped, tasks: [reading, writing] }
    }

    /// Waits until copies are made again.
    pub(super) async fn is_near(&self) -> Result<(), Failure> {
        let probe = || {
            let copies = self.near.copies();
            std::future::ready(if copies >= KEYS / 4 { Ok(()) } else { Err(format!("{copies} copies")) })
        };
        Ok(until("the near cache", GIVE_UP, probe).await?)
    }

    /// Waits until it is quiet, and looks.
    pub(super) async fn quiet(&self) -> Result<Left, Failure> {
        self.near.quiet().await?;
        let mut left = Left::default();
        for key in 0..KEYS {
            if let Some(stale) = self.near.stale(key).await? {
                left.compared += 1;
                left.stale += usize::from(stale);
            }
        }
        if left.compared < KEYS / 4 {
            return Err(format!("only {} near copies were left to be compared", left.compared).into());
        }
        for (domain, subscription) in self.subscriptions.lock().await.iter_mut() {
            left.subscriptions += 1;
            let event = event(domain)?;
            until("an event is published", GIVE_UP, || self.publisher.publish(&event)).await?;
            left.silent += usize::from(!arrives(subscription, &event).await);
        }
        Ok(left)
    }
}

/// A reader and a writer at work.
pub(super) struct Race {
    stopped: Arc<AtomicBool>,
    tasks: [JoinHandle<Result<(), Failure>>; 2],
}

impl Race {
    pub(super) async fn end(self) -> Result<(), Failure> {
        self.stopped.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await??;
        }
        Ok(())
    }
}

async fn arrives(subscription: &mut Box<dyn Subscription>, event: &Envelope) -> bool {
    let arrival = async {
        while let Some(received) = subscription.next().await {
            match received {
                Received::Event(envelope) if envelope.id == event.id => return true,
                Received::Ended(_) => return false,
                // What it missed is no affair of this event.
                _ => {}
            }
        }
        false
    };
    timeout(GIVE_UP, arrival).await.unwrap_or(false)
}

fn event(domain: &str) -> Result<Envelope, Failure> {
    let id = EventId::generate(&SystemClock, &SystemRandom)?;
    let event_type = EventType::new(&format!("{domain}.changed"))?;
    Ok(Envelope::new(id, "failover", event_type, Timestamp::from_secs(1), 1.into()))
}

fn some_key() -> Result<usize, Failure> {
    let mut chance = [0; 2];
    SystemRandom.fill(&mut chance)?;
    Ok(usize::from(u16::from_le_bytes(chance)) % KEYS)
}
