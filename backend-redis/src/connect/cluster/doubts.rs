//! What casts doubt on the map.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stanchion::Error;
use tokio::sync::watch;

use super::address::Address;
use crate::error::{Refusal, status_code};

/// Doubts beyond this number are not told apart: they cast doubt, and that is enough.
const MOST: usize = 256;

/// A reason to doubt the map.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Doubt {
    /// The node by which it came up.
    pub(super) by: Option<Address>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    /// A slot is served elsewhere.
    Moved(Address),
    /// The node refused, with this code.
    Refused(&'static str),
    /// Its connection broke, or there is none.
    Broken,
    /// A reply is overdue.
    Overdue,
    /// No node is known for a slot, or for what any node may do.
    Unserved,
}

impl Doubt {
    /// By the error of this node.
    pub(super) fn after(error: &Error, by: Address) -> Self {
        let kind = match Refusal::of(error) {
            Some(Refusal::Moved(to)) => Kind::Moved(to.clone()),
            _ => status_code(error).map_or(Kind::Broken, Kind::Refused),
        };
        Self { by: Some(by), kind }
    }

    /// A reply is overdue, of whichever node.
    pub(super) fn overdue() -> Self {
        Self { by: None, kind: Kind::Overdue }
    }

    /// There is no node to send something to.
    pub(super) fn unserved() -> Self {
        Self { by: None, kind: Kind::Unserved }
    }
}

/// The doubts since the map was last drawn, as those who have them see them. Dropped with the Cluster, which ends whoever
/// [waits](Noticed) for them.
#[derive(Debug)]
pub(super) struct Doubts {
    cast: Arc<Mutex<HashSet<Doubt>>>,
    changed: watch::Sender<()>,
}

impl Doubts {
    pub(super) fn new() -> (Self, Noticed) {
        let (cast, (changed, noticed)) = (Arc::default(), watch::channel(()));
        (Self { cast: Arc::clone(&cast), changed }, Noticed { cast, changed: noticed })
    }

    /// Casts doubt on the map.
    pub(super) fn cast(&self, doubt: Doubt) {
        let mut cast = lock(&self.cast);
        // A doubt that is known wakes nobody: thousands of calls may have it in a second.
        if cast.len() < MOST && cast.insert(doubt) {
            drop(cast);
            self.changed.send_replace(());
        }
    }
}

/// The same, as who draws the map sees them.
#[derive(Debug)]
pub(super) struct Noticed {
    cast: Arc<Mutex<HashSet<Doubt>>>,
    changed: watch::Receiver<()>,
}

impl Noticed {
    /// Waits until the doubts are such; `None` once the Cluster is gone.
    pub(super) async fn until(&mut self, wanted: impl Fn(&HashSet<Doubt>) -> bool) -> Option<()> {
        loop {
            if wanted(&lock(&self.cast)) {
                return Some(());
            }
            self.changed.changed().await.ok()?;
        }
    }

    /// The doubts until now; from here on they are cast anew.
    pub(super) fn take(&self) -> HashSet<Doubt> {
        std::mem::take(&mut lock(&self.cast))
    }
}

fn lock(cast: &Mutex<HashSet<Doubt>>) -> MutexGuard<'_, HashSet<Doubt>> {
    cast.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use redis::Value;

    use super::*;
    use crate::error::{self, Access};

    fn after(line: &str) -> Doubt {
        match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap() {
            Value::ServerError(refused) => {
                Doubt::after(&error::from_server(&refused, Access::Read), ("here".to_owned(), 1))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn doubts_differ_by_what_was_replied() {
        let doubts: HashSet<_> = [
            after("MOVED 1 h:1"),
            after("MOVED 2 h:1"),
            after("MOVED 1 h:2"),
            after("CLUSTERDOWN Hash slot not served"),
            after("CLUSTERDOWN The cluster is down"),
            after("READONLY a replica"),
            Doubt::after(&error::timed_out(std::time::Duration::ZERO, Access::Read), ("here".to_owned(), 1)),
            Doubt::overdue(),
            Doubt::unserved(),
        ]
        .into();
        assert_eq!(doubts.len(), 7, "a slot more, and other words, are the same: {doubts:?}");
    }

    #[tokio::test]
    async fn a_doubt_is_kept_for_whoever_waits_later_and_is_cast_anew_when_taken() {
        let (doubts, mut noticed) = Doubts::new();
        doubts.cast(Doubt::overdue());
        noticed.until(|cast| !cast.is_empty()).await.unwrap();
        noticed.until(|cast| !cast.is_empty()).await.unwrap();
        assert_eq!(noticed.take(), [Doubt::overdue()].into());
        {
            let mut waiting = Box::pin(noticed.until(|cast| cast.contains(&Doubt::unserved())));
            assert!(poll!(waiting.as_mut()).is_pending());
            doubts.cast(Doubt::overdue());
            assert!(poll!(waiting.as_mut()).is_pending(), "that is another");
            doubts.cast(Doubt::unserved());
            assert!(poll!(waiting.as_mut()).is_ready());
        }
        assert_eq!(noticed.take().len(), 2);
        drop(doubts);
        assert!(noticed.until(|cast| !cast.is_empty()).await.is_none(), "the Cluster is gone");
    }
}
