//! What a case is given.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use stanchion::clock::{Clock, SystemClock};
use stanchion::stores::Stores;
use stanchion::time::Ttl;

use crate::child::Child;
use crate::wall::Frame;
use crate::{Failure, Harness, Outcome, OwnedServer, Place, Time, WallStep};

/// A place, and the harness to open it with.
pub struct Context {
    harness: Arc<dyn Harness>,
    place: Place,
    opened: Mutex<Vec<Stores>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({}, {})", self.harness.name(), self.place.prefix())
    }
}

impl Context {
    pub(crate) fn new(harness: Arc<dyn Harness>) -> Self {
        Self { harness, place: Place::fresh(), opened: Mutex::default() }
    }

    /// A handle on the case's place; each is another process.
    pub(crate) async fn open(&self) -> Outcome<Stores> {
        self.open_at(&self.place).await
    }

    /// A handle on another place.
    pub(crate) async fn elsewhere(&self) -> Outcome<Stores> {
        self.open_at(&Place::fresh()).await
    }

    async fn open_at(&self, place: &Place) -> Outcome<Stores> {
        self.opened(self.harness.open(place).await)
    }

    fn opened(&self, stores: stanchion::Result<Stores>) -> Outcome<Stores> {
        let stores = stores.map_err(|error| Failure::broken("can't open a place", &error))?;
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(stores.clone());
        Ok(stores)
    }

    /// A server of the case's own; without one the case is ignored, or failed where there must be one.
    pub(crate) async fn server(&self) -> Outcome<Server<'_>> {
        Ok(Server { server: self.harness.owned_server().await?, context: self })
    }

    /// Another process with a handle on the case's place, which can be killed.
    pub(crate) async fn child(&self) -> Outcome<Child> {
        Child::start(&*self.harness, &self.place).await
    }

    /// So many other processes with a handle each on the case's place.
    pub(crate) async fn children(&self, count: usize) -> Outcome<Vec<Child>> {
        try_join_all((0..count).map(|_| self.child())).await
    }

    /// A short life: a test can wait for its end.
    pub(crate) fn short(&self) -> Ttl {
        let life = match self.harness.time() {
            Time::Manual => Duration::from_hours(1),
            Time::Real => Duration::from_millis(250),
        };
        // Neither is zero.
        Ttl::new(life).unwrap_or(Ttl::MAX)
    }

    /// Waits until something with this life, begun before, is over.
    pub(crate) async fn pass(&self, life: Ttl) {
        let margin = match self.harness.time() {
            // To the tick.
            Time::Manual => Duration::ZERO,
            // The server's clock may run a little slower than ours.
            Time::Real => Duration::from_millis(10),
        };
        self.harness.advance(&self.place, life.as_duration() + margin).await;
    }

    /// So much of a life that it is not over yet.
    pub(crate) fn most_of(&self, life: Ttl) -> Duration {
        match self.harness.time() {
            // To the tick.
            Time::Manual => life.as_duration().saturating_sub(Duration::from_millis(1)),
            // Enough is left to look.
            Time::Real => life.as_duration() / 2,
        }
    }

    /// How time passes here.
    pub(crate) fn time(&self) -> Time {
        self.harness.time()
    }

    /// Lets a part of a life pass.
    pub(crate) async fn advance(&self, by: Duration) {
        self.harness.advance(&self.place, by).await;
    }

    /// Sets the store's wall clock; where that can't be done the case is ignored.
    pub(crate) async fn step(&self, step: WallStep) -> Outcome<Frame> {
        let stepped = self.harness.step_wall_clock(&self.place, step).await?;
        Ok(Frame { step, stepped })
    }

    /// Runs something that looks at a thing of the given life while that lasts. If the machine was so slow that the
    /// life may have ended before the look, what was seen means nothing, and it is tried again with a longer
    /// life.
    pub(crate) async fn while_it_lasts<T, F>(&self, mut look: impl FnMut(Ttl, u32) -> F) -> Outcome<T>
    where
        F: Future<Output = Outcome<T>>,
    {
        let mut life = self.short();
        for attempt in 0..8 {
            let begun = SystemClock.now();
            let seen = look(life, attempt).await;
            let elapsed = SystemClock.now().saturating_since(begun);
            if self.harness.time() == Time::Manual || elapsed < life.as_duration() {
                return seen;
            }
            life = Ttl::new(life.as_duration() * 2)?;
        }
        Err(Failure::Broken("the machine was too slow, eight times".to_owned()))
    }

    /// Closes what the case opened, whatever came of it.
    pub(crate) async fn close(&self) {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        for stores in opened {
            // A case may have closed it already.
            let _ = stores.close(Duration::from_secs(5)).await;
        }
    }
}

/// A server that the case may break, and the case's place on it.
pub(crate) struct Server<'a> {
    server: Box<dyn OwnedServer>,
    context: &'a Context,
}

impl Server<'_> {
    /// A handle on the case's place on this server; each is another process.
    pub(crate) async fn open(&self) -> Outcome<Stores> {
        self.context.opened(self.server.open(&self.context.place).await)
    }
}

impl std::ops::Deref for Server<'_> {
    type Target = dyn OwnedServer;

    fn deref(&self) -> &Self::Target {
        &*self.server
    }
}
