//! What wrong token stores do with names that are used once, and with families of refresh tokens.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::Result;
use stanchion::key::{Name, escape};
use stanchion::time::{Monotonic, Timestamp, Ttl};
use stanchion::token::{
    FamilyId, FirstUses, MAX_FAMILY_DATA, NewFamily, RefreshFamilies, RefreshHash, RotateOutcome, Rotation,
    Salt,
};

use crate::backend::{self, locked};
use crate::proof::{Proof, must_fail};
use crate::token::{self, Wrong};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The list of used names is in the process.
    ClaimedInTheProcess,
    /// A claim without expiry.
    ClaimedForEver,
    /// A name that is claimed goes on the list of revoked tokens.
    ClaimRevokes,
    /// A name that can't be one is written under another.
    BadNameIsReplaced,
    /// Whoever finds the token rotated within the grace is told that it has won.
    RepeatWins,
    /// Who has won is not kept.
    AttemptIsForgotten,
    /// An old token is refused, and nothing follows from it.
    ReuseIsRefused,
    /// The grace never ends.
    GraceForEver,
    /// A family that is not there is written as if it had been.
    RotationUpserts,
    /// The idle time is not kept.
    IdleIsIgnored,
    /// Each rotation gives the family its idle time, whatever is left.
    RotationProlongs,
    /// A family of the same name takes the place of one.
    OpensAgain,
    /// What does not fit is cut off.
    DataIsCut,
    /// Once the wall clock was set back, no grace ends any more.
    StepBackKeepsTheGrace,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Token(token::Bug::SingleUse(bug)), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    must_fail(
        "TOKEN-08",
        backend::Bug::Token(token::Bug::ServiceIsForgotten),
        "isolation::services_of_single_uses",
        "the same name at another service: true",
    )
    .part("single_uses")
    // Settings and floors are a service's.
    .also(&["TOKEN-18", "TOKEN-19", "TOKEN-21"]),
    must_fail(
        "TOKEN-10",
        backend::Bug::PrefixForgotten,
        "isolation::places_of_single_uses",
        "a name that is claimed elsewhere: true",
    )
    .part("single_uses")
    .also(&["TOKEN-18"]),
    proof(
        "TOKEN-30",
        Bug::ClaimedInTheProcess,
        "claim::one_is_the_first",
        "first claims of 50 through two handles: 1\nobserved: 2",
    ),
    proof("TOKEN-31", Bug::ClaimedForEver, "claim::ends_with_its_ttl", "a claim after the TTL of the first"),
    proof("TOKEN-32", Bug::ClaimRevokes, "claim::is_no_revocation", "a token whose id was claimed: Active"),
    proof("TOKEN-33", Bug::BadNameIsReplaced, "claim::bad_names_are_refused", "claiming a bad name: refused"),
    proof(
        "TOKEN-40",
        Bug::RepeatWins,
        "family::one_rotation_wins",
        "rotations of 50 of one token that won: 1\nobserved: 50",
    )
    .also(&["TOKEN-41"]),
    proof("TOKEN-41", Bug::AttemptIsForgotten, "family::an_attempt_again", "the same attempt again: rotated"),
    proof("TOKEN-42", Bug::ReuseIsRefused, "family::reuse_ends_it", "the current token after a reuse: gone")
        .also(&["TOKEN-41"]),
    proof("TOKEN-43", Bug::GraceForEver, "family::grace_ends", "the token before, after the grace: reused")
        .also(&["TOKEN-50"]),
    proof("TOKEN-44", Bug::RotationUpserts, "family::nothing_brings_it_back", "a token of no family: gone")
        .also(&["TOKEN-08", "TOKEN-10", "TOKEN-41", "TOKEN-42", "TOKEN-45", "TOKEN-46"]),
    proof(
        "TOKEN-45",
        Bug::IdleIsIgnored,
        "family::ends_unused",
        "a token of a family that was not used: gone",
    ),
    proof("TOKEN-46", Bug::RotationProlongs, "family::ends_with_age", "no more left than it lives at most"),
    proof("TOKEN-47", Bug::OpensAgain, "family::is_opened_once", "a family of a name that there is: false"),
    proof("TOKEN-48", Bug::DataIsCut, "family::too_much_data", "a family with too much data: refused"),
    proof(
        "TOKEN-50",
        Bug::StepBackKeepsTheGrace,
        "wall_clock::grace",
        "the token before, after the grace, Back(3600s): reused",
    ),
];

/// What wrong stores keep besides.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    attempts: Mutex<HashSet<(FamilyId, Salt)>>,
    /// Both clocks at the first rotation.
    began: Mutex<Option<(Timestamp, Monotonic)>>,
    /// The tokens of families, the last one last.
    tokens: Mutex<HashMap<FamilyId, (Vec<RefreshHash>, Bytes)>>,
}

impl Wrong {
    fn is(&self, bug: Bug) -> bool {
        self.bug == token::Bug::SingleUse(bug)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl FirstUses for Wrong {
    async fn claim(&self, service: &Name, name: &str, mut ttl: Ttl) -> Result<bool> {
        let service = &self.service(service)?;
        let store = if self.is(Bug::ClaimedInTheProcess) { &self.private } else { &self.right };
        let uses = store.first_uses().expect("memory has this part");
        if self.is(Bug::ClaimedForEver) {
            ttl = Ttl::MAX;
        }
        if self.is(Bug::ClaimRevokes) {
            self.right.revoke(service, name, ttl).await?;
        }
        let name = if self.is(Bug::BadNameIsReplaced) && escape(name).is_err() { "bad" } else { name };
        uses.claim(service, name, ttl).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl RefreshFamilies for Wrong {
    async fn open_family(&self, service: &Name, family: &NewFamily) -> Result<bool> {
        let (service, mut family) = (&self.service(service)?, family.clone());
        let families = self.right.families().expect("memory has this part");
        if self.is(Bug::IdleIsIgnored) {
            family.idle = Ttl::MAX;
        }
        if self.is(Bug::RotationProlongs) {
            family.absolute = Ttl::MAX;
        }
        if self.is(Bug::DataIsCut) {
            family.data.truncate(MAX_FAMILY_DATA);
        }
        if self.is(Bug::OpensAgain) {
            families.end_family(service, &family.id).await?;
        }
        let opened = families.open_family(service, &family).await?;
        if opened {
            locked(&self.single.tokens).insert(family.id, (vec![family.current], family.data));
        }
        Ok(opened)
    }

    async fn rotate(&self, service: &Name, rotation: &Rotation) -> Result<RotateOutcome> {
        let (service, mut rotation) = (&self.service(service)?, rotation.clone());
        let families = self.right.families().expect("memory has this part");
        if self.is(Bug::ReuseIsRefused) {
            let tokens = locked(&self.single.tokens);
            if let Some((tokens, data)) = tokens.get(&rotation.id)
                && !tokens.iter().rev().take(2).any(|token| *token == rotation.presented)
            {
                return Ok(RotateOutcome::Reused { data: data.clone() });
            }
        }
        if self.is(Bug::IdleIsIgnored) {
            rotation.idle = Ttl::MAX;
        }
        if self.is(Bug::GraceForEver) && !rotation.grace.is_zero() {
            rotation.grace = Duration::MAX;
        }
        let wall = self.around.right.environment().clock.wall();
        if self.is(Bug::StepBackKeepsTheGrace) {
            // The clock that the handle was opened with goes on; the wall clock is behind it after a step back.
            let clock = &self.around.right.environment().clock;
            let behind = |began: &mut Option<(Timestamp, Monotonic)>| {
                let (wall_then, then) = *began.get_or_insert((wall, clock.now()));
                wall < wall_then.saturating_add(clock.now().saturating_since(then))
            };
            if behind(&mut locked(&self.single.began)) {
                rotation.grace = Duration::MAX;
            }
        }
        let outcome = families.rotate(service, &rotation).await?;
        let again = !locked(&self.single.attempts).insert((rotation.id, rotation.salt));
        if let RotateOutcome::Rotated { .. } = outcome
            && !again
            && let Some((tokens, _)) = locked(&self.single.tokens).get_mut(&rotation.id)
        {
            tokens.push(rotation.successor);
        }
        Ok(match outcome {
            RotateOutcome::Repeated { data, left, .. } if self.is(Bug::RepeatWins) => {
                RotateOutcome::Rotated { data, left }
            }
            RotateOutcome::Rotated { data, left } if again && self.is(Bug::AttemptIsForgotten) => {
                RotateOutcome::Repeated { data, salt: rotation.salt, left }
            }
            RotateOutcome::Gone if self.is(Bug::RotationUpserts) => {
                let data = Bytes::new();
                let new =
                    NewFamily::new(rotation.id, rotation.successor, data.clone(), rotation.idle, Ttl::MAX);
                families.open_family(service, &new).await?;
                RotateOutcome::Rotated { data, left: rotation.idle }
            }
            outcome => outcome,
        })
    }

    async fn end_family(&self, service: &Name, id: &FamilyId) -> Result<Option<Bytes>> {
        let families = self.right.families().expect("memory has this part");
        locked(&self.single.tokens).remove(id);
        families.end_family(&self.service(service)?, id).await
    }
}
