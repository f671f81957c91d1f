//! Trees filled up to one depth: the children of node `i` are `2 i + 1` and `2 i + 2`, so a node is a threshold and a feature.
//!
//! Half the bytes of nodes with links and no load that waits for a link: a tree of depth 10 is 10 kB, and a step of the descent
//! waits for nothing but its comparison. A block of rows goes down a tree level by level; a few rows alone go down all trees at
//! once. Both keep many independent loads under way.

use super::super::Features;

/// Deeper trees have too few of the nodes that they would be filled up with.
const MAX_DEPTH: u32 = 12;
/// Trees are filled up if that is no more than so many times their nodes.
const MOST_FILLING: usize = 4;
/// Rows that go down a tree together: enough to overlap their loads, few enough for the first-level cache.
const BLOCK: usize = 64;
/// Fewer rows go one after the other, each down all trees at once.
const FEW: usize = 8;
/// Trees that a single row goes down together.
const LANES: usize = 32;
/// Forests of more features keep their links.
const MOST_FEATURES: usize = 64;

/// A node of a tree that is to be filled up.
pub(crate) enum Place {
    /// Feature, threshold, the nodes for `x <= threshold` and for the others.
    Split(usize, f64, [u32; 2]),
    /// A leaf with its value.
    Leaf(f64),
}

/// All trees of a forest at one depth.
#[derive(Clone, Debug)]
pub(crate) struct Complete {
    depth: u32,
    /// Tree by tree `2^depth - 1` nodes each.
    thresholds: Vec<f64>,
    features: Vec<u8>,
    /// Tree by tree the values of `2^depth` leaves each.
    leaves: Vec<f64>,
}

impl Complete {
    /// The trees with these roots; `None` where that would not pay.
    pub(crate) fn new(roots: &[u32], depth: u32, nodes: usize, place: impl Fn(u32) -> Place) -> Option<Self> {
        let inner = (1_usize << depth.min(MAX_DEPTH)) - 1;
        if depth > MAX_DEPTH || inner * roots.len() > MOST_FILLING * nodes {
            return None;
        }
        let mut thresholds = vec![f64::INFINITY; inner * roots.len()];
        let mut features = vec![0; inner * roots.len()];
        let mut leaves = vec![0.0; (inner + 1) * roots.len()];
        for (tree, root) in roots.iter().enumerate() {
            let mut todo = vec![(0, *root)];
            while let Some((at, node)) = todo.pop() {
                match place(node) {
                    Place::Split(feature, threshold, children) => {
                        thresholds[tree * inner + at] = threshold;
                        features[tree * inner + at] =
                            u8::try_from(feature).ok().filter(|f| usize::from(*f) < MOST_FEATURES)?;
                        todo.extend([(2 * at + 1, children[0]), (2 * at + 2, children[1])]);
                    }
                    // Below a leaf no row is above the infinite thresholds.
                    Place::Leaf(leaf) => {
                        let mut at = at;
                        while at < inner {
                            at = 2 * at + 1;
                        }
                        leaves[tree * (inner + 1) + at - inner] = leaf;
                    }
                }
            }
        }
        Some(Self { depth, thresholds, features, leaves })
    }

    /// Calls `visit(row, value of the leaf)` for every row and tree; for each row in the order of the trees.
    pub(crate) fn for_each_leaf(&self, features: &Features<'_>, visit: impl FnMut(usize, f64)) {
        // Rows of a fixed width, for which the place of a feature needs no check.
        match features.columns().len() {
            0..=8 => self.descend::<8>(features, visit),
            9..=16 => self.descend::<16>(features, visit),
            17..=32 => self.descend::<32>(features, visit),
            _ => self.descend::<MOST_FEATURES>(features, visit),
        }
    }

    fn descend<const WIDTH: usize>(&self, features: &Features<'_>, mut visit: impl FnMut(usize, f64)) {
        let (columns, rows) = (features.columns(), features.rows());
        if rows < FEW {
            for at in 0..rows {
                let mut row = [0.0; WIDTH];
                row.iter_mut().zip(columns).for_each(|(value, column)| *value = column[at]);
                self.one(&row, |leaf| visit(at, leaf));
            }
            return;
        }
        let mut block = [[0.0; WIDTH]; BLOCK];
        for start in (0..rows).step_by(BLOCK) {
            let rows = BLOCK.min(rows - start);
            for (feature, column) in columns.iter().enumerate().take(WIDTH) {
                for (row, &value) in block.iter_mut().zip(&column[start..start + rows]) {
                    row[feature] = value;
                }
            }
            self.block(&block, rows, |at, leaf| visit(start + at, leaf));
        }
    }

    /// A block of rows, one tree after the other.
    fn block<const WIDTH: usize>(
        &self,
        block: &[[f64; WIDTH]; BLOCK],
        rows: usize,
        mut visit: impl FnMut(usize, f64),
    ) {
        for tree in 0..self.leaves.len() >> self.depth {
            let (thresholds, features, leaves) = self.tree(tree);
            let mut places = [0_u32; BLOCK];
            for _ in 0..self.depth {
                for (place, row) in places[..rows].iter_mut().zip(block) {
                    *place = step(*place, thresholds, features, row);
                }
            }
            for (row, place) in places[..rows].iter().enumerate() {
                visit(row, leaves[*place as usize - thresholds.len()]);
            }
        }
    }

    /// One row, down many trees at once.
    fn one<const WIDTH: usize>(&self, row: &[f64; WIDTH], mut visit: impl FnMut(f64)) {
        let leaves = 1 << self.depth;
        let (inner, trees) = (leaves - 1, self.leaves.len() / leaves);
        for first in (0..trees).step_by(LANES) {
            let mut places = [0_u32; LANES];
            let places = &mut places[..LANES.min(trees - first)];
            for _ in 0..self.depth {
                let mut begin = first * inner;
                for place in places.iter_mut() {
                    let nodes = (&self.thresholds[begin..], &self.features[begin..]);
                    *place = step(*place, nodes.0, nodes.1, row);
                    begin += inner;
                }
            }
            for (tree, place) in (first..).zip(places) {
                visit(self.leaves[tree * leaves + *place as usize - inner]);
            }
        }
    }

    /// Thresholds, features and leaves of a tree.
    fn tree(&self, tree: usize) -> (&[f64], &[u8], &[f64]) {
        let leaves = 1 << self.depth;
        let inner = leaves - 1;
        let nodes = tree * inner..(tree + 1) * inner;
        (&self.thresholds[nodes.clone()], &self.features[nodes], &self.leaves[tree * leaves..][..leaves])
    }
}

/// The child of a node that a row goes to.
fn step<const WIDTH: usize>(place: u32, thresholds: &[f64], features: &[u8], row: &[f64; WIDTH]) -> u32 {
    let at = place as usize;
    // The width is a power of two, so this changes no feature and tells the compiler that it lies in the row.
    let feature = usize::from(features[at]) & (WIDTH - 1);
    2 * place + 1 + u32::from(row[feature] > thresholds[at])
}
