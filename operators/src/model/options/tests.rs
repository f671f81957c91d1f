use super::*;
use crate::model::hyper_parameters::ForestOptions;

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn defaults_are_filled_in() {
    let options = options(&[("algorithm", "random_forest_classifier"), ("target", "failed"), ("trees", "7")]);
    let training = Training::from_options("wear", &options).unwrap();
    let forest = ForestOptions { trees: 7, max_depth: 10, min_samples_leaf: 1, m: None };
    assert_eq!(training.algorithm, Algorithm::RandomForestClassifier(forest));
    assert_eq!(training.seed, 0);
}

#[test]
fn all_wrong_options_are_reported_at_once() {
    let options = options(&[
        ("algorithm", "ridge"),
        ("alfa", "2"),
        ("alpha", "-1"),
        ("seed", "x"),
        ("test_fraction", "1"),
    ]);
    let errors = Training::from_options("m", &options).unwrap_err();
    let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(messages.len(), 5, "{messages:?}");
    let unknown = errors.iter().find(|error| error.option.as_deref() == Some("alfa")).unwrap();
    assert_eq!(unknown.help.as_deref(), Some("did you mean \"alpha\"?"));
}

#[test]
fn a_misspelt_algorithm_gets_the_nearest_name() {
    let errors =
        Training::from_options("m", &options(&[("algorithm", "random_forrest_regressor")])).unwrap_err();
    assert_eq!(errors[0].help.as_deref(), Some("did you mean \"random_forest_regressor\"?"));
}

#[test]
fn the_definition_hash_changes_with_seed_and_query() {
    let base = options(&[("algorithm", "linear_regression"), ("target", "y")]);
    let training = Training::from_options("m", &base).unwrap();
    let other = Training { seed: 1, ..training.clone() };
    assert_eq!(training.definition_hash("SELECT 1"), training.definition_hash("SELECT 1"));
    assert_ne!(training.definition_hash("SELECT 1"), training.definition_hash("SELECT 2"));
    assert_ne!(training.definition_hash("SELECT 1"), other.definition_hash("SELECT 1"));
}

#[test]
fn a_monitor_takes_a_number_or_a_share_of_components() {
    let read = |components: &str| {
        let options =
            options(&[("algorithm", "pca_t2_spe"), ("components", components), ("spe_limit", "quantil")]);
        Training::from_options("m", &options).unwrap_err()
    };
    assert_eq!(read("9").len(), 1);
    assert_eq!(read("0.85")[0].help.as_deref(), Some("did you mean \"quantile\"?"));
    assert_eq!(read("1.5").len(), 2);
    assert_eq!(read("0").len(), 2);
}

#[test]
fn the_split_is_told_by_its_column() {
    let split = |more: &[(&str, &str)]| {
        let all = [&[("algorithm", "ridge"), ("target", "y")], more].concat();
        Training::from_options("m", &options(&all)).map(|training| training.split)
    };
    assert_eq!(split(&[]).unwrap(), Split::Time(None));
    assert_eq!(split(&[("group", "unit")]).unwrap(), Split::Group("unit".into()));
    assert_eq!(split(&[("time", "ts")]).unwrap(), Split::Time(Some("ts".into())));
    assert_eq!(split(&[("split", "row")]).unwrap(), Split::Row);
    assert!(split(&[("split", "group")]).unwrap_err()[0].message.contains("needs the option `group`"));
    assert!(split(&[("split", "row"), ("group", "unit")]).is_err());
}

#[test]
fn lists_are_for_a_search_of_models_with_a_target() {
    let read = |pairs: &[(&str, &str)]| Training::from_options("m", &options(pairs)).unwrap_err();
    let without = read(&[("algorithm", "ridge"), ("target", "y"), ("alpha", "1, 2")]);
    assert!(without[0].message.contains("alpha = \"1, 2\" is not a number"), "{without:?}");
    let wrong = read(&[("algorithm", "ridge"), ("target", "y"), ("alpha", "1, x"), ("search", "grid")]);
    assert!(wrong[0].message.contains("alpha = \"x\" is not a number"), "{wrong:?}");
    let clusters = read(&[("algorithm", "kmeans"), ("k", "2, 3"), ("search", "grid")]);
    assert!(clusters[0].message.contains("kmeans has no target"), "{clusters:?}");
}
