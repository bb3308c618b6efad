//! The event bus.

use std::sync::Arc;

use async_trait::async_trait;
use stanchion::Result;
use stanchion::event::{Envelope, EventBus, EventCapabilities, SubscribeOptions, Subscription};

use super::subscriptions::Subscriptions;
use crate::command::Call;
use crate::shared::{CONTRACT, Shared};

#[derive(Debug)]
pub(crate) struct RedisEvents {
    shared: Arc<Shared>,
    subscriptions: Arc<Subscriptions>,
}

impl RedisEvents {
    pub(crate) fn new(shared: &Arc<Shared>, subscriptions: &Arc<Subscriptions>) -> Self {
        Self { shared: Arc::clone(shared), subscriptions: Arc::clone(subscriptions) }
    }
}

#[async_trait]
impl EventBus for RedisEvents {
    fn capabilities(&self) -> EventCapabilities {
        // No deadline of its own: a subscription waits for its connection as long as that takes.
        EventCapabilities::new(CONTRACT)
    }

    async fn publish(&self, event: &Envelope) -> Result<()> {
        let call = Call::write("event.publish");
        let message = event.to_json().map_err(|error| call.named(error))?;
        self.capabilities().check_event(message.len()).map_err(|error| call.named(error))?;
        let mut command = redis::cmd("PUBLISH");
        command.arg(self.shared.layout().channel(event.event_type.domain())).arg(&message[..]);
        self.shared.client.anywhere(call, command).await.map(drop)
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        let call = Call::read("event.subscribe");
        options.check().map_err(|error| call.named(error))?;
        let channels = options.domains.iter().map(|domain| self.shared.layout().channel(domain)).collect();
        let subscription = self.subscriptions.subscribe(channels, options.buffer).await;
        subscription.map_err(|error| call.named(error))
    }
}
