//! Events between the handles of one backend.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stanchion::Result;
use stanchion::event::{
    Envelope, EventBus, EventCapabilities, FeedSender, Received, SubscribeOptions, Subscription, feed,
};
use stanchion::key::Name;

use crate::shared::{CONTRACT, Handle, NEVER_WAITS, locked};

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
    /// Ends a subscription.
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

    /// Ends the subscriptions of a handle.
    pub(crate) fn end_all_of(&mut self, handle: u64) {
        let numbers: Vec<_> =
            self.subscribers.iter().filter(|(_, s)| s.handle == handle).map(|(number, _)| *number).collect();
        for number in numbers {
            self.end(number);
        }
    }
}

#[derive(Debug)]
pub(crate) struct MemoryEvents {
    handle: Arc<Handle>,
    state: Arc<Mutex<State>>,
}

impl MemoryEvents {
    pub(crate) fn new(handle: &Arc<Handle>, state: &Arc<Mutex<State>>) -> Self {
        Self { handle: Arc::clone(handle), state: Arc::clone(state) }
    }
}

#[async_trait]
impl EventBus for MemoryEvents {
    fn capabilities(&self) -> EventCapabilities {
        EventCapabilities::new(CONTRACT).call_deadline(NEVER_WAITS)
    }

    async fn publish(&self, event: &Envelope) -> Result<()> {
        self.handle.operate("event.publish", || {
            self.capabilities().check_event(event.to_json()?.len())?;
            // Under one lock, so that all subscribers see one order.
            let state = locked(&self.state);
            for number in state.by_domain.get(event.event_type.domain()).into_iter().flatten() {
                if let Some(subscriber) = state.subscribers.get(number) {
                    subscriber.feed.send(Received::Event(Box::new(event.clone())));
                }
            }
            Ok(())
        })
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        self.handle.operate("event.subscribe", || {
            options.check()?;
            let mut state = locked(&self.state);
            // Again, under the lock under which a close ends the subscriptions: none is left behind.
            self.handle.check_open()?;
            state.next += 1;
            let number = state.next;
            let weak = Arc::downgrade(&self.state);
            let (sender, receiver) = feed(options.buffer, move || {
                if let Some(state) = weak.upgrade() {
                    locked(&state).end(number);
                }
            });
            let domains: Vec<Name> = options.domains.into_iter().collect();
            for domain in &domains {
                state.by_domain.entry(domain.clone()).or_default().push(number);
            }
            state
                .subscribers
                .insert(number, Subscriber { handle: self.handle.number, domains, feed: sender });
            Ok(Box::new(receiver) as Box<dyn Subscription>)
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use stanchion::environment::Environment;
    use stanchion::event::EventType;

    use super::*;

    #[tokio::test]
    async fn the_subscriptions_of_a_handle_end_with_it_and_no_others() {
        let state = Arc::default();
        let [mine, theirs] =
            [1, 2].map(|number| MemoryEvents::new(&Handle::new(Environment::system(), number), &state));
        let domain = EventType::new("user.updated").unwrap().domain().clone();
        let options = || SubscribeOptions::new(domain.clone());
        let mut ended = mine.subscribe(options()).await.unwrap();
        let other = theirs.subscribe(options()).await.unwrap();
        locked(&state).end_all_of(1);
        assert!(ended.next().await.is_none());
        assert_eq!(locked(&state).subscribers.len(), 1);
        drop(other);
        assert!(locked(&state).by_domain.is_empty());
    }
}
