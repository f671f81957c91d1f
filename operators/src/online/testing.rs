//! A signal for tests, and what NumPy, SciPy, pandas and river make of it (`tests/fixtures/online_expected.py`).

use std::f64::consts::TAU;

use super::Online;
use crate::testing::units;

const EXPECTED: &str = include_str!("../../../tests/fixtures/online_expected.txt");

/// Compares the values of all rows with those in the fixture, straight through and with a restart at every seventh row.
pub(super) fn check(name: &str, function: &Online) {
    let expected = EXPECTED.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let expected: Vec<Option<f64>> = expected.unwrap().split(' ').map(|word| word.parse().ok()).collect();
    let (mut straight, mut restarted) = (function.clone(), function.clone());
    let rows = rows();
    assert_eq!(rows.len(), expected.len(), "{name}");
    for (row, ((time, x), expected)) in rows.iter().zip(expected).enumerate() {
        // Target or mean, then k or sigma: for the functions that take them.
        let inputs: &[f64] = match function {
            // What is learned, and two features between 0 and 1.
            Online::RecursiveLeastSquares(_) | Online::Sgd(_) => &[*x, features(row)[0], features(row)[1]],
            Online::HalfSpaceTrees(_) if x.is_finite() => &features(row),
            // A prediction that is 0.
            Online::Conformal(_) if x.is_finite() => &[*x, 0.0],
            Online::Cusum(_) | Online::EwmaChart(_) | Online::WesternElectric(_) | Online::Nelson(_) => {
                &[*x, 0.25, 0.75]
            }
            _ => &[*x],
        };
        let found = straight.next(inputs, *time);
        assert!(is_close(found, expected), "{name}, row {row}: {found:?}, expected {expected:?}");
        if row % 7 == 0 {
            restarted = postcard::from_bytes(&postcard::to_allocvec(&restarted).unwrap()).unwrap();
        }
        assert_eq!(restarted.next(inputs, *time).map(f64::to_bits), found.map(f64::to_bits), "{name}");
    }
}

/// Numbers of the fixture.
pub(super) fn numbers(name: &str) -> Vec<f64> {
    let line = EXPECTED.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().split(' ').map(|word| word.parse().unwrap()).collect()
}

/// Two features of a row, between 0 and 1.
fn features(row: usize) -> [f64; 2] {
    [super::number(row * 7 % 11) / 11.0, super::number(row * row % 13) / 13.0]
}

fn is_close(found: Option<f64>, expected: Option<f64>) -> bool {
    match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= 1e-9 * expected.abs() + 1e-12,
        (found, expected) => found == expected,
    }
}

/// 200 rows with times in microseconds: a slow wave, noise, an outlier, some equal values, NaN, a step and a drift.
fn rows() -> Vec<(i64, f64)> {
    let mut unit = units(7);
    let mut row = |i: i32| {
        let noise = unit() - 0.5;
        let wave = (TAU * f64::from(i) / 40.0).sin();
        let x = match i {
            20 => 9.0,
            30 | 31 => f64::NAN,
            50..=55 => 0.5,
            120..=160 => wave + noise + 2.0,
            161.. => noise + f64::from(i - 160) / 20.0,
            _ => wave + noise,
        };
        (i64::from(i) * 100_000 + i64::from(i * i % 7) * 10_000, x)
    };
    (0..200).map(&mut row).collect()
}

/// The mean number of standard normal rows, shifted, until a chart alarms.
pub(super) fn run_length<C: FnMut(f64) -> bool>(runs: u32, shift: f64, chart: impl Fn() -> C) -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut uniform = || {
        // Vigna's xorshift64*.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let bits = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (f64::from(u32::try_from(bits).unwrap()) + 0.5) / 4_294_967_296.0
    };
    let mut normal = || (-2.0 * uniform().ln()).sqrt() * (TAU * uniform()).cos();
    let mut rows = 0_u64;
    for _ in 0..runs {
        let mut alarms = chart();
        loop {
            rows += 1;
            if alarms(shift + normal()) {
                break;
            }
        }
    }
    super::number(usize::try_from(rows).unwrap()) / f64::from(runs)
}
