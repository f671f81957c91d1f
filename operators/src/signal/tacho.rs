//! Order tracking by a tacho: the angle of a shaft is known at its pulses, and the speed may do what it likes between them.
//!
//! ```text
//! samples of a tacho --pulse_times--> times of pulses --Tacho--> time of each angle --> samples at even angles
//! ```
//!
//! The time as a function of the angle goes through all pulses and is monotone between them, as the shaft does not turn back: the
//! cubic Hermite interpolation of Fritsch and Butland, "A method for constructing local monotone piecewise cubic interpolants", SIAM
//! J. Sci. Stat. Comput. 5 (1984), which is SciPy's `PchipInterpolator`. Between two samples it is the line through them. For the rest
//! see [`super::order_energy`].

use super::number;
use super::orders::{energy_of_orders, mean_turn};
use super::zero_phase::{MOST_POINTS, between};

/// The pulses of a tacho, and the samples to take of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Tacho<'a> {
    /// When they came, in seconds after the first sample, ascending. Those before the first or after the last sample do not count.
    pub pulses_s: &'a [f64],
    /// Pulses of a turn, at even angles; at least 1.
    pub pulses_per_turn: usize,
    /// Samples per turn, at least 2.
    pub per_turn: usize,
}

impl Tacho<'_> {
    /// The samples at even steps of the angle over all whole turns, from the first pulse on.
    ///
    /// `None` if the pulses make no whole turn or do not ascend, or if there are fewer than two samples.
    pub fn resampled(&self, samples: &[f64], rate_hz: f64) -> Option<Vec<f64>> {
        if samples.len() < 2 || !rate_hz.is_finite() || rate_hz <= 0.0 {
            return None;
        }
        let end = number(samples.len() - 1) / rate_hz;
        let ascends = self.pulses_s.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascends || self.pulses_s.iter().any(|time| !time.is_finite()) {
            return None;
        }
        let within = |time: &&f64| (0.0..=end).contains(*time);
        let pulses: Vec<f64> = self.pulses_s.iter().filter(within).copied().collect();
        let turns = pulses.len().checked_sub(1)? / self.pulses_per_turn.max(1);
        let points = turns.checked_mul(self.per_turn.max(2))?;
        if points == 0 || number(points) > MOST_POINTS {
            return None;
        }
        let slopes = slopes(&pulses);
        let pulses_per_point = number(self.pulses_per_turn.max(1)) / number(self.per_turn.max(2));
        let sample = |point: usize| {
            let time = time_at(&pulses, &slopes, number(point) * pulses_per_point);
            between(samples, time * rate_hz)
        };
        Some((0..points).map(sample).collect())
    }
}

/// Seconds per pulse at each pulse: the harmonic mean of the distances on both sides, and at the ends the parabola through three
/// pulses as long as it does not turn back.
fn slopes(pulses: &[f64]) -> Vec<f64> {
    let steps: Vec<f64> = pulses.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (Some(&first), Some(&last)) = (steps.first(), steps.last()) else { return vec![0.0; pulses.len()] };
    let at_end = |near: f64, far: Option<&f64>| far.map_or(near, |far| ((3.0 * near - far) / 2.0).max(0.0));
    let mut slopes = vec![at_end(first, steps.get(1))];
    slopes.extend(steps.windows(2).map(|pair| 2.0 / (1.0 / pair[0] + 1.0 / pair[1])));
    slopes.push(at_end(last, steps.len().checked_sub(2).map(|before| &steps[before])));
    slopes
}

/// The time at a place among the pulses, `2.5` is half way between the third and the fourth.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among the pulses")]
fn time_at(pulses: &[f64], slopes: &[f64], place: f64) -> f64 {
    let before = (place as usize).min(pulses.len() - 2);
    let u = place - number(before);
    let (u2, u3) = (u * u, u * u * u);
    let [t0, t1, d0, d1] = [pulses[before], pulses[before + 1], slopes[before], slopes[before + 1]];
    t0 * (2.0 * u3 - 3.0 * u2 + 1.0) + d0 * (u3 - 2.0 * u2 + u) + t1 * (3.0 * u2 - 2.0 * u3) + d1 * (u3 - u2)
}

/// [`super::order_energy`] of a shaft with a tacho.
pub fn tacho_order_energy(
    samples: &[f64],
    rate_hz: f64,
    tacho: Tacho<'_>,
    low_order: f64,
    high_order: f64,
) -> Option<f64> {
    let turned = tacho.resampled(samples, rate_hz)?;
    energy_of_orders(&turned, tacho.per_turn.max(2), low_order, high_order)
}

/// [`super::synchronous_average`] of a shaft with a tacho; its first angle is that of the first pulse.
pub fn tacho_synchronous_average(samples: &[f64], rate_hz: f64, tacho: Tacho<'_>) -> Option<Vec<f64>> {
    mean_turn(&tacho.resampled(samples, rate_hz)?, tacho.per_turn.max(2))
}

/// The times of the pulses in the samples of a tacho, in seconds after the first one: where the line through two samples reaches
/// `level` from below, once the signal has been below `level - hysteresis` since the pulse before. `None` if there is no pulse.
pub fn pulse_times(samples: &[f64], rate_hz: f64, level: f64, hysteresis: f64) -> Option<Vec<f64>> {
    let mut times = Vec::new();
    let mut is_armed = false;
    for (before, pair) in samples.windows(2).enumerate() {
        is_armed |= pair[0] < level - hysteresis;
        if is_armed && pair[0] < level && pair[1] >= level {
            let share = (level - pair[0]) / (pair[1] - pair[0]);
            times.push((number(before) + share) / rate_hz);
            is_armed = false;
        }
    }
    let is_right = rate_hz > 0.0 && !times.is_empty() && times.iter().all(|time| time.is_finite());
    is_right.then_some(times)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::super::testing::*;
    use super::*;

    /// Two pulses a turn of a shaft that becomes faster and faster.
    fn pulses() -> Vec<f64> {
        (0..70).map(f64::from).map(|k| 0.0035 + 0.02 * k - 0.00005 * k * k).collect()
    }

    fn tacho(pulses_s: &[f64]) -> Tacho<'_> {
        Tacho { pulses_s, pulses_per_turn: 2, per_turn: 16 }
    }

    #[test]
    fn samples_at_even_angles_are_those_of_scipy() {
        let pulses = pulses();
        for at in [0, 3, 15] {
            check(&format!("tacho_resample_{at}"), |x| tacho(&pulses).resampled(x, 1000.0)?.get(at).copied());
            check(&format!("tacho_synchronous_average_{at}"), |x| {
                tacho_synchronous_average(x, 1000.0, tacho(&pulses))?.get(at).copied()
            });
        }
        check("tacho_resample_last", |x| tacho(&pulses).resampled(x, 1000.0)?.last().copied());
        check("tacho_order_energy", |x| tacho_order_energy(x, 1000.0, tacho(&pulses), 0.5, 3.5));
    }

    #[test]
    fn pulses_are_where_the_signal_rises() {
        let count = |x: &[f64]| pulse_times(x, 1000.0, 0.1, 0.3).map(|times| number(times.len()));
        check("pulse_times_count", count);
        check("pulse_times_0", |x| pulse_times(x, 1000.0, 0.1, 0.3)?.first().copied());
        check("pulse_times_last", |x| pulse_times(x, 1000.0, 0.1, 0.3)?.last().copied());
    }

    #[test]
    fn an_order_is_found_whatever_the_speed_does() {
        // Up from 10 to 20 turns a second and down again: no ramp. The third order is a sine of amplitude 2.
        let turns = |t: f64| 15.0 * t - 5.0 / TAU * (TAU * t / 2.0).sin() * 2.0;
        let samples: Vec<f64> =
            (0..=20_000).map(|i| 2.0 * (TAU * 3.0 * turns(f64::from(i) / 1e4)).sin()).collect();
        let signal: Vec<f64> = (0..=20_000).map(|i| (TAU * turns(f64::from(i) / 1e4)).sin()).collect();
        let pulses = pulse_times(&signal, 1e4, 0.0, 0.5).unwrap();
        let tacho = Tacho { pulses_s: &pulses, pulses_per_turn: 1, per_turn: 64 };
        let third = tacho_order_energy(&samples, 1e4, tacho, 2.9, 3.1).unwrap();
        assert!((third - 2.0).abs() < 2e-3, "{third}");
        let mean = tacho_synchronous_average(&samples, 1e4, tacho).unwrap();
        let off =
            (0..64_u32).map(|i| (mean[i as usize] - 2.0 * (TAU * 3.0 * f64::from(i) / 64.0).sin()).abs());
        assert!(off.fold(0.0, f64::max) < 0.02);
    }

    #[test]
    fn pulses_that_make_no_turn_give_nothing() {
        let of = |pulses: &[f64]| tacho(pulses).resampled(&[1.0; 1000], 1000.0);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[0.1, 0.2]), None, "half a turn");
        assert_eq!(of(&[0.1, 0.2, 1.5]), None, "the third one comes after the last sample");
        assert_eq!(of(&[0.1, 0.3, 0.2, 0.4]), None, "they do not ascend");
        assert_eq!(of(&[0.1, f64::NAN, 0.2, 0.4]), None);
        assert_eq!(of(&[0.1, 0.2, 0.3]), Some(vec![1.0; 16]));
        assert_eq!(pulse_times(&[0.0; 10], 1000.0, 0.5, 0.0), None);
    }
}
