//! Training rows once more, a little changed, so that a model does not learn what only these rows had.
//!
//! The held-back rows stay as they are, and so does the target: a changed row is taken for one of the same.

use serde::{Deserialize, Serialize};

use super::random::Random;
use super::reader::Reader;

/// How changed rows are made of training rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Augment {
    /// Changed rows of each training row; 0, if not given, for none.
    pub copies: usize,
    /// The standard deviation of what is added to each value, in standard deviations of the feature; 0 if not given.
    pub jitter: f64,
    /// The standard deviation of the factor less one that all values of a row are multiplied by; 0 if not given.
    pub scale: f64,
    /// The standard deviation of what is added to all values of a row, in standard deviations of each feature; 0 if not given.
    pub shift: f64,
}

/// More copies than that are a mistake.
const MOST_COPIES: usize = 1_000;

/// Apart from the draws of the split, of balance and of the algorithm.
const STREAM: u64 = 0x6a09_e667_f3bc_c908;

impl Augment {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let is_deviation = |x: &f64| *x >= 0.0 && x.is_finite();
        let mut deviation = |name| reader.number(name, 0.0, is_deviation, "a number of at least 0");
        let (jitter, scale, shift) = (deviation("jitter"), deviation("scale"), deviation("shift"));
        let default = usize::from(jitter + scale + shift > 0.0);
        let copies = reader.number("copies", default, |n| *n <= MOST_COPIES, "a whole number up to 1000");
        Self { copies, jitter, scale, shift }
    }

    /// The training rows, then as many again for each copy, then those that only tell when the training ends: the last
    /// `validation` of `rows`.
    pub(crate) fn rows(&self, rows: &[usize], validation: usize) -> Vec<usize> {
        let (train, validation) = rows.split_at(rows.len() - validation);
        [train.repeat(1 + self.copies).as_slice(), validation].concat()
    }

    /// Changes the values of the copies, which are behind the first `rows` rows.
    pub(crate) fn change(&self, columns: &mut [Vec<f64>], rows: usize, seed: u64) {
        let deviations: Vec<f64> = columns.iter().map(|column| deviation(&column[..rows])).collect();
        let mut random = Random::new(seed ^ STREAM);
        for row in rows..rows * (1 + self.copies) {
            let (factor, offset) = (1.0 + self.scale * normal(&mut random), self.shift * normal(&mut random));
            for (column, deviation) in columns.iter_mut().zip(&deviations) {
                let added = offset + self.jitter * normal(&mut random);
                // A feature that never changes does not do so here.
                if *deviation > 0.0 {
                    column[row] = column[row] * factor + added * deviation;
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of rows")]
fn deviation(column: &[f64]) -> f64 {
    let n = column.len() as f64;
    let mean = column.iter().sum::<f64>() / n;
    (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// Box and Muller, "A note on the generation of random normal deviates", 1958.
fn normal(random: &mut Random) -> f64 {
    let (radius, angle) = (1.0 - random.unit(), std::f64::consts::TAU * random.unit());
    (-2.0 * radius.ln()).sqrt() * angle.cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(augment: Augment) -> Vec<Vec<f64>> {
        let rows: Vec<usize> = augment.rows(&(0..500).collect::<Vec<_>>(), 0);
        let wave = |row: &usize| 100.0 + f64::from(u32::try_from(*row).unwrap() % 10);
        let mut columns = vec![rows.iter().map(wave).collect::<Vec<f64>>(), vec![7.0; rows.len()]];
        columns.push(rows.iter().map(|row| 1e-3 * wave(row)).collect());
        augment.change(&mut columns, 500, 3);
        columns
    }

    /// Mean and deviation of what was added to a copy, in deviations of the feature.
    fn added(columns: &[Vec<f64>], feature: usize) -> (f64, f64) {
        let column = &columns[feature];
        let unit = deviation(&column[..500]);
        let added: Vec<f64> =
            (500..column.len()).map(|row| (column[row] - column[row % 500]) / unit).collect();
        (added.iter().sum::<f64>() / f64::from(u32::try_from(added.len()).unwrap()), deviation(&added))
    }

    #[test]
    fn each_kind_of_change_has_the_deviation_that_it_says() {
        let jitter = columns(Augment { copies: 10, jitter: 0.2, ..Augment::default() });
        for feature in [0, 2] {
            let (mean, deviation) = added(&jitter, feature);
            assert!(mean.abs() < 0.02 && (deviation - 0.2).abs() < 0.01, "{mean} {deviation}");
        }
        assert!(jitter[1].iter().all(|x| x.to_bits() == 7.0_f64.to_bits()), "a constant stays");
        let shift = columns(Augment { copies: 10, shift: 0.5, ..Augment::default() });
        let unit = [deviation(&shift[0][..500]), deviation(&shift[2][..500])];
        let both = |row: usize| {
            (shift[0][row] - shift[0][row % 500]) / unit[0] - (shift[2][row] - shift[2][row % 500]) / unit[1]
        };
        assert!((500..5500).all(|row| both(row).abs() < 1e-9), "a row is shifted as a whole");
        let scale = columns(Augment { copies: 10, scale: 0.1, ..Augment::default() });
        let factors: Vec<f64> = (500..5500).map(|row| scale[0][row] / scale[0][row % 500]).collect();
        assert!((deviation(&factors) - 0.1).abs() < 0.005);
    }

    #[test]
    fn rows_that_tell_when_to_end_have_no_copies_and_stay_last() {
        let augment = Augment { copies: 2, jitter: 1.0, ..Augment::default() };
        let rows = augment.rows(&[7, 8, 9], 1);
        assert_eq!(rows, [7, 8, 7, 8, 7, 8, 9]);
        let mut columns = vec![rows.iter().map(|row| f64::from(u32::try_from(*row).unwrap())).collect()];
        augment.change(&mut columns, 2, 3);
        let is_changed = columns[0].iter().zip(&rows).map(|(x, row)| x.fract() != 0.0 && *row != 9);
        assert_eq!(is_changed.collect::<Vec<_>>(), [false, false, true, true, true, true, false]);
        assert!((columns[0][6] - 9.0).abs() < 1e-12);
    }

    #[test]
    fn the_seed_decides_and_the_rows_themselves_stay() {
        let augment = Augment { copies: 1, jitter: 0.1, scale: 0.1, shift: 0.1 };
        assert_eq!(columns(augment), columns(augment));
        let plain = columns(Augment::default());
        assert_eq!(plain[0].len(), 500);
        assert_eq!(columns(augment)[0][..500], plain[0][..]);
    }
}
