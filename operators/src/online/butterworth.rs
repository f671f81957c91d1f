//! Low-, high- and band-pass filters of Butterworth, as a chain of sections of second order.
//!
//! - Formulas: Oppenheim, Schafer, "Discrete-Time Signal Processing" (3rd ed.), 7.2 (bilinear transform with its warping
//!   undone) and 6.3 (transposed direct form II), with SciPy's conventions for the order.
//! - Before its first row a signal is taken to have been constant at that row's value for ever: no ringing at the start
//!   (as `sosfilt_zi` of SciPy).

use realfft::num_complex::Complex;
use serde::{Deserialize, Serialize};

use super::{Step, number};

/// `(b0 + b1 / z + b2 / z^2) / (1 + a1 / z + a2 / z^2)`, with its two delays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Section {
    b: [f64; 3],
    a: [f64; 2],
    delays: [f64; 2],
}

/// What stands above the fraction in `s`.
#[derive(Clone, Copy)]
enum Above {
    Constant(f64),
    Linear(f64),
    Square,
}

impl Section {
    /// `above / (s^2 + linear * s + constant)` with `s = (1 - 1/z) / (1 + 1/z)`.
    fn new(above: Above, linear: f64, constant: f64) -> Self {
        let first = 1.0 + linear + constant;
        let b = match above {
            Above::Constant(gain) => [gain, 2.0 * gain, gain],
            Above::Linear(gain) => [gain, 0.0, -gain],
            Above::Square => [1.0, -2.0, 1.0],
        };
        let a = [2.0 * constant - 2.0, 1.0 - linear + constant];
        Self { b: b.map(|b| b / first), a: a.map(|a| a / first), delays: [0.0; 2] }
    }

    /// Fills the delays as if the input had always been `x`; gives the output.
    fn settle(&mut self, x: f64) -> f64 {
        let [b0, b1, b2] = self.b;
        let [a1, a2] = self.a;
        let y = x * (b0 + b1 + b2) / (1.0 + a1 + a2);
        self.delays = [y - b0 * x, b2 * x - a2 * y];
        y
    }

    fn step(&mut self, x: f64) -> f64 {
        let y = self.b[0] * x + self.delays[0];
        self.delays = [self.b[1] * x - self.a[0] * y + self.delays[1], self.b[2] * x - self.a[1] * y];
        y
    }
}

/// A filter; samples must be evenly spaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Butterworth {
    sections: Vec<Section>,
    is_settled: bool,
}

impl Butterworth {
    /// Lets through what is below `hz`; the order is 2 or 4.
    pub fn lowpass(hz: f64, rate_hz: f64, order: usize) -> Option<Self> {
        let edge = warped(hz, rate_hz)?;
        Self::of(order, |pole| {
            let square = edge * edge;
            vec![Section::new(Above::Constant(square), -2.0 * pole.re * edge, square)]
        })
    }

    /// Lets through what is above `hz`; the order is 2 or 4.
    pub fn highpass(hz: f64, rate_hz: f64, order: usize) -> Option<Self> {
        let edge = warped(hz, rate_hz)?;
        Self::of(order, |pole| vec![Section::new(Above::Square, -2.0 * pole.re * edge, edge * edge)])
    }

    /// Lets through what is between two frequencies; the order is 2 or 4 at each edge.
    pub fn bandpass(low_hz: f64, high_hz: f64, rate_hz: f64, order: usize) -> Option<Self> {
        let (low, high) = (warped(low_hz, rate_hz)?, warped(high_hz, rate_hz)?);
        let width = high - low;
        if width <= 0.0 {
            return None;
        }
        Self::of(order, |pole| {
            // Each pole becomes the two roots of s^2 - pole * width * s + low * high.
            let half = pole * width / 2.0;
            let root = (half * half - low * high).sqrt();
            let section =
                |pole: Complex<f64>| Section::new(Above::Linear(width), -2.0 * pole.re, pole.norm_sqr());
            vec![section(half + root), section(half - root)]
        })
    }

    /// How many sections of second order it has.
    pub fn sections(&self) -> usize {
        self.sections.len()
    }

    /// The sections of the poles of the prototype that lie above the axis: `exp(i * pi * (1/2 + (2 k + 1) / (2 order)))`.
    fn of(order: usize, sections: impl Fn(Complex<f64>) -> Vec<Section>) -> Option<Self> {
        if order != 2 && order != 4 {
            return None;
        }
        let angle = |k| std::f64::consts::PI * (0.5 + number(2 * k + 1) / number(2 * order));
        let poles = (0..order / 2).map(|k| Complex::from_polar(1.0, angle(k)));
        Some(Self { sections: poles.flat_map(sections).collect(), is_settled: false })
    }
}

/// The frequency that the bilinear transform takes to `hz`; `None` if it is not between 0 and half the rate.
fn warped(hz: f64, rate_hz: f64) -> Option<f64> {
    let is_within = hz > 0.0 && rate_hz.is_finite() && hz < rate_hz / 2.0;
    is_within.then(|| (std::f64::consts::PI * hz / rate_hz).tan())
}

impl Step for Butterworth {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        if !self.is_settled {
            self.is_settled = true;
            self.sections.iter_mut().fold(x[0], |x, section| section.settle(x));
        }
        Some(self.sections.iter_mut().fold(x[0], |x, section| section.step(x)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn filters_are_those_of_scipy() {
        check("lowpass_2", &Butterworth::lowpass(1.2, 10.0, 2).unwrap().into());
        check("lowpass_4", &Butterworth::lowpass(1.2, 10.0, 4).unwrap().into());
        check("highpass_2", &Butterworth::highpass(0.7, 10.0, 2).unwrap().into());
        check("highpass_4", &Butterworth::highpass(0.7, 10.0, 4).unwrap().into());
        check("bandpass_2", &Butterworth::bandpass(0.7, 2.1, 10.0, 2).unwrap().into());
        check("bandpass_4", &Butterworth::bandpass(0.7, 2.1, 10.0, 4).unwrap().into());
    }

    #[test]
    fn a_constant_passes_or_vanishes_from_the_first_row() {
        let first = |filter: Option<Butterworth>| filter.unwrap().step(&[7.0], 0).unwrap();
        assert!((first(Butterworth::lowpass(1.0, 10.0, 4)) - 7.0).abs() < 1e-12);
        assert!(first(Butterworth::highpass(1.0, 10.0, 2)).abs() < 1e-12);
        assert!(first(Butterworth::bandpass(1.0, 2.0, 10.0, 2)).abs() < 1e-12);
    }

    #[test]
    fn an_edge_beyond_half_the_rate_is_refused() {
        assert_eq!(Butterworth::lowpass(5.0, 10.0, 2), None);
        assert_eq!(Butterworth::lowpass(1.0, 10.0, 3), None);
        assert_eq!(Butterworth::highpass(f64::NAN, 10.0, 2), None);
        assert_eq!(Butterworth::bandpass(2.0, 1.0, 10.0, 2), None);
    }
}
