//! The part of a session store that keeps what is to be published.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::{OutboxId, OutboxPage, OutboxPosition, PublisherId, ReapCursor, Reaped};
use crate::error::{Error, Result};
use crate::key::Name;
use crate::session::SessionId;
use crate::time::Ttl;

/// The bounds of the outboxes of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxBounds {
    /// For how long news are kept while nobody publishes them, and what is known of a session is kept after its deadline.
    pub retention: Duration,
    /// The most entries of one outbox; more than [`max_page`](Self::max_page). What comes while it is full is not kept, and
    /// [counted](super::OutboxItem::Lost) in one entry more, the last. So that entry is in no page while its count grows: whoever
    /// reads a page publishes a count that is final.
    pub max_entries: u64,
    /// The most entries of one page, and the most sessions that one call reaps.
    pub max_page: usize,
}

impl OutboxBounds {
    /// News are kept for 7 days, 10,000 in each outbox; 1,000 a page.
    pub const fn new() -> Self {
        Self { retention: Duration::from_hours(7 * 24), max_entries: 10_000, max_page: 1_000 }
    }

    /// Refuses a limit of zero or over [`max_page`](Self::max_page).
    pub fn check(&self, limit: usize) -> Result<()> {
        if limit == 0 || limit > self.max_page {
            return Err(Error::invalid(format!("a limit is 1 to {}, got {limit}", self.max_page)));
        }
        Ok(())
    }

    /// Refuses more positions than [`max_page`](Self::max_page).
    pub fn check_positions(&self, positions: &[OutboxPosition]) -> Result<()> {
        self.check(positions.len().max(1))
    }
}

impl Default for OutboxBounds {
    fn default() -> Self {
        Self::new()
    }
}

/// The news of those sessions that were created with [`publish`](crate::session::NewSession::publish): an optional part of a
/// [`SessionStore`](crate::session::SessionStore).
///
/// # Contract
/// - Creating and ending such a session, by whatever call, appends an entry to an outbox in the same atomic step.
/// - [`reap`](Self::reap) appends one for each session that has ended by time, at whatever time, also where nobody ran at that
///   time and its record is gone; it looks at the record's own deadline first, so that a session that was used is not
///   ended. In the same step the session is taken out of its user's index.
/// - Each session's end is appended once. An entry stays until it is [acknowledged](Self::acknowledge), or for the
///   [retention](OutboxBounds::retention): whoever publishes and then acknowledges publishes at least once. While nobody publishes, an
///   outbox takes [`max_entries`](OutboxBounds::max_entries) and from then on counts what it does not take; sessions that end by time are not reaped then, and so
///   not lost.
/// - The right to reap and the claim on an outbox are for economy alone: they are leases of the store's clock, and where two
///   processes do the same nothing but a second publication comes of it.
/// - While what one step needs is in two places (a slot of a Cluster that is being moved), an end is appended by a later
///   `reap`, and so is a creation. A creation that was broken off then, by the death of its process, may be followed by the
///   news of an end.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done, for each outbox by itself.
#[async_trait]
pub trait SessionOutbox: fmt::Debug + Send + Sync + 'static {
    /// The bounds; constant over the life of the store.
    fn bounds(&self) -> OutboxBounds;

    /// The outbox in which the news of a session are.
    fn outbox_of(&self, id: &SessionId) -> OutboxId;

    /// Takes or keeps the right to reap for a service: `true` if the publisher has it for this long from now.
    async fn lead(&self, service: &Name, publisher: &PublisherId, lease: Ttl) -> Result<bool>;

    /// Ends sessions whose time is over, at most `limit` of them, and says where news wait. A whole round begins with the
    /// default cursor and goes on with each [`next`](Reaped::next) until there is none.
    ///
    /// `InvalidInput` for a limit of zero or over [`max_page`](OutboxBounds::max_page).
    async fn reap(&self, service: &Name, from: ReapCursor, limit: usize) -> Result<Reaped>;

    /// Claims an outbox for this long, unless another publisher has a claim on it, and reads its first entries, which stay.
    ///
    /// `InvalidInput` for a limit of zero or over [`max_page`](OutboxBounds::max_page).
    async fn read(
        &self,
        service: &Name,
        outbox: OutboxId,
        publisher: &PublisherId,
        claim: Ttl,
        limit: usize,
    ) -> Result<OutboxPage>;

    /// Removes these entries, whoever has the claim, and gives up the publisher's own claim if nothing is left; answers how
    /// many entries are left.
    ///
    /// `InvalidInput` for more positions than [`max_page`](OutboxBounds::max_page).
    async fn acknowledge(
        &self,
        service: &Name,
        outbox: OutboxId,
        publisher: &PublisherId,
        positions: &[OutboxPosition],
    ) -> Result<u64>;
}
