//! Wrong lives of a bundle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::cache::CacheStore;
use stanchion::environment::Health;
use stanchion::event::EventBus;
use stanchion::limit::RateLimiter;
use stanchion::lock::Locker;
use stanchion::session::SessionStore;
use stanchion::stores::{Backend, Stores};
use stanchion::token::TokenStore;
use tokio::sync::watch;

use crate::backend::{self, Around};
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The health is that of the moment when it was asked for.
    HealthIsASnapshot,
    /// Whoever watches is told of the close; who asks later is told that all is well.
    HealthIsUpForLaterAskers,
    /// One of the stores has a connection of its own, which is forgotten in close.
    OneStoreStaysOpen,
    /// A process keeps one handle for a place, and closes it with whoever is first.
    OneHandleForAll,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Stores(bug), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof("STORES-01", Bug::HealthIsASnapshot, "health::up_and_down", "down after close, and notified of it"),
    proof("STORES-01", Bug::HealthIsUpForLaterAskers, "health::up_and_down", "who asks after close: Down"),
    proof(
        "STORES-02",
        Bug::OneStoreStaysOpen,
        "close::answers_closed",
        "limits after close: refused as closed",
    ),
    proof("STORES-03", Bug::OneHandleForAll, "close::leaves_other_handles", "the other handle's health: Up"),
];

/// The life of the right bundle, for the one around it, which has the stores.
#[derive(Debug)]
pub(crate) struct Life {
    bug: Option<Bug>,
    right: Stores,
    health: watch::Receiver<Health>,
    /// That of a handle which nobody closes.
    other: watch::Receiver<Health>,
    asked: AtomicBool,
}

impl Life {
    /// The life of these stores as it is.
    pub(crate) fn of(right: &Stores) -> Self {
        let up = watch::channel(Health::Up).1;
        Self { bug: None, right: right.clone(), health: up.clone(), other: up, asked: AtomicBool::new(false) }
    }

    pub(crate) fn new(bug: Option<Bug>, around: &Around) -> Self {
        let (health, other) = (around.backend.health(), around.other.health());
        Self { bug, right: around.right.clone(), health, other, asked: AtomicBool::new(false) }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Backend for Life {
    fn name(&self) -> &'static str {
        "wrong"
    }

    fn health(&self) -> watch::Receiver<Health> {
        let asked_before = self.asked.swap(true, Ordering::Relaxed);
        match self.bug {
            Some(Bug::HealthIsASnapshot) => watch::channel(*self.health.borrow()).1,
            Some(Bug::HealthIsUpForLaterAskers) if asked_before => self.other.clone(),
            _ => self.health.clone(),
        }
    }

    async fn close(&self) {
        // The bundle around it has drained the tasks, which are the same.
        let _ = self.right.close(Duration::ZERO).await;
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
