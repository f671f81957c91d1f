//! `examples/plant_monitoring`: some records of the Tennessee Eastman process, against what numpy gives.

use super::{example, lineshaft, number};
use crate::support::shared_data;

/// The record of a fault, and the shares that T2 and SPE miss: computed with numpy, as `tennessee_eastman.rs` says.
const MISSED: [(&str, f64, f64); 3] = [("d01", 0.005, 0.005), ("d04", 0.9325, 0.0), ("d13", 0.049, 0.049)];

#[test]
fn plant_monitoring_misses_what_dynamic_components_miss() {
    let Some(data) = shared_data("tep") else { return };
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("records");
    std::fs::create_dir(&records).unwrap();
    let test_records = MISSED.iter().map(|(record, ..)| format!("{record}_te.dat.gz"));
    for name in test_records.chain(["d00.dat.gz".to_owned(), "d00_te.dat.gz".to_owned()]) {
        std::fs::copy(data.join(&name), records.join(&name)).unwrap();
    }
    let (out, records) = (folder.path().join("out"), records.display().to_string());
    let program = example("plant_monitoring/plant_monitoring.sql");
    lineshaft(&["run".as_ref(), &program, "--data".as_ref(), &out], &[("TEP", &records)]);
    for (record, t2, spe) in MISSED {
        for (figure, expected) in [("by_t2", t2), ("by_spe", spe)] {
            let missed = number(&format!("SELECT {figure} FROM missed WHERE record = '{record}'"), &out);
            assert!((missed - expected).abs() < 0.002, "{record} {figure}: {missed}");
        }
    }
}
