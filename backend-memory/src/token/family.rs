//! Names that are used once, and families of refresh tokens.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use stanchion::Result;
use stanchion::key::{Name, escape};
use stanchion::time::{Monotonic, Ttl};
use stanchion::token::{
    FamilyId, FirstUses, NewFamily, RefreshFamilies, RefreshHash, RotateOutcome, Rotation, Salt,
};

use super::MemoryTokens;
use crate::expiring::Expiring;
use crate::shared::locked;

/// For how long the end of a family is kept, so that a second call of the attempt that has ended it is answered as the first.
const KEPT: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(crate) struct State {
    used: Expiring<(Name, [u8; 32]), ()>,
    families: Expiring<(Name, FamilyId), Family>,
}

#[derive(Debug)]
struct Family {
    data: Bytes,
    state: FamilyState,
}

#[derive(Debug)]
enum FamilyState {
    Live {
        current: RefreshHash,
        until: Monotonic,
        last: Option<Last>,
    },
    /// By the attempt with this salt.
    Ended(Salt),
}

/// The last rotation.
#[derive(Debug, Clone, Copy)]
struct Last {
    token: RefreshHash,
    salt: Salt,
    at: Monotonic,
}

fn left(until: Monotonic, now: Monotonic) -> Option<Ttl> {
    Ttl::new(until.saturating_since(now)).ok()
}

#[async_trait]
impl FirstUses for MemoryTokens {
    async fn claim(&self, service: &Name, name: &str, ttl: Ttl) -> Result<bool> {
        self.handle.operate("token.claim", || {
            escape(name)?;
            let (mut state, now) = (locked(&self.state), self.handle.now());
            let used = &mut state.single.used;
            used.purge(now);
            let key = (service.clone(), Sha256::digest(name.as_bytes()).into());
            if used.get(&key, now).is_some() {
                return Ok(false);
            }
            used.insert(key, (), now.saturating_add(ttl.as_duration()));
            Ok(true)
        })
    }
}

#[async_trait]
impl RefreshFamilies for MemoryTokens {
    async fn open_family(&self, service: &Name, family: &NewFamily) -> Result<bool> {
        self.handle.operate("token.open_family", || {
            family.check()?;
            let (mut state, now) = (locked(&self.state), self.handle.now());
            let families = &mut state.single.families;
            families.purge(now);
            let key = (service.clone(), family.id);
            if families.get(&key, now).is_some() {
                return Ok(false);
            }
            let until = now.saturating_add(family.absolute.as_duration());
            let deadline = until.min(now.saturating_add(family.idle.as_duration()));
            let state = FamilyState::Live { current: family.current, until, last: None };
            families.insert(key, Family { data: family.data.clone(), state }, deadline);
            Ok(true)
        })
    }

    async fn rotate(&self, service: &Name, rotation: &Rotation) -> Result<RotateOutcome> {
        self.handle.operate("token.rotate", || {
            let (mut state, now) = (locked(&self.state), self.handle.now());
            let families = &mut state.single.families;
            let key = (service.clone(), rotation.id);
            let kept = families.deadline(&key, now).and_then(|deadline| left(deadline, now));
            let (Some(family), Some(kept)) = (families.get_mut(&key, now), kept) else {
                return Ok(RotateOutcome::Gone);
            };
            let data = family.data.clone();
            let (current, until, last) = match &mut family.state {
                FamilyState::Ended(by) if *by == rotation.salt => return Ok(RotateOutcome::Reused { data }),
                FamilyState::Ended(_) => return Ok(RotateOutcome::Gone),
                FamilyState::Live { current, until, last } => (current, *until, last),
            };
            if *current == rotation.presented {
                *current = rotation.successor;
                *last = Some(Last { token: rotation.presented, salt: rotation.salt, at: now });
                let deadline = until.min(now.saturating_add(rotation.idle.as_duration()));
                families.extend(&key, deadline, now);
                return Ok(RotateOutcome::Rotated { data, left: left(deadline, now).unwrap_or(Ttl::MIN) });
            }
            if let Some(last) = last.filter(|last| last.token == rotation.presented) {
                if last.salt == rotation.salt {
                    return Ok(RotateOutcome::Rotated { data, left: kept });
                }
                if now.saturating_since(last.at) < rotation.grace {
                    return Ok(RotateOutcome::Repeated { data, salt: last.salt, left: kept });
                }
            }
            family.state = FamilyState::Ended(rotation.salt);
            families.extend(&key, until.min(now.saturating_add(KEPT)), now);
            Ok(RotateOutcome::Reused { data })
        })
    }

    async fn end_family(&self, service: &Name, id: &FamilyId) -> Result<Option<Bytes>> {
        self.handle.operate("token.end_family", || {
            let (mut state, now) = (locked(&self.state), self.handle.now());
            let families = &mut state.single.families;
            let key = (service.clone(), *id);
            if matches!(families.get(&key, now), None | Some(Family { state: FamilyState::Ended(_), .. })) {
                return Ok(None);
            }
            Ok(families.remove(&key, now).map(|family| family.data))
        })
    }
}
