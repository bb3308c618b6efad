//! The scripts count as `Gcra` does, to the microsecond.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};
use stanchion::limit::{Decision, Gcra, Tier, TierStatus};
use stanchion::time::Timestamp;
use tokio::runtime::Runtime;

use crate::place::Place;

#[derive(Debug, Clone, Copy)]
enum Step {
    Check(u32),
    Refund(u32),
    /// The server's clock is set back by so many seconds: what is stored is as much further ahead.
    ClockBack(u32),
}

impl Step {
    /// Within the smallest burst, since what can never be allowed is refused before the script.
    fn within(self, tiers: &[Tier]) -> Self {
        let most = tiers.iter().map(Tier::burst).min().unwrap_or_default();
        match self {
            Self::Check(cost) => Self::Check(cost % (most + 1)),
            other => other,
        }
    }
}

/// Runs the script itself, whose reply says by which time it counted, and the same steps on `Gcra`.
async fn count_alike(server: &mut MultiplexedConnection, key: &str, tiers: &[Tier], steps: &[Step]) {
    let mut states = vec![Gcra::default(); tiers.len()];
    for step in steps.iter().map(|step| step.within(tiers)) {
        let (script, cost, with_burst) = match step {
            Step::Check(cost) => (include_str!("../../src/scripts/limit_check.lua"), cost, true),
            Step::Refund(cost) => (include_str!("../../src/scripts/limit_refund.lua"), cost, false),
            Step::ClockBack(seconds) => {
                set_back(server, key, tiers, u64::from(seconds), &mut states).await;
                continue;
            }
        };
        let mut eval = cmd("EVAL");
        eval.arg(script).arg(1).arg(key).arg(cost);
        for tier in tiers {
            let (numerator, denominator) = tier.emission();
            eval.arg(tier.id()).arg(numerator).arg(denominator).arg(tier.burst());
        }
        let reply: Value = eval.query_async(server).await.unwrap();
        if !with_burst {
            let now = Timestamp::from_micros(redis::from_redis_value(reply).unwrap());
            states = states.iter().zip(tiers).map(|(state, tier)| state.refunded(tier, cost, now)).collect();
            continue;
        }
        let reply: Vec<i64> = redis::from_redis_value(reply).unwrap();
        let number = |index: usize| u64::try_from(reply[index]).unwrap();
        let micros = |index: usize| Duration::from_micros(number(index));
        let now = number(0);
        let standings = (0..tiers.len()).map(|tier| {
            let at = 4 + 3 * tier;
            TierStatus::new(u32::try_from(number(at)).unwrap(), micros(at + 1), micros(at + 2))
        });
        let standings: Vec<_> = standings.collect();
        let answered = match reply[1] {
            1 => Decision::Allowed { tiers: standings },
            _ => Decision::Denied {
                retry_after: micros(2),
                tier: usize::try_from(reply[3]).unwrap(),
                tiers: standings,
            },
        };
        assert_eq!(
            answered,
            Gcra::check(&mut states, tiers, cost, Timestamp::from_micros(now)),
            "{step:?} {tiers:?}"
        );
        if cost > 0 {
            // A key that is gone already was needed no more: that is looked at in the end.
            if let Some(stored) = stored(server, key, tiers).await {
                assert_eq!(stored, states, "what is stored after {step:?}");
            }
        }
    }
    // What is stored lives at least until every tier is full again.
    let left: i64 = cmd("PTTL").arg(key).query_async(server).await.unwrap();
    let left = Duration::from_millis(u64::try_from(left + 1).unwrap_or_default());
    let (seconds, micros): (u64, u64) = cmd("TIME").query_async(server).await.unwrap();
    let now = Timestamp::from_micros(seconds * 1_000_000 + micros);
    let full_in = states.iter().zip(tiers).map(|(state, tier)| state.full_in(tier, now)).max().unwrap();
    assert!(left >= full_in, "the key lives {left:?} and is needed for {full_in:?}");
}

/// Moves what is stored into the future, if all is, and the states with it. In one step, since it expires soon.
async fn set_back(
    server: &mut MultiplexedConnection,
    key: &str,
    tiers: &[Tier],
    seconds: u64,
    states: &mut Vec<Gcra>,
) {
    const MOVE: &str = "
        local moved = {}
        for i = 2, #ARGV do
            local arrival, rest = string.match(redis.call('HGET', KEYS[1], ARGV[i]) or '', '^(%d+):(%d+)$')
            if not arrival then return {} end
            moved[i - 1] = string.format('%.0f:%s', arrival + ARGV[1] * 1000000, rest)
        end
        for i = 2, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], moved[i - 1]) end
        redis.call('PEXPIRE', KEYS[1], redis.call('PTTL', KEYS[1]) + ARGV[1] * 1000)
        return moved";
    let fields: Vec<_> = tiers.iter().map(Tier::id).collect();
    let mut eval = cmd("EVAL");
    eval.arg(MOVE).arg(1).arg(key).arg(seconds).arg(fields);
    let moved: Vec<String> = eval.query_async(server).await.unwrap();
    if !moved.is_empty() {
        *states = moved.into_iter().map(|text| read(&text)).collect();
    }
}

/// The states as they are stored, if they still are: `micros:rest` under the id of each tier.
async fn stored(server: &mut MultiplexedConnection, key: &str, tiers: &[Tier]) -> Option<Vec<Gcra>> {
    let fields: Vec<_> = tiers.iter().map(Tier::id).collect();
    let texts: Vec<Option<String>> = cmd("HMGET").arg(key).arg(fields).query_async(server).await.unwrap();
    texts.into_iter().map(|text| text.as_deref().map(read)).collect()
}

fn read(text: &str) -> Gcra {
    let (micros, rest) = text.split_once(':').unwrap();
    Gcra::from_parts(micros.parse().unwrap(), rest.parse().unwrap()).unwrap()
}

/// Tiers from a few permits a day to millions a second, at the bounds of exact arithmetic too.
fn tier() -> impl Strategy<Value = Tier> {
    let count = prop_oneof![1_u32..20, 1_u32..=Tier::MAX_COUNT];
    let period = prop_oneof![1_u64..5_000, 1_u64..100_000_000, Just(86_400_000_000), Just(2_592_000_000_000)];
    (count.clone(), period, count)
        .prop_filter_map("too fine for exact arithmetic", |(limit, period, burst)| {
            Tier::with_burst(limit, Duration::from_micros(period), burst).ok()
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u32..4).prop_map(Step::Check),
        3 => any::<u32>().prop_map(Step::Check),
        1 => (0_u32..4).prop_map(Step::Refund),
        1 => any::<u32>().prop_map(Step::Refund),
        1 => (0_u32..100_000).prop_map(Step::ClockBack),
    ]
}

pub(crate) fn limits_count_as_gcra_does(runtime: &Runtime, place: &Place) {
    let key = place.key("rate_limit:gcra:u1");
    let input = (prop::collection::vec(tier(), 1..=4), prop::collection::vec(step(), 1..40));
    let alike = |tiers: &[Tier], steps: &[Step]| {
        runtime.block_on(async {
            let mut server = place.server.clone();
            cmd("DEL").arg(&key).exec_async(&mut server).await.unwrap();
            count_alike(&mut server, &key, tiers, steps).await;
        });
    };
    // Of tiers that need the same wait it is the first.
    let minute = Duration::from_mins(1);
    let tied = [Tier::new(2, minute).unwrap(), Tier::with_burst(4, 2 * minute, 2).unwrap()];
    alike(&tied, &[Step::Check(2), Step::Check(1), Step::Check(2)]);

    let config = Config { failure_persistence: None, ..Config::default() };
    let counted = TestRunner::new(config).run(&input, |(tiers, steps)| {
        alike(&tiers, &steps);
        Ok(())
    });
    counted.unwrap();
}
