//! What a sequence is made of.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;
use stanchion::time::Ttl;

use super::{cache, event, limit, lock, session, token};
use crate::{Area, Offers};

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

/// Sequences of up to `most` steps in the areas that are offered; `None` if there are none.
pub fn steps(most: usize, offers: Offers) -> Option<impl Strategy<Value = Vec<Step>>> {
    let step = |operation: BoxedStrategy<Operation>| {
        (0..2_usize, operation).prop_map(|(handle, operation)| Step { handle, operation })
    };
    let areas = areas(offers);
    if areas.is_empty() {
        return None;
    }
    let mixed = areas.iter().map(|(weight, area)| (*weight, area.operation.clone())).collect();
    let mixed = prop::collection::vec(step(Union::new_weighted(mixed).boxed()), 1..=most);
    // One area alone collides more often than all of them together. Events alone wait, and find little.
    let alone = areas.iter().filter(|(_, area)| area.alone || areas.len() == 1);
    let alone = select(alone.map(|(_, area)| area.operation.clone()).collect::<Vec<_>>())
        .prop_flat_map(move |area| prop::collection::vec(step(area), 1..=most));
    Some(prop_oneof![mixed, alone])
}

/// The operations of one area.
struct Operations {
    operation: BoxedStrategy<Operation>,
    /// Whether there are sequences of nothing else, where there are others.
    alone: bool,
}

/// How often each area is in a sequence, beside the others.
fn areas(offers: Offers) -> Vec<(u32, Operations)> {
    let of = |operation: BoxedStrategy<Operation>| Operations { operation, alone: true };
    let events =
        Operations { operation: event::operation().prop_map(Operation::Event).boxed(), alone: false };
    let all = [
        (
            Area::Cache,
            6,
            of(cache::operation(offers.cache_parts.counters).prop_map(Operation::Cache).boxed()),
        ),
        (Area::Session, 6, of(session::operation().prop_map(Operation::Session).boxed())),
        (Area::Token, 4, of(token::operation().prop_map(Operation::Token).boxed())),
        (Area::Limit, 3, of(limit::operation().prop_map(Operation::Limit).boxed())),
        (Area::Lock, 4, of(lock::operation().prop_map(Operation::Lock).boxed())),
        (Area::Event, 2, events),
    ];
    let offered = all.into_iter().filter(|(area, _, _)| offers.has(*area));
    offered.map(|(_, weight, operations)| (weight, operations)).collect()
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

    /// None, one, two or 24 of them.
    pub(super) fn none_or_any() -> impl Strategy<Value = Self> + Clone {
        select(vec![Self(0), Self::ONE, Self(2), Self(24)])
    }

    /// As a duration.
    pub(super) fn duration(self) -> Duration {
        Duration::from_hours(self.0)
    }

    /// As a time to live.
    pub(super) fn ttl(self) -> Ttl {
        // Never zero.
        Ttl::new(Duration::from_hours(self.0)).unwrap_or(Ttl::MAX)
    }
}
