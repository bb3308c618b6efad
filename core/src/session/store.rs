//! What a session backend implements.

use std::fmt;

use async_trait::async_trait;

use super::{
    CreateOutcome, NewSession, Patch, PatchOutcome, SessionCapabilities, SessionId, SessionRecord,
    TouchOutcome,
};
use crate::error::Result;
use crate::key::Name;

/// Session records by id and by user, with an idle and an absolute timeout.
/// Services use [`Sessions`](super::Sessions) instead.
///
/// Every call names the service it acts for: two services never see each other's sessions.
///
/// # Contract
/// - Each method is one atomic step on the session and its user's index. Counting, evicting and inserting of
///   `create` are one step, for every process on the same data: a limit is never exceeded, whatever runs beside it. (A
///   mutex is no transaction.)
/// - A session ends at its idle deadline (last use + idle) or its absolute deadline, whichever is first, by
///   the store's own clock. No use of any kind moves the absolute deadline. Where that clock is a wall clock, a step of
///   it may prolong or shorten lives by as much, and by no more.
/// - Sessions of a user have one order, that in which they were created, whatever the clock showed: also those of one
///   instant, and those created after the wall clock was set back. [`list`](Self::list) and
///   [`EvictOldest`](super::SessionLimit::EvictOldest) go by it.
/// - What has ended is gone for every method: `load` gives `None`, `patch` and `touch` say `Gone`, `list` and
///   the limit don't count it. No method but `create` brings a session into being.
/// - What is stored and can't be read, because somebody else has spoilt it, is no session and blocks nobody: `list` leaves it
///   out, `create` neither counts nor removes it, [`destroy_all`](Self::destroy_all) ends it and answers its id. Only calls that
///   name it answer [`Codec`](crate::ErrorKind::Codec).
/// - Where a backend can't take one step, since what it needs is in two places just now (a slot of a Cluster that is being
///   moved), it takes several in an order that keeps the same: no limit is exceeded at any time, and no session lives on that
///   was there when `destroy_all` began. Only `list` may then answer sessions that did not all live at one moment.
/// - The id carries the bucket of its user ([`SessionId::bucket`]); a record is only ever read and written by
///   the user it was created for.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done.
#[async_trait]
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// What this backend can take; constant over its life.
    fn capabilities(&self) -> SessionCapabilities;

    /// Creates a session, evicting others of the user where the limit says so.
    ///
    /// `InvalidInput` if the data is over the cap or the limit is zero or over
    /// [`max_per_user`](SessionCapabilities::max_per_user).
    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome>;

    /// The session, or `None`. Does not count as a use.
    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>>;

    /// Sets and removes fields, adds one to the version, and counts as a use.
    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome>;

    /// Counts as a use: moves the idle deadline, not the version.
    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome>;

    /// Ends the session; answers what it was, or `None` if there was none.
    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>>;

    /// The user's live sessions, the newest first, by creation; of two created in one instant the one whose `create`
    /// came later is the newer.
    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionRecord>>;

    /// Ends every session of the user but `except`; answers the ended ones.
    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>>;
}
