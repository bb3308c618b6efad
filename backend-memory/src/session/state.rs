//! The state of the sessions, changed in one step each.

use std::collections::{BTreeMap, HashMap};

use stanchion::key::Name;
use stanchion::session::outbox::{ReapCursor, Reaped, SessionEnd, SessionNews};
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionId, SessionLimit, SessionRecord, SessionSummary, TouchOutcome,
};
use stanchion::time::Monotonic;
use stanchion::{Error, Result};

use super::outbox::Outbox;
use super::stored::{Now, Stored};
use crate::expiring::{Expiring, PURGED_AT_ONCE};
use crate::watchers::Watchers;

type Id = (Name, SessionId);

#[derive(Debug, Default)]
pub(crate) struct State {
    // Until when they live by what is stored. Bounds may end them sooner.
    sessions: Expiring<Id, Stored>,
    // The user's sessions by order of creation.
    by_user: HashMap<(Name, String), BTreeMap<u64, SessionId>>,
    // Where ids lead that were rotated away, for their grace, and whose sessions these are.
    moved: Expiring<Id, (SessionId, String)>,
    next: u64,
    outboxes: HashMap<Name, Outbox>,
    pub(super) watchers: Watchers,
}

/// The state at one instant, through a handle with these bounds.
pub(super) struct View<'a> {
    pub(super) state: &'a mut State,
    pub(super) now: Now,
    pub(super) bounds: SessionBounds,
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

    /// What is kept under this id has changed, but by time.
    fn changed(&self, (service, id): &Id) {
        self.watchers.changed(&format!("{service}:session:{}", id.hash_text()));
    }

    /// Ends the watches of a handle.
    pub(crate) fn end_watches_of(&mut self, handle: u64) {
        self.watchers.end_all_of(handle);
    }

    /// Keeps a session under this id, in the list of its user; answers the one that it replaces.
    fn keep(&mut self, id: Id, session: Stored) -> Option<Stored> {
        self.changed(&id);
        if !session.user.is_empty() {
            let listed = self.by_user.entry((id.0.clone(), session.user.clone())).or_default();
            listed.insert(session.created, id.1.clone());
        }
        let ends = session.ends(SessionBounds::NONE);
        self.sessions.insert(id, session, ends)
    }

    /// What is to be published of a service's sessions.
    pub(super) fn outbox(&mut self, service: &Name) -> &mut Outbox {
        self.outboxes.entry(service.clone()).or_default()
    }

    /// A session was found to have ended by time.
    fn timed_out(&mut self, service: &Name, id: SessionId, session: Stored, at: Monotonic) {
        self.unlist(service, &session);
        if session.publish {
            self.outbox(service).timed_out(id, session.user, at);
        }
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

impl View<'_> {
    /// Clears away a few of the ended sessions.
    pub(super) fn purge(&mut self) {
        self.purge_some(PURGED_AT_ONCE);
        self.state.moved.purge(self.now.at);
    }

    /// The same of so many; answers whether there may be more.
    fn purge_some(&mut self, most: usize) -> bool {
        let purged = self.state.sessions.purge_some(self.now.at, most);
        let more = purged.len() == most;
        for ((service, id), ended, at) in purged {
            self.state.timed_out(&service, id, ended, at);
        }
        more
    }

    /// Moves the news of so many sessions of a service that have ended by time to its outbox.
    pub(super) fn reap(&mut self, service: &Name, limit: usize) -> Reaped {
        let more = self.purge_some(limit);
        let (outbox, now) = (self.state.outbox(service), self.now);
        let ended = outbox.append_overdue(limit, now.at, now.wall);
        let next = (more || outbox.has_more()).then(ReapCursor::default);
        Reaped::new(ended, outbox.status(now.at).into_iter().collect(), next)
    }

    /// Appends what has happened to a session that is published.
    fn append(&mut self, news: SessionNews, id: &Id, user: &str) {
        let now = self.now;
        self.state.outbox(&id.0).append(news, id.1.clone(), user.to_owned(), now.at, now.wall);
    }

    /// The session, if it is live.
    fn get(&self, id: &Id) -> Option<&Stored> {
        self.state.sessions.get(id, self.now.at).filter(|session| session.ends(self.bounds) > self.now.at)
    }

    /// The id under which a session goes on that may have been rotated, and that of what may be live otherwise.
    pub(super) fn resolve(&self, service: &Name, id: &SessionId) -> Id {
        let mut id = (service.clone(), id.clone());
        // Of several rotations in a row each has a grace of its own.
        for _ in 0..Rotation::MAX_HOPS {
            match self.state.moved.get(&id, self.now.at) {
                Some((to, _)) if self.get(&id).is_none() => id.1 = to.clone(),
                _ => break,
            }
        }
        id
    }

    /// The session, if it is live, to be changed by the change of this number.
    fn get_mut(&mut self, id: &Id) -> Option<(&mut Stored, u64)> {
        self.state.next += 1;
        let (now, bounds, number) = (self.now.at, self.bounds, self.state.next);
        let session = self.state.sessions.get_mut(id, now).filter(|session| session.ends(bounds) > now)?;
        Some((session, number))
    }

    /// Ends a session; answers what it was, if it was live.
    pub(super) fn end(&mut self, id: &Id, reason: SessionEnd) -> Option<SessionRecord> {
        let record = self.record(id);
        let session = self.state.sessions.remove(id, self.now.at)?;
        self.state.changed(id);
        if record.is_none() {
            // Within what is stored, and beyond the bounds.
            let at = session.ends(self.bounds);
            self.state.timed_out(&id.0, id.1.clone(), session, at);
            return None;
        }
        self.state.unlist(&id.0, &session);
        if session.publish {
            self.append(SessionNews::Ended(reason), id, &session.user);
        }
        record
    }

    /// A live session.
    pub(super) fn record(&self, id: &Id) -> Option<SessionRecord> {
        Some(self.get(id)?.record(&id.1, self.bounds, self.now))
    }

    /// A live session; its use is recorded if that is due.
    pub(super) fn use_session(&mut self, id: &Id) -> Option<SessionRecord> {
        let now = self.now;
        let (session, number) = self.get_mut(id)?;
        if session.is_touch_due(now) {
            session.touch(number, now);
            self.moved(id);
        }
        self.record(id)
    }

    /// The live sessions of a user, the oldest first.
    pub(super) fn live(&self, service: &Name, user: &str) -> Vec<Id> {
        let listed = self.state.by_user.get(&(service.clone(), user.to_owned()));
        let ids = listed.into_iter().flat_map(BTreeMap::values).map(|id| (service.clone(), id.clone()));
        ids.filter(|id| self.get(id).is_some()).collect()
    }

    /// The same without their fields, the newest first.
    pub(super) fn list(&self, service: &Name, user: &str) -> Vec<SessionSummary> {
        let newest_first = self.live(service, user).into_iter().rev();
        newest_first.filter_map(|id| self.record(&id)).map(SessionRecord::into_summary).collect()
    }

    pub(super) fn create(&mut self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        let id = (service.clone(), session.id.clone());
        if self.get(&id).is_some() {
            return Ok(CreateOutcome::IdTaken);
        }
        let replaced = session.replaces.as_ref().map(|of| (of.version, (service.clone(), of.id.clone())));
        let replaced = replaced.and_then(|(expected, id)| {
            let stored = self.get(&id).filter(|stored| stored.user == session.user)?;
            Some((expected, id, stored.version))
        });
        if let Some((expected, _, version)) = &replaced
            && expected != version
        {
            return Ok(CreateOutcome::Conflict { version: *version });
        }
        if replaced.is_none()
            && let Some(of) = &session.replaces
            && let Some(version) = self.gone_on(service, &of.id, &session.user)
        {
            return Ok(CreateOutcome::Conflict { version });
        }
        let replaced = replaced.map(|(_, id, _)| id);
        let evicted = if session.anonymous {
            Vec::new()
        } else {
            let Some(evicted) = self.make_room(service, &session, replaced.as_ref())? else {
                return Ok(CreateOutcome::LimitReached);
            };
            evicted
        };
        if let Some(replaced) = &replaced {
            self.end(replaced, SessionEnd::Replaced);
        }
        // Where it led is over.
        self.state.moved.remove(&id, self.now.at);
        self.state.next += 1;
        let stored = Stored::new(session, self.state.next, self.now);
        let record = stored.record(&id.1, self.bounds, self.now);
        if stored.publish {
            self.append(SessionNews::Created, &id, &stored.user);
        }
        if let Some(ended) = self.state.keep(id.clone(), stored) {
            let at = ended.ends(self.bounds);
            self.state.timed_out(service, id.1, ended, at);
        }
        Ok(CreateOutcome::Created { record, evicted, replaced: replaced.map(|id| id.1) })
    }

    /// The version of the session of this user that goes on under another id than this one.
    fn gone_on(&self, service: &Name, id: &SessionId, user: &str) -> Option<u64> {
        let resolved = self.resolve(service, id);
        let session = self.get(&resolved).filter(|session| resolved.1 != *id && session.user == user);
        session.map(|session| session.version)
    }

    /// Evicts what the limit says, and answers that; `None` if it says that the new session is rejected.
    fn make_room(
        &mut self,
        service: &Name,
        session: &NewSession,
        replaced: Option<&Id>,
    ) -> Result<Option<Vec<SessionId>>> {
        let mut live = self.live(service, &session.user);
        live.retain(|id| Some(id) != replaced);
        let room_for = session.limit.count() as usize - 1;
        let excess = live.len().saturating_sub(room_for);
        match session.limit {
            SessionLimit::Reject(_) if excess > 0 => return Ok(None),
            SessionLimit::EvictLeastRecent(_) => {
                live.sort_by_key(|id| self.get(id).map(|session| session.used));
            }
            SessionLimit::Reject(_) | SessionLimit::EvictOldest(_) => {}
            other => return Err(Error::unsupported(format!("the session limit {other:?} is not known"))),
        }
        let evicted = live.into_iter().take(excess).map(|id| {
            self.end(&id, SessionEnd::Evicted);
            id.1
        });
        Ok(Some(evicted.collect()))
    }

    pub(super) fn patch(&mut self, id: &Id, patch: &Patch, can: SessionCapabilities) -> Result<PatchOutcome> {
        let now = self.now;
        let moved = self.state.moved.get(id, now.at).cloned();
        let Some((session, number)) = self.get_mut(id) else {
            return Ok(moved.map_or(PatchOutcome::Gone, |(to, _)| PatchOutcome::Moved { to }));
        };
        if patch.expected_version.is_some_and(|version| version != session.version) {
            return Ok(PatchOutcome::Conflict { version: session.version });
        }
        let mut data = session.data.clone();
        for field in &patch.remove {
            data.remove(field);
        }
        data.extend(patch.set.clone());
        can.check_data(data.len(), data.iter().map(|(name, value)| name.len() + value.len()).sum())?;
        session.data = data;
        let device = patch.device.clone();
        session.device.label = device.label.or(session.device.label.take());
        session.device.address = device.address.or(session.device.address.take());
        session.version += 1;
        session.touch(number, now);
        let version = session.version;
        self.moved(id);
        Ok(PatchOutcome::Saved { version })
    }

    pub(super) fn rotate(
        &mut self,
        id: &Id,
        user: &str,
        rotation: &Rotation,
        can: SessionCapabilities,
    ) -> Result<RotateOutcome> {
        let to = (id.0.clone(), rotation.to.clone());
        if self.get(id).is_none_or(|session| session.user != user) {
            let moved = self.state.moved.get(id, self.now.at).filter(|(_, owner)| owner == user);
            return Ok(match moved {
                Some((by, _)) => RotateOutcome::Superseded { by: by.clone() },
                None => RotateOutcome::Gone,
            });
        }
        if self.get(&to).is_some() || self.state.moved.get(&to, self.now.at).is_some() {
            return Ok(RotateOutcome::IdTaken);
        }
        match self.patch(id, &rotation.patch, can)? {
            PatchOutcome::Saved { .. } => {}
            PatchOutcome::Conflict { version } => return Ok(RotateOutcome::Conflict { version }),
            _ => return Ok(RotateOutcome::Gone),
        }
        let Some(session) = self.state.sessions.remove(id, self.now.at) else {
            return Ok(RotateOutcome::Gone);
        };
        let record = session.record(&to.1, self.bounds, self.now);
        if session.publish {
            self.append(SessionNews::Rotated { to: to.1.clone() }, id, &session.user);
        }
        // Under the number of its creation, in the place of the old id.
        if let Some(ended) = self.state.keep(to.clone(), session) {
            let at = ended.ends(self.bounds);
            self.state.timed_out(&id.0, to.1.clone(), ended, at);
        }
        let millis = u64::try_from(rotation.grace.as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            let until = self.now.at.saturating_add(std::time::Duration::from_millis(millis));
            self.state.moved.insert(id.clone(), (to.1, user.to_owned()), until);
        }
        Ok(RotateOutcome::Rotated { record })
    }

    pub(super) fn touch(&mut self, id: &Id) -> TouchOutcome {
        let (now, bounds) = (self.now, self.bounds);
        let Some((session, number)) = self.get_mut(id) else {
            return TouchOutcome::Gone;
        };
        session.touch(number, now);
        let ends = session.ends(bounds);
        self.moved(id);
        TouchOutcome::Touched { expires_in: ends.saturating_since(now.at) }
    }

    /// Moves the end of a session that was used just now.
    fn moved(&mut self, id: &Id) {
        self.state.changed(id);
        if let Some(ends) = self.get(id).map(|session| session.ends(SessionBounds::NONE)) {
            self.state.sessions.extend(id, ends, self.now.at);
        }
    }
}
