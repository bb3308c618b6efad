//! What the scripts of the sessions reply.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use redis::Value;
use stanchion::key::bucket_of;
use stanchion::session::{CreateOutcome, NewSession, PatchOutcome, SessionId, SessionRecord};
use stanchion::time::Timestamp;
use stanchion::{Error, ErrorKind, Result};

use crate::command::Call;
use crate::reply;

/// What the names of data fields begin with, so that they never meet the record's own fields.
pub(super) const DATA: &str = "d:";

/// The key holds something else than a session.
pub(super) fn malformed(call: Call) -> Error {
    let error = Error::new(ErrorKind::Codec, "what is stored is no session");
    call.named(error.with_effect(call.access.unanswered()))
}

/// The id of a user's session, from the hash in the index.
pub(super) fn id_of(user: &str, hash: &str) -> Option<SessionId> {
    format!("{:04x}.{hash}", bucket_of(user)).parse().ok()
}

/// The ids of a user's sessions, from their hashes. What is no such hash has been put into the index by somebody else, and
/// names no session.
pub(super) fn ids_of(user: &str, hashes: Vec<String>) -> Vec<SessionId> {
    hashes.into_iter().filter_map(|hash| id_of(user, &hash)).collect()
}

/// Texts.
pub(super) fn texts(reply: Value) -> Option<Vec<String>> {
    reply::array(reply)?.into_iter().map(reply::text).collect()
}

/// The reply to creating.
pub(super) fn created(session: NewSession, reply: Value) -> Option<CreateOutcome> {
    let mut items = reply::array(reply)?.into_iter();
    match reply::text(items.next()?)?.as_str() {
        "taken" => return Some(CreateOutcome::IdTaken),
        "full" => return Some(CreateOutcome::LimitReached),
        "created" => {}
        _ => return None,
    }
    let mut number = || reply::count(items.next()?);
    let (created, deadline, left) = (Timestamp::from_micros(number()?), number()?, number()?);
    let evicted = ids_of(&session.user, items.map(reply::text).collect::<Option<_>>()?);
    let record = new_record(session, created, created, deadline, left);
    Some(CreateOutcome::Created { record, evicted })
}

/// The record of a session that was just created, with its times in µs.
pub(super) fn new_record(
    session: NewSession,
    created: Timestamp,
    used: Timestamp,
    deadline: u64,
    left: u64,
) -> SessionRecord {
    let (deadline, left) = (Timestamp::from_micros(deadline), Duration::from_micros(left));
    SessionRecord::new(session.id, session.user, session.data, 1, created, used, deadline, left)
}

/// The reply to patching.
pub(super) fn patched(reply: Value) -> Option<PatchOutcome> {
    let mut items = reply::array(reply)?.into_iter();
    match reply::text(items.next()?)?.as_str() {
        "gone" => Some(PatchOutcome::Gone),
        "conflict" => Some(PatchOutcome::Conflict { version: reply::count(items.next()?)? }),
        "saved" => Some(PatchOutcome::Saved { version: reply::count(items.next()?)? }),
        _ => None,
    }
}

/// The reply to loading and destroying: nil, or the time and the fields.
pub(super) fn found(call: Call, id: &SessionId, reply: Value) -> Result<Option<SessionRecord>> {
    let Some((now, fields)) = dated(reply).ok_or_else(|| call.unexpected())? else {
        return Ok(None);
    };
    let record = record(id, now, fields).ok_or_else(|| malformed(call))?;
    Ok(Some(record).filter(is_live))
}

/// The same, as the time and the fields themselves.
#[expect(clippy::option_option, reason = "the outer one says whether the form is known, as everywhere here")]
pub(super) fn dated(reply: Value) -> Option<Option<(u64, Value)>> {
    if reply == Value::Nil {
        return Some(None);
    }
    let mut items = reply::array(reply)?.into_iter();
    Some(Some((items.next().and_then(reply::count)?, items.next()?)))
}

pub(super) fn is_live(record: &SessionRecord) -> bool {
    !record.expires_in.is_zero()
}

/// The live ones of these records of a user. What can't be read is no session, and ends with the others of its user.
pub(super) fn readable(
    user: &str,
    now: u64,
    records: impl Iterator<Item = (Value, Value)>,
) -> Vec<SessionRecord> {
    let mut unreadable = 0_usize;
    let read = records.filter_map(|(hash, fields)| {
        let id = reply::text(hash).and_then(|hash| id_of(user, &hash));
        let record = id.and_then(|id| record(&id, now, fields));
        unreadable += usize::from(record.is_none());
        record
    });
    let live = read.filter(is_live).collect();
    if unreadable > 0 {
        tracing::warn!(
            unreadable,
            "what is stored of some sessions of a user can't be read; they are left out"
        );
    }
    live
}

/// The record in these fields, with what was left of its life at `now`; zero if it had ended.
pub(super) fn record(id: &SessionId, now: u64, fields: Value) -> Option<SessionRecord> {
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
