//! Rare classes: rows of the training part are taken several times, or left out, until all classes are equally frequent.
//!
//! The held-back part stays as it is, so that the metrics are those of the plant.

use serde::{Deserialize, Serialize};

use super::Training;
use super::random::Random;
use super::target::{Chosen, Target};

/// What is done about classes of different frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Balance {
    /// Nothing. If not given.
    None,
    /// Rows of the rarer classes are taken again, drawn by the seed, until each class has as many as the most frequent.
    Oversample,
    /// Rows of the more frequent classes are left out, drawn by the seed, until each has as many as the rarest.
    Undersample,
}

/// The rows to train on, ascending; some of them several times with `oversample`.
pub(crate) fn resample(training: &Training, target: &Target, rows: Vec<usize>) -> Vec<usize> {
    let Chosen::Classes(classes) = target.gather(&rows) else { return rows };
    if training.balance == Balance::None {
        return rows;
    }
    let mut by_class = vec![Vec::new(); target.classes()];
    for (&row, &class) in rows.iter().zip(&classes) {
        by_class[class as usize].push(row);
    }
    by_class.retain(|rows| !rows.is_empty());
    let sizes = by_class.iter().map(Vec::len);
    let wanted = match training.balance {
        Balance::Undersample => sizes.min(),
        _ => sizes.max(),
    };
    let wanted = wanted.unwrap_or_default();
    let mut random = Random::new(training.seed);
    let mut taken: Vec<usize> =
        by_class.into_iter().flat_map(|rows| draw(rows, wanted, &mut random)).collect();
    taken.sort_unstable();
    taken
}

/// `wanted` of `rows`: a part without repetition, or all of them and some again.
fn draw(mut rows: Vec<usize>, wanted: usize, random: &mut Random) -> Vec<usize> {
    let known = rows.len();
    for place in 0..wanted.min(known) {
        // The first places of Fisher and Yates' shuffle.
        let other = place + random.below(known - place);
        rows.swap(place, other);
    }
    rows.truncate(wanted);
    while rows.len() < wanted {
        rows.push(rows[random.below(known)]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_a_part_or_has_every_row() {
        let mut random = Random::new(1);
        let mut few = draw((0..100).collect(), 10, &mut random);
        few.sort_unstable();
        few.dedup();
        assert_eq!(few.len(), 10);
        let many = draw(vec![3, 4, 5], 9, &mut random);
        assert_eq!(many.len(), 9);
        assert!([3, 4, 5].iter().all(|row| many.contains(row)));
    }
}
