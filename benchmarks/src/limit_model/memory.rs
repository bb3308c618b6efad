//! In memory.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter as Governor};
use stanchion::clock::{Clock as _, ManualClock};
use stanchion::environment::Environment;
use stanchion::key::Key;
use stanchion_memory::{MemoryBackend, MemoryConfig};

use super::{Answer, Ask, Asks, SUBJECTS, models, tiers};
use crate::Failure;
use crate::rounds::{Pairs, ROUNDS, Rounds};
use crate::timing::{rate, timed};

pub(super) async fn differences(decisions: usize) -> Result<usize, Failure> {
    let clock = ManualClock::new();
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let limits = MemoryBackend::with(MemoryConfig::new().environment(environment)).stores().rate_limiter()?;
    let (mut asks, mut models, mut differences) = (Asks::new(), models()?, 0);
    for _ in 0..decisions {
        let subject = asks.count(SUBJECTS as u64) as usize;
        let (key, tiers) = (Key::new("rate_limit", "model", subject)?, tiers(subject)?);
        let ask = asks.ask();
        let answer = match ask {
            Ask::Check(cost) => Answer::of(limits.check(&key, &tiers, cost).await?)?,
            Ask::UpTo(most) => {
                let grant = limits.take_up_to(&key, &tiers, most).await?;
                Answer::Granted(grant.permits, grant.tiers)
            }
            Ask::Refund(permits) => {
                limits.refund(&key, &tiers, permits).await?;
                Answer::Refunded
            }
        };
        let now = u64::try_from(clock.now().since_origin().as_micros())?;
        differences += usize::from(answer != models[subject].answer(ask, now));
        clock.advance(std::time::Duration::from_micros(asks.next(2_000)));
    }
    Ok(differences)
}

const KEYS: usize = 1_000;
const CHECKS: usize = 400_000;
/// So many that none is denied.
const LIMIT: u32 = 1_000_000;

pub(super) async fn rates() -> Result<Pairs, Failure> {
    let ours = MemoryBackend::new().stores().limits("bench").per_second(LIMIT).build()?;
    let quota = Quota::per_second(NonZeroU32::new(LIMIT).ok_or("a limit of none")?);
    let governor: DefaultKeyedRateLimiter<usize> = Governor::keyed(quota);
    let mut rounds = Rounds::of(2);
    for round in 0..=ROUNDS {
        let mut measured = vec![0.0; 2];
        for side in rounds.order(round) {
            let (done, elapsed) = timed(async {
                for turn in 0..CHECKS {
                    let key = turn * 7_919 % KEYS;
                    let allowed = match side {
                        0 => ours.check(key).await?.is_allowed(),
                        _ => governor.check_key(&key).is_ok(),
                    };
                    if !allowed {
                        return Err("a decision was denied".into());
                    }
                }
                Ok::<_, Failure>(())
            })
            .await;
            done?;
            measured[side] = rate(CHECKS, elapsed);
        }
        if round > 0 {
            rounds.add(measured);
        }
    }
    Ok(rounds.pairs(0, 1))
}
