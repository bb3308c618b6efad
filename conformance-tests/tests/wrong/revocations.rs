//! What wrong token stores do with watches of revocations.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use stanchion::Result;
use stanchion::cache::Watch;
use stanchion::changes::{ChangeFeed, ChangeWatcher};
use stanchion::key::Name;

use crate::backend::{self, locked};
use crate::proof::{Proof, must_fail};
use crate::token::{self, Wrong};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Of each name one change is notified.
    LaterOnesAreForgotten,
    /// The names of scopes are notified as they are, not escaped.
    NamesAreNotEscaped,
    /// Whoever sets a floor notifies nobody.
    FloorIsForgotten,
    /// What begins alike is taken for the service.
    BeginsAlike,
    /// Nothing ends a watch.
    WatchNeverEnds,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Token(token::Bug::Feed(bug)), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof("TOKEN-23", Bug::LaterOnesAreForgotten, "feed::revocations", "a revocation of jti:")
        .also(&["TOKEN-24"]),
    proof(
        "TOKEN-23",
        Bug::NamesAreNotEscaped,
        "feed::revocations",
        "a revocation of user:a%3Ab%7Bc%7D, notified",
    ),
    proof("TOKEN-23", Bug::FloorIsForgotten, "feed::floor", "a new floor of service, notified within"),
    proof(
        "TOKEN-24",
        Bug::BeginsAlike,
        "feed::is_of_one_service",
        "notifications of another service's epoch: 0",
    ),
    proof(
        "TOKEN-24",
        Bug::WatchNeverEnds,
        "feed::is_of_one_service",
        "what a watcher was notified of, after its watch was dropped",
    ),
];

/// Passes on what is left by the bug.
#[derive(Debug)]
struct Spoiled {
    bug: Bug,
    target: Arc<dyn ChangeWatcher>,
    heard: Mutex<HashSet<String>>,
}

impl ChangeWatcher for Spoiled {
    fn changed(&self, name: &str) {
        match self.bug {
            Bug::LaterOnesAreForgotten if !locked(&self.heard).insert(name.to_owned()) => {}
            Bug::FloorIsForgotten if name == "service" => {}
            Bug::NamesAreNotEscaped => {
                self.target.changed(&name.replace("%3A", ":").replace("%7B", "{").replace("%7D", "}"));
            }
            _ => self.target.changed(name),
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
        let token::Bug::Feed(bug) = self.bug else {
            return self.inner_feed()?.watch(service, watcher);
        };
        let watcher: Arc<dyn ChangeWatcher> =
            Arc::new(Spoiled { bug, target: watcher, heard: Mutex::default() });
        let watch = self.inner_feed()?.watch(service, Arc::clone(&watcher))?;
        match bug {
            Bug::BeginsAlike => {
                let longer = Name::new(&format!("{service}-2"))?;
                let both = (watch, self.inner_feed()?.watch(&longer, watcher)?);
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
