use super::*;
use crate::model::random::Random;

fn columns(rows: usize, width: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut random = Random::new(seed);
    (0..width).map(|_| (0..rows).map(|_| random.unit() * 10.0).collect()).collect()
}

fn options(trees: u16, max_depth: u16) -> ForestOptions {
    ForestOptions { trees, max_depth, min_samples_leaf: 1, m: None }
}

#[test]
fn regressions_of_unseen_rows_equal_smartcore_bit_for_bit() {
    let train = columns(400, 4, 1);
    let target: Vec<f64> = (0..400).map(|i| train[0][i] * train[1][i].sin() + train[2][i]).collect();
    let unseen = columns(500, 4, 2);
    for max_depth in [1, 5, 40] {
        let options = options(20, max_depth);
        let ours = fit_regressor(&options, 7, &train, &target).unwrap();
        let theirs = grow_regressor(&options, 7, &train, &target).unwrap();
        let expected = theirs.predict(&matrix(&unseen).unwrap()).unwrap();
        assert_eq!(ours.predict(&Features::new(&slices(&unseen))), expected);
    }
}

#[test]
fn classes_of_unseen_rows_equal_smartcore() {
    let train = columns(400, 4, 3);
    // Class 1 never occurs: the forest keeps the numbers of the others.
    let target: Vec<u32> = (0..400).map(|i| if train[0][i] + train[1][i] > 11.0 { 2 } else { 0 }).collect();
    let unseen = columns(500, 4, 4);
    let options = options(15, 6);
    let ours = fit_classifier(&options, 9, &train, &target, 3).unwrap();
    let theirs = grow_classifier(&options, 9, &train, &target).unwrap();
    let expected: Vec<f64> =
        theirs.predict(&matrix(&unseen).unwrap()).unwrap().into_iter().map(f64::from).collect();
    let features = slices(&unseen);
    let features = Features::new(&features);
    assert_eq!(ours.predict(&features), expected);
    let probabilities: Vec<Vec<f64>> = (0..3).map(|c| ours.predict_proba(&features, c).unwrap()).collect();
    for row in 0..500 {
        let sum: f64 = probabilities.iter().map(|p| p[row]).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}

#[test]
fn the_seed_decides_the_forest() {
    let train = columns(200, 3, 5);
    let target = train[0].clone();
    let fit = |seed| fit_regressor(&options(5, 4), seed, &train, &target).unwrap();
    assert_eq!(fit(1), fit(1));
    assert_ne!(fit(1), fit(2));
}

#[test]
fn the_depth_is_the_number_of_splits_on_the_way() {
    use crate::model::decision_tree;
    use crate::model::hyper_parameters::TreeOptions;
    let train = columns(300, 1, 6);
    let class: Vec<u32> = train[0].iter().map(|x| u32::from(x.sin() > 0.0)).collect();
    let most = |forest: Result<Forest, String>| {
        let mut values = forest.unwrap().predict(&Features::new(&slices(&train)));
        values.sort_by(f64::total_cmp);
        values.dedup();
        values.len()
    };
    for depth in [1_u16, 2, 3] {
        let (tree, one) = (TreeOptions { max_depth: depth, min_samples_leaf: 1 }, options(1, depth));
        for found in [
            most(decision_tree::fit_regressor(&tree, 1, &train, &train[0])),
            most(fit_regressor(&one, 1, &train, &train[0])),
            most(fit_extra_trees(&one, 1, &train, &train[0])),
        ] {
            assert_eq!(found, 1 << depth);
        }
        assert_eq!(most(decision_tree::fit_classifier(&tree, 1, &train, &class, 2)), 2);
        assert_eq!(most(fit_classifier(&one, 1, &train, &class, 2)), 2);
    }
}
