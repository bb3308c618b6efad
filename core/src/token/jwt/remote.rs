//! Keys that are fetched: when, how often, and what is done meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::algorithm::JwtAlgorithm;
use super::error::{Invalid, VerifyError};
use super::fetch::{FetchJwks, MAX_JWKS};
use super::jwks::Jwks;
use super::key::{Found, JwtKey, find};
use super::share::{Document, Share};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::time::{Monotonic, Timestamp};

/// How often keys are fetched, and how long they are used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) refresh_every: Duration,
    pub(super) cool_down: Duration,
    pub(super) keep_for: Duration,
    pub(super) timeout: Duration,
}

impl Pace {
    /// After the first failure in a row.
    const RETRY: Duration = Duration::from_secs(1);

    pub(super) fn checked(self) -> Result<Self> {
        if self.cool_down < Self::RETRY || self.timeout.is_zero() || self.refresh_every < self.cool_down {
            return Err(Error::invalid(
                "keys of an issuer are fetched with a cool-down of a second or more, a timeout, and no more often by age than by \
                 the cool-down",
            ));
        }
        if self.keep_for < self.refresh_every.saturating_mul(2) {
            return Err(Error::invalid(
                "keys of an issuer are kept for twice the time after which they are refreshed",
            ));
        }
        Ok(self)
    }

    /// How long nobody fetches after so many failures in a row.
    fn pause(self, failures: u32) -> Duration {
        match failures {
            0 => self.cool_down,
            n => Self::RETRY.saturating_mul(1 << (n - 1).min(16)).min(self.cool_down),
        }
    }
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Remote {
    from: Arc<dyn FetchJwks>,
    pace: Pace,
    rsa: JwtAlgorithm,
    share: Option<Share>,
    environment: Environment,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    last: Option<Attempt>,
    /// Ends with the fetch, however that ends.
    in_flight: Option<watch::Receiver<()>>,
}

#[derive(Debug, Clone)]
struct Held {
    keys: Arc<[JwtKey]>,
    fetched_at: Timestamp,
    /// How old they were when they came here, and when that was.
    age: Duration,
    since: Monotonic,
}

/// The last fetch that has ended.
#[derive(Debug, Clone)]
struct Attempt {
    at: Monotonic,
    failures: u32,
    error: Option<Error>,
}

/// What a token that asks for its key is answered.
enum Answer {
    Keys(Arc<[JwtKey]>),
    /// Fetch first.
    Wait,
    No(VerifyError),
}

/// The header that a fetch begins for.
type Wanted = (Option<String>, JwtAlgorithm);

type Shared = Option<(Arc<dyn crate::cache::CacheStore>, crate::key::Key)>;

impl Remote {
    pub(super) fn new(
        from: Arc<dyn FetchJwks>,
        pace: Pace,
        rsa: JwtAlgorithm,
        shared: Shared,
        environment: Environment,
    ) -> Arc<Self> {
        let share = shared.map(|(store, key)| Share::new(store, key, pace.keep_for));
        Arc::new(Self { from, pace, rsa, share, environment, state: Mutex::default() })
    }

    /// Keys among which that of a header is.
    pub(super) async fn keys(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: JwtAlgorithm,
    ) -> Result<Arc<[JwtKey]>, VerifyError> {
        let (answer, fetch) = {
            let mut state = self.state();
            let (answer, refresh) = self.look(&state, kid, algorithm, false);
            (
                answer,
                if refresh {
                    Some(self.join(&mut state, (kid.map(str::to_owned), algorithm))?)
                } else {
                    None
                },
            )
        };
        match (answer, fetch) {
            (Answer::Keys(keys), _) => return Ok(keys),
            (Answer::No(why), _) => return Err(why),
            (Answer::Wait, None) => {}
            (Answer::Wait, Some(mut fetched)) => {
                // The task has a timeout of its own; this is for the case that nobody runs it.
                let late = self.environment.sleep(self.pace.timeout.saturating_add(Pace::RETRY));
                tokio::select! {
                    biased;
                    _ = fetched.changed() => {}
                    () = late => {}
                }
            }
        }
        match self.look(&self.state(), kid, algorithm, true).0 {
            Answer::Keys(keys) => Ok(keys),
            Answer::No(why) => Err(why),
            Answer::Wait => Err(Self::unchecked(None)),
        }
    }

    /// What is known now, and whether it is to be fetched; `waited` if that has been done for this token.
    fn look(
        &self,
        state: &State,
        kid: Option<&str>,
        algorithm: JwtAlgorithm,
        waited: bool,
    ) -> (Answer, bool) {
        let now = self.environment.clock.now();
        let last = state.last.as_ref();
        let may_fetch = !waited
            && (state.is_fetching()
                || last.is_none_or(|last| now.saturating_since(last.at) >= self.pace.pause(last.failures)));
        let held = state.held.as_ref().map(|held| (held, held.age_at(now)));
        let error = last.and_then(|last| last.error.as_ref());
        match held.filter(|(_, age)| *age < self.pace.keep_for) {
            None if may_fetch => (Answer::Wait, true),
            None => (Answer::No(Self::unchecked(error)), false),
            Some((held, age)) => match find(&held.keys, kid, algorithm) {
                Found::Unknown if may_fetch => (Answer::Wait, true),
                Found::Unknown => match error {
                    Some(error) => (Answer::No(Self::unchecked(Some(error))), false),
                    None => (Answer::No(Invalid::UnknownKey.into()), false),
                },
                Found::Key(_) | Found::OtherAlgorithm => {
                    let old = age >= self.pace.refresh_every;
                    if old && may_fetch && age >= self.pace.refresh_every.saturating_mul(2) {
                        return (Answer::Wait, true);
                    }
                    (Answer::Keys(Arc::clone(&held.keys)), old && may_fetch)
                }
            },
        }
    }

    fn unchecked(why: Option<&Error>) -> VerifyError {
        let error = match why {
            Some(why) => Error::new(why.kind(), "the keys of the token's issuer could not be fetched")
                .with_source(why.clone()),
            None => Error::new(ErrorKind::Timeout, "the keys of the token's issuer were not fetched in time"),
        };
        VerifyError::Unchecked(error.with_operation("token.jwks").with_retry_after(Pace::RETRY))
    }

    /// The fetch that is in flight, or a new one.
    fn join(self: &Arc<Self>, state: &mut State, wanted: Wanted) -> Result<watch::Receiver<()>> {
        if let Some(fetching) = state.in_flight.clone().filter(|_| state.is_fetching()) {
            return Ok(fetching);
        }
        let (ended, fetching) = watch::channel(());
        let remote = Arc::clone(self);
        self.environment.tasks.spawn(async move {
            remote.refresh(&wanted).await;
            // Dropped in any case, and so also where the fetch panics or is aborted.
            drop(ended);
        })?;
        state.in_flight = Some(fetching.clone());
        Ok(fetching)
    }

    async fn refresh(&self, wanted: &Wanted) {
        let held_at = self.state().held.as_ref().map(|held| held.fetched_at);
        let fetched = tokio::select! {
            biased;
            fetched = self.fetch(held_at, wanted) => fetched,
            () = self.environment.sleep(self.pace.timeout) => {
                Err(Error::new(ErrorKind::Timeout, format!("no key set within {:?}", self.pace.timeout)))
            }
        };
        let now = self.environment.clock.now();
        let mut state = self.state();
        let failures = state.last.as_ref().map_or(0, |last| last.failures);
        match fetched {
            Ok(held) => {
                state.held = Some(held);
                state.last = Some(Attempt { at: now, failures: 0, error: None });
            }
            Err(error) => {
                tracing::warn!(%error, "the keys of a token issuer could not be fetched");
                let failures = failures.saturating_add(1);
                state.last = Some(Attempt { at: now, failures, error: Some(error) });
            }
        }
    }

    /// From other processes if they have it, else from the issuer.
    async fn fetch(&self, held_at: Option<Timestamp>, wanted: &Wanted) -> Result<Held> {
        let clock = &self.environment.clock;
        if let Some(share) = &self.share
            && let Some(document) = share.read().await
            && held_at.is_none_or(|held_at| document.fetched_at > held_at)
        {
            let age = clock.wall().saturating_since(document.fetched_at);
            // One that is to come is of a clock that is wrong, or of nobody who means well.
            let from_the_past = document.fetched_at <= clock.wall().saturating_add(self.pace.cool_down);
            if age < self.pace.refresh_every
                && from_the_past
                && let Ok(held) = self.held(&document, age)
            {
                let found = matches!(find(&held.keys, wanted.0.as_deref(), wanted.1), Found::Key(_));
                // Whoever fetched it lately would find no more now.
                if found || age < self.pace.cool_down {
                    return Ok(held);
                }
            }
        }
        let jwks = self.from.fetch().await?;
        let document = Document { fetched_at: clock.wall(), jwks };
        let held = self.held(&document, Duration::ZERO)?;
        if let Some(share) = &self.share {
            share.write(&document).await;
        }
        Ok(held)
    }

    fn held(&self, document: &Document, age: Duration) -> Result<Held> {
        if document.jwks.len() > MAX_JWKS {
            return Err(Error::invalid(format!("a key set may have {MAX_JWKS} bytes")));
        }
        let set = Jwks::parse_with(&document.jwks, self.rsa)?;
        if set.skipped() > 0 {
            tracing::debug!(skipped = set.skipped(), "keys of a token issuer can't be used");
        }
        let since = self.environment.clock.now();
        Ok(Held { keys: set.keys.into(), fetched_at: document.fetched_at, age, since })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_fetching(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|fetch| fetch.has_changed().is_ok())
    }
}

impl Held {
    fn age_at(&self, now: Monotonic) -> Duration {
        self.age.saturating_add(now.saturating_since(self.since))
    }
}
