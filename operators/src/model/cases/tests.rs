use arrow::array::{Array, Int64Array, RecordBatch};
use arrow::datatypes::Float64Type;
use lineshaft_engine::declaration::Options;

use super::super::testing::{plant, unseen};
use super::super::train;
use super::*;
use crate::model::Trained;

fn training(options: &[(&str, &str)]) -> Training {
    let options: Options = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Training::from_options("wear", &options).unwrap()
}

/// The rows of [`plant`] with the number of each, and what it was.
fn table() -> RecordBatch {
    let (x, class) = plant();
    let notes = class.iter().map(|class| (*class == 2).then_some("worn"));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("number", Arc::new(Int64Array::from_iter_values(0..20))),
        ("a", Arc::new(Float64Array::from(x[0].clone()))),
        ("b", Arc::new(Float64Array::from(x[1].clone()))),
        ("class", Arc::new(Int64Array::from_iter_values(class.iter().copied().map(i64::from)))),
        ("note", Arc::new(notes.collect::<StringArray>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn tree(table: &RecordBatch, options: &[(&str, &str)]) -> Trained {
    let all = [("algorithm", "decision_tree_classifier"), ("target", "class"), ("cases", "number")];
    train(&training(&[&all, options].concat()), table).unwrap()
}

fn columns(rows: &[Vec<f64>]) -> Vec<ArrayRef> {
    rows.iter().map(|column| Arc::new(Float64Array::from(column.clone())) as ArrayRef).collect()
}

/// Identifiers and distances of the cases of a row.
fn found(cases: &ArrayRef, row: usize) -> (Vec<String>, Vec<f64>) {
    let near = cases.as_list::<i32>().value(row);
    let near = near.as_struct();
    let ids = near.column(0).as_string::<i32>().iter().map(|id| id.unwrap().to_owned()).collect();
    (ids, near.column(1).as_primitive::<Float64Type>().values().to_vec())
}

#[test]
fn cases_and_distances_are_those_of_scikit_learn() {
    let query = ["number", "a", "b", "class"].map(|name| table().schema().index_of(name).unwrap());
    let trained = tree(&table().project(&query).unwrap(), &[("test_fraction", "0")]);
    assert_eq!(trained.features, ["a", "b"], "the identifier is no feature");
    let cases = trained.nearest_cases(3, &columns(&unseen())).unwrap();
    assert_eq!(Some(cases.data_type()), trained.training.case_type(&DataType::Int64).as_ref());
    // Rows that are equal come with the latest first.
    let expected = [
        (["6", "1", "3"], [0.279_542_623_125_845_16, 0.279_542_623_125_845_16, 0.720_788_470_729_117_1]),
        (["18", "13", "8"], [0.419_313_934_688_767_4; 3]),
        (["17", "19", "14"], [0.822_085_260_678_097_8, 0.838_627_869_377_534_2, 0.838_627_869_377_534_2]),
    ];
    for (row, (ids, distances)) in expected.iter().enumerate() {
        let (found_ids, found_distances) = found(&cases, row);
        assert_eq!(found_ids, *ids);
        assert!(found_distances.iter().zip(distances).all(|(f, e)| (f - e).abs() < 1e-12), "{row}");
    }
    let labels = cases.as_list::<i32>().value(0);
    assert_eq!(*labels.as_struct().column(2).as_primitive(), Int64Array::from(vec![0, 1, 0]));
}

#[test]
fn a_row_that_is_not_complete_has_no_cases_and_few_cases_are_all_given() {
    let trained = tree(&table(), &[("case_label", "note"), ("most_cases", "2")]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from(vec![None, Some(15.0), Some(1e300)])),
        Arc::new(Float64Array::from(vec![2.0, 1.0, 1.0])),
    ];
    let cases = trained.nearest_cases(5, &columns).unwrap();
    assert!(cases.is_null(0));
    assert_eq!(found(&cases, 1).0.len(), 2);
    assert_eq!(found(&cases, 2).0.len(), 0, "nothing is at a distance that is a number");
}

#[test]
fn rare_cases_stay_and_then_the_latest() {
    let rows: Vec<usize> = (0..100).collect();
    let is_rare = |row: usize| row == 3 || row == 50;
    let kept = latest(&rows, 10, is_rare);
    assert_eq!(kept, [3, 50, 92, 93, 94, 95, 96, 97, 98, 99]);
    assert_eq!(latest(&rows, 100, is_rare), rows);
    assert_eq!(latest(&rows, 1, is_rare), [99]);
}

#[test]
fn each_key_has_cases_of_its_own_and_a_label_may_be_any_column() {
    let options =
        [("algorithm", "pca_t2_spe"), ("components", "1"), ("cases", "number"), ("case_label", "note")];
    let training = Training { per: Some("class".to_owned()), ..training(&options) };
    let trained = train(&training, &table()).unwrap();
    let mut inputs = columns(&unseen());
    inputs.insert(0, Arc::new(Int64Array::from(vec![2, 1, 7])));
    let cases = trained.nearest_cases(20, &inputs).unwrap();
    let (ids, _) = found(&cases, 0);
    assert!(ids.len() == 6 && ids.iter().all(|id| id.parse::<i64>().unwrap() % 3 == 2), "{ids:?}");
    let labels = cases.as_list::<i32>().value(0);
    assert_eq!(labels.as_struct().column(2).as_string::<i32>().value(0), "worn");
    assert_eq!(found(&cases, 1).0.len(), 7);
    assert!(cases.is_null(2), "a key that was not in training");
}

#[test]
fn options_about_cases_need_cases() {
    let of = |options: &[(&str, &str)]| {
        let options = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Training::from_options("wear", &options).unwrap_err()[0].message.clone()
    };
    let message = of(&[("algorithm", "pca"), ("most_cases", "7")]);
    assert_eq!(message, "the option `most_cases` is about cases, and the model keeps none");
    let message = of(&[("algorithm", "pca"), ("cases", "ts"), ("most_cases", "0")]);
    assert_eq!(message, "most_cases = \"0\" is not a whole number from 1 to 1000000");
    let trained =
        train(&training(&[("algorithm", "kmeans"), ("k", "2")]), &table().project(&[1, 2]).unwrap());
    let error = trained.unwrap().nearest_cases(1, &columns(&unseen())).unwrap_err().to_string();
    assert!(error.contains("it keeps no cases"), "{error}");
}
