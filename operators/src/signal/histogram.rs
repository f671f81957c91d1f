//! Entropy of the distribution of the samples.

use super::{finite, number};

/// More bins than this are a mistake rather than a wish.
pub const MAX_BINS: usize = 65_536;

/// The entropy `-sum(p_i * ln(p_i))` of a histogram with `bins` bins of equal width from the least to the greatest
/// sample, in nats.
///
/// Bins are closed below and open above, the last one is closed, as in `numpy.histogram`. A constant signal has
/// entropy 0. `None` without samples, for an infinite one, or if `bins` is 0 or above [`MAX_BINS`]. Source: Shannon,
/// "A Mathematical Theory of Communication", Bell System Technical Journal 27 (1948), section 6.
pub fn entropy(samples: &[f64], bins: usize) -> Option<f64> {
    if samples.is_empty() || bins == 0 || bins > MAX_BINS {
        return None;
    }
    let least = finite(samples.iter().copied().fold(f64::INFINITY, f64::min))?;
    let greatest = finite(samples.iter().copied().fold(f64::NEG_INFINITY, f64::max))?;
    let width = finite(greatest - least)?;
    if width == 0.0 {
        return Some(0.0);
    }
    let mut counts = vec![0_usize; bins];
    for x in samples {
        counts[bin_of(*x, least, width, bins)] += 1;
    }
    let n = number(samples.len());
    let shares = counts.into_iter().filter(|c| *c > 0).map(|c| number(c) / n);
    finite(-shares.map(|p| p * p.ln()).sum::<f64>() + 0.0)
}

/// The bin by proportion, set right where rounding has put a sample on the wrong side of an edge.
fn bin_of(x: f64, least: f64, width: f64, bins: usize) -> usize {
    let edge = |bin: usize| least + number(bin) * (width / number(bins));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to the number of bins"
    )]
    let bin = (((x - least) / width * number(bins)) as usize).min(bins - 1);
    if x < edge(bin) {
        bin - 1
    } else if bin + 1 < bins && x >= edge(bin + 1) {
        bin + 1
    } else {
        bin
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn entropies_are_those_of_numpy_and_scipy() {
        check("entropy_10", |x| entropy(x, 10));
        check("entropy_7", |x| entropy(x, 7));
    }

    #[test]
    fn samples_spread_evenly_have_the_greatest_entropy() {
        let even: Vec<f64> = (0..1000).map(f64::from).collect();
        assert_close(entropy(&even, 10), Some(10_f64.ln()));
        assert_eq!(entropy(&even, 1), Some(0.0));
    }

    #[test]
    fn bins_out_of_range_give_nothing() {
        assert_eq!(entropy(&[1.0, 2.0], 0), None);
        assert_eq!(entropy(&[1.0, 2.0], MAX_BINS + 1), None);
    }
}
