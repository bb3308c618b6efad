//! Copies of what a store has answered, kept in this process for a stated age and ended early by the store's feed of changes.

mod changing;
mod fence;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::changing::Changing;
use self::fence::{Fence, Seen};
use crate::cache::{NearEngine, NearEntry, NearValue, Watch};
use crate::changes::{ChangeFeed, ChangeWatcher};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::key::Name;
use crate::time::Monotonic;

/// The copies of one façade.
pub(crate) struct Copies<T> {
    engine: Arc<dyn NearEngine>,
    max_age: Duration,
    environment: Environment,
    fence: Arc<Fence>,
    /// `None` where the store notifies of nothing: then copies end by their age alone.
    _watch: Option<Watch>,
    _of: std::marker::PhantomData<fn() -> T>,
}

/// What was so before the store was asked.
pub(crate) struct Asked {
    seen: Seen,
    at: Monotonic,
}

struct Copied<T> {
    value: T,
    asked: Asked,
    /// Of whose it is: another façade may have been given the same engine.
    fence: Arc<Fence>,
}

impl<T> fmt::Debug for Copies<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copies").field("max_age", &self.max_age).finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Copies<T> {
    /// Of what a store has of a service. `InvalidInput` for an age of nothing, or over `oldest`.
    pub(crate) fn new(
        feed: Option<&dyn ChangeFeed>,
        service: &Name,
        (engine, max_age): (Arc<dyn NearEngine>, Duration),
        oldest: Duration,
        environment: Environment,
    ) -> Result<Self> {
        if max_age.is_zero() || max_age > oldest {
            return Err(Error::invalid(format!("a copy is kept for up to {oldest:?}, got {max_age:?}")));
        }
        let fence = Arc::<Fence>::default();
        let watcher = Arc::clone(&fence) as Arc<dyn ChangeWatcher>;
        let watch = feed.map(|feed| feed.watch(service, watcher)).transpose()?;
        Ok(Self { engine, max_age, environment, fence, _watch: watch, _of: std::marker::PhantomData })
    }

    /// To be taken before the store is asked for what depends on these names.
    pub(crate) fn asking(&self, names: &[String]) -> Asked {
        Asked { seen: self.fence.see(names), at: self.environment.clock.now() }
    }

    /// Keeps what the store has answered, for this long at most.
    pub(crate) fn keep(&self, key: &str, asked: Asked, value: T, longest: Duration) {
        // Who asked later may have been answered sooner.
        let is_newer = |entry: &NearEntry| {
            let copied = entry.value.as_ref().and_then(|value| value.downcast_ref::<Copied<T>>());
            copied.is_some_and(|copied| copied.asked.at > asked.at)
        };
        if self.engine.get(key).is_some_and(|entry| is_newer(&entry)) {
            return;
        }
        let fresh_until = asked.at.saturating_add(self.max_age.min(longest));
        let copied: NearValue = Arc::new(Copied { value, asked, fence: Arc::clone(&self.fence) });
        self.engine.insert(key, NearEntry::new(Some(copied), fresh_until));
    }

    /// What `read` makes of a copy that is still good, and of how long ago it was asked for.
    pub(crate) fn get<R>(&self, key: &str, read: impl FnOnce(&T, Duration) -> Option<R>) -> Option<R> {
        if self.environment.tasks.is_closing() {
            return None;
        }
        let (entry, now) = (self.engine.get(key)?, self.environment.clock.now());
        if entry.fresh_until <= now {
            return None;
        }
        let value = entry.value?;
        let copied = value.downcast_ref::<Copied<T>>()?;
        let is_good = Arc::ptr_eq(&copied.fence, &self.fence) && self.fence.is_unchanged(&copied.asked.seen);
        if is_good { read(&copied.value, now.saturating_since(copied.asked.at)) } else { None }
    }

    /// A change that this process makes, to be held until it is over. Of anything, until more is known.
    pub(crate) fn changing(&self) -> Changing<'_> {
        Changing::of(&self.fence)
    }
}
