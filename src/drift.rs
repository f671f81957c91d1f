//! Which models have drifted and wait for new data: the rows of `<model>.drift`, seen from the thread that trains.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use lineshaft_engine::sink::{Sink, SinkFactory, Worker};
use lineshaft_engine::time::EpochHeader;
use lineshaft_engine::{Batch, Result};

/// The models of a program that drift. Cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct Drifts(Arc<Mutex<BTreeMap<String, Drifted>>>);

#[derive(Default)]
struct Drifted {
    /// It has drifted since it was trained.
    asks: bool,
    /// What it was last trained on, or could not be.
    tried: Option<String>,
}

impl Drifts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Drifted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sink for the drifts of a model.
    pub(crate) fn sink(&self, model: &str) -> Arc<dyn SinkFactory> {
        Arc::new(DriftSink { drifts: self.clone(), model: model.to_owned(), has_drifted: false })
    }

    /// The model has drifted, and was not trained since.
    pub(crate) fn asks(&self, model: &str) -> bool {
        self.lock().get(model).is_some_and(|drifted| drifted.asks)
    }

    /// True once for these data: where training fails it is not tried again with the same ones.
    pub(crate) fn is_new(&self, model: &str, data: &str) -> bool {
        let mut drifts = self.lock();
        let Some(drifted) = drifts.get_mut(model) else { return false };
        drifted.tried.replace(data.to_owned()).is_none_or(|tried| tried != data)
    }

    /// The model was trained.
    pub(crate) fn answered(&self, model: &str) {
        if let Some(drifted) = self.lock().get_mut(model) {
            drifted.asks = false;
        }
    }
}

#[derive(Clone)]
struct DriftSink {
    drifts: Drifts,
    model: String,
    has_drifted: bool,
}

impl SinkFactory for DriftSink {
    fn open(&self, _schema: SchemaRef, _worker: Worker) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for DriftSink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        // A row that is taken back is no drift.
        let comes = |weights: &arrow::array::Int64Array| weights.values().iter().any(|weight| *weight > 0);
        self.has_drifted |= batch.num_rows() > 0 && batch.weights().is_none_or(comes);
        Ok(())
    }

    fn end_epoch(&mut self, header: EpochHeader) -> Result<()> {
        if std::mem::take(&mut self.has_drifted) {
            let model = &self.model;
            let mut drifts = self.drifts.lock();
            let drifted = drifts.entry(model.clone()).or_default();
            if !std::mem::replace(&mut drifted.asks, true) {
                tracing::info!(
                    "model {model:?} has drifted in epoch {}: it is trained on new data",
                    header.epoch
                );
            }
        }
        Ok(())
    }
}
