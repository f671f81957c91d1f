//! `examples/pump_monitor`: a model per experiment, against the same figures computed with numpy.

use super::{example, lineshaft, number, query};
use crate::support::shared_data;

#[test]
fn pump_monitor_flags_what_numpy_flags() {
    let Some(skab) = shared_data("skab") else { return };
    let folder = tempfile::tempdir().unwrap();
    let skab = skab.display().to_string();
    let program = example("pump_monitor/pump_monitor.sql");
    lineshaft(&["run".as_ref(), &program, "--data".as_ref(), folder.path()], &[("SKAB", &skab)]);

    let count =
        |condition: &str| number(&format!("SELECT count(*) FROM alarms WHERE {condition}"), folder.path());
    let (hits, false_alarms) = (count("alarm AND is_faulty"), count("alarm AND NOT is_faulty"));
    let (misses, rest) = (count("NOT alarm AND is_faulty"), count("NOT alarm AND NOT is_faulty"));
    assert!(
        (hits + false_alarms + misses + rest - 11_760.0).abs() < 0.5,
        "a row per second after the first 400"
    );
    let f1 = 2.0 * hits / (2.0 * hits + false_alarms + misses);
    let (false_alarm_rate, missed) = (false_alarms / (false_alarms + rest), misses / (misses + hits));
    eprintln!("F1 {f1:.4}, false alarms {false_alarm_rate:.4}, missed {missed:.4}");
    // numpy with the limits of scipy: 0.7510, 0.3607, 0.2113.
    assert!((f1 - 0.7510).abs() < 0.005, "{f1}");
    assert!((false_alarm_rate - 0.3607).abs() < 0.005, "{false_alarm_rate}");
    assert!((missed - 0.2113).abs() < 0.005, "{missed}");

    let models = query("SELECT per, rows FROM lineshaft.models WHERE name = 'normal'", folder.path());
    assert_eq!(models.num_rows(), 1, "one version holds the models of all experiments");
    assert!((number("SELECT rows FROM lineshaft.models", folder.path()) - 6_400.0).abs() < 0.5);
}
