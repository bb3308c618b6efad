//! Paired rounds in balanced order: each round measures every variant once, and a ratio is taken within the
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

    /// The order of the variants in the round with this number, the same in every run: a design of Williams (1949), in
    /// which each variant is in each place, and right behind each other one, equally often. It takes as many rounds as
    /// there are variants, twice as many for an odd number.
    pub(crate) fn order(&self, round: usize) -> Vec<usize> {
        let n = self.variants;
        let zigzag = (0..n).map(|place| if place % 2 == 0 { place / 2 } else { n - 1 - place / 2 });
        let mut order: Vec<_> = zigzag.map(|variant| (variant + round) % n).collect();
        if n % 2 == 1 && (round / n) % 2 == 1 {
            order.reverse();
        }
        order
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
    fn each_variant_is_in_each_place_and_behind_each_other_equally_often() {
        for variants in [2, 3, 6, 9, 12] {
            let rounds = Rounds::of(variants);
            let enough = if variants % 2 == 0 { variants } else { 2 * variants };
            let (mut places, mut pairs) = (vec![0; variants * variants], vec![0; variants * variants]);
            for round in 0..enough {
                let order = rounds.order(round);
                for (place, variant) in order.iter().enumerate() {
                    places[place * variants + variant] += 1;
                }
                for two in order.windows(2) {
                    pairs[two[0] * variants + two[1]] += 1;
                }
            }
            let often = enough / variants;
            assert!(places.iter().all(|times| *times == often), "{variants}: {places:?}");
            for (pair, times) in pairs.into_iter().enumerate() {
                assert_eq!(times, if pair % (variants + 1) == 0 { 0 } else { often }, "{variants}: {pair}");
            }
        }
    }
}
