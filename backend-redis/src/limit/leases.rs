//! Leases of what is in flight: a sorted set for each subject, with the end of each lease.

use std::time::Duration;

use redis::Value;
use stanchion::Result;
use stanchion::key::Key;
use stanchion::limit::{LeaseOutcome, LeaseRequest};

use super::RedisLimits;
use crate::command::Call;
use crate::{reply, scripts};

impl RedisLimits {
    pub(super) async fn lease_place(
        &self,
        call: Call,
        key: &Key,
        request: &LeaseRequest,
    ) -> Result<LeaseOutcome> {
        let (most, life) = (request.most.to_string(), request.life.as_millis().to_string());
        let renews = if request.renews { "1" } else { "0" };
        let args = [request.holder.as_bytes(), most.as_bytes(), life.as_bytes(), renews.as_bytes()];
        let key = self.0.layout().key(key);
        let reply = self.0.client.run(call, scripts::LIMIT_LEASE.with(&[&key], &args)).await?;
        outcome(reply).ok_or_else(|| call.unexpected())
    }

    pub(super) async fn give_place_back(&self, call: Call, key: &Key, holder: &str) -> Result<bool> {
        let key = self.0.layout().key(key);
        let reply =
            self.0.client.run(call, scripts::LIMIT_GIVE_BACK.with(&[&key], &[holder.as_bytes()])).await?;
        match reply::count(reply) {
            Some(held) => Ok(held == 1),
            None => Err(call.unexpected()),
        }
    }
}

fn outcome(value: Value) -> Option<LeaseOutcome> {
    let mut items = reply::array(value)?.into_iter();
    match reply::text(items.next()?)?.as_str() {
        "leased" => {
            Some(LeaseOutcome::Leased { in_flight: u32::try_from(reply::count(items.next()?)?).ok()? })
        }
        "full" => {
            Some(LeaseOutcome::Full { retry_after: Duration::from_micros(reply::count(items.next()?)?) })
        }
        "lost" => Some(LeaseOutcome::Lost),
        _ => None,
    }
}
