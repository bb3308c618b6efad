//! Wrong event buses.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use futures_util::{Stream, StreamExt};
use stanchion::Result;
use stanchion::event::{Envelope, EventBus, EventCapabilities, Received, SubscribeOptions, Subscription};
use stanchion::key::Name;
use tokio::sync::Semaphore;

use crate::backend::{self, Around, locked};
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The unsubscribing that follows a dropped subscription overtakes the next subscribing.
    LateUnsubscribe,
    /// The handle has a table of its subscriptions, with one for each domain.
    LastSubscriberOfADomainWins,
    /// The trace context is not written.
    TraceIsDropped,
    /// A channel for each type of event, and they are not read in turn.
    ChannelForEachType,
    /// Now and then an answer is late, and the event is published again.
    PublishedAgain,
    /// `PSUBSCRIBE user*`.
    DomainIsAPattern,
    /// The last event is kept for whoever comes.
    LastEventIsRetained,
    /// However many events were dropped, that is said once.
    LagIsNotCounted,
    /// A bounded channel, and publishing waits for room in it.
    SlowSubscriberHoldsUp,
    /// Closing is left to the drop.
    CloseDoesNothing,
    /// `UNSUBSCRIBE`, though others of the handle still listen.
    CloseEndsTheOthers,
    /// The connection of the subscriptions is another one, and is forgotten in close.
    SubscriptionsOutliveTheHandle,
    /// All handles of the process subscribe on one connection, which ends with the first of them.
    OneConnectionForAll,
    /// What is too large is logged and dropped.
    TooLargeIsDropped,
    /// A bad buffer is made a good one.
    BufferIsClamped,
    /// A poll takes the event, and then waits for something else.
    PollTakesAndWaits,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Event(bug), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof(
        "EVENT-01",
        Bug::LateUnsubscribe,
        "subscribe::live_once_returned",
        "the event published right after subscribing, within",
    ),
    proof(
        "EVENT-01",
        Bug::LastSubscriberOfADomainWins,
        "subscribe::every_subscriber_gets_every_event",
        "the events of each subscriber, within",
    )
    // Wherever two listen to one domain.
    .also(&["EVENT-04", "EVENT-05", "EVENT-06", "EVENT-07", "EVENT-12"]),
    proof("EVENT-02", Bug::TraceIsDropped, "envelope::arrives_as_it_was", "observed: Envelope"),
    proof(
        "EVENT-03",
        Bug::ChannelForEachType,
        "order::within_a_domain",
        "events in order, none missing, none twice: 0\nobserved: 1",
    ),
    proof(
        "EVENT-03",
        Bug::PublishedAgain,
        "order::within_a_domain",
        "events in order, none missing, none twice: 100\nobserved: 99",
    ),
    proof(
        "EVENT-04",
        Bug::DomainIsAPattern,
        "subscribe::only_its_domains",
        "events of one domain: [2, 5]\nobserved: [2, 3]",
    ),
    proof(
        "EVENT-05",
        Bug::LastEventIsRetained,
        "subscribe::nothing_is_kept",
        "the first event of a later subscription: 2\nobserved: 1",
    ),
    proof("EVENT-06", Bug::LagIsNotCounted, "lag::is_counted", "counted as missed: 50\nobserved: 9"),
    proof("EVENT-06", Bug::SlowSubscriberHoldsUp, "lag::is_counted", "an end within 60s"),
    proof("EVENT-07", Bug::CloseDoesNothing, "close::ends_the_subscription", "a closed subscription ends"),
    proof(
        "EVENT-07",
        Bug::CloseEndsTheOthers,
        "close::ends_the_subscription",
        "after the other was closed: an event\nobserved: None",
    ),
    proof(
        "EVENT-08",
        Bug::SubscriptionsOutliveTheHandle,
        "close::of_the_handle",
        "the closed handle's subscription ends, within",
    ),
    proof(
        "EVENT-08",
        Bug::OneConnectionForAll,
        "close::of_the_handle",
        "the other handle's subscription goes on: an event\nobserved: None",
    ),
    proof(
        "EVENT-09",
        Bug::TooLargeIsDropped,
        "input::too_large",
        "an event over the bound: refused as invalid input",
    ),
    proof(
        "EVENT-10",
        Bug::BufferIsClamped,
        "input::bad_options",
        "a buffer out of bounds: refused as invalid input",
    ),
    must_fail(
        "EVENT-11",
        backend::Bug::PrefixForgotten,
        "isolation::places",
        "the first event of this place: 2\nobserved: 1",
    ),
    proof(
        "EVENT-12",
        Bug::PollTakesAndWaits,
        "cancel::next_loses_nothing",
        "every event, also after `next` was dropped, within",
    )
    .also(&["EVENT-03"]),
];

#[derive(Debug)]
pub(crate) struct Wrong {
    bug: Bug,
    right: Arc<dyn EventBus>,
    around: Around,
    hub: Arc<Hub>,
}

/// What the bus and its subscriptions share.
#[derive(Debug, Default)]
struct Hub {
    published: AtomicU64,
    subscribed: AtomicU64,
    last: Mutex<Option<Envelope>>,
    held_back: Mutex<Vec<Envelope>>,
    closed: AtomicBool,
    left: Mutex<BTreeSet<Name>>,
    newest: Mutex<Option<(BTreeSet<Name>, Arc<AtomicBool>)>>,
    rooms: Mutex<Vec<Arc<Semaphore>>>,
}

impl Wrong {
    pub(crate) fn new(bug: Bug, right: Arc<dyn EventBus>, around: &Around) -> Self {
        Self { bug, right, around: around.clone(), hub: Arc::default() }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl EventBus for Wrong {
    fn capabilities(&self) -> EventCapabilities {
        self.right.capabilities()
    }

    async fn publish(&self, event: &Envelope) -> Result<()> {
        let number = self.hub.published.fetch_add(1, Ordering::Relaxed) + 1;
        match self.bug {
            Bug::TraceIsDropped => return self.right.publish(&event.clone().trace(None, None)).await,
            Bug::ChannelForEachType if event.event_type.as_str() == "user.created" => {
                locked(&self.hub.held_back).push(event.clone());
                return Ok(());
            }
            Bug::PublishedAgain if number.is_multiple_of(100) => self.right.publish(event).await?,
            Bug::TooLargeIsDropped if event.to_json()?.len() > self.capabilities().max_event_bytes => {
                return Ok(());
            }
            Bug::SlowSubscriberHoldsUp => {
                let rooms = locked(&self.hub.rooms).clone();
                for room in rooms {
                    if let Ok(permit) = room.acquire().await {
                        permit.forget();
                    }
                }
            }
            _ => {}
        }
        self.right.publish(event).await?;
        let held_back = std::mem::take(&mut *locked(&self.hub.held_back));
        for event in held_back {
            self.right.publish(&event).await?;
        }
        *locked(&self.hub.last) = Some(event.clone());
        Ok(())
    }

    async fn subscribe(&self, mut options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        let room = Arc::new(Semaphore::new(options.buffer.min(SubscribeOptions::MAX_BUFFER)));
        let domains = options.domains.clone();
        match self.bug {
            Bug::DomainIsAPattern => {
                for domain in &domains {
                    options = options.and(Name::new(&format!("{domain}s"))?);
                }
            }
            Bug::BufferIsClamped => options.buffer = options.buffer.clamp(1, SubscribeOptions::MAX_BUFFER),
            Bug::SlowSubscriberHoldsUp => locked(&self.hub.rooms).push(Arc::clone(&room)),
            _ => {}
        }
        let mut right = self.right.subscribe(options.clone()).await?;
        match self.bug {
            Bug::SubscriptionsOutliveTheHandle => {
                right = self.around.other.stores().event_bus()?.subscribe(options).await?;
            }
            Bug::OneConnectionForAll => right = self.around.first.event_bus()?.subscribe(options).await?,
            _ => {}
        }
        let deaf = Arc::new(AtomicBool::new(false));
        match self.bug {
            Bug::LateUnsubscribe => {
                deaf.store(
                    domains.iter().any(|domain| locked(&self.hub.left).remove(domain)),
                    Ordering::Relaxed,
                );
            }
            Bug::LastSubscriberOfADomainWins => {
                let before = locked(&self.hub.newest).replace((domains.clone(), Arc::clone(&deaf)));
                if let Some((before, older)) = before
                    && !before.is_disjoint(&domains)
                {
                    older.store(true, Ordering::Relaxed);
                }
            }
            _ => {}
        }
        let retained = match self.bug {
            Bug::LastEventIsRetained => locked(&self.hub.last).clone(),
            _ => None,
        };
        let is_first = self.hub.subscribed.fetch_add(1, Ordering::Relaxed) == 0;
        let hub = Arc::clone(&self.hub);
        Ok(Box::new(WrongSubscription {
            bug: self.bug,
            right,
            hub,
            domains,
            room,
            deaf,
            retained,
            taken: 0,
            is_first,
        }))
    }
}

/// Which event of a subscription a poll takes and does not answer.
const TAKEN_IN_VAIN: usize = 12;

#[derive(Debug)]
struct WrongSubscription {
    bug: Bug,
    right: Box<dyn Subscription>,
    hub: Arc<Hub>,
    domains: BTreeSet<Name>,
    room: Arc<Semaphore>,
    /// Nothing comes any more, and nobody knows.
    deaf: Arc<AtomicBool>,
    retained: Option<Envelope>,
    /// How many events were taken.
    taken: usize,
    /// Of all subscriptions of its handle.
    is_first: bool,
}

impl Stream for WrongSubscription {
    type Item = Received;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Received>> {
        if let Some(event) = self.retained.take() {
            return Poll::Ready(Some(Received::Event(Box::new(event))));
        }
        if self.deaf.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        if self.hub.closed.load(Ordering::Relaxed) {
            return Poll::Ready(None);
        }
        let received = ready!(self.right.poll_next_unpin(context));
        match self.bug {
            Bug::LagIsNotCounted if matches!(received, Some(Received::Lagged(_))) => {
                return Poll::Ready(Some(Received::Lagged(1)));
            }
            Bug::SlowSubscriberHoldsUp => self.room.add_permits(1),
            Bug::PollTakesAndWaits => {
                self.taken += 1;
                if self.taken == TAKEN_IN_VAIN && self.is_first {
                    // It was taken for this poll, and is gone with it.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            _ => {}
        }
        Poll::Ready(received)
    }
}

impl Subscription for WrongSubscription {
    fn close(&mut self) {
        match self.bug {
            Bug::CloseDoesNothing => return,
            Bug::CloseEndsTheOthers => self.hub.closed.store(true, Ordering::Relaxed),
            _ => {}
        }
        self.right.close();
    }
}

impl Drop for WrongSubscription {
    fn drop(&mut self) {
        locked(&self.hub.left).extend(self.domains.iter().cloned());
    }
}
