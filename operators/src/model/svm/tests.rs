use super::super::matrix::slices;
use super::super::testing::{plant, unseen};
use super::*;

fn options(kernel: Kernel) -> SvmOptions {
    SvmOptions { kernel, c: 10.0, epsilon: 0.05 }
}

const GAMMA: Option<f64> = Some(0.5);

/// Kernel; of scikit-learn the pairs (0, 1), (0, 2), (1, 2) for each row, and the regression.
fn expected() -> [(Kernel, [[f64; 3]; 3], [f64; 3]); 3] {
    [
        (
            Kernel::Rbf { gamma: GAMMA },
            [
                [0.6122797115242666, 1.0118170584080213, 0.9217993690835284],
                [-0.23443420454715103, -0.14877180488719255, 0.3813260548674285],
                [-0.6124734822951504, -0.878383216645354, -0.6972454065295226],
            ],
            [8.973630620280835, 24.535024153481647, 23.821340237173214],
        ),
        (
            Kernel::Linear,
            [
                [0.7506033774371765, 1.4057489962744767, 1.6613032831900703],
                [-0.23572003650277834, -0.45273631506782175, 0.6749798778580562],
                [-2.073209985474119, -1.9718075927503431, -1.1625100550769407],
            ],
            [2.89643232299661, 21.249760905527257, 34.369772530405235],
        ),
        (
            Kernel::Polynomial { gamma: GAMMA, degree: 2, coef0: 1.0 },
            [
                [0.5825028439683266, 1.2537498734214994, 1.095861593830581],
                [-0.4387145430595137, -0.37087445975145483, 0.7908346933729478],
                [-1.2880719958746631, -2.259047511344318, -0.946102565810678],
            ],
            [6.176311421719387, 22.992343805731004, 35.09126435969804],
        ),
    ]
}

/// The tolerance of the solver, not of the arithmetic.
fn is_close(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-5 * expected.abs().max(1.0)
}

#[test]
fn margins_are_those_of_scikit_learn() {
    let (x, class) = plant();
    let unseen = unseen();
    let slices = slices(&unseen);
    let features = Features::new(&slices);
    for (kernel, pairs, _) in expected() {
        let model = fit_classes(&options(kernel), &x, &class, 3).unwrap();
        assert_eq!(model.predict(&features), [0.0, 1.0, 2.0]);
        for (row, expected) in pairs.iter().enumerate() {
            let found = model.functions(&features, row);
            // There the first class is above zero if there are more than two.
            let is_same = found.iter().zip(expected).all(|(found, expected)| is_close(-found, *expected));
            assert!(is_same, "{kernel:?}, row {row}: {found:?}");
        }
    }
}

#[test]
fn tubes_are_those_of_scikit_learn() {
    let (x, _) = plant();
    let y: Vec<f64> = (0..20_u32)
        .map(|i| f64::from(2 * i) - 3.0 * f64::from((i * 7) % 5) + 0.1 * f64::from((i * 3) % 7) + 4.0)
        .collect();
    let unseen = unseen();
    let slices = slices(&unseen);
    for (kernel, _, expected) in expected() {
        let model = fit_numbers(&options(kernel), &x, &y).unwrap();
        let found = model.predict(&Features::new(&slices));
        let is_same = found.iter().zip(expected).all(|(found, expected)| is_close(*found, expected));
        assert!(is_same, "{kernel:?}: {found:?}");
    }
}

#[test]
fn two_classes_have_a_decision_that_is_above_zero_for_the_second() {
    let x = vec![vec![0.0, 1.0, 2.0, 7.0, 8.0, 9.0]];
    let model = fit_classes(&options(Kernel::Linear), &x, &[0, 0, 0, 1, 1, 1], 2).unwrap();
    let unseen = [vec![1.0, 4.5, 8.0, f64::INFINITY]];
    let slices = slices(&unseen);
    let features = Features::new(&slices);
    let decision = model.value("decision", &features).unwrap();
    assert!(decision[0] < -1.0 && decision[1].abs() < 1e-6 && decision[2] > 1.0, "{decision:?}");
    let predicted = model.predict(&features);
    assert!((predicted[0], predicted[2]) == (0.0, 1.0) && predicted[3].is_nan(), "{predicted:?}");
    assert_eq!(model.vectors.len(), 2, "only the rows at the margin are kept");
}

#[test]
fn the_same_rows_give_the_same_bits() {
    let (x, class) = plant();
    let fit = || fit_classes(&options(Kernel::Rbf { gamma: None }), &x, &class, 3).unwrap();
    assert_eq!(fit(), fit());
}
