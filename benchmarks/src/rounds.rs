//! Paired rounds in shuffled order: each round measures every variant once, and a ratio is taken within the
//! round, so that a slow minute of the machine touches both sides.

use std::ops::Range;

/// How many rounds there are, after one that warms up.
pub(crate) const ROUNDS: usize = 8;

/// What two sides measured in each round.
#[derive(Debug, Default)]
pub(crate) struct Pairs(Vec<(f64, f64)>);

impl Pairs {
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

/// What any number of variants measured, round by round.
#[derive(Debug)]
pub(crate) struct Rounds {
    variants: usize,
    measured: Vec<Vec<f64>>,
}

impl Rounds {
    pub(crate) fn of(variants: usize) -> Self {
        Self { variants, measured: Vec::new() }
    }

    /// The order of the variants in the round with this number: another one in each, the same in every run. Each
    /// variant is first, last and in between in turn, and follows now the one and now the other.
    pub(crate) fn order(&self, round: usize) -> Vec<usize> {
        // A stride that has no divisor in common with the number visits every variant.
        let strides: Vec<_> =
            (1..=self.variants).filter(|stride| divisor(*stride, self.variants) == 1).collect();
        let stride = strides[round % strides.len()];
        let first = [0, 2, 1, 4, 3, 6, 5, 8, 7][round % 9];
        (0..self.variants).map(|place| (first + place * stride) % self.variants).collect()
    }

    /// Adds what a round measured, by variant.
    pub(crate) fn add(&mut self, measured: Vec<f64>) {
        self.measured.push(measured);
    }

    /// Two of the variants, ours first.
    pub(crate) fn pairs(&self, ours: usize, theirs: usize) -> Pairs {
        Pairs(self.measured.iter().map(|round| (round[ours], round[theirs])).collect())
    }

    /// Ours, and whichever of these did most in the same round.
    pub(crate) fn pairs_with_best(&self, ours: usize, theirs: Range<usize>) -> Pairs {
        let best = |round: &[f64]| round[theirs.clone()].iter().copied().fold(0.0, f64::max);
        Pairs(self.measured.iter().map(|round| (round[ours], best(round))).collect())
    }
}

fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_every_variant_once_in_changing_order() {
        for variants in [2, 3, 6, 9, 12] {
            let rounds = Rounds::of(variants);
            let orders: Vec<_> = (0..ROUNDS).map(|round| rounds.order(round)).collect();
            for order in &orders {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..variants).collect::<Vec<_>>());
            }
            assert!(orders.windows(2).any(|two| two[0] != two[1]), "{variants}");
        }
    }
}
