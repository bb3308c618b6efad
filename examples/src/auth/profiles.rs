//! Profiles, read through the cache. They belong to the user service; here are only copies.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use stanchion::cache::CacheStats;
use stanchion::event::standard::UserUpdated;
use stanchion::prelude::*;

use super::users::UserService;
use crate::caller::Caller;
use crate::error::AppError;
use crate::follow::Copies;
use crate::profile::Profile;

#[derive(Clone)]
pub(super) struct Profiles {
    cache: Cache<Profile>,
    users: UserService,
    /// Whose copies were read here, for when news was missed and any of them may be stale.
    read: Arc<Mutex<HashSet<String>>>,
}

impl Profiles {
    /// As many as the cache removes in one batch.
    const MAX_READ: usize = 10_000;

    pub(super) fn new(cache: Cache<Profile>, users: UserService) -> Self {
        Self { cache, users, read: Arc::default() }
    }

    /// The caller's own profile: from the cache, or else from the user service, once for all who wait for it.
    pub(super) async fn of(&self, caller: &Caller) -> Result<Arc<Profile>, AppError> {
        if self.remember(caller.user()) {
            self.drop_all().await?;
        }
        let (users, id, token) = (self.users.clone(), caller.user().to_owned(), caller.token.clone());
        Ok(self
            .cache
            .get_or_load(caller.user(), move || async move { users.profile(&id, &token).await })
            .await?)
    }

    pub(super) fn stats(&self) -> CacheStats {
        self.cache.stats()
    }

    /// Answers whether there are too many now.
    fn remember(&self, id: &str) -> bool {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if !read.contains(id) {
            read.insert(id.to_owned());
        }
        read.len() >= Self::MAX_READ
    }
}

impl Copies<UserUpdated> for Profiles {
    async fn drop_for(&self, event: &UserUpdated) -> stanchion::Result<u64> {
        Ok(self.cache.remove(&event.user_id).await?.into())
    }

    async fn drop_all(&self) -> stanchion::Result<u64> {
        let read = mem::take(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner));
        let ids: Vec<_> = read.into_iter().collect();
        let dropped = self.cache.remove_many(&ids).await;
        if dropped.is_err() {
            // They are still there, and are to be dropped at the next try.
            self.read.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
        }
        dropped
    }
}
