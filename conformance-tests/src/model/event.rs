//! Events.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use proptest::prelude::*;
use proptest::sample::select;
use stanchion::event::{Envelope, EventId, EventType, Received, SubscribeOptions, Subscription};
use stanchion::key::Name;
use stanchion::stores::Stores;
use stanchion::{Error, ErrorKind, Result};

use super::Answer;

/// An operation of an [`EventBus`](stanchion::event::EventBus).
#[derive(Debug, Clone)]
pub enum Operation {
    /// In place of the subscription that had this number.
    Subscribe {
        number: usize,
        both: bool,
    },
    Publish {
        domain: &'static str,
    },
    /// Takes what a subscription must have been sent by now.
    Receive {
        number: usize,
    },
    Close {
        number: usize,
    },
}

const DOMAINS: &[&str] = &["user", "auth"];
/// For something that never comes, which is what a run may find.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Memory {
    subscriptions: BTreeMap<usize, Subscribed>,
    published: u64,
}

#[derive(Debug)]
struct Subscribed {
    subscription: Box<dyn Subscription>,
    both: bool,
    // The number of the last event before it.
    since: u64,
    outstanding: usize,
}

pub(super) fn operation() -> impl Strategy<Value = Operation> + Clone {
    prop_oneof![
        2 => (0..2_usize, any::<bool>()).prop_map(|(number, both)| Operation::Subscribe { number, both }),
        4 => select(DOMAINS).prop_map(|domain| Operation::Publish { domain }),
        2 => (0..2_usize).prop_map(|number| Operation::Receive { number }),
        1 => (0..2_usize).prop_map(|number| Operation::Close { number }),
    ]
}

pub(super) async fn run(
    operation: &Operation,
    handle: usize,
    stores: &Stores,
    memory: &mut Memory,
) -> Result<Answer> {
    let bus = stores.event_bus()?;
    match operation {
        Operation::Subscribe { number, both } => {
            let mut options = SubscribeOptions::new(Name::new(DOMAINS[0])?);
            if *both {
                options = options.and(Name::new(DOMAINS[1])?);
            }
            let subscription = bus.subscribe(options).await?;
            memory.subscriptions.insert(
                *number,
                Subscribed { subscription, both: *both, since: memory.published, outstanding: 0 },
            );
        }
        Operation::Publish { domain } => {
            let environment = stores.environment();
            let id = EventId::generate(&*environment.clock, &*environment.random)?;
            let event_type = EventType::new(&format!("{domain}.happened"))?;
            memory.published += 1;
            let number = memory.published.into();
            let source = handle.to_string();
            bus.publish(&Envelope::new(id, &source, event_type, environment.clock.wall(), number)).await?;
            for subscribed in
                memory.subscriptions.values_mut().filter(|one| one.both || *domain == DOMAINS[0])
            {
                subscribed.outstanding += 1;
            }
        }
        Operation::Receive { number } => {
            let Some(subscribed) = memory.subscriptions.get_mut(number) else {
                return Ok(Answer::Gone);
            };
            let mut events: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
            while subscribed.outstanding > 0 {
                let next = tokio::time::timeout(PATIENCE, subscribed.subscription.next()).await;
                let event = match next {
                    Ok(Some(Received::Event(event))) => event,
                    other => {
                        return Err(Error::new(
                            ErrorKind::Internal,
                            format!("{other:?} in place of an event"),
                        ));
                    }
                };
                let number = event.data.as_u64().unwrap_or_default();
                // One from just before the subscription may still have been on its way to it.
                if number > subscribed.since {
                    subscribed.outstanding -= 1;
                    // There is one order of what a handle published in a domain, and none between those.
                    let domain = event.event_type.domain().to_string();
                    events.entry((domain, event.source)).or_default().push(number);
                }
            }
            return Ok(Answer::Events(events));
        }
        Operation::Close { number } => {
            memory.subscriptions.remove(number);
        }
    }
    Ok(Answer::Done)
}
