//! Steps on one key each, for what concerns one session while its slot is being moved.

use std::time::Duration;

use redis::Value;
use stanchion::Result;
use stanchion::session::SessionId;
use stanchion::session::outbox::OutboxBounds;

use super::bounds::Bounds;
use super::replies::DESTROYED;
use super::stored::text_of;
use crate::command::Call;
use crate::shared::Shared;
use crate::{reply, scripts};

/// When the reaper comes by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// After so long, if it comes at all, and no later than it would have.
    After(Duration),
    /// So long from now; the session lives so long after that at most.
    In(Duration, Duration),
    /// It is no session.
    Never,
}

impl Due {
    /// Notes it of the sessions of a user with these hashes.
    pub(super) async fn note(
        self,
        shared: &Shared,
        call: Call,
        expiries: &str,
        owner: &str,
        hashes: &[String],
    ) -> Result<()> {
        if hashes.is_empty() {
            return Ok(());
        }
        let (mode, after, kept) = match self {
            Self::After(after) => ("due", after, Duration::ZERO),
            Self::In(after, life) => {
                let kept = after.saturating_add(life).saturating_add(OutboxBounds::new().retention);
                ("add", after, kept)
            }
            Self::Never => ("drop", Duration::ZERO, Duration::ZERO),
        };
        let (after, kept) = (after.as_millis().to_string(), kept.as_millis().to_string());
        let members: Vec<_> = hashes.iter().map(|hash| [hash, owner].concat()).collect();
        let mut args = vec![mode.as_bytes(), after.as_bytes(), kept.as_bytes()];
        args.extend(members.iter().map(String::as_bytes));
        shared.client.step(call, scripts::SESSION_DUE.with(&[expiries], &args)).await.map(drop)
    }

    /// The same where nothing but a delay comes of a failure.
    pub(super) async fn note_if_possible(
        self,
        shared: &Shared,
        call: Call,
        expiries: &str,
        owner: &str,
        hashes: &[String],
    ) {
        if let Err(error) = self.note(shared, call, expiries, owner, hashes).await {
            tracing::debug!(%error, "the news of ended sessions wait until their deadline");
        }
    }
}

/// Ends the session with the first of these keys, unless it was rotated away; the second is the expiries of its bucket. Answers
/// in the form of the script that does it otherwise.
///
/// # Cancel safety
/// Dropping the future leaves the session there or ended; what is published of the end may then wait until its deadline.
pub(super) async fn end_one(
    shared: &Shared,
    bounds: &Bounds,
    call: Call,
    id: &SessionId,
    keys: [&str; 2],
) -> Result<Value> {
    let args = [bounds.arg(), b"", DESTROYED.as_bytes(), b"1"];
    let reply = shared.client.step(call, scripts::SESSION_END.with(&keys[..1], &args)).await?;
    let items = reply::array(reply).ok_or_else(|| call.unexpected())?;
    let Ok([lived, now, fields]) = <[Value; 3]>::try_from(items) else {
        return Err(call.unexpected());
    };
    if fields == Value::Array(Vec::new()) {
        return Ok(Value::Nil);
    }
    if lived == Value::Int(1)
        && let Some(owner) = text_of(&fields, "owner")
    {
        let due = Due::After(Duration::ZERO);
        due.note_if_possible(shared, call, keys[1], &owner, &[id.hash_text()]).await;
    }
    Ok(Value::Array(vec![now, fields]))
}

/// Whether the reply to ending says that a session lived.
pub(super) fn lived(reply: Value) -> Option<u64> {
    reply::array(reply)?.into_iter().next().and_then(reply::count)
}

/// In whose place something was about to go on, where such a reservation was ended.
pub(super) fn beside(reply: &Value) -> Option<String> {
    let Value::Array(items) = reply else {
        return None;
    };
    items.get(2).cloned().and_then(reply::text)
}
