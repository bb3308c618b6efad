//! When connections were given up because another server answers at their address.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stanchion::time::Monotonic;

use super::address::Address;

/// Of one address not more often than this: a server may send its clients in circles.
const EVERY: Duration = Duration::from_secs(1);

/// When a connection was last given up, by address.
#[derive(Debug, Default)]
pub(super) struct Renewals(Mutex<HashMap<Address, Monotonic>>);

impl Renewals {
    /// Whether it may be given up now.
    pub(super) fn begin(&self, address: &Address, now: Monotonic) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, at| now.saturating_since(*at) < EVERY);
        if last.contains_key(address) {
            return false;
        }
        last.insert(address.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_renewed_once_in_a_while() {
        let renewals = Renewals::default();
        let (a, b) = (("a".to_owned(), 1), ("b".to_owned(), 1));
        let at = |ms| Monotonic::from_origin(Duration::from_millis(ms));
        assert!(renewals.begin(&a, at(0)) && renewals.begin(&b, at(1)));
        assert!(!renewals.begin(&a, at(999)));
        assert!(renewals.begin(&a, at(1_000)));
        assert!(!renewals.begin(&b, at(1_000)) && renewals.begin(&b, at(1_001)));
    }
}
