//! Sessions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::Result;
use stanchion::key::Name;
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, SessionCapabilities, SessionId, SessionLimit,
    SessionRecord, SessionStore, TouchOutcome,
};
use stanchion::time::{Monotonic, Timestamp, Ttl};

use crate::backend::{Handle, locked};
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

#[async_trait]
impl SessionStore for MemorySessions {
    fn capabilities(&self) -> SessionCapabilities {
        SessionCapabilities::new()
    }

    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        self.0.operate("session.create", || {
            self.capabilities().check_new(&session)?;
            let (mut state, now, wall) = (locked(&self.0.place.sessions), self.0.now(), self.0.wall());
            let state = &mut *state;
            state.purge(now);
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
                _ => {}
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
            state.sessions.insert(id, stored, deadline);
            Ok(CreateOutcome::Created { record, evicted })
        })
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.0.operate("session.load", || {
            Ok(locked(&self.0.place.sessions).record(&(service.clone(), id.clone()), self.0.now()))
        })
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        self.0.operate("session.patch", || {
            self.capabilities().check_bytes(patch.bytes())?;
            let (mut state, now, wall) = (locked(&self.0.place.sessions), self.0.now(), self.0.wall());
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
            let (mut state, now, wall) = (locked(&self.0.place.sessions), self.0.now(), self.0.wall());
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
            Ok(locked(&self.0.place.sessions).end(&(service.clone(), id.clone()), self.0.now()))
        })
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionRecord>> {
        self.0.operate("session.list", || {
            SessionCapabilities::check_user(user)?;
            let (state, now) = (locked(&self.0.place.sessions), self.0.now());
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
            let (mut state, now) = (locked(&self.0.place.sessions), self.0.now());
            let ended: Vec<_> =
                state.live(service, user, now).into_iter().filter(|id| Some(&id.1) != except).collect();
            for id in &ended {
                state.end(id, now);
            }
            Ok(ended.into_iter().map(|id| id.1).collect())
        })
    }
}
