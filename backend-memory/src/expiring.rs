//! A map whose entries expire, for any number of entries that are never looked up again.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use stanchion::time::Monotonic;

/// How many expired entries each change clears away. More than one, so that they never outgrow the live ones.
pub(crate) const PURGED_AT_ONCE: usize = 8;

#[derive(Debug)]
pub(crate) struct Expiring<K, V> {
    entries: HashMap<K, Entry<V>>,
    // Every entry once, by deadline and then by a number that is never used again.
    by_deadline: BTreeMap<(Monotonic, u64), K>,
    next: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    deadline: Monotonic,
    number: u64,
}

impl<K, V> Default for Expiring<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), by_deadline: BTreeMap::new(), next: 0 }
    }
}

impl<K: Clone + Eq + Hash, V> Expiring<K, V> {
    /// The live value.
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Monotonic) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).filter(|entry| entry.deadline > now).map(|entry| &entry.value)
    }

    /// The live value, to be changed in place.
    pub(crate) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q, now: Monotonic) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.entries.get_mut(key).filter(|entry| entry.deadline > now).map(|entry| &mut entry.value)
    }

    /// When the live entry expires.
    pub(crate) fn deadline<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Monotonic) -> Option<Monotonic>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|entry| entry.deadline).filter(|deadline| *deadline > now)
    }

    /// Puts a value in; answers the one it replaces, also if that had expired and was not cleared away yet.
    pub(crate) fn insert(&mut self, key: K, value: V, deadline: Monotonic) -> Option<V> {
        self.next += 1;
        let number = self.next;
        self.by_deadline.insert((deadline, number), key.clone());
        let old = self.entries.insert(key, Entry { value, deadline, number })?;
        self.by_deadline.remove(&(old.deadline, old.number));
        Some(old.value)
    }

    /// Moves the deadline of a live entry; `false` if there is none.
    pub(crate) fn extend<Q: Eq + Hash + ?Sized>(
        &mut self,
        key: &Q,
        deadline: Monotonic,
        now: Monotonic,
    ) -> bool
    where
        K: Borrow<Q>,
    {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.deadline > now) else {
            return false;
        };
        if let Some(owned) = self.by_deadline.remove(&(entry.deadline, entry.number)) {
            self.by_deadline.insert((deadline, entry.number), owned);
        }
        entry.deadline = deadline;
        true
    }

    /// Takes an entry out; answers the value if it was live.
    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q, now: Monotonic) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.remove(key)?;
        self.by_deadline.remove(&(entry.deadline, entry.number));
        (entry.deadline > now).then_some(entry.value)
    }

    /// Clears away a few expired entries, and answers them. Called with every operation that may
    /// add one, so that there are never many more than were live at once.
    pub(crate) fn purge(&mut self, now: Monotonic) -> Vec<(K, V)> {
        let ended = self.purge_some(now, PURGED_AT_ONCE);
        ended.into_iter().map(|(key, value, _)| (key, value)).collect()
    }

    /// Clears away so many expired entries at most, and answers them and when they expired.
    pub(crate) fn purge_some(&mut self, now: Monotonic, most: usize) -> Vec<(K, V, Monotonic)> {
        let mut ended = Vec::new();
        while ended.len() < most
            && let Some(first) = self.by_deadline.first_entry()
            && first.key().0 <= now
        {
            let key = first.remove();
            if let Some(entry) = self.entries.remove(&key) {
                ended.push((key, entry.value, entry.deadline));
            }
        }
        ended
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(secs))
    }

    #[test]
    fn an_entry_expires_at_its_deadline_and_not_before() {
        let mut map = Expiring::default();
        map.insert("a", 1, at(10));
        assert_eq!(map.get("a", at(9)), Some(&1));
        assert_eq!(map.get("a", at(10)), None);
        assert!(!map.extend("a", at(20), at(10)));
        assert_eq!(map.remove("a", at(10)), None);
        map.insert("a", 2, at(10));
        assert_eq!(map.insert("a", 3, at(10)), Some(2));
        assert!(map.extend("a", at(20), at(9)));
        assert_eq!(map.remove("a", at(19)), Some(3));
        assert!(map.by_deadline.is_empty());
    }

    #[test]
    fn expired_entries_do_not_pile_up() {
        let mut map = Expiring::default();
        for n in 0..10_000_u64 {
            map.purge(at(n));
            map.insert(n, (), at(n + 10));
        }
        assert!(map.len() < 30, "{} entries", map.len());
        assert_eq!(map.by_deadline.len(), map.len());
    }
}
