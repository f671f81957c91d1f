//! Quantiles and what is made of them. They put the samples in another order instead of copying them.
//!
//! Between two samples they interpolate linearly: definition 7 of Hyndman and Fan, "Sample Quantiles in Statistical
//! Packages", The American Statistician 50 (1996), the default of NumPy and R.

use super::{finite, number};

/// The median: the middle sample, or the mean of the two in the middle; `None` without samples.
pub fn median(samples: &mut [f64]) -> Option<f64> {
    percentile(samples, 50.0)
}

/// The value below which `percent` percent of the samples lie (0 to 100); `None` without samples or if `percent` is
/// out of its range.
pub fn percentile(samples: &mut [f64], percent: f64) -> Option<f64> {
    if samples.is_empty() || !(0.0..=100.0).contains(&percent) {
        return None;
    }
    let last = samples.len() - 1;
    let place = number(last) * percent / 100.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the whole part of a place within the slice"
    )]
    let below = (place as usize).min(last);
    let (_, low, above) = samples.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    let share = place - number(below);
    if share > 0.0
        && let Some(high) = above.iter().copied().min_by(f64::total_cmp)
    {
        return finite(low + share * (high - low));
    }
    finite(low)
}

/// The median absolute deviation `median(|x - median(x)|)`, not scaled; `None` without samples.
///
/// Source: Hampel, "The Influence Curve and its Role in Robust Estimation", JASA 69 (1974).
pub fn mad(samples: &mut [f64]) -> Option<f64> {
    let middle = median(samples)?;
    for x in samples.iter_mut() {
        *x = (*x - middle).abs();
    }
    median(samples)
}

/// The interquartile range: the 75th less the 25th percentile; `None` without samples.
pub fn iqr(samples: &mut [f64]) -> Option<f64> {
    finite(percentile(samples, 75.0)? - percentile(samples, 25.0)?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        check("median", |x| median(&mut x.to_vec()));
        check("percentile_5", |x| percentile(&mut x.to_vec(), 5.0));
        check("percentile_95", |x| percentile(&mut x.to_vec(), 95.0));
        check("mad", |x| mad(&mut x.to_vec()));
        check("iqr", |x| iqr(&mut x.to_vec()));
    }

    #[test]
    fn the_ends_are_the_least_and_the_greatest_sample() {
        let mut samples = [3.0, -1.0, 7.0, 2.0];
        assert_eq!(percentile(&mut samples, 0.0), Some(-1.0));
        assert_eq!(percentile(&mut samples, 100.0), Some(7.0));
    }

    #[test]
    fn a_percentage_out_of_range_gives_nothing() {
        for percent in [-1.0, 100.5, f64::NAN] {
            assert_eq!(percentile(&mut [1.0, 2.0], percent), None);
        }
    }
}
