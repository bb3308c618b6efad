//! The sessions of one user while their slot is being moved, and no script gets at all of their keys: some are at the node
//! that the slot leaves, some at the one that it goes to, and what is not there is looked for at both.
//!
//! Each step is on one key, which is at one place at a time, and the order of the steps keeps what a script keeps elsewhere:
//! - A session that is being created is stored first, *reserved*: for whoever reads it, it has ended. Then it is put into the
//!   index, if that is still what was counted; so of two that count the same only one comes in. Then those that make room are
//!   ended, and last the reservation is confirmed. Until then nobody has the session, and afterwards it is in the index.
//! - Whoever ends a user's sessions, or takes a hash out of the index, removes the session's key first, a reserved one too:
//!   that can't be confirmed any more. (Who enters a session takes out only what has ended, and only if the index is as it was read.) So a session is never live and not in the index.
//! - What is in the index without a session is passed over by all who read it.
//! - A session that is rotated is reserved under its new id with what it holds, entered at its own place in the index, and confirmed
//!   once the old one has become a pointer to it, which decides of several who rotate it. Until then it is the old one that lives, and
//!   afterwards nobody but the new one.
//! - What is to be published is noted in the session's own key, in the step in which it happens: that it was created, or why it
//!   has ended. Its expiry has been entered before it is confirmed, so the reaper comes by, and appends the news in one step
//!   once the slot has moved.
//!
//! The scripts that have all keys, which may run as soon as the slot has moved, keep to the same.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use stanchion::random::jittered;
use stanchion::session::{CreateOutcome, NewSession, SessionLimit, SessionRecord, SessionSummary};
use stanchion::time::Timestamp;
use stanchion::{Effect, Error, ErrorKind, Result};

use super::bounds::Bounds;
use super::replies::{DESTROYED, dated, id_of, ids_of, is_live, new_record, readable, texts};
use super::single::{Due, lived};
use super::stored::{Fields, lives, record, summary_of_whole};
use crate::command::{Call, Scripts};
use crate::shared::Shared;
use crate::{error, reply, scripts};

/// Before what somebody else has changed meanwhile is tried once more, with jitter.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// How often a user's sessions are looked for that have been rotated while they were ended.
const MOST_ROUNDS: usize = 10;

pub(super) struct SplitSessions {
    pub(super) shared: Arc<Shared>,
    pub(super) bounds: Bounds,
    /// Under way: its deadline is that of all steps.
    pub(super) call: Call,
    pub(super) user: String,
    pub(super) keys: UserKeys,
}

/// The keys of a user's sessions.
#[derive(Debug, Clone)]
pub(super) struct UserKeys {
    /// The key of the index.
    pub(super) index: String,
    /// What the keys of the sessions begin with.
    pub(super) stem: String,
    /// The expiries of the bucket.
    pub(super) expiries: String,
    /// The outbox of the bucket.
    pub(super) outbox: String,
    /// The escaped id of the user; empty for anonymous sessions.
    pub(super) owner: String,
}

/// What is in the index.
struct Member {
    hash: String,
    score: String,
}

impl Member {
    /// Its place among the sessions of its user. What is no number comes first, and is ended.
    fn order(&self) -> f64 {
        self.score.parse().unwrap_or(f64::NEG_INFINITY)
    }
}

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
    /// Somebody is creating it.
    Reserved,
    Ended,
    /// Nobody can read it.
    Malformed,
}

impl SplitSessions {
    pub(super) fn key(&self, hash: &str) -> String {
        [&self.keys.stem, hash].concat()
    }

    async fn members(&self) -> Result<Vec<Member>> {
        let keys = [self.keys.index.as_str()];
        let reply = self.shared.client.step(self.call, scripts::SESSION_INDEX.with(&keys, &[])).await?;
        let mut texts = texts(reply).ok_or_else(|| self.call.unexpected())?.into_iter();
        let pairs = std::iter::from_fn(|| Some(Member { hash: texts.next()?, score: texts.next()? }));
        Ok(pairs.collect())
    }

    /// What is stored of each of these sessions, and by when.
    async fn load(&self, members: &[Member]) -> Vec<Result<Value>> {
        let loads = Scripts::many(members.len(), |step| {
            scripts::SESSION_LOAD.routed(
                step.form,
                &[&self.key(&members[step.index].hash)],
                &[self.bounds.arg()],
            )
        });
        self.shared.client.steps(self.call, loads).await
    }

    fn state(&self, member: &Member, reply: Result<Value>) -> Result<State> {
        let fields = match reply {
            Ok(reply) => dated(reply).ok_or_else(|| self.call.unexpected())?,
            Err(error) if error.kind() == ErrorKind::Codec => return Ok(State::Malformed),
            Err(error) => return Err(error),
        };
        let Some((now, fields)) = fields else {
            return Ok(State::Ended);
        };
        if is_reserved(&fields) {
            return Ok(State::Reserved);
        }
        let id = id_of(&self.user, &member.hash);
        Ok(match id.and_then(|id| record(&id, now, fields, self.bounds.values)) {
            Some(record) if is_live(&record) => State::Live(record),
            Some(_) => State::Ended,
            None => State::Malformed,
        })
    }

    /// The newest first. A session that lives all the while is in the index, and is found.
    pub(super) async fn list(&self) -> Result<Vec<SessionSummary>> {
        let mut members = self.members().await?;
        members.reverse();
        let mut records = Vec::new();
        for (member, reply) in members.iter().zip(self.load(&members).await) {
            let hash = || Value::BulkString(member.hash.clone().into_bytes());
            match reply {
                Ok(reply) => {
                    if let Some((now, fields)) = dated(reply).ok_or_else(|| self.call.unexpected())? {
                        let one = std::iter::once((hash(), fields));
                        records.extend(readable(&self.user, one, |id, fields| {
                            summary_of_whole(id, now, &fields, self.bounds.values)
                        }));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Codec => {}
                Err(error) => return Err(error),
            }
        }
        Ok(records)
    }

    /// Ends the sessions with these hashes; answers those that were live, and whether that is all there is to say.
    pub(super) async fn end(&self, hashes: &[&str], reason: &str) -> (Vec<String>, Result<()>) {
        let ends = Scripts::many(hashes.len(), |step| {
            let args = [self.bounds.arg(), b"", reason.as_bytes(), b""];
            scripts::SESSION_END.routed(step.form, &[&self.key(hashes[step.index])], &args)
        });
        let (mut ended, mut outcome) = (Vec::new(), Ok(()));
        for (hash, reply) in hashes.iter().zip(self.shared.client.steps(self.call, ends).await) {
            match reply.map(lived) {
                Ok(Some(1)) => ended.push((*hash).to_owned()),
                Ok(Some(0)) => {}
                Ok(_) => outcome = Err(self.call.unexpected()),
                // One that may have been ended leaves all of them in doubt.
                Err(error) => {
                    outcome = Err(match &outcome {
                        Err(before) if before.effect() == Effect::Unknown => {
                            error.with_effect(Effect::Unknown)
                        }
                        _ => error,
                    });
                }
            }
        }
        let UserKeys { expiries, owner, .. } = &self.keys;
        let due = Due::After(Duration::ZERO);
        due.note_if_possible(&self.shared, self.call, expiries, owner, &ended).await;
        (ended, outcome)
    }

    /// Notes when the reaper comes by the session with this hash.
    pub(super) async fn due(&self, due: Due, hash: &str) -> Result<()> {
        let UserKeys { expiries, owner, .. } = &self.keys;
        due.note(&self.shared, self.call, expiries, owner, &[hash.to_owned()]).await
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

    /// Ends all but the one with this hash; answers the hashes of those that were live, the oldest first.
    ///
    /// # Cancel safety
    /// Dropping the future does not end the work.
    pub(super) async fn destroy_all(self, kept: String) -> Result<Vec<String>> {
        let (shared, call) = (Arc::clone(&self.shared), self.call);
        owned(&shared, call, async move { self.end_all(&kept).await }).await
    }

    /// A session that is rotated meanwhile is entered under its new name before it leaves the old one: whoever found the old name
    /// left finds the new one in the next round.
    async fn end_all(&self, kept: &str) -> Result<Vec<String>> {
        let (mut seen, mut all) = (HashSet::new(), Vec::new());
        let mut newest = None;
        for _ in 0..MOST_ROUNDS {
            let in_doubt =
                |error: Error| if seen.is_empty() { error } else { error.with_effect(Effect::Unknown) };
            let mut members = self.members().await.map_err(in_doubt)?;
            members.retain(|member| member.hash != kept && !seen.contains(&member.hash));
            // A session that is rotated keeps its place; what was created since has a later one, and is no concern of this call.
            let places = members.iter().map(Member::order);
            let newest = *newest.get_or_insert_with(|| places.fold(f64::NEG_INFINITY, f64::max));
            members.retain(|member| member.order() <= newest);
            if members.is_empty() {
                return Ok(all);
            }
            let hashes: Vec<_> = members.iter().map(|member| member.hash.as_str()).collect();
            let (ended, outcome) = self.end(&hashes, DESTROYED).await;
            all.extend(ended);
            // Some may have ended, and which is not answered.
            outcome
                .map_err(|error| if all.is_empty() { error } else { error.with_effect(Effect::Unknown) })?;
            let pairs: Vec<_> =
                members.iter().flat_map(|member| [member.hash.as_bytes(), member.score.as_bytes()]).collect();
            let keys = [self.keys.index.as_str()];
            let left = self.shared.client.step(self.call, scripts::SESSION_LEAVE.with(&keys, &pairs)).await;
            // What stays in the index is passed over.
            if let Err(error) = left {
                tracing::debug!(%error, "ended sessions are still in the index of their user");
            }
            seen.extend(members.into_iter().map(|member| member.hash));
        }
        Err(Error::new(ErrorKind::Unavailable, "new sessions of the user come all the time")
            .with_effect(Effect::Unknown))
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
        let (mut live, mut ended) = (Vec::new(), Vec::new());
        for (order, (member, reply)) in members.iter().zip(self.load(&members).await).enumerate() {
            match self.state(member, reply)? {
                State::Live(_) if member.hash == own => return Ok(Some(CreateOutcome::IdTaken)),
                State::Live(record) if replaces.is_some_and(|of| of.id == record.id) => {
                    if replaces.is_some_and(|of| of.version != record.version) {
                        return Ok(Some(CreateOutcome::Conflict { version: record.version }));
                    }
                    replaced = Some(&member.hash);
                }
                _ if member.hash == own => {}
                State::Live(record) => live.push((false, record.last_used_at, order)),
                // After all others, as it is about to be used.
                State::Reserved => live.push((true, Timestamp::default(), order)),
                State::Ended => ended.push(member.hash.as_bytes()),
                State::Malformed => {}
            }
        }
        let excess = (live.len() + 1).saturating_sub(session.limit.count() as usize);
        match session.limit {
            SessionLimit::Reject(_) if excess > 0 => return Ok(Some(CreateOutcome::LimitReached)),
            SessionLimit::EvictLeastRecent(_) => live.sort_unstable(),
            _ => {}
        }
        match self.reserve(session, &own, token).await? {
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
        let (gone, outcome) = self.end(&making_room, "evicted").await;
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

    /// How long a reservation is kept at most: longer than the call can take.
    pub(super) fn reserved_for(&self) -> Duration {
        self.shared.deadline.saturating_mul(2).saturating_add(Duration::from_secs(1))
    }

    pub(super) async fn reserve(&self, session: &NewSession, hash: &str, token: &str) -> Result<u64> {
        let (key, life) = (self.key(hash), self.reserved_for().as_millis().to_string());
        let mut args = vec![self.bounds.arg(), token.as_bytes(), session.user.as_bytes(), life.as_bytes()];
        let fields = Fields::of_new(session);
        args.extend(fields.args());
        let keys = [key.as_str()];
        let reply = self.shared.client.step(self.call, scripts::SESSION_RESERVE.with(&keys, &args)).await?;
        reply::count(reply).ok_or_else(|| self.call.unexpected())
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

    /// The same with the arguments of the script after the token.
    pub(super) async fn confirm_as(
        &self,
        hash: &str,
        token: &str,
        texts: [&str; 7],
        publish: [&str; 2],
    ) -> Result<Option<[u64; 3]>> {
        let mut args = vec![self.bounds.arg(), token.as_bytes()];
        args.extend(texts.iter().chain(&publish).map(|text| text.as_bytes()));
        let key = self.key(hash);
        let keys = [key.as_str()];
        let reply = self.shared.client.step(self.call, scripts::SESSION_CONFIRM.with(&keys, &args)).await?;
        if reply == Value::Nil {
            return Ok(None);
        }
        let times = reply::array(reply).and_then(|items| items.into_iter().map(reply::count).collect());
        let times = times.and_then(|times: Vec<_>| times.try_into().ok());
        times.map(Some).ok_or_else(|| self.call.unexpected())
    }
}

/// Runs the steps in a task that owns them, since between two of them something is half done. It ends within one deadline, also
/// where the call has used up some of its own: then its caller has been answered that the outcome is not known.
pub(super) async fn owned<T: Send + 'static>(
    shared: &Shared,
    call: Call,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let deadline = shared.deadline;
    let work = async move {
        let outcome = tokio::time::timeout(deadline, work).await;
        outcome.unwrap_or_else(|_| Err(error::timed_out(deadline, call.access)))
    };
    match shared.context.environment.tasks.spawn(work)?.await {
        Ok(Some(outcome)) => outcome,
        // The backend was closed meanwhile.
        _ => {
            Err(Error::new(ErrorKind::Closed, "the backend is closed").with_effect(call.access.unanswered()))
        }
    }
}

/// Whether somebody is creating the session with these fields.
fn is_reserved(fields: &Value) -> bool {
    let Value::Array(items) = fields else {
        return false;
    };
    let mut names = items.iter().step_by(2);
    names.any(|name| matches!(name, Value::BulkString(bytes) if bytes == b"reserved"))
}
