//! Publishes what happens to the sessions of a service, and ends those whose time is over.
//!
//! The store appends what happens to an outbox, in the step in which it happens. A task of each façade takes from there,
//! publishes, and only then removes: what was taken by one that died is taken by another once its claim is over. So each
//! event is published at least once, and a second time with the same id.
//!
//! - Who changes something reads the outbox of that session at once, and so is answered for within milliseconds.
//! - One façade of all processes has the right to reap, for some turns at a time. In each turn it comes by every outbox of the
//!   service, ends what is due, and publishes what waits, also what others have left behind.

mod events;
mod news;
mod telemetry;
mod work;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::events::SessionEvents;
use self::news::News;
use self::telemetry::Telemetry;
use self::work::Work;
use super::{SessionId, SessionStore};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::event::EventBus;
use crate::key::Name;
use crate::session::outbox::PublisherId;

/// What is published, and how.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) events: SessionEvents,
    /// Whether sessions are reaped here.
    pub(super) reaping: bool,
    /// How long a turn and the pause after it take, at most, while little is due.
    pub(super) every: Duration,
}

impl Settings {
    /// How often it is looked for what is due, unless set.
    pub(super) const EVERY: Duration = Duration::from_secs(5);
    const BOUNDS: std::ops::RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_hours(1);
}

/// The task, for as long as this lives.
#[derive(Debug)]
pub(super) struct Publisher {
    store: Arc<dyn SessionStore>,
    news: Arc<News>,
    _alive: DropGuard,
}

impl Publisher {
    /// Starts the task.
    ///
    /// # Errors
    /// `Unsupported` if the store has no outbox, `InvalidInput` for a time out of bounds, `Config` without a runtime.
    pub(super) fn start(
        store: &Arc<dyn SessionStore>,
        bus: Arc<dyn EventBus>,
        service: &Name,
        environment: &Environment,
        settings: Settings,
    ) -> Result<Self> {
        if store.outbox().is_none() {
            return Err(Error::unsupported(
                "the session store has no outbox, so that nothing can be published",
            ));
        }
        if !Settings::BOUNDS.contains(&settings.every) {
            return Err(Error::invalid("what is due is looked for each 50 milliseconds to 1 hour"));
        }
        let (news, stop) = (Arc::new(News::default()), CancellationToken::new());
        let work = Work {
            store: Arc::clone(store),
            bus,
            service: service.clone(),
            publisher: PublisherId::generate(&*environment.random)?,
            environment: environment.clone(),
            telemetry: Telemetry::of(service),
            news: Arc::clone(&news),
            settings,
        };
        environment.tasks.spawn(work.run(stop.clone()))?;
        Ok(Self { store: Arc::clone(store), news, _alive: stop.drop_guard() })
    }

    /// Something may have happened to this session or to others of its user.
    pub(super) fn notify(&self, id: &SessionId) {
        if let Some(outbox) = self.store.outbox() {
            self.news.add(outbox.outbox_of(id));
        }
    }
}
