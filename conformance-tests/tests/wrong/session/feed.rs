//! What wrong session stores do with watches.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use stanchion::cache::Watch;
use stanchion::changes::{ChangeFeed, ChangeWatcher};
use stanchion::key::Name;
use stanchion::{Error, Result};

use super::{Bug, Wrong};
use crate::backend::locked;

/// Passes on what is left by the bug.
#[derive(Debug)]
struct Spoiled {
    bug: Bug,
    target: Arc<dyn ChangeWatcher>,
    heard: Mutex<HashSet<String>>,
}

impl ChangeWatcher for Spoiled {
    fn changed(&self, name: &str) {
        let is_first = locked(&self.heard).insert(name.to_owned());
        if is_first || self.bug != Bug::FirstChangeIsNotified {
            self.target.changed(name);
        }
    }

    fn lost(&self) {
        self.target.lost();
    }

    fn restored(&self) {
        self.target.restored();
    }
}

#[deny(clippy::missing_trait_methods)]
impl ChangeFeed for Wrong {
    fn watch(&self, service: &Name, watcher: Arc<dyn ChangeWatcher>) -> Result<Watch> {
        let right = self.right.feed().ok_or_else(|| Error::unsupported("there is no feed"))?;
        let spoiled = Spoiled { bug: self.bug, target: watcher, heard: Mutex::default() };
        let watcher: Arc<dyn ChangeWatcher> = Arc::new(spoiled);
        let watch = right.watch(service, Arc::clone(&watcher))?;
        match self.bug {
            Bug::WatchBeginsAlike => {
                let longer = Name::new(&format!("{service}-2"))?;
                let both = (watch, right.watch(&longer, watcher)?);
                Ok(Watch::new(move || drop(both)))
            }
            Bug::WatchNeverEnds => {
                std::mem::forget(watch);
                Ok(Watch::new(|| {}))
            }
            _ => Ok(watch),
        }
    }
}
