//! Listing the sessions of a user while their slot is being moved: see [`split`](super::split).

use std::collections::{BTreeMap, BTreeSet};

use redis::Value;
use stanchion::session::SessionSummary;
use stanchion::{ErrorKind, Result};

use super::between::Pauses;
use super::replies::{dated, readable};
use super::split::{MOST_ROUNDS, Member, SplitSessions};
use super::stored::{field, summary_of_whole};

/// What was found at one place of an index. A session keeps its place under whatever id it goes on, so there are several members at a
/// place where it is rotated.
#[derive(Default)]
struct Place {
    members: BTreeSet<String>,
    live: Vec<SessionSummary>,
    /// It is reserved for a session that is just being rotated.
    reserved: bool,
    /// What can't be read is left out, and not looked for.
    unreadable: bool,
}

impl SplitSessions {
    /// The newest first. A session that lives all the while is in the index, and is found, whoever rotates it: where something does not
    /// live, or lives twice, its place in the index is looked at again, until that is the same.
    pub(super) async fn list(&self) -> Result<Vec<SessionSummary>> {
        let pauses = Pauses::of(&self.shared, self.call);
        let mut members = self.members().await?;
        let order: Vec<_> = members.iter().rev().map(|member| member.place().to_owned()).collect();
        let (mut found, mut rounds) = (BTreeMap::new(), 0);
        let mut before: BTreeMap<String, Place> = BTreeMap::new();
        while !members.is_empty() {
            let mut again = BTreeMap::new();
            for (at, mut place) in self.read(&members).await? {
                let is_same = before.get(&at).is_some_and(|before| before.members == place.members);
                match place.live.len() {
                    1 => drop(found.insert(at, place.live.remove(0))),
                    _ if place.unreadable => {}
                    // It has ended. Where it is still reserved, whoever was rotating it may have died.
                    0 if is_same && (!place.reserved || rounds >= MOST_ROUNDS) => {}
                    _ => drop(again.insert(at, place)),
                }
            }
            if again.values().any(|place| place.reserved) {
                // A list that may lack a session that lives is none.
                pauses.next().await?;
            }
            before = again;
            rounds += 1;
            members = if before.is_empty() { Vec::new() } else { self.members().await? };
            members.retain(|member| before.contains_key(member.place()));
        }
        let mut seen = BTreeSet::new();
        let places = order.into_iter().filter(|place| seen.insert(place.clone()));
        Ok(places.filter_map(|place| found.remove(&place)).collect())
    }

    async fn read(&self, members: &[Member]) -> Result<BTreeMap<String, Place>> {
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        for (member, reply) in members.iter().zip(self.load(members).await) {
            let place = places.entry(member.place().to_owned()).or_default();
            place.members.insert(member.hash.clone());
            let fields = match reply {
                Ok(reply) => dated(reply).ok_or_else(|| self.call.unexpected())?,
                Err(error) if error.kind() == ErrorKind::Codec => {
                    place.unreadable = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some((now, fields)) = fields else { continue };
            if matches!(&fields, Value::Array(fields) if field(fields, "beside").is_some()) {
                place.reserved = true;
                continue;
            }
            let hash = Value::BulkString(member.hash.clone().into_bytes());
            let lives = readable(&self.user, std::iter::once((hash, fields)), |id, fields| {
                summary_of_whole(id, now, &fields, self.bounds.values)
            });
            place.live.extend(lives);
        }
        Ok(places)
    }
}
