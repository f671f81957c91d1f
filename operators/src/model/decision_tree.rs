//! Single decision trees: grown by smartcore, scored as a [`Forest`] of one tree.

use smartcore::tree::decision_tree_classifier::{DecisionTreeClassifier, DecisionTreeClassifierParameters};
use smartcore::tree::decision_tree_regressor::{DecisionTreeRegressor, DecisionTreeRegressorParameters};

use super::forest::Combination;
use super::hyper_parameters::TreeOptions;
use super::matrix::slices;
use super::mirror::{ClassificationTree, SingleTreeMirror, reread, unreadable};
use super::random_forest::{Matrix, compared, levels, matrix};
use super::{Features, Forest};

/// Grows a tree whose leaves are means.
pub(crate) fn fit_regressor(
    options: &TreeOptions,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[f64],
) -> Result<Forest, String> {
    let mut parameters = DecisionTreeRegressorParameters::default()
        .with_max_depth(levels(options.max_depth))
        .with_min_samples_leaf(options.min_samples_leaf);
    parameters.seed = Some(seed);
    let grown: DecisionTreeRegressor<f64, f64, Matrix, Vec<f64>> =
        DecisionTreeRegressor::fit(&matrix(columns)?, &target.to_vec(), parameters)
            .map_err(|e| e.to_string())?;
    let mirror: SingleTreeMirror = reread(&grown)?;
    let tree = mirror.tree.and_then(|tree| tree.grown()).ok_or_else(unreadable)?;
    let forest = Forest::new(&[tree], Combination::Mean).ok_or_else(unreadable)?;
    compared(forest, columns, |sample| grown.predict(sample))
}

/// Grows a tree whose leaves are classes, split by Gini impurity; `target` holds the index of the class of each row.
pub(crate) fn fit_classifier(
    options: &TreeOptions,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[u32],
    classes: usize,
) -> Result<Forest, String> {
    let mut parameters = DecisionTreeClassifierParameters::default()
        .with_max_depth(levels(options.max_depth))
        .with_min_samples_leaf(options.min_samples_leaf);
    parameters.seed = Some(seed);
    let grown: DecisionTreeClassifier<f64, u32, Matrix, Vec<u32>> =
        DecisionTreeClassifier::fit(&matrix(columns)?, &target.to_vec(), parameters)
            .map_err(|e| e.to_string())?;
    let mirror: ClassificationTree = reread(&grown)?;
    let value = |output: usize| mirror.classes.get(output).map(|&class| f64::from(class));
    let tree = mirror.grown(value).ok_or_else(unreadable)?;
    let forest = Forest::new(&[tree], Combination::Votes(classes)).ok_or_else(unreadable)?;
    let mut forest =
        compared(forest, columns, |sample| Ok(grown.predict(sample)?.into_iter().map(f64::from).collect()))?;
    forest.share_out(&Features::new(&slices(columns)), target, classes);
    Ok(forest)
}

#[cfg(test)]
mod tests {
    use super::super::Model;
    use super::*;

    /// Of the four rows below the threshold three are of class 1, of the others none: scikit-learn's `predict_proba`.
    #[test]
    fn a_leaf_gives_the_shares_of_its_classes() {
        let columns = vec![vec![1.0, 2.0, 3.0, 4.0, 11.0, 12.0, 13.0, 14.0, 15.0]];
        let target = [1, 1, 0, 1, 0, 0, 0, 0, 0];
        let options = TreeOptions { max_depth: 1, min_samples_leaf: 1 };
        let tree = fit_classifier(&options, 0, &columns, &target, 2).unwrap();
        let rows = [vec![2.5, 20.0]];
        let rows = slices(&rows);
        let features = Features::new(&rows);
        assert_eq!(tree.predict_proba(&features, 1), Some(vec![0.75, 0.0]));
        assert_eq!(tree.predict_proba(&features, 0), Some(vec![0.25, 1.0]));
        assert_eq!(tree.predict_proba(&features, 2), None);
        assert_eq!(tree.predict(&features), [1.0, 0.0]);
        // What explains them sums to them.
        let base = tree.value_of("base", 1, &features).unwrap();
        assert!((base[0] - 3.0 / 9.0).abs() < 1e-12);
        let parts = tree.contributions_to("probability", 1, &features).unwrap();
        assert!((base[0] + parts[0][0] - 0.75).abs() < 1e-12);
    }
}
