//! Faults, each provoked in a short form here; `faults/README.md` says how to run the long forms. What a test finds it prints
//! as one line of JSON on the standard error.

mod bad_messages;
mod clock;
mod damage;
mod disk_calls;
mod event_times;
mod full_disk;
mod live;
mod plant;
mod power_cut;
mod restarts;
mod second_engine;
mod shim;
mod workers;

/// A number that makes a test longer, from the environment; `default` is for every day.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a whole number"))
}

/// Says how far a long form is, now and then.
fn progress(what: &str, number: u64, of: u64) {
    let done = number + 1;
    if done.is_multiple_of(20) {
        eprintln!("{what}: {done} of {of}");
    }
}

/// Prints what a test has found.
pub(crate) fn figures(fault: &str, figures: serde_json::Value) {
    let mut line = serde_json::json!({ "fault": fault });
    let serde_json::Value::Object(figures) = figures else { panic!("an object") };
    line.as_object_mut().unwrap().extend(figures);
    eprintln!("{line}");
}
