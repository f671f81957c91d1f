//! Signals for tests, and what NumPy and SciPy make of them (`tests/fixtures/features_expected.py`).

use std::f64::consts::TAU;

use crate::testing::units;

const EXPECTED: &str = include_str!("../../../tests/fixtures/features_expected.txt");

/// Compares a feature of every signal with the value in the fixture; `null` there is `None` here.
pub(super) fn check(feature: &str, kernel: impl Fn(&[f64]) -> Option<f64>) {
    let mut checked = 0;
    for line in EXPECTED.lines() {
        let mut words = line.split(' ');
        if words.next() != Some(feature) {
            continue;
        }
        let name = words.next().unwrap();
        let expected = words.next().unwrap().parse::<f64>().ok();
        let found = kernel(&signal(name));
        assert!(close(found, expected), "{feature} of {name}: {found:?}, expected {expected:?}");
        checked += 1;
    }
    assert!(checked >= 7, "{feature}: {checked} values in the fixture");
}

pub(super) fn assert_close(found: Option<f64>, expected: Option<f64>) {
    assert!(close(found, expected), "{found:?}, expected {expected:?}");
}

fn close(found: Option<f64>, expected: Option<f64>) -> bool {
    match (found, expected) {
        // Relative, except around zero, where a sum of a thousand samples leaves some 1e-13.
        (Some(found), Some(expected)) => (found - expected).abs() <= 1e-9 * expected.abs() + 1e-12,
        (found, expected) => found == expected,
    }
}

/// Times that are not evenly spaced: sample `i` at `i * 100 ms + (i * i % 7) * 10 ms`, in microseconds.
pub(super) fn times(n: usize) -> Vec<i64> {
    (0..i64::try_from(n).unwrap()).map(|i| i * 100_000 + (i * i % 7) * 10_000).collect()
}

fn signal(name: &str) -> Vec<f64> {
    match name {
        "noise" => noise(1000),
        "offset" => noise(1000).into_iter().map(|x| 1e6 + x).collect(),
        "sine" => (0..1024).map(|i| 0.3 + 2.0 * (0.5 + TAU * 50.0 * f64::from(i) / 1024.0).sin()).collect(),
        "ramp" => (0..50).map(|i| f64::from(i * i) / 10.0 - 40.0).collect(),
        "constant" => vec![2.5; 50],
        "two" => vec![-1.5, 4.0],
        "one" => vec![3.25],
        "empty" => vec![],
        _ => panic!("no signal {name}"),
    }
}

/// Numbers in [-0.5, 0.5).
fn noise(n: usize) -> Vec<f64> {
    let mut unit = units(7);
    (0..n).map(|_| unit() - 0.5).collect()
}
