//! Failures of loads: shared by all who waited, and remembered for a short while.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::LoadError;
use crate::error::Error;
use crate::time::Monotonic;

/// Beyond this many entries the memory begins anew.
const MOST: usize = 10_000;

/// Why a load failed, whatever the type of its loader's error is: those who wait for one load may have different ones.
#[derive(Clone)]
pub(super) enum Failure {
    Loader(Arc<dyn Any + Send + Sync>),
    Panicked,
    TimedOut(Duration),
    Store(Error),
    /// In another process, which is remembered for so long yet.
    Elsewhere {
        remaining: Duration,
    },
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loader(_) => "Loader",
            Self::Panicked => "Panicked",
            Self::TimedOut(_) => "TimedOut",
            Self::Store(_) => "Store",
            Self::Elsewhere { .. } => "Elsewhere",
        })
    }
}

impl Failure {
    /// The time of whoever led the load was over.
    pub(super) const fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut(_))
    }

    pub(super) fn loader<E: Send + Sync + 'static>(error: E) -> Self {
        Self::Loader(Arc::new(error))
    }

    /// Whether the store is the reason, and not the loader.
    pub(super) const fn is_stores(&self) -> bool {
        matches!(self, Self::Store(_))
    }

    /// Whether the loader has failed by itself. A timeout is this process's setting, and says nothing to others.
    pub(super) const fn is_loaders(&self) -> bool {
        matches!(self, Self::Loader(_) | Self::Panicked | Self::Elsewhere { .. })
    }

    /// For how long it is the answer to those who ask, where a failure here is so for the time that is given.
    pub(super) fn remembered(&self, ttl: Duration) -> Duration {
        match self {
            Self::Elsewhere { remaining } => ttl.min(*remaining),
            _ => ttl,
        }
    }

    /// As the error of a caller whose loader fails with an `E`.
    pub(super) fn error<E: Send + Sync + 'static>(&self) -> LoadError<E> {
        match self {
            Self::Loader(error) => match Arc::clone(error).downcast::<E>() {
                Ok(error) => LoadError::Loader(error),
                Err(error) => LoadError::Shared(SharedFailure(error)),
            },
            Self::Panicked => LoadError::Panicked,
            Self::TimedOut(after) => LoadError::TimedOut(*after),
            Self::Store(error) => LoadError::Store(error.clone()),
            Self::Elsewhere { .. } => LoadError::Elsewhere,
        }
    }
}

/// The error of another caller's loader, of another type than this caller's: two places of a program load one value with
/// different error types.
#[derive(Clone)]
pub struct SharedFailure(Arc<dyn Any + Send + Sync>);

impl SharedFailure {
    /// The error, if it is a `X`.
    pub fn downcast_ref<X: Send + Sync + 'static>(&self) -> Option<&X> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for SharedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedFailure(..)")
    }
}

/// What is remembered of the loads of one cache that failed, or that run in another process.
#[derive(Debug, Default)]
pub(super) struct RecentLoads(Mutex<HashMap<Box<str>, Recent>>);

#[derive(Debug, Default)]
struct Recent {
    /// The failure, and until when it is the answer to those who ask.
    failure: Option<(Failure, Monotonic)>,
    /// Until when the loader is not run, since there is a stale value.
    backoff: Option<Monotonic>,
    /// Until when another process has the lease.
    elsewhere: Option<Monotonic>,
}

impl Recent {
    fn is_over(&self, now: Monotonic) -> bool {
        let until = [self.failure.as_ref().map(|(_, until)| *until), self.backoff, self.elsewhere];
        until.into_iter().flatten().all(|until| until <= now)
    }
}

impl RecentLoads {
    fn recent(&self) -> MutexGuard<'_, HashMap<Box<str>, Recent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, identifier: &str, now: Monotonic, change: impl FnOnce(&mut Recent)) {
        let mut recent = self.recent();
        if recent.len() >= MOST {
            recent.retain(|_, recent| !recent.is_over(now));
            if recent.len() >= MOST {
                recent.clear();
            }
        }
        change(recent.entry(identifier.into()).or_default());
    }

    fn look<R>(&self, identifier: &str, now: Monotonic, look: impl FnOnce(&Recent) -> R) -> Option<R> {
        let mut recent = self.recent();
        let found = recent.get(identifier)?;
        if found.is_over(now) {
            recent.remove(identifier);
            return None;
        }
        Some(look(found))
    }

    /// A load has failed, which is the answer to those who ask for so long.
    pub(super) fn failed(&self, identifier: &str, failure: &Failure, until: Monotonic, now: Monotonic) {
        if until > now {
            self.change(identifier, now, |recent| recent.failure = Some((failure.clone(), until)));
        }
    }

    /// The failure of a load that ended a short while ago.
    pub(super) fn failure(&self, identifier: &str, now: Monotonic) -> Option<Failure> {
        let failure = |recent: &Recent| {
            recent.failure.as_ref().filter(|(_, until)| *until > now).map(|(failure, _)| failure.clone())
        };
        self.look(identifier, now, failure)?
    }

    /// The loader of this identifier is not run until then where a stale value is at hand.
    pub(super) fn back_off(&self, identifier: &str, until: Monotonic, now: Monotonic) {
        self.change(identifier, now, |recent| recent.backoff = Some(until));
    }

    pub(super) fn is_backing_off(&self, identifier: &str, now: Monotonic) -> bool {
        self.look(identifier, now, |recent| recent.backoff.is_some_and(|until| until > now)).unwrap_or(false)
    }

    /// Another process loads it, and has the lease until then.
    pub(super) fn loads_elsewhere(&self, identifier: &str, until: Monotonic, now: Monotonic) {
        self.change(identifier, now, |recent| recent.elsewhere = Some(until));
    }

    pub(super) fn is_loading_elsewhere(&self, identifier: &str, now: Monotonic) -> bool {
        self.look(identifier, now, |recent| recent.elsewhere.is_some_and(|until| until > now))
            .unwrap_or(false)
    }

    /// The loader of this identifier has succeeded, or the value was written.
    pub(super) fn forget(&self, identifier: &str) {
        self.recent().remove(identifier);
    }

    /// Everything has changed.
    pub(super) fn forget_all(&self) {
        self.recent().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn each_thing_is_remembered_for_its_own_time() {
        let recent = RecentLoads::default();
        recent.failed("a", &Failure::Panicked, at(10), at(0));
        recent.back_off("a", at(20), at(0));
        recent.loads_elsewhere("b", at(10), at(0));
        assert!(matches!(recent.failure("a", at(9)), Some(Failure::Panicked)));
        assert!(recent.failure("a", at(10)).is_none() && recent.is_backing_off("a", at(19)));
        assert!(!recent.is_backing_off("a", at(20)) && !recent.is_backing_off("b", at(0)));
        assert!(recent.is_loading_elsewhere("b", at(9)) && !recent.is_loading_elsewhere("b", at(10)));
        recent.failed("a", &Failure::Panicked, at(30), at(30));
        assert!(recent.failure("a", at(29)).is_none(), "a time of zero remembers nothing");
        assert!(recent.recent().is_empty(), "what is over is taken out");
    }

    #[test]
    fn it_is_bounded() {
        let recent = RecentLoads::default();
        for n in 0..3 * MOST {
            recent.failed(&n.to_string(), &Failure::Panicked, at(10), at(0));
        }
        assert!(recent.recent().len() <= MOST);
    }

    #[test]
    fn an_error_is_handed_over_by_its_type() {
        let failure = Failure::loader("down");
        assert!(matches!(failure.error::<&str>(), LoadError::Loader(error) if *error == "down"));
        match failure.error::<u32>() {
            LoadError::Shared(shared) => assert_eq!(shared.downcast_ref::<&str>(), Some(&"down")),
            other => panic!("{other:?}"),
        }
    }
}
