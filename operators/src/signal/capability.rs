//! What a process can keep to, and how dependable a machine is.
//!
//! - Formulas: ISO 22514-2:2017 and NIST/SEMATECH e-Handbook of Statistical Methods, 6.1.6 (capability), 6.3.2.2 (moving
//!   range); ISO 22400-2:2014 (mean times between failures and to repair).

use super::{finite, mean, number, ratio, stddev};

/// The expected range of two values of a normal distribution with standard deviation 1: `2 / sqrt(pi)`, the 1.128 of
/// the tables of control charts.
const D2: f64 = std::f64::consts::FRAC_2_SQRT_PI;

const MICROS_PER_SECOND: f64 = 1e6;

/// The standard deviation within the process: the mean moving range of neighbors over `2 / sqrt(pi)`, in the unit of
/// the samples. A slow drift does not widen it. `None` below two samples.
pub fn sigma_within(samples: &[f64]) -> Option<f64> {
    let steps = samples.len().checked_sub(1).filter(|steps| *steps > 0)?;
    let ranges: f64 = samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum();
    finite(ranges / number(steps) / D2)
}

/// The capability `(usl - lsl) / (6 * sigma_within)`, without unit.
///
/// `None` unless `lsl < usl`, and for a constant signal.
pub fn cp(samples: &[f64], lsl: f64, usl: f64) -> Option<f64> {
    width(lsl, usl, sigma_within(samples)?)
}

/// The capability with regard to the mean: `min(usl - mean, mean - lsl) / (3 * sigma_within)`, without unit; below zero
/// if the mean is beyond a limit. An infinite limit is none. `None` as [`cp`].
pub fn cpk(samples: &[f64], lsl: f64, usl: f64) -> Option<f64> {
    distance(mean(samples)?, lsl, usl, sigma_within(samples)?)
}

/// The performance `(usl - lsl) / (6 * stddev)`, without unit, with the standard deviation of the sample. `None` as [`cp`].
pub fn pp(samples: &[f64], lsl: f64, usl: f64) -> Option<f64> {
    width(lsl, usl, stddev(samples)?)
}

/// The performance with regard to the mean: `min(usl - mean, mean - lsl) / (3 * stddev)`. As [`cpk`].
pub fn ppk(samples: &[f64], lsl: f64, usl: f64) -> Option<f64> {
    distance(mean(samples)?, lsl, usl, stddev(samples)?)
}

pub(super) fn width(lsl: f64, usl: f64, sigma: f64) -> Option<f64> {
    if lsl < usl && sigma > 0.0 { ratio(usl - lsl, 6.0 * sigma) } else { None }
}

pub(super) fn distance(mean: f64, lsl: f64, usl: f64, sigma: f64) -> Option<f64> {
    if lsl < usl && sigma > 0.0 { ratio((usl - mean).min(mean - lsl), 3.0 * sigma) } else { None }
}

/// The mean time between failures, in seconds: the time of running over the number of failures.
///
/// A state other than 0 is running, 0 is failed; each holds until the next row, and the last one only ends the span.
/// `times` in microseconds, ascending. `None` if there is no failure, which is a change from running to failed.
pub fn mtbf(states: &[f64], times: &[i64]) -> Option<f64> {
    let running = time_in(states, times, is_running);
    let failures = states.windows(2).filter(|pair| is_running(pair[0]) && !is_running(pair[1])).count();
    ratio(running, number(failures))
}

/// The mean time to repair, in seconds: the mean length of the failures that have ended within the rows; one that was
/// there already at the first row does not count. States as for [`mtbf`]. `None` if no failure has ended.
pub fn mttr(states: &[f64], times: &[i64]) -> Option<f64> {
    let begin = states.iter().position(|state| is_running(*state))?;
    let end = states.iter().rposition(|state| is_running(*state))? + 1;
    let (states, times) = (&states[begin..end], times.get(begin..end)?);
    let failed = time_in(states, times, |state| !is_running(state));
    let repairs = states.windows(2).filter(|pair| !is_running(pair[0]) && is_running(pair[1])).count();
    ratio(failed, number(repairs))
}

fn is_running(state: f64) -> bool {
    state != 0.0
}

/// How long a state holds, in seconds.
#[expect(clippy::cast_precision_loss, reason = "a microsecond of 285 years is within 2^53")]
fn time_in(states: &[f64], times: &[i64], is: impl Fn(f64) -> bool) -> f64 {
    let spans = times.windows(2).zip(states).filter(|(_, state)| is(**state));
    spans.map(|(span, _)| span[1] - span[0]).sum::<i64>() as f64 / MICROS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn capabilities_are_those_of_numpy() {
        check("sigma_within", sigma_within);
        check("cp", |x| cp(x, -4.0, 3.0));
        check("cpk", |x| cpk(x, -4.0, 3.0));
        check("cpk_upper", |x| cpk(x, f64::NEG_INFINITY, 3.0));
        check("pp", |x| pp(x, -4.0, 3.0));
        check("ppk", |x| ppk(x, -4.0, 3.0));
    }

    #[test]
    fn limits_that_are_none_have_no_capability() {
        for (lsl, usl) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0)] {
            assert_eq!((cp(&[1.0, 2.0], lsl, usl), ppk(&[1.0, 2.0], lsl, usl)), (None, None));
        }
        assert_eq!(cp(&[1.0, 2.0], f64::NEG_INFINITY, 1.0), None);
    }

    #[test]
    fn times_between_failures_and_to_repair_are_those_by_hand() {
        let seconds = |times: &[i64]| times.iter().map(|t| t * 1_000_000).collect::<Vec<_>>();
        let times = seconds(&[0, 10, 12, 32, 33, 40]);
        let states = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
        assert_eq!(mtbf(&states, &times), Some(15.0));
        assert_eq!(mttr(&states, &times), Some(5.0));
        // The failure at the beginning and the one at the end have no known length.
        assert_eq!(mttr(&[0.0, 1.0, 0.0, 1.0, 0.0], &times[..5]), Some(20.0));
        assert_eq!(mtbf(&[1.0, 1.0], &times[..2]), None);
        assert_eq!((mttr(&[1.0, 0.0], &times[..2]), mttr(&[], &[])), (None, None));
    }
}
