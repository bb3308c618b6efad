//! A table with a bound, of entries that end: what strangers can fill, and must not make slow.

use std::collections::{BTreeMap, HashMap};

use crate::key::Key;
use crate::time::Monotonic;

/// At most so many entries. Whoever comes while it is full looks at one entry, the one that ends first, and never at all of them.
pub(super) struct Bounded<V> {
    most: usize,
    entries: HashMap<Key, Entry<V>>,
    /// Every entry once, by its end and then by a number that is never used again.
    by_end: BTreeMap<(Monotonic, u64), Key>,
    next: u64,
    /// How many entries were looked at to make room.
    #[cfg(test)]
    looked_at: usize,
}

struct Entry<V> {
    value: V,
    end: (Monotonic, u64),
}

impl<V> Bounded<V> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            entries: HashMap::new(),
            by_end: BTreeMap::new(),
            next: 0,
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// The entry of a key, also one that has ended, if it was not cleared away.
    pub(super) fn get(&self, key: &Key) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.by_end.remove(&entry.end);
        Some(entry.value)
    }

    /// Whether there is an entry of this key, or a place for one. What has ended makes room.
    pub(super) fn has_room(&mut self, key: &Key, now: Monotonic) -> bool {
        if self.entries.len() < self.most || self.entries.contains_key(key) {
            return true;
        }
        let Some(first) = self.by_end.first_entry() else { return false };
        #[cfg(test)]
        {
            self.looked_at += 1;
        }
        if first.key().0 > now {
            return false;
        }
        let ended = first.remove();
        self.entries.remove(&ended);
        true
    }

    /// Puts an entry in, in place of the one that the key has; whether there was room for it.
    pub(super) fn put(&mut self, key: &Key, value: V, end: Monotonic, now: Monotonic) -> bool {
        if !self.has_room(key, now) {
            return false;
        }
        self.remove(key);
        self.next += 1;
        let end = (end, self.next);
        self.by_end.insert(end, key.clone());
        self.entries.insert(key.clone(), Entry { value, end });
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(secs))
    }

    fn key(n: u64) -> Key {
        Key::new("rate_limit", "login", n).unwrap()
    }

    #[test]
    fn a_full_table_costs_a_stranger_one_look() {
        let mut table = Bounded::new(1_000);
        for n in 0..1_000 {
            // In no order of their ends.
            assert!(table.put(&key(n), n, at(1_000 + n * 7 % 1_000), at(0)));
        }
        for stranger in 1_000..3_000 {
            assert!(!table.put(&key(stranger), stranger, at(5_000), at(999)));
        }
        assert!(table.looked_at <= 2_000, "{} entries looked at by 2,000 strangers", table.looked_at);
        // One ends each second: its place is the next one's, and the others are not looked at.
        table.looked_at = 0;
        for second in 0..1_000 {
            assert!(table.put(&key(3_000 + second), second, at(5_000), at(1_000 + second)));
            assert!(!table.put(&key(9_000 + second), second, at(5_000), at(1_000 + second)));
        }
        assert!(table.looked_at <= 2_000, "{} entries looked at by 2,000 strangers", table.looked_at);
        assert_eq!((table.entries.len(), table.by_end.len()), (1_000, 1_000));
    }

    #[test]
    fn an_entry_that_is_put_again_ends_later() {
        let mut table = Bounded::new(1);
        assert!(table.put(&key(1), "a", at(10), at(0)));
        assert!(table.put(&key(1), "b", at(20), at(5)), "a key that is there needs no room");
        assert!(!table.put(&key(2), "c", at(30), at(19)));
        assert_eq!(table.get(&key(1)), Some(&"b"));
        assert!(table.put(&key(2), "c", at(30), at(20)));
        assert_eq!(table.get(&key(1)), None);
        assert_eq!(table.remove(&key(2)), Some("c"));
        assert_eq!((table.entries.len(), table.by_end.len()), (0, 0));
        assert!(!Bounded::new(0).put(&key(1), "a", at(10), at(0)));
    }
}
