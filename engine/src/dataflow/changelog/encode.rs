//! Batches as updates of a collection of encoded rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;

use super::super::frame::{Frame, Part};
use crate::batch::Batch;
use crate::control::Control;
use crate::error::Result;
use crate::time::Epoch;

pub(super) type Updates<D> = Vec<(D, Epoch, isize)>;
type Port<D> = OutputBuilder<Epoch, CapacityContainerBuilder<Updates<D>>>;

/// The rows of a stream as updates, each with its weight. The rows of the checkpoint from which the program goes on come
/// first, in the first of all epochs, which is before every epoch that goes on.
pub(super) fn encoded<'scope, D: Clone + 'static>(
    stream: Stream<'scope, Epoch, Frame>,
    restored: Vec<Batch>,
    mut encode: impl FnMut(&RecordBatch) -> Result<Vec<D>> + 'static,
    control: &Arc<Control>,
) -> Stream<'scope, Epoch, Updates<D>> {
    let mut builder = OperatorBuilder::new("encode".to_owned(), stream.scope());
    let mut input = builder.new_input(stream, Pipeline);
    let (output, updates) = builder.new_output();
    let mut port = Port::<D>::from(output);
    let control = Arc::clone(control);
    builder.build(move |capabilities| {
        let mut first = capabilities.into_iter().next().filter(|_| !restored.is_empty()).zip(Some(restored));
        move |_frontiers: &[MutableAntichain<Epoch>]| {
            if let Some((capability, batches)) = first.take() {
                for batch in batches {
                    match updates_of(&batch, *capability.time(), &mut encode) {
                        Ok(mut updates) => {
                            port.activate().session(&capability).give_container(&mut updates);
                        }
                        Err(error) => control.fail(error),
                    }
                }
            }
            input.for_each(|capability, frame| {
                let Some(epoch) = capability.least().copied() else { return };
                match updates_of_all(&std::mem::take(frame).parts, epoch, &mut encode) {
                    Ok(mut updates) if !updates.is_empty() => {
                        if let Some(capability) = capability.retain_least(0) {
                            port.activate().session(&capability).give_container(&mut updates);
                        }
                    }
                    Ok(_) => {}
                    Err(error) => control.fail(error),
                }
            });
        }
    });
    updates
}

fn updates_of_all<D>(
    parts: &[Part],
    epoch: Epoch,
    encode: &mut impl FnMut(&RecordBatch) -> Result<Vec<D>>,
) -> Result<Updates<D>> {
    let mut updates = Vec::new();
    for part in parts {
        if let Part::Rows { rows, .. } = part {
            updates.append(&mut updates_of(&rows.clone().into_batch()?, epoch, encode)?);
        }
    }
    Ok(updates)
}

fn updates_of<D>(
    batch: &Batch,
    epoch: Epoch,
    encode: &mut impl FnMut(&RecordBatch) -> Result<Vec<D>>,
) -> Result<Updates<D>> {
    let rows = encode(batch.rows())?.into_iter();
    Ok(match batch.weights() {
        None => rows.map(|row| (row, epoch, 1)).collect(),
        Some(weights) => {
            let weights = weights.values().iter().map(|weight| isize::try_from(*weight).unwrap_or(0));
            rows.zip(weights).map(|(row, weight)| (row, epoch, weight)).collect()
        }
    })
}
