//! Order tracking: what turns with a shaft whose speed changes.
//!
//! - Formulas: Fyfe, Munck, "Analysis of computed order tracking", Mech. Syst. Signal Process. 11 (1997): resampled at even angles;
//!   an order is a frequency in events per turn.

use super::zero_phase::by_angle;
use super::{band_energy, finite, number};

/// The mean square of the orders `low_order <= o < high_order`, in the unit squared: of the samples at even angles, `per_turn` of them
/// a turn, the energy of the band over their number. `None` as for the resampling.
pub fn order_energy(
    samples: &[f64],
    rate_hz: f64,
    speed: Speed,
    low_order: f64,
    high_order: f64,
) -> Option<f64> {
    let turned = speed.resampled(samples, rate_hz)?;
    energy_of_orders(&turned, speed.per_turn, low_order, high_order)
}

/// The energy of a band of orders over the number of samples, which are at even angles.
pub(super) fn energy_of_orders(
    turned: &[f64],
    per_turn: usize,
    low_order: f64,
    high_order: f64,
) -> Option<f64> {
    let energy = band_energy(turned, number(per_turn), low_order, high_order)?;
    finite(energy / number(turned.len()))
}

/// The mean turn: for each of `per_turn` angles the mean over all whole turns. What does not turn with the shaft is averaged out.
pub fn synchronous_average(samples: &[f64], rate_hz: f64, speed: Speed) -> Option<Vec<f64>> {
    let turned = speed.resampled(samples, rate_hz)?;
    mean_turn(&turned, speed.per_turn)
}

/// The mean over all turns of samples at even angles.
pub(super) fn mean_turn(turned: &[f64], per_turn: usize) -> Option<Vec<f64>> {
    let turns = number(turned.len() / per_turn);
    let mut sums = vec![0.0; per_turn];
    for turn in turned.chunks_exact(per_turn) {
        sums.iter_mut().zip(turn).for_each(|(sum, x)| *sum += x);
    }
    sums.into_iter().map(|sum| finite(sum / turns)).collect()
}

/// A speed that goes evenly from the first to the last sample, in turns per minute, and the samples to take of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// At the first sample.
    pub rpm_start: f64,
    /// At the last sample.
    pub rpm_end: f64,
    /// Samples per turn, at least 2.
    pub per_turn: usize,
}

impl Speed {
    fn resampled(&self, samples: &[f64], rate_hz: f64) -> Option<Vec<f64>> {
        by_angle(samples, rate_hz, self.rpm_start, self.rpm_end, self.per_turn.max(2))
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::super::testing::*;
    use super::*;

    const RUN_UP: Speed = Speed { rpm_start: 3000.0, rpm_end: 6000.0, per_turn: 16 };

    #[test]
    fn orders_are_those_of_numpy() {
        check("order_energy", |x| order_energy(x, 1000.0, RUN_UP, 0.5, 1.5));
        for at in [0, 5, 15] {
            check(&format!("synchronous_average_{at}"), |x| {
                synchronous_average(x, 1000.0, RUN_UP)?.get(at).copied()
            });
        }
    }

    #[test]
    fn a_run_up_smears_a_tone_but_not_its_order() {
        // Two seconds from 10 to 30 turns a second; the third order is a sine of amplitude 2.
        let turns = |t: f64| 10.0 * t + 5.0 * t * t;
        let samples: Vec<f64> =
            (0..=20_000).map(|i| 2.0 * (TAU * 3.0 * turns(f64::from(i) / 1e4)).sin()).collect();
        let speed = Speed { rpm_start: 600.0, rpm_end: 1800.0, per_turn: 64 };
        let third = order_energy(&samples, 1e4, speed, 2.9, 3.1).unwrap();
        assert!((third - 2.0).abs() < 1e-3, "{third}");
        let frequency = band_energy(&samples, 1e4, 58.0, 62.0).unwrap() / 20_001.0;
        assert!(frequency < 0.3, "{frequency}");
    }

    #[test]
    fn a_shaft_that_stands_still_has_no_orders() {
        let speed = Speed { rpm_start: 0.0, ..RUN_UP };
        assert_eq!(order_energy(&[1.0; 100], 1000.0, speed, 0.5, 1.5), None);
        assert_eq!(synchronous_average(&[1.0; 10], 1000.0, RUN_UP), None, "no whole turn");
    }
}
