//! Batches into differential dataflow and back, and the arrangements that changelog operators share.
//!
//! ```text
//! frames --encode--> updates --arrange--> Index --ChangelogOperator--> updates --decode--> frames
//!           |                                |                                     |
//!        restored rows                 kept: a snapshot                  what was given before
//!        enter first                   has the rows of each input       the checkpoint is left out
//! ```
//!
//! A checkpoint has the rows of each input with their weights, and nothing of what differential makes of them. They come
//! back in epoch 0, which is before every epoch that goes on, so the output of epoch 0 is what had been given already.

mod decode;
mod encode;
mod kept;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::SortField;
use differential_dataflow::AsCollection;
use timely::dataflow::{ProbeHandle, Scope, Stream};

use self::encode::{Updates, encoded};
use super::frame::Frame;
use super::render::{RoutedInput, routed};
use super::{Keeps, Stateful};
use crate::batch::Batch;
use crate::changelog::{ChangelogOperator, Failure, Index, Inputs, Row, RowCodec, Rows, encode_keys, index};
use crate::checkpoint::Parts;
use crate::control::Control;
use crate::error::Result;
use crate::plan::Origin;
use crate::time::Epoch;

/// Rows of a batch that leaves, at most.
const BATCH_ROWS: usize = 32_768;

/// What has been encoded and arranged on this worker, by where it comes from and by which key.
///
/// In order, for every worker must build the same operators one after the other, and choose the same index of an input for
/// the checkpoint: by which one that is decides which worker has which rows.
pub(super) struct Arrangements<'scope> {
    rows: BTreeMap<Origin, Rows<'scope>>,
    indexes: BTreeMap<(Origin, Vec<usize>), Index<'scope>>,
    /// The inputs, with their columns and the rows that they had at the checkpoint.
    inputs: BTreeMap<Origin, (SchemaRef, Vec<Batch>)>,
    /// The first epoch that goes on.
    begin: Epoch,
}

/// The stream of a changelog operator, and what a checkpoint keeps of where it has come to.
pub(super) type Rendered<'scope> = (Stream<'scope, Epoch, Frame>, Rc<RefCell<dyn Keeps>>);

/// The name of the rows of an input in a checkpoint.
fn rows_of(origin: Origin) -> String {
    format!("rows of {origin:?}")
}

impl<'scope> Arrangements<'scope> {
    /// Of a program whose first epoch is `begin`.
    pub(super) fn new(begin: Epoch) -> Self {
        Self { rows: BTreeMap::new(), indexes: BTreeMap::new(), inputs: BTreeMap::new(), begin }
    }

    /// Renders a changelog operator, whose inputs get the rows that they had in `restored`.
    pub(super) fn render(
        &mut self,
        scope: Scope<'scope, Epoch>,
        operator: &dyn ChangelogOperator,
        inputs: Vec<(Origin, RoutedInput<'scope>)>,
        schema: &SchemaRef,
        restored: &mut Parts,
        control: &Arc<Control>,
    ) -> Result<Rendered<'scope>> {
        for (origin, input) in &inputs {
            if !self.inputs.contains_key(origin) {
                let rows = restored.remove(&rows_of(*origin)).map_or(Ok(Vec::new()), kept::rows)?;
                self.inputs.insert(*origin, (Arc::clone(&input.schema), rows));
            }
        }
        let rows = operator.render(&mut Shared { arrangements: self, inputs: &inputs, control })?;
        let marks =
            inputs.into_iter().map(|(_, input)| decode::marks(routed(input.stream, &input.route))).collect();
        decode::decode(scope, rows, marks, schema, self.begin, control)
    }

    /// Keeps the rows of every input for checkpoints, once all operators are rendered: those of an index where there is one.
    pub(super) fn keep(self, probe: &ProbeHandle<Epoch>) -> Result<Stateful> {
        let mut all = Stateful::new();
        for (origin, (schema, _)) in self.inputs {
            let index = self.indexes.iter().find(|((of, _), _)| *of == origin);
            let kept: Rc<RefCell<dyn Keeps>> = match (index, self.rows.get(&origin)) {
                (Some((_, index)), _) => kept::keep_index(index.clone(), schema, probe)?,
                (None, Some(rows)) => kept::keep_rows(rows.clone(), schema, probe)?,
                (None, None) => continue,
            };
            all.push((rows_of(origin), kept));
        }
        Ok(all)
    }
}

struct Shared<'a, 'scope> {
    arrangements: &'a mut Arrangements<'scope>,
    inputs: &'a [(Origin, RoutedInput<'scope>)],
    control: &'a Arc<Control>,
}

impl<'scope> Shared<'_, 'scope> {
    fn encoded<D: Clone + 'static>(
        &self,
        input: usize,
        encode: impl FnMut(&RecordBatch) -> Result<Vec<D>> + 'static,
    ) -> Stream<'scope, Epoch, Updates<D>> {
        let (origin, input) = &self.inputs[input];
        let restored = self.arrangements.inputs.get(origin).map(|(_, rows)| rows.clone());
        encoded(input.stream.clone(), restored.unwrap_or_default(), encode, self.control)
    }
}

impl<'scope> Inputs<'scope> for Shared<'_, 'scope> {
    fn rows(&mut self, input: usize) -> Result<Rows<'scope>> {
        let (origin, RoutedInput { schema, .. }) = &self.inputs[input];
        if let Some(rows) = self.arrangements.rows.get(origin) {
            return Ok(rows.clone());
        }
        let codec = RowCodec::new(schema)?;
        let encode = move |batch: &RecordBatch| codec.encode(batch.columns(), batch.num_rows());
        let rows = self.encoded(input, encode).as_collection();
        self.arrangements.rows.insert(*origin, rows.clone());
        Ok(rows)
    }

    fn index(&mut self, input: usize, key: &[usize]) -> Result<Index<'scope>> {
        let (origin, RoutedInput { schema, .. }) = &self.inputs[input];
        let place = (*origin, key.to_vec());
        if let Some(index) = self.arrangements.indexes.get(&place) {
            return Ok(index.clone());
        }
        let codec = RowCodec::new(schema)?;
        let fields = key.iter().map(|column| schema.field(*column).data_type().clone());
        let (keys, columns) = (RowCodec::of(fields.map(SortField::new).collect())?, key.to_vec());
        let encode = move |batch: &RecordBatch| {
            let key: Vec<ArrayRef> = columns.iter().map(|column| Arc::clone(batch.column(*column))).collect();
            let keys = encode_keys(&keys, &key, batch.num_rows())?;
            Ok(keys.into_iter().zip(codec.encode(batch.columns(), batch.num_rows())?).collect())
        };
        let pairs: Stream<'scope, Epoch, Updates<(Row, Row)>> = self.encoded(input, encode);
        let index = index::index(pairs.as_collection());
        self.arrangements.indexes.insert(place, index.clone());
        Ok(index)
    }

    fn failure(&self) -> Failure {
        let control = Arc::clone(self.control);
        Arc::new(move |error| control.fail(error))
    }
}
