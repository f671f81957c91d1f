//! `examples/onnx_power_plant`: a model of scikit-learn gives here what onnxruntime makes of it.

use super::{example, lineshaft, number};
use crate::support::shared_data;

#[test]
fn a_net_of_scikit_learn_scores_as_onnxruntime_does() {
    let Some(data) = shared_data("ccpp") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let program = example("onnx_power_plant/onnx_power_plant.sql");
    lineshaft(&["run".as_ref(), &program, "--data".as_ref(), &out], &[("CCPP", data.to_str().unwrap())]);
    // The last fifth, which train.py has not learned and of which it prints the same figure.
    let rmse = "SELECT sqrt(avg(power(output_mw - estimate_mw, 2))) FROM
        (SELECT *, ROW_NUMBER() OVER (ORDER BY line) AS place FROM scores) WHERE place > 5360";
    let rmse = number(rmse, &out);
    assert!((rmse - 4.196_050).abs() < 1e-4, "{rmse}");
    let vetoed = number("SELECT count(*) FROM scores WHERE decided_by <> 'model'", &out);
    let untrusted = number("SELECT count(*) FROM scores WHERE trusted_mw IS NULL", &out);
    assert!(vetoed > 0.5 && (vetoed - untrusted).abs() < 0.5, "{vetoed} {untrusted}");
}
