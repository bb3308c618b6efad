//! The record of a deployment's layout, checked at every connect.

use stanchion::environment::HashingKey;
use stanchion::{Error, ErrorKind, Result};

use crate::command::Call;
use crate::config::Invalidation;
use crate::connect::{Client, Context, from_parts};
use crate::{reply, scripts};

/// The version of everything in `core/docs/wire-format.md`. With layout 1 a lock was a string and its fence a key of its own,
/// and on a Cluster a generation had no copies. With layout 2 sessions were not published and did not rotate, and tokens had no
/// settings that are compared (record 0036).
const LAYOUT: &str = "3";

/// The only field that a record may lack: there was none before there was a choice.
const INVALIDATION: &str = "invalidation";

/// The ids of the keys under which there may be sessions, the last that has come first.
const HASHING_KEY: &str = "hashing_key";

/// How often a record that others change at the same time is read again.
const ATTEMPTS: usize = 8;

/// Creates the record, or compares ours with the one that is there. The reply has the server's time as well, which is kept.
pub(crate) async fn check(client: &Client, context: &Context, invalidation: Invalidation) -> Result<()> {
    for _ in 0..ATTEMPTS {
        if check_once(client, context, invalidation).await? {
            return Ok(());
        }
    }
    let busy = Error::new(ErrorKind::Unavailable, "the hashing keys of the deployment are being changed");
    Err(Call::write("connect").named(busy))
}

/// Once; `false` if another service has changed the record meanwhile.
async fn check_once(client: &Client, context: &Context, invalidation: Invalidation) -> Result<bool> {
    let mut change = None;
    let (layout, time) = (&context.layout, &context.time);
    let call = Call::write("connect");
    let buckets = layout.buckets().to_string();
    let ours = [
        ("layout", LAYOUT),
        ("session_buckets", &buckets),
        ("lock_buckets", &buckets),
        ("channel_mode", "broadcast"),
        (HASHING_KEY, context.environment.hashing_key.id().as_str()),
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
        if field == HASHING_KEY {
            match ring(&theirs, &context.environment.hashing_key) {
                Some(ring) if ring == theirs => continue,
                Some(ring) => {
                    change = Some((theirs, ring));
                    continue;
                }
                None => {}
            }
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
    let Some((theirs, ring)) = change else {
        return Ok(true);
    };
    // Last, so that a service that is refused has changed nothing.
    let args = [HASHING_KEY, &theirs, &ring].map(str::as_bytes);
    let changed = client.run(call, scripts::META_CHANGE.with(&[&key], &args)).await?;
    Ok(reply::count(changed).ok_or_else(|| call.unexpected())? == 1)
}

/// The record of the keys under which there may be sessions, once a service with this key takes part; `None` if it does not
/// know the one that new sessions are stored under.
fn ring(stored: &str, key: &HashingKey) -> Option<String> {
    let mut listed: Vec<&str> = stored.split(',').collect();
    if !key.ids().any(|id| id.as_str() == listed[0]) {
        return None;
    }
    if !listed.contains(&key.id().as_str()) {
        listed.insert(0, key.id().as_str());
        listed.truncate(HashingKey::MAX_KEYS);
    }
    Some(listed.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> HashingKey {
        HashingKey::new(id, &[7; 32]).unwrap()
    }

    #[test]
    fn a_rotation_goes_forth_and_never_back() {
        let (old, new) = (key("k1"), key("k2"));
        let knows = old.clone().reading(new.clone()).unwrap();
        let rotated = new.clone().reading(old.clone()).unwrap();
        for (stored, key, then) in [
            ("k1", &old, Some("k1")),
            ("k1", &knows, Some("k1")),
            ("k1", &rotated, Some("k2,k1")),
            ("k1", &new, None),
            ("k2,k1", &rotated, Some("k2,k1")),
            // One that has not been deployed anew reads what the others store.
            ("k2,k1", &knows, Some("k2,k1")),
            ("k2,k1", &old, None),
            ("k2,k1", &new, Some("k2,k1")),
            ("none", &old.clone().reading(HashingKey::unkeyed()).unwrap(), Some("k1,none")),
            ("", &old, None),
        ] {
            assert_eq!(ring(stored, key).as_deref(), then, "{stored}, {key:?}");
        }
        let (mut stored, mut last) = ("k0".to_owned(), key("k0"));
        for id in ["k1", "k2", "k3", "k4", "k5"] {
            let next = key(id);
            stored = ring(&stored, &next.clone().reading(last).unwrap()).unwrap();
            last = next;
        }
        assert_eq!(stored, "k5,k4,k3,k2");
    }
}
