//! Control charts of subgroups and of counts, with limits from the first of them.
//!
//! All give how far a subgroup is from the centre in standard deviations of what is charted: the process is out of control beyond 3,
//! and the rules of Western Electric and of Nelson apply with mean 0 and sigma 1. `None` for the subgroups that the centre is learned
//! from.
//!
//! - Source: Montgomery, "Introduction to statistical quality control" (7th ed.), 6.2 (means and ranges), 7.2 (p), 7.3 (u).

use serde::{Deserialize, Serialize};

use super::{Step, number};

/// Mean and standard deviation of the range of so many standard normal values, from 2 on: d2 and d3
/// (`tests/fixtures/range_of_normals.py`).
const RANGES: [(f64, f64); 24] = [
    (std::f64::consts::FRAC_2_SQRT_PI, 0.852502466),
    (1.692568751, 0.888368004),
    (2.058750746, 0.879808203),
    (2.325928947, 0.864081941),
    (2.534412721, 0.848039686),
    (2.704356751, 0.833205336),
    (2.847200612, 0.819831490),
    (2.970026324, 0.807834275),
    (3.077505462, 0.797050674),
    (3.172872704, 0.787314621),
    (3.258455280, 0.778478341),
    (3.335980354, 0.770416202),
    (3.406763108, 0.763023096),
    (3.471826890, 0.756211430),
    (3.531982786, 0.749908089),
    (3.587883962, 0.744051784),
    (3.640063758, 0.738590853),
    (3.688963023, 0.733481496),
    (3.734950120, 0.728686346),
    (3.778335830, 0.724173341),
    (3.819384643, 0.719914808),
    (3.858323423, 0.715886735),
    (3.895348148, 0.712068175),
    (3.930629220, 0.708440766),
];

/// What is charted of each subgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Charted {
    /// `[mean, range]` of subgroups of `size` values: the mean, by the mean range; limits at `A2` times that.
    Mean {
        /// From 2 to 25.
        size: usize,
    },
    /// `[range]` of such subgroups: the range; limits at `D3` and `D4` times the mean range.
    Range {
        /// From 2 to 25.
        size: usize,
    },
    /// `[defective, inspected]`: the share of defective pieces, p.
    Share,
    /// `[defects, units]`: the number of defects per unit, u.
    Rate,
}

/// A chart of subgroups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubgroupChart {
    charted: Charted,
    /// Subgroups that the centre is learned from.
    groups: usize,
    seen: usize,
    /// Of those, of both arguments.
    sums: [f64; 2],
}

impl SubgroupChart {
    /// With the centre from so many first subgroups, at least 2; `None` for subgroups of a size without a number here.
    pub fn new(charted: Charted, groups: usize) -> Option<Self> {
        let is_size = match charted {
            Charted::Mean { size } | Charted::Range { size } => ranges(size).is_some(),
            Charted::Share | Charted::Rate => true,
        };
        (is_size && groups >= 2).then_some(Self { charted, groups, seen: 0, sums: [0.0; 2] })
    }

    /// In standard deviations, from what was summed up.
    fn distance(&self, x: &[f64]) -> Option<f64> {
        let n = number(self.groups);
        let [first, second] = self.sums;
        match self.charted {
            Charted::Mean { size } => {
                let sigma = second / n / ranges(size)?.0 / number(size).sqrt();
                Some((x[0] - first / n) / sigma)
            }
            Charted::Range { size } => {
                let (d2, d3) = ranges(size)?;
                Some((x[0] - first / n) / (first / n * d3 / d2))
            }
            Charted::Share => {
                let p = first / second;
                Some((x[0] / x[1] - p) / (p * (1.0 - p) / x[1]).sqrt())
            }
            Charted::Rate => {
                let u = first / second;
                Some((x[0] / x[1] - u) / (u / x[1]).sqrt())
            }
        }
    }

    /// A range or a count below zero, or a part of nothing, is none.
    fn is_valid(&self, x: &[f64]) -> bool {
        match (self.charted, x) {
            (Charted::Mean { .. }, [_, range]) | (Charted::Range { .. }, [range]) => *range >= 0.0,
            (Charted::Share, [part, all]) => *part >= 0.0 && all >= part && *all > 0.0,
            (Charted::Rate, [defects, units]) => *defects >= 0.0 && *units > 0.0,
            _ => false,
        }
    }
}

fn ranges(size: usize) -> Option<(f64, f64)> {
    RANGES.get(size.checked_sub(2)?).copied()
}

impl Step for SubgroupChart {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        if !self.is_valid(x) {
            return None;
        }
        if self.seen == self.groups {
            return self.distance(x);
        }
        self.seen += 1;
        self.sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::numbers;
    use super::*;
    use crate::testing::units;

    /// Subgroups of five: mean and range; and of counts: a part, and of how many.
    fn subgroups() -> Vec<[f64; 4]> {
        let mut unit = units(3);
        let mut row = |i: u32| {
            let drift = if i < 60 { 0.0 } else { 0.4 };
            let values: Vec<f64> = (0..5).map(|_| unit() + drift).collect();
            let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let all = 50.0 + f64::from(i % 7) * 10.0;
            [values.iter().sum::<f64>() / 5.0, greatest - least, (unit() * 0.2 * all).floor(), all]
        };
        (0..100).map(&mut row).collect()
    }

    #[test]
    fn charts_of_subgroups_are_those_of_numpy() {
        type Pick = fn(&[f64; 4]) -> Vec<f64>;
        let charts: [(&str, Charted, Pick); 4] = [
            ("xbar_chart", Charted::Mean { size: 5 }, |row| vec![row[0], row[1]]),
            ("range_chart", Charted::Range { size: 5 }, |row| vec![row[1]]),
            ("p_chart", Charted::Share, |row| vec![row[2], row[3]]),
            ("u_chart", Charted::Rate, |row| vec![row[2], row[3]]),
        ];
        for (name, charted, pick) in charts {
            let mut chart = SubgroupChart::new(charted, 25).unwrap();
            let found: Vec<f64> = subgroups().iter().filter_map(|row| chart.step(&pick(row), 0)).collect();
            let expected = numbers(name);
            assert_eq!(found.len(), expected.len(), "{name}");
            let is_same = found.iter().zip(&expected).all(|(f, e)| (f - e).abs() <= 1e-9 * e.abs().max(1.0));
            assert!(is_same, "{name}: {found:?}");
        }
    }

    #[test]
    fn factors_are_those_of_the_tables() {
        // A2, D4 of subgroups of 5 and D3 of 10, as they are printed.
        let (d2, d3) = ranges(5).unwrap();
        assert!((3.0 / (d2 * 5.0_f64.sqrt()) - 0.577).abs() < 5e-4);
        assert!((1.0 + 3.0 * d3 / d2 - 2.114).abs() < 5e-4);
        let (d2, d3) = ranges(10).unwrap();
        assert!((1.0 - 3.0 * d3 / d2 - 0.223).abs() < 5e-4);
        assert_eq!(SubgroupChart::new(Charted::Range { size: 26 }, 25), None);
        assert_eq!(SubgroupChart::new(Charted::Share, 1), None);
    }

    #[test]
    fn what_is_no_count_changes_nothing() {
        let mut chart = SubgroupChart::new(Charted::Share, 2).unwrap();
        let before = chart.clone();
        for row in [[-1.0, 10.0], [11.0, 10.0], [0.0, 0.0]] {
            assert_eq!(chart.step(&row, 0), None);
        }
        assert_eq!(chart, before);
    }
}
