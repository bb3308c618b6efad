//! The outboxes of the sessions, a stream for each bucket, and the reaper of what has ended by time.
//!
//! Which buckets have something due nobody notes, since no step gets at all of them. A round of the reaper asks each, with one
//! short script that reads two numbers and the first of a sorted set; the scripts for many buckets are one write per master.

use async_trait::async_trait;
use redis::Value;
use stanchion::Error;
use stanchion::Result;
use stanchion::key::{Name, unescape};
use stanchion::session::outbox::{
    OutboxBounds, OutboxEntry, OutboxId, OutboxItem, OutboxPage, OutboxPosition, OutboxStatus, PublisherId,
    ReapCursor, Reaped, SessionEnd, SessionNews,
};
use stanchion::session::{SessionId, SessionOutbox};
use stanchion::time::{Timestamp, Ttl};

use super::replies::{DESTROYED, id_of};
use super::store::RedisSessions;
use crate::command::{Call, Scripts};
use crate::connect::is_split;
use crate::{reply, scripts};

/// How many buckets one call of the reaper asks.
const BUCKETS_AT_ONCE: u32 = 128;
/// The most sessions that one script ends, so that it holds up nobody for long.
const REAPED_BY_ONE_SCRIPT: usize = 200;

const BOUNDS: OutboxBounds = OutboxBounds::new();

#[async_trait]
impl SessionOutbox for RedisSessions {
    fn bounds(&self) -> OutboxBounds {
        BOUNDS
    }

    fn outbox_of(&self, id: &SessionId) -> OutboxId {
        OutboxId::new(id.bucket() % self.shared.layout().buckets())
    }

    async fn lead(&self, service: &Name, publisher: &PublisherId, lease: Ttl) -> Result<bool> {
        let call = Call::write("session.lead");
        let (key, id) = (self.shared.layout().session_reaper(service), publisher.to_hex());
        let life = lease.as_millis().to_string();
        let args = [id.as_bytes(), life.as_bytes()];
        let reply = self.shared.client.run(call, scripts::SESSION_LEAD.with(&[&key], &args)).await?;
        Ok(reply::count(reply).ok_or_else(|| call.unexpected())? == 1)
    }

    async fn reap(&self, service: &Name, from: ReapCursor, limit: usize) -> Result<Reaped> {
        let call = Call::write("session.reap");
        BOUNDS.check(limit).map_err(|error| call.named(error))?;
        let (layout, all) = (self.shared.layout(), u32::from(self.shared.layout().buckets()));
        let first = from.get();
        if first >= all {
            return Err(call.named(Error::invalid("no such cursor")));
        }
        let end = (first + BUCKETS_AT_ONCE).min(all);
        // Both are within the number of buckets.
        let buckets: Vec<_> = (first..end).filter_map(|bucket| u16::try_from(bucket).ok()).collect();
        let each = (limit / buckets.len()).clamp(1, REAPED_BY_ONE_SCRIPT);
        let (buckets, most) = (&buckets[..buckets.len().min(limit)], each.to_string());
        let scripts = Scripts::many(buckets.len(), |step| {
            let bucket = buckets[step.index];
            let keys = [
                layout.expiries(service, bucket),
                layout.outbox(service, bucket),
                layout.sessions(service, bucket),
            ];
            let keys = [keys[0].as_str(), &keys[1], &keys[2]];
            scripts::SESSION_REAP.routed(step.form, &keys, &[self.bounds.arg(), most.as_bytes()])
        });
        let replies = self.shared.client.run_all(call, scripts.answering_split()).await?;
        let (mut reaped, mut more, mut failed) = (Reaped::default(), false, 0);
        let mut last = None;
        for (bucket, reply) in buckets.iter().zip(replies) {
            match reply {
                Ok(reply) => {
                    let [ended, rest, entries, waited] = numbers(reply).ok_or_else(|| call.unexpected())?;
                    reaped.ended += ended;
                    more |= rest == 1;
                    if entries > 0 {
                        let waited = std::time::Duration::from_millis(waited);
                        reaped.waiting.push(OutboxStatus::new(OutboxId::new(*bucket), entries, waited));
                    }
                }
                // Its turn comes once its slot has moved.
                Err(error) if is_split(&error) => {}
                Err(error) => {
                    failed += 1;
                    last = Some(error);
                }
            }
        }
        if let Some(error) = last {
            if failed == buckets.len() {
                return Err(error);
            }
            tracing::debug!(%error, failed, "some buckets of sessions could not be looked through");
        }
        let asked = first + u32::try_from(buckets.len()).unwrap_or(u32::MAX);
        reaped.next = if more { Some(from) } else { Some(ReapCursor::new(asked)).filter(|_| asked < all) };
        Ok(reaped)
    }

    async fn read(
        &self,
        service: &Name,
        outbox: OutboxId,
        publisher: &PublisherId,
        claim: Ttl,
        limit: usize,
    ) -> Result<OutboxPage> {
        let call = Call::write("session.read_outbox");
        BOUNDS.check(limit).map_err(|error| call.named(error))?;
        let [entries, held] = &self.keys_of(service, outbox);
        let keys = [entries.as_str(), held];
        let (id, life, limit) = (publisher.to_hex(), claim.as_millis().to_string(), limit.to_string());
        let args = [id.as_bytes(), life.as_bytes(), limit.as_bytes()];
        let read = scripts::SESSION_OUTBOX_READ.with(&keys, &args);
        match self.shared.client.run(call, read).await? {
            Value::Nil => Ok(OutboxPage::Claimed),
            reply => {
                let entries = reply::array(reply).and_then(|items| items.into_iter().map(entry).collect());
                entries.map(OutboxPage::Entries).ok_or_else(|| call.unexpected())
            }
        }
    }

    async fn acknowledge(
        &self,
        service: &Name,
        outbox: OutboxId,
        publisher: &PublisherId,
        positions: &[OutboxPosition],
    ) -> Result<u64> {
        let call = Call::write("session.acknowledge");
        BOUNDS.check_positions(positions).map_err(|error| call.named(error))?;
        if positions.iter().any(|position| !is_position(position.as_str())) {
            return Err(call.named(Error::invalid("no position of an outbox of this store")));
        }
        let ([entries, held], id) = (&self.keys_of(service, outbox), publisher.to_hex());
        let keys = [entries.as_str(), held];
        let mut args = vec![id.as_bytes()];
        args.extend(positions.iter().map(|position| position.as_str().as_bytes()));
        let acknowledge = scripts::SESSION_OUTBOX_ACK.with(&keys, &args);
        let reply = self.shared.client.run(call, acknowledge).await?;
        reply::count(reply).ok_or_else(|| call.unexpected())
    }
}

impl RedisSessions {
    /// The keys of an outbox and of the claim on it.
    fn keys_of(&self, service: &Name, outbox: OutboxId) -> [String; 2] {
        let layout = self.shared.layout();
        [layout.outbox(service, outbox.get()), layout.outbox_claim(service, outbox.get())]
    }
}

/// Two numbers with a dash between them.
fn is_position(text: &str) -> bool {
    let digits = |part: &str| (1..=20).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('-').is_some_and(|(time, number)| digits(time) && digits(number))
}

fn numbers(reply: Value) -> Option<[u64; 4]> {
    let numbers: Option<Vec<_>> = reply::array(reply)?.into_iter().map(reply::count).collect();
    numbers?.try_into().ok()
}

fn entry(reply: Value) -> Option<OutboxEntry> {
    let [position, fields] = <[Value; 2]>::try_from(reply::array(reply)?).ok()?;
    let fields = reply::array(fields)?.into_iter().map(reply::text).collect::<Option<Vec<_>>>();
    let item = fields.and_then(|fields| item(&fields)).unwrap_or(OutboxItem::Unreadable);
    Some(OutboxEntry::new(OutboxPosition::new(reply::text(position)?), item))
}

fn item(fields: &[String]) -> Option<OutboxItem> {
    let of = |name: &str| fields.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].as_str());
    if let Some(lost) = of("lost") {
        return Some(OutboxItem::Lost(lost.parse().ok()?));
    }
    let news = match of("news")? {
        "created" => SessionNews::Created,
        DESTROYED => SessionNews::Ended(SessionEnd::Destroyed),
        "evicted" => SessionNews::Ended(SessionEnd::Evicted),
        "replaced" => SessionNews::Ended(SessionEnd::Replaced),
        "timed_out" => SessionNews::Ended(SessionEnd::TimedOut),
        "rotated" => SessionNews::Rotated { to: of("to")?.parse().ok()? },
        _ => return None,
    };
    let user = unescape(of("user")?)?;
    let (id, at) = (id_of(&user, of("hash")?)?, Timestamp::from_micros(of("at")?.parse().ok()?));
    Some(OutboxItem::News { news, id, user, at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts::SESSION_REAP;

    #[test]
    fn the_scripts_have_the_bounds_that_are_declared() {
        let (retention, entries) = (BOUNDS.retention.as_millis(), BOUNDS.max_entries);
        for line in [format!("local RETENTION = {retention}\n"), format!("local MAX_ENTRIES = {entries}\n")] {
            assert!(SESSION_REAP.source().contains(&line), "{line}");
        }
        assert!(
            BOUNDS.max_entries > BOUNDS.max_page as u64,
            "the count of what is lost is read while it grows"
        );
    }

    #[test]
    fn what_is_no_entry_is_unreadable_and_no_panic() {
        let texts = |fields: &[&str]| fields.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        for bad in [&[][..], &["lost"], &["lost", "x"], &["news", "created"], &["news", "born", "user", "u"]]
        {
            assert_eq!(item(&texts(bad)), None, "{bad:?}");
        }
        assert_eq!(item(&texts(&["lost", "7"])), Some(OutboxItem::Lost(7)));
        for bad in ["", "1", "1-", "-1", "a-1", "1-2-3", "+"] {
            assert!(!is_position(bad), "{bad}");
        }
        assert!(is_position("1750000000000-12"));
    }
}
