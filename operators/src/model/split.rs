//! Which rows are held back for the metrics.
//!
//! Neighbours in time, and rows of one machine, resemble each other: a model that has seen one knows the other, and the
//! metrics of rows that were held back at random are too good to be true. So the last rows are held back, or whole
//! groups; single rows only if the statement asks for it.

use serde::{Deserialize, Serialize};

use super::random::{mix, unit};

/// How rows are held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Split {
    /// The last rows, by this column or, without one, by the order of the training query.
    Time(Option<String>),
    /// All rows of some values of this column; the seed decides which.
    Group(String),
    /// Single rows, as the seed and the number of the row decide.
    Row,
}

impl Split {
    /// The column that only decides the split; it is no feature.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Time(column) => column.as_deref(),
            Self::Group(column) => Some(column),
            Self::Row => None,
        }
    }
}

/// What the split of a row depends on.
pub(crate) enum Order {
    /// The number of the row: the order of the query.
    Rows,
    /// A time or number of each row.
    Times(Vec<f64>),
    /// The group of each row, see [`group_of`].
    Groups(Vec<u64>),
}

impl Order {
    /// The rows in the order of their times.
    pub(crate) fn in_time(&self, mut rows: Vec<usize>) -> Vec<usize> {
        if let Self::Times(times) = self {
            rows.sort_by(|&a, &b| times[a].total_cmp(&times[b]).then(a.cmp(&b)));
        }
        rows
    }

    /// The rows so that neighbours in time, or rows of a group, stay together.
    pub(crate) fn together(&self, rows: Vec<usize>) -> Vec<usize> {
        let mut rows = self.in_time(rows);
        if let Self::Groups(groups) = self {
            rows.sort_by_key(|row| groups[*row]);
        }
        rows
    }
}

/// The number of a group, from its name alone: which side it is on does not depend on the other groups.
pub(crate) fn group_of(name: &str) -> u64 {
    name.bytes().fold(mix(name.len() as u64), |hash, byte| mix(hash ^ u64::from(byte)))
}

/// Divides `rows` into those that are trained on and those that are held back, both in the order of `rows`.
pub(crate) fn divide(
    split: &Split,
    order: &Order,
    rows: &[usize],
    fraction: f64,
    seed: u64,
) -> (Vec<usize>, Vec<usize>) {
    let held_back: Vec<bool> = match (split, order) {
        (Split::Row, _) => rows.iter().map(|&row| chance(seed, row as u64) < fraction).collect(),
        (_, Order::Groups(groups)) => {
            let chosen = chosen_groups(groups, rows, fraction, seed);
            rows.iter().map(|&row| chosen.contains(&groups[row])).collect()
        }
        (_, Order::Times(times)) => last_times(rows, fraction, times),
        (_, Order::Rows) => {
            let ranks = ranks(rows, |_| 0.0).into_iter();
            ranks.map(|rank| rank >= rows.len() - share(rows.len(), fraction)).collect()
        }
    };
    let pick = |wanted: bool| {
        let picked = rows.iter().zip(&held_back).filter(|(_, held)| **held == wanted);
        picked.map(|(&row, _)| row).collect::<Vec<usize>>()
    };
    (pick(false), pick(true))
}

/// The rows that fold `fold` of `count` is trained on, and those it is tested on. By time, the rows are cut into
/// `count + 1` blocks, and fold `k` tests block `k + 1` with a model of all blocks before it.
pub(crate) fn folds(
    split: &Split,
    order: &Order,
    rows: &[usize],
    count: usize,
    fold: usize,
    seed: u64,
) -> (Vec<usize>, Vec<usize>) {
    let place = |rank: usize, of: usize, parts: usize| rank * parts / of.max(1);
    // The block of each row.
    let blocks: Vec<usize> = match (split, order) {
        (Split::Row, _) => {
            let ranks = ranks(rows, |row| chance(seed, row as u64));
            ranks.into_iter().map(|rank| place(rank, rows.len(), count)).collect()
        }
        (_, Order::Groups(groups)) => {
            let ordered = by_chance(groups, rows, seed);
            let rank =
                |row: &usize| ordered.iter().position(|group| *group == groups[*row]).unwrap_or_default();
            rows.iter().map(|row| rank(row) % count).collect()
        }
        (_, order) => {
            let time = |row: usize| if let Order::Times(times) = order { times[row] } else { 0.0 };
            let ranks = ranks(rows, time);
            let blocks = |ranks: &[usize]| -> Vec<usize> {
                ranks.iter().map(|rank| place(*rank, rows.len(), count + 1)).collect()
            };
            let together = match order {
                Order::Times(times) => blocks(&first_ranks(rows, times, &ranks)),
                _ => Vec::new(),
            };
            // With few times some blocks would have no rows.
            let is_full = (0..=count).all(|block| together.contains(&block));
            if is_full { together } else { blocks(&ranks) }
        }
    };
    let is_time = matches!(split, Split::Time(_));
    let pick = |wanted: &dyn Fn(usize) -> bool| {
        let picked = rows.iter().zip(&blocks).filter(|(_, block)| wanted(**block));
        picked.map(|(&row, _)| row).collect::<Vec<usize>>()
    };
    if is_time {
        (pick(&|block| block <= fold), pick(&|block| block == fold + 1))
    } else {
        (pick(&|block| block != fold), pick(&|block| block == fold))
    }
}

/// The rank of each row by a number, and by its own number where that is equal.
fn ranks(rows: &[usize], of: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut ordered: Vec<usize> = (0..rows.len()).collect();
    ordered.sort_by(|&a, &b| of(rows[a]).total_cmp(&of(rows[b])).then(rows[a].cmp(&rows[b])));
    let mut ranks = vec![0; rows.len()];
    ordered.into_iter().enumerate().for_each(|(rank, place)| ranks[place] = rank);
    ranks
}

/// A hash of seed and number decides, so the choice for a row does not depend on how many rows there are.
fn chance(seed: u64, number: u64) -> f64 {
    unit(mix(mix(seed) ^ number))
}

/// The last rows by time. Rows of one time are on the same side, as alike as they may be; if all are of one time, the last ones by
/// number.
fn last_times(rows: &[usize], fraction: f64, times: &[f64]) -> Vec<bool> {
    let wanted = rows.len() - share(rows.len(), fraction);
    let ranks = ranks(rows, |row| times[row]);
    let first_ranks = first_ranks(rows, times, &ranks);
    // Where times begin: the cut is at the nearest one behind it, or else before it.
    let behind = first_ranks.iter().filter(|rank| **rank >= wanted).min();
    let before = first_ranks.iter().filter(|rank| **rank > 0 && **rank < wanted).max();
    match behind.or(before) {
        Some(cut) if wanted < rows.len() => first_ranks.iter().map(|rank| rank >= cut).collect(),
        _ => ranks.iter().map(|rank| *rank >= wanted).collect(),
    }
}

/// Of each row the rank of the first one of its time.
fn first_ranks(rows: &[usize], times: &[f64], ranks: &[usize]) -> Vec<usize> {
    let mut ordered: Vec<(usize, usize)> = ranks.iter().copied().zip(0..).collect();
    ordered.sort_unstable();
    let (mut first, mut firsts) = (0, vec![0; rows.len()]);
    for (rank, place) in &ordered {
        let is_new = *rank == 0 || times[rows[ordered[rank - 1].1]].total_cmp(&times[rows[*place]]).is_ne();
        first = if is_new { *rank } else { first };
        firsts[*place] = first;
    }
    firsts
}

/// The groups whose hashes are below `fraction`, about so many of all: one that comes later does not move another to the other side.
/// At least one of two, if any is wanted, and not all.
fn chosen_groups(groups: &[u64], rows: &[usize], fraction: f64, seed: u64) -> Vec<u64> {
    let mut present = by_chance(groups, rows, seed);
    let below = present.iter().filter(|group| chance(seed, **group) < fraction).count();
    let can_be_held = fraction > 0.0 && present.len() > 1;
    present.truncate(if can_be_held { below.clamp(1, present.len() - 1) } else { 0 });
    present
}

/// The groups of `rows`, in an order that the seed decides.
fn by_chance(groups: &[u64], rows: &[usize], seed: u64) -> Vec<u64> {
    let mut present: Vec<u64> = rows.iter().map(|&row| groups[row]).collect();
    present.sort_unstable();
    present.dedup();
    present.sort_by(|&a, &b| chance(seed, a).total_cmp(&chance(seed, b)));
    present
}

/// `fraction` of `n`, rounded; at least one of two if any is wanted.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a number of rows"
)]
fn share(n: usize, fraction: f64) -> usize {
    let share = (n as f64 * fraction).round() as usize;
    if fraction > 0.0 && n > 1 { share.clamp(1, n - 1) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rows_are_held_back() {
        let rows = [0, 2, 3, 5, 9];
        let (train, test) = divide(&Split::Time(None), &Order::Rows, &rows, 0.4, 1);
        assert_eq!((train, test), (vec![0, 2, 3], vec![5, 9]));
        let times = Order::Times(vec![9.0, 0.0, 1.0, 2.0, 0.0, 8.0, 0.0, 0.0, 0.0, 3.0]);
        let (train, test) = divide(&Split::Time(Some("ts".into())), &times, &rows, 0.4, 1);
        assert_eq!((train, test), (vec![2, 3, 9], vec![0, 5]));
    }

    #[test]
    fn rows_of_one_time_are_on_one_side_only() {
        let days = |of: &[f64]| Order::Times(of.to_vec());
        let (split, rows) = (Split::Time(Some("day".into())), [0, 1, 2, 3, 4, 5, 6, 7]);
        let held_back = |order: &Order, fraction| divide(&split, order, &rows, fraction, 1).1;
        let four = days(&[1.0, 1.0, 4.0, 2.0, 2.0, 3.0, 4.0, 4.0]);
        assert_eq!(held_back(&four, 0.4), [2, 6, 7]);
        assert_eq!(held_back(&four, 0.2), [2, 6, 7], "not only a part of the last day");
        assert_eq!(held_back(&four, 0.6), [2, 5, 6, 7]);
        assert_eq!(held_back(&days(&[1.0; 8]), 0.25), [6, 7]);
        assert_eq!(held_back(&four, 0.0), [0; 0]);
        let three = days(&[1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
        assert_eq!(folds(&split, &three, &rows[..7], 2, 0, 1), (vec![0, 1, 2, 3], vec![4]));
    }

    #[test]
    fn a_group_is_on_one_side_only() {
        let groups: Vec<u64> = (0..1_000).map(|row| group_of(&(row % 100).to_string())).collect();
        let rows: Vec<usize> = (0..1_000).collect();
        let split = Split::Group("unit".into());
        let (train, test) = divide(&split, &Order::Groups(groups.clone()), &rows, 0.2, 7);
        assert!(train.len() + test.len() == 1_000 && (120..280).contains(&test.len()), "{}", test.len());
        assert!(train.iter().all(|&row| test.iter().all(|&other| groups[row] != groups[other])));
        let (_, other) = divide(&split, &Order::Groups(groups.clone()), &rows, 0.2, 8);
        assert_ne!(test, other, "the seed decides");
        let (_, of_more) = divide(&split, &Order::Groups(groups.clone()), &rows, 0.3, 7);
        assert!(test.iter().all(|row| of_more.contains(row)));
        // Without half of the groups the others stay where they are.
        let fewer: Vec<usize> = rows.iter().copied().filter(|row| row % 2 == 0).collect();
        let (_, of_fewer) = divide(&split, &Order::Groups(groups), &fewer, 0.2, 7);
        assert_eq!(of_fewer, test.into_iter().filter(|row| row % 2 == 0).collect::<Vec<_>>());
    }

    #[test]
    fn of_two_groups_one_is_held_back() {
        let order = Order::Groups(["a", "b"].map(group_of).to_vec());
        for seed in 0..20 {
            let (train, test) = divide(&Split::Group("unit".into()), &order, &[0, 1], 0.1, seed);
            assert_eq!((train.len(), test.len()), (1, 1));
        }
    }

    #[test]
    fn each_fold_by_time_is_predicted_by_those_before_it() {
        let rows: Vec<usize> = (0..8).collect();
        let fold = |k| folds(&Split::Time(None), &Order::Rows, &rows, 3, k, 1);
        assert_eq!(fold(0), (vec![0, 1], vec![2, 3]));
        assert_eq!(fold(2), (vec![0, 1, 2, 3, 4, 5], vec![6, 7]));
    }

    #[test]
    fn every_row_and_group_is_tested_in_one_fold() {
        let rows: Vec<usize> = (0..100).collect();
        let groups: Vec<u64> = (0..100).map(|row| row / 10).collect();
        for (split, order) in
            [(Split::Row, Order::Rows), (Split::Group("unit".into()), Order::Groups(groups.clone()))]
        {
            let mut tested = Vec::new();
            for k in 0..5 {
                let (train, test) = folds(&split, &order, &rows, 5, k, 3);
                assert_eq!((train.len(), test.len()), (80, 20));
                let is_apart = |&row: &usize| train.iter().all(|&other| groups[row] != groups[other]);
                assert!(split == Split::Row || test.iter().all(is_apart));
                tested.extend(test);
            }
            tested.sort_unstable();
            assert_eq!(tested, rows);
        }
    }

    #[test]
    fn nothing_is_held_back_without_a_fraction() {
        for (split, order) in [(Split::Row, Order::Rows), (Split::Time(None), Order::Rows)] {
            assert_eq!(divide(&split, &order, &[1, 2, 3], 0.0, 1), (vec![1, 2, 3], vec![]));
        }
        assert!(divide(&Split::Time(None), &Order::Rows, &[4], 0.5, 1).1.is_empty());
    }
}
