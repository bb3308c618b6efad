//! The record of a deployment's layout, checked at every connect.

use stanchion::{Error, ErrorKind, Result};

use crate::command::Call;
use crate::config::Invalidation;
use crate::connect::{Client, Context, from_parts};
use crate::{reply, scripts};

/// The version of everything in `core/docs/wire-format.md`. With layout 1 a lock was a string and its fence a key of its own,
/// and on a Cluster a generation had no copies.
const LAYOUT: &str = "2";

/// The only field that a record may lack: there was none before there was a choice.
const INVALIDATION: &str = "invalidation";

/// Creates the record, or compares ours with the one that is there. The reply has the server's time as well, which is kept.
pub(crate) async fn check(client: &Client, context: &Context, invalidation: Invalidation) -> Result<()> {
    let (layout, time) = (&context.layout, &context.time);
    let call = Call::write("connect");
    let buckets = layout.buckets().to_string();
    let ours = [
        ("layout", LAYOUT),
        ("session_buckets", &buckets),
        ("lock_buckets", &buckets),
        ("channel_mode", "broadcast"),
        ("hashing_key", context.environment.hashing_key.id().as_str()),
        (INVALIDATION, invalidation.as_str()),
    ];
    let args: Vec<&[u8]> =
        ours.iter().flat_map(|(field, value)| [field.as_bytes(), value.as_bytes()]).collect();
    let key = layout.meta();
    let started = time.started();
    let stored = client.run(call, scripts::META.with(&[&key], &args)).await?;
    let mut stored = reply::array(stored).ok_or_else(|| call.unexpected())?.into_iter();
    for (field, value) in ours {
        // Field and value alternate.
        let mut theirs = stored.nth(1).and_then(reply::text).ok_or_else(|| call.unexpected())?;
        if field == INVALIDATION && theirs.is_empty() {
            Invalidation::Tracking.as_str().clone_into(&mut theirs);
        }
        if theirs != value {
            return Err(call.named(Error::new(
                ErrorKind::Config,
                format!("{key} says {field} = {theirs:?}, this service is set to {value:?}: they can't share these keys"),
            )));
        }
    }
    let mut clock = stored.map(reply::count);
    if let (Some(Some(seconds)), Some(Some(micros))) = (clock.next(), clock.next())
        && let Some(now) = from_parts(seconds, micros)
    {
        time.update(started, now);
    }
    Ok(())
}
