//! What a sequence is made of.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use stanchion::time::Ttl;

use super::{cache, event, limit, lock, session, token};

/// One operation, and who does it.
#[derive(Debug, Clone)]
pub struct Step {
    /// The number of the handle, modulo how many there are.
    pub handle: usize,
    /// What is done.
    pub operation: Operation,
}

/// One operation of any store.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the areas of the library")]
pub enum Operation {
    Cache(cache::Operation),
    Session(session::Operation),
    Token(token::Operation),
    Limit(limit::Operation),
    Lock(lock::Operation),
    Event(event::Operation),
}

/// Sequences of up to `most` steps.
pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let operation = prop_oneof![
        6 => cache::operation().prop_map(Operation::Cache),
        6 => session::operation().prop_map(Operation::Session),
        4 => token::operation().prop_map(Operation::Token),
        3 => limit::operation().prop_map(Operation::Limit),
        4 => lock::operation().prop_map(Operation::Lock),
        2 => event::operation().prop_map(Operation::Event),
    ];
    let step = (0..2_usize, operation).prop_map(|(handle, operation)| Step { handle, operation });
    // One area alone collides more often than all of them together.
    let areas = [
        cache::operation().prop_map(Operation::Cache).boxed(),
        session::operation().prop_map(Operation::Session).boxed(),
        token::operation().prop_map(Operation::Token).boxed(),
        limit::operation().prop_map(Operation::Limit).boxed(),
        lock::operation().prop_map(Operation::Lock).boxed(),
    ];
    let alone = select(areas.to_vec()).prop_flat_map(move |area| {
        let step = (0..2_usize, area).prop_map(|(handle, operation)| Step { handle, operation });
        prop::collection::vec(step, 1..=most)
    });
    prop_oneof![prop::collection::vec(step, 1..=most), alone]
}

/// A life that no sequence outlasts, in hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours(u64);

impl Hours {
    pub(super) const ONE: Self = Self(1);

    /// One, two or 24 of them.
    pub(super) fn any() -> impl Strategy<Value = Self> + Clone {
        select(vec![Self::ONE, Self(2), Self(24)])
    }

    /// As a time to live.
    pub(super) fn ttl(self) -> Ttl {
        // Never zero.
        Ttl::new(Duration::from_hours(self.0)).unwrap_or(Ttl::MAX)
    }
}
