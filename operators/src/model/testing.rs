//! Test helper: rows of three classes, the same as in `tests/fixtures/models_expected.py`.

/// Two features of twenty rows, and the class of each.
pub(super) fn plant() -> (Vec<Vec<f64>>, Vec<u32>) {
    let class: Vec<u32> = (0..20).map(|i| i % 3).collect();
    let a = (0..20_u32).map(|i| f64::from(i + 5 * (i % 3))).collect();
    let b = (0..20_u32).map(|i| f64::from((i * 7) % 5)).collect();
    (vec![a, b], class)
}

/// Three rows of which nothing was learned.
pub(super) fn unseen() -> Vec<Vec<f64>> {
    vec![vec![4.0, 15.0, 30.0], vec![2.0, 1.0, 3.0]]
}
