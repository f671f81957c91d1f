//! Slope and time-weighted average: features against an axis.

use super::{mean, number, ratio, sum_of};

const MICROS_PER_SECOND: f64 = 1e6;

/// The slope of the least-squares line against the sample number, in the unit of the samples per sample.
///
/// `sum((i - mean(i)) * x_i) / sum((i - mean(i))^2)`; `None` below two samples. Source: NIST/SEMATECH e-Handbook of
/// Statistical Methods, 4.1.4.1.
pub fn slope(samples: &[f64]) -> Option<f64> {
    let n = number(samples.len());
    let origin = *samples.first()?;
    let centre = (n - 1.0) / 2.0;
    let numbers = (0..samples.len()).map(number);
    let products: f64 = numbers.zip(samples).map(|(i, x)| (i - centre) * (x - origin)).sum();
    ratio(products, n * (n * n - 1.0) / 12.0)
}

/// The slope of the least-squares line against time, in the unit of the samples per second; `times` in microseconds.
///
/// `None` below two samples, or if all are of one time. Source: as [`slope`].
pub fn slope_per_second(samples: &[f64], times: &[i64]) -> Option<f64> {
    let start = *times.first()?;
    let seconds: Vec<f64> = times.iter().map(|t| seconds_between(start, *t)).collect();
    let (mean_time, origin) = (mean(&seconds)?, *samples.first()?);
    let pairs = seconds.iter().zip(samples);
    let products: f64 = pairs.map(|(t, x)| (t - mean_time) * (x - origin)).sum();
    ratio(products, sum_of(&seconds, |t| (t - mean_time) * (t - mean_time)))
}

/// The average over time, where a sample holds until the next one:
/// `sum(x_i * (t_(i+1) - t_i)) / (t_n - t_1)`; `times` in microseconds, ascending.
///
/// The last sample only ends the span. `None` below two samples, or if all are of one time. Source: the
/// TimeAverage aggregate of stepped data, OPC 10000-13 v1.05.
pub fn time_weighted_avg(samples: &[f64], times: &[i64]) -> Option<f64> {
    let (start, end) = (*times.first()?, *times.last()?);
    let origin = *samples.first()?;
    let steps = times.windows(2).zip(samples);
    let area: f64 = steps.map(|(t, x)| (x - origin) * seconds_between(t[0], t[1])).sum();
    ratio(area, seconds_between(start, end)).map(|above| origin + above)
}

#[expect(clippy::cast_precision_loss, reason = "a microsecond of 285 years is within 2^53")]
fn seconds_between(start: i64, end: i64) -> f64 {
    (end - start) as f64 / MICROS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn slopes_are_those_of_numpy() {
        check("slope", slope);
        check("slope_per_second", |x| slope_per_second(x, &times(x.len())));
        check("time_weighted_avg", |x| time_weighted_avg(x, &times(x.len())));
    }

    #[test]
    fn a_line_has_its_slope_per_second_at_any_date() {
        let start = 1_700_000_000_000_000;
        let times: Vec<i64> = (0..100).map(|i| start + i * 500_000).collect();
        let line: Vec<f64> = (0..100).map(|i| 1e6 + 3.0 * f64::from(i)).collect();
        assert_close(slope_per_second(&line, &times), Some(6.0));
        assert_close(slope(&line), Some(3.0));
    }

    #[test]
    fn a_value_counts_as_long_as_it_holds() {
        let times = [0, 9_000_000, 10_000_000];
        assert_close(time_weighted_avg(&[1.0, 11.0, 500.0], &times), Some(2.0));
    }

    #[test]
    fn samples_of_one_time_have_no_slope_and_no_average() {
        assert_eq!(slope_per_second(&[1.0, 2.0], &[5, 5]), None);
        assert_eq!(time_weighted_avg(&[1.0, 2.0], &[5, 5]), None);
    }
}
