//! Events between the handles of one backend.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use stanchion::Result;
use stanchion::event::{
    Envelope, EventBus, EventCapabilities, FeedSender, Received, SubscribeOptions, Subscription, feed,
};
use stanchion::key::Name;

use crate::backend::{CONTRACT, Handle, NEVER_WAITS, locked};

#[derive(Debug, Default)]
pub(crate) struct State {
    subscribers: HashMap<u64, Subscriber>,
    by_domain: HashMap<Name, Vec<u64>>,
    next: u64,
}

#[derive(Debug)]
struct Subscriber {
    handle: u64,
    domains: Vec<Name>,
    feed: FeedSender,
}

impl State {
    fn end(&mut self, number: u64) {
        let Some(subscriber) = self.subscribers.remove(&number) else {
            return;
        };
        for domain in subscriber.domains {
            if let Some(numbers) = self.by_domain.get_mut(&domain) {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    self.by_domain.remove(&domain);
                }
            }
        }
    }

    pub(crate) fn end_all_of(&mut self, handle: u64) {
        let numbers: Vec<_> =
            self.subscribers.iter().filter(|(_, s)| s.handle == handle).map(|(number, _)| *number).collect();
        for number in numbers {
            self.end(number);
        }
    }
}

#[derive(Debug)]
pub(crate) struct MemoryEvents(pub(crate) Arc<Handle>);

#[async_trait]
impl EventBus for MemoryEvents {
    fn capabilities(&self) -> EventCapabilities {
        EventCapabilities::new(CONTRACT).call_deadline(NEVER_WAITS)
    }

    async fn publish(&self, event: &Envelope) -> Result<()> {
        self.0.operate("event.publish", || {
            self.capabilities().check_event(event.to_json()?.len())?;
            // Under one lock, so that all subscribers see one order.
            let state = locked(&self.0.place.events);
            for number in state.by_domain.get(event.event_type.domain()).into_iter().flatten() {
                if let Some(subscriber) = state.subscribers.get(number) {
                    subscriber.feed.send(Received::Event(Box::new(event.clone())));
                }
            }
            Ok(())
        })
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        self.0.operate("event.subscribe", || {
            options.check()?;
            let mut state = locked(&self.0.place.events);
            // Again, under the lock under which a close ends the subscriptions: none is left behind.
            self.0.check_open()?;
            state.next += 1;
            let number = state.next;
            let place = Arc::downgrade(&self.0.place);
            let (sender, receiver) = feed(options.buffer, move || {
                if let Some(place) = place.upgrade() {
                    locked(&place.events).end(number);
                }
            });
            let domains: Vec<Name> = options.domains.into_iter().collect();
            for domain in &domains {
                state.by_domain.entry(domain.clone()).or_default().push(number);
            }
            state.subscribers.insert(number, Subscriber { handle: self.0.number, domains, feed: sender });
            Ok(Box::new(receiver) as Box<dyn Subscription>)
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use stanchion::event::EventType;

    use super::*;
    use crate::MemoryBackend;

    #[tokio::test]
    async fn closing_a_handle_ends_its_subscriptions_and_no_others() {
        let backend = MemoryBackend::new();
        let other = backend.handle();
        let domain = EventType::new("user.updated").unwrap().domain().clone();
        let mut mine = backend
            .stores()
            .event_bus()
            .unwrap()
            .subscribe(SubscribeOptions::new(domain.clone()))
            .await
            .unwrap();
        let theirs =
            other.stores().event_bus().unwrap().subscribe(SubscribeOptions::new(domain)).await.unwrap();
        backend.stores().close(std::time::Duration::from_secs(1)).await.unwrap();
        assert!(mine.next().await.is_none());
        assert_eq!(locked(&other.place().events).subscribers.len(), 1);
        drop(theirs);
        assert!(locked(&other.place().events).by_domain.is_empty());
    }
}
