//! Layers around the stores of a bundle.

use std::sync::Arc;

use super::builder::{LazyTags, Parts};
use super::{Shared, Stores};
use crate::layer::{Deadline, Layer};

impl Stores {
    /// The same stores with a [layer](crate::layer) around each of them: around the layers that were put on before, so
    /// that the last one is the outermost. These stores stay as they are, and so do the façades that were taken from
    /// them.
    ///
    /// Both share their backends, tasks and service: closing one closes the other. The generations of tags are mirrored
    /// by each.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "most layers are made where they are put on")]
    pub fn layer(&self, layer: impl Layer) -> Self {
        let Shared { environment, backends, parts, call_deadline, tags: _ } = &*self.shared;
        // A layer that keeps no deadline gets one, as a store does.
        let deadline = Deadline::of(*call_deadline, environment);
        let shared = Shared {
            environment: environment.clone(),
            backends: backends.clone(),
            parts: parts.clone().layered(&layer).bounded(&deadline),
            call_deadline: *call_deadline,
            tags: LazyTags::new(),
        };
        Self { shared: Arc::new(shared), service: self.service.clone() }
    }
}

impl Parts {
    fn layered(self, layer: &impl Layer) -> Self {
        Self {
            cache: self.cache.map(|store| layer.cache(store)),
            sessions: self.sessions.map(|store| layer.sessions(store)),
            events: self.events.map(|bus| layer.events(bus)),
            locks: self.locks.map(|locker| layer.locks(locker)),
            limits: self.limits.map(|limiter| layer.limits(limiter)),
            tokens: self.tokens.map(|store| layer.tokens(store)),
        }
    }

    /// Every store under this deadline that declares none.
    pub(super) fn bounded(self, deadline: &Deadline) -> Self {
        Self {
            cache: self.cache.map(|store| deadline.unless_declared(store)),
            sessions: self.sessions.map(|store| deadline.unless_declared(store)),
            events: self.events.map(|bus| deadline.unless_declared(bus)),
            locks: self.locks.map(|locker| deadline.unless_declared(locker)),
            limits: self.limits.map(|limiter| deadline.unless_declared(limiter)),
            tokens: self.tokens.map(|store| deadline.unless_declared(store)),
        }
    }
}
