//! Against NumPy: `tests/fixtures/safetensors/expected.py`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;
use lineshaft_engine::declaration::Options;

use super::super::matrix::slices;
use super::super::{Features, Model, Task, Trained, Training, train};
use super::*;

const EXPECTED: &str = include_str!("../../../../tests/fixtures/safetensors/expected.txt");

fn bytes(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/safetensors");
    std::fs::read(format!("{folder}/{name}.safetensors")).unwrap()
}

fn parsed(line: &str) -> Vec<f64> {
    line.split(' ').map(|word| word.parse().unwrap()).collect()
}

fn numbers(name: &str) -> Vec<f64> {
    parsed(EXPECTED.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap())
}

/// The rows as columns.
fn columns() -> Vec<Vec<f64>> {
    let rows: Vec<Vec<f64>> =
        EXPECTED.lines().filter_map(|line| line.strip_prefix("row ")).map(parsed).collect();
    (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
}

fn options(activation: &str) -> NetOptions {
    let activations = activation.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    NetOptions { activations, ..NetOptions::default() }
}

fn of(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{found}, not {expected}");
    }
}

#[test]
fn numbers_are_those_of_numpy() {
    let columns = columns();
    let slices = slices(&columns);
    let Imported { model, features, classes } = read(&bytes("number"), &options("relu")).unwrap();
    assert_eq!((features, classes), (of(&["x_0", "x_1", "x_2"]), None));
    // NumPy adds up floats, we doubles.
    assert_close(&model.predict(&Features::new(&slices)), &numbers("number"), 2e-6);
    let named =
        NetOptions { layers: of(&["start", "middle", "end"]), prefix: "net.".into(), ..options("tanh elu") };
    let model = read(&bytes("named"), &named).unwrap().model;
    assert_close(&model.predict(&Features::new(&slices)), &numbers("named"), 2e-6);
}

#[test]
fn probabilities_are_those_of_numpy() {
    let columns = columns();
    let slices = slices(&columns);
    let features = Features::new(&slices);
    let three = NetOptions { classes: of(&["good", "worn", "broken"]), ..options("tanh") };
    let Imported { model, classes, .. } = read(&bytes("three"), &three).unwrap();
    assert_eq!((model.task(), classes.unwrap().len()), (Task::Classification, 3));
    let expected = numbers("three");
    for class in 0..3 {
        let expected: Vec<f64> = expected.iter().skip(class).step_by(3).copied().collect();
        assert_close(&model.predict_proba(&features, class).unwrap(), &expected, 1e-12);
    }
    let two = NetOptions { classes: of(&["good", "worn"]), ..options("sigmoid") };
    let model = read(&bytes("two"), &two).unwrap().model;
    assert_close(&model.predict_proba(&features, 1).unwrap(), &numbers("two"), 2e-6);
    let other: Vec<f64> = numbers("two").iter().map(|p| 1.0 - p).collect();
    assert_close(&model.predict_proba(&features, 0).unwrap(), &other, 2e-6);
    let worn: Vec<f64> = numbers("two").iter().map(|p| f64::from(u8::from(*p > 0.5))).collect();
    assert_eq!(model.predict(&features), worn);
}

#[test]
fn what_is_not_known_of_a_net_is_asked_for() {
    let refused = |name: &str, options: &NetOptions| read(&bytes(name), options).unwrap_err();
    let tells = |found: String, wanted: &str| assert!(found.contains(wanted), "{found}");
    tells(refused("number", &options("")), "with the option `activation`");
    tells(
        refused("number", &options("relu tanh relu")),
        "has 2 hidden layers, and the option `activation` names 3",
    );
    tells(refused("three", &options("tanh")), "3 outputs; name them with the option `classes`");
    tells(refused("named", &options("tanh")), "which of its layers comes first?");
    let features = NetOptions { features: of(&["a"]), ..options("relu") };
    tells(refused("number", &features), "takes 3 features, and the option `features` names 1");
    let layers = NetOptions { layers: of(&["0", "2"]), ..options("relu") };
    tells(refused("number", &layers), "leaves out layer \"10\"");
    let prefix = NetOptions { prefix: "fc.".into(), ..options("relu") };
    tells(refused("number", &prefix), "no tensor begins with \"fc.\"; it has 0.bias, 0.weight");
}

#[test]
fn what_is_no_dense_net_is_named() {
    let refused = |bytes: &[u8]| read(bytes, &options("relu")).unwrap_err();
    assert_eq!(
        refused(&bytes("norm")),
        "tensor \"1.running_mean\" is neither the weight nor the bias of a dense layer"
    );
    assert!(refused(&bytes("half")).contains("is F16; F32 and F64 are read"), "{}", refused(&bytes("half")));
    assert_eq!(refused(&bytes("chain")), "layer \"2\" takes 5 columns, and the one before it gives 4");
    assert!(refused(b"a,b\n1,2\n").contains("no safetensors file"));
    let whole = bytes("number");
    for length in 0..whole.len() {
        assert!(read(&whole[..length], &options("relu")).is_err(), "a file that is cut after {length} bytes");
    }
}

/// `y = a - 2 b`, and a column that says nothing.
fn table() -> RecordBatch {
    let a: Vec<f64> = (0..60).map(|i| f64::from(i * 7 % 20) * 10.0).collect();
    let b: Vec<f64> = (0..60).map(|i| f64::from(i * 3 % 11)).collect();
    let y: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - 2.0 * b).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(Float64Array::from(a.clone()))),
        ("dead", Arc::new(Float64Array::from(vec![3.0; 60]))),
        ("b", Arc::new(Float64Array::from(b))),
        ("y", Arc::new(Float64Array::from(y))),
        ("high", Arc::new(BooleanArray::from_iter(a.iter().map(|a| Some(*a > 90.0))))),
        (
            "line",
            Arc::new(StringArray::from_iter_values((0..60).map(|i| if i % 2 == 0 { "l1" } else { "l2" }))),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn trained(options: &[(&str, &str)], per: Option<&str>, columns: &[usize]) -> Trained {
    let all = [&[("algorithm", "mlp"), ("hidden", "6 5"), ("epochs", "20"), ("seed", "3")], options].concat();
    let options: Options = all.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let training = Training::from_options("net", &options).unwrap();
    let training = Training { per: per.map(str::to_owned), ..training };
    train(&training, &table().project(columns).unwrap()).unwrap()
}

#[test]
fn a_trained_net_is_written_and_read_again() {
    let trained = trained(&[("target", "y"), ("activation", "tanh")], None, &[0, 1, 2, 3]);
    let written = trained.to_safetensors().unwrap().unwrap();
    assert_eq!(trained.to_safetensors().unwrap().unwrap(), written, "the same bytes each time");
    let Imported { model, features, classes } = read(&written, &NetOptions::default()).unwrap();
    assert_eq!((features, classes), (of(&["a", "dead", "b"]), None));
    let columns = table().columns()[..3].to_vec();
    let numbers: Vec<Vec<f64>> =
        columns.iter().map(|column| column.as_primitive::<Float64Type>().values().to_vec()).collect();
    let found = model.predict(&Features::new(&slices(&numbers)));
    let expected = trained.predict(&columns).unwrap();
    assert_close(&found, expected.as_primitive::<Float64Type>().values(), 1e-12);
}

#[test]
fn classes_keep_their_type_and_each_key_has_a_net() {
    let columns = [0, 2, 4, 5];
    let trained = trained(&[("target", "high"), ("loss", "cross_entropy")], Some("line"), &columns);
    let written = trained.to_safetensors().unwrap().unwrap();
    let of_line = NetOptions { prefix: "l2/".into(), ..NetOptions::default() };
    let Imported { model, classes, .. } = read(&written, &of_line).unwrap();
    assert_eq!(classes, Some(Classes::Boolean(vec![false, true])));
    let inputs: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["l2"; 60])),
        Arc::clone(table().column(0)),
        Arc::clone(table().column(2)),
    ];
    let numbers: Vec<Vec<f64>> =
        inputs[1..].iter().map(|column| column.as_primitive::<Float64Type>().values().to_vec()).collect();
    let found = model.predict_proba(&Features::new(&slices(&numbers)), 1).unwrap();
    let expected = trained.predict_proba(&inputs, None).unwrap();
    assert_close(&found, expected.as_primitive::<Float64Type>().values(), 1e-12);
}
