//! The SQL functions of Lineshaft: what they are called, and how DataFusion runs them.
//!
//! ```text
//! Feature (one table entry: name, kernel, reference)    vibration.rs, distribution.rs, order.rs, dynamics.rs,
//!    |                                                  smoothing.rs, spectrum.rs, machine.rs, process.rs
//!    |-- rms(x)         aggregate over a group, window or OVER frame: aggregate.rs
//!    |                    sums per group (running.rs) or all samples per group (collected.rs)
//!    '-- rms(waveform)  one value per row of an array column: array.rs
//! figure.rs     functions of single numbers: `bearing_frequency`, `iso_zone`, `oee`
//! tacho.rs      functions of two arrays: samples, and the pulses of a tacho
//! online.rs     functions that go from row to row with `OVER`, as DataFusion runs them: online_window.rs; charts.rs, detectors.rs,
//!               learners.rs
//! extreme.rs    `min` and `max`
//! date_bin.rs   `date_bin` in microseconds
//! bounded.rs    functions of DataFusion whose result is as long as an argument says
//! rules.rs      what `CREATE RULES` becomes
//! form.rs       chooses between the two by the type of the argument; adds the event time
//! reference.rs  the reference page
//! ```
//!
//! The numeric kernels are in [`lineshaft_operators::signal`], which also states the rule for NULL, NaN and results
//! that are not defined. A new function is an entry in the table of its family.

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

mod aggregate;
#[cfg(test)]
mod aggregate_tests;
mod array;
mod bounded;
mod charts;
mod collected;
mod date_bin;
mod detectors;
mod distribution;
mod dynamics;
mod extreme;
mod feature;
mod figure;
mod form;
mod learners;
mod machine;
mod online;
mod online_window;
mod order;
mod pairs;
mod parameter;
mod process;
mod reference;
pub(crate) mod rules;
mod running;
mod smoothing;
mod spectrum;
mod tacho;
#[cfg(test)]
mod testing;
mod value;
mod vibration;

pub(crate) use aggregate::Call;
use aggregate::FeatureAggregate;
use array::FeatureOfArray;
use feature::{Feature, Time};
use figure::{FIGURES, FigureFunction};
use online_window::OnlineWindow;
use tacho::{OF_TACHO, TachoFunction};

pub(crate) use online::{OnlineFunction, find as online};

pub use form::{ArrayForms, mark_calls, with_event_time};
pub use reference::reference;

/// The functions, family by family.
const FAMILIES: [(&str, &[Feature]); 8] = [
    ("Moments and magnitudes", vibration::FEATURES),
    ("Distribution", distribution::FEATURES),
    ("Order and time", order::FEATURES),
    ("Dynamics", dynamics::FEATURES),
    ("Smoothing forwards and back", smoothing::FEATURES),
    ("Spectrum", spectrum::FEATURES),
    ("Rotating machines", machine::FEATURES),
    ("Processes", process::FEATURES),
];

/// A function in both forms.
struct Entry {
    feature: &'static Feature,
    aggregate: Arc<AggregateUDF>,
    array: Arc<ScalarUDF>,
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let features = FAMILIES.iter().flat_map(|(_, features)| features.iter());
    let entry = |feature: &'static Feature| Entry {
        feature,
        aggregate: Arc::new(AggregateUDF::from(FeatureAggregate::new(feature))),
        array: Arc::new(ScalarUDF::from(FeatureOfArray::new(feature))),
    };
    features.map(entry).collect()
});

/// The aggregates. Where DataFusion has one of the same name (`stddev`, `median`), ours takes its place: it leaves out
/// NaN as all the others do. `min` and `max` are ours, too, and what is made of two columns.
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    let features = ENTRIES.iter().map(|entry| Arc::clone(&entry.aggregate));
    features.chain(extreme::extremes()).chain(pairs::pairs()).collect()
}

/// The functions of arrays, by the names that [`array_form`] gives, those with a tacho, and those of single numbers.
pub fn scalars() -> Vec<Arc<ScalarUDF>> {
    let tacho = OF_TACHO.iter().map(|function| Arc::new(ScalarUDF::from(TachoFunction::new(function))));
    let figures = FIGURES.iter().map(|figure| Arc::new(ScalarUDF::from(FigureFunction::new(figure))));
    ENTRIES
        .iter()
        .map(|entry| Arc::clone(&entry.array))
        .chain(figures)
        .chain(tacho)
        .chain(rules::functions())
        .chain([Arc::new(ScalarUDF::from(date_bin::DateBin::new()))])
        .chain(bounded::functions())
        .collect()
}

/// The functions that go from row to row with `OVER`.
pub fn windows() -> Vec<Arc<WindowUDF>> {
    online::all().map(|function| Arc::new(WindowUDF::from(OnlineWindow::new(function)))).collect()
}

/// The name under which the form for arrays is registered: `array_rms` for `rms`.
///
/// DataFusion looks a name up among the scalar functions first, so one name cannot be both; [`ArrayForms`] makes
/// `rms(waveform)` mean `array_rms(waveform)`.
pub fn array_form(name: &str) -> Option<&'static str> {
    find(name).map(|entry| entry.feature.array_name)
}

/// True if the result depends on the order of the rows or on their times: such a call takes the event time as an
/// optional last argument, which [`with_event_time`] adds.
pub fn needs_event_time(name: &str) -> bool {
    find(name).is_some_and(|entry| entry.feature.time != Time::Ignored)
}

/// The number of arguments of such a call with the event time; `None` if it takes none, or if adding it would change
/// the meaning (`slope`): [`with_event_time`] handles all of them.
pub fn arguments_with_time(name: &str) -> Option<usize> {
    let feature = find(name)?.feature;
    let changes = matches!(feature.kernel, feature::Kernel::Timed(_, Some(_)));
    (feature.time != Time::Ignored && !changes).then_some(feature.parameters.len() + 2)
}

fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.feature.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_the_language_page_is_there() {
        let names = "rms variance stddev skewness kurtosis crest_factor shape_factor impulse_factor clearance_factor \
            peak_to_peak abs_energy zero_crossing_rate mean_crossing_rate slope autocorrelation median percentile mad \
            iqr entropy time_weighted_avg band_energy spectral_centroid dominant_frequency spectral_entropy \
            envelope_rms variance_pop stddev_pop cp cpk pp ppk";
        for name in names.split_whitespace() {
            assert_eq!(array_form(name), Some(format!("array_{name}").as_str()));
        }
        assert_eq!(array_form("sum"), None);
    }

    #[test]
    fn only_functions_of_order_and_time_need_the_event_time() {
        assert!(needs_event_time("slope") && needs_event_time("autocorrelation"));
        assert!(!needs_event_time("rms") && !needs_event_time("sum"));
    }
}
