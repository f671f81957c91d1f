//! Forecasts against those of statsmodels (`tests/fixtures/forecasts_expected.py`), and plain cases.

use std::f64::consts::TAU;

use super::holt_winters::HoltWinters;
use super::*;
use crate::testing::units;

const EXPECTED: &str = include_str!("../../../../tests/fixtures/forecasts_expected.txt");

/// A line, a season of 12 rows, and noise.
pub(super) fn series() -> Vec<f64> {
    let mut unit = units(7);
    let mut value = |row: u32| {
        let noise = unit() - 0.5;
        50.0 + 0.3 * f64::from(row) + 10.0 * (TAU * f64::from(row) / 12.0).sin() + 6.0 * noise
    };
    (0..90).map(&mut value).collect()
}

pub(super) fn expected(name: &str) -> Vec<f64> {
    let line = EXPECTED.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().split(' ').map(|word| word.parse().unwrap()).collect()
}

/// Compares with the fixture; estimated parameters are as good as the search of either side.
fn check(name: &str, method: &Method, tolerance: f64) {
    let found = forecast(method, &series(), 15).unwrap();
    for (step, (found, expected)) in found.iter().zip(expected(name)).enumerate() {
        let is_near = (found - expected).abs() <= tolerance * expected || expected.is_nan();
        assert!(is_near, "{name}, step {step}: {found}, not {expected}");
    }
}

#[test]
fn theta_is_that_of_statsmodels() {
    let theta = |season, form, alpha| Method::Theta { season, form, alpha };
    check("theta_additive_0.3", &theta(12, Form::Additive, Some(0.3)), 1e-9);
    check("theta_additive", &theta(12, Form::Additive, None), 1e-3);
    check("theta_multiplicative", &theta(12, Form::Multiplicative, None), 1e-3);
    check("theta_plain", &theta(1, Form::Additive, None), 1e-3);
}

#[test]
fn holt_winters_is_that_of_statsmodels() {
    let given = |season, form, trend| {
        Method::HoltWinters(HoltWinters {
            season,
            form,
            trend,
            alpha: Some(0.35),
            beta: Some(0.12),
            gamma: Some(0.2),
            phi: Some(0.93),
        })
    };
    check("holt_winters_damped_add", &given(12, Form::Additive, Trend::Damped), 1e-9);
    check("holt_winters_damped_mul", &given(12, Form::Multiplicative, Trend::Damped), 1e-9);
    check("holt_winters_linear_add", &given(12, Form::Additive, Trend::Linear), 1e-9);
    check("holt_winters_linear", &given(1, Form::Additive, Trend::Linear), 1e-9);
    check("holt_winters_none_mul", &given(12, Form::Multiplicative, Trend::None), 1e-9);
}

#[test]
fn demand_that_is_mostly_zero_is_forecast_as_its_formulas_say() {
    let demand = [0.0, 0.0, 6.0, 0.0, 0.0, 0.0, 4.0, 0.0, 5.0, 0.0];
    let of = |method: &Method| forecast(method, &demand, 2).unwrap();
    // Size 6, 5.8, 5.72; interval 3, 3.1, 2.99.
    let croston = |is_corrected| of(&Method::Croston { alpha: Some(0.1), is_corrected });
    assert!((croston(false)[1] - 5.72 / 2.99).abs() < 1e-12);
    assert!((croston(true)[0] - 0.95 * 5.72 / 2.99).abs() < 1e-12);
    let mut probability = 1.0 / 3.0;
    for value in &demand[3..] {
        probability += 0.2 * (f64::from(u8::from(*value > 0.0)) - probability);
    }
    let tsb = of(&Method::Tsb { alpha: Some(0.1), beta: Some(0.2) });
    assert!((tsb[0] - 5.72 * probability).abs() < 1e-12);
    assert!(forecast(&Method::Tsb { alpha: None, beta: None }, &[0.0; 9], 1).is_err());
    assert!(forecast(&Method::Croston { alpha: None, is_corrected: true }, &[1.0, -1.0], 1).is_err());
}

#[test]
fn a_combination_trusts_the_member_that_was_right() {
    // A week of 4 days: only the longer season is exact.
    let history: Vec<f64> =
        (0..80_u32).map(|row| 9.0 + f64::from(row % 4) * f64::from(1 + row / 4 % 2)).collect();
    let combination = |seasons: &[usize]| Method::Combination {
        seasons: seasons.to_vec(),
        form: Form::Additive,
        backtests: 2,
    };
    let found = forecast(&combination(&[4, 8]), &history, 8).unwrap();
    let exact = forecast(&Method::SeasonalNaive { season: 8 }, &history, 8).unwrap();
    assert!(found.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
    let reason = forecast(&combination(&[4, 48]), &history, 8).unwrap_err();
    assert!(reason.contains("a season of 48 rows needs 96 rows, found 80"), "{reason}");
}

#[test]
fn a_step_beyond_the_horizon_has_no_forecast() {
    let options = ForecastOptions { horizon: 2, method: Method::SeasonalNaive { season: 1 } };
    let model = fit(&options, &[3.0, -4.0]).unwrap();
    let found = model.predict(&Features::new(&[&[1.0, 2.0, 3.0, 0.0, 1.5]]));
    assert!(found[..2].iter().all(|value| (value + 4.0).abs() < 1e-12), "{found:?}");
    assert!(found[2..].iter().all(|value| value.is_nan()), "{found:?}");
}
