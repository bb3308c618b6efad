//! Which cached entries were used least recently, and how many bytes there are. Only kept if there is a bound.

use std::collections::{BTreeMap, HashMap};

use stanchion::key::Key;

#[derive(Debug)]
pub(super) struct Recency {
    max_bytes: usize,
    bytes: usize,
    entries: HashMap<Key, (u64, usize)>,
    by_use: BTreeMap<u64, Key>,
    next: u64,
}

impl Recency {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: 0, entries: HashMap::new(), by_use: BTreeMap::new(), next: 0 }
    }

    /// The entry is used now.
    pub(super) fn used(&mut self, key: &Key) {
        if let Some((used, _)) = self.entries.get_mut(key) {
            self.next += 1;
            if let Some(key) = self.by_use.remove(used) {
                self.by_use.insert(self.next, key);
            }
            *used = self.next;
        }
    }

    /// The entry holds this many bytes now; answers the keys that are evicted.
    pub(super) fn stored(&mut self, key: &Key, value_bytes: usize) -> Vec<Key> {
        self.removed(key);
        let weight = key.as_str().len() + value_bytes;
        if weight > self.max_bytes {
            return vec![key.clone()];
        }
        self.next += 1;
        self.entries.insert(key.clone(), (self.next, weight));
        self.by_use.insert(self.next, key.clone());
        self.bytes += weight;
        let mut evicted = Vec::new();
        while self.bytes > self.max_bytes
            && let Some((_, oldest)) = self.by_use.first_key_value()
        {
            let oldest = oldest.clone();
            self.removed(&oldest);
            evicted.push(oldest);
        }
        evicted
    }

    /// The entry is gone.
    pub(super) fn removed(&mut self, key: &Key) {
        if let Some((used, weight)) = self.entries.remove(key) {
            self.by_use.remove(&used);
            self.bytes -= weight;
        }
    }
}
