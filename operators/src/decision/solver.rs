//! A seeded minimiser within bounds that needs no derivatives and stops after a number of evaluations.
//!
//! 1. A start population: for up to three variables a grid with the bounds on it, else random points; and the
//!    previous solution.
//! 2. Differential evolution (Storn and Price, 1997: rand/1 and current-to-best/1 in turn, binomial crossover) over
//!    the best of them. Candidates of a generation are evaluated together, as one batch.
//! 3. Nelder-Mead from the best point, with the size of the last population; the four candidate moves of a step are
//!    one batch. Repeated from a smaller simplex while evaluations are left.
//!
//! Points compare by Deb's rules (2000): a feasible point beats an infeasible one, feasible points compare by cost,
//! infeasible ones by violation. A cost that is NaN or infinite loses against everything.

use std::cmp::Ordering;

use lineshaft_engine::error::Result;

use crate::model::random::Random;

mod nelder_mead;

/// Least and greatest value of a variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Least value.
    pub lower: f64,
    /// Greatest value, at least `lower`.
    pub upper: f64,
}

/// What is known of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// What is minimised.
    pub cost: f64,
    /// How far the point is from being allowed; zero if it is allowed.
    pub violation: f64,
}

impl Score {
    /// True if the cost is a number.
    pub fn is_usable(&self) -> bool {
        self.cost.is_finite() && !self.violation.is_nan()
    }

    fn compare(&self, other: &Self) -> Ordering {
        let usable = other.is_usable().cmp(&self.is_usable());
        usable.then(self.violation.total_cmp(&other.violation)).then(self.cost.total_cmp(&other.cost))
    }

    fn beats(&self, other: &Self) -> bool {
        self.compare(other).is_lt()
    }
}

/// A point with its score.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// One value a variable, within its range.
    pub point: Vec<f64>,
    /// Its score.
    pub score: Score,
}

/// Scores points, one value a variable each.
pub type Evaluate<'a> = dyn FnMut(&[Vec<f64>]) -> Result<Vec<Score>> + 'a;

/// The best point found, after at most `budget` evaluations. `evaluate` scores points, many at a time.
///
/// # Errors
/// If `evaluate` fails.
pub fn minimize(
    ranges: &[Range],
    previous: Option<&[f64]>,
    seed: u64,
    budget: usize,
    evaluate: &mut Evaluate<'_>,
) -> Result<Candidate> {
    let mut search = Search { ranges, random: Random::new(seed), left: budget.max(1), evaluate };
    let start = search.start(previous);
    let mut population = search.score(start)?;
    population.sort_by(|a, b| a.score.compare(&b.score));
    population.truncate(population_size(ranges.len()));
    search.evolve(&mut population, budget / 3)?;
    let spread = spread(&population);
    let best = population.swap_remove(0);
    search.polish(best, &spread)
}

fn population_size(variables: usize) -> usize {
    (10 * variables).clamp(20, 60)
}

struct Search<'a> {
    ranges: &'a [Range],
    random: Random,
    left: usize,
    evaluate: &'a mut Evaluate<'a>,
}

impl Search<'_> {
    /// Scores as many of the points as the budget allows.
    fn score(&mut self, mut points: Vec<Vec<f64>>) -> Result<Vec<Candidate>> {
        points.truncate(self.left);
        self.left -= points.len();
        if points.is_empty() {
            return Ok(Vec::new());
        }
        let scores = (self.evaluate)(&points)?;
        Ok(points.into_iter().zip(scores).map(|(point, score)| Candidate { point, score }).collect())
    }

    fn start(&mut self, previous: Option<&[f64]>) -> Vec<Vec<f64>> {
        let middle: Vec<f64> = self.ranges.iter().map(|range| range.lower.midpoint(range.upper)).collect();
        let mut points = vec![previous.map_or(middle, |point| self.clamp(point.to_vec()))];
        match self.ranges.len() {
            1 => points.extend(grid(self.ranges, 33)),
            2 => points.extend(grid(self.ranges, 9)),
            3 => points.extend(grid(self.ranges, 5)),
            _ => {}
        }
        for _ in 0..population_size(self.ranges.len()) {
            points.push(self.random_point());
        }
        points
    }

    fn random_point(&mut self) -> Vec<f64> {
        let random = &mut self.random;
        self.ranges.iter().map(|range| between(range, random.unit())).collect()
    }

    fn clamp(&self, mut point: Vec<f64>) -> Vec<f64> {
        for (value, range) in point.iter_mut().zip(self.ranges) {
            *value = value.clamp(range.lower, range.upper);
        }
        point
    }

    /// Differential evolution until `keep` evaluations are left or all points are one. The best point stays first.
    fn evolve(&mut self, population: &mut [Candidate], keep: usize) -> Result<()> {
        while self.left >= keep + population.len() && population.len() >= 4 && !self.is_collapsed(population)
        {
            let trials = (0..population.len()).map(|index| self.trial(population, index)).collect();
            for (member, trial) in population.iter_mut().zip(self.score(trials)?) {
                if !member.score.beats(&trial.score) {
                    *member = trial;
                }
            }
            let best =
                (0..population.len()).min_by(|&a, &b| population[a].score.compare(&population[b].score));
            population.swap(0, best.unwrap_or(0));
        }
        Ok(())
    }

    fn trial(&mut self, population: &[Candidate], index: usize) -> Vec<f64> {
        let n = population.len();
        let [a, b, c] = [0; 3].map(|_| &population[self.random.below(n)].point);
        let (own, best) = (&population[index].point, &population[0].point);
        let weight = 0.5 + 0.4 * self.random.unit();
        let towards_best = self.random.unit() < 0.5;
        let certain = self.random.below(self.ranges.len());
        let mut trial = own.clone();
        for (variable, range) in self.ranges.iter().enumerate() {
            if variable != certain && self.random.unit() > 0.9 {
                continue;
            }
            let step = weight * (b[variable] - c[variable]);
            let moved = if towards_best {
                own[variable] + weight * (best[variable] - own[variable]) + step
            } else {
                a[variable] + step
            };
            trial[variable] = moved.clamp(range.lower, range.upper);
        }
        trial
    }

    /// True if the points differ by rounding only.
    fn is_collapsed(&self, population: &[Candidate]) -> bool {
        let spread = spread(population);
        let pairs = spread.iter().zip(self.ranges);
        pairs.into_iter().all(|(spread, range)| *spread <= 1e-12 * (range.upper - range.lower))
    }
}

/// The point at `share` of the range; never outside it, whatever the rounding.
fn between(range: &Range, share: f64) -> f64 {
    (range.lower * (1.0 - share) + range.upper * share).clamp(range.lower, range.upper)
}

/// All combinations of `steps` values a variable, the bounds among them.
#[expect(clippy::cast_precision_loss, reason = "few steps")]
fn grid(ranges: &[Range], steps: usize) -> Vec<Vec<f64>> {
    let mut points = vec![Vec::new()];
    for range in ranges {
        let values = (0..steps).map(|step| between(range, step as f64 / (steps - 1) as f64));
        let values: Vec<f64> = values.collect();
        let longer =
            |point: &Vec<f64>| values.iter().map(|v| [point.as_slice(), &[*v]].concat()).collect::<Vec<_>>();
        points = points.iter().flat_map(longer).collect();
    }
    points
}

/// Greatest minus least value of each variable.
fn spread(candidates: &[Candidate]) -> Vec<f64> {
    let variables = candidates.first().map_or(0, |candidate| candidate.point.len());
    let extent = |variable: usize| {
        let values = candidates.iter().map(|candidate| candidate.point[variable]);
        let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), v| (l.min(v), m.max(v)));
        most - least
    };
    (0..variables).map(extent).collect()
}

#[cfg(test)]
mod tests;
