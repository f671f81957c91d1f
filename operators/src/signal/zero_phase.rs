//! Smoothing forwards and back: a whole record at once, so that nothing is delayed.
//!
//! - Formulas: Gustafsson, "Determining the initial states in forward-backward filtering", IEEE Trans. Signal Process. 44 (1996),
//!   with the odd extension of SciPy's `sosfiltfilt`; Rauch, Tung, Striebel, "Maximum likelihood estimates of linear dynamic systems",
//!   AIAA Journal 3 (1965).

use super::{finite, number};
use crate::online::{Butterworth, Online};

/// The samples through a filter and, from the end on, through it again: the square of its magnitude and no phase. Before and after
/// the samples these are taken to go on turned around their ends. `None` if there are no more samples than the ends take:
/// `3 * (2 * sections + 1)`.
pub fn zero_phase(samples: &[f64], filter: &Butterworth) -> Option<Vec<f64>> {
    let edge = 3 * (2 * filter.sections() + 1);
    let (first, last) = (*samples.first()?, *samples.last()?);
    if samples.len() <= edge {
        return None;
    }
    // Without the level, which would cost digits: what a filter makes of it is known.
    let level = first * filtered(std::iter::once(1.0), filter)?[0].powi(2);
    let before = samples[1..=edge].iter().rev().map(|x| first - x);
    let after = samples[samples.len() - 1 - edge..samples.len() - 1].iter().rev();
    let after = after.map(|x| (last - first) + (last - x));
    let extended: Vec<f64> = before.chain(samples.iter().map(|x| x - first)).chain(after).collect();
    let forwards = filtered(extended.into_iter(), filter)?;
    let mut back = filtered(forwards.into_iter().rev(), filter)?;
    back.reverse();
    Some(back[edge..edge + samples.len()].iter().map(|x| x + level).collect())
}

/// As from a filter that has seen the first value for ever.
fn filtered(samples: impl Iterator<Item = f64>, filter: &Butterworth) -> Option<Vec<f64>> {
    let mut filter = Online::from(filter.clone());
    samples.map(|x| filter.next(&[x], 0)).collect()
}

/// The level of a random walk with a variance of `q` per sample that is measured with a variance of `r`, by all samples before and
/// after: the filter of [`crate::online::Kalman`], then back from its end. `None` without samples, or if `r` is not above 0.
pub fn kalman_smooth(samples: &[f64], q: f64, r: f64) -> Option<Vec<f64>> {
    let (mut level, mut p) = (*samples.first()?, r);
    if !(q >= 0.0 && r > 0.0) {
        return None;
    }
    // The level after each sample, and its variance before the next one.
    let mut filtered = vec![(level, p)];
    for x in &samples[1..] {
        p += q;
        let gain = p / (p + r);
        level += gain * (x - level);
        p *= 1.0 - gain;
        filtered.push((level, p));
    }
    let mut smooth = vec![filtered.last()?.0];
    for (level, p) in filtered.iter().rev().skip(1) {
        let next = smooth[smooth.len() - 1];
        // The level does not move between samples, so the next one is predicted to be it.
        smooth.push(finite(level + p / (p + q) * (next - level))?);
    }
    smooth.reverse();
    Some(smooth)
}

/// The samples of a record at even steps of the angle of a shaft, `per_turn` of them a turn, for a speed that goes evenly from
/// `rpm_start` at the first sample to `rpm_end` at the last one: between two samples on the line through them.
///
/// `None` below two samples, or if the shaft makes no whole turn, or stands still or turns back.
pub(super) fn by_angle(
    samples: &[f64],
    rate_hz: f64,
    rpm_start: f64,
    rpm_end: f64,
    per_turn: usize,
) -> Option<Vec<f64>> {
    let is_speed = |rpm: f64| rpm > 0.0 && rpm.is_finite();
    if samples.len() < 2 || !(is_speed(rpm_start) && is_speed(rpm_end) && rate_hz > 0.0) {
        return None;
    }
    let span = number(samples.len() - 1) / rate_hz;
    let (start, end) = (rpm_start / 60.0, rpm_end / 60.0);
    let acceleration = (end - start) / span;
    let turns = (start + end) / 2.0 * span;
    // Whole turns, so that orders fall on the lines of the spectrum.
    let points = turns.floor() * number(per_turn);
    if !(1.0..=MOST_POINTS).contains(&points) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and checked above")]
    let points = points as usize;
    let time = |point: usize| {
        let turns = number(point) / number(per_turn);
        // The root of start * t + acceleration * t^2 / 2 = turns, in the form that keeps its digits at an even speed.
        2.0 * turns / (start + (start * start + 2.0 * acceleration * turns).max(0.0).sqrt())
    };
    Some((0..points).map(|point| between(samples, time(point) * rate_hz)).collect())
}

/// A record of more points by angle is a mistake of the speed.
pub(super) const MOST_POINTS: f64 = 1e7;

/// The value at a place among the samples, on the line through two of them.
pub(super) fn between(samples: &[f64], place: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place within the samples")]
    let before = (place.max(0.0) as usize).min(samples.len() - 2);
    let share = place - number(before);
    samples[before] + share * (samples[before + 1] - samples[before])
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn filters_without_phase_are_those_of_scipy() {
        let lowpass = Butterworth::lowpass(40.0, 1000.0, 4).unwrap();
        let highpass = Butterworth::highpass(100.0, 1000.0, 2).unwrap();
        let bandpass = Butterworth::bandpass(30.0, 80.0, 1000.0, 2).unwrap();
        for at in [0, 7, 49] {
            check(&format!("lowpass_zero_phase_{at}"), |x| zero_phase(x, &lowpass)?.get(at).copied());
            check(&format!("highpass_zero_phase_{at}"), |x| zero_phase(x, &highpass)?.get(at).copied());
            check(&format!("bandpass_zero_phase_{at}"), |x| zero_phase(x, &bandpass)?.get(at).copied());
        }
    }

    #[test]
    fn a_level_by_all_samples_is_that_of_the_whole_system_of_equations() {
        for at in [0, 7, 49] {
            check(&format!("kalman_smooth_{at}"), |x| kalman_smooth(x, 0.01, 0.25)?.get(at).copied());
        }
    }
}
