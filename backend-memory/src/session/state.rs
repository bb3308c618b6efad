//! The state of the sessions, changed in one step each.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use stanchion::key::Name;
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, SessionId, SessionLimit, SessionRecord, TouchOutcome,
};
use stanchion::time::{Monotonic, Timestamp, Ttl};
use stanchion::{Error, Result};

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
    // Numbers: they order creations and uses within one microsecond too.
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
    /// Takes a session out of its user's index.
    fn unlist(&mut self, service: &Name, session: &Stored) {
        let key = (service.clone(), session.user.clone());
        if let Some(listed) = self.by_user.get_mut(&key) {
            listed.remove(&session.created);
            if listed.is_empty() {
                self.by_user.remove(&key);
            }
        }
    }

    /// Clears away a few of the ended sessions.
    pub(super) fn purge(&mut self, now: Monotonic) {
        for ((service, _), ended) in self.sessions.purge(now) {
            self.unlist(&service, &ended);
        }
    }

    /// Ends a session; answers what it was, if it was live.
    pub(super) fn end(&mut self, id: &Id, now: Monotonic) -> Option<SessionRecord> {
        let expires_in = self.sessions.deadline(id, now)?.saturating_since(now);
        let session = self.sessions.remove(id, now)?;
        self.unlist(&id.0, &session);
        Some(session.record(&id.1, expires_in))
    }

    /// A live session.
    pub(super) fn record(&self, id: &Id, now: Monotonic) -> Option<SessionRecord> {
        let expires_in = self.sessions.deadline(id, now)?.saturating_since(now);
        Some(self.sessions.get(id, now)?.record(&id.1, expires_in))
    }

    /// The live sessions of a user, the oldest first.
    pub(super) fn live(&self, service: &Name, user: &str, now: Monotonic) -> Vec<Id> {
        let listed = self.by_user.get(&(service.clone(), user.to_owned()));
        let ids = listed.into_iter().flat_map(BTreeMap::values).map(|id| (service.clone(), id.clone()));
        ids.filter(|id| self.sessions.get(id, now).is_some()).collect()
    }

    pub(super) fn create(
        &mut self,
        service: &Name,
        session: NewSession,
        now: Monotonic,
        wall: Timestamp,
    ) -> Result<CreateOutcome> {
        let id = (service.clone(), session.id.clone());
        if self.sessions.get(&id, now).is_some() {
            return Ok(CreateOutcome::IdTaken);
        }
        let Some(evicted) = self.make_room(service, &session, now)? else {
            return Ok(CreateOutcome::LimitReached);
        };
        self.next += 1;
        let stored = Stored {
            user: session.user,
            data: session.data,
            version: 1,
            created: self.next,
            used: self.next,
            created_at: wall,
            used_at: wall,
            idle: session.idle,
            ends: now.saturating_add(session.absolute.as_duration()),
            absolute_deadline: wall.saturating_add(session.absolute.as_duration()),
        };
        let deadline = stored.deadline(now);
        let record = stored.record(&id.1, deadline.saturating_since(now));
        let listed = self.by_user.entry((service.clone(), stored.user.clone())).or_default();
        listed.insert(stored.created, id.1.clone());
        if let Some(ended) = self.sessions.insert(id, stored, deadline) {
            self.unlist(service, &ended);
        }
        Ok(CreateOutcome::Created { record, evicted })
    }

    /// Evicts what the limit says, and answers that; `None` if it says that the new session is rejected.
    fn make_room(
        &mut self,
        service: &Name,
        session: &NewSession,
        now: Monotonic,
    ) -> Result<Option<Vec<SessionId>>> {
        let mut live = self.live(service, &session.user, now);
        let room_for = session.limit.count() as usize - 1;
        let excess = live.len().saturating_sub(room_for);
        match session.limit {
            SessionLimit::Reject(_) if excess > 0 => return Ok(None),
            SessionLimit::EvictLeastRecent(_) => {
                live.sort_by_key(|id| self.sessions.get(id, now).map(|session| session.used));
            }
            SessionLimit::Reject(_) | SessionLimit::EvictOldest(_) => {}
            other => return Err(Error::unsupported(format!("the session limit {other:?} is not known"))),
        }
        let evicted = live.into_iter().take(excess).map(|id| {
            self.end(&id, now);
            id.1
        });
        Ok(Some(evicted.collect()))
    }

    pub(super) fn patch(&mut self, id: &Id, patch: &Patch, now: Monotonic, wall: Timestamp) -> PatchOutcome {
        self.next += 1;
        let Some(session) = self.sessions.get_mut(id, now) else {
            return PatchOutcome::Gone;
        };
        if patch.expected_version.is_some_and(|version| version != session.version) {
            return PatchOutcome::Conflict { version: session.version };
        }
        for field in &patch.remove {
            session.data.remove(field);
        }
        session.data.extend(patch.set.clone());
        session.version += 1;
        session.used = self.next;
        session.used_at = wall;
        let (version, deadline) = (session.version, session.deadline(now));
        self.sessions.extend(id, deadline, now);
        PatchOutcome::Saved { version }
    }

    pub(super) fn touch(&mut self, id: &Id, now: Monotonic, wall: Timestamp) -> TouchOutcome {
        self.next += 1;
        let Some(session) = self.sessions.get_mut(id, now) else {
            return TouchOutcome::Gone;
        };
        session.used = self.next;
        session.used_at = wall;
        let deadline = session.deadline(now);
        self.sessions.extend(id, deadline, now);
        TouchOutcome::Touched { expires_in: deadline.saturating_since(now) }
    }

    /// How many sessions are kept, ended ones among them.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// How many users have an index.
    #[cfg(test)]
    pub(super) fn users(&self) -> usize {
        self.by_user.len()
    }
}
