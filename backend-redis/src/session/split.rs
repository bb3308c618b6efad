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
use stanchion::session::{NewSession, Rotation};
use stanchion::{Effect, Error, ErrorKind, Result};

use super::bounds::Bounds;
use super::replies::{DESTROYED, id_of, successor, texts};
use super::single::{Due, beside, lived};
use super::stored::Fields;
use crate::command::{Call, Scripts};
use crate::shared::Shared;
use crate::{error, reply, scripts};

/// Before what somebody else has changed meanwhile is tried once more, with jitter.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// How often a user's sessions are looked for that are rotated while they are ended, or listed.
pub(super) const MOST_ROUNDS: usize = 10;

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
#[derive(PartialEq, Eq)]
pub(super) struct Member {
    pub(super) hash: String,
    pub(super) score: String,
}

impl Member {
    /// Its place among the sessions of its user.
    pub(super) fn place(&self) -> &str {
        &self.score
    }

    /// The same as a number. What is none comes first, and is ended.
    fn order(&self) -> f64 {
        self.score.parse().unwrap_or(f64::NEG_INFINITY)
    }
}

/// What came of ending sessions.
#[derive(Default)]
pub(super) struct Ends {
    /// The hashes of those that were live.
    pub(super) lived: Vec<String>,
    /// Those that were reserved for a session that is rotated, with the hash of that.
    reserved: Vec<(String, String)>,
}

impl Ends {
    /// Those that were live, and those that had just taken the place of one that was not, nor among these.
    pub(super) fn all(self, ended: &[String]) -> Vec<String> {
        let Self { mut lived, reserved } = self;
        for (hash, beside) in reserved {
            if !lived.contains(&beside) && !ended.contains(&beside) {
                lived.push(hash);
            }
        }
        lived
    }
}

impl SplitSessions {
    pub(super) fn key(&self, hash: &str) -> String {
        [&self.keys.stem, hash].concat()
    }

    pub(super) async fn members(&self) -> Result<Vec<Member>> {
        let keys = [self.keys.index.as_str()];
        let reply = self.shared.client.step(self.call, scripts::SESSION_INDEX.with(&keys, &[])).await?;
        let mut texts = texts(reply).ok_or_else(|| self.call.unexpected())?.into_iter();
        let pairs = std::iter::from_fn(|| Some(Member { hash: texts.next()?, score: texts.next()? }));
        Ok(pairs.collect())
    }

    /// What is stored of each of these sessions, and by when.
    pub(super) async fn load(&self, members: &[Member]) -> Vec<Result<Value>> {
        let loads = Scripts::many(members.len(), |step| {
            scripts::SESSION_LOAD.routed(
                step.form,
                &[&self.key(&members[step.index].hash)],
                &[self.bounds.arg()],
            )
        });
        self.shared.client.steps(self.call, loads).await
    }

    /// Ends the sessions with these hashes; answers what they were, and whether that is all there is to say.
    pub(super) async fn end(&self, hashes: &[&str], reason: &str) -> (Ends, Result<()>) {
        let scripts = Scripts::many(hashes.len(), |step| {
            let args = [self.bounds.arg(), b"", reason.as_bytes(), b""];
            scripts::SESSION_END.routed(step.form, &[&self.key(hashes[step.index])], &args)
        });
        let (mut ends, mut outcome) = (Ends::default(), Ok(()));
        for (hash, reply) in hashes.iter().zip(self.shared.client.steps(self.call, scripts).await) {
            let reply = reply.map(|reply| (beside(&reply), lived(reply)));
            match reply {
                Ok((_, Some(1))) => ends.lived.push((*hash).to_owned()),
                Ok((Some(beside), Some(0))) => ends.reserved.push(((*hash).to_owned(), beside)),
                Ok((None, Some(0))) => {}
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
        due.note_if_possible(&self.shared, self.call, expiries, owner, &ends.lived).await;
        (ends, outcome)
    }

    /// Notes when the reaper comes by the session with this hash.
    pub(super) async fn due(&self, due: Due, hash: &str) -> Result<()> {
        let UserKeys { expiries, owner, .. } = &self.keys;
        due.note(&self.shared, self.call, expiries, owner, &[hash.to_owned()]).await
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
    /// left finds the new one in the next round. The one that is kept is known by its place, whichever name it has by then.
    async fn end_all(&self, kept: &str) -> Result<Vec<String>> {
        let (mut seen, mut all, mut place, mut newest) = (HashSet::new(), Vec::new(), None, None);
        for _ in 0..MOST_ROUNDS {
            let in_doubt =
                |error: Error| if seen.is_empty() { error } else { error.with_effect(Effect::Unknown) };
            let mut members = self.members().await.map_err(in_doubt)?;
            if place.is_none() && !kept.is_empty() {
                place = self.place_of(kept, &members).await.map_err(in_doubt)?;
            }
            // A session that is rotated keeps its place; what was created since has a later one, and is no concern of this call.
            let places = members.iter().map(Member::order);
            let newest = *newest.get_or_insert_with(|| places.fold(f64::NEG_INFINITY, f64::max));
            members.retain(|member| {
                Some(&member.score) != place.as_ref()
                    && !seen.contains(&member.hash)
                    && member.order() <= newest
            });
            if members.is_empty() {
                return Ok(all);
            }
            let hashes: Vec<_> = members.iter().map(|member| member.hash.as_str()).collect();
            let (ends, outcome) = self.end(&hashes, DESTROYED).await;
            let ended = ends.all(&all);
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

    /// The place of the session of this hash among the members, or of what it goes on as.
    async fn place_of(&self, hash: &str, members: &[Member]) -> Result<Option<String>> {
        let (mut next, args) = (id_of(&self.user, hash), [self.bounds.arg()]);
        for _ in 0..=Rotation::MAX_HOPS {
            let Some(id) = next else { break };
            let hash = id.hash_text();
            if let Some(member) = members.iter().find(|member| member.hash == hash) {
                return Ok(Some(member.score.clone()));
            }
            let key = self.key(&hash);
            let keys = [key.as_str()];
            let stored = self.shared.client.step(self.call, scripts::SESSION_LOAD.with(&keys, &args)).await?;
            next = successor(&id, &stored);
        }
        Ok(None)
    }

    /// How long a reservation is kept at most: longer than the call can take.
    pub(super) fn reserved_for(&self) -> Duration {
        self.shared.deadline.saturating_mul(2).saturating_add(Duration::from_secs(1))
    }

    /// Stores what is confirmed by this token later; `beside` is the hash of the session that is rotated, if it is for that.
    pub(super) async fn reserve(
        &self,
        session: &NewSession,
        hash: &str,
        token: &str,
        beside: &str,
    ) -> Result<u64> {
        let (key, life) = (self.key(hash), self.reserved_for().as_millis().to_string());
        let texts = [token, &session.user, &life, beside];
        let mut args = vec![self.bounds.arg()];
        args.extend(texts.map(str::as_bytes));
        let fields = Fields::of_new(session);
        args.extend(fields.args());
        let keys = [key.as_str()];
        let reply = self.shared.client.step(self.call, scripts::SESSION_RESERVE.with(&keys, &args)).await?;
        reply::count(reply).ok_or_else(|| self.call.unexpected())
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
