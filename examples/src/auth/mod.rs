//! `auth-service`: accounts, log-in, sessions and tokens.

mod accounts;
mod devices;
mod passwords;
mod profiles;
mod refresh;
mod routes;
mod sessions;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use stanchion::event::standard::UserUpdated;
use stanchion::prelude::*;
use stanchion::token::RefreshPolicy;

use self::accounts::Accounts;
use self::passwords::Passwords;
use self::profiles::Profiles;
use self::users::UserService;
use crate::follow::{Followed, follow};
use crate::service::{BoxError, Service};

/// Its sessions and tokens are kept under this name, and its tokens name it as their issuer.
pub(crate) const NAME: &str = "auth-service";

/// Short, since a session gives a new one whenever it is asked for.
const TOKEN_LIFE: Duration = minutes(15);

/// For how long a session lives without being used, and its refresh tokens: the lesser of both would end them.
const IDLE: Duration = minutes(30);

#[derive(Clone)]
struct Auth {
    accounts: Arc<Accounts>,
    passwords: Passwords,
    users: UserService,
    profiles: Profiles,
    followed: Followed,
    sessions: Sessions,
    tokens: Tokens,
    attempts: Attempts,
    by_address: Limits,
}

/// What the extractor `Caller` verifies with.
impl FromRef<Auth> for Tokens {
    fn from_ref(auth: &Auth) -> Self {
        auth.tokens.clone()
    }
}

/// Sets the service up: everything it shares with others comes from `stores`.
pub(crate) async fn service(stores: &Stores, key: JwtKey, users_url: String) -> Result<Service, BoxError> {
    let stores = stores.service(NAME)?;
    let users = UserService::at(users_url)?;
    // Settings that another service of these tokens does not share are an error here, and not at the first log-in.
    let tokens = stores.tokens().max_life(TOKEN_LIFE).key(key);
    let tokens = tokens.refreshing(RefreshPolicy::new().idle_timeout(IDLE)).publishing().build()?;
    tokens.agree().await?;
    let auth = Auth {
        accounts: Arc::default(),
        passwords: Passwords::new().await?,
        users: users.clone(),
        profiles: Profiles::new(&stores, users)?,
        followed: Followed::default(),
        sessions: stores.sessions().idle_timeout(IDLE).revoking_tokens(&tokens).build()?,
        tokens,
        // Against guessing: only failures count.
        attempts: stores.attempts("login").publishing().build()?,
        // Against whoever would have this service do nothing but hash.
        by_address: stores.limits("client-address").per_minute(30).per_hour(200).build()?,
    };
    // When somebody changes their profile, the copy here goes at once.
    let updates = stores.topic::<UserUpdated>()?.subscribe().await?;
    let environment = stores.environment().clone();
    let follower = tokio::spawn(follow(updates, auth.profiles.clone(), auth.followed.clone(), environment));
    Ok(Service { router: routes::router(auth), stores, followers: vec![follower] })
}
