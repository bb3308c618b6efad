//! The optional parts of a cache store: which cases need which, and what is demanded where one is absent.

use std::convert::Infallible;

use stanchion::ErrorKind;
use stanchion::cache::{CacheParts, Tag};
use stanchion::stores::Stores;

use crate::Outcome;
use crate::cases::cache::near_engine;
use crate::check::{ensure, refused, same};

/// An optional part of a cache store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// [`CacheStore::leases`](stanchion::cache::CacheStore::leases).
    Leases,
    /// [`CacheStore::tags`](stanchion::cache::CacheStore::tags).
    Tags,
    /// [`CacheStore::feed`](stanchion::cache::CacheStore::feed).
    Feed,
    /// [`CacheStore::counters`](stanchion::cache::CacheStore::counters).
    Counters,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::Leases, Self::Tags, Self::Feed, Self::Counters];

    /// How the part stands in the ids of its cases.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leases => "leases",
            Self::Tags => "tags",
            Self::Feed => "feed",
            Self::Counters => "counters",
        }
    }

    /// Whether it is among these.
    pub const fn is_in(self, parts: CacheParts) -> bool {
        match self {
            Self::Leases => parts.leases,
            Self::Tags => parts.tags,
            Self::Feed => parts.feed,
            Self::Counters => parts.counters,
        }
    }
}

/// What the cases of the cache need, by their groups or names. A case that is not here runs on every cache, and asks of
/// optional parts only those that are there.
const NEEDS: &[(&str, &[Part])] = &[
    ("lease::", &[Part::Leases]),
    ("fill::", &[Part::Leases]),
    ("void::by_addition", &[Part::Leases, Part::Counters]),
    ("void::not_by_what_stores_nothing", &[Part::Leases, Part::Counters]),
    ("void::", &[Part::Leases]),
    ("abandon::", &[Part::Leases]),
    ("failed::", &[Part::Leases]),
    ("load::", &[Part::Leases]),
    ("isolation::places_of_leases", &[Part::Leases]),
    ("process::one_lease_holder", &[Part::Leases]),
    ("generation::", &[Part::Tags]),
    ("isolation::places_of_generations", &[Part::Tags]),
    ("watch::releases", &[Part::Feed, Part::Leases]),
    ("watch::bumps", &[Part::Feed, Part::Tags]),
    ("watch::", &[Part::Feed]),
    ("near::", &[Part::Feed]),
    ("isolation::places_of_watches", &[Part::Feed]),
    ("counter::", &[Part::Counters]),
    ("wall_clock::generations", &[Part::Tags]),
    ("process::no_addition_is_lost", &[Part::Counters]),
];

/// The parts without which a case of the cache means nothing.
pub(crate) fn needs(case: &str) -> &'static [Part] {
    let of = |(group, _): &&(&str, &[Part])| case.starts_with(group);
    NEEDS.iter().find(of).map_or(&[], |(_, parts)| parts)
}

/// Whether a backend has every part that a case of the cache needs.
pub(crate) fn is_offered(parts: CacheParts, case: &str) -> bool {
    needs(case).iter().all(|part| part.is_in(parts))
}

/// What a façade does without a part: as the contract of [`CacheStore`](stanchion::cache::CacheStore) says.
pub(crate) async fn without(part: Part, stores: &Stores) -> Outcome {
    let parts = CacheParts::of(&*stores.cache_store()?);
    ensure(!part.is_in(parts), &format!("no {}, as declared", part.name()), parts)?;
    match part {
        Part::Leases => {
            let cache = stores.cache::<u32>("number").build()?;
            let loaded = cache.get_or_load(1_u32, || async { Ok::<_, Infallible>(7) }).await;
            same(loaded.ok().as_deref(), Some(&7), "a value that is loaded without a lease")?;
            same(cache.get(1_u32).await?.as_deref(), Some(&7), "that value, stored")?;
            cache.set(2_u32, &1).await?;
            let found = cache.get_or_load(2_u32, || async { Ok::<_, Infallible>(7) }).await;
            same(found.ok().as_deref(), Some(&1), "a value that is there, and not loaded")
        }
        Part::Tags => {
            let cache = stores.cache::<u32>("number").build()?;
            let tagged = stores.cache::<u32>("number").tags(|_| Vec::new()).build();
            refused(tagged.map(drop), ErrorKind::Unsupported, "a cache with tags")?;
            refused(cache.clear().await, ErrorKind::Unsupported, "clearing without tags")?;
            let dropped = cache.invalidate_tag(&Tag::new("team")?).await;
            refused(dropped, ErrorKind::Unsupported, "invalidating a tag without tags")
        }
        Part::Feed => {
            let near = stores.cache::<u32>("number").near(near_engine()).build();
            refused(near.map(drop), ErrorKind::Unsupported, "a near cache without a feed")
        }
        Part::Counters => {
            let counters = stores.counters("hits").build();
            refused(counters.map(drop), ErrorKind::Unsupported, "counters")
        }
    }
}
