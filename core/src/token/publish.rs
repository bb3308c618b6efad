//! What tokens announce, where it is asked for.

use std::sync::Arc;

use crate::environment::Environment;
use crate::error::Result;
use crate::event::standard::TokenRevoked;
#[cfg(feature = "jwt")]
use crate::event::standard::{RefreshReused, TokenIssued};
use crate::event::{Event, EventBus, Topic};
use crate::key::Name;

/// The topics of one service's tokens.
#[derive(Debug)]
pub(super) struct Topics {
    #[cfg(feature = "jwt")]
    issued: Topic<TokenIssued>,
    revoked: Topic<TokenRevoked>,
    #[cfg(feature = "jwt")]
    reused: Topic<RefreshReused>,
}

impl Topics {
    pub(super) fn new(events: &Arc<dyn EventBus>, environment: &Environment, service: &Name) -> Result<Self> {
        fn topic<E: Event>(
            events: &Arc<dyn EventBus>,
            environment: &Environment,
            service: &Name,
        ) -> Result<Topic<E>> {
            Topic::new(Arc::clone(events), environment.clone(), service.as_str())
        }
        Ok(Self {
            #[cfg(feature = "jwt")]
            issued: topic(events, environment, service)?,
            revoked: topic(events, environment, service)?,
            #[cfg(feature = "jwt")]
            reused: topic(events, environment, service)?,
        })
    }

    #[cfg(feature = "jwt")]
    pub(super) async fn issued(&self, user: &str, jti: &str) {
        publish(&self.issued, TokenIssued { user_id: user.to_owned(), jti: jti.to_owned() }).await;
    }

    /// One token of a user, or all of them.
    pub(super) async fn revoked(&self, user: &str, jti: Option<&str>) {
        publish(&self.revoked, TokenRevoked { user_id: user.to_owned(), jti: jti.map(str::to_owned) }).await;
    }

    #[cfg(feature = "jwt")]
    pub(super) async fn reused(&self, user: &str, family: String) {
        publish(&self.reused, RefreshReused { user_id: user.to_owned(), family_id: family }).await;
    }
}

/// It fails nothing: what it is about has happened.
async fn publish<E: Event + Sync>(topic: &Topic<E>, event: E) {
    if let Err(error) = topic.publish(&event).await {
        tracing::warn!(%error, "a token event could not be published");
    }
}
