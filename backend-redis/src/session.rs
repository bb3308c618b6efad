//! Sessions: a hash each, and in the same slot a sorted set of each user's sessions.
//!
//! Whether a session has expired follows from the times in the record and the server's clock, to the microsecond; the keys'
//! own expiry only cleans up behind that.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use stanchion::key::{Name, bucket_of};
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, SessionCapabilities, SessionId, SessionLimit,
    SessionRecord, SessionStore, TouchOutcome,
};
use stanchion::time::Timestamp;
use stanchion::{Error, ErrorKind, Result};

use crate::command::Call;
use crate::shared::{CONTRACT, Shared};
use crate::{reply, scripts};

/// What the names of data fields begin with, so that they never meet the record's own fields.
const DATA: &str = "d:";

#[derive(Debug)]
pub(crate) struct RedisSessions(pub(crate) Arc<Shared>);

impl RedisSessions {
    /// The user's index, and what the keys of the sessions in it begin with.
    fn of_user(&self, call: Call, service: &Name, user: &str) -> Result<(String, String)> {
        let index = self.0.layout().session_index(service, user).map_err(|error| call.named(error))?;
        Ok((index, self.0.layout().sessions(service, bucket_of(user)) + "s:"))
    }
}

#[async_trait]
impl SessionStore for RedisSessions {
    fn capabilities(&self) -> SessionCapabilities {
        SessionCapabilities::new(CONTRACT).call_deadline(self.0.deadline)
    }

    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        let call = Call::write("session.create");
        self.capabilities().check_new(&session).map_err(|error| call.named(error))?;
        let room = match session.limit {
            SessionLimit::Reject(_) => "none",
            SessionLimit::EvictOldest(_) => "oldest",
            SessionLimit::EvictLeastRecent(_) => "least_recent",
            other => return Err(call.named(Error::unsupported(format!("the limit {other:?} is not known")))),
        };
        let key = self.0.layout().session(service, &session.id);
        let (index, _) = self.of_user(call, service, &session.user)?;
        let numbers = [
            session.idle.as_millis().to_string(),
            session.absolute.as_millis().to_string(),
            session.limit.count().to_string(),
        ];
        let hash = session.id.hash_text();
        let mut args = vec![hash.as_bytes(), session.user.as_bytes()];
        args.extend(numbers.iter().map(String::as_bytes));
        args.push(room.as_bytes());
        let names: Vec<_> = session.data.keys().map(|name| [DATA, name].concat()).collect();
        for (name, value) in names.iter().zip(session.data.values()) {
            args.extend([name.as_bytes(), value.as_ref()]);
        }
        let reply = self.0.client.run(call, scripts::SESSION_CREATE.with(&[&key, &index], &args)).await?;
        created(session, reply).ok_or_else(|| call.unexpected())
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        let call = Call::read("session.load");
        let key = self.0.layout().session(service, id);
        let reply = self.0.client.run(call, scripts::SESSION_LOAD.with(&[&key], &[])).await?;
        found(call, id, reply)
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        let call = Call::write("session.patch");
        self.capabilities().check_bytes(patch.bytes()).map_err(|error| call.named(error))?;
        let key = self.0.layout().session(service, id);
        let expected = patch.expected_version.map(|version| version.to_string()).unwrap_or_default();
        let setting = (2 * patch.set.len()).to_string();
        let mut args = vec![expected.as_bytes(), setting.as_bytes()];
        let names: Vec<_> = patch.set.keys().map(|name| [DATA, name].concat()).collect();
        for (name, value) in names.iter().zip(patch.set.values()) {
            args.extend([name.as_bytes(), value.as_ref()]);
        }
        let removed: Vec<_> = patch.remove.iter().map(|name| [DATA, name].concat()).collect();
        args.extend(removed.iter().map(String::as_bytes));
        let reply = self.0.client.run(call, scripts::SESSION_PATCH.with(&[&key], &args)).await?;
        patched(reply).ok_or_else(|| call.unexpected())
    }

    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        let call = Call::write("session.touch");
        let key = self.0.layout().session(service, id);
        match self.0.client.run(call, scripts::SESSION_TOUCH.with(&[&key], &[])).await? {
            Value::Nil => Ok(TouchOutcome::Gone),
            reply => {
                let left = reply::count(reply).ok_or_else(|| call.unexpected())?;
                Ok(TouchOutcome::Touched { expires_in: Duration::from_micros(left) })
            }
        }
    }

    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        let call = Call::write("session.destroy");
        let key = self.0.layout().session(service, id);
        let reply = self.0.client.run(call, scripts::SESSION_DESTROY.with(&[&key], &[])).await?;
        found(call, id, reply)
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionRecord>> {
        let call = Call::read("session.list");
        let (index, stem) = self.of_user(call, service, user)?;
        let reply = self.0.client.run(call, scripts::SESSION_LIST.with(&[&index, &stem], &[])).await?;
        let mut items = reply::array(reply).ok_or_else(|| call.unexpected())?.into_iter();
        let now = items.next().and_then(reply::count).ok_or_else(|| call.unexpected())?;
        let mut records = Vec::with_capacity(items.len() / 2);
        while let (Some(hash), Some(fields)) = (items.next(), items.next()) {
            let id = id_of(user, hash).ok_or_else(|| malformed(call))?;
            records.push(record(&id, now, fields).ok_or_else(|| malformed(call))?);
        }
        records.retain(is_live);
        Ok(records)
    }

    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        let call = Call::write("session.destroy_all");
        let (index, stem) = self.of_user(call, service, user)?;
        let kept = except.map(SessionId::hash_text).unwrap_or_default();
        let keys = [index.as_str(), &stem];
        let reply =
            self.0.client.run(call, scripts::SESSION_DESTROY_ALL.with(&keys, &[kept.as_bytes()])).await?;
        let ended = reply::array(reply).ok_or_else(|| call.unexpected())?;
        ended.into_iter().map(|hash| id_of(user, hash).ok_or_else(|| malformed(call))).collect()
    }
}

/// The key holds something else than a session.
fn malformed(call: Call) -> Error {
    let error = Error::new(ErrorKind::Codec, "what is stored is no session");
    call.named(error.with_effect(call.access.unanswered()))
}

/// The id of a user's session, from the hash in the index.
fn id_of(user: &str, hash: Value) -> Option<SessionId> {
    format!("{:04x}.{}", bucket_of(user), reply::text(hash)?).parse().ok()
}

/// The reply to creating.
fn created(session: NewSession, reply: Value) -> Option<CreateOutcome> {
    let mut items = reply::array(reply)?.into_iter();
    match reply::text(items.next()?)?.as_str() {
        "taken" => return Some(CreateOutcome::IdTaken),
        "full" => return Some(CreateOutcome::LimitReached),
        "created" => {}
        _ => return None,
    }
    let mut number = || reply::count(items.next()?);
    let (created, deadline, left) = (Timestamp::from_micros(number()?), number()?, number()?);
    let evicted = items.map(|hash| id_of(&session.user, hash)).collect::<Option<_>>()?;
    let record = SessionRecord::new(
        session.id,
        session.user,
        session.data,
        1,
        created,
        created,
        Timestamp::from_micros(deadline),
        Duration::from_micros(left),
    );
    Some(CreateOutcome::Created { record, evicted })
}

/// The reply to patching.
fn patched(reply: Value) -> Option<PatchOutcome> {
    let mut items = reply::array(reply)?.into_iter();
    match reply::text(items.next()?)?.as_str() {
        "gone" => Some(PatchOutcome::Gone),
        "conflict" => Some(PatchOutcome::Conflict { version: reply::count(items.next()?)? }),
        "saved" => Some(PatchOutcome::Saved { version: reply::count(items.next()?)? }),
        _ => None,
    }
}

/// The reply to loading and destroying: nil, or the time and the fields.
fn found(call: Call, id: &SessionId, reply: Value) -> Result<Option<SessionRecord>> {
    if reply == Value::Nil {
        return Ok(None);
    }
    let mut items = reply::array(reply).ok_or_else(|| call.unexpected())?.into_iter();
    let now = items.next().and_then(reply::count).ok_or_else(|| call.unexpected())?;
    let fields = items.next().ok_or_else(|| call.unexpected())?;
    let record = record(id, now, fields).ok_or_else(|| malformed(call))?;
    Ok(Some(record).filter(is_live))
}

fn is_live(record: &SessionRecord) -> bool {
    !record.expires_in.is_zero()
}

/// The record in these fields, with what was left of its life at `now`; zero if it had ended.
fn record(id: &SessionId, now: u64, fields: Value) -> Option<SessionRecord> {
    let (mut user, mut data, mut numbers) = (None, BTreeMap::new(), HashMap::new());
    let mut fields = reply::array(fields)?.into_iter();
    while let Some(name) = fields.next() {
        let (name, value) = (reply::text(name)?, fields.next()?);
        if let Some(name) = name.strip_prefix(DATA) {
            data.insert(name.to_owned(), reply::bytes(value)?);
        } else if name == "user" {
            user = reply::text(value);
        } else if let Some(number) = reply::count(value) {
            numbers.insert(name, number);
        }
    }
    let number = |name| numbers.get(name).copied();
    let (used, idle, deadline) = (number("used")?, number("idle")?, number("deadline")?);
    let ends = used.saturating_add(idle.saturating_mul(1_000)).min(deadline);
    Some(SessionRecord::new(
        id.clone(),
        user?,
        data,
        number("version")?,
        Timestamp::from_micros(number("created")?),
        Timestamp::from_micros(used),
        Timestamp::from_micros(deadline),
        Duration::from_micros(ends.saturating_sub(now)),
    ))
}
