//! An event bus with a layer around each call. Subscriptions are passed on as they are.

use async_trait::async_trait;

use super::{Around, Layered};
use crate::error::Result;
use crate::event::{Envelope, EventBus, EventCapabilities, SubscribeOptions, Subscription};
use crate::layer::Call;

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> EventBus for Layered<dyn EventBus, A> {
    fn capabilities(&self) -> EventCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.base = self.base(capabilities.base);
        capabilities
    }

    async fn publish(&self, event: &Envelope) -> Result<()> {
        self.around.call(Call::EVENT_PUBLISH, || self.inner.publish(event)).await
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        self.around.call(Call::EVENT_SUBSCRIBE, || self.inner.subscribe(options.clone())).await
    }
}
