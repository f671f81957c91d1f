//! Quantiles of the distributions behind control limits: normal, chi-squared and F.
//!
//! Each quantile is found by bisection of the cumulative distribution, which is accurate to about 1e-12 and needs
//! no table. They are computed once per training, so speed does not matter.

/// Halvings of an interval until it is as narrow as a double allows.
const HALVINGS: usize = 200;

/// The number below which a standard normal variable lies with probability `p` in `(0, 1)`.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    // P(Z <= z) = 1/2 + sign(z) P(1/2, z^2 / 2) / 2, with the regularised incomplete gamma function.
    let tail = (2.0 * p - 1.0).abs();
    let size = (2.0 * quantile(tail, |x| lower_gamma(0.5, x))).sqrt();
    if p < 0.5 { -size } else { size }
}

/// The probability that a standard normal variable lies below `z`.
pub(crate) fn normal_cdf(z: f64) -> f64 {
    0.5 + 0.5 * lower_gamma(0.5, z * z / 2.0).copysign(z)
}

/// The number below which a chi-squared variable with `degrees` of freedom lies with probability `p`.
pub(crate) fn chi_squared_quantile(p: f64, degrees: f64) -> f64 {
    2.0 * quantile(p, |x| lower_gamma(degrees / 2.0, x))
}

/// The number below which an F variable with `a` and `b` degrees of freedom lies with probability `p`.
pub(crate) fn f_quantile(p: f64, a: f64, b: f64) -> f64 {
    quantile(p, |x| incomplete_beta(a * x / (a * x + b), a / 2.0, b / 2.0))
}

/// The `x >= 0` at which the increasing function `cumulative` reaches `p`.
fn quantile(p: f64, cumulative: impl Fn(f64) -> f64) -> f64 {
    if p <= 0.0 {
        return 0.0;
    }
    let mut high = 1.0;
    while cumulative(high) < p && high < f64::MAX / 2.0 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..HALVINGS {
        let middle = low + (high - low) / 2.0;
        if cumulative(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Lanczos' approximation of `ln gamma(x)` for `x > 0`, with g = 7 and nine terms.
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        let pi = std::f64::consts::PI;
        return (pi / (pi * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let (mut sum, mut n) = (0.999_999_999_999_809_9, 1.0);
    for term in TERMS {
        sum += term / (x + n);
        n += 1.0;
    }
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// The regularised incomplete gamma function `P(a, x)`: its series below `a + 1`, Legendre's continued fraction above
/// (Abramowitz and Stegun 6.5.29 and 6.5.31).
fn lower_gamma(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > sum * f64::EPSILON {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return front * sum;
    }
    let (mut d, mut c) = (1.0 / (x + 1.0 - a), f64::MAX);
    let (mut fraction, mut n) = (d, 1.0);
    loop {
        let (an, b) = (n * (a - n), x + 2.0 * n + 1.0 - a);
        d = 1.0 / (b + an * d);
        c = b + an / c;
        fraction *= c * d;
        n += 1.0;
        if (c * d - 1.0).abs() < f64::EPSILON || n > 10_000.0 {
            return 1.0 - front * fraction;
        }
    }
}

/// The regularised incomplete beta function `I_x(a, b)` by its continued fraction (Abramowitz and Stegun 26.5.8), on
/// the side where it converges fast.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = (a * x.ln() + b * (1.0 - x).ln() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp() / a;
    // Lentz's method; the terms are taken in pairs.
    let (mut c, mut d) = (1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0)));
    let (mut fraction, mut m) = (d, 1.0);
    loop {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / (1.0 + even * d);
        c = 1.0 + even / c;
        fraction *= c * d;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / (1.0 + odd * d);
        c = 1.0 + odd / c;
        fraction *= c * d;
        m += 1.0;
        if (c * d - 1.0).abs() < f64::EPSILON || m > 10_000.0 {
            return front * fraction;
        }
    }
}

/// The value below which the share `p` of `values` lies, interpolated between neighbours (type 7 of Hyndman and Fan,
/// the rule of numpy). NaN without values.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place among rows"
)]
pub(crate) fn sample_quantile(values: &[f64], p: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = p * last as f64;
    let low = place.floor() as usize;
    let high = (low + 1).min(last);
    sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} is not {expected}");
    }

    #[test]
    fn quantiles_equal_those_of_scipy() {
        // scipy.stats 1.x: norm.ppf, chi2.ppf, f.ppf.
        assert_near(normal_quantile(0.99), 2.326_347_874_040_840_8);
        assert_near(normal_quantile(0.999), 3.090_232_306_167_813);
        assert_near(normal_quantile(0.5), 0.0);
        assert_near(normal_quantile(1e-6), -4.753_424_308_822_899);
        assert_near(chi_squared_quantile(0.99, 9.0), 21.665_994_333_461_924);
        assert_near(chi_squared_quantile(0.95, 1.0), 3.841_458_820_694_124);
        assert_near(chi_squared_quantile(0.999, 50.0), 86.660_815_190_403_17);
        assert_near(f_quantile(0.99, 9.0, 491.0), 2.443_528_567_710_471);
        assert_near(f_quantile(0.999, 3.0, 397.0), 5.527_616_934_286_825);
        assert_near(f_quantile(0.95, 1.0, 5.0), 6.607_890_973_703_364);
    }

    #[test]
    fn quantiles_of_samples_are_interpolated_as_by_numpy() {
        // numpy.quantile([1, 2, 4, 8], 0.9) = 6.8
        assert_near(sample_quantile(&[8.0, 1.0, 4.0, 2.0], 0.9), 6.8);
        assert_near(sample_quantile(&[5.0], 0.3), 5.0);
        assert!(sample_quantile(&[], 0.5).is_nan());
    }
}
