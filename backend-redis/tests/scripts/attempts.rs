//! The scripts count failed attempts as `Failures` does, to the microsecond.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, AttemptTicket, Failures, LockedBy, Lockout, Settlement,
};
use stanchion::time::{Timestamp, Ttl};
use tokio::runtime::Runtime;

use crate::place::Place;

macro_rules! script {
    ($file:literal) => {
        concat!(
            include_str!("../../src/scripts/limit_failures.lua"),
            "\n",
            include_str!(concat!("../../src/scripts/", $file))
        )
    };
}

const ATTEMPT: &str = script!("limit_attempt.lua");
const SETTLE: &str = script!("limit_settle.lua");

#[derive(Debug, Clone, Copy)]
enum Step {
    /// From this source, or from nowhere.
    Attempt {
        source: Option<u32>,
        only_known: bool,
    },
    /// What becomes of one of the last that were admitted.
    Withdraw(usize),
    Succeed(usize),
    Unlock,
    /// The server's clock is set back by so many milliseconds.
    ClockBack(u32),
}

/// So short that windows and lock-outs end on the way.
fn rules() -> (Lockout, Lockout) {
    let millis = Duration::from_millis;
    let here = Lockout::new(2, millis(4), millis(1), millis(6), millis(10)).unwrap();
    (Lockout::new(5, millis(8), millis(2), millis(9), millis(10)).unwrap(), here)
}

fn known_for() -> Ttl {
    Ttl::new(Duration::from_mins(10)).unwrap()
}

fn name(source: u32) -> String {
    format!("198.51.100.{source}")
}

fn numbers(lockout: &Lockout) -> Vec<u64> {
    std::iter::once(u64::from(lockout.failures())).chain(lockout.micros()).collect()
}

async fn attempt(
    server: &mut MultiplexedConnection,
    key: &str,
    request: &AttemptRequest,
) -> (Timestamp, AttemptOutcome) {
    let mut eval = cmd("EVAL");
    eval.arg(ATTEMPT).arg(1).arg(key).arg(Failures::MAX_KNOWN).arg(Failures::MAX_STRANGERS);
    eval.arg(u8::from(request.only_known));
    eval.arg(numbers(&request.overall));
    if let Some((source, lockout)) = &request.source {
        eval.arg(source).arg(numbers(lockout));
    }
    let reply: Vec<Value> = eval.query_async(server).await.unwrap();
    let number = |at: usize| redis::from_redis_value::<u64>(reply[at].clone()).unwrap();
    let text = |at: usize| redis::from_redis_value::<String>(reply[at].clone()).unwrap();
    let outcome = match text(1).as_str() {
        "admitted" => {
            let locks_for = Some(Duration::from_micros(number(5))).filter(|locks| !locks.is_zero());
            let window = |at| Timestamp::from_micros(number(at));
            AttemptOutcome::Admitted(AttemptTicket::new(window(2), window(3), number(4) == 1, locks_for))
        }
        "locked" => {
            let by = if text(3) == "source" { LockedBy::Source } else { LockedBy::Overall };
            AttemptOutcome::Locked { retry_after: Duration::from_micros(number(2)), by }
        }
        _ => AttemptOutcome::Unknown,
    };
    (Timestamp::from_micros(number(0)), outcome)
}

async fn settle(server: &mut MultiplexedConnection, key: &str, settlement: &Settlement) -> Timestamp {
    let none = AttemptTicket::default();
    let (what, ticket, source, life) = match settlement {
        Settlement::Withdrawn { source, ticket } => ("withdrawn", ticket, source.clone(), 0),
        Settlement::Succeeded { source, ticket, known_for } => {
            ("succeeded", ticket, Some(source.clone()), known_for.as_millis())
        }
        _ => ("unlocked", &none, None, 0),
    };
    let mut eval = cmd("EVAL");
    eval.arg(SETTLE).arg(1).arg(key).arg(Failures::MAX_KNOWN).arg(Failures::MAX_STRANGERS);
    eval.arg(what).arg(ticket.overall.as_micros()).arg(ticket.source.as_micros());
    eval.arg(source.unwrap_or_default()).arg(life);
    Timestamp::from_micros(eval.query_async(server).await.unwrap())
}

/// Moves every time that is stored into the future.
async fn set_back(server: &mut MultiplexedConnection, key: &str, millis: u64) -> BTreeMap<String, String> {
    const MOVE: &str = "
        local fields = redis.call('HGETALL', KEYS[1])
        for i = 1, #fields, 2 do
            local moved = {}
            for number in string.gmatch(fields[i + 1], '%d+') do
                local time = tonumber(number)
                if time > 1000000000 then time = time + ARGV[1] * 1000 end
                moved[#moved + 1] = string.format('%.0f', time)
            end
            redis.call('HSET', KEYS[1], fields[i], table.concat(moved, ':'))
        end
        return redis.call('HGETALL', KEYS[1])";
    let mut eval = cmd("EVAL");
    eval.arg(MOVE).arg(1).arg(key).arg(millis);
    eval.query_async(server).await.unwrap()
}

/// Records that say something.
fn said(fields: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    fields.into_iter().filter(|(_, text)| text != "0:0:0:0:0:0").collect()
}

async fn count_alike(server: &mut MultiplexedConnection, key: &str, steps: &[Step]) {
    let (overall, here) = rules();
    let mut failures = Failures::default();
    let mut tickets = vec![(Some(name(0)), AttemptTicket::default())];
    // The first makes the key live for longer than all the steps.
    for step in std::iter::once(&Step::Succeed(0)).chain(steps) {
        let last = |back: usize| tickets[tickets.len() - 1 - back % tickets.len().min(4)].clone();
        match *step {
            Step::Attempt { source, only_known } => {
                let mut request = AttemptRequest::new(overall).only_known(only_known);
                if let Some(source) = source {
                    request = request.from_source(name(source), here);
                }
                let (now, outcome) = attempt(server, key, &request).await;
                assert_eq!(outcome, failures.attempt(&request, now).0, "{step:?}");
                if let AttemptOutcome::Admitted(ticket) = outcome {
                    tickets.push((source.map(name), ticket));
                }
            }
            Step::Withdraw(back) => {
                let (source, ticket) = last(back);
                let settlement = Settlement::Withdrawn { source, ticket };
                let now = settle(server, key, &settlement).await;
                failures.settle(&settlement, now);
            }
            Step::Succeed(back) => {
                let (source, ticket) = last(back);
                let source = source.unwrap_or_else(|| name(0));
                let settlement = Settlement::Succeeded { source, ticket, known_for: known_for() };
                let now = settle(server, key, &settlement).await;
                failures.settle(&settlement, now);
            }
            Step::Unlock => {
                let now = settle(server, key, &Settlement::Unlocked).await;
                failures.settle(&Settlement::Unlocked, now);
            }
            Step::ClockBack(millis) => {
                let moved = set_back(server, key, u64::from(millis)).await;
                failures = Failures::from_fields(moved, failures.until()).unwrap();
            }
        }
        let stored: BTreeMap<String, String> = cmd("HGETALL").arg(key).query_async(server).await.unwrap();
        assert_eq!(said(stored), said(failures.fields()), "what is stored after {step:?}");
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u32..4, prop::bool::weighted(0.2))
            .prop_map(|(source, only_known)| Step::Attempt { source: Some(source), only_known }),
        1 => Just(Step::Attempt { source: None, only_known: false }),
        2 => (0_usize..4).prop_map(Step::Withdraw),
        2 => (0_usize..4).prop_map(Step::Succeed),
        1 => Just(Step::Unlock),
        1 => (1_u32..20).prop_map(Step::ClockBack),
    ]
}

pub(crate) fn attempts_count_as_failures_does(runtime: &Runtime, place: &Place) {
    let key = place.key("attempts:login:u1:account");
    let alike = |steps: &[Step]| {
        runtime.block_on(async {
            let mut server = place.server.clone();
            cmd("DEL").arg(&key).exec_async(&mut server).await.unwrap();
            count_alike(&mut server, &key, steps).await;
        });
    };
    // More known sources than are kept, and more others.
    let attempt = |source| Step::Attempt { source: Some(source), only_known: false };
    let mut many = Vec::new();
    for source in 0..200 {
        many.push(attempt(source));
        many.push(if source % 3 == 0 { Step::Withdraw(0) } else { Step::Succeed(0) });
    }
    alike(&many);
    let config = Config { failure_persistence: None, ..Config::default() };
    let counted = TestRunner::new(config).run(&prop::collection::vec(step(), 1..60), |steps| {
        alike(&steps);
        Ok(())
    });
    counted.unwrap();
}
