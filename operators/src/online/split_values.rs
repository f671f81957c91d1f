//! The values of a feature with the target below each, as a leaf of a regression tree keeps them.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::hoeffding_regressor::{Candidate, Variance};

/// No more values are kept; those that come later count below the values that they are below of.
const MOST_VALUES: usize = 2_048;

/// A binary search tree: each node has a value, and the target of the rows of its part of the tree that are at most that.
///
/// Source: Ikonomovska, Gama, Dzeroski (2011), the extended binary search tree, in the variant of river's `EBSTSplitter`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct SplitValues {
    /// The first one is the root.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Node {
    value: f64,
    target: Variance,
    below: Option<usize>,
    above: Option<usize>,
}

impl SplitValues {
    pub(super) fn insert(&mut self, value: f64, y: f64) {
        let mut place = if self.nodes.is_empty() { None } else { Some(0) };
        let mut from = None;
        while let Some(here) = place {
            let node = &mut self.nodes[here];
            if value <= node.value {
                node.target.add(y);
            }
            place = match value.total_cmp(&node.value) {
                Ordering::Equal => return,
                Ordering::Less => node.below,
                Ordering::Greater => node.above,
            };
            from = Some((here, value < node.value));
        }
        if self.nodes.len() >= MOST_VALUES {
            return;
        }
        let mut target = Variance::default();
        target.add(y);
        let new = Some(self.nodes.len());
        self.nodes.push(Node { value, target, below: None, above: None });
        match from {
            Some((parent, true)) => self.nodes[parent].below = new,
            Some((parent, false)) => self.nodes[parent].above = new,
            None => {}
        }
    }

    /// The split of rows with this target that reduces its variance most, the first one of equal ones; `None` without values.
    pub(super) fn best(&self, all: &Variance) -> Option<Candidate> {
        let mut best = None;
        if !self.nodes.is_empty() {
            self.look(0, &Variance::default(), all, &mut best);
        }
        best
    }

    /// Looks at the nodes of a part in the order of their values; `before` is the target of all rows below the part.
    fn look(&self, place: usize, before: &Variance, all: &Variance, best: &mut Option<Candidate>) {
        let node = &self.nodes[place];
        if let Some(below) = node.below {
            self.look(below, before, all, best);
        }
        let found = candidate(node, before, all);
        if best.as_ref().is_none_or(|best| found.merit > best.merit) {
            *best = Some(found);
        }
        if let Some(above) = node.above {
            self.look(above, &before.with(&node.target), all, best);
        }
    }

    /// Forgets splits that reduce the variance by less than `least`, from the leaves of the tree on.
    pub(super) fn forget_below(&mut self, least: f64, all: &Variance) {
        if self.nodes.is_empty() {
            return;
        }
        let is_bad = self.prune(0, &Variance::default(), least, all);
        self.nodes = if is_bad { Vec::new() } else { self.kept(0) };
    }

    /// Cuts off what is bad below a node; true if the node is, too.
    fn prune(&mut self, place: usize, before: &Variance, least: f64, all: &Variance) -> bool {
        if let Some(below) = self.nodes[place].below {
            if !self.prune(below, before, least, all) {
                return false;
            }
            self.nodes[place].below = None;
        }
        if let Some(above) = self.nodes[place].above {
            let before = before.with(&self.nodes[place].target);
            if !self.prune(above, &before, least, all) {
                return false;
            }
            self.nodes[place].above = None;
        }
        candidate(&self.nodes[place], before, all).merit < least
    }

    /// The nodes that hang together, the one at `root` first.
    fn kept(&self, root: usize) -> Vec<Node> {
        let (mut kept, mut todo) = (vec![self.nodes[root].clone()], vec![0]);
        while let Some(place) = todo.pop() {
            for is_below in [true, false] {
                let node = &kept[place];
                let Some(child) = (if is_below { node.below } else { node.above }) else { continue };
                let new = Some(kept.len());
                if is_below {
                    kept[place].below = new
                } else {
                    kept[place].above = new
                }
                todo.push(kept.len());
                kept.push(self.nodes[child].clone());
            }
        }
        kept
    }
}

fn candidate(node: &Node, before: &Variance, all: &Variance) -> Candidate {
    let below = node.target.with(before);
    let sides = [below, all.without(&below)];
    Candidate { merit: all.reduction(&sides), threshold: node.value, sides }
}
