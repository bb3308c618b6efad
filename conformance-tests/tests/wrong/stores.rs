//! Wrong lives of a bundle.

use std::time::Duration;

use async_trait::async_trait;
use stanchion::stores::{Backend, Health, Stores};
use tokio::sync::watch;

/// The life of the right bundle, for the one around it.
#[derive(Debug)]
pub(crate) struct Life(Stores);

impl Life {
    pub(crate) fn new(right: &Stores) -> Self {
        Self(right.clone())
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Backend for Life {
    fn name(&self) -> &'static str {
        "wrong"
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.0.health()
    }

    async fn close(&self) {
        // The bundle around it has drained the tasks, which are the same.
        let _ = self.0.close(Duration::ZERO).await;
    }
}
