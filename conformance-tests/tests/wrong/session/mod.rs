//! Wrong session stores.

mod bug;
mod feed;
mod proofs;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::changes::ChangeFeed;
use stanchion::key::Name;
use stanchion::session::{
    CreateOutcome, Device, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionId, SessionLimit, SessionOutbox, SessionRecord, SessionStore, SessionSummary,
    TouchOutcome,
};
use stanchion::time::{Monotonic, Ttl};
use stanchion::{ErrorKind, Result};
use tokio::task::yield_now;

pub(crate) use self::bug::Bug;
pub(crate) use self::proofs::PROOFS;
use crate::backend::{Around, locked};

#[derive(Debug)]
pub(crate) struct Wrong {
    bug: Bug,
    right: Arc<dyn SessionStore>,
    around: Around,
    /// What this handle created, with its idle deadline.
    created: Mutex<HashMap<SessionId, (NewSession, SessionRecord, Monotonic)>>,
    /// What this handle believes each user has.
    counts: Mutex<HashMap<String, u32>>,
}

impl Wrong {
    pub(crate) fn new(bug: Bug, right: Arc<dyn SessionStore>, around: &Around) -> Self {
        Self { bug, right, around: around.clone(), created: Mutex::default(), counts: Mutex::default() }
    }

    fn service(&self, service: &Name) -> Result<Name> {
        if self.bug == Bug::ServiceIsForgotten { Name::new("any") } else { Ok(service.clone()) }
    }

    fn now(&self) -> Monotonic {
        self.around.right.environment().clock.now()
    }

    fn ended(&self, user: &str, sessions: usize) {
        if let Some(count) = locked(&self.counts).get_mut(user) {
            *count = count.saturating_sub(u32::try_from(sessions).unwrap_or(u32::MAX));
        }
    }

    /// With [`Bug::UseForgetsTheAbsoluteDeadline`] the store keeps a session without a limit, and this ends it at its absolute
    /// deadline, unless a use has made that forgotten.
    async fn end_at_the_absolute_deadline(&self, service: &Name, id: &SessionId) -> Result<()> {
        let over = locked(&self.created).get(id).is_some_and(|(_, _, deadline)| *deadline <= self.now());
        if self.bug == Bug::UseForgetsTheAbsoluteDeadline && over {
            self.right.destroy(service, id).await?;
        }
        Ok(())
    }

    fn used(&self, id: &SessionId) {
        if let Some((_, _, deadline)) = locked(&self.created).get_mut(id) {
            *deadline = Monotonic::from_origin(Duration::MAX);
        }
    }

    /// The limit at which one makes room.
    async fn room(&self, service: &Name, user: &str, limit: u32) -> Result<u32> {
        let live = self.right.list(service, user).await?.len();
        Ok(limit.max(u32::try_from(live).unwrap_or(u32::MAX)))
    }

    async fn create_right(&self, service: &Name, mut session: NewSession) -> Result<CreateOutcome> {
        let asked = session.clone();
        if self.bug == Bug::UseForgetsTheAbsoluteDeadline {
            session.absolute = Ttl::MAX;
        }
        let mut outcome = self.right.create(service, session).await?;
        if let CreateOutcome::Created { record, .. } = &mut outcome {
            if self.bug == Bug::UseForgetsTheAbsoluteDeadline {
                record.absolute_deadline = record.created_at.saturating_add(asked.absolute.as_duration());
                record.expires_in = record.expires_in.min(asked.absolute.as_duration());
            }
            let life = asked.idle.min(asked.absolute).as_duration();
            let ends = self.now().saturating_add(life);
            locked(&self.created).insert(asked.id.clone(), (asked, record.clone(), ends));
        }
        Ok(outcome)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl SessionStore for Wrong {
    fn capabilities(&self) -> SessionCapabilities {
        self.right.capabilities()
    }

    fn outbox(&self) -> Option<&dyn SessionOutbox> {
        // The outbox has wrong stores of its own.
        None
    }

    /// None where the bug is another's: what is stored elsewhere could not be notified.
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        let is_its_own =
            matches!(self.bug, Bug::FirstChangeIsNotified | Bug::WatchBeginsAlike | Bug::WatchNeverEnds);
        is_its_own.then_some(self as &dyn ChangeFeed)
    }

    fn bounded(&self, mut bounds: SessionBounds) -> Arc<dyn SessionStore> {
        match self.bug {
            Bug::BoundsAreForgotten => bounds = SessionBounds::NONE,
            Bug::AbsoluteBoundIsForgotten => bounds.usual.absolute = Ttl::MAX,
            Bug::OwnBoundsAreForgotten => bounds.own = bounds.usual,
            _ => {}
        }
        Arc::new(Self::new(self.bug, self.right.bounded(bounds), &self.around))
    }

    async fn create(&self, service: &Name, mut session: NewSession) -> Result<CreateOutcome> {
        let service = &self.service(service)?;
        let user = session.user.clone();
        match (self.bug, session.limit) {
            (Bug::NobodyIsAUser, _) if session.anonymous => {
                let mut outcome = self.create_right(service, session).await?;
                if let CreateOutcome::Created { record, .. } = &mut outcome {
                    "nobody".clone_into(&mut record.user);
                }
                return Ok(outcome);
            }
            (Bug::ReplacedIsCounted, _) => {
                if let Some(of) = session.replaces.take() {
                    let outcome = self.create_right(service, session).await?;
                    if let CreateOutcome::Created { .. } = outcome {
                        self.right.destroy(service, &of.id).await?;
                    }
                    return Ok(outcome);
                }
            }
            (Bug::ReplacedVersionIsPassedOver, _) => {
                if let Some(of) = &mut session.replaces
                    && let Some(record) = self.right.load(service, &of.id).await?
                {
                    of.version = record.version;
                }
            }
            (Bug::RotatedIsNotReplaced, _) => {
                if let Some(of) = &session.replaces
                    && let Some(record) = self.right.load(service, &of.id).await?
                    && record.id != of.id
                {
                    session.replaces = None;
                }
            }
            (Bug::ReplacesAnybody, _) => {
                if let Some(of) = &session.replaces
                    && of.id.bucket() == session.id.bucket()
                    && self.right.load(service, &of.id).await?.is_some_and(|record| record.user != user)
                {
                    self.right.destroy(service, &of.id).await?;
                }
            }
            (Bug::EveryUseIsRecorded, _) => session.touch_every = Duration::ZERO,
            (Bug::IntervalIsNotAdded, _) => {
                // In place of a shorter expiry.
                session.idle = session
                    .idle
                    .as_duration()
                    .checked_sub(session.touch_every)
                    .and_then(|idle| Ttl::new(idle).ok())
                    .unwrap_or(Ttl::MIN);
            }
            (Bug::OneMakesRoom, SessionLimit::EvictOldest(n)) if n > 0 => {
                session.limit = SessionLimit::EvictOldest(self.room(service, &user, n).await?);
            }
            (Bug::OneMakesRoom, SessionLimit::EvictLeastRecent(n)) if n > 0 => {
                session.limit = SessionLimit::EvictLeastRecent(self.room(service, &user, n).await?);
            }
            (Bug::EmptyFieldsAreDropped, _) => session.data.retain(|_, value| !value.is_empty()),
            (Bug::LimitIsOneTooMany, SessionLimit::Reject(n)) if (1..1_000).contains(&n) => {
                session.limit = SessionLimit::Reject(n + 1);
            }
            (Bug::OldestByUse, SessionLimit::EvictOldest(n)) => {
                session.limit = SessionLimit::EvictLeastRecent(n);
            }
            (Bug::LeastRecentByCreation, SessionLimit::EvictLeastRecent(n)) => {
                session.limit = SessionLimit::EvictOldest(n);
            }
            (Bug::CountThenCreate, SessionLimit::Reject(n))
                if !session.anonymous && n > 0 && self.capabilities().check_new(&session).is_ok() =>
            {
                let there = self.right.list(service, &user).await?.len();
                yield_now().await;
                if there >= n as usize {
                    return Ok(CreateOutcome::LimitReached);
                }
                session.limit = SessionLimit::Reject(self.capabilities().max_per_user);
            }
            (Bug::ExpiredAreCounted, SessionLimit::Reject(n))
                if !(session.anonymous || session.user.is_empty())
                    && n > 0
                    && locked(&self.counts).get(&user).is_some_and(|count| *count >= n) =>
            {
                return Ok(CreateOutcome::LimitReached);
            }
            (Bug::ZeroIsNoLimit, SessionLimit::Reject(0)) => {
                session.limit = SessionLimit::Reject(self.capabilities().max_per_user);
            }
            (Bug::CreateThenFields, SessionLimit::Reject(_))
                if session.replaces.is_none() && self.capabilities().check_new(&session).is_ok() =>
            {
                let mut first = session.clone();
                first.data.clear();
                if let CreateOutcome::Created { .. } = self.right.create(service, first).await? {
                    yield_now().await;
                    // In place of writing the fields, which would count as a change.
                    self.right.destroy(service, &session.id).await?;
                }
            }
            _ => {}
        }
        let outcome = self.create_right(service, session.clone()).await?;
        match &outcome {
            CreateOutcome::IdTaken if self.bug == Bug::TakenIdIsReplaced => {
                self.right.destroy(service, &session.id).await?;
                return self.create_right(service, session).await;
            }
            CreateOutcome::Created { evicted, .. } => {
                self.ended(&user, evicted.len());
                *locked(&self.counts).entry(user).or_default() += 1;
            }
            _ => {}
        }
        Ok(outcome)
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        let service = &self.service(service)?;
        self.end_at_the_absolute_deadline(service, id).await?;
        if self.bug == Bug::LoadingIsAUse {
            let _touched = self.right.touch(service, id).await?;
        }
        let mut record = self.right.load(service, id).await?;
        if self.bug == Bug::DueIsForgotten {
            record = record.map(|record| record.use_due_in(Duration::ZERO));
        }
        if self.bug == Bug::EndedAreLoaded && record.is_none() {
            record = locked(&self.created).get(id).map(|(_, record, _)| record.clone());
        }
        if self.bug == Bug::UseForgetsTheAbsoluteDeadline
            && let (Some(record), Some((_, created, _))) = (&mut record, locked(&self.created).get(id))
        {
            record.absolute_deadline = created.absolute_deadline;
        }
        Ok(record)
    }

    async fn use_session(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        let service = &self.service(service)?;
        self.end_at_the_absolute_deadline(service, id).await?;
        let used = self.right.use_session(service, id).await?;
        if used.is_some() {
            self.used(id);
        }
        Ok(used)
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        let (service, mut patch) = (&self.service(service)?, patch.clone());
        self.end_at_the_absolute_deadline(service, id).await?;
        match (self.bug, patch.expected_version) {
            (Bug::PatchForgetsTheDevice, _) if self.capabilities().check_patch(&patch).is_ok() => {
                patch.device = Device::new();
            }
            (Bug::RemovedNamesAreNotCounted, _) => {
                patch.remove.truncate(10);
                patch.remove.retain(|name| name.len() < 100);
            }
            (Bug::RemovedAfterTheyAreSet, _) => {
                let removed = patch.remove.clone();
                patch.set.retain(|field, _| !removed.contains(field));
            }
            (Bug::LaterVersionsMatch, Some(expected)) => {
                let stored = self.right.load(service, id).await?.map(|record| record.version);
                patch.expected_version = patch.expected_version.filter(|_| Some(expected) <= stored);
            }
            (Bug::VersionIsReadAndCompared, Some(expected)) => {
                let version = self.right.load(service, id).await?.map(|record| record.version);
                yield_now().await;
                match version {
                    Some(version) if version != expected => return Ok(PatchOutcome::Conflict { version }),
                    _ => patch.expected_version = None,
                }
            }
            _ => {}
        }
        let outcome = match self.right.patch(service, id, &patch).await {
            // Nobody looks whether it was stored, once it is not refused.
            Err(error)
                if error.kind() == ErrorKind::InvalidInput
                    && match self.bug {
                        Bug::DataIsBoundedByTheCall => self.capabilities().check_patch(&patch).is_ok(),
                        Bug::FieldsAreNotCounted => patch.set.len() == 1 && patch.bytes() < 100,
                        _ => false,
                    } =>
            {
                PatchOutcome::Saved { version: 0 }
            }
            outcome => outcome?,
        };
        match outcome {
            PatchOutcome::Gone if self.bug == Bug::PatchBringsItBack => {
                let made = locked(&self.created).get(id).map(|(session, _, _)| session.clone());
                if let Some(mut session) = made {
                    session.data = patch.set;
                    let _again = self.right.create(service, session).await?;
                    return Ok(PatchOutcome::Saved { version: 1 });
                }
            }
            PatchOutcome::Saved { .. } => self.used(id),
            _ => {}
        }
        Ok(outcome)
    }

    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        let service = &self.service(service)?;
        self.end_at_the_absolute_deadline(service, id).await?;
        let outcome = self.right.touch(service, id).await?;
        if outcome != TouchOutcome::Gone {
            self.used(id);
        }
        Ok(outcome)
    }

    async fn rotate(
        &self,
        service: &Name,
        user: &str,
        id: &SessionId,
        rotation: &Rotation,
    ) -> Result<RotateOutcome> {
        let (service, mut rotation, mut user) = (&self.service(service)?, rotation.clone(), user.to_owned());
        let can_be = self.capabilities().check_rotation(id, &rotation).is_ok();
        match self.bug {
            Bug::GraceIsForgotten if can_be => rotation.grace = Duration::ZERO,
            Bug::GraceIsAlwaysTheLongest if can_be && !rotation.grace.is_zero() => {
                rotation.grace = Rotation::MAX_GRACE;
            }
            Bug::RotatesForAnybody => {
                user = self.right.load(service, id).await?.map(|record| record.user).unwrap_or(user);
            }
            _ => {}
        }
        let read = match self.bug {
            Bug::RotationIsThreeSteps => self.right.load(service, id).await?,
            _ => None,
        };
        yield_now().await;
        let mut outcome = self.right.rotate(service, &user, id, &rotation).await?;
        match (&mut outcome, read) {
            (RotateOutcome::Rotated { record }, _) if self.bug == Bug::RotationBeginsAnew => {
                record.created_at = record.last_used_at;
                record.absolute_deadline = record.last_used_at.saturating_add(Ttl::MAX.as_duration());
            }
            // In place of one more session with what was read.
            (RotateOutcome::Superseded { .. }, Some(mut record)) if record.id == *id => {
                record.id = rotation.to;
                return Ok(RotateOutcome::Rotated { record });
            }
            _ => {}
        }
        Ok(outcome)
    }

    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        let service = &self.service(service)?;
        if self.bug == Bug::LoadThenDestroy {
            let record = self.right.load(service, id).await?;
            yield_now().await;
            self.right.destroy(service, id).await?;
            return Ok(record);
        }
        let ended = self.right.destroy(service, id).await?;
        if let Some(record) = &ended {
            self.ended(&record.user, 1);
        }
        Ok(ended)
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionSummary>> {
        let service = &self.service(service)?;
        let mut listed = self.right.list(service, user).await?;
        match self.bug {
            Bug::ExpiredAreListed => {
                let created = locked(&self.created);
                let expired = created.values().filter(|(_, _, ends)| *ends <= self.now());
                listed.extend(
                    expired
                        .map(|(_, record, _)| record.clone().into_summary())
                        .filter(|record| record.user == user),
                );
            }
            Bug::SortIsUnstable => {
                for instant in listed.chunk_by_mut(|one, next| one.created_at == next.created_at) {
                    if instant.len() > 8 {
                        instant.sort_by(|one, next| one.id.cmp(&next.id));
                    }
                }
            }
            Bug::ListedByTheClock => listed.sort_by_key(|record| std::cmp::Reverse(record.created_at)),
            Bug::ListedByLastUse => listed.sort_by_key(|record| std::cmp::Reverse(record.last_used_at)),
            Bug::UsersAreFolded => {
                for same in [user.to_uppercase(), user.to_lowercase()].iter().filter(|same| *same != user) {
                    listed.extend(self.right.list(service, same).await?);
                }
            }
            _ => {}
        }
        Ok(listed)
    }

    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        let service = &self.service(service)?;
        let mut except = except;
        match (self.bug, except) {
            (Bug::ExceptIsForgotten, _) => except = None,
            (Bug::KeptByOneIdAlone, Some(id)) => {
                let stored = self.right.load(service, id).await?;
                except = Some(id).filter(|id| stored.is_none_or(|record| record.id == **id));
            }
            _ => {}
        }
        let ended = self.right.destroy_all(service, user, except).await?;
        self.ended(user, ended.len());
        Ok(ended)
    }
}
