use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::*;
use crate::model::random::Random;
use crate::model::{Algorithm, Task, train};

fn column(seed: u64) -> ArrayRef {
    let mut random = Random::new(seed);
    Arc::new(Float64Array::from_iter_values((0..200).map(|_| random.unit() * 1e3)))
}

fn training(algorithm: &str) -> Training {
    let mut options = vec![("algorithm", algorithm)];
    match algorithm {
        "kmeans" => options.push(("k", "3")),
        "dbscan" => options.push(("eps", "0.7")),
        "pca_t2_spe" | "isolation_forest" => {}
        _ if classifies(algorithm) => options.push(("target", "state")),
        _ => options.push(("target", "y")),
    }
    if algorithm.contains("forest") || algorithm.contains("trees") || algorithm.contains("boosting") {
        options.push(("trees", "10"));
    }
    let options = options.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
    Training::from_options("wear", &options.collect()).unwrap()
}

fn classifies(algorithm: &str) -> bool {
    algorithm == "svc"
        || algorithm.contains("classifier")
        || algorithm.contains("logistic")
        || algorithm.contains("bayes")
}

/// The algorithms that take no features.
const FORECASTERS: [&str; 6] =
    ["seasonal_naive", "holt_winters", "theta", "croston", "tsb", "forecast_combination"];

fn artifact(algorithm: &str) -> Artifact {
    let target = match classifies(algorithm) {
        true => {
            let a = column(1);
            let states = a.as_primitive::<Float64Type>().values().iter().map(|&a| Some(a > 400.0));
            ("state", Arc::new(states.collect::<BooleanArray>()) as ArrayRef)
        }
        false => ("y", column(3)),
    };
    let mut columns = vec![("a", column(1)), ("b", column(2)), target];
    if FORECASTERS.contains(&algorithm) {
        columns.drain(..2);
    }
    let table = RecordBatch::try_from_iter(columns).unwrap();
    Artifact::new(train(&training(algorithm), &table).unwrap(), "SELECT 1", 1_000_000)
}

#[test]
fn predictions_after_reload_are_the_same_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for algorithm in Algorithm::names() {
        let before = artifact(algorithm);
        let version = before.save(folder.path()).unwrap();
        let path = folder.path().join(format!("models/wear/v{version}.model"));
        let after = Artifact::load(&path).unwrap();
        let unseen = match FORECASTERS.contains(&algorithm) {
            true => vec![Arc::new(Float64Array::from_iter_values((1..9).map(f64::from))) as ArrayRef],
            false => vec![column(8); before.trained.features.len()],
        };
        let bits = |artifact: &Artifact| -> Vec<u64> {
            let scored = match artifact.trained.training.algorithm.task() {
                Task::Classification if algorithm == "svc" => {
                    artifact.trained.value("decision", None, &unseen).unwrap()
                }
                Task::Classification => artifact.trained.predict_proba(&unseen, None).unwrap(),
                Task::Anomaly => artifact.trained.value("score", None, &unseen).unwrap(),
                Task::Regression | Task::Clustering => artifact.trained.predict(&unseen).unwrap(),
            };
            let scored = cast(&scored, &DataType::Float64).unwrap();
            scored.as_primitive::<Float64Type>().values().iter().map(|value| value.to_bits()).collect()
        };
        assert_eq!(bits(&before), bits(&after), "{algorithm}");
        assert!(bits(&before).iter().any(|&bits| bits != 0), "{algorithm}");
        assert_eq!(before, after);
    }
}

#[test]
fn versions_count_up_and_the_newest_of_a_definition_is_found() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(list(folder.path()).unwrap(), []);
    let (ridge, linear) = (artifact("ridge"), artifact("linear_regression"));
    let versions = [&ridge, &ridge, &linear].map(|artifact| artifact.save(folder.path()).unwrap());
    assert_eq!(versions, [1, 2, 3]);
    assert_eq!(list(folder.path()).unwrap().len(), 3);
    let (stored, found) = newest(folder.path(), &training("ridge"), "SELECT 1").unwrap().unwrap();
    assert_eq!((stored.version, found), (2, ridge));
    assert_eq!(newest(folder.path(), &training("ridge"), "SELECT 2").unwrap(), None);
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    artifact("ridge").save(folder.path()).unwrap();
    let path = folder.path().join("models/wear/v1.model");
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(Artifact::load(&path).is_err(), "{length} bytes");
    }
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x40;
        // The version of the crate is for people; every other byte is checked.
        let loaded = Artifact::decode(&bytes);
        assert!(
            loaded.is_err() || (20..20 + env!("CARGO_PKG_VERSION").len()).contains(&place),
            "byte {place}"
        );
    }
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let error = Artifact::load(&path).unwrap_err();
    assert!(error.to_string().ends_with("v1.model"), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("damaged or cut short"), "{cause}");
}

#[test]
fn a_name_that_leads_out_of_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut artifact = artifact("ridge");
    artifact.trained.training.name = "../wear".to_owned();
    let error = artifact.save(folder.path()).unwrap_err().to_string();
    assert!(error.contains("use letters, digits"), "{error}");
}
