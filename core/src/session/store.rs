//! What a session backend implements.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{
    CreateOutcome, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionId, SessionOutbox, SessionRecord, SessionSummary, TouchOutcome,
};
use crate::changes::ChangeFeed;
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
/// - A session ends at its idle deadline or its absolute deadline, whichever is first, by the store's own clock. The idle
///   deadline is the last recorded use + idle + [`touch_every`](NewSession::touch_every). No use of any kind moves the
///   absolute deadline. Where that clock is a wall clock, a step of it may prolong or shorten lives by as much, and by no
///   more.
/// - Through a handle with [bounds](Self::bounded) a session ends at what these say, if that is sooner than what is stored
///   with it. They hold for every method, and for each session that is counted or listed.
/// - What a session holds is bounded in total, not only in one call.
/// - Sessions of a user have one order, that in which they were created, whatever the clock showed: also those of one
///   instant, and those created after the wall clock was set back. [`list`](Self::list) and
///   [`EvictOldest`](super::SessionLimit::EvictOldest) go by it.
/// - What has ended is gone for every method: `load` gives `None`, `patch` and `touch` say `Gone`, `list` and
///   the limit don't count it. No method but `create` brings a session into being.
/// - What is stored and can't be read, because somebody else has spoilt it, is no session and blocks nobody: `list` leaves out
///   what it would show and can't read, `create` neither counts nor removes it, [`destroy_all`](Self::destroy_all) ends it and answers its id. Only calls that
///   name it answer [`Codec`](crate::ErrorKind::Codec).
/// - Where a backend can't take one step, since what it needs is in two places just now (a slot of a Cluster that is being
///   moved), it takes several in an order that keeps the same: no limit is exceeded at any time, and no session lives on that
///   was there when `destroy_all` began. Only `list` may then answer sessions that did not all live at one moment.
/// - A session may be [anonymous](NewSession::anonymous): then it is in no user's list, and counts towards no limit.
/// - The id carries the bucket of its user ([`SessionId::bucket`]); a record is only ever read and written by
///   the user it was created for.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done.
#[async_trait]
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// What this backend can take; constant over its life.
    fn capabilities(&self) -> SessionCapabilities;

    /// The news of sessions, if the backend keeps them.
    ///
    /// Without, sessions that publish are refused when their façade is built, and [`NewSession::publish`] is of no effect.
    fn outbox(&self) -> Option<&dyn SessionOutbox>;

    /// The feed of changes to sessions, if the backend has one: the names are the [`hash_text`](SessionId::hash_text) of their ids. Of a
    /// session that has ended by time it need not notify.
    ///
    /// Without, a [copy of a session](super::SessionsBuilder::near) ends by its age alone.
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        None
    }

    /// The same sessions, through a handle that takes none for live beyond these bounds, whatever is stored with it. They take
    /// the place of the bounds that this handle has, if any.
    fn bounded(&self, bounds: SessionBounds) -> Arc<dyn SessionStore>;

    /// Creates a session, evicting others of the user where the limit says so: as many as it takes to keep to the limit, which
    /// may have been higher when they were created. The session that it [replaces](NewSession::replaces) is ended and not counted;
    /// one that is no longer live, or another user's, is passed over. One whose id was rotated away leads on for the grace, and is
    /// a [`Conflict`](CreateOutcome::Conflict): else both would go on.
    ///
    /// `InvalidInput` for what [`check_new`](SessionCapabilities::check_new) refuses.
    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome>;

    /// The session, or `None`. No use is recorded.
    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>>;

    /// The session, or `None`; and the use is recorded, if the last one on record is
    /// [`touch_every`](NewSession::touch_every) old. In one step, and without any write where none is due.
    async fn use_session(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>>;

    /// Sets and removes fields, adds one to the version, and records a use.
    ///
    /// `InvalidInput` for what [`check_patch`](SessionCapabilities::check_patch) refuses, and if the session would hold more
    /// than [`max_data_bytes`](SessionCapabilities::max_data_bytes) or [`max_fields`](SessionCapabilities::max_fields);
    /// nothing is changed then.
    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome>;

    /// Records a use: moves the idle deadline, not the version.
    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome>;

    /// Moves the session of this user (empty for an anonymous one) to another id in the same step as a patch of it, which is a
    /// use: it keeps its fields, its absolute deadline, and its place among the user's sessions. Of any number of rotations of
    /// one session at once one is done.
    ///
    /// For the grace of the rotation the old id is another name of the session: [`load`](Self::load),
    /// [`use_session`](Self::use_session), [`touch`](Self::touch) and [`destroy`](Self::destroy) of it do as of the new one,
    /// whose id their record has, and so does [`destroy_all`](Self::destroy_all) but it; `patch` answers [`Moved`](PatchOutcome::Moved), since what is to be stored may be bound to
    /// the id; `rotate` answers [`Superseded`](RotateOutcome::Superseded). An old id leads through
    /// [`MAX_HOPS`](Rotation::MAX_HOPS) rotations at most. After that it never names a session again.
    ///
    /// `InvalidInput` for what [`check_rotation`](SessionCapabilities::check_rotation) refuses, and if the session would hold too
    /// much.
    async fn rotate(
        &self,
        service: &Name,
        user: &str,
        id: &SessionId,
        rotation: &Rotation,
    ) -> Result<RotateOutcome>;

    /// Ends the session; answers what it was, or `None` if there was none.
    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>>;

    /// The user's live sessions without their fields, the newest first, by creation; of two created in one instant the one
    /// whose `create` came later is the newer. What has ended may be cleared away on the way.
    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionSummary>>;

    /// Ends every session of the user but `except`; answers the ended ones.
    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>>;
}
