//! Against onnxruntime 1.32: `tests/fixtures/onnx/expected.py`.

use super::super::matrix::slices;
use super::*;

const EXPECTED: &str = include_str!("../../../../tests/fixtures/onnx/expected.txt");

fn bytes(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/onnx");
    std::fs::read(format!("{folder}/{name}.onnx")).unwrap()
}

fn model(name: &str) -> Imported {
    OnnxModel::read(&bytes(name), &OnnxOptions::default()).unwrap()
}

fn words(name: &str) -> Vec<&'static str> {
    let line = EXPECTED.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().split(' ').collect()
}

fn numbers(name: &str) -> Vec<f64> {
    words(name).into_iter().map(|word| word.parse().unwrap()).collect()
}

/// The rows as columns.
fn columns() -> Vec<Vec<f64>> {
    let rows = EXPECTED.lines().filter_map(|line| line.strip_prefix("row "));
    let rows: Vec<Vec<f64>> =
        rows.map(|row| row.split(' ').map(|word| word.parse().unwrap()).collect()).collect();
    (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
}

#[track_caller]
fn assert_close(name: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    // onnxruntime adds up floats, we doubles; of support vectors there are hundreds.
    let tolerance = if name.starts_with("sv") || OF_VECTORS.contains(&name) { 5e-5 } else { 2e-6 };
    for (found, expected) in found.iter().zip(expected) {
        let is_close = (found - expected).abs() <= tolerance * expected.abs().max(1.0);
        assert!(is_close, "{name}: {found}, not {expected}");
    }
}

const OF_VECTORS: [&str; 5] = ["svr_rbf", "svr_poly", "svr_linear", "svr_sigmoid", "one_class"];
const CLASSES_OF_VECTORS: [&str; 6] =
    ["svc_two", "svc_two_sure", "svc_two_torn", "svc_three", "svc_three_sure", "svc_sigmoid"];

#[test]
fn numbers_are_those_of_onnxruntime() {
    let others = [
        "forest_scaled",
        "linear_double",
        "boosted",
        "below",
        "linear",
        "mlp_number",
        "compared",
        "isolation",
        "bagged",
        "imputed",
        "binned",
        "binary",
        "poisson",
        "summed",
    ];
    for name in others.into_iter().chain(OF_VECTORS) {
        let Imported { model, features, classes } = model(name);
        assert_eq!(features, ["x_0", "x_1", "x_2", "x_3"]);
        assert_eq!((classes, model.task()), (None, Task::Regression));
        let found = model.predict(&Features::new(&slices(&columns())));
        assert_close(name, &found, &numbers(name));
    }
}

#[test]
fn classes_and_their_scores_are_those_of_onnxruntime() {
    for name in [
        "forest_two",
        "forest_text",
        "boosted_two",
        "boosted_three",
        "logistic_two",
        "logistic_three",
        "mlp_two",
        "mlp_three",
        "renamed",
        "bagged_three",
        "adaboost_three",
        "gaussian_bayes",
        "multinomial_bayes",
        "complement_bayes",
        "one_against_rest",
        "clusters",
        "mixture",
    ]
    .into_iter()
    .chain(CLASSES_OF_VECTORS)
    {
        let Imported { model, classes, .. } = model(name);
        let labels = classes.unwrap().labels();
        let columns = columns();
        let columns = slices(&columns);
        let features = Features::new(&columns);
        let places = model.predict(&features);
        let found: Vec<&str> =
            places.iter().map(|place| labels[crate::model::score::class_index(*place)].as_str()).collect();
        assert_eq!(found, words(name), "{name}");
        let scores: Vec<Vec<f64>> =
            (0..labels.len()).map(|class| model.predict_proba(&features, class).unwrap()).collect();
        let found: Vec<f64> =
            (0..features.rows()).flat_map(|row| scores.iter().map(move |class| class[row])).collect();
        assert_close(name, &found, &numbers(&format!("{name}_scores")));
        assert_eq!(model.predict_proba(&features, labels.len()), None);
    }
}

#[test]
fn an_output_of_several_columns_needs_the_names_of_its_classes() {
    let read = |classes: &[&str]| {
        let classes = classes.iter().map(ToString::to_string).collect();
        OnnxModel::read(&bytes("net"), &OnnxOptions { classes, ..OnnxOptions::default() })
    };
    assert!(read(&[]).unwrap_err().contains("its output has 3 columns"));
    assert!(read(&["a", "b"]).unwrap_err().contains("names 2"));
    let model = read(&["a", "b", "c"]).unwrap().model;
    let columns = columns();
    let columns = slices(&columns);
    let features = Features::new(&columns);
    let scores: Vec<Vec<f64>> = (0..3).map(|class| model.predict_proba(&features, class).unwrap()).collect();
    let found: Vec<f64> =
        (0..features.rows()).flat_map(|row| scores.iter().map(move |class| class[row])).collect();
    assert_close("net", &found, &numbers("net"));
    let scores = Columns::of(scores.iter().map(Vec::as_slice), features.rows());
    assert_eq!(operation::greatest(&scores), model.predict(&features));
}

#[test]
fn an_output_beside_the_first_one_is_chosen_by_its_name() {
    let options = OnnxOptions { output: Some("scores".into()), ..OnnxOptions::default() };
    let model = OnnxModel::read(&bytes("isolation"), &options).unwrap().model;
    let found = model.predict(&Features::new(&slices(&columns())));
    assert_close("isolation_scores", &found, &numbers("isolation_scores"));
}

#[test]
fn what_cannot_be_scored_is_named() {
    let read = |bytes: &[u8]| OnnxModel::read(bytes, &OnnxOptions::default()).unwrap_err();
    let mut unknown = bytes("net");
    let at = unknown.windows(8).position(|word| word == b"Softplus").unwrap();
    unknown[at..at + 8].copy_from_slice(b"Hardplus");
    assert_eq!(read(&unknown), "operator Hardplus of ai.onnx is not supported");
    assert!(read(b"").contains("no graph"));
    assert!(read(b"ts,machine,x\n1,a,2\n").contains("no ONNX file"));
    let whole = bytes("forest_two");
    for cut in (1..whole.len()).step_by(97) {
        read(&whole[..cut]);
    }
    let options = OnnxOptions { features: vec!["a".into()], ..OnnxOptions::default() };
    let error = OnnxModel::read(&bytes("linear"), &options).unwrap_err();
    assert!(error.contains("takes 4 features"), "{error}");
    let options = OnnxOptions { output: Some("z".into()), ..OnnxOptions::default() };
    let error = OnnxModel::read(&bytes("linear"), &options).unwrap_err();
    assert!(error.contains("no output \"z\", but variable"), "{error}");
}

#[test]
fn a_stored_model_is_the_same() {
    for name in ["forest_two", "mlp_three", "linear", "svc_three", "isolation", "compared", "summed"] {
        let model = model(name).model;
        let stored = postcard::to_allocvec(&model).unwrap();
        assert_eq!(postcard::from_bytes::<OnnxModel>(&stored).unwrap(), model);
    }
}

#[test]
fn the_votes_of_support_vectors_decide_against_their_probabilities() {
    let Imported { model, .. } = model("svc_two_torn");
    let columns = columns();
    let columns = slices(&columns);
    let features = Features::new(&columns);
    let (places, likely) = (model.predict(&features), model.predict_proba(&features, 1).unwrap());
    let torn = places.iter().zip(&likely).filter(|(place, likely)| (**place > 0.5) != (**likely > 0.5));
    assert_eq!(torn.count(), 23);
}
