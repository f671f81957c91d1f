//! The quadratic program of support vectors, two variables at a time.
//!
//! Minimises `a' Q a / 2 + p' a` with `0 <= a <= c` and `y' a = 0`, where `Q_ij = y_i y_j K(i, j)`.
//!
//! - Source: Fan, Chen, Lin, "Working set selection using second order information for training support vector machines",
//!   JMLR 6 (2005): the pair with the greatest violation and, for it, the greatest decrease of the second order.
//! - Deterministic: the same rows in the same order give the same bits.

/// A pair violates the conditions of the optimum by no more than this.
const TOLERANCE: f64 = 1e-6;
/// In place of a curvature that is not above zero.
const LEAST_CURVATURE: f64 = 1e-12;
/// Kernel rows that are kept take no more than this many numbers: 128 MiB.
const MOST_KEPT: usize = 16 << 20;
/// Steps after which it is given up, for each variable.
const STEPS: usize = 1_000;

/// One program.
pub(super) struct Problem<'a> {
    /// `K(i, j)` for all rows j; variables may be more than rows, as `row_of` says.
    pub(super) kernel: &'a dyn Fn(usize) -> Vec<f64>,
    /// The row of each variable.
    pub(super) row_of: Vec<usize>,
    /// 1 or -1.
    pub(super) signs: Vec<f64>,
    pub(super) linear: Vec<f64>,
    pub(super) limit: f64,
}

/// `y_i a_i` of each variable, and the number that is subtracted from the sum over them.
pub(super) struct Solution {
    pub(super) weights: Vec<f64>,
    pub(super) offset: f64,
}

/// Kernel rows that were computed last.
struct Rows<'a> {
    compute: &'a dyn Fn(usize) -> Vec<f64>,
    kept: Vec<Option<std::rc::Rc<Vec<f64>>>>,
    order: std::collections::VecDeque<usize>,
    most: usize,
}

impl Rows<'_> {
    fn get(&mut self, row: usize) -> std::rc::Rc<Vec<f64>> {
        if let Some(known) = &self.kept[row] {
            return std::rc::Rc::clone(known);
        }
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept[oldest] = None;
        }
        let values = std::rc::Rc::new((self.compute)(row));
        self.kept[row] = Some(std::rc::Rc::clone(&values));
        self.order.push_back(row);
        values
    }
}

impl Problem<'_> {
    /// Solves it.
    ///
    /// # Errors
    /// If it takes too many steps, as where features are of very different size.
    pub(super) fn solve(&self) -> Result<Solution, String> {
        let variables = self.signs.len();
        let rows = self.row_of.iter().max().map_or(0, |last| last + 1);
        let most = (MOST_KEPT / rows.max(1)).max(2);
        let mut cache = Rows { compute: self.kernel, kept: vec![None; rows], order: [].into(), most };
        let diagonal: Vec<f64> = (0..rows).map(|row| (self.kernel)(row)[row]).collect();
        let (mut a, mut gradient) = (vec![0.0; variables], self.linear.clone());
        for _ in 0..STEPS * variables.max(100) {
            let Some((i, greatest)) = self.most_violating(&a, &gradient) else { break };
            let row = cache.get(self.row_of[i]);
            let (j, least) = self.partner(i, greatest, &row, &diagonal, &a, &gradient);
            let Some(j) = j.filter(|_| greatest - least > TOLERANCE) else {
                return Ok(self.solution(&a, &gradient));
            };
            let other = cache.get(self.row_of[j]);
            let before = (a[i], a[j]);
            self.step((i, j), row[self.row_of[j]], &diagonal, &mut a, &gradient);
            let (di, dj) = (self.signs[i] * (a[i] - before.0), self.signs[j] * (a[j] - before.1));
            for (t, gradient) in gradient.iter_mut().enumerate() {
                *gradient += self.signs[t] * (row[self.row_of[t]] * di + other[self.row_of[t]] * dj);
            }
        }
        Err("the margin was not found in many steps; choose a smaller c, or fewer or scaled features"
            .to_owned())
    }

    fn can_rise(&self, t: usize, a: &[f64]) -> bool {
        if self.signs[t] > 0.0 { a[t] < self.limit } else { a[t] > 0.0 }
    }

    fn can_fall(&self, t: usize, a: &[f64]) -> bool {
        if self.signs[t] > 0.0 { a[t] > 0.0 } else { a[t] < self.limit }
    }

    /// The variable with the greatest `-y G` of those that can rise.
    fn most_violating(&self, a: &[f64], gradient: &[f64]) -> Option<(usize, f64)> {
        let rising = (0..a.len()).filter(|&t| self.can_rise(t, a));
        let slopes = rising.map(|t| (t, -self.signs[t] * gradient[t]));
        slopes.reduce(|best, found| if found.1 > best.1 { found } else { best })
    }

    /// The variable that goes down with `i`, and the least `-y G` of those that can fall.
    fn partner(
        &self,
        i: usize,
        greatest: f64,
        row: &[f64],
        diagonal: &[f64],
        a: &[f64],
        gradient: &[f64],
    ) -> (Option<usize>, f64) {
        let (mut best, mut least, mut gain) = (None, f64::INFINITY, 0.0);
        for t in (0..a.len()).filter(|&t| self.can_fall(t, a)) {
            let slope = -self.signs[t] * gradient[t];
            least = least.min(slope);
            let difference = greatest - slope;
            if difference > 0.0 {
                let (k, l) = (self.row_of[i], self.row_of[t]);
                let curvature = (diagonal[k] + diagonal[l] - 2.0 * row[l]).max(LEAST_CURVATURE);
                if difference * difference / curvature > gain {
                    gain = difference * difference / curvature;
                    best = Some(t);
                }
            }
        }
        (best, least)
    }

    /// The best values of two variables while the others stay.
    fn step(&self, (i, j): (usize, usize), between: f64, diagonal: &[f64], a: &mut [f64], gradient: &[f64]) {
        let (k, l) = (self.row_of[i], self.row_of[j]);
        let curvature = (diagonal[k] + diagonal[l] - 2.0 * between).max(LEAST_CURVATURE);
        let (yi, yj) = (self.signs[i], self.signs[j]);
        let slope = -yi * gradient[i] + yj * gradient[j];
        // Along the line y_i a_i + y_j a_j = constant.
        let most = |t: usize, sign: f64| if sign > 0.0 { self.limit - a[t] } else { a[t] };
        let length = (slope / curvature).min(most(i, yi)).min(most(j, -yj));
        a[i] = (a[i] + yi * length).clamp(0.0, self.limit);
        a[j] = (a[j] - yj * length).clamp(0.0, self.limit);
    }

    fn solution(&self, a: &[f64], gradient: &[f64]) -> Solution {
        let slopes = || (0..a.len()).map(|t| (t, self.signs[t] * gradient[t]));
        let free: Vec<f64> =
            slopes().filter(|(t, _)| a[*t] > 0.0 && a[*t] < self.limit).map(|(_, slope)| slope).collect();
        let offset = if free.is_empty() {
            let upper = slopes().filter(|(t, _)| self.can_rise(*t, a)).map(|(_, s)| s);
            let lower = slopes().filter(|(t, _)| self.can_fall(*t, a)).map(|(_, s)| s);
            f64::midpoint(upper.fold(f64::INFINITY, f64::min), lower.fold(f64::NEG_INFINITY, f64::max))
        } else {
            free.iter().sum::<f64>() / super::number(free.len())
        };
        let weights = a.iter().zip(&self.signs).map(|(a, sign)| a * sign).collect();
        Solution { weights, offset }
    }
}
