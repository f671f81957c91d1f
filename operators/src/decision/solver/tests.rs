use super::*;

type Function = fn(&[f64]) -> f64;
type Case = (&'static str, &'static [(f64, f64)], Function, f64);

fn solve(ranges: &[(f64, f64)], seed: u64, cost: Function, violation: Function) -> (Candidate, usize) {
    let ranges: Vec<Range> = ranges.iter().map(|&(lower, upper)| Range { lower, upper }).collect();
    let mut evaluations = 0;
    let mut evaluate = |points: &[Vec<f64>]| {
        evaluations += points.len();
        assert!(
            points.iter().flatten().zip(ranges.iter().cycle()).all(|(x, r)| (r.lower..=r.upper).contains(x))
        );
        Ok(points.iter().map(|p| Score { cost: cost(p), violation: violation(p).max(0.0) }).collect())
    };
    let best = minimize(&ranges, None, seed, 3_000, &mut evaluate).unwrap();
    (best, evaluations)
}

fn free(_: &[f64]) -> f64 {
    0.0
}

fn branin(p: &[f64]) -> f64 {
    use std::f64::consts::PI;
    let (x, y) = (p[0], p[1]);
    let a = y - 5.1 / (4.0 * PI * PI) * x * x + 5.0 / PI * x - 6.0;
    a * a + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x.cos() + 10.0
}

#[test]
fn known_minima_are_found_to_a_millionth_for_any_seed() {
    let cases: [Case; 6] = [
        ("sphere", &[(-5.0, 7.0); 4], |p| p.iter().map(|x| (x - 1.0).powi(2)).sum::<f64>() + 1.0, 1.0),
        (
            "Rosenbrock",
            &[(-2.0, 2.0); 2],
            |p| 1.0 + 100.0 * (p[1] - p[0] * p[0]).powi(2) + (1.0 - p[0]).powi(2),
            1.0,
        ),
        ("Branin", &[(-5.0, 10.0), (0.0, 15.0)], branin, 0.397_887_357_729_738_16),
        ("at a bound", &[(1.0, 3.0), (-2.0, 2.0)], |p| p[0] + p[1] * p[1], 1.0),
        ("one variable", &[(0.0, 100.0)], |p| (p[0] - 33.3).powi(2) + 2.0, 2.0),
        (
            "badly scaled",
            &[(0.0, 1e6), (0.0, 1e-6)],
            |p| 1.0 + (p[0] / 1e6 - 0.3).powi(2) + (p[1] * 1e6 - 0.7).powi(2),
            1.0,
        ),
    ];
    for (name, ranges, cost, optimum) in cases {
        for seed in 0..20 {
            let (best, evaluations) = solve(ranges, seed, cost, free);
            assert!(best.score.cost - optimum <= 1e-6 * optimum, "{name}, seed {seed}: {best:?}");
            assert!(evaluations <= 3_000);
        }
    }
}

#[test]
fn an_optimum_on_a_constraint_is_found() {
    // The point of x + y >= 1 nearest to the origin: (1/2, 1/2), cost 1/2.
    // And of x y >= 1: (1, 1), cost 2, along a curve.
    let square: Function = |p| p[0] * p[0] + p[1] * p[1];
    let cases: [(Function, f64); 2] = [(|p| 1.0 - p[0] - p[1], 0.5), (|p| 1.0 - p[0] * p[1], 2.0)];
    for (violation, optimum) in cases {
        for seed in 0..20 {
            let (best, _) = solve(&[(0.0, 4.0), (0.0, 3.0)], seed, square, violation);
            assert!(best.score.violation <= 0.0);
            assert!((best.score.cost - optimum).abs() <= 1e-6 * optimum, "seed {seed}: {best:?}");
        }
    }
}

#[test]
fn steps_instead_of_slopes_do_not_stop_it() {
    let stairs: Function = |p| (p[0] * 4.0).floor().abs() + (p[1] * 4.0 - 2.0).floor().abs();
    for seed in 0..20 {
        let (best, _) = solve(&[(-10.0, 10.0); 2], seed, stairs, free);
        assert!(best.score.cost < 0.5, "seed {seed}: {best:?}");
    }
}

#[test]
fn without_an_allowed_point_the_nearest_is_given() {
    let (best, _) = solve(&[(0.0, 1.0)], 3, |p| p[0], |p| 5.0 - p[0]);
    assert!((best.point[0] - 1.0).abs() < 1e-9);
    assert!((best.score.violation - 4.0).abs() < 1e-9);
}

#[test]
fn a_cost_that_is_not_a_number_loses() {
    let (best, _) = solve(&[(-1.0, 1.0)], 3, |p| p[0].sqrt(), free);
    assert!(best.score.cost < 1e-3);
    let (best, _) = solve(&[(-1.0, 1.0)], 3, |_| f64::NAN, free);
    assert!(!best.score.is_usable());
}

#[test]
fn a_variable_without_room_stays_where_it_is() {
    let (best, _) = solve(&[(2.0, 2.0), (0.0, 1.0)], 1, |p| (p[1] - 0.25).powi(2), free);
    assert_eq!(best.point[0].to_bits(), 2.0_f64.to_bits());
    assert!((best.point[1] - 0.25).abs() < 1e-5);
}

#[test]
fn the_same_seed_gives_the_same_point() {
    let solve = |seed| solve(&[(-5.0, 10.0), (0.0, 15.0)], seed, branin, free);
    assert_eq!(solve(1), solve(1));
}
