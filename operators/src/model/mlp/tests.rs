use super::super::hyper_parameters::Loss;
use super::super::matrix::slices;
use super::*;

/// Networks of scikit-learn before and after training: `tests/fixtures/mlp_expected.py`.
const EXPECTED: &str = include_str!("../../../../tests/fixtures/mlp_expected.txt");

fn lines(kind: &str) -> Vec<Vec<f64>> {
    let kind = kind.to_owned() + " ";
    let lines = EXPECTED.lines().filter_map(|line| line.strip_prefix(&kind));
    lines.map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect()).collect()
}

fn options(hidden: &[usize], activation: Activation, loss: Loss) -> MlpOptions {
    MlpOptions {
        loss,
        hidden: hidden.to_vec(),
        activation,
        epochs: 20,
        batch_size: 16,
        learning_rate: 0.01,
        patience: 0,
        validation_fraction: 0.1,
    }
}

/// Layers from numbers in the order of weights, biases, next layer.
fn layers(sizes: &[usize], numbers: &[f64]) -> Vec<Layer> {
    let mut rest = numbers;
    let layer = |pair: &[usize]| {
        let (weights, after) = rest.split_at(pair[0] * pair[1]);
        let (biases, after) = after.split_at(pair[1]);
        rest = after;
        Layer::new(weights.to_vec(), biases.to_vec())
    };
    sizes.windows(2).map(layer).collect()
}

fn assert_trains_as_scikit_learn(
    kind: &str,
    options: &MlpOptions,
    output: Output,
    goals: Vec<f64>,
    outputs: usize,
) {
    let sizes: Vec<usize> = [&[3], options.hidden.as_slice(), &[outputs]].concat();
    let start = lines(&format!("{kind}_start")).remove(0);
    let mut network = Mlp {
        layers: layers(&sizes, &start),
        activation: options.activation,
        inputs: (0..3).map(|feature| (feature, 0.0, 1.0)).collect(),
        output,
        epochs: Vec::new(),
    };
    let rows = Rows { inputs: lines("row").concat(), goals, width: 3, outputs };
    network.train(options, &rows, 0, None).unwrap();
    let expected = layers(&sizes, &lines(&format!("{kind}_end"))[0]);
    for (found, expected) in network.layers.iter().zip(&expected) {
        assert!(found.is_near(expected, 1e-9), "{kind}: {found:?} {expected:?}");
    }
    let losses = &lines(&format!("{kind}_losses"))[0];
    assert_eq!(network.epochs.len(), losses.len());
    for (epoch, expected) in network.epochs.iter().zip(losses) {
        assert!((epoch.loss - expected).abs() < 1e-9, "{kind}: {} {expected}", epoch.loss);
    }
}

#[test]
fn a_network_of_numbers_trains_as_that_of_scikit_learn() {
    let output = Output::Number { mean: 0.0, deviation: 1.0 };
    let target = lines("target").remove(0);
    let relu = options(&[4], Activation::Relu, Loss::Mse);
    assert_trains_as_scikit_learn("relu", &relu, output, target.clone(), 1);
    let tanh = options(&[5, 4], Activation::Tanh, Loss::Mse);
    assert_trains_as_scikit_learn("tanh", &tanh, output, target, 1);
}

#[test]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "written as whole numbers")]
fn a_network_of_classes_trains_as_that_of_scikit_learn() {
    let classes: Vec<u32> = lines("classes")[0].iter().map(|class| *class as u32).collect();
    let (goals, outputs, output) = goals(&Goal::Classes(&classes, 3)).unwrap();
    let sigmoid = options(&[4], Activation::Sigmoid, Loss::CrossEntropy);
    assert_trains_as_scikit_learn("classes_sigmoid", &sigmoid, output, goals, outputs);
}

/// Two features, one of which is in other units, and a curve.
fn plant(rows: i32) -> (Vec<Vec<f64>>, Vec<f64>) {
    let a: Vec<f64> = (0..rows).map(|i| f64::from(i % 20) / 10.0 - 1.0).collect();
    let b: Vec<f64> = (0..rows).map(|i| 5000.0 + 100.0 * f64::from((i * 7) % 13)).collect();
    let y = a.iter().zip(&b).map(|(a, b)| 300.0 + 40.0 * a * a + (b - 5600.0) / 50.0).collect();
    (vec![a, b], y)
}

#[test]
fn a_curve_in_any_unit_is_learned_and_the_seed_decides() {
    let (x, y) = plant(400);
    let options = MlpOptions { epochs: 200, ..options(&[16], Activation::Relu, Loss::Mse) };
    let network = fit(&options, 5, &x, &Goal::Numbers(&y), 0).unwrap();
    let predicted = network.predict(&Features::new(&slices(&x)));
    let worst = predicted.iter().zip(&y).map(|(p, y)| (p - y).abs()).fold(0.0, f64::max);
    assert!(worst < 4.0, "of a span of 64: {worst}");
    assert_eq!(fit(&options, 5, &x, &Goal::Numbers(&y), 0).unwrap(), network);
    assert_ne!(fit(&options, 6, &x, &Goal::Numbers(&y), 0).unwrap(), network);
    let losses = network.epochs();
    assert!(losses.len() == 200 && losses[199][0].value < losses[0][0].value / 20.0);
}

#[test]
fn training_ends_early_at_the_best_weights() {
    let (x, mut y) = plant(200);
    // The last rows say something else, so it gets worse on them the longer it learns.
    y.iter_mut().skip(180).for_each(|y| *y = 600.0 - *y);
    let options = MlpOptions { patience: 3, epochs: 500, ..options(&[16], Activation::Tanh, Loss::Mse) };
    let network = fit(&options, 1, &x, &Goal::Numbers(&y), 0).unwrap();
    let losses: Vec<f64> = network.epochs.iter().map(|epoch| epoch.validation_loss.unwrap()).collect();
    assert!(losses.len() < 500, "{}", losses.len());
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(
        losses[losses.len() - 4].total_cmp(&least).is_eq() && losses[losses.len() - 1] > least,
        "{losses:?}"
    );
}

#[test]
fn what_cannot_be_learned_is_told() {
    let (x, y) = plant(40);
    let options = options(&[4], Activation::Relu, Loss::Mse);
    let few = MlpOptions { patience: 5, validation_fraction: 0.99, ..options.clone() };
    assert!(fit(&few, 1, &x, &Goal::Numbers(&y), 0).unwrap_err().contains("too few to end early"));
    let wild = MlpOptions { learning_rate: 1e200, ..options.clone() };
    assert!(fit(&wild, 1, &x, &Goal::Numbers(&y), 0).unwrap_err().contains("lower learning_rate"));
    let constant = vec![vec![1.0; 40]];
    assert!(
        fit(&options, 1, &constant, &Goal::Numbers(&y), 0).unwrap_err().contains("every feature is constant")
    );
}
