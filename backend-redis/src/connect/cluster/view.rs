//! What one node says of the Cluster.
//!
//! `CLUSTER SLOTS` says at which address clients reach the master of each slot; `CLUSTER NODES` says how new that is, and which
//! nodes the one that replies can't reach. Either names nodes by their ids.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use redis::Value;

use super::address::{Address, NodeId, SLOTS};
use crate::reply::{array, count, text};

/// The replies of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// The node that replied, where that is known.
    pub(super) me: Option<NodeId>,
    pub(super) claims: Vec<Claim>,
    // All nodes that it knows; none where `CLUSTER NODES` is refused.
    nodes: HashMap<NodeId, Known>,
}

/// A range of slots, and who serves it in the opinion of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) owner: NodeId,
    pub(super) address: Address,
    /// The configuration epoch of the owner: where two claim a slot the greater one has it. 0 where it is not known.
    pub(super) epoch: u64,
}

/// What one node knows of another, or of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    epoch: u64,
    /// It is a master and has slots.
    serves: bool,
    reach: Reach,
    has_address: bool,
}

/// Whether a node can be reached, as another one says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Reached,
    /// It does not reply to the node that says so.
    Suspected,
    /// Most masters say the same.
    Failed,
}

impl View {
    /// Reads the two replies; an empty host is that of the node that replied. `None` for slots of an unknown form; nodes of one,
    /// or none at all, are a view without epochs.
    pub(super) fn read(slots: Value, nodes: Option<Value>, host: &str) -> Option<Self> {
        let mut claims = claims(slots, host)?;
        let (me, nodes) = nodes.and_then(text).and_then(|lines| read_nodes(&lines)).unwrap_or_default();
        // A node without an address is one that can't be reached.
        claims.retain(|claim| nodes.get(&claim.owner).is_none_or(|known| known.has_address));
        for claim in &mut claims {
            claim.epoch = nodes.get(&claim.owner).map_or(0, |known| known.epoch);
        }
        Some(Self { me, claims, nodes })
    }

    /// The node can't reach most masters: what it says may be old, and what is published there reaches few.
    pub(super) fn is_cut_off(&self) -> bool {
        let masters = || self.nodes.values().filter(|known| known.serves);
        let reached = masters().filter(|known| known.reach == Reach::Reached).count();
        !self.nodes.is_empty() && reached < masters().count() / 2 + 1
    }

    /// Whether that node has failed, if it is known.
    pub(super) fn has_failed(&self, id: &NodeId) -> Option<bool> {
        self.nodes.get(id).map(|known| known.reach == Reach::Failed)
    }

    /// Whether it speaks of any of these.
    pub(super) fn knows_one_of(&self, ids: &HashSet<&NodeId>) -> bool {
        self.ids().iter().any(|id| ids.contains(*id))
    }

    /// All that it speaks of.
    pub(super) fn ids(&self) -> HashSet<&NodeId> {
        self.nodes.keys().chain(self.claims.iter().map(|claim| &claim.owner)).collect()
    }

    /// Which claim there is to each slot.
    pub(super) fn by_slot(&self) -> Vec<Option<&Claim>> {
        let mut slots = vec![None; SLOTS];
        for claim in &self.claims {
            let range = slots.iter_mut().take(usize::from(claim.last) + 1).skip(usize::from(claim.first));
            range.for_each(|slot| *slot = Some(claim));
        }
        slots
    }
}

/// The ranges of `CLUSTER SLOTS`: first and last slot, the master, and its replicas.
fn claims(slots: Value, host: &str) -> Option<Vec<Claim>> {
    let ranges = array(slots)?.into_iter().map(|range| {
        let mut parts = array(range)?.into_iter();
        let first = u16::try_from(count(parts.next()?)?).ok()?;
        let last = u16::try_from(count(parts.next()?)?).ok().filter(|last| usize::from(*last) < SLOTS)?;
        let mut master = array(parts.next()?)?.into_iter();
        let named = match master.next()? {
            Value::Nil => String::new(),
            named => text(named)?,
        };
        let port = u16::try_from(count(master.next()?)?).ok()?;
        let named = if named.is_empty() || named == "?" { host.to_owned() } else { named };
        // Every version that is supported names the node; what only resembles one may not.
        let owner = master.next().and_then(text).unwrap_or_else(|| format!("{named}:{port}"));
        Some(Claim { first, last, owner: owner.into(), address: (named, port), epoch: 0 })
    });
    ranges.collect()
}

/// The lines of `CLUSTER NODES`, and which of them is the node that replied.
fn read_nodes(lines: &str) -> Option<(Option<NodeId>, HashMap<NodeId, Known>)> {
    let (mut me, mut nodes) = (None, HashMap::new());
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let id: NodeId = words.next()?.into();
        let (_address, flags) = (words.next()?, words.next()?);
        let is = |wanted: &str| flags.split(',').any(|flag| flag == wanted);
        // Its master, and when it was pinged and replied, come before, the state of the link and its slots after the epoch.
        let epoch = words.nth(3)?.parse().ok()?;
        // In brackets: a slot that is being moved, which is served where it was.
        let has_slots = words.skip(1).any(|word| !word.is_empty() && !word.starts_with('['));
        let reach = match (is("fail"), is("fail?")) {
            (true, _) => Reach::Failed,
            (_, true) => Reach::Suspected,
            _ => Reach::Reached,
        };
        let known = Known { epoch, serves: is("master") && has_slots, reach, has_address: !is("noaddr") };
        if is("myself") {
            me = Some(Arc::clone(&id));
        }
        nodes.insert(id, known);
    }
    Some((me, nodes))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    /// A line of `CLUSTER SLOTS`.
    pub(in super::super) fn range(first: i64, last: i64, host: Value, port: i64, id: &str) -> Value {
        let replica =
            Value::Array(vec![bulk("10.0.0.99"), Value::Int(1), bulk("replica"), Value::Array(Vec::new())]);
        let master = Value::Array(vec![host, Value::Int(port), bulk(id), Value::Array(Vec::new())]);
        Value::Array(vec![Value::Int(first), Value::Int(last), master, replica])
    }

    /// A node's view in which the masters are these: id, flags, epoch, first and last slot. Their ports are 7000 and on.
    pub(in super::super) fn view(me: &str, masters: &[(&str, &str, u64, u16, u16)]) -> View {
        let (mut slots, mut nodes) = (Vec::new(), String::new());
        for (at, (id, flags, epoch, first, last)) in masters.iter().enumerate() {
            let port = 7_000 + i64::try_from(at).unwrap();
            slots.push(range((*first).into(), (*last).into(), bulk("host"), port, id));
            let myself = if *id == me { "myself," } else { "" };
            let line =
                format!("{id} host:{port}@1{port} {myself}{flags} - 0 0 {epoch} connected {first}-{last}\n");
            nodes.push_str(&line);
        }
        View::read(Value::Array(slots), Some(bulk(&nodes)), "replied").unwrap()
    }

    #[test]
    fn addresses_are_those_for_clients_and_ids_tell_how_new_they_are() {
        let slots = Value::Array(vec![
            range(0, 99, bulk("a.example"), 7_000, "a"),
            range(100, 199, Value::Nil, 7_001, "b"),
            range(200, 200, bulk("?"), 7_002, "c"),
            range(201, 300, bulk("gone"), 7_003, "d"),
        ]);
        let nodes = "a 10.0.0.1:7000@17000,a.example,tls-port=1 myself,master - 0 0 7 connected 0-99\n\
             b 10.0.0.2:7001@17001,,shard-id=x master - 0 1 9 connected 100-199 [5-<-a]\n\
             c :7002@17002 master,nofailover - 0 1 3 disconnected 200\n\
             r 10.0.0.9:1@2 slave a 0 1 7 connected\n\
             d :0@0 master,fail,noaddr - 0 1 4 disconnected 201-300\n";
        let verbatim = Value::VerbatimString { format: redis::VerbatimFormat::Text, text: nodes.to_owned() };
        let view = View::read(slots, Some(verbatim), "replied").unwrap();
        assert_eq!(view.me.as_deref(), Some("a"));
        let read: Vec<_> =
            view.claims.iter().map(|c| (c.first, c.last, &*c.owner, &*c.address.0, c.epoch)).collect();
        let expected =
            [(0, 99, "a", "a.example", 7), (100, 199, "b", "replied", 9), (200, 200, "c", "replied", 3)];
        assert_eq!(read, expected, "and what has no address is nobody's");
        assert_eq!([view.has_failed(&"d".into()), view.has_failed(&"x".into())], [Some(true), None]);
        assert_eq!(view.by_slot().iter().flatten().count(), 201);
    }

    #[test]
    fn without_the_nodes_there_are_no_epochs() {
        let slots = || Value::Array(vec![range(0, 16_383, bulk("h"), 7_000, "a")]);
        for nodes in
            [None, Some(Value::Int(1)), Some(bulk("a short line")), Some(bulk("a h:1@2 master - 0 0 x c"))]
        {
            let view = View::read(slots(), nodes, "h").unwrap();
            assert_eq!((view.me.clone(), view.claims[0].epoch, view.is_cut_off()), (None, 0, false));
        }
        // Without ids either the address takes their place.
        let master = Value::Array(vec![bulk("h"), Value::Int(7_000)]);
        let range = Value::Array(vec![Value::Int(0), Value::Int(1), master]);
        let view = View::read(Value::Array(vec![range]), None, "h").unwrap();
        assert_eq!(&*view.claims[0].owner, "h:7000");
    }

    #[test]
    fn slots_of_an_unknown_form_are_none() {
        let beyond = range(0, 16_384, bulk("h"), 1, "a");
        let before = range(-1, 5, bulk("h"), 1, "a");
        let port = range(0, 5, bulk("h"), -7, "a");
        for bad in [beyond, before, port, Value::Int(1), Value::Array(Vec::new())] {
            assert_eq!(View::read(Value::Array(vec![bad.clone()]), None, "h"), None, "{bad:?}");
        }
        assert_eq!(View::read(Value::Int(1), None, "h"), None);
    }

    #[test]
    fn a_node_that_reaches_less_than_most_masters_is_cut_off() {
        let of = |flags: [&str; 3]| {
            let [a, b, c] = flags;
            view("a", &[("a", a, 1, 0, 1), ("b", b, 2, 2, 3), ("c", c, 3, 4, 5)]).is_cut_off()
        };
        assert!(!of(["master", "master", "master"]));
        assert!(!of(["master", "master,fail?", "master"]));
        assert!(of(["master", "master,fail?", "master,fail"]));
        // A replica, and a master without slots, have no voice.
        let nodes = "a h:1@2 myself,master - 0 0 1 connected 0-5\nb h:2@3 master,fail - 0 0 2 connected\n\
             c h:3@4 slave,fail? a 0 0 1 connected\n";
        let slots = Value::Array(vec![range(0, 5, bulk("h"), 1, "a")]);
        assert!(!View::read(slots, Some(bulk(nodes)), "h").unwrap().is_cut_off());
    }
}
