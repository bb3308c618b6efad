//! Looking for a sequence that fails.

use std::cell::Cell;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use super::step::{Sequence, sequences};

/// A sequence that fails, and how.
type Failure = (Sequence, String);

/// How many sequences: as many as `PROPTEST_CASES` says, or this usual number.
pub(super) fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

/// Which sequences: those of `PROPTEST_RNG_SEED`, or others each time.
pub(super) fn seed() -> u64 {
    match Config::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().hash_one(0),
    }
}

/// Runs random sequences of at most so many steps.
///
/// # Panics
/// With the seed, the shortest sequence that was found to fail, and what is wrong.
pub(super) fn search(cases: u32, seed: u64, most: usize, run: impl Fn(&Sequence) -> Result<(), String>) {
    if let Some((sequence, why)) = shortest(cases, seed, most, &run) {
        panic!("PROPTEST_CASES={cases} PROPTEST_RNG_SEED={seed}\n{}{why}", listed(&sequence));
    }
}

/// The shortest sequence that fails, if one is found.
fn shortest(
    cases: u32,
    seed: u64,
    most: usize,
    run: &impl Fn(&Sequence) -> Result<(), String>,
) -> Option<Failure> {
    let found = Cell::new(None);
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4_096,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    // Each that fails is shorter than the one before.
    let outcome = TestRunner::new(config).run(&sequences(most), |sequence| {
        run(&sequence).map_err(|why| {
            found.set(Some((sequence, why.clone())));
            TestCaseError::fail(why)
        })
    });
    match (outcome, found.take()) {
        (Ok(()), _) => None,
        (Err(_), Some(found)) => Some(without_needless(found, run)),
        // The model itself has panicked.
        (Err(other), None) => panic!("PROPTEST_CASES={cases} PROPTEST_RNG_SEED={seed}\n{other}"),
    }
}

/// Leaves out steps until none can be: with those that were made simpler one may be needless that was not.
fn without_needless(mut found: Failure, run: &impl Fn(&Sequence) -> Result<(), String>) -> Failure {
    loop {
        let shorter = (0..found.0.steps.len()).find_map(|left_out| {
            let mut sequence = found.0.clone();
            let _ = sequence.steps.remove(left_out);
            let why = run(&sequence).err()?;
            Some((sequence, why))
        });
        match shorter {
            Some(shorter) => found = shorter,
            None => return found,
        }
    }
}

fn listed(sequence: &Sequence) -> String {
    let mut list = if sequence.cluster { "on a Cluster\n".to_owned() } else { String::new() };
    if sequence.small_records {
        list.push_str("with small records, where there is TLS\n");
    }
    for (at, step) in sequence.steps.iter().enumerate() {
        let _ = writeln!(list, "{:3}. {:?}, then {:?}", at + 1, step.action, step.then);
    }
    list
}
