//! Vibration: what bearings do to the envelope, and the velocity that acceleration makes.
//!
//! - Formulas: Randall, Antoni, "Rolling element bearing diagnostics - a tutorial", Mech. Syst. Signal Process. 25
//!   (2011), 2 (frequencies, slip) and 5 (envelope); ISO 20816-1:2016 (velocity).

use std::f64::consts::TAU;

use realfft::num_complex::Complex;

use super::bearing::{Bearing, Fault};
use super::spectrum::{is_rate, power, real_of, spectrum_of};
use super::{finite, number};

const MILLIMETRES: f64 = 1000.0;

/// Where the energy of a bearing fault is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The band whose envelope is taken, `low_hz <= f < high_hz`.
    pub low_hz: f64,
    /// See `low_hz`.
    pub high_hz: f64,
    /// How many multiples of the frequency count; those above half the rate do not.
    pub harmonics: usize,
    /// How far the frequency may be off, as a share of it: balls slip by 0.01 to 0.02.
    pub slip: f64,
}

/// The mean square of the envelope at the frequency of a bearing fault and its harmonics, in the unit squared.
///
/// The envelope is the magnitude of the analytic signal of the band; `P_k` is its power without the mean. Of each
/// harmonic `h` the frequencies `|f_k - h * f| <= max(slip * h * f, rate_hz / n / 2)` count, each once:
/// `sum(P_k) / n`. `None` if no harmonic is below half the rate, or below two samples.
pub fn bearing_energy(
    samples: &[f64],
    rate_hz: f64,
    rpm: f64,
    fault: Fault,
    bearing: &Bearing,
    search: &Search,
) -> Option<f64> {
    let frequency = bearing.frequency_hz(rpm, fault).filter(|f| *f > 0.0 && *f < rate_hz / 2.0)?;
    let envelope = envelope(samples, rate_hz, search.low_hz, search.high_hz)?;
    let power = power(&envelope, rate_hz)?;
    let is_harmonic = |f: f64| {
        let nearest = (f / frequency).round().clamp(1.0, number(search.harmonics));
        let distance = (f - nearest * frequency).abs();
        distance <= (search.slip * nearest * frequency).max(power.step_hz / 2.0)
    };
    let energy: f64 = power.tones().filter(|(f, _)| is_harmonic(*f)).map(|(_, p)| p).sum();
    finite(energy / number(samples.len()))
}

/// The magnitude of the analytic signal of a band; the mean is left out.
fn envelope(samples: &[f64], rate_hz: f64, low_hz: f64, high_hz: f64) -> Option<Vec<f64>> {
    let n = samples.len();
    let mean = super::mean(samples).filter(|_| n > 1 && is_rate(rate_hz))?;
    let mut band = spectrum_of(samples.iter().map(|x| x - mean).collect())?;
    let mut quadrature = band.clone();
    for (k, (x, q)) in band.iter_mut().zip(&mut quadrature).enumerate() {
        let f = number(k) * rate_hz / number(n);
        if k == 0 || !(low_hz <= f && f < high_hz) {
            (*x, *q) = (Complex::ZERO, Complex::ZERO);
        } else if 2 * k == n {
            // The Nyquist frequency has no negative twin, and so no quadrature.
            *q = Complex::ZERO;
        } else {
            *q *= -Complex::I;
        }
    }
    let (band, quadrature) = (real_of(band, n)?, real_of(quadrature, n)?);
    Some(band.iter().zip(&quadrature).map(|(x, q)| x.hypot(*q) / number(n)).collect())
}

/// The root mean square of the velocity in the band `low_hz <= f < high_hz`, in mm/s; the samples are m/s^2.
///
/// Integrated in the frequency domain: `1000 * sqrt(sum(P_k / (2 pi f_k)^2) / n)`, `k >= 1`. `None` below two samples.
pub fn velocity_rms(samples: &[f64], rate_hz: f64, low_hz: f64, high_hz: f64) -> Option<f64> {
    let power = power(samples, rate_hz)?;
    if low_hz.is_nan() || high_hz.is_nan() {
        return None;
    }
    let band = power.tones().filter(|(f, _)| low_hz <= *f && *f < high_hz);
    let squares: f64 = band.map(|(f, p)| p / (TAU * f).powi(2)).sum();
    finite(MILLIMETRES * (squares / number(samples.len())).sqrt())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const SKF_6205: Bearing =
        Bearing { balls: 9.0, ball_diameter: 0.3126, pitch_diameter: 1.537, angle_deg: 0.0 };

    fn search(low_hz: f64, high_hz: f64) -> Search {
        Search { low_hz, high_hz, harmonics: 3, slip: 0.02 }
    }

    #[test]
    fn bearing_energy_and_velocity_are_those_of_numpy_and_scipy() {
        let energy = |fault, low, high| {
            move |x: &[f64]| bearing_energy(x, 1000.0, 1200.0, fault, &SKF_6205, &search(low, high))
        };
        check("bearing_energy_bpfo", energy(Fault::OuterRace, 0.0, f64::INFINITY));
        check("bearing_energy_bsf", energy(Fault::Ball, 100.0, 400.0));
        check("velocity_rms", |x| velocity_rms(x, 1000.0, 10.0, 1000.0));
    }

    /// Impacts at the frequency of the outer race that make a resonance ring.
    fn impacts(period: f64) -> Vec<f64> {
        let ring = |i: f64| {
            let since = i % period;
            (-since / 20.0).exp() * (TAU * 0.3 * since).sin()
        };
        (0..10_000).map(|i| ring(f64::from(i))).collect()
    }

    #[test]
    fn impacts_of_the_outer_race_show_there_and_not_elsewhere() {
        let frequency = SKF_6205.frequency_hz(1800.0, Fault::OuterRace).unwrap();
        let samples = impacts(10_000.0 / frequency);
        // Of the first harmonics: twice BPFI is three times BPFO but for the slip.
        let search = Search { harmonics: 1, ..search(2000.0, 4000.0) };
        let energy = |fault| bearing_energy(&samples, 10_000.0, 1800.0, fault, &SKF_6205, &search).unwrap();
        assert!(energy(Fault::OuterRace) > 50.0 * energy(Fault::InnerRace));
        assert!(energy(Fault::OuterRace) > 50.0 * energy(Fault::Cage));
    }

    #[test]
    fn a_frequency_above_half_the_rate_has_no_energy() {
        let samples = impacts(100.0);
        let found = bearing_energy(&samples, 100.0, 1800.0, Fault::OuterRace, &SKF_6205, &search(0.0, 50.0));
        assert_eq!(found, None);
    }

    #[test]
    fn a_tone_of_10_m_s2_at_159_hz_moves_at_7_mm_s() {
        let hz = 159.154_943_091_895_35;
        let samples: Vec<f64> = (0..1000).map(|i| 10.0 * (0.1 * TAU * f64::from(i)).sin()).collect();
        let expected = 10.0 / (TAU * hz) * 1000.0 / std::f64::consts::SQRT_2;
        assert_close(velocity_rms(&samples, 10.0 * hz, 10.0, 1000.0), Some(expected));
    }
}
