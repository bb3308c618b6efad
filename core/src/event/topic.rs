//! Typed events.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{Stream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::telemetry::Telemetry;
use super::{Envelope, EventBus, EventId, EventType, Received, SubscribeOptions, Subscription};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::deadline::bounded;
use crate::telemetry::Tracked;

/// A payload with the name of what happened.
pub trait Event: Serialize + DeserializeOwned + Send + 'static {
    /// The event type, `domain.name`: `user.updated`.
    const TYPE: &'static str;

    /// What the event is about: a user id, say.
    fn subject(&self) -> Option<String> {
        None
    }
}

/// The topic of one type of event.
///
/// # Errors
/// Every method that is `async` answers `Closed` once the stores are, and the bus's error where it does not answer.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> stanchion::Result<()> {
/// use stanchion::event::standard::UserUpdated;
/// use stanchion::prelude::*;
/// use stanchion_memory::MemoryBackend;
///
/// let topic = MemoryBackend::new().stores().service("user-service")?.topic::<UserUpdated>()?;
/// let mut events = topic.subscribe().await?;
/// topic.publish(&UserUpdated { user_id: "u1".into(), changed: vec!["name".into()] }).await?;
/// match events.next().await {
///     Some(Delivery::Event { data, .. }) => assert_eq!(data.user_id, "u1"),
///     other => panic!("{other:?}"),
/// }
/// # Ok(()) }
/// ```
pub struct Topic<E> {
    bus: Arc<dyn EventBus>,
    event_type: EventType,
    environment: Environment,
    telemetry: Arc<Telemetry>,
    source: String,
    event: PhantomData<fn() -> E>,
}

impl<E> Clone for Topic<E> {
    fn clone(&self) -> Self {
        Self {
            bus: Arc::clone(&self.bus),
            event_type: self.event_type.clone(),
            environment: self.environment.clone(),
            telemetry: Arc::clone(&self.telemetry),
            source: self.source.clone(),
            event: PhantomData,
        }
    }
}

impl<E: Event> fmt::Debug for Topic<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({} from {})", E::TYPE, self.source)
    }
}

impl<E: Event> Topic<E> {
    /// A topic on any bus, without a bundle. `source` names the publishing service.
    ///
    /// # Errors
    /// `InvalidInput` if [`Event::TYPE`] is not two or more names joined by dots.
    pub fn new(bus: Arc<dyn EventBus>, environment: Environment, source: impl Into<String>) -> Result<Self> {
        let event_type = EventType::new(E::TYPE)?;
        let telemetry = Arc::new(Telemetry::of(event_type.domain()));
        let bus = bounded(bus, &environment);
        Ok(Self { bus, event_type, environment, telemetry, source: source.into(), event: PhantomData })
    }

    /// Publishes an event; answers its id.
    ///
    /// # Errors
    /// Those of [every method](Topic#errors); `Codec` if the payload can't be written as JSON; `InvalidInput` for an event over
    /// [`max_event_bytes`](super::EventCapabilities::max_event_bytes), 1 MiB. After `Unknown` it may have been published: publishing again may
    /// publish it twice.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the event either published or not.
    pub async fn publish(&self, event: &E) -> Result<EventId> {
        self.publish_traced(event, None, None).await
    }

    /// Publishes an event with a W3C trace context, which the caller takes from its span: `traceparent`, and
    /// `tracestate` if there is one. They are handed on as they are.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the event either published or not.
    pub async fn publish_traced(
        &self,
        event: &E,
        traceparent: Option<String>,
        tracestate: Option<String>,
    ) -> Result<EventId> {
        let published = self.send(event, traceparent, tracestate).await;
        self.telemetry.published(&published);
        published
    }

    async fn send(
        &self,
        event: &E,
        traceparent: Option<String>,
        tracestate: Option<String>,
    ) -> Result<EventId> {
        let data = serde_json::to_value(event).map_err(|_| {
            Error::new(ErrorKind::Codec, "the event can't be written as JSON").with_operation("event.publish")
        })?;
        let clock = &*self.environment.clock;
        let id = EventId::generate(clock, &*self.environment.random)?;
        let envelope =
            Envelope::new(id.clone(), self.source.as_str(), self.event_type.clone(), clock.wall(), data)
                .subject(event.subject())
                .trace(traceparent, tracestate);
        self.bus.publish(&envelope).await?;
        Ok(id)
    }

    /// Subscribes; once this returns, whatever may be missed of what is published is said in the stream.
    ///
    /// # Errors
    /// Those of [every method](Topic#errors).
    ///
    /// # Cancel safety
    /// Dropping the future leaves no subscription.
    pub async fn subscribe(&self) -> Result<Events<E>> {
        self.subscribe_with(SubscribeOptions::BUFFER).await
    }

    /// Subscribes with another buffer, in events of the whole domain: 1 to 1,048,576
    /// ([`SubscribeOptions::MAX_BUFFER`]); [`subscribe`](Self::subscribe) takes 1,024.
    ///
    /// # Errors
    /// Those of [every method](Topic#errors), and `InvalidInput` for a buffer out of its bounds.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no subscription.
    pub async fn subscribe_with(&self, buffer: usize) -> Result<Events<E>> {
        let options = SubscribeOptions::new(self.event_type.domain().clone()).buffer(buffer)?;
        let subscription = self.bus.subscribe(options).await?;
        let telemetry = Arc::clone(&self.telemetry);
        Ok(Events { subscription, open: Some(telemetry.subscribed()), telemetry, event: PhantomData })
    }
}

/// What a typed subscription delivers.
#[derive(Debug)]
#[non_exhaustive]
pub enum Delivery<E> {
    /// An event.
    Event {
        /// Its payload.
        data: E,
        /// Everything else about it; the payload's JSON is taken out.
        envelope: Box<Envelope>,
    },
    /// The subscriber was too slow: this many events of the domain were dropped here.
    Lagged(u64),
    /// The connection was lost and is back: events in between were missed.
    Reconnected,
    /// An event of this type whose payload can't be read, or something on the channel that is no event. The
    /// stream goes on.
    Malformed(Error),
    /// The subscription was ended, for this reason: the right to its channel was taken away, say. The last item; events may
    /// have been missed before it. Subscribe again once the reason is gone.
    Ended(Error),
}

/// A live subscription to one type of event, as a stream; ends at the server when it is dropped.
pub struct Events<E> {
    subscription: Box<dyn Subscription>,
    telemetry: Arc<Telemetry>,
    open: Option<Tracked>,
    event: PhantomData<fn() -> E>,
}

impl<E: Event> Events<E> {
    /// The next thing, or `None` once the subscription or its backend is closed, or it has [ended](Delivery::Ended), and all is
    /// delivered.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Delivery<E>> {
        StreamExt::next(self).await
    }

    /// Ends it. What is buffered can still be read.
    pub fn close(&mut self) {
        self.open = None;
        self.subscription.close();
    }
}

impl<E: Event> Stream for Events<E> {
    type Item = Delivery<E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery<E>>> {
        loop {
            let Some(received) = ready!(self.subscription.poll_next_unpin(context)) else {
                self.open = None;
                return Poll::Ready(None);
            };
            if let Some(delivery) = typed(received) {
                self.telemetry.delivered(&delivery);
                return Poll::Ready(Some(delivery));
            }
        }
    }
}

/// What was received, typed; `None` for an event of another type of the domain.
fn typed<E: Event>(received: Received) -> Option<Delivery<E>> {
    Some(match received {
        Received::Event(envelope) if envelope.event_type.as_str() != E::TYPE => return None,
        Received::Event(mut envelope) => match serde_json::from_value(envelope.data.take()) {
            Ok(data) => Delivery::Event { data, envelope },
            Err(_) => Delivery::Malformed(Error::new(
                ErrorKind::Codec,
                format!("the payload of the {} event {} can't be read", E::TYPE, envelope.id),
            )),
        },
        Received::Lagged(n) => Delivery::Lagged(n),
        Received::Reconnected => Delivery::Reconnected,
        Received::Malformed(error) => Delivery::Malformed(error),
        Received::Ended(error) => Delivery::Ended(error),
    })
}

impl<E: Event> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Events({})", E::TYPE)
    }
}
