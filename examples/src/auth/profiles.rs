//! Profiles, read through the cache. They belong to the user service; here are only copies.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stanchion::cache::CacheStats;
use stanchion::event::standard::UserUpdated;
use stanchion::prelude::*;
use stanchion::stores::Environment;
use stanchion::time::Monotonic;

use super::users::UserService;
use crate::caller::Caller;
use crate::error::AppError;
use crate::follow::Copies;
use crate::profile::Profile;

#[derive(Clone)]
pub(super) struct Profiles {
    cache: Cache<Profile>,
    users: UserService,
    environment: Environment,
    /// Until then the cache may hold copies whose change was not heard of.
    suspect_until: Arc<Mutex<Monotonic>>,
}

impl Profiles {
    const TTL: Duration = minutes(10);

    pub(super) fn new(stores: &Stores, users: UserService) -> stanchion::Result<Self> {
        Ok(Self {
            cache: stores.cache("user").ttl(Self::TTL).build()?,
            users,
            environment: stores.environment().clone(),
            suspect_until: Arc::default(),
        })
    }

    /// The caller's own profile: from the cache, or else from the user service, once for all who wait for it.
    pub(super) async fn of(&self, caller: &Caller) -> Result<Arc<Profile>, AppError> {
        if self.is_suspect() {
            return Ok(Arc::new(self.users.profile(caller.user(), &caller.token).await?));
        }
        // The loader runs in a task of its own, so it owns what it needs.
        let (users, id, token) = (self.users.clone(), caller.user().to_owned(), caller.token.clone());
        let load = move || async move { users.profile(&id, &token).await };
        Ok(self.cache.get_or_load(caller.user(), load).await?)
    }

    pub(super) fn stats(&self) -> CacheStats {
        self.cache.stats()
    }

    fn is_suspect(&self) -> bool {
        self.environment.clock.now() < *self.suspect_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Copies<UserUpdated> for Profiles {
    async fn drop_for(&self, event: &UserUpdated) -> stanchion::Result<u64> {
        Ok(self.cache.remove(&event.user_id).await?.into())
    }

    /// Nobody knows which copies are stale. Within their TTL all are gone; until then profiles come from where they
    /// belong, which costs more and is never wrong.
    async fn drop_all(&self) -> stanchion::Result<u64> {
        let gone = self.environment.clock.now().saturating_add(Self::TTL);
        *self.suspect_until.lock().unwrap_or_else(PoisonError::into_inner) = gone;
        Ok(0)
    }
}
