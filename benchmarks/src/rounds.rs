//! Paired rounds in shuffled order: each round measures every variant once, and a ratio is taken within the
//! round, so that a slow minute of the machine touches both sides.

use std::time::{Duration, Instant};

/// How many rounds there are, after one that warms up.
pub(crate) const ROUNDS: usize = 8;

/// Two sides' rates per round, in operations per second.
#[derive(Debug, Default)]
pub(crate) struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    pub(crate) fn add(&mut self, ours: f64, theirs: f64) {
        self.0.push((ours, theirs));
    }

    pub(crate) fn ours(&self) -> f64 {
        median(self.0.iter().map(|pair| pair.0))
    }

    pub(crate) fn theirs(&self) -> f64 {
        median(self.0.iter().map(|pair| pair.1))
    }

    pub(crate) fn ratio(&self) -> f64 {
        median(self.0.iter().map(|pair| pair.0 / pair.1))
    }

    pub(crate) fn spread(&self) -> (f64, f64) {
        let ratios = self.0.iter().map(|pair| pair.0 / pair.1);
        (ratios.clone().fold(f64::INFINITY, f64::min), ratios.fold(0.0, f64::max))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// Which side goes first in a round: a fixed sequence without a pattern, the same in every run.
pub(crate) fn ours_first(round: usize) -> bool {
    [true, false, false, true, false, true, true, false, true][round % 9]
}

/// Operations per second.
pub(crate) fn rate(operations: usize, elapsed: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of operations are far below 2^52")]
    let operations = operations as f64;
    operations / elapsed.as_secs_f64()
}

/// The time that some work takes; the one place where benchmarks read a clock.
#[expect(clippy::disallowed_methods, reason = "a measurement is of real time")]
pub(crate) async fn timed<F: Future>(work: F) -> (F::Output, Duration) {
    let start = Instant::now();
    let output = work.await;
    (output, start.elapsed())
}
