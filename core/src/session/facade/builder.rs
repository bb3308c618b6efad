//! How sessions are built.

use std::sync::Arc;
use std::time::Duration;

use super::Sessions;
use super::revoke::Revoker;
use super::sessions::Inner;
use crate::cache::NearEngine;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::event::EventBus;
use crate::key::Name;
use crate::layer::deadline::bounded;
#[cfg(feature = "encryption")]
use crate::session::SessionEncryption;
use crate::session::near::NearSessions;
use crate::session::publisher::{Publisher, Settings};
use crate::session::telemetry::Telemetry;
use crate::session::{SessionBounds, SessionEvents, SessionLimit, SessionStore, Timeouts};
use crate::time::{Ttl, hours, minutes};
use crate::token::Tokens;

/// Builds [`Sessions`].
#[derive(Debug)]
#[must_use = "call build()"]
pub struct SessionsBuilder {
    store: Result<Arc<dyn SessionStore>>,
    events: Result<Arc<dyn EventBus>>,
    environment: Environment,
    service: Name,
    idle: Duration,
    absolute: Duration,
    longest: Option<(Duration, Duration)>,
    limit: SessionLimit,
    tokens: Option<Tokens>,
    publish: Option<Result<SessionEvents>>,
    reaping: bool,
    reap_every: Duration,
    near: Option<(Arc<dyn NearEngine>, Duration)>,
    #[cfg(feature = "encryption")]
    encryption: Option<SessionEncryption>,
}

impl SessionsBuilder {
    /// The sessions of a service on any backend, without a bundle: it publishes where it is given an
    /// [`event_bus`](Self::event_bus).
    pub fn new(store: Arc<dyn SessionStore>, environment: Environment, service: Name) -> Self {
        let none = |what: &str| Error::unsupported(format!("there are no {what}"));
        let store = bounded(store, &environment);
        Self::on(Ok(store), Err(none("events")), environment, service)
    }

    pub(crate) fn on(
        store: Result<Arc<dyn SessionStore>>,
        events: Result<Arc<dyn EventBus>>,
        environment: Environment,
        service: Name,
    ) -> Self {
        Self {
            store,
            events,
            environment,
            service,
            idle: minutes(30),
            absolute: hours(12),
            longest: None,
            limit: SessionLimit::EvictLeastRecent(100),
            tokens: None,
            publish: None,
            reaping: true,
            reap_every: Settings::EVERY,
            near: None,
            #[cfg(feature = "encryption")]
            encryption: None,
        }
    }

    /// Where events are published; the bundle's unless set.
    pub fn event_bus(mut self, events: Arc<dyn EventBus>) -> Self {
        self.events = Ok(events);
        self
    }

    /// How long a session lives without being used; 30 minutes unless set. A session that lives already keeps the lesser of
    /// what was set when it was created and what is set now.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// How long a session lives at most, however much it is used; 12 hours unless set. For sessions that live already as
    /// [`idle_timeout`](Self::idle_timeout).
    pub fn absolute_timeout(mut self, absolute: Duration) -> Self {
        self.absolute = absolute;
        self
    }

    /// How long the idle and the absolute timeout of a session may be that is created with
    /// [its own](super::CreateOptions::timeouts); no longer than the service's unless set. Such sessions that live already keep
    /// the lesser of what is stored with them and this.
    pub fn longest_timeouts(mut self, idle: Duration, absolute: Duration) -> Self {
        self.longest = Some((idle, absolute));
        self
    }

    /// How many sessions a user may have; the 100 most recently used unless set.
    pub fn limit(mut self, limit: SessionLimit) -> Self {
        self.limit = limit;
        self
    }

    /// Ending a session also revokes the tokens that were [issued](Sessions::issue) within it: before it ends, so that the session
    /// can be ended again where that fails, and after, for what was issued in between. Sessions that make room for a new
    /// one are ended by the store, so their tokens are revoked right after. What can't be revoked then is tried
    /// again by a task, until the tokens have expired; only if the process dies first, what was issued right before the end
    /// (or within an evicted session) holds until it expires.
    ///
    /// The tokens may be those of another service than the sessions: they are revoked where they are verified.
    pub fn revoking_tokens(mut self, tokens: &Tokens) -> Self {
        self.tokens = Some(tokens.clone());
        self
    }

    /// Publishes `auth.session_created` and `auth.session_expired` of the sessions that are created from now on: also of those
    /// that time out, and of those whose time is over while no process runs.
    ///
    /// Each event is published at least once, in the order in which things happened to a user's sessions, and a second time with
    /// the same id. The store keeps what is to be published, in the same step as the change, until the event bus has taken it;
    /// for how long, and how much, is said in [`OutboxBounds`](crate::session::outbox::OutboxBounds). What the event bus
    /// delivers to which subscriber is its own affair.
    pub fn publishing(mut self) -> Self {
        self.publish = Some(SessionEvents::standard());
        self
    }

    /// Publishes these events, as [`publishing`](Self::publishing) does.
    pub fn events(mut self, events: SessionEvents) -> Self {
        self.publish = Some(Ok(events));
        self
    }

    /// Whether sessions that have timed out are looked for here, where they are published; yes unless set.
    ///
    /// One process of all that may do it does it at any time. It costs one short script for each of the store's buckets in each
    /// turn. Where no process does it, sessions end as ever, and the events of timeouts are not published.
    pub fn reaping(mut self, here: bool) -> Self {
        self.reaping = here;
        self
    }

    /// How often sessions that have timed out are looked for, and events once more that could not be published: 50 milliseconds
    /// to 1 hour, 5 seconds unless set. The event of a timeout is published within so much of it, while a process runs.
    pub fn reap_every(mut self, every: Duration) -> Self {
        self.reap_every = every;
        self
    }

    /// Encrypts the values of fields before they leave this process, each bound to its session and its name. Names, sizes, times,
    /// and what is known of the device, are stored in the clear.
    #[cfg(feature = "encryption")]
    pub fn encrypt(mut self, encryption: impl Into<SessionEncryption>) -> Self {
        self.encryption = Some(encryption.into());
        self
    }

    /// Keeps the sessions of requests in this process for at most `max_age`: [`authenticate`](Sessions::authenticate) of one that was found within that
    /// time is answered without a command, also while the store does not answer. Not unless set.
    ///
    /// What is changed or ended through these `Sessions` is not answered from a copy. What others do, also in this process, is seen as soon as the store's feed of
    /// changes says so, commonly within milliseconds, and after `max_age` at the latest: where the feed is away, where the store
    /// [has none](super::super::SessionStore::feed), and where its server forbids it. So `max_age` is for how long a session that was ended elsewhere
    /// may still be let in, in the worst case: seconds, and at most 5 minutes. A session is never served from a copy once it
    /// has timed out, nor when its use is due to be recorded. [`load`](Sessions::load), and all that issues tokens, always asks the store.
    ///
    /// Each `Sessions` takes an engine of its own, bounded by the number of entries, each of which may hold as much as a session;
    /// `stanchion-memory` has two, `MokaNear` and `QuickNear`. While the hashing key is being rotated, sessions under an older key are asked
    /// for each time.
    pub fn near(mut self, engine: impl NearEngine, max_age: Duration) -> Self {
        self.near = Some((Arc::new(engine), max_age));
        self
    }

    /// The sessions.
    ///
    /// # Errors
    /// `InvalidInput` for a timeout of zero, a limit the store can't keep, or copies of another age than up to 5 minutes; `Unsupported` if the stores have
    /// no sessions, or none of what was asked for; `Config` if there is no runtime to publish or to be notified in, `Closed` after the stores were closed.
    pub fn build(self) -> Result<Sessions> {
        let store = self.store?;
        let most = store.capabilities().max_per_user;
        if self.limit.count() == 0 || self.limit.count() > most {
            return Err(Error::invalid(format!("a session limit takes 1 to {most} sessions")));
        }
        let revoker = self.tokens.map(|tokens| Revoker::new(tokens, self.environment.clone()));
        let usual = Timeouts::new(Ttl::new(self.idle)?, Ttl::new(self.absolute)?);
        let own = match self.longest {
            Some((idle, absolute)) => Timeouts::new(Ttl::new(idle)?, Ttl::new(absolute)?),
            None => usual,
        };
        let bounds = SessionBounds::new(usual, own);
        let bare = store.bounded(bounds);
        let store = Arc::clone(&bare);
        let publisher = match self.publish {
            Some(events) => {
                let settings = Settings { events: events?, reaping: self.reaping, every: self.reap_every };
                let bus = bounded(self.events?, &self.environment);
                Some(Publisher::start(&bare, bus, &self.service, &self.environment, settings)?)
            }
            None => None,
        };
        let store = match self.near {
            None => store,
            Some(near) => {
                let environment = self.environment.clone();
                Arc::new(NearSessions::new(store, &self.service, near, environment)?)
            }
        };
        #[cfg(feature = "encryption")]
        let store = match self.encryption {
            Some(encryption) => encryption.around(store, &self.environment),
            None => store,
        };
        Ok(Sessions(Arc::new(Inner {
            store,
            bare,
            telemetry: Telemetry::of(&self.service),
            service: self.service,
            environment: self.environment,
            bounds,
            limit: self.limit,
            revoker,
            publisher,
        })))
    }
}
