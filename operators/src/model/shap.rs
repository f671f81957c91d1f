//! How much each feature adds to what trees give: Shapley values, the path-dependent TreeSHAP.
//!
//! What is not known of a row is averaged over the training rows: at a split on an unknown feature a path goes both ways,
//! weighted by how many of them went there. The values of a row sum to its prediction less the mean over the training rows
//! ([`Forest::base`]). Time per row and tree: leaves x depth^2.
//!
//! - Algorithm: Lundberg et al., "From local explanations to global understanding with explainable AI for trees", Nature
//!   Machine Intelligence 2 (2020), 56-67, algorithm 2 of the supplement.

use super::Features;
use super::forest::{Branch, Forest};

/// A feature on the way from the root, and what share of the subsets of features flows on.
#[derive(Clone, Copy)]
struct Step {
    /// `None` at the root.
    feature: Option<usize>,
    /// Share of the training rows that go this way if the feature is not known.
    unknown: f64,
    /// One if the row goes this way, else zero.
    known: f64,
    /// The share of the subsets of this size, by their number.
    weight: f64,
}

impl Forest {
    /// For each row a number per feature, of the votes for the class with this index.
    pub(super) fn shap(&self, class: usize, features: &Features<'_>) -> Vec<Vec<f64>> {
        let columns = features.columns();
        let row = |row: usize| {
            let values: Vec<f64> = columns.iter().map(|column| column[row]).collect();
            let mut sums = vec![0.0; columns.len()];
            for tree in 0..self.trees() {
                self.walk((self.root(tree), class), &values, &mut Vec::new(), Step::root(), &mut sums);
            }
            sums.iter_mut().for_each(|sum| *sum *= self.scale());
            sums
        };
        (0..features.rows()).map(row).collect()
    }

    fn walk(
        &self,
        (node, class): (u32, usize),
        row: &[f64],
        path: &mut Vec<Step>,
        step: Step,
        sums: &mut [f64],
    ) {
        extend(path, step);
        match self.branch(node, class) {
            Branch::Leaf(value) => {
                for place in 1..path.len() {
                    let Step { feature, unknown, known, .. } = path[place];
                    if let Some(feature) = feature {
                        sums[feature] += unwound_weight(path, place) * (known - unknown) * value;
                    }
                }
            }
            Branch::Split { feature, threshold, children } => {
                // A feature that stands on the path already counts once, with both conditions.
                let before = path.iter().position(|step| step.feature == Some(feature));
                let (unknown, known) = before.map_or((1.0, 1.0), |place| unwind(path, place));
                let taken = usize::from(row[feature] > threshold);
                for (side, child) in children.into_iter().enumerate() {
                    let step = Step {
                        feature: Some(feature),
                        unknown: unknown * share(self.cover(child), self.cover(node)),
                        known: if side == taken { known } else { 0.0 },
                        weight: 0.0,
                    };
                    self.walk((child, class), row, &mut path.clone(), step, sums);
                }
            }
        }
    }

    /// The mean of what the trees give over the training rows.
    pub(super) fn base(&self, class: usize) -> f64 {
        let of_tree = |tree: usize| {
            let (mut todo, mut sum) = (vec![(self.root(tree), 1.0)], 0.0);
            while let Some((node, weight)) = todo.pop() {
                match self.branch(node, class) {
                    Branch::Leaf(value) => sum += weight * value,
                    Branch::Split { children, .. } => todo.extend(
                        children.map(|child| (child, weight * share(self.cover(child), self.cover(node)))),
                    ),
                }
            }
            sum
        };
        self.begin() + self.scale() * (0..self.trees()).map(of_tree).sum::<f64>()
    }
}

impl Step {
    fn root() -> Self {
        Self { feature: None, unknown: 1.0, known: 1.0, weight: 0.0 }
    }
}

/// No training row came to the node: then none goes on.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "no tree is that deep")]
fn number(count: usize) -> f64 {
    count as f64
}

fn extend(path: &mut Vec<Step>, step: Step) {
    let depth = path.len();
    path.push(Step { weight: if depth == 0 { 1.0 } else { 0.0 }, ..step });
    for place in (0..depth).rev() {
        let weight = path[place].weight;
        path[place + 1].weight += step.known * weight * number(place + 1) / number(depth + 1);
        path[place].weight = step.unknown * weight * number(depth - place) / number(depth + 1);
    }
}

/// Takes the step at `place` out, as if it had never been there; gives its shares.
fn unwind(path: &mut Vec<Step>, place: usize) -> (f64, f64) {
    let depth = path.len() - 1;
    let Step { unknown, known, .. } = path[place];
    let mut next = path[depth].weight;
    for at in (0..depth).rev() {
        if known == 0.0 {
            path[at].weight *= number(depth + 1) / (unknown * number(depth - at));
        } else {
            let weight = path[at].weight;
            path[at].weight = next * number(depth + 1) / (number(at + 1) * known);
            next = weight - path[at].weight * unknown * number(depth - at) / number(depth + 1);
        }
    }
    for at in place..depth {
        path[at] = Step { weight: path[at].weight, ..path[at + 1] };
    }
    path.pop();
    (unknown, known)
}

/// The sum of the weights without the step at `place`.
fn unwound_weight(path: &[Step], place: usize) -> f64 {
    let depth = path.len() - 1;
    let Step { unknown, known, .. } = path[place];
    let (mut next, mut total) = (path[depth].weight, 0.0);
    for at in (0..depth).rev() {
        if known != 0.0 {
            let weight = next * number(depth + 1) / (number(at + 1) * known);
            total += weight;
            next = path[at].weight - weight * unknown * number(depth - at) / number(depth + 1);
        } else if unknown != 0.0 {
            total += path[at].weight * number(depth + 1) / (unknown * number(depth - at));
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::super::forest::{Combination, GrownNode};
    use super::super::matrix::slices;
    use super::super::{Features, Forest, Model};

    /// Trees of scikit-learn, rows, and what shap 0.51 says of them: `tests/fixtures/shap_expected.py`.
    const EXPECTED: &str = include_str!("../../../tests/fixtures/shap_expected.txt");

    fn numbers(line: &str) -> Vec<f64> {
        line.split_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    fn lines(kind: &str) -> impl Iterator<Item = Vec<f64>> {
        let kind = kind.to_owned() + " ";
        EXPECTED.lines().filter_map(move |line| line.strip_prefix(&kind).map(numbers))
    }

    /// Of each node: tree, left, right, feature, threshold, value, rows; the forest with its counts of rows.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "written as whole numbers")]
    fn forest(kind: &str, combination: Combination) -> Forest {
        let mut trees: Vec<Vec<GrownNode>> = Vec::new();
        let mut covers: Vec<Vec<f64>> = Vec::new();
        for node in lines(kind) {
            let [tree, left, right, feature] =
                [node[0], node[1], node[2], node[3]].map(|x| x.max(0.0) as usize);
            if tree == trees.len() {
                trees.push(Vec::new());
                covers.push(Vec::new());
            }
            let split = (node[1] >= 0.0).then_some((feature, node[4], left, right));
            trees[tree].push(GrownNode { value: node[5], split });
            covers[tree].push(node[6]);
        }
        let mut forest = Forest::new(&trees, combination).unwrap();
        forest.set_covers(&trees, &covers);
        forest
    }

    fn assert_equal(kind: &str, combination: Combination) {
        let forest = forest(kind, combination);
        let rows: Vec<Vec<f64>> = lines("row").collect();
        let columns: Vec<Vec<f64>> =
            (0..rows[0].len()).map(|at| rows.iter().map(|row| row[at]).collect()).collect();
        let columns = slices(&columns);
        let features = Features::new(&columns);
        let found = forest.shap(1, &features);
        let expected: Vec<Vec<f64>> = lines(&format!("{kind}_shap")).collect();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} {expected}");
        }
        let base = lines(&format!("{kind}_base")).next().unwrap()[0];
        assert!((forest.base(1) - base).abs() <= 1e-9 * base.abs().max(1.0), "{} {base}", forest.base(1));
        let predicted = match combination {
            Combination::Votes(_) => forest.predict_proba(&features, 1).unwrap(),
            _ => forest.predict(&features),
        };
        for (parts, predicted) in found.iter().zip(predicted) {
            let sum = base + parts.iter().sum::<f64>();
            assert!((sum - predicted).abs() < 1e-9 * predicted.abs().max(1.0), "{sum} {predicted}");
        }
    }

    #[test]
    fn contributions_of_a_mean_of_trees_are_those_of_shap() {
        assert_equal("mean", Combination::Mean);
    }

    #[test]
    fn contributions_of_boosted_trees_are_those_of_shap() {
        assert_equal("boosted", Combination::Sum { base: 3.5, rate: 0.1 });
    }

    #[test]
    fn contributions_to_the_votes_for_a_class_are_those_of_shap() {
        assert_equal("votes", Combination::Votes(2));
    }
}
