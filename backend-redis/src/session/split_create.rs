//! Creating a session while its slot is being moved: see [`split`](super::split).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use stanchion::random::jittered;
use stanchion::session::{CreateOutcome, NewSession, Rotation, SessionId, SessionLimit, SessionRecord};
use stanchion::time::Timestamp;
use stanchion::{Effect, ErrorKind, Result};

use super::between::is_between;
use super::replies::{DESTROYED, dated, found, id_of, ids_of, is_live, new_record, successor};
use super::single::{Due, lived};
use super::split::{Member, PAUSE, SplitSessions, UserKeys, owned};
use super::stored::{lives, record, text_of};
use crate::{reply, scripts};

/// What the attempts to create a session have changed so far.
#[derive(Default)]
struct Done {
    reserved: bool,
    /// The hashes of those that had to make room.
    evicted: Vec<String>,
    /// Whether the one whose place it takes was ended for it.
    replaced: bool,
}

/// What is under the key of a session.
enum State {
    Live(SessionRecord),
    /// Somebody is creating it, or rotates the one with this hash.
    Reserved(Option<String>),
    Ended,
    /// Nobody can read it.
    Malformed,
}

/// What has become of a session that does not live under its id.
enum GoneOn {
    /// It is about to go on under another one.
    Between,
    /// It goes on under another one.
    Live { version: u64 },
    /// It has ended, or is another user's.
    Nowhere,
}

impl SplitSessions {
    fn state(&self, member: &Member, reply: Result<Value>) -> Result<State> {
        let fields = match reply {
            Ok(reply) => dated(reply).ok_or_else(|| self.call.unexpected())?,
            Err(error) if error.kind() == ErrorKind::Codec => return Ok(State::Malformed),
            Err(error) => return Err(error),
        };
        let Some((now, fields)) = fields else {
            return Ok(State::Ended);
        };
        if text_of(&fields, "reserved").is_some() {
            return Ok(State::Reserved(text_of(&fields, "beside")));
        }
        let id = id_of(&self.user, &member.hash);
        Ok(match id.and_then(|id| record(&id, now, fields, self.bounds.values)) {
            Some(record) if is_live(&record) => State::Live(record),
            Some(_) => State::Ended,
            None => State::Malformed,
        })
    }

    /// Creates a session, in place of others where the limit says so.
    ///
    /// # Cancel safety
    /// Dropping the future does not end the work.
    pub(super) async fn create(self, session: NewSession) -> Result<CreateOutcome> {
        let (shared, call) = (Arc::clone(&self.shared), self.call);
        owned(&shared, call, async move { self.create_until_done(&session).await }).await
    }

    async fn create_until_done(&self, session: &NewSession) -> Result<CreateOutcome> {
        let environment = &self.shared.context.environment;
        let mut bytes = [0; 16];
        environment.random.fill(&mut bytes)?;
        let token = format!("{:032x}", u128::from_be_bytes(bytes));
        let mut done = Done::default();
        loop {
            match self.try_create(session, &token, &mut done).await {
                Ok(Some(outcome)) => {
                    // What was reserved by an attempt before, and is in the way of another one until it expires.
                    if done.reserved && matches!(outcome, CreateOutcome::Conflict { .. }) {
                        self.undo(session).await;
                    }
                    return Ok(outcome);
                }
                Ok(None) => environment.sleep(jittered(&*environment.random, PAUSE)).await,
                Err(error) if !done.reserved && done.evicted.is_empty() => return Err(error),
                Err(error) => {
                    // The reservation would be in the way of another attempt until it expires.
                    if done.reserved {
                        self.undo(session).await;
                    }
                    return Err(error.with_effect(Effect::Unknown));
                }
            }
        }
    }

    /// Once; `None` if somebody else has changed the user's sessions meanwhile. What has been changed is noted in `done`.
    async fn try_create(
        &self,
        session: &NewSession,
        token: &str,
        done: &mut Done,
    ) -> Result<Option<CreateOutcome>> {
        let (own, replaces) = (session.id.hash_text(), session.replaces.as_ref());
        let mut replaced = None;
        let members = self.members().await?;
        let (mut live, mut ended, mut reserved) = (Vec::new(), Vec::new(), Vec::new());
        let mut alive = HashSet::new();
        for (order, (member, reply)) in members.iter().zip(self.load(&members).await).enumerate() {
            let state = self.state(member, reply)?;
            // Only a rotation puts one at the place of another: this is the same session, read before it and after it.
            if matches!(state, State::Live(_)) && !alive.insert(member.place()) {
                return Ok(None);
            }
            match state {
                State::Live(_) if member.hash == own => return Ok(Some(CreateOutcome::IdTaken)),
                State::Live(record) if replaces.is_some_and(|of| of.id == record.id) => {
                    if replaces.is_some_and(|of| of.version != record.version) {
                        return Ok(Some(CreateOutcome::Conflict { version: record.version }));
                    }
                    replaced = Some(&member.hash);
                }
                _ if member.hash == own => {}
                State::Live(record) => live.push((false, record.last_used_at, order)),
                State::Reserved(beside) => reserved.push((order, member, beside)),
                State::Ended => ended.push(member.hash.as_bytes()),
                State::Malformed => {}
            }
        }
        if let Some(of) = replaces.filter(|_| replaced.is_none()) {
            match self.gone_on(&of.id).await? {
                GoneOn::Between => return Ok(None),
                GoneOn::Live { version } => return Ok(Some(CreateOutcome::Conflict { version })),
                GoneOn::Nowhere => {}
            }
        }
        for (order, member, beside) in reserved {
            // One that is rotated is counted once: as it lives, at the same place, or else as what is about to live.
            if beside.is_none() || !alive.contains(member.place()) {
                // After all others, as it is about to be used.
                live.push((true, Timestamp::default(), order));
            }
        }
        live.sort_unstable_by_key(|(.., order)| *order);
        let excess = (live.len() + 1).saturating_sub(session.limit.count() as usize);
        match session.limit {
            SessionLimit::Reject(_) if excess > 0 => return Ok(Some(CreateOutcome::LimitReached)),
            SessionLimit::EvictLeastRecent(_) => live.sort_unstable(),
            _ => {}
        }
        match self.reserve(session, &own, token, "").await? {
            1 => done.reserved = true,
            0 => return Ok(Some(CreateOutcome::IdTaken)),
            _ => return Ok(None),
        }
        let Some(created) = self.enter(session, &own, &members, &ended).await? else {
            return Ok(None);
        };
        if let (Some(hash), Some(of)) = (replaced, replaces) {
            match self.end_at(hash, of.version, "replaced").await? {
                Some(true) => done.replaced = true,
                // It has ended, goes on under another name, or is being changed: only to read which version it has.
                Some(false) | None => return Ok(None),
            }
        }
        let making_room: Vec<_> =
            live.iter().take(excess).map(|(.., order)| members[*order].hash.as_str()).collect();
        let (ends, outcome) = self.end(&making_room, "evicted").await;
        let gone = ends.all(&done.evicted);
        let are_gone = gone.len() == making_room.len();
        done.evicted.extend(gone);
        outcome?;
        // One has ended by itself, or goes on under another name, which counts.
        if !are_gone {
            return Ok(None);
        }
        if session.publish {
            // Before it is confirmed, since from then on its end must be found.
            self.due(Due::In(self.reserved_for(), session.absolute.as_duration()), &own).await?;
        }
        let Some([used, deadline, left]) = self.confirm(session, &own, token, created).await? else {
            return Ok(None);
        };
        let (created, used) = (Timestamp::from_micros(created), Timestamp::from_micros(used));
        let record = new_record(session.clone(), created, used, deadline, left);
        let evicted = ids_of(&self.user, std::mem::take(&mut done.evicted));
        let replaced = session.replaces.as_ref().filter(|_| done.replaced).map(|of| of.id.clone());
        Ok(Some(CreateOutcome::Created { record, evicted, replaced }))
    }

    /// Under which id a session goes on that does not live under this one.
    async fn gone_on(&self, id: &SessionId) -> Result<GoneOn> {
        let (mut id, args) = (id.clone(), [self.bounds.arg()]);
        for hop in 0..=Rotation::MAX_HOPS {
            let key = self.key(&id.hash_text());
            let keys = [key.as_str()];
            let stored = self.shared.client.step(self.call, scripts::SESSION_LOAD.with(&keys, &args)).await?;
            if is_between(&stored) {
                return Ok(GoneOn::Between);
            }
            if let Some(next) = successor(&id, &stored) {
                id = next;
                continue;
            }
            let record = match found(self.call, &id, self.bounds.values, stored) {
                Err(error) if error.kind() == ErrorKind::Codec => None,
                record => record?,
            };
            return Ok(match record.filter(|record| record.user == self.user) {
                // It did not live in the index when that was read.
                Some(_) if hop == 0 => GoneOn::Between,
                Some(record) => GoneOn::Live { version: record.version },
                None => GoneOn::Nowhere,
            });
        }
        Ok(GoneOn::Nowhere)
    }

    /// Ends what was reserved. What was not confirmed is no session, and nothing is published of it. It may have been confirmed, by a
    /// step whose reply was lost: then its end has been noted in its key.
    async fn undo(&self, session: &NewSession) {
        let own = session.id.hash_text();
        let _ = self.end(&[&own], DESTROYED).await;
        if session.publish
            && let Ok(reply) =
                self.load(&[Member { hash: own.clone(), score: String::new() }]).await.remove(0)
            && dated(reply) == Some(None)
        {
            let _ = self.due(Due::Never, &own).await;
        }
    }

    /// Ends the session with this hash if it has this version, and answers whether it lived; `None` if it has another one.
    async fn end_at(&self, hash: &str, version: u64, reason: &str) -> Result<Option<bool>> {
        let (key, version) = (self.key(hash), version.to_string());
        let (keys, args) = ([key.as_str()], [self.bounds.arg(), version.as_bytes(), reason.as_bytes(), b""]);
        let reply = self.shared.client.step(self.call, scripts::SESSION_END.with(&keys, &args)).await?;
        let lived = match lived(reply) {
            Some(2) => return Ok(None),
            Some(lived @ (0 | 1)) => lived == 1,
            _ => return Err(self.call.unexpected()),
        };
        let UserKeys { expiries, owner, .. } = &self.keys;
        let (due, hashes) = (Due::After(Duration::ZERO), [hash.to_owned()]);
        due.note_if_possible(&self.shared, self.call, expiries, owner, &hashes).await;
        Ok(Some(lived))
    }

    /// Puts it into the index, if that still has these members; answers the time of creation.
    async fn enter(
        &self,
        session: &NewSession,
        hash: &str,
        members: &[Member],
        ended: &[&[u8]],
    ) -> Result<Option<u64>> {
        let life = session.absolute.as_duration().saturating_add(self.reserved_for());
        let (life, count) = (life.as_millis().to_string(), members.len().to_string());
        let mut args = vec![self.bounds.arg(), hash.as_bytes(), life.as_bytes(), count.as_bytes()];
        args.extend(members.iter().flat_map(|member| [member.hash.as_bytes(), member.score.as_bytes()]));
        args.extend(ended);
        let keys = [self.keys.index.as_str()];
        match self.shared.client.step(self.call, scripts::SESSION_ENTER.with(&keys, &args)).await? {
            Value::Nil => Ok(None),
            reply => reply::count(reply).map(Some).ok_or_else(|| self.call.unexpected()),
        }
    }

    /// Makes a session of the reservation, if that is still there; answers last use, deadline and what is left, in µs.
    async fn confirm(
        &self,
        session: &NewSession,
        hash: &str,
        token: &str,
        created: u64,
    ) -> Result<Option<[u64; 3]>> {
        let [idle, absolute, every, own] = lives(session);
        let created = created.to_string();
        let publish = if session.publish { [self.keys.owner.as_str(), "1"] } else { [""; 2] };
        let times = [&created, &idle, &absolute, &every, &own, "", "1"];
        self.confirm_as(hash, token, times, publish).await
    }
}
