//! Rate limits.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use stanchion::Result;
use stanchion::key::Key;
use stanchion::limit::{Decision, RateLimiter, Tier, TierStatus};
use stanchion::time::Ttl;

use super::Answer;
use super::answer::Rounded;

/// An operation of a [`RateLimiter`]; tiers by their number.
#[derive(Debug, Clone)]
pub enum Operation {
    Check { subject: &'static str, tiers: Vec<usize>, cost: u32 },
    Peek { subject: &'static str, tiers: Vec<usize> },
    Refund { subject: &'static str, tiers: Vec<usize>, cost: u32 },
    TakeUpTo { subject: &'static str, tiers: Vec<usize>, most: u32 },
    Add { subject: &'static str, permits: u32 },
    Reset { subject: &'static str },
}

/// Permits, in so many hours, and how many at once. A permit takes minutes: none comes back during a sequence.
const TIERS: &[(u32, u64, u32)] = &[(2, 1, 2), (5, 1, 3), (4, 2, 6), (10, 1, 1), (1, 24, 4)];

fn tier(number: usize) -> Result<Tier> {
    let (limit, hours, burst) = TIERS[number % TIERS.len()];
    Tier::with_burst(limit, Duration::from_hours(hours), burst)
}

pub(super) fn operation() -> impl Strategy<Value = Operation> + Clone {
    let subject = || select(&["u1", "u2"][..]);
    // One and the same twice is refused, and so is none.
    let tiers = || {
        prop_oneof![
            4 => select(vec![vec![0_usize], vec![0, 1], vec![1, 0], vec![2, 3], vec![0, 1, 2, 3, 4]]),
            1 => prop::collection::vec(0..TIERS.len(), 0..4),
            1 => prop::collection::vec(0..TIERS.len(), 8..10),
        ]
    };
    let cost = || prop_oneof![6 => 0..3_u32, 1 => 3..8_u32, 1 => Just(u32::MAX)];
    prop_oneof![
        4 => (subject(), tiers(), cost()).prop_map(|(subject, tiers, cost)| Operation::Check { subject, tiers, cost }),
        2 => (subject(), tiers()).prop_map(|(subject, tiers)| Operation::Peek { subject, tiers }),
        2 => (subject(), tiers(), cost())
            .prop_map(|(subject, tiers, cost)| Operation::Refund { subject, tiers, cost }),
        2 => (subject(), tiers(), cost())
            .prop_map(|(subject, tiers, most)| Operation::TakeUpTo { subject, tiers, most }),
        1 => (subject(), prop_oneof![4 => 0..4_u32, 1 => Just(u32::MAX)])
            .prop_map(|(subject, permits)| Operation::Add { subject, permits }),
        1 => subject().prop_map(|subject| Operation::Reset { subject }),
    ]
}

fn standings(standings: &[TierStatus]) -> Vec<(u32, Rounded, Rounded)> {
    standings.iter().map(|one| (one.remaining, one.next_in.into(), one.full_in.into())).collect()
}

pub(super) async fn run(operation: &Operation, limits: &dyn RateLimiter) -> Result<Answer> {
    let key = |subject: &str| Key::new("rate_limit", "model", subject);
    let tiers = |numbers: &[usize]| numbers.iter().map(|number| tier(*number)).collect::<Result<Vec<_>>>();
    Ok(match operation {
        Operation::Check { subject, tiers: numbers, cost } => {
            match limits.check(&key(subject)?, &tiers(numbers)?, *cost).await? {
                Decision::Allowed { tiers, .. } => {
                    Answer::Decision { allowed: true, waits: None, tiers: standings(&tiers) }
                }
                Decision::Denied { retry_after, tier, tiers, .. } => Answer::Decision {
                    allowed: false,
                    waits: Some((tier, retry_after.into())),
                    tiers: standings(&tiers),
                },
                Decision::CostExceedsCapacity { tier } => Answer::CostExceedsCapacity(tier),
            }
        }
        Operation::Peek { subject, tiers: numbers } => {
            let tiers = limits.peek(&key(subject)?, &tiers(numbers)?).await?;
            Answer::Decision { allowed: true, waits: None, tiers: standings(&tiers) }
        }
        Operation::Refund { subject, tiers: numbers, cost } => {
            limits.refund(&key(subject)?, &tiers(numbers)?, *cost).await?;
            Answer::Done
        }
        Operation::TakeUpTo { subject, tiers: numbers, most } => {
            let grant = limits.take_up_to(&key(subject)?, &tiers(numbers)?, *most).await?;
            Answer::Granted(grant.permits, standings(&grant.tiers))
        }
        Operation::Add { subject, permits } => {
            let life = Ttl::new(Duration::from_hours(1))?;
            Answer::Added(limits.add(&key(subject)?, *permits, life).await?)
        }
        Operation::Reset { subject } => {
            limits.reset(&key(subject)?).await?;
            Answer::Done
        }
    })
}
