//! Profiles, read through the cache. They belong to the user service; here are only copies.

use std::sync::Arc;

use stanchion::cache::CacheStats;
use stanchion::event::standard::UserUpdated;
use stanchion::prelude::*;
use stanchion_memory::MokaNear;

use super::users::UserService;
use crate::caller::Caller;
use crate::error::AppError;
use crate::follow::Copies;
use crate::profile::Profile;

#[derive(Clone)]
pub(super) struct Profiles {
    cache: Cache<Profile>,
    users: UserService,
}

impl Profiles {
    pub(super) fn new(stores: &Stores, users: UserService) -> stanchion::Result<Self> {
        // The last thousand are kept in this process too, decoded; the store tells when one has changed.
        let cache = stores.cache("user").ttl(minutes(10)).near(MokaNear::entries(1_000)).build()?;
        Ok(Self { cache, users })
    }

    /// The caller's own profile: from the cache, or else from the user service, once for all who wait for it.
    pub(super) async fn of(&self, caller: &Caller) -> Result<Arc<Profile>, AppError> {
        // The loader runs in a task of its own, so it owns what it needs.
        let (users, id, token) = (self.users.clone(), caller.user().to_owned(), caller.token.clone());
        let load = move || async move { users.profile(&id, &token).await };
        Ok(self.cache.get_or_load(caller.user(), load).await?)
    }

    pub(super) fn stats(&self) -> CacheStats {
        self.cache.stats()
    }
}

impl Copies<UserUpdated> for Profiles {
    async fn drop_for(&self, event: &UserUpdated) -> stanchion::Result<u64> {
        Ok(self.cache.remove(&event.user_id).await?.into())
    }

    /// Nobody knows which copies are stale.
    async fn drop_all(&self) -> stanchion::Result<u64> {
        self.cache.clear().await.map(|()| 0)
    }
}
