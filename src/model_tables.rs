//! What `lineshaft query` tells about the stored models: `lineshaft.models`, `lineshaft.metrics`,
//! `lineshaft.importance` and `lineshaft.runs`.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::datatypes::DataType;
use lineshaft_operators::model::artifact::{self, Artifact, Choice, StoredModel};
use lineshaft_operators::model::{Cases, Importance, Metric, Run, Trained};

use crate::error::Error;
use crate::models::shown;

/// The tables by their names. Models that another version of the program has stored are left out, and so are damaged ones, which is
/// told: other tables can still be asked.
pub(crate) fn all(data: &Path) -> Result<Vec<(String, RecordBatch)>, Error> {
    let mut artifacts = Vec::new();
    for stored in artifact::list(data)? {
        match Artifact::load_if_current(&stored.path) {
            Ok(Some(artifact)) => artifacts.push((stored, artifact)),
            Ok(None) => {}
            Err(error) => {
                let reason = crate::report::chain(&error);
                tracing::warn!("not in lineshaft.models: {}", reason.trim());
            }
        }
    }
    let tables = [
        ("models", models(data, &artifacts)?),
        ("metrics", metrics(&artifacts)?),
        ("importance", importance(&artifacts)?),
        ("runs", runs(&artifacts)?),
    ];
    Ok(tables.into_iter().map(|(name, rows)| (format!("lineshaft.{name}"), rows)).collect())
}

/// `lineshaft.models`: a row per version.
fn models(data: &Path, artifacts: &[(StoredModel, Artifact)]) -> Result<RecordBatch, Error> {
    let text = |of: &dyn Fn(&Artifact) -> String| -> ArrayRef {
        Arc::new(artifacts.iter().map(|(_, artifact)| Some(of(artifact))).collect::<StringArray>())
    };
    let count = |of: &dyn Fn(&Artifact) -> usize| -> ArrayRef {
        let counts = artifacts.iter().map(|(_, artifact)| i64::try_from(of(artifact)).ok());
        Arc::new(counts.collect::<Int64Array>())
    };
    let metrics = |artifact: &Artifact| overall(&artifact.trained.metrics);
    let hashes: Vec<String> = artifacts.iter().map(|(_, a)| a.hash()).collect::<Result<_, _>>()?;
    let versions = artifacts.iter().map(|(stored, _)| Some(i64::from(stored.version)));
    let created = artifacts.iter().map(|(_, artifact)| Some(artifact.created_at));
    let choices = artifacts.iter().map(|(stored, _)| Ok((stored, Choice::load(data, &stored.name)?)));
    let choices: Vec<(&StoredModel, Option<Choice>)> = choices.collect::<Result<_, Error>>()?;
    let role = |is: &dyn Fn(&Choice, u32) -> bool| -> ArrayRef {
        let of =
            choices.iter().map(|(stored, choice)| choice.as_ref().map(|choice| is(choice, stored.version)));
        Arc::new(of.collect::<BooleanArray>())
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("name", text(&|artifact| artifact.trained.training.name.clone())),
        ("version", Arc::new(versions.collect::<Int64Array>())),
        ("is_live", role(&|choice, version| choice.live == version)),
        ("is_shadow", role(&|choice, version| choice.shadow == Some(version))),
        ("algorithm", text(&|artifact| artifact.trained.training.algorithm.name().to_owned())),
        ("target", text(&|artifact| artifact.trained.training.target.clone().unwrap_or_default())),
        ("per", text(&|artifact| artifact.trained.training.per.clone().unwrap_or_default())),
        ("features", text(&|artifact| artifact.trained.features.join(", "))),
        ("schema", text(&|artifact| schema(&artifact.trained))),
        (
            "query",
            text(&|artifact| {
                artifact
                    .query
                    .lines()
                    .take_while(|line| !line.starts_with("-- "))
                    .collect::<Vec<_>>()
                    .join("\n")
            }),
        ),
        ("rows", count(&|artifact| artifact.trained.rows)),
        ("test_rows", count(&|artifact| artifact.trained.test_rows)),
        ("dropped_rows", count(&|artifact| artifact.trained.dropped_rows)),
        ("cases", count(&|artifact| artifact.trained.cases.values().map(Cases::len).sum())),
        ("constant_features", text(&|artifact| artifact.trained.constant_features.join(", "))),
        ("metrics", text(&metrics)),
        ("chosen", text(&|artifact| artifact.trained.chosen.clone())),
        ("created_at", Arc::new(created.collect::<TimestampMicrosecondArray>())),
        ("seed", Arc::new(artifacts.iter().map(|(_, a)| seed(a)).collect::<UInt64Array>())),
        ("data_from", Arc::new(artifacts.iter().map(|(_, a)| a.data.from.clone()).collect::<StringArray>())),
        ("data_to", Arc::new(artifacts.iter().map(|(_, a)| a.data.to.clone()).collect::<StringArray>())),
        ("data_hash", text(&|artifact| artifact.data.hash.clone())),
        ("hash", Arc::new(hashes.into_iter().map(Some).collect::<StringArray>())),
    ];
    RecordBatch::try_from_iter(columns).map_err(|error| Error::Query(error.to_string()))
}

/// `lineshaft.metrics`: a row per figure of each version.
fn metrics(artifacts: &[(StoredModel, Artifact)]) -> Result<RecordBatch, Error> {
    let rows: Vec<(&StoredModel, &Metric)> = artifacts
        .iter()
        .flat_map(|(stored, artifact)| artifact.trained.metrics.iter().map(move |metric| (stored, metric)))
        .collect();
    let text = |of: &dyn Fn(&Metric) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(|(_, metric)| of(metric)).collect::<StringArray>())
    };
    let names: StringArray = rows.iter().map(|(stored, _)| Some(stored.name.clone())).collect();
    let versions: Int64Array = rows.iter().map(|(stored, _)| Some(i64::from(stored.version))).collect();
    let values: Float64Array = rows.iter().map(|(_, metric)| Some(metric.value)).collect();
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("name", Arc::new(names), false),
        ("version", Arc::new(versions), false),
        ("metric", text(&|metric| Some(metric.name.clone())), false),
        ("class", text(&|metric| metric.class.clone()), true),
        ("predicted", text(&|metric| metric.predicted.clone()), true),
        ("value", Arc::new(values), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| Error::Query(error.to_string()))
}

/// `lineshaft.importance`: a row per feature of each version.
fn importance(artifacts: &[(StoredModel, Artifact)]) -> Result<RecordBatch, Error> {
    let rows: Vec<(&StoredModel, &Importance)> = artifacts
        .iter()
        .flat_map(|(stored, artifact)| artifact.trained.importances.iter().map(move |it| (stored, it)))
        .collect();
    let text = |of: &dyn Fn(&StoredModel, &Importance) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|(stored, it)| Some(of(stored, it))).collect::<StringArray>())
    };
    let number = |of: &dyn Fn(&Importance) -> f64| -> ArrayRef {
        Arc::new(rows.iter().map(|(_, it)| Some(of(it))).collect::<Float64Array>())
    };
    let versions: Int64Array = rows.iter().map(|(stored, _)| Some(i64::from(stored.version))).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("name", text(&|stored, _| stored.name.clone())),
        ("version", Arc::new(versions)),
        ("feature", text(&|_, it| it.feature.clone())),
        ("metric", text(&|_, it| it.metric.clone())),
        ("value", number(&|it| it.value)),
        ("deviation", number(&|it| it.deviation)),
    ];
    RecordBatch::try_from_iter(columns).map_err(|error| Error::Query(error.to_string()))
}

/// `lineshaft.runs`: a row per training, per fit of its cross-validation, and per epoch.
fn runs(artifacts: &[(StoredModel, Artifact)]) -> Result<RecordBatch, Error> {
    let trained = artifacts.iter().filter(|(_, artifact)| !artifact.data.hash.is_empty());
    let rows: Vec<(&StoredModel, &Artifact, Cow<'_, Run>)> = trained
        .flat_map(|(stored, artifact)| {
            let others = artifact.trained.runs.iter().map(Cow::Borrowed);
            let all = std::iter::once(Cow::Owned(training_of(&artifact.trained))).chain(others);
            all.map(move |run| (stored, artifact, run))
        })
        .collect();
    let count = |of: &dyn Fn(&Run) -> usize| -> ArrayRef {
        Arc::new(rows.iter().map(|(_, _, run)| i64::try_from(of(run)).ok()).collect::<Int64Array>())
    };
    let text = |of: &dyn Fn(&Artifact, &Run) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(|(_, artifact, run)| of(artifact, run)).collect::<StringArray>())
    };
    let names: StringArray = rows.iter().map(|(stored, ..)| Some(stored.name.clone())).collect();
    let versions: Int64Array = rows.iter().map(|(stored, ..)| Some(i64::from(stored.version))).collect();
    let is_chosen: BooleanArray =
        rows.iter().map(|(_, artifact, run)| Some(run.options == artifact.trained.chosen)).collect();
    let created = rows.iter().map(|(_, artifact, _)| Some(artifact.created_at));
    let durations = rows.iter().map(|(_, artifact, run)| {
        let is_training = run.fold == 0 && run.epoch == 0;
        is_training.then(|| Duration::from_micros(artifact.data.duration_us.unsigned_abs()).as_secs_f64())
    });
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("name", Arc::new(names), false),
        ("version", Arc::new(versions), false),
        ("trial", count(&|run| run.trial), false),
        ("fold", count(&|run| run.fold), false),
        ("epoch", count(&|run| run.epoch), false),
        ("options", text(&|_, run| Some(run.options.clone())), false),
        ("is_chosen", Arc::new(is_chosen), false),
        ("rows", count(&|run| run.rows), false),
        ("test_rows", count(&|run| run.test_rows), false),
        ("metrics", text(&|_, run| Some(overall(&run.metrics))), false),
        ("parameters", text(&|artifact, run| parameters(&artifact.trained, run)), true),
        ("seed", Arc::new(rows.iter().map(|(_, a, _)| seed(a)).collect::<UInt64Array>()), true),
        ("duration_s", Arc::new(durations.collect::<Float64Array>()), true),
        ("data_from", text(&|artifact, _| artifact.data.from.clone()), true),
        ("data_to", text(&|artifact, _| artifact.data.to.clone()), true),
        ("data_hash", text(&|artifact, _| Some(artifact.data.hash.clone())), false),
        ("created_at", Arc::new(created.collect::<TimestampMicrosecondArray>()), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| Error::Query(error.to_string()))
}

/// The training of the model itself, on all rows that were not held back.
fn training_of(trained: &Trained) -> Run {
    let chosen = trained.training.trials.iter().position(|trial| trial.options == trained.chosen);
    Run {
        options: trained.chosen.clone(),
        trial: chosen.unwrap_or_default() + 1,
        fold: 0,
        epoch: 0,
        rows: trained.rows,
        test_rows: trained.test_rows,
        metrics: trained.metrics.clone(),
    }
}

/// The options of the algorithm that was fitted, with those that were not given, as JSON.
fn parameters(trained: &Trained, run: &Run) -> Option<String> {
    let trial = trained.training.trials.iter().find(|trial| trial.options == run.options);
    let algorithm = trial.map_or(&trained.training.algorithm, |trial| &trial.algorithm);
    let written = serde_json::to_value(algorithm).ok()?;
    // The name of the algorithm stands around its options.
    let options = written.as_object().and_then(|named| named.values().next());
    Some(options.map_or_else(|| "{}".to_owned(), ToString::to_string))
}

/// What decided everything random; none of a model of a file.
fn seed(artifact: &Artifact) -> Option<u64> {
    (!artifact.data.hash.is_empty()).then_some(artifact.trained.training.seed)
}

/// What `predict` takes and gives.
fn schema(trained: &Trained) -> String {
    let key = trained.training.per.iter().map(|key| format!("{key} TEXT"));
    let features = trained.features.iter().map(|feature| format!("{feature} DOUBLE"));
    let gives = match trained.output_type() {
        DataType::Float64 => "DOUBLE",
        DataType::Int64 => "BIGINT",
        DataType::Boolean => "BOOLEAN",
        _ => "TEXT",
    };
    format!("({}) -> {gives}", key.chain(features).collect::<Vec<_>>().join(", "))
}

/// The figures of all rows, on one line.
fn overall(metrics: &[Metric]) -> String {
    let metrics = metrics.iter().filter(|metric| metric.class.is_none());
    metrics.map(|metric| format!("{}={}", metric.name, shown(metric.value))).collect::<Vec<_>>().join(" ")
}
