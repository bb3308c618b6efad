//! Rotating a session while its slot is being moved: see [`split`](super::split).

use std::sync::Arc;

use redis::Value;
use stanchion::random::jittered;
use stanchion::session::{
    NewSession, RotateOutcome, Rotation, SessionCapabilities, SessionId, SessionLimit, SessionRecord,
};
use stanchion::time::Ttl;
use stanchion::{Effect, Result};

use super::between::is_between;
use super::replies::{DESTROYED, dated, found, malformed, parsed, successor, texts};
use super::single::Due;
use super::split::{PAUSE, SplitSessions, UserKeys, owned};
use super::stored::text_of;
use crate::{reply, scripts};

/// What is rotated, and how.
struct Work {
    id: SessionId,
    rotation: Rotation,
    can: SessionCapabilities,
}

/// What the script says that makes the old session a pointer.
enum Superseded {
    Done,
    Changed { version: u64 },
    Not(RotateOutcome),
}

impl SplitSessions {
    /// Gives the session another id.
    ///
    /// # Cancel safety
    /// Dropping the future does not end the work.
    pub(super) async fn rotate(
        self,
        id: SessionId,
        rotation: Rotation,
        can: SessionCapabilities,
    ) -> Result<RotateOutcome> {
        let (shared, call) = (Arc::clone(&self.shared), self.call);
        let work = Work { id, rotation, can };
        let rotating = async move {
            let environment = &self.shared.context.environment;
            loop {
                // Another one each time: what an attempt before has reserved is of other fields.
                let mut bytes = [0; 16];
                environment.random.fill(&mut bytes)?;
                let token = format!("{:032x}", u128::from_be_bytes(bytes));
                if let Some(outcome) = self.try_rotate(&work, &token).await? {
                    return Ok(outcome);
                }
                environment.sleep(jittered(&*environment.random, PAUSE)).await;
            }
        };
        owned(&shared, call, rotating).await
    }

    /// Once; `None` if somebody else has changed the session meanwhile.
    async fn try_rotate(&self, work: &Work, token: &str) -> Result<Option<RotateOutcome>> {
        let Work { id, rotation, can } = work;
        let (old, new) = (id.hash_text(), rotation.to.hash_text());
        let (key, args) = (self.key(&old), [self.bounds.arg()]);
        let keys = [key.as_str()];
        let stored = self.shared.client.step(self.call, scripts::SESSION_LOAD.with(&keys, &args)).await?;
        if is_between(&stored) {
            return Ok(None);
        }
        let fields = dated(stored.clone()).ok_or_else(|| self.call.unexpected())?.map(|(_, fields)| fields);
        let owner = fields.as_ref().and_then(|fields| text_of(fields, "user"));
        if owner.is_some_and(|owner| owner != self.user) {
            return Ok(Some(RotateOutcome::Gone));
        }
        if let Some(by) = successor(id, &stored) {
            return Ok(Some(RotateOutcome::Superseded { by }));
        }
        let record = found(self.call, id, self.bounds.values, stored)?;
        let (Some(fields), Some(record)) = (fields, record) else {
            return Ok(Some(RotateOutcome::Gone));
        };
        if rotation.patch.expected_version.is_some_and(|version| version != record.version) {
            return Ok(Some(RotateOutcome::Conflict { version: record.version }));
        }
        let (session, version) = (self.changed(&record, rotation, *can)?, record.version);
        match self.reserve(&session, &new, token, &old).await? {
            1 => {}
            0 => return Ok(Some(RotateOutcome::IdTaken)),
            _ => return Ok(None),
        }
        let outcome = self.supersede(work, &record, &fields).await;
        let not_done = match outcome {
            Ok(Superseded::Done) => {
                return self.confirm_rotated(work, token, session, &fields, version + 1).await.map(Some);
            }
            Ok(Superseded::Not(outcome)) => Ok(Some(outcome)),
            Ok(Superseded::Changed { .. }) if rotation.patch.expected_version.is_none() => Ok(None),
            Ok(Superseded::Changed { version }) => Ok(Some(RotateOutcome::Conflict { version })),
            Err(error) => Err(error),
        };
        // What was reserved is nobody's.
        let (_, cleared) = self.end(&[&new], DESTROYED).await;
        if text_of(&fields, "owner").is_some() {
            let _ = self.due(Due::Never, &new).await;
        }
        if matches!(not_done, Ok(None)) {
            // Another attempt would find it in its way. The session is as it was.
            cleared.map_err(|error| error.with_effect(Effect::NotApplied))?;
        }
        not_done
    }

    /// What it holds under its new id.
    fn changed(
        &self,
        record: &SessionRecord,
        rotation: &Rotation,
        can: SessionCapabilities,
    ) -> Result<NewSession> {
        let (mut data, patch) = (record.data.clone(), &rotation.patch);
        data.retain(|name, _| !patch.remove.contains(name));
        data.extend(patch.set.clone());
        let bytes = data.iter().map(|(name, value)| name.len() + value.len()).sum();
        can.check_data(data.len(), bytes).map_err(|error| self.call.named(error))?;
        let mut device = record.device.clone();
        device.label = patch.device.label.clone().or(device.label);
        device.address = patch.device.address.clone().or(device.address);
        // Its times are not among what is reserved.
        let session = NewSession::new(
            rotation.to.clone(),
            record.user.clone(),
            Ttl::MAX,
            Ttl::MAX,
            SessionLimit::Reject(1),
        );
        Ok(session.data(data).device(device))
    }

    /// Enters the new session beside the old one, and makes the old one a pointer.
    async fn supersede(&self, work: &Work, record: &SessionRecord, fields: &Value) -> Result<Superseded> {
        let (old, new) = (work.id.hash_text(), work.rotation.to.hash_text());
        let left =
            record.absolute_deadline.saturating_since(record.created_at).saturating_add(self.reserved_for());
        if !self.user.is_empty() {
            let created = text_of(fields, "created").unwrap_or_default();
            let needed = left.as_millis().to_string();
            let (keys, texts) = ([self.keys.index.as_str()], [&old, &new, &created, &needed]);
            let mut args = vec![self.bounds.arg()];
            args.extend(texts.map(String::as_bytes));
            self.shared.client.step(self.call, scripts::SESSION_BESIDE.with(&keys, &args)).await?;
        }
        if text_of(fields, "owner").is_some() {
            // Before it is confirmed, since from then on its end must be found.
            self.due(Due::In(self.reserved_for(), left), &new).await?;
        }
        let key = self.key(&old);
        let texts = [
            self.user.clone(),
            record.version.to_string(),
            work.rotation.to.to_string(),
            work.rotation.grace.as_millis().to_string(),
        ];
        let (keys, mut args) = ([key.as_str()], vec![self.bounds.arg()]);
        args.extend(texts.iter().map(String::as_bytes));
        let reply = self.shared.client.step(self.call, scripts::SESSION_SUPERSEDE.with(&keys, &args)).await?;
        superseded(reply).ok_or_else(|| self.call.unexpected())
    }

    /// Makes a session of what is reserved, with the times of the old one.
    async fn confirm_rotated(
        &self,
        work: &Work,
        token: &str,
        session: NewSession,
        fields: &Value,
        version: u64,
    ) -> Result<RotateOutcome> {
        let text = |name| text_of(fields, name).unwrap_or_default();
        let (created, idle, deadline, own) = (text("created"), text("idle"), text("deadline"), text("own"));
        let owner = text("owner");
        let every = text_of(fields, "every").unwrap_or_else(|| "0".to_owned());
        let (new, version) = (work.rotation.to.hash_text(), version.to_string());
        let lives = [&created, &idle, "0", &every, &own, &deadline, &version].map(|text| text as &str);
        // From here on the old one is gone, whatever becomes of the new one.
        let unknown = |error: stanchion::Error| error.with_effect(Effect::Unknown);
        let confirmed = self.confirm_as(&new, token, lives, [&owner, ""]).await.map_err(unknown)?;
        if !owner.is_empty() {
            // It leads on until then, and is looked at no sooner.
            let UserKeys { expiries, owner, .. } = &self.keys;
            let (due, old) = (Due::After(work.rotation.grace), [work.id.hash_text()]);
            due.note_if_possible(&self.shared, self.call, expiries, owner, &old).await;
        }
        self.leave(&work.id).await;
        if confirmed.is_none() {
            // Somebody has ended the user's sessions.
            return Ok(RotateOutcome::Gone);
        }
        let (key, args) = (self.key(&new), [self.bounds.arg()]);
        let keys = [key.as_str()];
        let stored = self.shared.client.step(self.call, scripts::SESSION_LOAD.with(&keys, &args)).await;
        let record = found(self.call, &session.id, self.bounds.values, stored.map_err(unknown)?);
        match record.map_err(unknown)? {
            Some(record) => Ok(RotateOutcome::Rotated { record }),
            None => Ok(RotateOutcome::Gone),
        }
    }

    /// Takes the old one out of the index. What stays there is passed over.
    async fn leave(&self, id: &SessionId) {
        if self.user.is_empty() {
            return;
        }
        let (hash, keys) = (id.hash_text(), [self.keys.index.as_str()]);
        let left = async {
            let index = self.shared.client.step(self.call, scripts::SESSION_INDEX.with(&keys, &[])).await?;
            let members = texts(index).ok_or_else(|| malformed(self.call))?;
            let Some(score) = members.chunks_exact(2).find(|pair| pair[0] == hash).map(|pair| &pair[1])
            else {
                return Ok(());
            };
            let pair = [hash.as_bytes(), score.as_bytes()];
            self.shared.client.step(self.call, scripts::SESSION_LEAVE.with(&keys, &pair)).await.map(drop)
        };
        if let Err(error) = left.await {
            tracing::debug!(%error, "a session that was rotated is still in the index of its user");
        }
    }
}

fn superseded(reply: Value) -> Option<Superseded> {
    let mut items = reply::array(reply)?.into_iter();
    Some(match reply::text(items.next()?)?.as_str() {
        "done" => Superseded::Done,
        "gone" => Superseded::Not(RotateOutcome::Gone),
        "conflict" => Superseded::Changed { version: reply::count(items.next()?)? },
        "superseded" => Superseded::Not(RotateOutcome::Superseded { by: parsed(items.next()?)? }),
        _ => return None,
    })
}
