//! The end of a bundle: a backend that does not come to its own keeps nobody.

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use stanchion::cache::CacheStore;
use stanchion::environment::Environment;
use stanchion::event::EventBus;
use stanchion::limit::RateLimiter;
use stanchion::lock::Locker;
use stanchion::prelude::*;
use stanchion::session::SessionStore;
use stanchion::stores::Backend;
use stanchion::token::TokenStore;
use stanchion_memory::MemoryBackend;
use tokio::sync::watch;

use support::{manual, settle};

/// Its close never ends.
#[derive(Debug)]
struct Stuck(watch::Sender<Health>);

#[async_trait]
impl Backend for Stuck {
    fn name(&self) -> &'static str {
        "stuck"
    }
    fn health(&self) -> watch::Receiver<Health> {
        self.0.subscribe()
    }
    async fn close(&self) {
        std::future::pending::<()>().await;
    }
    fn cache(&self) -> Option<Arc<dyn CacheStore>> {
        None
    }
    fn sessions(&self) -> Option<Arc<dyn SessionStore>> {
        None
    }
    fn events(&self) -> Option<Arc<dyn EventBus>> {
        None
    }
    fn locks(&self) -> Option<Arc<dyn Locker>> {
        None
    }
    fn limits(&self) -> Option<Arc<dyn RateLimiter>> {
        None
    }
    fn tokens(&self) -> Option<Arc<dyn TokenStore>> {
        None
    }
}

#[tokio::test]
async fn a_backend_that_does_not_close_ends_with_the_deadline_and_the_others_are_closed() {
    let (_, clock) = manual();
    let other = MemoryBackend::new();
    let stores = Stores::builder(Environment::system().clock(Arc::new(clock.clone())))
        .backend(Arc::new(Stuck(watch::Sender::new(Health::Up))))
        .backend(Arc::new(other.clone()))
        .build();
    let closing = tokio::spawn(async move { stores.close(seconds(5)).await });
    settle().await;
    assert!(!closing.is_finished(), "it has five seconds");
    assert_eq!(*other.health().borrow(), Health::Down, "closed beside it");
    clock.advance(seconds(5));
    let error = closing.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Timeout, Some("stores.close")));
}
