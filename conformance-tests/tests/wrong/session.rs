//! Wrong session stores.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stanchion::Result;
use stanchion::key::Name;
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, SessionCapabilities, SessionId, SessionLimit,
    SessionRecord, SessionStore, TouchOutcome,
};
use stanchion::time::{Monotonic, Ttl};
use tokio::task::yield_now;

use crate::backend::{self, Around, locked};
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// An empty value is no value.
    EmptyFieldsAreDropped,
    /// `SET` where there should be `SET NX`.
    TakenIdIsReplaced,
    /// First the fields that are set are written, then those are removed that are removed.
    RemovedAfterTheyAreSet,
    /// The version that is expected must be the stored one or a later.
    LaterVersionsMatch,
    /// The version is read and compared, and then the fields are written.
    VersionIsReadAndCompared,
    /// `HSET` makes the session anew.
    PatchBringsItBack,
    /// The index of a user is not cleared of what has expired.
    ExpiredAreListed,
    /// Loading counts as a use.
    LoadingIsAUse,
    /// Every use sets the expiry to the idle timeout, with no regard to the absolute one.
    UseForgetsTheAbsoluteDeadline,
    /// The index is ordered by the last use.
    ListedByLastUse,
    /// All are ended.
    ExceptIsForgotten,
    /// `>` in place of `>=`.
    LimitIsOneTooMany,
    /// Those used longest ago make room.
    OldestByUse,
    /// The oldest make room.
    LeastRecentByCreation,
    /// Counted, and then created.
    CountThenCreate,
    /// A counter that is lowered by ending a session, and not when one expires.
    ExpiredAreCounted,
    /// The service is not in the key.
    ServiceIsForgotten,
    /// The store's collation does not tell upper from lower case.
    UsersAreFolded,
    /// A limit of zero is none.
    ZeroIsNoLimit,
    /// Loaded, and then deleted.
    LoadThenDestroy,
    /// The session is written, and then its fields.
    CreateThenFields,
    /// Sorted by the time, by a sort that leaves the order of the same time as it was only while there are few.
    SortIsUnstable,
    /// The index is ordered by the time of creation alone.
    ListedByTheClock,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Session(bug), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof(
        "SESSION-10",
        Bug::SortIsUnstable,
        "list::created_in_one_instant",
        "of one instant, the newest first",
    ),
    proof(
        "SESSION-24",
        Bug::ListedByTheClock,
        "wall_clock::order_is_by_creation",
        "by creation, the newest first, Some(Back",
    ),
    proof("SESSION-01", Bug::EmptyFieldsAreDropped, "create::loaded_as_created", "the fields"),
    proof(
        "SESSION-02",
        Bug::TakenIdIsReplaced,
        "create::taken_id",
        "the same id again: IdTaken\nobserved: Created",
    ),
    proof("SESSION-03", Bug::RemovedAfterTheyAreSet, "patch::only_what_it_names", "fields and version"),
    proof(
        "SESSION-04",
        Bug::LaterVersionsMatch,
        "patch::conflict",
        "another version: Conflict { version: 2 }\nobserved: Saved { version: 3 }",
    ),
    proof(
        "SESSION-05",
        Bug::VersionIsReadAndCompared,
        "patch::race",
        "saved of 20 patches of one version at once: 1\nobserved: 20",
    ),
    proof(
        "SESSION-06",
        Bug::PatchBringsItBack,
        "destroy::stays_gone",
        "patching what has ended: Gone\nobserved: Saved",
    )
    // However it has ended.
    .also(&["SESSION-09", "SESSION-11", "SESSION-13"]),
    proof("SESSION-07", Bug::ExpiredAreListed, "timeout::idle", "the user's sessions: []"),
    proof("SESSION-08", Bug::LoadingIsAUse, "timeout::use_keeps_alive", "loading is no use"),
    proof(
        "SESSION-09",
        Bug::UseForgetsTheAbsoluteDeadline,
        "timeout::absolute",
        "loading what has ended: None\nobserved: Some",
    ),
    proof("SESSION-10", Bug::ListedByLastUse, "list::newest_first", "by creation, the newest first")
        .also(&["SESSION-24"]),
    proof("SESSION-11", Bug::ExceptIsForgotten, "destroy::all_but_one", "the ended ones"),
    proof(
        "SESSION-12",
        Bug::LimitIsOneTooMany,
        "limit::reject",
        "one too many: LimitReached\nobserved: Created",
    )
    .also(&["SESSION-15"]),
    proof("SESSION-13", Bug::OldestByUse, "limit::evict_oldest", "the two oldest, in order"),
    proof(
        "SESSION-14",
        Bug::LeastRecentByCreation,
        "limit::evict_least_recent",
        "the two used longest ago, in order",
    ),
    proof(
        "SESSION-15",
        Bug::CountThenCreate,
        "limit::race",
        "sessions after 20 at once, reject: 3\nobserved: 20",
    ),
    proof(
        "SESSION-16",
        Bug::ExpiredAreCounted,
        "limit::ended_do_not_count",
        "created\nobserved: LimitReached",
    ),
    proof(
        "SESSION-17",
        Bug::ServiceIsForgotten,
        "isolation::services",
        "loading at another service: None\nobserved: Some",
    ),
    proof("SESSION-18", Bug::UsersAreFolded, "isolation::users", "one session of each: [\"a\"]"),
    proof(
        "SESSION-19",
        Bug::ZeroIsNoLimit,
        "input::bad_arguments",
        "a limit out of bounds: refused as invalid input",
    ),
    must_fail(
        "SESSION-20",
        backend::Bug::PrefixForgotten,
        "isolation::places",
        "loading elsewhere: None\nobserved: Some",
    ),
    proof(
        "SESSION-21",
        Bug::LoadThenDestroy,
        "destroy::race_tells_one",
        "told of 20 at once that they ended it: 1\nobserved: 20",
    ),
    proof("SESSION-22", Bug::CreateThenFields, "cancel::done_or_not_done", "the whole session"),
];

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
            *deadline = Monotonic::from_origin(std::time::Duration::MAX);
        }
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

    async fn create(&self, service: &Name, mut session: NewSession) -> Result<CreateOutcome> {
        let service = &self.service(service)?;
        let user = session.user.clone();
        match (self.bug, session.limit) {
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
                if n > 0 && self.capabilities().check_new(&session).is_ok() =>
            {
                let there = self.right.list(service, &user).await?.len();
                yield_now().await;
                if there >= n as usize {
                    return Ok(CreateOutcome::LimitReached);
                }
                session.limit = SessionLimit::Reject(self.capabilities().max_per_user);
            }
            (Bug::ExpiredAreCounted, SessionLimit::Reject(n))
                if n > 0 && locked(&self.counts).get(&user).is_some_and(|count| *count >= n) =>
            {
                return Ok(CreateOutcome::LimitReached);
            }
            (Bug::ZeroIsNoLimit, SessionLimit::Reject(0)) => {
                session.limit = SessionLimit::Reject(self.capabilities().max_per_user);
            }
            (Bug::CreateThenFields, SessionLimit::Reject(_))
                if self.capabilities().check_new(&session).is_ok() =>
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
        if self.bug == Bug::UseForgetsTheAbsoluteDeadline
            && let (Some(record), Some((_, created, _))) = (&mut record, locked(&self.created).get(id))
        {
            record.absolute_deadline = created.absolute_deadline;
        }
        Ok(record)
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        let (service, mut patch) = (&self.service(service)?, patch.clone());
        self.end_at_the_absolute_deadline(service, id).await?;
        match (self.bug, patch.expected_version) {
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
        let outcome = self.right.patch(service, id, &patch).await?;
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

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionRecord>> {
        let service = &self.service(service)?;
        let mut listed = self.right.list(service, user).await?;
        match self.bug {
            Bug::ExpiredAreListed => {
                let created = locked(&self.created);
                let expired = created.values().filter(|(_, _, ends)| *ends <= self.now());
                listed.extend(
                    expired.map(|(_, record, _)| record.clone()).filter(|record| record.user == user),
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
        let except = if self.bug == Bug::ExceptIsForgotten { None } else { except };
        let ended = self.right.destroy_all(service, user, except).await?;
        self.ended(user, ended.len());
        Ok(ended)
    }
}
