//! The list of all users, cached as a whole under `cache:list:users`, and dropped when a member changes.

use std::convert::Infallible;
use std::sync::Arc;

use stanchion::cache::CacheStats;
use stanchion::prelude::*;

use super::database::Database;
use crate::error::AppError;
use crate::follow::Copies;
use crate::profile::Profile;

const ID: &str = "users";

#[derive(Clone)]
pub(super) struct UserList {
    cache: Cache<Vec<Profile>>,
    database: Arc<Database>,
}

impl UserList {
    pub(super) fn new(cache: Cache<Vec<Profile>>, database: Arc<Database>) -> Self {
        Self { cache, database }
    }

    pub(super) async fn get(&self) -> Result<Arc<Vec<Profile>>, AppError> {
        let database = Arc::clone(&self.database);
        let list =
            self.cache.get_or_load(ID, move || async move { Ok::<_, Infallible>(database.all()) }).await;
        list.map_err(|error| match error {
            LoadError::Store(error) => error.into(),
            error => AppError::internal(&error),
        })
    }

    pub(super) fn stats(&self) -> CacheStats {
        self.cache.stats()
    }
}

/// Whichever user an event is about is in the list.
impl<E: Event + Sync> Copies<E> for UserList {
    async fn drop_for(&self, _: &E) -> stanchion::Result<u64> {
        Ok(self.cache.remove(ID).await?.into())
    }

    async fn drop_all(&self) -> stanchion::Result<u64> {
        Ok(self.cache.remove(ID).await?.into())
    }
}
