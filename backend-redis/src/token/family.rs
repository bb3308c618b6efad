//! Names that are used once, and families of refresh tokens: a string and a hash, with an expiry.

use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;
use stanchion::Result;
use stanchion::key::{Name, escape};
use stanchion::time::Ttl;
use stanchion::token::{FamilyId, FirstUses, NewFamily, RefreshFamilies, RotateOutcome, Rotation};

use super::RedisTokens;
use crate::command::Call;
use crate::{reply, scripts};

/// For how long the end of a family is kept, so that a second call of the attempt that has ended it is answered as the first.
const KEPT_MS: &str = "60000";

#[async_trait]
impl FirstUses for RedisTokens {
    async fn claim(&self, service: &Name, name: &str, ttl: Ttl) -> Result<bool> {
        let call = Call::write("token.claim");
        escape(name).map_err(|error| call.named(error))?;
        let key = self.shared.layout().first_use(service, name);
        let ttl = ttl.as_millis().to_string();
        let first =
            self.shared.client.run(call, scripts::TOKEN_CLAIM.with(&[&key], &[ttl.as_bytes()])).await?;
        is_one(first).ok_or_else(|| call.unexpected())
    }
}

#[async_trait]
impl RefreshFamilies for RedisTokens {
    async fn open_family(&self, service: &Name, family: &NewFamily) -> Result<bool> {
        let call = Call::write("token.open_family");
        family.check().map_err(|error| call.named(error))?;
        let key = self.shared.layout().family(service, &family.id);
        let current = family.current.to_string();
        let (idle, absolute) = (family.idle.as_millis().to_string(), family.absolute.as_millis().to_string());
        let args = [current.as_bytes(), &family.data, idle.as_bytes(), absolute.as_bytes()];
        let opened = self.shared.client.run(call, scripts::TOKEN_FAMILY_OPEN.with(&[&key], &args)).await?;
        is_one(opened).ok_or_else(|| call.unexpected())
    }

    async fn rotate(&self, service: &Name, rotation: &Rotation) -> Result<RotateOutcome> {
        let call = Call::write("token.rotate");
        let key = self.shared.layout().family(service, &rotation.id);
        let args = [
            rotation.presented.to_string(),
            rotation.successor.to_string(),
            rotation.salt.to_string(),
            rotation.grace.as_millis().to_string(),
            rotation.idle.as_millis().to_string(),
            KEPT_MS.to_owned(),
        ];
        let args = args.each_ref().map(String::as_bytes);
        let reply = self.shared.client.run(call, scripts::TOKEN_FAMILY_ROTATE.with(&[&key], &args)).await?;
        outcome(reply).ok_or_else(|| call.unexpected())
    }

    async fn end_family(&self, service: &Name, id: &FamilyId) -> Result<Option<Bytes>> {
        let call = Call::write("token.end_family");
        let key = self.shared.layout().family(service, id);
        let data = self.shared.client.run(call, scripts::TOKEN_FAMILY_END.with(&[&key], &[])).await?;
        reply::maybe_bytes(data).ok_or_else(|| call.unexpected())
    }
}

fn is_one(reply: Value) -> Option<bool> {
    match reply::integer(reply)? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn outcome(reply: Value) -> Option<RotateOutcome> {
    let mut items = reply::array(reply)?.into_iter();
    let what = reply::text(items.next()?)?;
    if what == "gone" {
        return Some(RotateOutcome::Gone);
    }
    let left = reply::integer(items.next()?)?;
    let data = reply::bytes(items.next()?)?;
    match what.as_str() {
        "reused" => Some(RotateOutcome::Reused { data }),
        "rotated" => Some(RotateOutcome::Rotated { data, left: Ttl::from_millis(left.max(1)).ok()? }),
        "repeated" => {
            let salt = reply::text(items.next()?)?.parse().ok()?;
            Some(RotateOutcome::Repeated { data, salt, left: Ttl::from_millis(left.max(1)).ok()? })
        }
        _ => None,
    }
}
