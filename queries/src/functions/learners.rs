//! Functions from row to row that learn while they predict.

use lineshaft_operators::online::{
    Conformal, HalfSpaceTrees, HoeffdingOptions, HoeffdingRegressor, HoeffdingTree, Loss, Online, PcaFigure,
    RecursiveLeastSquares, Replay, RunningPca, Sgd,
};

use super::online::{BASE, OnlineFunction, is_window};
use super::parameter::{Parameter, is_whole, whole};

const Y: Parameter = Parameter::number("y", "the truth, which may be NULL", |_| true);
const FEATURES: Parameter = Parameter::list("x", "the features: an array of numbers, as many in each row");
const PREDICTED: Parameter = Parameter::number("predicted", "the prediction of y", |_| true);

const FORGETTING: Parameter = Parameter::number(
    "forgetting",
    "what the rows so far weigh after a row, above 0 and at most 1",
    |weight| weight > 0.0 && weight <= 1.0,
);
const PRIOR: Parameter = Parameter::number(
    "prior",
    "the variance of the weights before the first row, and the most afterwards, above 0",
    |variance| variance > 0.0 && variance.is_finite(),
);
const DELAY: Parameter =
    Parameter::number("delay", "the number of rows after which y is known, from 0 to 100000", |rows| {
        is_whole(rows) && rows <= 100_000.0
    });
const RATE: Parameter =
    Parameter::number("rate", "the length of a step, above 0; features should be scaled", |rate| {
        rate > 0.0 && rate.is_finite()
    });
const L2: Parameter = Parameter::number("l2", "the penalty on the weights, from 0 up", |penalty| {
    penalty >= 0.0 && penalty.is_finite()
});
const MEMORY: Parameter = Parameter::number(
    "memory",
    "rows of the past that are kept, from 0 to 100000; 0 for no replay",
    |rows| is_whole(rows) && rows <= 100_000.0,
);
const REPLAYS: Parameter =
    Parameter::number("replays", "kept rows that are learned again after each row, from 0 up", is_whole);
const SEED: Parameter = Parameter::number("seed", "a whole number from 0 up", is_whole);
const GRACE: Parameter =
    Parameter::number("grace", "rows of a leaf between two attempts to split it, from 1 up", |rows| {
        rows >= 1.0
    });
const DELTA: Parameter = Parameter::number(
    "delta",
    "the probability that a split is not the best one, between 0 and 1",
    |delta| delta > 0.0 && delta < 1.0,
);
const TAU: Parameter =
    Parameter::number("tau", "the bound below which the best split is taken anyway, from 0 up", |tau| {
        tau >= 0.0
    });
const DEPTH: Parameter =
    Parameter::number("max_depth", "the most splits from root to leaf, from 0 to 100", |depth| {
        is_whole(depth) && depth <= 100.0
    });
const COMPONENTS: Parameter =
    Parameter::number("components", "a whole number from 1 up", |n| is_whole(n) && n >= 1.0);
const EVERY: Parameter =
    Parameter::number("every", "a whole number of rows from 2 up", |n| is_whole(n) && n >= 2.0);
const DIGITS: Parameter =
    Parameter::number("digits", "a whole number from 0 to 15", |digits| is_whole(digits) && digits <= 15.0);
const TREES: Parameter = Parameter::number("trees", "a whole number from 1 to 1000", |trees| {
    is_whole(trees) && (1.0..=1000.0).contains(&trees)
});
const HEIGHT: Parameter = Parameter::number("height", "a whole number from 1 to 15", |height| {
    is_whole(height) && (1.0..=15.0).contains(&height)
});
const WINDOW: Parameter = Parameter::number("window", "a whole number of rows from 1 to 100000", is_window);
const COVERAGE: Parameter =
    Parameter::number("coverage", "the share of rows that the interval covers, between 0 and 1", |share| {
        share > 0.0 && share < 1.0
    });
const ADAPTATION: Parameter =
    Parameter::number("rate", "how fast the share is corrected, from 0 to 1", |rate| {
        (0.0..=1.0).contains(&rate)
    });

const UNKNOWN: &str = "a feature is not a number, there were fewer rows than features and one yet, or the number of features has changed";
const FEW: &str = "predicted is not a number, or there are too few rows yet for that share";

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, from 0 up")]
fn seed(number: f64) -> u64 {
    number as u64
}

fn sgd(loss: Loss, p: &[f64]) -> Option<Online> {
    Sgd::new(loss, p[0], p[1], Replay::new(whole(p[2]), whole(p[3]), seed(p[4]))).map(Online::from)
}

pub(super) const LEARNERS: &[OnlineFunction] = &[
    OnlineFunction {
        name: "rls",
        inputs: &[Y, FEATURES],
        parameters: &[FORGETTING.or(0.999), PRIOR.or(1e6), DELAY.or(0.0)],
        make: |p, _| RecursiveLeastSquares::new(p[0], p[1], whole(p[2])).map(Online::from),
        summary: "What a linear regression of the rows before makes of x; it forgets them with a half-life of ln(0.5) / ln(forgetting) rows, \
            but not while the inputs stand still. Features need no scaling; there may be 999. With a delay, y is learned so many rows later, as where a laboratory tells it",
        formula: "g = P z / (forgetting + z' P z); w += g (y - w' z); P = (P - g z' P) / forgetting, with z = [1, x]",
        source: "Haykin, Adaptive filter theory (5th ed., 2014), chapter 10",
        unit: "unit of y",
        null_when: UNKNOWN,
        ..BASE
    },
    OnlineFunction {
        name: "sgd_regression",
        inputs: &[Y, FEATURES],
        parameters: &[RATE.or(0.01), L2.or(0.0), MEMORY.or(0.0), REPLAYS.or(1.0), SEED.or(42.0)],
        make: |p, _| sgd(Loss::Squared, p),
        summary: "What a linear regression, learned by gradients from the rows before, makes of x. With a memory, a fair sample of all rows so \
            far is kept, and some of it learned again after each row: what no longer comes is not forgotten",
        formula: "w -= rate (2 (w' z - y) z + l2 w), without the penalty for the constant",
        source: "Robbins, Monro (1951); as river's LinearRegression with SGD and intercept_lr = rate; Vitter (1985) for the sample",
        unit: "unit of y",
        null_when: UNKNOWN,
        ..BASE
    },
    OnlineFunction {
        name: "sgd_classification",
        inputs: &[Y, FEATURES],
        parameters: &[RATE.or(0.01), L2.or(0.0), MEMORY.or(0.0), REPLAYS.or(1.0), SEED.or(42.0)],
        make: |p, _| sgd(Loss::Logistic, p),
        summary: "The probability that y is above 0 by a logistic regression, learned by gradients from the rows before; otherwise as \
            `sgd_regression`. y is 0 or 1",
        formula: "w -= rate ((1 / (1 + exp(-w' z)) - y) z + l2 w)",
        source: "as river's LogisticRegression with SGD and intercept_lr = rate",
        unit: "none",
        null_when: UNKNOWN,
        ..BASE
    },
    OnlineFunction {
        name: "hoeffding_tree",
        inputs: &[Y, FEATURES],
        parameters: &[GRACE.or(200.0), DELTA.or(1e-7), TAU.or(0.05), DEPTH.or(20.0)],
        make: |p, _| {
            let options = HoeffdingOptions { grace: p[0], delta: p[1], tau: p[2], max_depth: whole(p[3]) };
            HoeffdingTree::new(options).map(Online::from)
        },
        summary: "The class that a decision tree, grown from the rows before, makes of x; y is the number of a class. A leaf is split where the             best split gains more than the second best by the bound of Hoeffding, or the bound is below tau; a tree of 4,095 nodes grows no more",
        formula: "bound = sqrt(log2(classes)^2 * ln(1 / delta) / (2 n)), looked at each `grace` rows of a leaf",
        source: "Domingos, Hulten (2000), Mining high-speed data streams; as river's HoeffdingTreeClassifier with leaf_prediction='mc'",
        unit: "number of the class",
        null_when: "a feature is not a number, there was no row with a class yet, or the number of features has changed",
        ..BASE
    },
    OnlineFunction {
        name: "hoeffding_regression",
        inputs: &[Y, FEATURES],
        parameters: &[GRACE.or(200.0), DELTA.or(1e-7), TAU.or(0.05), DEPTH.or(20.0), DIGITS.or(1.0)],
        make: |p, _| {
            let options = HoeffdingOptions { grace: p[0], delta: p[1], tau: p[2], max_depth: whole(p[3]) };
            HoeffdingRegressor::new(options, whole(p[4])).map(Online::from)
        },
        summary: "The mean of y that a regression tree, grown from the rows before, gives for x. A leaf is split where the second best split \
            reduces the variance by a share of the best that is below one by more than the bound, or the bound is below tau; splits lie at values \
            with so many digits, so features should be scaled. A tree of 4,095 nodes grows no more, a leaf keeps 2,048 values of a feature",
        formula: "bound = sqrt(ln(1 / delta) / (2 n)), looked at each `grace` rows of a leaf",
        source: "Ikonomovska, Gama, Dzeroski (2011), Learning model trees from evolving data streams; as river's HoeffdingTreeRegressor with \
            leaf_prediction='mean'",
        unit: "unit of y",
        null_when: "a feature is not a number, there was no row with y yet, or the number of features has changed",
        ..BASE
    },
    OnlineFunction {
        name: "running_pca_t2",
        inputs: &[FEATURES],
        parameters: &[COMPONENTS, EVERY.or(100.0), FORGETTING.or(0.999)],
        make: |p, _| RunningPca::new(PcaFigure::T2, whole(p[0]), whole(p[1]), p[2]).map(Online::from),
        needs: "components below every",
        summary: "Hotelling's T2 of x by the principal components of the rows before, which are taken anew after each `every` rows from the exact \
            correlations; rows before weigh less by a factor a row. For limits take `running_quantile` of it, or that of a chi-squared distribution",
        formula: "sum(t_a^2 / l_a), t = P' z, z = (x - mean) / stddev_pop of the rows before",
        source: "Li et al. (2000), Recursive PCA for adaptive process monitoring",
        unit: "none",
        null_when: "a feature is not a number, it is one of the first `every` rows, or the number of features has changed",
        ..BASE
    },
    OnlineFunction {
        name: "running_pca_spe",
        inputs: &[FEATURES],
        parameters: &[COMPONENTS, EVERY.or(100.0), FORGETTING.or(0.999)],
        make: |p, _| RunningPca::new(PcaFigure::Spe, whole(p[0]), whole(p[1]), p[2]).map(Online::from),
        needs: "components below every",
        summary: "The squared prediction error of x, how far it is from the principal components of the rows before; otherwise as `running_pca_t2`",
        formula: "|z - P P' z|^2",
        source: "Li et al. (2000); Jackson, Mudholkar (1979)",
        unit: "none",
        null_when: "a feature is not a number, it is one of the first `every` rows, or the number of features has changed",
        ..BASE
    },
    OnlineFunction {
        name: "half_space_trees",
        inputs: &[FEATURES],
        parameters: &[TREES.or(25.0), HEIGHT.or(8.0), WINDOW.or(250.0), SEED.or(42.0)],
        make: |p, _| HalfSpaceTrees::new(whole(p[0]), whole(p[1]), whole(p[2]), seed(p[3])).map(Online::from),
        summary: "How few rows of the window before share the parts of the space in which x lies, from 0 to 1: near 1 where there are none. \
            The features should be between 0 and 1, as `minmax_scale` makes them",
        formula: "1 - sum over the trees of m_k 2^k along the way of x / (trees * window * (2^(height + 1) - 1)), which ends where m_k < window / 10",
        source: "Tan, Ting, Liu (2011), Fast anomaly detection for streaming data; as river's HalfSpaceTrees, with other random numbers",
        unit: "none",
        null_when: "a feature is not a number, it is in the first window, or the number of features has changed",
        ..BASE
    },
    OnlineFunction {
        name: "conformal",
        inputs: &[Y, PREDICTED],
        parameters: &[COVERAGE.or(0.9), WINDOW.or(500.0)],
        make: |p, _| Conformal::new(p[0], whole(p[1]), 0.0).map(Online::from),
        summary: "Half the width of an interval around predicted that covers y in a share of the rows, if they are alike: by the distances of the \
            last rows before, whatever made the prediction",
        formula: "the ceil((n + 1) * coverage)-th least of |y - predicted| of the last n rows, at most `window`",
        source: "Papadopoulos et al. (2002), split conformal intervals",
        unit: "unit of y",
        null_when: FEW,
        ..BASE
    },
    OnlineFunction {
        name: "adaptive_conformal",
        inputs: &[Y, PREDICTED],
        parameters: &[COVERAGE.or(0.9), WINDOW.or(500.0), ADAPTATION.or(0.01)],
        make: |p, _| Conformal::new(p[0], whole(p[1]), p[2]).map(Online::from),
        summary: "As `conformal`, with a share that is corrected row by row, so that it holds in the long run while the process drifts",
        formula: "alpha += rate * (1 - coverage - missed); the ceil((n + 1) * (1 - alpha))-th least distance",
        source: "Gibbs, Candès (2021), Adaptive conformal inference under distribution shift",
        unit: "unit of y",
        null_when: FEW,
        ..BASE
    },
];
