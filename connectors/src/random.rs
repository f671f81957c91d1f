//! Seeded random numbers: the same seed gives the same numbers on every machine and in every version.
//!
//! SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014, figure 17). Written
//! out here because the rows of a generator must never change with the version of a library.

use serde::{Deserialize, Serialize};

/// A stream of random numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The stream of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A stream of its own for part `index` of something seeded.
    pub(crate) fn part(seed: u64, index: u64) -> Self {
        Self::new(Self::new(seed ^ index.wrapping_mul(0xd1b5_4a32_d192_ed03)).next())
    }

    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn uniform(&mut self) -> f64 {
        // 53 bits are what a double holds.
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `[0, bound)`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The high word of a product (Lemire 2019, without rejection: the bias is below bound / 2^64).
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Approximately normal with mean 0 and variance 1: the sum of four uniforms, which is bounded by 3.5 and so
    /// never gives the outlier that no machine shows.
    pub(crate) fn noise(&mut self) -> f64 {
        let sum: f64 = (0..4).map(|_| self.uniform()).sum();
        (sum - 2.0) * 3f64.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        // Reference values of SplitMix64 for seed 1234567 (Rosetta Code, "Pseudo-random numbers/Splitmix64").
        let mut random = Random::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn numbers_stay_in_their_range_and_have_their_moments() {
        let mut random = Random::new(7);
        let noise: Vec<f64> = (0..100_000).map(|_| random.noise()).collect();
        let mean = noise.iter().sum::<f64>() / 1e5;
        let variance = noise.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        assert!((0..10_000).all(|_| random.below(10) < 10 && (0.0..1.0).contains(&random.uniform())));
        assert_eq!(random.below(0), 0);
    }
}
