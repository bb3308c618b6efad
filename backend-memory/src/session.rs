//! Sessions.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::key::Name;
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, SessionCapabilities, SessionId, SessionLimit,
    SessionRecord, SessionStore, TouchOutcome,
};
use stanchion::time::{Monotonic, Timestamp, Ttl};
use stanchion::{Error, Result};

use crate::backend::{CONTRACT, Handle, NEVER_WAITS, locked};
use crate::expiring::Expiring;

type Id = (Name, SessionId);

#[derive(Debug, Default)]
pub(crate) struct State {
    sessions: Expiring<Id, Stored>,
    // The user's sessions by order of creation.
    by_user: HashMap<(Name, String), BTreeMap<u64, SessionId>>,
    next: u64,
}

#[derive(Debug)]
struct Stored {
    user: String,
    data: BTreeMap<String, Bytes>,
    version: u64,
    // Orders creations and uses within one microsecond too.
    created: u64,
    used: u64,
    created_at: Timestamp,
    used_at: Timestamp,
    idle: Ttl,
    ends: Monotonic,
    absolute_deadline: Timestamp,
}

impl Stored {
    fn deadline(&self, now: Monotonic) -> Monotonic {
        now.saturating_add(self.idle.as_duration()).min(self.ends)
    }

    fn record(&self, id: &SessionId, expires_in: std::time::Duration) -> SessionRecord {
        SessionRecord::new(
            id.clone(),
            self.user.clone(),
            self.data.clone(),
            self.version,
            self.created_at,
            self.used_at,
            self.absolute_deadline,
            expires_in,
        )
    }
}

impl State {
    fn unlist(&mut self, service: &Name, session: &Stored) {
        let key = (service.clone(), session.user.clone());
        if let Some(listed) = self.by_user.get_mut(&key) {
            listed.remove(&session.created);
            if listed.is_empty() {
                self.by_user.remove(&key);
            }
        }
    }

    fn purge(&mut self, now: Monotonic) {
        for ((service, _), ended) in self.sessions.purge(now) {
            self.unlist(&service, &ended);
        }
    }

    fn end(&mut self, id: &Id, now: Monotonic) -> Option<SessionRecord> {
        let expires_in = self.sessions.deadline(id, now)?.saturating_since(now);
        let session = self.sessions.remove(id, now)?;
        self.unlist(&id.0, &session);
        Some(session.record(&id.1, expires_in))
    }

    fn record(&self, id: &Id, now: Monotonic) -> Option<SessionRecord> {
        let expires_in = self.sessions.deadline(id, now)?.saturating_since(now);
        Some(self.sessions.get(id, now)?.record(&id.1, expires_in))
    }

    /// The live sessions of a user, the oldest first.
    fn live(&self, service: &Name, user: &str, now: Monotonic) -> Vec<Id> {
        let listed = self.by_user.get(&(service.clone(), user.to_owned()));
        let ids = listed.into_iter().flat_map(BTreeMap::values).map(|id| (service.clone(), id.clone()));
        ids.filter(|id| self.sessions.get(id, now).is_some()).collect()
    }
}

#[derive(Debug)]
pub(crate) struct MemorySessions(pub(crate) Arc<Handle>);

impl MemorySessions {
    /// The state at one instant, with a little of what has ended cleared away.
    fn state(&self) -> (MutexGuard<'_, State>, Monotonic) {
        let mut state = locked(&self.0.place.sessions);
        let now = self.0.now();
        state.purge(now);
        (state, now)
    }
}

#[async_trait]
impl SessionStore for MemorySessions {
    fn capabilities(&self) -> SessionCapabilities {
        SessionCapabilities::new(CONTRACT).call_deadline(NEVER_WAITS)
    }

    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        self.0.operate("session.create", || {
            self.capabilities().check_new(&session)?;
            let ((mut state, now), wall) = (self.state(), self.0.wall());
            let state = &mut *state;
            let id = (service.clone(), session.id.clone());
            if state.sessions.get(&id, now).is_some() {
                return Ok(CreateOutcome::IdTaken);
            }
            let mut live = state.live(service, &session.user, now);
            let room_for = session.limit.count() as usize - 1;
            let excess = live.len().saturating_sub(room_for);
            match session.limit {
                SessionLimit::Reject(_) if excess > 0 => return Ok(CreateOutcome::LimitReached),
                SessionLimit::EvictLeastRecent(_) => {
                    live.sort_by_key(|id| state.sessions.get(id, now).map(|session| session.used));
                }
                SessionLimit::Reject(_) | SessionLimit::EvictOldest(_) => {}
                other => return Err(Error::unsupported(format!("the session limit {other:?} is not known"))),
            }
            let evicted: Vec<SessionId> = live
                .into_iter()
                .take(excess)
                .map(|id| {
                    state.end(&id, now);
                    id.1
                })
                .collect();
            state.next += 1;
            let stored = Stored {
                user: session.user,
                data: session.data,
                version: 1,
                created: state.next,
                used: state.next,
                created_at: wall,
                used_at: wall,
                idle: session.idle,
                ends: now.saturating_add(session.absolute.as_duration()),
                absolute_deadline: wall.saturating_add(session.absolute.as_duration()),
            };
            let deadline = stored.deadline(now);
            let record = stored.record(&id.1, deadline.saturating_since(now));
            let listed = state.by_user.entry((service.clone(), stored.user.clone())).or_default();
            listed.insert(stored.created, id.1.clone());
            if let Some(ended) = state.sessions.insert(id, stored, deadline) {
                state.unlist(service, &ended);
            }
            Ok(CreateOutcome::Created { record, evicted })
        })
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.0.operate("session.load", || {
            let (state, now) = self.state();
            Ok(state.record(&(service.clone(), id.clone()), now))
        })
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        self.0.operate("session.patch", || {
            self.capabilities().check_bytes(patch.bytes())?;
            let ((mut state, now), wall) = (self.state(), self.0.wall());
            let state = &mut *state;
            let id = (service.clone(), id.clone());
            state.next += 1;
            let Some(session) = state.sessions.get_mut(&id, now) else {
                return Ok(PatchOutcome::Gone);
            };
            if patch.expected_version.is_some_and(|version| version != session.version) {
                return Ok(PatchOutcome::Conflict { version: session.version });
            }
            for field in &patch.remove {
                session.data.remove(field);
            }
            session.data.extend(patch.set.clone());
            session.version += 1;
            session.used = state.next;
            session.used_at = wall;
            let (version, deadline) = (session.version, session.deadline(now));
            state.sessions.extend(&id, deadline, now);
            Ok(PatchOutcome::Saved { version })
        })
    }

    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        self.0.operate("session.touch", || {
            let ((mut state, now), wall) = (self.state(), self.0.wall());
            let state = &mut *state;
            let id = (service.clone(), id.clone());
            state.next += 1;
            let Some(session) = state.sessions.get_mut(&id, now) else {
                return Ok(TouchOutcome::Gone);
            };
            session.used = state.next;
            session.used_at = wall;
            let deadline = session.deadline(now);
            state.sessions.extend(&id, deadline, now);
            Ok(TouchOutcome::Touched { expires_in: deadline.saturating_since(now) })
        })
    }

    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.0.operate("session.destroy", || {
            let (mut state, now) = self.state();
            Ok(state.end(&(service.clone(), id.clone()), now))
        })
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionRecord>> {
        self.0.operate("session.list", || {
            SessionCapabilities::check_user(user)?;
            let (state, now) = self.state();
            let newest_first = state.live(service, user, now).into_iter().rev();
            Ok(newest_first.filter_map(|id| state.record(&id, now)).collect())
        })
    }

    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        self.0.operate("session.destroy_all", || {
            SessionCapabilities::check_user(user)?;
            let (mut state, now) = self.state();
            let ended: Vec<_> =
                state.live(service, user, now).into_iter().filter(|id| Some(&id.1) != except).collect();
            for id in &ended {
                state.end(id, now);
            }
            Ok(ended.into_iter().map(|id| id.1).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stanchion::clock::ManualClock;
    use stanchion::environment::Environment;
    use stanchion::session::SessionToken;

    use super::*;
    use crate::{MemoryBackend, MemoryConfig};

    const IDLE: Duration = Duration::from_secs(10);

    fn session(environment: &Environment) -> NewSession {
        let token = SessionToken::generate("u1", &*environment.random).unwrap();
        let (idle, absolute) = (Ttl::new(IDLE).unwrap(), Ttl::MAX);
        NewSession::new(
            environment.hashing_key.session_id(&token),
            "u1",
            idle,
            absolute,
            SessionLimit::Reject(1_000),
        )
    }

    #[tokio::test]
    async fn ended_sessions_leave_no_trace_in_the_index_even_if_their_id_comes_again() {
        let clock = ManualClock::new();
        let environment = Environment::system().clock(Arc::new(clock.clone()));
        let backend = MemoryBackend::with(MemoryConfig::new().environment(environment.clone()));
        let (store, service) = (backend.stores().session_store().unwrap(), Name::new("app").unwrap());
        let mut sessions: Vec<_> = (0..100).map(|_| session(&environment)).collect();
        for new in &sessions {
            let created = store.create(&service, new.clone()).await.unwrap();
            assert!(matches!(created, CreateOutcome::Created { .. }));
        }
        clock.advance(IDLE);
        // The last to be cleared away comes again before its turn.
        let again = sessions.pop().unwrap();
        let created = store.create(&service, again.clone()).await.unwrap();
        assert!(matches!(created, CreateOutcome::Created { record, .. } if record.version == 1));
        let listed = store.list(&service, "u1").await.unwrap();
        assert_eq!(listed.iter().map(|record| &record.id).collect::<Vec<_>>(), [&again.id]);
        // Any operation clears some away.
        for _ in 0..100 {
            assert_eq!(store.load(&service, &sessions[0].id).await.unwrap(), None);
        }
        assert_eq!(locked(&backend.place().sessions).sessions.len(), 1);
        assert!(store.destroy(&service, &again.id).await.unwrap().is_some());
        assert!(locked(&backend.place().sessions).by_user.is_empty());
    }
}
