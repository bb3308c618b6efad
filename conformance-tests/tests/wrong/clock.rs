//! Stores whose lives follow their wall clock. Everything that ends by itself does so by the monotonic time of the memory
//! backend; here that is made of the wall clock, rightly or wrongly.

use std::sync::Arc;

use async_trait::async_trait;
use libtest_mimic::Failed;
use stanchion::clock::{Clock, ManualClock};
use stanchion::time::{Monotonic, Timestamp};
use stanchion_conformance::{cases, run_case};

use crate::backend::{self, Wrong};
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// None: deadlines are times of the wall clock, as the contract lets them be.
    LivesFollowTheWall,
    /// Steps are to be made up for, and are doubled; forth as well as back.
    StepsAreDoubled,
    /// A step is taken for time that has passed, in whichever direction it was.
    StepsCountAsTime,
}

const fn proof(
    rule: &'static str,
    bug: Bug,
    case: &'static str,
    message: &'static str,
    part: &'static str,
) -> Proof {
    must_fail(rule, backend::Bug::Clock(bug), case, message).part(part)
}

const BACK: &str = "wall_clock::lives_after_a_step_back";
const FORTH: &str = "wall_clock::lives_after_a_step_forth";

pub(crate) const PROOFS: &[Proof] = &[
    proof("CACHE-67", Bug::StepsAreDoubled, BACK, "an entry that has lived long enough, Back", "back"),
    proof("CACHE-67", Bug::StepsAreDoubled, FORTH, "an entry that has lived long enough, Forth", "forth"),
    proof("LOCK-19", Bug::StepsAreDoubled, BACK, "a lease that has lasted long enough, Back", "back"),
    proof("LOCK-19", Bug::StepsAreDoubled, FORTH, "a lease that has lasted long enough, Forth", "forth"),
    proof("SESSION-25", Bug::StepsAreDoubled, BACK, "a session that was idle for long enough, Back", "back"),
    proof(
        "SESSION-25",
        Bug::StepsAreDoubled,
        FORTH,
        "a session that was idle for long enough, Forth",
        "forth",
    ),
    proof("TOKEN-17", Bug::StepsAreDoubled, BACK, "have lasted long enough, Back", "back"),
    proof("TOKEN-17", Bug::StepsAreDoubled, FORTH, "have lasted long enough, Forth", "forth"),
    proof(
        "LIMIT-16",
        Bug::StepsCountAsTime,
        "wall_clock::back_gives_nothing",
        "permits that a step back gives: 0\nobserved: 1",
        "back",
    ),
];

/// What a store with this bug takes for the time that passes.
#[derive(Debug)]
pub(crate) struct Skewed {
    bug: Bug,
    clock: ManualClock,
    /// The wall clock at the origin of the monotonic time.
    origin: Timestamp,
}

impl Skewed {
    /// Of a clock that nobody has advanced or set yet.
    pub(crate) fn new(bug: Bug, clock: ManualClock) -> Self {
        let origin = clock.wall();
        Self { bug, clock, origin }
    }
}

#[async_trait]
impl Clock for Skewed {
    fn now(&self) -> Monotonic {
        let now = self.clock.now();
        let unstepped = self.origin.saturating_add(now.since_origin());
        let wall = self.clock.wall();
        let (back, forth) = (unstepped.saturating_since(wall), wall.saturating_since(unstepped));
        // Never before the origin, from which nothing in a case is far.
        let earlier = |by| Monotonic::from_origin(now.since_origin().saturating_add(DAY).saturating_sub(by));
        let later = |by| now.saturating_add(DAY).saturating_add(by);
        match self.bug {
            Bug::LivesFollowTheWall if back.is_zero() => later(forth),
            Bug::LivesFollowTheWall => earlier(back),
            Bug::StepsAreDoubled => earlier(2 * (back + forth)),
            Bug::StepsCountAsTime => later(back + forth),
        }
    }

    fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    async fn sleep_until(&self, deadline: Monotonic) {
        self.clock.sleep_until(Monotonic::from_origin(deadline.since_origin().saturating_sub(DAY))).await;
    }
}

const DAY: std::time::Duration = std::time::Duration::from_hours(24);

/// A store whose deadlines are times of its wall clock keeps every rule.
pub(crate) async fn lives_by_the_wall_clock_pass() -> Result<(), Failed> {
    let rules = cases::ALL.iter().flat_map(|(_, rules)| *rules);
    for case in rules.flat_map(|rule| rule.cases).filter(|case| case.name.starts_with("wall_clock::")) {
        let harness = Arc::new(Wrong::new(backend::Bug::Clock(Bug::LivesFollowTheWall)));
        run_case(harness, case).await.map_err(|failure| format!("{}:\n{failure}", case.name))?;
    }
    Ok(())
}
