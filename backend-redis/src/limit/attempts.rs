//! Failed attempts: a hash for each key, with the failures of each source.

use std::time::Duration;

use redis::Value;
use stanchion::Result;
use stanchion::key::Key;
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, AttemptTicket, Failures, LockedBy, Lockout, Settlement,
};
use stanchion::time::Timestamp;

use super::RedisLimits;
use crate::command::Call;
use crate::{reply, scripts};

impl RedisLimits {
    pub(super) async fn count_attempt(
        &self,
        call: Call,
        key: &Key,
        request: &AttemptRequest,
    ) -> Result<AttemptOutcome> {
        let mut args = bounds().to_vec();
        args.push(u8::from(request.only_known).to_string());
        args.extend(numbers(&request.overall));
        if let Some((source, lockout)) = &request.source {
            args.push(source.clone());
            args.extend(numbers(lockout));
        }
        let args: Vec<_> = args.iter().map(String::as_bytes).collect();
        let key = self.0.layout().key(key);
        let reply = self.0.client.run(call, scripts::LIMIT_ATTEMPT.with(&[&key], &args)).await?;
        outcome(reply).ok_or_else(|| call.unexpected())
    }

    pub(super) async fn settle_attempt(&self, call: Call, key: &Key, settlement: &Settlement) -> Result<()> {
        let none = AttemptTicket::default();
        let (what, ticket, source, known_for) = match settlement {
            Settlement::Withdrawn { source, ticket } => ("withdrawn", ticket, source.as_deref(), 0),
            Settlement::Succeeded { source, ticket, known_for } => {
                ("succeeded", ticket, Some(source.as_str()), known_for.as_millis())
            }
            Settlement::Unlocked => ("unlocked", &none, None, 0),
            _ => return Err(call.unexpected()),
        };
        let numbers =
            [ticket.overall.as_micros(), ticket.source.as_micros()].map(|number| number.to_string());
        let ([most_known, most_strangers], known_for) = (bounds(), known_for.to_string());
        // A source has a name: empty is none.
        let source = source.unwrap_or_default();
        let args: [&str; 7] =
            [&most_known, &most_strangers, what, &numbers[0], &numbers[1], source, &known_for];
        let args = args.map(str::as_bytes);
        let key = self.0.layout().key(key);
        self.0.client.run(call, scripts::LIMIT_SETTLE.with(&[&key], &args)).await.map(drop)
    }
}

/// How many known sources are kept, and how many others.
fn bounds() -> [String; 2] {
    [Failures::MAX_KNOWN, Failures::MAX_STRANGERS].map(|most| most.to_string())
}

fn numbers(lockout: &Lockout) -> impl Iterator<Item = String> {
    let micros = lockout.micros().map(|number| number.to_string());
    std::iter::once(lockout.failures().to_string()).chain(micros)
}

fn outcome(value: Value) -> Option<AttemptOutcome> {
    let mut items = reply::array(value)?.into_iter();
    let (_now, kind) = (items.next()?, reply::text(items.next()?)?);
    let mut count = || reply::count(items.next()?);
    match kind.as_str() {
        "admitted" => {
            let (overall, source) = (Timestamp::from_micros(count()?), Timestamp::from_micros(count()?));
            let (known, locks) = (count()? == 1, count()?);
            let locks_for = (locks > 0).then(|| Duration::from_micros(locks));
            Some(AttemptOutcome::Admitted(AttemptTicket::new(overall, source, known, locks_for)))
        }
        "locked" => {
            let retry_after = Duration::from_micros(count()?);
            let by = match reply::text(items.next()?)?.as_str() {
                "source" => LockedBy::Source,
                "overall" => LockedBy::Overall,
                _ => return None,
            };
            Some(AttemptOutcome::Locked { retry_after, by })
        }
        "unknown" => Some(AttemptOutcome::Unknown),
        _ => None,
    }
}
