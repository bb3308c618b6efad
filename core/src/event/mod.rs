//! Events between services: [`EventBus`] for backends, [`Topic`] for services.
//!
//! Delivery is at most once: whoever is subscribed when an event is published gets it, bounded by its
//! buffer. What may have been missed is said ([`Received::Lagged`], [`Received::Reconnected`]), never
//! passed over.

mod bus;
mod capability;
mod envelope;
mod feed;
pub mod standard;
mod subscription;
mod telemetry;
mod topic;

pub use self::bus::{EventBus, SubscribeOptions};
pub use self::capability::EventCapabilities;
pub use self::envelope::{Envelope, EventId, EventType};
pub use self::feed::{Feed, FeedSender, feed};
pub use self::subscription::{Received, Subscription};
pub use self::topic::{Delivery, Event, Events, Topic};
