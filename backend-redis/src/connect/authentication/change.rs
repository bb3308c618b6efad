//! Authenticates connections that live anew.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use stanchion::{Effect, Error, ErrorKind, Result};

use super::connection::Authenticated;
use super::live::{Authentication, Live};
use crate::credentials::{Credentials, Source};
use crate::error::{self, Access};

impl Authentication {
    /// Asks for the credentials of now, and authenticates all connections by them.
    ///
    /// A connection keeps the credentials that it has until the server has taken others: it is given up when they have ended and
    /// the server has not.
    ///
    /// # Errors
    /// Those of the provider, or of the first connection that was not authenticated.
    ///
    /// # Cancel safety
    /// Some connections may be authenticated anew, and others not yet.
    pub(crate) async fn renew(&self) -> Result<()> {
        let _changing = self.changing.lock().await;
        let source = self.state().source.clone();
        let (Some(credentials), validity) = self.ask(&source).await? else { return Ok(()) };
        let mut failed = None;
        for (number, outcome) in self.authenticate_all(&credentials).await {
            match outcome {
                Ok(()) => {
                    if let Some(live) = self.state().live.get_mut(&number) {
                        live.validity = validity;
                    }
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        self.give_up(|_, live| live.validity.is_some_and(|of| of.ends_at <= self.environment.clock.now()));
        failed.map_or(Ok(()), Err)
    }

    /// From now on these are the credentials, if a server takes them: of the connections that live, and of those to come. A
    /// connection that is not authenticated by them is given up, and made anew.
    ///
    /// # Errors
    /// No server has taken them: what is used stays as it was. A connection of which it is not known whether its server has is
    /// made anew, by what was right before; the effect of the error is then `Unknown`.
    ///
    /// # Cancel safety
    /// Not to be dropped: connections would be left with the old ones.
    pub(crate) async fn replace(&self, credentials: Credentials) -> Result<()> {
        let _changing = self.changing.lock().await;
        let outcomes = self.authenticate_all(&credentials).await;
        let taken: HashSet<u64> =
            outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(number, _)| *number).collect();
        let failed = outcomes.into_iter().filter_map(|(number, outcome)| Some((number, outcome.err()?)));
        let (numbers, errors): (Vec<_>, Vec<_>) = failed.unzip();
        if taken.is_empty() && !errors.is_empty() {
            // What was sent and not answered may be carried out yet.
            let doubted = |(_, error): &(_, &Error)| error.effect() == Effect::Unknown;
            let doubtful: HashSet<u64> =
                numbers.into_iter().zip(&errors).filter(doubted).map(|(number, _)| number).collect();
            self.give_up(|number, _| doubtful.contains(&number));
            return Err(worst(errors));
        }
        {
            let mut state = self.state();
            state.version += 1;
            state.source = Source::Fixed(credentials);
            let version = state.version;
            for (number, live) in &mut state.live {
                if taken.contains(number) {
                    (live.version, live.validity) = (version, None);
                }
            }
        }
        // Also those that were made meanwhile.
        let version = self.state().version;
        self.give_up(|_, live| live.version != version);
        Ok(())
    }

    async fn authenticate_all(&self, credentials: &Credentials) -> Vec<(u64, Result<()>)> {
        let living: Vec<(u64, Arc<dyn Authenticated>)> = {
            let state = self.state();
            let alive = state.live.iter().filter(|(_, live)| live.connection.is_alive());
            alive.map(|(number, live)| (*number, Arc::clone(&live.connection))).collect()
        };
        let authenticating = living.into_iter().map(|(number, connection)| async move {
            let done = tokio::time::timeout(self.deadline, connection.authenticate(credentials)).await;
            (number, done.unwrap_or_else(|_| Err(error::timed_out(self.deadline, Access::Write))))
        });
        join_all(authenticating).await
    }

    /// The connections are made anew, with the credentials of then.
    fn give_up(&self, which: impl Fn(u64, &Live) -> bool) {
        let given_up: Vec<Live> = {
            let mut state = self.state();
            let numbers: Vec<u64> = state
                .live
                .iter()
                .filter(|(number, live)| which(**number, live))
                .map(|(number, _)| *number)
                .collect();
            numbers.iter().filter_map(|number| state.live.remove(number)).collect()
        };
        // Without the lock: that wakes those who make them.
        for live in given_up {
            live.connection.give_up();
        }
    }
}

/// Of several errors the one to show: what a server has said is worth more than that nothing was heard. It says `Unknown` if any
/// of them does.
fn worst(mut errors: Vec<Error>) -> Error {
    let effect = errors.iter().map(Error::effect).find(|effect| *effect == Effect::Unknown);
    let refused = errors.iter().position(|error| error.kind() == ErrorKind::Denied);
    let shown = errors.swap_remove(refused.unwrap_or_default());
    match effect {
        Some(effect) => shown.with_effect(effect),
        None => shown,
    }
}
