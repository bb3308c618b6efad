//! What the scripts of the sessions reply.

use std::time::Duration;

use redis::Value;
use stanchion::key::bucket_of;
use stanchion::session::{
    CreateOutcome, NewSession, PatchOutcome, RotateOutcome, Rotation, SessionBounds, SessionCapabilities,
    SessionId, SessionRecord, SessionSummary,
};
use stanchion::time::Timestamp;
use stanchion::{Error, ErrorKind, Result};

use super::stored::{field, record, summary};
use crate::command::Call;
use crate::reply;

/// How the end of a session that somebody has ended is named in an outbox.
pub(super) const DESTROYED: &str = "destroyed";

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
        "conflict" => return Some(CreateOutcome::Conflict { version: reply::count(items.next()?)? }),
        "full" => return Some(CreateOutcome::LimitReached),
        "created" => {}
        _ => return None,
    }
    let mut number = || reply::count(items.next()?);
    let (created, deadline, left) = (Timestamp::from_micros(number()?), number()?, number()?);
    let replaced = items.next().and_then(reply::count).is_some_and(|replaced| replaced == 1);
    let replaced = session.replaces.as_ref().filter(|_| replaced).map(|of| of.id.clone());
    let evicted = ids_of(&session.user, items.map(reply::text).collect::<Option<_>>()?);
    let record = new_record(session, created, created, deadline, left);
    Some(CreateOutcome::Created { record, evicted, replaced })
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
    let NewSession { id, user, data, device, touch_every, .. } = session;
    SessionRecord::new(id, user, data, 1, created, used, deadline, left)
        .device(device)
        .use_due_in(touch_every)
}

/// The reply to patching; an error if the session would hold too much.
pub(super) fn patched(can: SessionCapabilities, reply: Value) -> Option<Result<PatchOutcome>> {
    let mut items = reply::array(reply)?.into_iter();
    let outcome = reply::text(items.next()?)?;
    Some(Ok(match outcome.as_str() {
        "gone" => PatchOutcome::Gone,
        "moved" => PatchOutcome::Moved { to: parsed(items.next()?)? },
        "conflict" => PatchOutcome::Conflict { version: reply::count(items.next()?)? },
        "saved" => PatchOutcome::Saved { version: reply::count(items.next()?)? },
        "large" => return Some(Err(too_large(can, items)?)),
        _ => return None,
    }))
}

/// What a session would hold is too much: in so many fields, so many bytes.
fn too_large(can: SessionCapabilities, items: impl Iterator<Item = Value>) -> Option<Error> {
    let mut numbers = items.map(reply::count);
    let (fields, bytes) = (numbers.next()??.try_into().ok()?, numbers.next()??.try_into().ok()?);
    can.check_data(fields, bytes).err()
}

/// The text of an id.
pub(super) fn parsed(id: Value) -> Option<SessionId> {
    reply::text(id)?.parse().ok()
}

/// The reply to rotating; an error if the session would hold too much, or can't be read.
pub(super) fn rotated(
    call: Call,
    rotation: &Rotation,
    can: SessionCapabilities,
    bounds: SessionBounds,
    reply: Value,
) -> Option<Result<RotateOutcome>> {
    let mut items = reply::array(reply)?.into_iter();
    let outcome = reply::text(items.next()?)?;
    Some(Ok(match outcome.as_str() {
        "gone" => RotateOutcome::Gone,
        "taken" => RotateOutcome::IdTaken,
        "superseded" => RotateOutcome::Superseded { by: parsed(items.next()?)? },
        "conflict" => RotateOutcome::Conflict { version: reply::count(items.next()?)? },
        "large" => return Some(Err(too_large(can, items)?)),
        "rotated" => {
            let now = reply::count(items.next()?)?;
            match record(&rotation.to, now, items.next()?, bounds) {
                Some(record) => RotateOutcome::Rotated { record },
                None => return Some(Err(malformed(call))),
            }
        }
        _ => return None,
    }))
}

/// Where a session has gone that is looked for under an id that was rotated away, by a reply in the form of [`dated`].
pub(super) fn successor(id: &SessionId, reply: &Value) -> Option<SessionId> {
    let Value::Array(items) = reply else {
        return None;
    };
    let [now, Value::Array(fields)] = items.as_slice() else {
        return None;
    };
    let until = field(fields, "until").and_then(reply::count)?;
    let to = parsed(field(fields, "next")?)?;
    (until > reply::count(now.clone())? && to.bucket() == id.bucket()).then_some(to)
}

/// The reply to loading, using and destroying: nil, or the time and the fields.
pub(super) fn found(
    call: Call,
    id: &SessionId,
    bounds: SessionBounds,
    reply: Value,
) -> Result<Option<SessionRecord>> {
    let Some((now, fields)) = dated(reply).ok_or_else(|| call.unexpected())? else {
        return Ok(None);
    };
    let record = record(id, now, fields, bounds).ok_or_else(|| malformed(call))?;
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

/// The live ones of these sessions of a user, of each its id and what `read` makes of it. What can't be read is no session, and
/// ends with the others of its user.
pub(super) fn readable<T>(
    user: &str,
    sessions: impl Iterator<Item = (Value, T)>,
    read: impl Fn(SessionId, T) -> Option<SessionSummary>,
) -> Vec<SessionSummary> {
    let mut unreadable = 0_usize;
    let read = sessions.filter_map(|(hash, fields)| {
        let id = reply::text(hash).and_then(|hash| id_of(user, &hash));
        let summary = id.and_then(|id| read(id, fields));
        unreadable += usize::from(summary.is_none());
        summary
    });
    let live = read.filter(|summary| !summary.expires_in.is_zero()).collect();
    if unreadable > 0 {
        tracing::warn!(
            unreadable,
            "what is stored of some sessions of a user can't be read; they are left out"
        );
    }
    live
}

/// The reply to listing, and whether a session is missing in it that is just going on under another id.
pub(super) fn listed(user: &str, bounds: SessionBounds, reply: Value) -> Option<(bool, Vec<SessionSummary>)> {
    let mut items = reply::array(reply)?.into_iter();
    let now = items.next().and_then(reply::count)?;
    let between = items.next().and_then(reply::count)? == 1;
    let pairs = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
    Some((between, readable(user, pairs, |id, values| summary(id, now, values, bounds))))
}
