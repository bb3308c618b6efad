//! Who watches what, and from which masters it is heard.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use stanchion::cache::Watcher;

use crate::connect::{Node, Target};

/// A namespace counts as watched while every master is known to tell of it, each on the connection in use. Its
/// watchers are told of each change of that, in order, under the lock around this.
#[derive(Debug, Default)]
pub(super) struct State {
    namespaces: HashMap<String, Watched>,
    masters: HashMap<Arc<str>, Master>,
    next: u64,
    /// The server does not let itself be listened to.
    refused: bool,
    closed: bool,
}

#[derive(Debug, Default)]
struct Watched {
    watchers: Vec<(u64, Arc<dyn Watcher>)>,
    /// They are told every change, and know it.
    up: bool,
}

/// A master for as long as it is one, and its connection is not given up. Whoever speaks of an earlier one, or of an
/// earlier connection to the same, is not heard.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) label: Arc<str>,
    number: u64,
}

#[derive(Debug)]
struct Master {
    number: u64,
    target: Target,
    node: Option<Arc<Node>>,
    /// The connection in use.
    live: Option<u64>,
    /// The namespaces that the server tells of on it.
    heard: HashSet<String>,
    /// The same of a connection that is being made.
    coming: Option<(u64, HashSet<String>)>,
    /// Held while what the server tells is being changed: it refuses to be asked for the same twice.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl State {
    /// A new watcher of a namespace, and the number to end it by; none once closed.
    pub(super) fn watch(&mut self, namespace: &str, watcher: Arc<dyn Watcher>) -> Option<u64> {
        if self.closed {
            return None;
        }
        self.next += 1;
        let up = self.is_up(namespace);
        let watched = self.namespaces.entry(namespace.to_owned()).or_default();
        watched.up = up;
        if up {
            watcher.restored();
        }
        watched.watchers.push((self.next, watcher));
        Some(self.next)
    }

    /// Ends a watcher, and hands it back to be dropped without the lock. What the server tells of its namespace
    /// from now on is passed over, until the next connection no longer asks for it.
    pub(super) fn end(&mut self, namespace: &str, number: u64) -> Option<Arc<dyn Watcher>> {
        let watched = self.namespaces.get_mut(namespace)?;
        let at = watched.watchers.iter().position(|(other, _)| *other == number)?;
        let (_, watcher) = watched.watchers.swap_remove(at);
        if watched.watchers.is_empty() {
            self.namespaces.remove(namespace);
        }
        Some(watcher)
    }

    fn is_up(&self, namespace: &str) -> bool {
        let hears = |master: &Master| master.live.is_some() && master.heard.contains(namespace);
        !self.closed && !self.refused && !self.masters.is_empty() && self.masters.values().all(hears)
    }

    /// Tells watchers what has become of their namespaces.
    fn settle(&mut self) {
        let changed: Vec<_> = self
            .namespaces
            .iter()
            .map(|(name, watched)| (name, watched.up, self.is_up(name)))
            .filter(|(_, was, is)| was != is)
            .map(|(name, _, is)| (name.clone(), is))
            .collect();
        for (name, up) in changed {
            let Some(watched) = self.namespaces.get_mut(&name) else { continue };
            watched.up = up;
            for (_, watcher) in &watched.watchers {
                if up { watcher.restored() } else { watcher.lost() }
            }
        }
    }

    /// An entry of this namespace has changed.
    pub(super) fn changed(&self, namespace: &str, key: &str) {
        let Some(watched) = self.namespaces.get(namespace).filter(|watched| watched.up) else { return };
        for (_, watcher) in &watched.watchers {
            watcher.changed(key);
        }
    }

    /// Everything may have changed.
    pub(super) fn flushed(&self) {
        for (_, watcher) in self.namespaces.values().filter(|watched| watched.up).flat_map(|w| &w.watchers) {
            watcher.lost();
            watcher.restored();
        }
    }

    /// The masters are these from now on; answers the connections that are no longer needed.
    pub(super) fn masters_are(&mut self, targets: &[Target]) -> Vec<Arc<Node>> {
        let stays = |label: &Arc<str>| targets.iter().any(|target| target.label() == label);
        let (kept, gone): (HashMap<_, _>, _) =
            std::mem::take(&mut self.masters).into_iter().partition(|(label, _)| stays(label));
        self.masters = kept;
        for target in targets {
            if !self.masters.contains_key(target.label()) {
                self.seat(target.clone());
            }
        }
        if !gone.is_empty() {
            // It may serve on, unknown to whoever drew the map, and what was copied from it is heard of no more.
            self.flushed();
        }
        self.settle();
        gone.into_values().filter_map(|master| master.node).collect()
    }

    fn seat(&mut self, target: Target) {
        self.next += 1;
        self.masters.insert(Arc::clone(target.label()), Master::new(self.next, target));
    }

    fn at(&self, seat: &Seat) -> Option<&Master> {
        self.masters.get(&seat.label).filter(|master| master.number == seat.number)
    }

    fn at_mut(&mut self, seat: &Seat) -> Option<&mut Master> {
        self.masters.get_mut(&seat.label).filter(|master| master.number == seat.number)
    }

    /// The masters, if anybody wants to hear of them.
    pub(super) fn wanted_masters(&self) -> Vec<Seat> {
        if self.closed || self.refused || self.namespaces.is_empty() {
            return Vec::new();
        }
        let seat =
            |(label, master): (&Arc<str>, &Master)| Seat { label: Arc::clone(label), number: master.number };
        self.masters.iter().map(seat).collect()
    }

    /// The namespaces that are watched.
    pub(super) fn wanted(&self) -> HashSet<String> {
        if self.refused { HashSet::new() } else { self.namespaces.keys().cloned().collect() }
    }

    /// Whoever changes what this master tells waits for its turn.
    pub(super) fn turn(&self, seat: &Seat) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.at(seat).map(|master| Arc::clone(&master.turn))
    }

    /// Where to connect to hear of this master, if it is not connected yet.
    pub(super) fn unconnected(&self, seat: &Seat) -> Option<Target> {
        let wanted = !self.closed && !self.refused && !self.namespaces.is_empty();
        let master = self.at(seat).filter(|master| wanted && master.node.is_none())?;
        Some(master.target.clone())
    }

    /// The connection to this master, from now on kept connected; handed back if it is not wanted any more.
    pub(super) fn keep(&mut self, seat: &Seat, node: Arc<Node>) -> Result<(), Arc<Node>> {
        let wanted = !self.closed && !self.refused;
        match self.at_mut(seat) {
            Some(master) if wanted && master.node.is_none() => {
                master.node = Some(node);
                Ok(())
            }
            _ => Err(node),
        }
    }

    /// The connection in use and what it does not tell yet, if there is such a thing.
    pub(super) fn missing(&self, seat: &Seat) -> Option<(Arc<Node>, u64, HashSet<String>)> {
        let master = self.at(seat)?;
        let (node, live) = (master.node.clone()?, master.live?);
        let missing: HashSet<_> = self.wanted().difference(&master.heard).cloned().collect();
        (!missing.is_empty()).then_some((node, live, missing))
    }

    /// A connection that is being made will tell of these.
    pub(super) fn coming(&mut self, seat: &Seat, connection: u64, namespaces: HashSet<String>) {
        if let Some(master) = self.at_mut(seat) {
            master.coming = Some((connection, namespaces));
        }
    }

    /// That connection is in use from now on.
    pub(super) fn ready(&mut self, seat: &Seat, connection: u64) {
        if let Some(master) = self.at_mut(seat)
            && let Some((_, heard)) = master.coming.take().filter(|(coming, _)| *coming == connection)
        {
            (master.live, master.heard) = (Some(connection), heard);
        }
        self.settle();
    }

    /// The connection in use tells of these too.
    pub(super) fn heard(&mut self, seat: &Seat, connection: u64, namespaces: HashSet<String>) {
        if let Some(master) = self.at_mut(seat).filter(|master| master.live == Some(connection)) {
            master.heard.extend(namespaces);
        }
        self.settle();
    }

    /// The connection is not in use any more.
    pub(super) fn lost(&mut self, seat: &Seat, connection: u64) {
        if let Some(master) = self.at_mut(seat).filter(|master| master.live == Some(connection)) {
            master.live = None;
            master.heard.clear();
        }
        self.settle();
    }

    /// The server refuses; answers the connections that are no longer needed, if this is news.
    pub(super) fn refuse(&mut self) -> Option<Vec<Arc<Node>>> {
        if std::mem::replace(&mut self.refused, true) {
            return None;
        }
        self.settle();
        Some(self.take_nodes())
    }

    /// The server is asked once more.
    pub(super) fn try_again(&mut self) {
        self.refused = false;
    }

    /// Nobody is told anything more; answers what is to be dropped without the lock.
    pub(super) fn close(&mut self) -> (Vec<Arc<Node>>, Vec<Arc<dyn Watcher>>) {
        self.closed = true;
        self.settle();
        let watched = std::mem::take(&mut self.namespaces).into_values();
        (
            self.take_nodes(),
            watched.flat_map(|watched| watched.watchers).map(|(_, watcher)| watcher).collect(),
        )
    }

    /// The connections.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        self.masters.values().filter_map(|master| master.node.clone()).collect()
    }

    fn take_nodes(&mut self) -> Vec<Arc<Node>> {
        let mut nodes = Vec::new();
        for master in std::mem::take(&mut self.masters).into_values() {
            self.seat(master.target);
            nodes.extend(master.node);
        }
        nodes
    }
}

impl Master {
    fn new(number: u64, target: Target) -> Self {
        let (live, heard) = (None, HashSet::new());
        Self { number, target, node: None, live, heard, coming: None, turn: Arc::default() }
    }
}

#[cfg(test)]
mod tests;
