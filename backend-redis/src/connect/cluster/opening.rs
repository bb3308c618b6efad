//! Who connects to a node that a redirect named.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::address::Address;

/// Of so many addresses each has a lock of its own; further ones share one. Redirects name few, unless they are nonsense.
const MOST: usize = 256;

/// A lock for each address that is being connected to, so that one which hangs delays nobody who was redirected elsewhere.
#[derive(Debug, Default)]
pub(super) struct Opening {
    turns: Mutex<HashMap<Address, Weak<tokio::sync::Mutex<()>>>>,
    shared: Arc<tokio::sync::Mutex<()>>,
}

impl Opening {
    /// The lock of this address, to be held while it is connected to. It is forgotten when nobody has it any more.
    pub(super) fn turn(&self, address: &Address) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(address).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        if turns.len() >= MOST {
            return Arc::clone(&self.shared);
        }
        let turn = Arc::default();
        turns.insert(address.clone(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        ("host".to_owned(), port)
    }

    #[test]
    fn each_address_has_a_lock_of_its_own_until_nobody_has_it() {
        let opening = Opening::default();
        let (one, same, other) =
            (opening.turn(&address(1)), opening.turn(&address(1)), opening.turn(&address(2)));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        drop((one, same));
        let _third = opening.turn(&address(3));
        let known = opening.turns.lock().unwrap().len();
        assert_eq!(known, 2, "the first is forgotten");
    }

    #[test]
    fn of_too_many_addresses_some_share_one() {
        let opening = Opening::default();
        let turns: Vec<_> = (0..300).map(|port| opening.turn(&address(port))).collect();
        assert_eq!(opening.turns.lock().unwrap().len(), MOST);
        assert!(Arc::ptr_eq(&turns[MOST], &turns[299]) && !Arc::ptr_eq(&turns[MOST], &turns[0]));
        assert!(Arc::ptr_eq(&turns[7], &opening.turn(&address(7))));
        drop(turns);
        assert!(!Arc::ptr_eq(&opening.turn(&address(299)), &opening.shared), "there is room again");
    }
}
