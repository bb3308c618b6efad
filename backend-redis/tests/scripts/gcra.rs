//! The scripts count as `Usage` does, to the microsecond.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};
use stanchion::limit::{Calendar, Decision, Grant, LimitTime, Tier, TierStatus, Usage};
use stanchion::time::Timestamp;
use tokio::runtime::Runtime;

use crate::place::Place;

const PERMITS: &str = include_str!("../../src/scripts/limit_permits.lua");
const ADD: &str = include_str!("../../src/scripts/limit_add.lua");

#[derive(Debug, Clone, Copy)]
enum Step {
    Check(u32),
    UpTo(u32),
    Refund(u32),
    Add(u32),
    /// The server's clock is set back by so many seconds: what is stored is as much further ahead.
    ClockBack(u32),
}

/// A step, and which of the tiers it names.
type Named = (Step, u64);

fn named(tiers: &[Tier], mask: u64) -> Vec<Tier> {
    let named: Vec<_> =
        tiers.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, tier)| *tier).collect();
    if named.is_empty() { tiers[..1].to_vec() } else { named }
}

/// Runs the script itself, whose reply says by which time it counted, and the same steps on `Usage`.
async fn count_alike(server: &mut MultiplexedConnection, key: &str, all: &[Tier], steps: &[Named]) {
    let mut usage = Usage::default();
    for (step, mask) in steps {
        let tiers = named(all, *mask);
        // What can never be allowed is refused before the script.
        let most = tiers.iter().map(Tier::burst).min().unwrap_or_default();
        let (mode, cost) = match *step {
            Step::Check(cost) => ("take", cost % (most + 1)),
            Step::UpTo(most) => ("up_to", most),
            Step::Refund(cost) => ("refund", cost),
            Step::Add(permits) => {
                add(server, key, permits % 1_000, &mut usage).await;
                continue;
            }
            Step::ClockBack(seconds) => {
                set_back(server, key, u64::from(seconds), &mut usage).await;
                continue;
            }
        };
        let mut eval = cmd("EVAL");
        eval.arg(PERMITS).arg(1).arg(key).arg(mode).arg(cost);
        for tier in &tiers {
            eval.arg(tier.id());
            match (tier.emission(), tier.calendar()) {
                (Some((numerator, denominator)), _) => eval.arg(numerator).arg(denominator),
                (None, Some(calendar)) => eval.arg(calendar.unit_name()).arg(calendar.offset_minutes()),
                (None, None) => unreachable!(),
            };
            eval.arg(tier.burst());
        }
        let reply: Value = eval.query_async(server).await.unwrap();
        let reply: Vec<i64> = redis::from_redis_value(reply).unwrap();
        let number = |index: usize| u64::try_from(reply[index]).unwrap();
        let micros = |index: usize| Duration::from_micros(number(index));
        let at = LimitTime::wall(Timestamp::from_micros(number(0)));
        let statuses = (0..tiers.len()).map(|tier| {
            let at = 4 + 3 * tier;
            TierStatus::new(u32::try_from(number(at)).unwrap(), micros(at + 1), micros(at + 2))
        });
        let statuses: Vec<_> = statuses.collect();
        let granted = u32::try_from(number(1)).unwrap();
        match mode {
            "take" => {
                let answered = match granted {
                    1 => Decision::allowed(statuses),
                    _ => Decision::denied(micros(2), usize::try_from(reply[3]).unwrap(), statuses),
                };
                assert_eq!(answered, usage.check(&tiers, cost, at), "{step:?} {tiers:?}");
            }
            "up_to" => {
                let expected = usage.take_up_to(&tiers, cost, at);
                assert_eq!(Grant::new(granted, statuses), expected, "{step:?} {tiers:?}");
            }
            _ => {
                usage.refund(&tiers, cost, at);
                assert_eq!(statuses, usage.peek(&tiers, at), "{step:?} {tiers:?}");
            }
        }
        let stored: BTreeMap<String, String> = cmd("HGETALL").arg(key).query_async(server).await.unwrap();
        let stored = Usage::from_fields(stored).unwrap();
        // A key that is gone was needed no more: that is looked at in the end.
        if !stored.lasts(at).is_zero() {
            assert_eq!(fields(&stored, at), fields(&usage, at), "what is stored after {step:?} of {tiers:?}");
        }
    }
    // What is stored lives at least until every tier is full again.
    let left: i64 = cmd("PTTL").arg(key).query_async(server).await.unwrap();
    let left = Duration::from_millis(u64::try_from(left + 1).unwrap_or_default());
    let (seconds, micros): (u64, u64) = cmd("TIME").query_async(server).await.unwrap();
    let now = LimitTime::wall(Timestamp::from_micros(seconds * 1_000_000 + micros));
    let lasts = usage.lasts(now);
    assert!(left >= lasts, "the key lives {left:?} and is needed for {lasts:?}");
}

async fn add(server: &mut MultiplexedConnection, key: &str, permits: u32, usage: &mut Usage) {
    const LIFE: Duration = Duration::from_mins(1);
    let mut eval = cmd("EVAL");
    eval.arg(ADD).arg(1).arg(key).arg(permits).arg(60_000).arg(Usage::MAX_EXTRA);
    let (now, there): (u64, u32) = eval.query_async(server).await.unwrap();
    let now = Timestamp::from_micros(now);
    assert_eq!(there, usage.add(permits, now.saturating_add(LIFE), LimitTime::wall(now)));
}

/// Moves what is stored of rates into the future, and the states with it. In one step, since it expires soon.
async fn set_back(server: &mut MultiplexedConnection, key: &str, seconds: u64, usage: &mut Usage) {
    const MOVE: &str = "
        local fields = redis.call('HGETALL', KEYS[1])
        if #fields == 0 then return fields end
        for i = 1, #fields, 2 do
            local arrival, rest = string.match(fields[i + 1], '^(%d+):(%d+)$')
            if string.find(fields[i], '/') then
                redis.call('HSET', KEYS[1], fields[i], string.format('%.0f:%s', arrival + ARGV[1] * 1000000, rest))
            end
        end
        redis.call('PEXPIRE', KEYS[1], redis.call('PTTL', KEYS[1]) + ARGV[1] * 1000)
        return redis.call('HGETALL', KEYS[1])";
    let mut eval = cmd("EVAL");
    eval.arg(MOVE).arg(1).arg(key).arg(seconds);
    let moved: BTreeMap<String, String> = eval.query_async(server).await.unwrap();
    if !moved.is_empty() {
        *usage = Usage::from_fields(moved).unwrap();
    }
}

/// What says something at that time.
fn fields(usage: &Usage, at: LimitTime) -> BTreeMap<String, String> {
    let mut usage = usage.clone();
    usage.refund(&[], 0, at);
    usage.fields().collect()
}

/// Tiers from a few permits a day to millions a second, at the bounds of exact arithmetic too, often of the same period.
fn tier() -> impl Strategy<Value = Tier> {
    let count = prop_oneof![1_u32..20, 1_u32..=Tier::MAX_COUNT];
    let period = prop_oneof![
        1_u64..5_000,
        1_u64..100_000_000,
        Just(86_400_000_000),
        Just(86_400_000_000),
        Just(2_592_000_000_000)
    ];
    let rate = (count.clone(), period, count.clone())
        .prop_filter_map("too fine for exact arithmetic", |(limit, period, burst)| {
            Tier::with_burst(limit, Duration::from_micros(period), burst).ok()
        });
    let calendar = prop_oneof![Just(Calendar::daily()), Just(Calendar::weekly()), Just(Calendar::monthly())];
    let quota = (count, calendar, -1_080..=1_080).prop_map(|(limit, calendar, offset)| {
        Tier::quota(limit, calendar.at_offset(offset).unwrap()).unwrap()
    });
    prop_oneof![4 => rate, 1 => quota]
}

fn step() -> impl Strategy<Value = Named> {
    let step = prop_oneof![
        3 => (0_u32..4).prop_map(Step::Check),
        3 => any::<u32>().prop_map(Step::Check),
        1 => (0_u32..4).prop_map(Step::UpTo),
        1 => any::<u32>().prop_map(Step::UpTo),
        1 => (0_u32..4).prop_map(Step::Refund),
        1 => any::<u32>().prop_map(Step::Refund),
        1 => any::<u32>().prop_map(Step::Add),
        1 => (0_u32..100_000).prop_map(Step::ClockBack),
    ];
    (step, any::<u64>())
}

pub(crate) fn limits_count_as_usage_does(runtime: &Runtime, place: &Place) {
    let key = place.key("rate_limit:gcra:u1");
    let input = (prop::collection::vec(tier(), 1..=6), prop::collection::vec(step(), 1..40));
    let alike = |tiers: &[Tier], steps: &[Named]| {
        runtime.block_on(async {
            let mut server = place.server.clone();
            cmd("DEL").arg(&key).exec_async(&mut server).await.unwrap();
            count_alike(&mut server, &key, tiers, steps).await;
        });
    };
    // Of tiers that need the same wait it is the first.
    let minute = Duration::from_mins(1);
    let tied = [Tier::new(2, minute).unwrap(), Tier::with_burst(4, 2 * minute, 2).unwrap()];
    alike(&tied, &[(Step::Check(2), 3), (Step::Check(1), 3), (Step::Check(2), 3)]);
    // A limit that is new is given back what it began with.
    let day = Duration::from_hours(24);
    let renewed = [Tier::new(1, day).unwrap(), Tier::with_burst(1, day, 9).unwrap()];
    alike(&renewed, &[(Step::Check(3), 2), (Step::Refund(1), 3), (Step::Check(1), 3), (Step::Check(1), 3)]);
    let hour = Duration::from_hours(1);
    // Fields that no tier has stored count for nothing, as for `Usage`: not limits of nothing, nor those over the bounds.
    runtime.block_on(async {
        let mut server = place.server.clone();
        let ahead = "9007199254740990:0";
        let foreign =
            ["0/3600000000/1", "1/0/1", "1/3600000000/0", "1/3600000000/9999999", "9999999/3600000000/1"];
        let fields: Vec<_> =
            foreign.iter().chain(&["1/9999999999999999/1", "note"]).map(|field| (*field, ahead)).collect();
        cmd("DEL").arg(&key).exec_async(&mut server).await.unwrap();
        cmd("HSET").arg(&key).arg(&fields).exec_async(&mut server).await.unwrap();
        let tier = [Tier::new(3, hour).unwrap()];
        count_alike(
            &mut server,
            &key,
            &tier,
            &[(Step::Check(2), 1), (Step::Check(1), 1), (Step::Check(1), 1)],
        )
        .await;
    });
    // More limits of one period than are kept.
    let many: Vec<_> = (1..=60).map(|limit| Tier::new(limit * 7, hour).unwrap()).collect();
    let steps: Vec<_> = (0..600_u64).map(|n| (Step::UpTo(3), 1 << (n * 13 % 60))).collect();
    alike(&many, &steps);

    let config = Config { failure_persistence: None, ..Config::default() };
    let counted = TestRunner::new(config).run(&input, |(tiers, steps)| {
        // No two quotas of one calendar, and no tier twice.
        let mut different: Vec<Tier> = Vec::new();
        for tier in tiers {
            if !different.iter().any(|other| other.id() == tier.id()) {
                different.push(tier);
            }
        }
        alike(&different, &steps);
        Ok(())
    });
    counted.unwrap();
}
