//! Trees in one flat array, and which leaf a row ends in.
//!
//! A step of the descent is `node = node.left + (x[node.feature] > node.threshold)`, without a branch: siblings are
//! neighbours, and a leaf leads to itself. Rows go in blocks, and a block goes down one tree after the other, so the
//! tree stays in the cache and the descents of different rows overlap in the processor. Where the trees are not deep, they are
//! filled up and need no links: [`Complete`].

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::super::Features;
use super::complete::{Complete, Place};

/// Rows that go down a tree together: enough to overlap their loads, few enough for the first-level cache.
const BLOCK: usize = 64;

/// One node, 16 bytes. A leaf has threshold `+inf` and itself as `left`, so every finite row stays there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Node {
    threshold: f64,
    feature: u32,
    /// Where rows go whose feature is at most the threshold; the others go to the next node.
    left: u32,
}

/// Where a tree begins and how many steps lead to its deepest leaf.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Tree {
    root: u32,
    depth: u32,
}

/// Trees; what stands in their leaves is known to those who own them, by the places of the leaves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Trees {
    trees: Vec<Tree>,
    nodes: Vec<Node>,
    /// Made when the first row comes.
    #[serde(skip)]
    complete: OnceLock<Option<Complete>>,
}

/// What is made of the others does not count.
impl PartialEq for Trees {
    fn eq(&self, other: &Self) -> bool {
        self.trees == other.trees && self.nodes == other.nodes
    }
}

/// What is at a place.
pub(crate) enum At {
    /// A leaf.
    Leaf,
    /// Where a row goes: to the first child if its feature is at most the threshold.
    Split { feature: usize, threshold: f64, children: [u32; 2] },
}

/// A node of a tree as it was grown, with links; the root comes first.
pub(crate) struct GrownNode {
    /// The value if it is a leaf.
    pub(crate) value: f64,
    /// Feature, threshold, child for `x <= threshold`, child for the others; `None` for a leaf.
    pub(crate) split: Option<(usize, f64, usize, usize)>,
}

impl Trees {
    /// Lays a tree out breadth first after those that are there. Which node of the grown tree is at each of its places; `None` if
    /// a link leads out of the tree, or there are too many nodes for 32 bits.
    pub(crate) fn push(&mut self, grown: &[GrownNode]) -> Option<Vec<usize>> {
        let root = self.push_leaf()?;
        let (mut level, mut order, mut depth) = (vec![(root, 0_usize)], vec![0], 0);
        loop {
            let mut below = Vec::new();
            for &(place, index) in &level {
                let Some((feature, threshold, low, high)) = grown.get(index)?.split else {
                    continue;
                };
                let (left, right) = (self.push_leaf()?, self.push_leaf()?);
                let node = Node { threshold, feature: u32::try_from(feature).ok()?, left };
                self.nodes[place as usize] = node;
                below.extend([(left, low), (right, high)]);
            }
            if below.is_empty() {
                break;
            }
            // Each node comes once: a link that leads back would go on for ever.
            if order.len() + below.len() > grown.len() {
                return None;
            }
            order.extend(below.iter().map(|(_, index)| *index));
            depth += 1;
            level = below;
        }
        self.trees.push(Tree { root, depth });
        Some(order)
    }

    fn push_leaf(&mut self) -> Option<u32> {
        let place = u32::try_from(self.nodes.len()).ok()?;
        self.nodes.push(Node { threshold: f64::INFINITY, feature: 0, left: place });
        Some(place)
    }

    /// Number of trees.
    pub(crate) fn len(&self) -> usize {
        self.trees.len()
    }

    /// Number of nodes of all trees.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The place of the root of a tree.
    pub(crate) fn root(&self, tree: usize) -> u32 {
        self.trees[tree].root
    }

    /// What is at a place.
    pub(crate) fn at(&self, place: u32) -> At {
        let node = &self.nodes[place as usize];
        match node.left == place {
            true => At::Leaf,
            false => At::Split {
                feature: node.feature as usize,
                threshold: node.threshold,
                children: [node.left, node.left + 1],
            },
        }
    }

    /// Calls `visit(place)` for each node on the way of each row down each tree.
    pub(crate) fn for_each_step(&self, features: &Features<'_>, mut visit: impl FnMut(u32)) {
        let width = features.columns().len();
        let mut row = vec![0.0; width];
        for at in 0..features.rows() {
            row.iter_mut().zip(features.columns()).for_each(|(value, column)| *value = column[at]);
            for tree in &self.trees {
                let mut place = tree.root;
                loop {
                    visit(place);
                    let node = &self.nodes[place as usize];
                    if node.left == place {
                        break;
                    }
                    place = node.left + u32::from(row[node.feature as usize] > node.threshold);
                }
            }
        }
    }

    /// Calls `visit(row, value of the leaf)` for every row and tree; for each row in the order of the trees. The values are those of
    /// all places, and the same at each call.
    pub(crate) fn for_each_leaf(
        &self,
        features: &Features<'_>,
        values: &[f64],
        mut visit: impl FnMut(usize, f64),
    ) {
        if let Some(complete) = self.complete(values) {
            return complete.for_each_leaf(features, visit);
        }
        self.for_each_end(features, |row, place| visit(row, values[place as usize]));
    }

    /// Calls `visit(row, place of the leaf)` for every row and tree; for each row in the order of the trees.
    pub(crate) fn for_each_end(&self, features: &Features<'_>, mut visit: impl FnMut(usize, u32)) {
        let width = features.columns().len();
        let mut block = vec![0.0; width * BLOCK];
        for start in (0..features.rows()).step_by(BLOCK) {
            let rows = BLOCK.min(features.rows() - start);
            fill(&mut block, features, start, rows);
            for tree in &self.trees {
                for (row, &leaf) in self.descend(tree, &block, width, rows)[..rows].iter().enumerate() {
                    visit(start + row, leaf);
                }
            }
        }
    }

    /// The leaves of the first `rows` rows of the block.
    fn descend(&self, tree: &Tree, block: &[f64], width: usize, rows: usize) -> [u32; BLOCK] {
        let mut places = [tree.root; BLOCK];
        for _ in 0..tree.depth {
            for (place, row) in places[..rows].iter_mut().zip(block.chunks_exact(width)) {
                let node = &self.nodes[*place as usize];
                *place = node.left + u32::from(row[node.feature as usize] > node.threshold);
            }
        }
        places
    }

    fn complete(&self, values: &[f64]) -> Option<&Complete> {
        let make = || {
            let roots: Vec<u32> = self.trees.iter().map(|tree| tree.root).collect();
            let depth = self.trees.iter().map(|tree| tree.depth).max().unwrap_or_default();
            Complete::new(&roots, depth, self.nodes.len(), |place| match self.at(place) {
                At::Leaf => Place::Leaf(values[place as usize]),
                At::Split { feature, threshold, children } => Place::Split(feature, threshold, children),
            })
        };
        self.complete.get_or_init(make).as_ref()
    }
}

/// Row-major copy of a block, so that a row is one or two cache lines.
fn fill(block: &mut [f64], features: &Features<'_>, start: usize, rows: usize) {
    let width = features.columns().len();
    for (feature, column) in features.columns().iter().enumerate() {
        for (row, &value) in column[start..start + rows].iter().enumerate() {
            block[row * width + feature] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::matrix::slices;
    use super::super::super::random::Random;
    use super::*;

    /// A tree with leaves at any depth up to one; thresholds are those that rows have, too.
    fn grow(random: &mut Random, width: usize, depth: usize, nodes: &mut Vec<GrownNode>) -> usize {
        let at = nodes.len();
        nodes.push(GrownNode { value: random.unit(), split: None });
        if depth > 0 && random.unit() < 0.9 {
            let (feature, threshold) = (random.below(width), value(random));
            let low = grow(random, width, depth - 1, nodes);
            let high = grow(random, width, depth - 1, nodes);
            nodes[at].split = Some((feature, threshold, low, high));
        }
        at
    }

    fn value(random: &mut Random) -> f64 {
        f64::from(u32::try_from(random.below(40)).unwrap()) / 4.0 - 5.0
    }

    #[test]
    fn filled_trees_lead_to_the_same_leaves_as_links() {
        let mut random = Random::new(11);
        let mut filled = 0;
        for (width, depth) in [(1, 0), (3, 1), (8, 5), (9, 9), (20, 7), (64, 3), (65, 3), (5, 12), (5, 14)] {
            let (mut trees, mut values) = (Trees::default(), Vec::new());
            for _ in 0..40 {
                let mut nodes = Vec::new();
                grow(&mut random, width, depth, &mut nodes);
                values.extend(trees.push(&nodes).unwrap().into_iter().map(|index| nodes[index].value));
            }
            filled += usize::from(trees.complete(&values).is_some());
            for rows in [0, 1, 7, 8, 65, 200] {
                let columns: Vec<Vec<f64>> =
                    (0..width).map(|_| (0..rows).map(|_| value(&mut random)).collect()).collect();
                let columns = slices(&columns);
                let features = Features::new(&columns);
                let (mut found, mut expected) = (vec![Vec::new(); rows], Vec::new());
                trees.for_each_leaf(&features, &values, |row, value| found[row].push(value.to_bits()));
                trees.for_each_step(&features, |place| {
                    if let At::Leaf = trees.at(place) {
                        expected.push(values[place as usize].to_bits());
                    }
                });
                assert_eq!(found.concat(), expected, "{width} features, depth {depth}, {rows} rows");
            }
        }
        assert!((4..9).contains(&filled), "{filled}");
    }

    #[test]
    fn a_link_that_leads_nowhere_or_back_is_refused() {
        let split = |low, high| GrownNode { value: 0.0, split: Some((0, 0.0, low, high)) };
        let leaf = || GrownNode { value: 0.0, split: None };
        assert!(Trees::default().push(&[split(1, 2), leaf(), leaf()]).is_some());
        assert!(Trees::default().push(&[split(1, 3), leaf(), leaf()]).is_none());
        assert!(Trees::default().push(&[split(1, 0), leaf(), leaf()]).is_none());
        assert!(Trees::default().push(&[]).is_none());
    }
}
