//! The rules of Western Electric and of Nelson: patterns of a control chart that chance seldom makes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Step;

/// The last points of a chart, in standard deviations from the mean, the newest one first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Points(VecDeque<f64>);

/// The most points that a rule looks at.
const LONGEST: usize = 15;

impl Points {
    /// Adds a point; false if `sigma` is not above 0.
    fn push(&mut self, x: &[f64]) -> bool {
        let [x, mean, sigma] = *x else { return false };
        if sigma <= 0.0 {
            return false;
        }
        self.0.truncate(LONGEST - 1);
        self.0.push_front((x - mean) / sigma);
        true
    }

    fn last(&self, n: usize) -> Option<impl Iterator<Item = f64> + Clone> {
        (self.0.len() >= n).then(|| self.0.iter().take(n).copied())
    }

    fn all(&self, n: usize, is: impl Fn(f64) -> bool) -> bool {
        self.last(n).is_some_and(|mut points| points.all(is))
    }

    /// True if the newest point and so many of the last `n` are beyond `distance` on its side.
    fn beyond(&self, many: usize, n: usize, distance: f64) -> bool {
        [1.0, -1.0].into_iter().any(|side| {
            let is_beyond = |z: &f64| side * z > distance;
            self.0.front().is_some_and(is_beyond)
                && self.0.iter().take(n).filter(|z| is_beyond(z)).count() >= many
        })
    }

    fn on_one_side(&self, n: usize) -> bool {
        self.all(n, |z| z > 0.0) || self.all(n, |z| z < 0.0)
    }

    /// The steps between the last `n` points, the newest one first.
    fn steps(&self, n: usize) -> Option<impl Iterator<Item = f64> + Clone> {
        let points = self.last(n)?;
        Some(points.clone().zip(points.skip(1)).map(|(new, old)| new - old))
    }

    fn rises_or_falls(&self, n: usize) -> bool {
        let Some(mut steps) = self.steps(n) else { return false };
        steps.clone().all(|step| step > 0.0) || steps.all(|step| step < 0.0)
    }

    fn alternates(&self, n: usize) -> bool {
        let Some(steps) = self.steps(n) else { return false };
        steps.clone().zip(steps.skip(1)).all(|(a, b)| (a > 0.0 && b < 0.0) || (a < 0.0 && b > 0.0))
    }
}

/// The number of the first rule that is broken.
fn first(rules: impl IntoIterator<Item = bool>) -> Option<f64> {
    (1..).zip(rules).find(|(_, is_broken)| *is_broken).map(|(rule, _)| f64::from(rule))
}

/// The first rule that a row of `[x, mean, sigma]` breaks: 1, beyond 3 sigma; 2, two of three beyond 2 sigma on one side; 3,
/// four of five beyond 1 sigma on one side; 4, eight in a row on one side.
///
/// `None` if it breaks none, or `sigma` is not above 0; such a row changes nothing. The newest point is itself beyond. Source:
/// Western Electric, "Statistical Quality Control Handbook" (1956); NIST/SEMATECH e-Handbook, 6.3.2.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WesternElectric {
    points: Points,
}

impl Step for WesternElectric {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        let Self { points } = self;
        if !points.push(x) {
            return None;
        }
        first([
            points.beyond(1, 1, 3.0),
            points.beyond(2, 3, 2.0),
            points.beyond(4, 5, 1.0),
            points.on_one_side(8),
        ])
    }
}

/// The first rule that a row of `[x, mean, sigma]` breaks: 1, beyond 3 sigma; 2, nine in a row on one side; 3, six in a row that
/// rise or fall; 4, fourteen in a row that alternate; 5, two of three beyond 2 sigma on one side; 6, four of five beyond 1
/// sigma on one side; 7, fifteen in a row within 1 sigma; 8, eight in a row beyond 1 sigma on either side.
///
/// `None` as [`WesternElectric`]. Source: Nelson, "The Shewhart control chart - tests for special causes", J. Qual. Technol.
/// 16 (1984).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Nelson {
    points: Points,
}

impl Step for Nelson {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        let Self { points } = self;
        if !points.push(x) {
            return None;
        }
        first([
            points.beyond(1, 1, 3.0),
            points.on_one_side(9),
            points.rises_or_falls(6),
            points.alternates(14),
            points.beyond(2, 3, 2.0),
            points.beyond(4, 5, 1.0),
            points.all(15, |z| z.abs() < 1.0),
            points.all(8, |z| z.abs() > 1.0),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::whole;
    use super::*;

    fn rules(mut function: impl Step, points: &[f64]) -> Vec<i64> {
        let points = points.iter().map(|z| [10.0 + 2.0 * z, 10.0, 2.0]);
        points.map(|x| function.step(&x, 0).map_or(0, whole)).collect()
    }

    #[test]
    fn rules_are_those_of_numpy() {
        check("western_electric", &WesternElectric::default().into());
        check("nelson", &Nelson::default().into());
    }

    #[test]
    fn each_rule_of_western_electric_is_found() {
        let found = |points: &[f64]| rules(WesternElectric::default(), points);
        assert_eq!(found(&[0.5, -3.1, 0.0]), [0, 1, 0]);
        assert_eq!(found(&[2.1, 0.0, 2.5]), [0, 0, 2]);
        assert_eq!(found(&[1.5, 1.5, 0.0, 1.5, 1.5, -1.5]), [0, 0, 0, 0, 3, 0]);
        assert_eq!(found(&[0.5; 8]), [0, 0, 0, 0, 0, 0, 0, 4]);
    }

    #[test]
    fn each_rule_of_nelson_is_found_at_its_last_point() {
        let cases: [(i64, Vec<f64>); 8] = [
            (1, vec![3.5]),
            (2, vec![0.5, 0.4, 0.5, 0.4, 0.4, 0.5, 0.5, 0.3, 0.3]),
            (3, vec![-0.9, -0.5, 0.1, 0.2, 0.3, 0.4]),
            (4, [0.5, -0.5].repeat(7)),
            (5, vec![-2.5, 0.1, -2.5]),
            (6, vec![1.5, 1.6, 0.1, 1.7, 1.5]),
            (7, [0.1, 0.1, -0.1].repeat(5)),
            (8, [1.5, -1.5, -1.6, 1.6].repeat(2)),
        ];
        for (rule, points) in cases {
            let found = rules(Nelson::default(), &points);
            assert_eq!(found.last(), Some(&rule), "{points:?}");
            assert!(found[..found.len() - 1].iter().all(|rule| *rule == 0), "{found:?}");
        }
    }

    #[test]
    fn the_rules_of_western_electric_run_as_long_as_the_published_ones() {
        // Champ, Woodall (1987): 91.75 rows until the first false alarm.
        let found = run_length(6000, 0.0, || {
            let mut rules = WesternElectric::default();
            move |z| rules.step(&[z, 0.0, 1.0], 0).is_some()
        });
        assert!((found - 91.75).abs() < 4.0, "{found}");
    }
}
