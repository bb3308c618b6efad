//! Limits: every decision against an exact model, and how many are made a second beside peers.

mod exact;
mod memory;
mod server;

use stanchion::limit::{Decision, Tier, TierStatus};

use self::exact::Model;
use crate::report::{Report, Row};
use crate::{Failure, machine, timing};

const METHOD: &str = "Differences: mixed decisions (a permit, several, as many as there are, refunds, costs over the burst) of 97 subjects \
under one to three tiers, from 3 an hour to 100,000 a second, each compared with a model that counts in whole numbers and shares no code with ours: \
what was decided, the wait, and of each tier what remains, the next and all again, to the microsecond. In memory the clock is driven; on Redis the \
script says by which time it counted. `STANCHION_DECISIONS` sets how many, 100,000 unless set. Rates: Redis, 100 decisions a pipeline on one bare \
connection, 1,000 subjects, all allowed; the peer's script is GCRA in floats as redis_rate does it (TIME, GET, SET with an expiry). Memory, one thread: `Limits::check` \
against governor's keyed limiter with its defaults. Median of 8 paired rounds in balanced order after one to warm up; rates in decisions per second.";

/// How many decisions are compared.
fn decisions() -> usize {
    std::env::var("STANCHION_DECISIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

pub(crate) async fn run() -> Result<Report, Failure> {
    let decisions = decisions();
    let mut rows = Vec::new();
    for (place, differences) in
        [("memory", memory::differences(decisions).await?), ("Redis", server::differences(decisions).await?)]
    {
        let case = format!("{place}: differences in {decisions} decisions");
        rows.push(Row::count(case, "decisions", timing::count(differences)).at_most(0.0));
    }
    let (pairs, version) = server::rates().await?;
    rows.push(Row::pairs("Redis: allowed", "redis_rate's script", "op/s", &pairs).at_least(0.9));
    rows.push(Row::pairs("memory: allowed", "governor", "op/s", &memory::rates().await?).at_least(0.5));
    let crates = machine::versions(&["redis", "governor", "tokio", "stanchion"]);
    Ok(Report::new("limit-model", format!("Redis {version}, {crates}"), METHOD, rows))
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Check(u32),
    UpTo(u32),
    Refund(u32),
}

/// What was answered, in a form that both sides have.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Allowed(Vec<TierStatus>),
    Denied { wait: u64, tier: usize, tiers: Vec<TierStatus> },
    Granted(u32, Vec<TierStatus>),
    Impossible(usize),
    Refunded,
}

impl Answer {
    fn of(decision: Decision) -> Result<Self, Failure> {
        let micros = decision.retry_after().unwrap_or_default().as_micros();
        Ok(match decision {
            Decision::Allowed { tiers, .. } => Self::Allowed(tiers),
            Decision::Denied { tier, tiers, .. } => {
                Self::Denied { wait: u64::try_from(micros)?, tier, tiers }
            }
            Decision::CostExceedsCapacity { tier } => Self::Impossible(tier),
        })
    }
}

/// A repeatable stream of asks: xorshift, so that a difference can be found again.
#[derive(Debug)]
struct Asks(u64);

impl Asks {
    fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn count(&mut self, below: u64) -> u32 {
        u32::try_from(self.next(below)).unwrap_or(0)
    }

    fn ask(&mut self) -> Ask {
        match self.next(20) {
            0 => Ask::Check(0),
            1..=11 => Ask::Check(1),
            12..=14 => Ask::Check(self.count(8)),
            15 => Ask::Check(self.count(200_000)),
            16 | 17 => Ask::UpTo(self.count(12)),
            18 => Ask::Refund(self.count(4)),
            _ => Ask::UpTo(self.count(200_000)),
        }
    }
}

/// How many subjects there are; each has the tiers of its number.
const SUBJECTS: usize = 97;

fn tiers(subject: usize) -> Result<Vec<Tier>, Failure> {
    let tier =
        |limit, micros, burst| Tier::with_burst(limit, std::time::Duration::from_micros(micros), burst);
    let all = [
        vec![tier(100_000, 1_000_000, 50)?],
        vec![tier(7, 1_000, 3)?, tier(3, 3_600_000_000, 3)?],
        vec![tier(3, 1_000_003, 5)?, tier(11, 10_000_000, 20)?, tier(1_000_000, 86_400_000_000, 1_000)?],
        vec![tier(1, 700, 1)?],
        vec![tier(999_983, 1_000_000, 100_000)?, tier(13, 100_000, 40)?],
    ];
    Ok(all[subject % all.len()].clone())
}

/// The models of all subjects.
fn models() -> Result<Vec<Model>, Failure> {
    (0..SUBJECTS).map(|subject| Ok(Model::new(&tiers(subject)?))).collect()
}
