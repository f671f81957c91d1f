//! The local search: Nelder and Mead, 1965, with the usual factors and a batch of candidates a step.

use lineshaft_engine::error::Result;

use super::{Candidate, Range, Search, spread};

impl Search<'_> {
    /// Nelder-Mead, again from a tenth of the simplex when it has shrunk, until the budget is used up.
    pub(super) fn polish(&mut self, best: Candidate, spread: &[f64]) -> Result<Candidate> {
        let mut best = best;
        let width = |(spread, range): (&f64, &Range)| {
            let whole = range.upper - range.lower;
            spread.clamp(1e-6 * whole, 0.1 * whole)
        };
        let mut widths: Vec<f64> = spread.iter().zip(self.ranges).map(width).collect();
        while self.left > self.ranges.len() + 4 && widths.iter().any(|width| *width > 0.0) {
            let before = best.score;
            best = self.nelder_mead(best, &widths)?;
            widths.iter_mut().for_each(|width| *width *= 0.1);
            let least =
                self.ranges.iter().zip(&widths).all(|(r, width)| *width < 1e-10 * (r.upper - r.lower));
            if least && !best.score.beats(&before) {
                break;
            }
        }
        Ok(best)
    }

    fn nelder_mead(&mut self, best: Candidate, widths: &[f64]) -> Result<Candidate> {
        let corners =
            (0..widths.len()).filter(|&v| widths[v] > 0.0).map(|v| self.corner(&best.point, v, widths[v]));
        let corners: Vec<Vec<f64>> = corners.collect();
        let mut simplex = vec![best];
        simplex.extend(self.score(corners)?);
        loop {
            simplex.sort_by(|a, b| a.score.compare(&b.score));
            if self.left < simplex.len() + 4 || simplex.len() < 2 || self.is_tiny(&simplex, widths) {
                return Ok(simplex.swap_remove(0));
            }
            self.step(&mut simplex)?;
        }
    }

    /// `point` moved along one variable, towards the side with room.
    fn corner(&self, point: &[f64], variable: usize, width: f64) -> Vec<f64> {
        let range = self.ranges[variable];
        let mut corner = point.to_vec();
        corner[variable] += if point[variable] + width <= range.upper { width } else { -width };
        self.clamp(corner)
    }

    fn is_tiny(&self, simplex: &[Candidate], widths: &[f64]) -> bool {
        spread(simplex).iter().zip(widths).all(|(spread, width)| *spread <= 1e-5 * width)
    }

    /// Reflection, expansion and both contractions are scored at once, then chosen among as usual.
    fn step(&mut self, simplex: &mut [Candidate]) -> Result<()> {
        let last = simplex.len() - 1;
        let centre = centre(&simplex[..last]);
        let along = |factor: f64| {
            let pairs = centre.iter().zip(&simplex[last].point);
            pairs.map(|(centre, worst)| centre + factor * (centre - worst)).collect::<Vec<f64>>()
        };
        let moves = [1.0, 2.0, 0.5, -0.5].map(|factor| self.clamp(along(factor)));
        let mut scored = self.score(moves.to_vec())?;
        let second = &simplex[last - 1].score;
        let choice = match scored.as_slice() {
            [reflected, expanded, ..] if reflected.score.beats(&simplex[0].score) => {
                Some(usize::from(expanded.score.beats(&reflected.score)))
            }
            [reflected, ..] if reflected.score.beats(second) => Some(0),
            [reflected, _, outside, _] if reflected.score.beats(&simplex[last].score) => {
                outside.score.beats(&reflected.score).then_some(2)
            }
            [_, _, _, inside] => inside.score.beats(&simplex[last].score).then_some(3),
            _ => None,
        };
        match choice {
            Some(choice) => simplex[last] = scored.swap_remove(choice),
            None => self.shrink(simplex)?,
        }
        Ok(())
    }

    fn shrink(&mut self, simplex: &mut [Candidate]) -> Result<()> {
        let (best, others) = simplex.split_at_mut(1);
        let halfway = |other: &Candidate| {
            best[0].point.iter().zip(&other.point).map(|(best, other)| best.midpoint(*other)).collect()
        };
        let points = others.iter().map(halfway).collect();
        for (other, nearer) in others.iter_mut().zip(self.score(points)?) {
            *other = nearer;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "few candidates")]
fn centre(candidates: &[Candidate]) -> Vec<f64> {
    let variables = candidates.first().map_or(0, |candidate| candidate.point.len());
    let n = candidates.len() as f64;
    (0..variables).map(|v| candidates.iter().map(|candidate| candidate.point[v]).sum::<f64>() / n).collect()
}
