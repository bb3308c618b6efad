//! `user-service`: the users, and who they are.

mod database;
mod digest;
mod list;
mod routes;

use std::sync::Arc;

use axum::extract::FromRef;
use stanchion::event::standard::{UserCreated, UserUpdated};
use stanchion::prelude::*;

use self::database::Database;
use self::digest::Digest;
use self::list::UserList;
use crate::auth;
use crate::follow::{Followed, follow};
use crate::service::{BoxError, Service};

/// Its events name it as their source.
pub(crate) const NAME: &str = "user-service";

#[derive(Clone)]
struct Users {
    database: Arc<Database>,
    list: UserList,
    digest: Digest,
    followed: Followed,
    created: Topic<UserCreated>,
    updated: Topic<UserUpdated>,
    tokens: Tokens,
}

/// What the extractor `Caller` verifies with.
impl FromRef<Users> for Tokens {
    fn from_ref(users: &Users) -> Self {
        users.tokens.clone()
    }
}

/// Sets the service up: everything it shares with others comes from `stores`.
pub(crate) async fn service(stores: &Stores, key: Option<JwtKey>) -> Result<Service, BoxError> {
    let stores = stores.service(NAME)?;
    let database = Arc::new(Database::default());
    // The tokens are the auth service's: its name is their issuer, and its revocations count. Here is no key that
    // could sign one.
    let mut tokens = stores.service(auth::NAME)?.tokens();
    if let Some(key) = key {
        tokens = tokens.key(key);
    }
    let users = Users {
        list: UserList::new(stores.cache("list").ttl(minutes(10)).build()?, Arc::clone(&database)),
        digest: Digest::new(stores.locks()?, stores.environment().clone()),
        database,
        followed: Followed::default(),
        created: stores.topic()?,
        updated: stores.topic()?,
        tokens: tokens.build()?,
    };
    // Other instances of this service change users, too: each follows the events of all.
    let (created, updated) = (users.created.subscribe().await?, users.updated.subscribe().await?);
    let (list, followed, environment) = (&users.list, &users.followed, stores.environment());
    let followers = vec![
        tokio::spawn(follow(created, list.clone(), followed.clone(), environment.clone())),
        tokio::spawn(follow(updated, list.clone(), followed.clone(), environment.clone())),
    ];
    Ok(Service { router: routes::router(users), stores, followers })
}
