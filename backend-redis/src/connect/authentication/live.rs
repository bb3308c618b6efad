//! The connections that live, and how long their credentials last.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stanchion::environment::Environment;
use stanchion::random::jittered;
use stanchion::time::Monotonic;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::connection::Authenticated;
use crate::credentials::{Credentials, Source};

/// As whom the connections of a backend are authenticated.
pub(crate) struct Authentication {
    pub(super) deadline: Duration,
    pub(super) environment: Environment,
    state: Mutex<State>,
    // Held while credentials are renewed or replaced: what was sent last is then the latest.
    pub(super) changing: tokio::sync::Mutex<()>,
    // Changes when the next renewal may be due earlier; closes with the backend.
    earlier: watch::Sender<u64>,
}

pub(super) struct State {
    pub(super) source: Source,
    // How often the source was replaced.
    pub(super) version: u64,
    pub(super) live: HashMap<u64, Live>,
    next: u64,
}

/// A connection that lives.
pub(super) struct Live {
    pub(super) connection: Arc<dyn Authenticated>,
    /// Of the source that its credentials came from.
    pub(super) version: u64,
    pub(super) validity: Option<Validity>,
}

/// How long credentials last that end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validity {
    pub(super) renew_at: Monotonic,
    pub(super) ends_at: Monotonic,
}

/// What a connection is made with.
pub(in crate::connect) struct Identity {
    pub(in crate::connect) credentials: Option<Credentials>,
    version: u64,
    validity: Option<Validity>,
}

impl Authentication {
    pub(in crate::connect) fn new(source: Source, deadline: Duration, environment: Environment) -> Self {
        let state = State { source, version: 0, live: HashMap::new(), next: 0 };
        let changing = tokio::sync::Mutex::default();
        Self { deadline, environment, state: Mutex::new(state), changing, earlier: watch::Sender::new(0) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.earlier.subscribe()
    }

    /// What a new connection is to be made with.
    pub(in crate::connect) async fn identity(&self) -> Result<Identity> {
        let (source, version) = {
            let state = self.state();
            (state.source.clone(), state.version)
        };
        let (credentials, validity) = self.ask(&source).await?;
        Ok(Identity { credentials, version, validity })
    }

    /// The credentials of now, and how long they last.
    pub(super) async fn ask(&self, source: &Source) -> Result<(Option<Credentials>, Option<Validity>)> {
        // Before they are made: they may have come to their provider at any time since.
        let asked_at = self.environment.clock.now();
        let credentials = source.credentials(self.deadline).await?;
        // Those that stay the same are not renewed.
        let renewed = credentials.as_ref().filter(|_| matches!(source, Source::Provider(_)));
        let validity = renewed.and_then(Credentials::good_for).map(|lifetime| {
            let rest = jittered(&*self.environment.random, lifetime / 4);
            Validity {
                renew_at: asked_at.saturating_add(lifetime.saturating_sub(rest)),
                ends_at: asked_at.saturating_add(lifetime),
            }
        });
        Ok((credentials, validity))
    }

    /// A connection was authenticated. It is authenticated anew from now on for as long as it lives.
    ///
    /// # Errors
    /// The credentials were replaced meanwhile: another connection has to be made, with those.
    pub(in crate::connect) fn entered(
        &self,
        connection: Arc<dyn Authenticated>,
        identity: &Identity,
    ) -> Result<()> {
        let Identity { version, validity, .. } = *identity;
        let mut state = self.state();
        if state.version != version {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the credentials were replaced while the connection was made",
            ));
        }
        state.live.retain(|_, live| live.connection.is_alive());
        let number = state.next;
        state.next += 1;
        state.live.insert(number, Live { connection, version, validity });
        drop(state);
        if validity.is_some() {
            self.earlier.send_modify(|times| *times += 1);
        }
        Ok(())
    }

    /// When the next renewal is due.
    pub(super) fn due(&self) -> Option<Monotonic> {
        let state = self.state();
        let living = state.live.values().filter(|live| live.connection.is_alive());
        living.filter_map(|live| Some(live.validity?.renew_at)).min()
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authentication")
    }
}
