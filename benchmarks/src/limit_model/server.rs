//! On Redis: the scripts through one bare connection.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Value, cmd, pipe};
use stanchion::limit::{Tier, TierStatus};
use stanchion_conformance::servers::RedisProcess;

use super::{Answer, Ask, Asks, SUBJECTS, models, tiers};
use crate::Failure;
use crate::peers::bare_connection;
use crate::rounds::{Pairs, ROUNDS, Rounds};
use crate::timing::{rate, timed};

const OURS: &str = include_str!("../../../backend-redis/src/scripts/limit_permits.lua");

/// What redis_rate does, in as many commands: the arrival time in seconds, a float, under a key that expires.
const FLOATS: &str = "
local emission = tonumber(ARGV[3]) / tonumber(ARGV[2])
local cost = tonumber(ARGV[4])
local time = redis.call('TIME')
local now = (time[1] - 1483228800) + time[2] / 1000000
local arrival = redis.call('GET', KEYS[1])
arrival = math.max(arrival and tonumber(arrival) or now, now)
local next_arrival = arrival + emission * cost
local spare = now - (next_arrival - emission * ARGV[1])
local remaining = spare / emission
if remaining < 0 then
  return {0, 0, tostring(-spare), tostring(arrival - now)}
end
local resets = next_arrival - now
if resets > 0 then redis.call('SET', KEYS[1], next_arrival, 'EX', math.ceil(resets)) end
return {cost, remaining, tostring(-1), tostring(resets)}";

/// How many decisions go in one pipeline.
const BATCH: usize = 100;

async fn load(connection: &mut MultiplexedConnection, script: &str) -> Result<String, Failure> {
    Ok(cmd("SCRIPT").arg("LOAD").arg(script).query_async(connection).await?)
}

fn ours(hash: &str, key: &str, mode: &str, permits: u32, tiers: &[Tier]) -> Result<redis::Cmd, Failure> {
    let mut command = cmd("EVALSHA");
    command.arg(hash).arg(1).arg(key).arg(mode).arg(permits);
    for tier in tiers {
        let (numerator, denominator) = tier.emission().ok_or("a quota")?;
        command.arg(tier.id()).arg(numerator).arg(denominator).arg(tier.burst());
    }
    Ok(command)
}

/// The time by which it was decided, and the answer.
fn read(reply: &[i64], ask: Ask) -> Result<(u64, Answer), Failure> {
    let [now, taken, wait, tier, rest @ ..] = reply else { return Err("a short reply".into()) };
    let micros = |number: i64| Ok::<_, Failure>(Duration::from_micros(u64::try_from(number)?));
    let tiers = rest
        .chunks_exact(3)
        .map(|one| Ok(TierStatus::new(u32::try_from(one[0])?, micros(one[1])?, micros(one[2])?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let answer = match ask {
        Ask::Refund(_) => Answer::Refunded,
        Ask::UpTo(_) => Answer::Granted(u32::try_from(*taken)?, tiers),
        Ask::Check(_) if *taken == 1 => Answer::Allowed(tiers),
        Ask::Check(_) => Answer::Denied { wait: u64::try_from(*wait)?, tier: usize::try_from(*tier)?, tiers },
    };
    Ok((u64::try_from(*now)?, answer))
}

pub(super) async fn differences(decisions: usize) -> Result<usize, Failure> {
    let server = RedisProcess::start().await?;
    let mut connection = bare_connection(&server.url()).await?;
    let hash = load(&mut connection, OURS).await?;
    let (mut asks, mut models, mut differences, mut left) = (Asks::new(), models()?, 0, decisions);
    while left > 0 {
        let (mut batch, mut asked) = (pipe(), Vec::new());
        while asked.len() < BATCH.min(left) {
            let subject = asks.count(SUBJECTS as u64) as usize;
            let (ask, tiers) = (asks.ask(), tiers(subject)?);
            let (mode, permits) = match ask {
                // Refused before the script.
                Ask::Check(cost) if tiers.iter().any(|tier| cost > tier.burst()) => continue,
                Ask::Check(cost) => ("take", cost),
                Ask::UpTo(most) => ("up_to", most),
                Ask::Refund(permits) => ("refund", permits),
            };
            batch.add_command(ours(&hash, &format!("model:{subject}"), mode, permits, &tiers)?);
            asked.push((subject, ask));
        }
        left -= asked.len();
        let replies: Vec<Vec<i64>> = batch.query_async(&mut connection).await?;
        for (reply, (subject, ask)) in replies.iter().zip(asked) {
            let (now, answer) = read(reply, ask)?;
            differences += usize::from(answer != models[subject].answer(ask, now));
        }
    }
    Ok(differences)
}

const KEYS: usize = 1_000;
const BATCHES: usize = 400;

pub(super) async fn rates() -> Result<(Pairs, String), Failure> {
    let server = RedisProcess::start().await?;
    let mut connection = bare_connection(&server.url()).await?;
    let (our_hash, floats) = (load(&mut connection, OURS).await?, load(&mut connection, FLOATS).await?);
    // So many that none is denied.
    let (limit, period) = (100_000, Duration::from_secs(10));
    let tier = [Tier::new(limit, period)?];
    let mut rounds = Rounds::of(2);
    for round in 0..=ROUNDS {
        let mut measured = vec![0.0; 2];
        for side in rounds.order(round) {
            let (done, elapsed) = timed(async {
                for number in 0..BATCHES {
                    let mut batch = pipe();
                    for turn in 0..BATCH {
                        let key = (number * BATCH + turn) * 7_919 % KEYS;
                        if side == 0 {
                            batch.add_command(ours(&our_hash, &format!("ours:{key}"), "take", 1, &tier)?);
                        } else {
                            let command =
                                batch.cmd("EVALSHA").arg(&floats).arg(1).arg(format!("theirs:{key}"));
                            command.arg(limit).arg(limit).arg(period.as_secs()).arg(1);
                        }
                    }
                    let replies: Vec<Value> = batch.query_async(&mut connection).await?;
                    if replies.len() != BATCH {
                        return Err("a reply is missing".into());
                    }
                }
                Ok::<_, Failure>(())
            })
            .await;
            done?;
            measured[side] = rate(BATCHES * BATCH, elapsed);
        }
        if round > 0 {
            rounds.add(measured);
        }
    }
    Ok((rounds.pairs(0, 1), server.version().await?))
}
