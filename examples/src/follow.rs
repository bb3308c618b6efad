//! Following events in order to drop copies of what has changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};
use stanchion::environment::Environment;
use stanchion::event::Events;
use stanchion::prelude::*;

/// Copies of something that events of type `E` make stale.
pub(crate) trait Copies<E>: Send + Sync + 'static {
    /// Drops what this event makes stale; answers how many copies there were.
    fn drop_for(&self, event: &E) -> impl Future<Output = stanchion::Result<u64>> + Send;

    /// News was missed: drops whatever may be stale.
    fn drop_all(&self) -> impl Future<Output = stanchion::Result<u64>> + Send;
}

/// What followers have done so far. Clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Followed(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    events: AtomicU64,
    gaps: AtomicU64,
    dropped: AtomicU64,
}

impl Followed {
    pub(crate) fn to_json(&self) -> Value {
        let count = |count: &AtomicU64| count.load(SeqCst);
        let counts = &self.0;
        json!({ "seen": count(&counts.events), "gaps": count(&counts.gaps), "dropped": count(&counts.dropped) })
    }
}

/// Follows a topic until the stores are closed.
///
/// Subscribe before you serve: what is published from then on is delivered, or its loss is reported.
pub(crate) async fn follow<E: Event + Sync>(
    mut events: Events<E>,
    copies: impl Copies<E>,
    followed: Followed,
    environment: Environment,
) {
    while let Some(delivery) = events.next().await {
        let mut pause = Duration::from_millis(50);
        let dropped = loop {
            let dropped = match &delivery {
                Delivery::Event { data, .. } => copies.drop_for(data).await,
                // Lagged: this service was too slow, and news was dropped. Reconnected: the connection was lost, and
                // nobody knows what was published meanwhile. Malformed: news that can't be read. Ended: there will be no
                // more. Each time any copy may be stale, so all go: reading them again costs less than serving an old one.
                _ => copies.drop_all().await,
            };
            match dropped {
                // The news came over one connection and the copies go over another, which may not be back yet.
                Err(error) if error.is_retryable(true) => {
                    environment.sleep(pause).await;
                    pause = (pause * 2).min(seconds(2));
                }
                settled => break settled,
            }
        };
        match dropped {
            Ok(copies) => _ = followed.0.dropped.fetch_add(copies, SeqCst),
            Err(error) => eprintln!("copies could not be dropped; they expire by their TTL: {error}"),
        }
        // Counted last: who sees the count knows that the copies are gone.
        let count = match delivery {
            Delivery::Event { .. } => &followed.0.events,
            _ => &followed.0.gaps,
        };
        count.fetch_add(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use stanchion::event::standard::UserUpdated;
    use stanchion_memory::MemoryBackend;

    use super::*;

    /// Fails once, as while a connection is coming back, and then counts.
    #[derive(Clone, Default)]
    struct Counted {
        calls: Arc<AtomicU64>,
    }

    impl Copies<UserUpdated> for Counted {
        async fn drop_for(&self, _: &UserUpdated) -> stanchion::Result<u64> {
            match self.calls.fetch_add(1, SeqCst) {
                0 => Err(Error::new(ErrorKind::Unavailable, "not back yet")),
                _ => Ok(1),
            }
        }

        async fn drop_all(&self) -> stanchion::Result<u64> {
            Ok(100)
        }
    }

    #[tokio::test]
    async fn news_drops_a_copy_missed_news_drops_all_and_closing_ends_it() {
        let stores = MemoryBackend::new().stores();
        let topic = stores.topic::<UserUpdated>().unwrap();
        // It holds two: the third is reported as a gap.
        let events = topic.subscribe_with(2).await.unwrap();
        for user in ["ada", "grace", "mary"] {
            topic.publish(&UserUpdated { user_id: user.into(), changed: vec![] }).await.unwrap();
        }
        let (copies, followed) = (Counted::default(), Followed::default());
        let environment = stores.environment().clone();
        let follower = tokio::spawn(follow(events, copies.clone(), followed.clone(), environment));
        while followed.0.events.load(SeqCst) + followed.0.gaps.load(SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(followed.to_json(), json!({ "seen": 2, "gaps": 1, "dropped": 102 }));
        assert_eq!(copies.calls.load(SeqCst), 3, "one was tried again");
        stores.close(seconds(1)).await.unwrap();
        follower.await.unwrap();
    }
}
