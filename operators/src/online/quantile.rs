//! A quantile of all rows so far in a few numbers.

use serde::{Deserialize, Serialize};

use super::Step;

/// An estimate of a quantile of the rows so far by the P2 algorithm: five markers that move towards where they should be.
/// `None` for the first five rows, which are the markers.
///
/// Source: Jain, Chlamtac, "The P2 algorithm for dynamic calculation of quantiles and histograms without storing observations",
/// CACM 28 (1985). There is no bound of its error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningQuantile {
    p: f64,
    heights: [f64; 5],
    positions: [f64; 5],
    /// Where the three inner markers should be. Added up row by row as in river: rounding decides when a marker moves.
    desired: [f64; 3],
    rows: usize,
}

impl RunningQuantile {
    /// The quantile `p` in (0, 1).
    pub fn new(p: f64) -> Option<Self> {
        let positions = [1.0, 2.0, 3.0, 4.0, 5.0];
        let desired = [1.0 + 2.0 * p, 1.0 + 4.0 * p, 3.0 + 2.0 * p];
        (p > 0.0 && p < 1.0).then_some(Self { p, heights: [0.0; 5], positions, desired, rows: 0 })
    }

    /// Moves the markers above a value, which becomes one of the outer two where it is beyond them.
    fn place(&mut self, x: f64) {
        self.heights[0] = self.heights[0].min(x);
        // Without a branch: where a value falls cannot be foretold.
        let mut is_above = false;
        for (height, position) in self.heights.iter().zip(&mut self.positions).take(4) {
            is_above |= x < *height;
            *position += f64::from(u8::from(is_above));
        }
        self.positions[4] += 1.0;
        self.heights[4] = self.heights[4].max(x);
    }

    /// Moves a marker by one row if it is that far from where it should be.
    fn adjust(&mut self, i: usize, desired: f64) {
        let distance = desired - self.positions[i];
        let (left, right) =
            (self.positions[i - 1] - self.positions[i], self.positions[i + 1] - self.positions[i]);
        if !((distance >= 1.0 && right > 1.0) || (distance <= -1.0 && left < -1.0)) {
            return;
        }
        let d = distance.signum();
        let [low, height, high] = [self.heights[i - 1], self.heights[i], self.heights[i + 1]];
        let (up, down) = ((high - height) / right, (low - height) / left);
        let parabolic = height + d / (right - left) * ((d - left) * up + (right - d) * down);
        let linear = height + d * if d > 0.0 { up } else { down };
        self.heights[i] = if low < parabolic && parabolic < high { parabolic } else { linear };
        self.positions[i] += d;
    }
}

impl Step for RunningQuantile {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        self.rows += 1;
        if self.rows <= 5 {
            self.heights[self.rows - 1] = x[0];
            self.heights[..self.rows].sort_unstable_by(f64::total_cmp);
            return None;
        }
        self.place(x[0]);
        let shares = [self.p / 2.0, self.p, f64::midpoint(1.0, self.p)];
        for (i, share) in shares.into_iter().enumerate() {
            self.desired[i] += share;
            self.adjust(i + 1, self.desired[i]);
        }
        Some(self.heights[2])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn quantiles_are_those_of_river() {
        check("running_quantile_50", &RunningQuantile::new(0.5).unwrap().into());
        check("running_quantile_90", &RunningQuantile::new(0.9).unwrap().into());
    }

    #[test]
    fn a_quantile_of_many_rows_is_near_the_true_one() {
        let mut quantile = RunningQuantile::new(0.9).unwrap();
        let mut random = crate::model::random::Random::new(3);
        let found = (0..20_000).filter_map(|_| quantile.step(&[random.unit()], 0)).last().unwrap();
        assert!((found - 0.9).abs() < 0.01, "{found}");
        assert_eq!((RunningQuantile::new(0.0), RunningQuantile::new(1.0)), (None, None));
    }
}
