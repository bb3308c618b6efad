//! Who watches which namespaces, and which masters send their invalidations.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use stanchion::cache::{Shard, Watcher};

use super::watched::{Places, Watched, Which};
use crate::connect::{Masters, Node, Target};
use crate::copies::{Group, is_of_generations};

/// A shard is up in a namespace while its master is known to send the invalidations there, on the connection in use; a group of
/// generations while two of its copies are. The watchers of the namespace are notified when that changes, in order, under the
/// lock around this.
#[derive(Debug, Default)]
pub(super) struct State {
    namespaces: HashMap<String, Watched>,
    masters: HashMap<Arc<str>, Master>,
    /// Shards of whose keys some were read from another one, by a redirect; the other one second. What was copied so is out of
    /// date when either is lost.
    redirected: HashSet<(Shard, Shard)>,
    /// Where the copies of generations are, if there are any.
    places: Places,
    next: u64,
    /// A server refuses to send invalidations.
    refused: bool,
    closed: bool,
}

/// A master for as long as it is one, and its node is kept. What is reported of an earlier one, or of an earlier node of the
/// same, is passed over.
#[derive(Debug, Clone)]
pub(super) struct MasterId {
    pub(super) label: Arc<str>,
    number: u64,
}

#[derive(Debug)]
struct Master {
    number: u64,
    target: Target,
    shard: Shard,
    node: Option<Arc<Node>>,
    /// The connection in use.
    live: Option<u64>,
    /// The namespaces whose invalidations the server sends on it.
    subscribed: HashSet<String>,
    /// The same of a connection that is being made.
    preparing: Option<(u64, HashSet<String>)>,
    /// Held while the server is asked for more: it refuses to be asked for the same twice.
    requesting: Arc<tokio::sync::Mutex<()>>,
}

impl State {
    /// A new watcher of a namespace, and the number to end it by; none once closed.
    pub(super) fn watch(&mut self, namespace: &str, watcher: Arc<dyn Watcher>) -> Option<u64> {
        if self.closed {
            return None;
        }
        self.next += 1;
        let sent = self.sent(namespace);
        let places = Some(&self.places).filter(|places| is_of_generations(namespace) && !places.is_empty());
        let new = || Watched::new(places.cloned());
        let watched = self.namespaces.entry(namespace.to_owned()).or_insert_with(new);
        watched.follow(sent, &self.redirected);
        watched.add(self.next, watcher);
        Some(self.next)
    }

    /// Ends a watcher, and hands it back to be dropped without the lock. The invalidations of its namespace are passed over
    /// from now on, until the next connection no longer asks for them.
    pub(super) fn end(&mut self, namespace: &str, number: u64) -> Option<Arc<dyn Watcher>> {
        let watched = self.namespaces.get_mut(namespace)?;
        let watcher = watched.remove(number);
        if watched.is_empty() {
            self.namespaces.remove(namespace);
        }
        watcher
    }

    /// The masters that send the invalidations of a namespace. Where several are one shard, it takes all of them.
    fn sent(&self, namespace: &str) -> BTreeSet<Shard> {
        if self.closed || self.refused {
            return BTreeSet::new();
        }
        let sends = |master: &Master| master.live.is_some() && master.subscribed.contains(namespace);
        let (up, down): (Vec<_>, Vec<_>) = self.masters.values().partition(|master| sends(master));
        let down: BTreeSet<_> = down.into_iter().map(|master| master.shard).collect();
        up.into_iter().map(|master| master.shard).filter(|shard| !down.contains(shard)).collect()
    }

    /// Notifies watchers of the shards that have come up or gone down in their namespace.
    fn notify(&mut self) {
        let sent: Vec<_> = self.namespaces.keys().map(|name| (name.clone(), self.sent(name))).collect();
        for (name, sent) in sent {
            if let Some(watched) = self.namespaces.get_mut(&name) {
                watched.follow(sent, &self.redirected);
            }
        }
    }

    /// An entry of this namespace has changed.
    pub(super) fn changed(&self, namespace: &str, key: &str) {
        if let Some(watched) = self.namespaces.get(namespace) {
            watched.changed(key);
        }
    }

    /// Everything at this master may have changed.
    pub(super) fn flushed(&mut self, master: &MasterId) {
        if let Some(shard) = self.master(master).map(|master| master.shard) {
            self.flush(shard);
        }
    }

    /// Everything that was copied from this shard may be out of date.
    fn flush(&mut self, shard: Shard) {
        self.namespaces.values_mut().for_each(|watched| watched.flush(shard));
    }

    /// A key of one shard is about to be read or written at another, to which its slot is moving.
    pub(super) fn redirected(&mut self, from: Shard, to: Shard) {
        self.redirected.insert((from, to));
        // What is read there from now on may change without an invalidation.
        let unheard = self.namespaces.values_mut().filter(|watched| !watched.is_sent(to));
        unheard.for_each(|watched| watched.flush(from));
    }

    /// Of which copies of this group each change is received.
    pub(super) fn covered(&self, namespace: &str, group: Group) -> Which {
        self.namespaces.get(namespace).map(|watched| watched.covered(group)).unwrap_or_default()
    }

    /// A generation of this group was read from these copies. Before it is known to anybody.
    pub(super) fn read_from(&mut self, namespace: &str, group: Group, copies: Which) {
        if let Some(watched) = self.namespaces.get_mut(namespace) {
            watched.read_from(group, copies);
        }
    }

    /// The masters are these from now on; answers the nodes that are no longer needed.
    pub(super) fn set_masters(&mut self, masters: &Masters<'_>) -> Vec<Arc<Node>> {
        // Another server at the address of one is another master.
        let stays =
            |master: &Master| masters.all.iter().any(|(target, _)| target.is_same_server(&master.target));
        let (kept, gone): (HashMap<_, _>, _) =
            std::mem::take(&mut self.masters).into_iter().partition(|(_, master)| stays(master));
        self.masters = kept;
        for (target, shard) in masters.all {
            match self.masters.get_mut(target.label()) {
                Some(master) => {
                    // It may have become known which server it is.
                    master.target = target.clone();
                    master.shard = *shard;
                }
                None => self.add_master(target.clone(), *shard),
            }
        }
        self.notify();
        // Those that are gone may serve on, unknown to the map, and of what was copied from them no more invalidations come; of
        // what has moved they come from elsewhere.
        let left: BTreeSet<Shard> =
            gone.values().map(|master| master.shard).chain(masters.left.iter().copied()).collect();
        for shard in &left {
            self.flush(*shard);
        }
        self.redirected.retain(|(from, _)| !left.contains(from));
        self.places.clone_from(masters.copies);
        self.namespaces.values_mut().for_each(|watched| watched.place(&self.places));
        gone.into_values().filter_map(|master| master.node).collect()
    }

    fn add_master(&mut self, target: Target, shard: Shard) {
        self.next += 1;
        self.masters.insert(Arc::clone(target.label()), Master::new(self.next, target, shard));
    }

    fn master(&self, id: &MasterId) -> Option<&Master> {
        self.masters.get(&id.label).filter(|master| master.number == id.number)
    }

    fn master_mut(&mut self, id: &MasterId) -> Option<&mut Master> {
        self.masters.get_mut(&id.label).filter(|master| master.number == id.number)
    }

    /// The masters, if anything is watched.
    pub(super) fn wanted_masters(&self) -> Vec<MasterId> {
        if self.closed || self.refused || self.namespaces.is_empty() {
            return Vec::new();
        }
        let id = |(label, master): (&Arc<str>, &Master)| MasterId {
            label: Arc::clone(label),
            number: master.number,
        };
        self.masters.iter().map(id).collect()
    }

    /// The namespaces that are watched.
    pub(super) fn wanted(&self) -> HashSet<String> {
        if self.refused { HashSet::new() } else { self.namespaces.keys().cloned().collect() }
    }

    /// The lock to be held while this master is asked for more.
    pub(super) fn requesting(&self, master: &MasterId) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.master(master).map(|master| Arc::clone(&master.requesting))
    }

    /// Where to connect to this master, if there is no node yet.
    pub(super) fn unconnected(&self, master: &MasterId) -> Option<Target> {
        let wanted = !self.closed && !self.refused && !self.namespaces.is_empty();
        let master = self.master(master).filter(|master| wanted && master.node.is_none())?;
        Some(master.target.clone())
    }

    /// Keeps the node of this master; hands it back if it is not wanted any more.
    pub(super) fn keep(&mut self, master: &MasterId, node: Arc<Node>) -> Result<(), Arc<Node>> {
        let wanted = !self.closed && !self.refused;
        match self.master_mut(master) {
            Some(master) if wanted && master.node.is_none() => {
                master.node = Some(node);
                Ok(())
            }
            _ => Err(node),
        }
    }

    /// The connection in use, and the namespaces that it has not been asked for yet, if there are any.
    pub(super) fn missing(&self, master: &MasterId) -> Option<(Arc<Node>, u64, HashSet<String>)> {
        let master = self.master(master)?;
        let (node, live) = (master.node.clone()?, master.live?);
        let missing: HashSet<_> = self.wanted().difference(&master.subscribed).cloned().collect();
        (!missing.is_empty()).then_some((node, live, missing))
    }

    /// On a connection that is being made the server will send the invalidations of these.
    pub(super) fn preparing(&mut self, master: &MasterId, connection: u64, namespaces: HashSet<String>) {
        if let Some(master) = self.master_mut(master) {
            master.preparing = Some((connection, namespaces));
        }
    }

    /// That connection is in use from now on.
    pub(super) fn ready(&mut self, master: &MasterId, connection: u64) {
        if let Some(master) = self.master_mut(master)
            && let Some((_, namespaces)) = master.preparing.take().filter(|(made, _)| *made == connection)
        {
            (master.live, master.subscribed) = (Some(connection), namespaces);
        }
        self.notify();
    }

    /// On the connection in use the server sends the invalidations of these too.
    pub(super) fn subscribed(&mut self, master: &MasterId, connection: u64, namespaces: HashSet<String>) {
        if let Some(master) = self.master_mut(master).filter(|master| master.live == Some(connection)) {
            master.subscribed.extend(namespaces);
        }
        self.notify();
    }

    /// The connection is not in use any more.
    pub(super) fn lost(&mut self, master: &MasterId, connection: u64) {
        if let Some(master) = self.master_mut(master).filter(|master| master.live == Some(connection)) {
            master.live = None;
            master.subscribed.clear();
        }
        self.notify();
    }

    /// A server refuses; answers the nodes that are no longer needed, unless one has refused before.
    pub(super) fn refuse(&mut self) -> Option<Vec<Arc<Node>>> {
        if std::mem::replace(&mut self.refused, true) {
            return None;
        }
        self.notify();
        Some(self.take_nodes())
    }

    /// The servers are asked once more.
    pub(super) fn try_again(&mut self) {
        self.refused = false;
    }

    /// Nobody is notified any more; answers what is to be dropped without the lock.
    pub(super) fn close(&mut self) -> (Vec<Arc<Node>>, Vec<Arc<dyn Watcher>>) {
        self.closed = true;
        self.notify();
        let watched = std::mem::take(&mut self.namespaces).into_values();
        (self.take_nodes(), watched.flat_map(Watched::into_watchers).collect())
    }

    /// The nodes.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        self.masters.values().filter_map(|master| master.node.clone()).collect()
    }

    fn take_nodes(&mut self) -> Vec<Arc<Node>> {
        let mut nodes = Vec::new();
        for master in std::mem::take(&mut self.masters).into_values() {
            self.add_master(master.target, master.shard);
            nodes.extend(master.node);
        }
        nodes
    }
}

impl Master {
    fn new(number: u64, target: Target, shard: Shard) -> Self {
        Self {
            number,
            target,
            shard,
            node: None,
            live: None,
            subscribed: HashSet::new(),
            preparing: None,
            requesting: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests;
