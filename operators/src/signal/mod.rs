//! The numeric kernels of signal features: plain functions over slices of samples.
//!
//! ```text
//! moments.rs    mean, variance, stddev, skewness, kurtosis
//! magnitude.rs  rms, abs_energy, peak_to_peak, crest, shape, impulse and clearance factor
//! order.rs      zero and mean crossings, autocorrelation: the order of the samples counts
//! trend.rs      slope by sample or by time, time-weighted average
//! quantile.rs   median, percentile, mad, iqr
//! histogram.rs  entropy
//! dynamics.rs   Hjorth's parameters, entropies of order, line length, curvature
//! spectrum.rs   band energy, centroid, dominant frequency, spectral entropy, envelope; recent.rs  what is known of them
//! shape.rs      bandwidth, kurtosis and roll-off of the spectrum, its peaks
//! welch.rs      power spectral density, cepstrum
//! envelope.rs   energy of bearing faults, velocity from acceleration       bearing.rs  the frequencies of a bearing
//! kurtogram.rs  the band of impacts             orders.rs  orders of a shaft, time-synchronous average
//! zero_phase.rs filters forwards and back, levels by all samples
//! capability.rs cp, cpk, pp, ppk, times between failures and to repair     operations.rs  OEE, ISO zones
//! running.rs    the same features as sums that rows are added to one by one, and that can be merged
//! ```
//!
//! One rule holds for all of them:
//!
//! - **NULL and NaN are no samples.** They are left out before a kernel sees the slice ([`without_nan`]).
//! - **No wrong number.** Where a feature is not defined (too few samples, a constant signal, a parameter out of its
//!   range) or its result is not finite (an infinite sample, an overflow), it is `None`, in SQL NULL.
//!
//! Results have the unit of the samples unless the function says otherwise. Sums run in eight lanes in a fixed
//! order, so the same samples in the same order give the same bits.

use std::borrow::Cow;

mod bearing;
mod capability;
mod dynamics;
mod envelope;
mod histogram;
mod kurtogram;
mod magnitude;
mod moments;
mod operations;
mod order;
mod orders;
mod quantile;
mod recent;
pub mod running;
mod shape;
mod spectrum;
mod tacho;
mod trend;
mod welch;
mod zero_phase;

pub use bearing::{Bearing, Fault};
pub use capability::{cp, cpk, mtbf, mttr, pp, ppk, sigma_within};
pub use dynamics::{
    MAX_ORDER, autocorrelation_minimum, curvature, hjorth_complexity, hjorth_mobility, line_length,
    permutation_entropy, sample_entropy,
};
pub use envelope::{Search, bearing_energy, velocity_rms};
pub use histogram::{MAX_BINS, entropy};
pub use kurtogram::{SpikyBand, kurtogram};
pub use magnitude::{
    abs_energy, clearance_factor, crest_factor, impulse_factor, peak_to_peak, rms, shape_factor,
};
pub use moments::{kurtosis, mean, skewness, stddev, stddev_pop, variance, variance_pop};
pub use operations::{MACHINES, availability, effectiveness, iso_zone, oee, quality_ratio};
pub use order::{autocorrelation, mean_crossing_rate, zero_crossing_rate};
pub use orders::{Speed, order_energy, synchronous_average};
pub use quantile::{iqr, mad, median, percentile};
pub use shape::{peak_frequencies, spectral_bandwidth, spectral_kurtosis, spectral_rolloff};
pub use spectrum::{band_energy, dominant_frequency, envelope_rms, spectral_centroid, spectral_entropy};
pub use tacho::{Tacho, pulse_times, tacho_order_energy, tacho_synchronous_average};
pub use trend::{slope, slope_per_second, time_weighted_avg};
pub use welch::{cepstrum_peak, psd};
pub use zero_phase::{kalman_smooth, zero_phase};

/// The samples without NaN; borrowed if there is none, which is the usual case.
pub fn without_nan(samples: &[f64]) -> Cow<'_, [f64]> {
    if samples.iter().any(|x| x.is_nan()) {
        Cow::Owned(samples.iter().copied().filter(|x| !x.is_nan()).collect())
    } else {
        Cow::Borrowed(samples)
    }
}

/// A result, if it is a number at all.
fn finite(result: f64) -> Option<f64> {
    result.is_finite().then_some(result)
}

/// `numerator / denominator`, if that is a number at all: a denominator that has overflown gives no zero.
fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    finite(numerator / finite(denominator)?)
}

/// A count as a number: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "no window has 2^53 samples")]
fn number(count: usize) -> f64 {
    count as f64
}

/// Lanes that a sum runs in, so that the compiler can use vector registers.
const LANES: usize = 8;

/// The sum of `term` over all samples.
fn sum_of(samples: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let [sum] = sums_of(samples, |x| [term(x)]);
    sum
}

/// Several sums in one pass.
fn sums_of<const N: usize>(samples: &[f64], terms: impl Fn(f64) -> [f64; N]) -> [f64; N] {
    let mut lanes = [[0.0; LANES]; N];
    let chunks = samples.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in chunk.iter().enumerate() {
            let values = terms(x);
            for (sum, value) in lanes.iter_mut().zip(values) {
                sum[lane] += value;
            }
        }
    }
    let mut sums = lanes.map(|lanes| lanes.iter().sum());
    for &x in rest {
        for (sum, value) in sums.iter_mut().zip(terms(x)) {
            *sum += value;
        }
    }
    sums
}

/// The greatest `size` of all samples; 0 without samples. `size` is never negative.
fn greatest(samples: &[f64], size: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    let chunks = samples.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            let size = size(x);
            // Not `f64::max`: a plain comparison is one instruction.
            *lane = if size > *lane { size } else { *lane };
        }
    }
    let rest = rest.iter().map(|&x| size(x));
    lanes.into_iter().chain(rest).fold(0.0, f64::max)
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_left_out_and_nothing_is_copied_without_it() {
        assert_eq!(without_nan(&[1.0, f64::NAN, 3.0]).as_ref(), [1.0, 3.0]);
        assert!(matches!(without_nan(&[1.0, 3.0]), Cow::Borrowed(_)));
    }

    #[test]
    fn sums_in_lanes_take_every_sample_once() {
        for n in [0, 1, 7, 8, 9, 31] {
            let samples: Vec<f64> = (1..=n).map(f64::from).collect();
            let expected = f64::from(n) * (f64::from(n) + 1.0) / 2.0;
            testing::assert_close(Some(sum_of(&samples, |x| x)), Some(expected));
            testing::assert_close(Some(greatest(&samples, |x| x)), Some(f64::from(n)));
        }
    }

    #[test]
    fn an_infinite_sample_gives_no_number() {
        let samples = [1.0, f64::INFINITY, 2.0, 4.0];
        type Feature = fn(&[f64]) -> Option<f64>;
        let features: [Feature; 10] = [
            rms,
            mean,
            variance,
            skewness,
            crest_factor,
            clearance_factor,
            peak_to_peak,
            slope,
            mean_crossing_rate,
            abs_energy,
        ];
        for feature in features {
            assert_eq!(feature(&samples), None);
        }
    }
}
