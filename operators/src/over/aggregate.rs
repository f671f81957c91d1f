//! Any aggregate over frames.
//!
//! A frame that has a start is computed anew for each row: the rows of the frames of many rows are laid out one frame
//! after the other, each a group of its own. That costs the length of the frame, needs nothing of the function, and leaves
//! no rounding error behind, as taking rows out of a sum would. Long frames of an exact function that can take rows back
//! are computed one from the other.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_empty_array};
use arrow::compute::{concat, interleave, take};
use lineshaft_engine::expression::{Aggregate, RunningAccumulator, SlidingAccumulator};
use lineshaft_engine::{Error, Result};

use super::call::{Evaluate, number, signed};
use super::rows::Rows;
use crate::shared::{SavedState, Whole};
use crate::window::state::StateTable;

/// Where frames have more rows than this, one accumulator from which rows are taken back is cheaper, if there is one
/// that is exact.
const LONG: usize = 64;

/// So many rows of frames are laid out at a time.
const FRAME_ROWS: usize = 262_144;

/// An aggregate of frames that have a start.
#[derive(Debug)]
pub(super) struct Sliding {
    pub(super) aggregate: Arc<dyn Aggregate>,
    pub(super) arguments: Vec<usize>,
    pub(super) filter: Option<usize>,
}

impl Sliding {
    fn part(&self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let (mut places, mut groups) = (Vec::new(), Vec::new());
        for (group, span) in spans.iter().enumerate() {
            places.extend(span.clone().filter_map(|place| u32::try_from(place).ok()));
            groups.resize(places.len(), group);
        }
        let places = UInt32Array::from(places);
        let column = |at: usize| Ok::<_, Error>(take(&rows.columns[at], &places, None)?);
        let arguments = self.arguments.iter().map(|at| column(*at)).collect::<Result<Vec<_>>>()?;
        let filter = self.filter.map(column).transpose()?;
        let mut accumulator = self.aggregate.accumulator()?;
        accumulator.update(&arguments, &groups, boolean(filter.as_ref())?, spans.len())?;
        accumulator.evaluate()
    }
}

fn boolean(filter: Option<&ArrayRef>) -> Result<Option<&BooleanArray>> {
    let not_boolean = || Error::operator("over", "a FILTER is not a boolean");
    filter.map(|filter| filter.as_boolean_opt().ok_or_else(not_boolean)).transpose()
}

impl Evaluate for Sliding {
    fn evaluate(&mut self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let spans = rows.places(spans);
        let goes_on = |(_, spans): (_, &[Range<usize>])| spans.is_sorted_by_key(|span| span.start);
        if spans.iter().map(Range::len).sum::<usize>() > LONG * spans.len()
            && rows.by_segment(&spans).all(goes_on)
            && let Some(accumulator) = self.aggregate.sliding()?
        {
            return self.slide(rows, &spans, accumulator);
        }
        if !spans.iter().any(Range::is_empty) {
            return self.full(rows, &spans);
        }
        // A group is there because it has a row.
        let full: Vec<_> = spans.iter().filter(|span| !span.is_empty()).cloned().collect();
        let results = self.full(rows, &full)?;
        let mut nothing = self.aggregate.running()?;
        nothing.advance(0, &[], None, 0, &[0])?;
        let nothing = nothing.results()?;
        let mut next = 0..results.len();
        let place = |span: &Range<usize>| match span.is_empty() {
            true => (1, 0),
            false => (0, next.next().unwrap_or_default()),
        };
        let places: Vec<_> = spans.iter().map(place).collect();
        Ok(interleave(&[results.as_ref(), nothing.as_ref()], &places)?)
    }

    fn wants_from(&self, _slot: usize, frame: usize) -> usize {
        frame
    }
}

impl Sliding {
    fn slide(
        &self,
        rows: &Rows,
        spans: &[Range<usize>],
        mut accumulator: Box<dyn SlidingAccumulator>,
    ) -> Result<ArrayRef> {
        let arguments: Vec<_> = self.arguments.iter().map(|at| Arc::clone(&rows.columns[*at])).collect();
        let filter = boolean(self.filter.map(|at| &rows.columns[at]))?;
        for (_, spans) in rows.by_segment(spans) {
            accumulator.slide(&arguments, filter, spans)?;
        }
        accumulator.results()
    }

    /// The results of frames that all have rows.
    fn full(&self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        if spans.is_empty() {
            return Ok(new_empty_array(self.aggregate.result().data_type()));
        }
        let (mut parts, mut rest) = (Vec::new(), spans);
        while !rest.is_empty() {
            let mut laid_out = 0;
            let fits = rest.iter().take_while(|span| {
                laid_out += span.len();
                laid_out <= FRAME_ROWS
            });
            let (part, others) = rest.split_at(fits.count().max(1));
            parts.push(self.part(rows, part)?);
            rest = others;
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(concat(&parts)?)
    }
}

/// The first row of each partition that was not taken in.
#[derive(Debug, Default)]
struct Taken(Vec<usize>);

impl Taken {
    /// That of a partition, to be moved on.
    fn of(&mut self, slot: u32) -> &mut usize {
        let slot = slot as usize;
        if self.0.len() <= slot {
            self.0.resize(slot + 1, 0);
        }
        &mut self.0[slot]
    }

    fn get(&self, slot: usize) -> usize {
        self.0.get(slot).copied().unwrap_or(0)
    }

    /// As a column of the first `slots` partitions.
    fn column(&mut self, slots: usize) -> Vec<i64> {
        self.0.resize(slots, 0);
        self.0.iter().map(|taken| signed(*taken as u64)).collect()
    }

    fn restore(&mut self, column: &[i64]) -> Result<()> {
        self.0 = column.iter().map(|taken| number(*taken)).collect::<Result<_>>()?;
        Ok(())
    }
}

/// An aggregate of frames that begin with their partition: rows are only added.
pub(super) struct Running {
    accumulator: Box<dyn RunningAccumulator>,
    arguments: Vec<usize>,
    filter: Option<usize>,
    taken: Taken,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("arguments", &self.arguments).finish_non_exhaustive()
    }
}

impl Running {
    pub(super) fn new(
        accumulator: Box<dyn RunningAccumulator>,
        arguments: Vec<usize>,
        filter: Option<usize>,
    ) -> Self {
        Self { accumulator, arguments, filter, taken: Taken::default() }
    }
}

impl Evaluate for Running {
    fn evaluate(&mut self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let arguments: Vec<_> = self.arguments.iter().map(|at| Arc::clone(&rows.columns[*at])).collect();
        let filter = boolean(self.filter.map(|at| &rows.columns[at]))?;
        for (segment, spans) in rows.by_segment(spans) {
            let taken = self.taken.of(segment.slot);
            let from = segment.place(*taken);
            let ends: Vec<usize> = spans.iter().map(|span| segment.place(span.end)).collect();
            self.accumulator.advance(segment.slot as usize, &arguments, filter, from, &ends)?;
            *taken = spans.last().map_or(*taken, |span| span.end.max(*taken));
        }
        self.accumulator.results()
    }

    fn wants_from(&self, slot: usize, _frame: usize) -> usize {
        self.taken.get(slot)
    }

    /// An accumulator of any kind gives its state at once.
    fn save(&mut self, slots: usize) -> Result<Option<Box<dyn SavedState>>> {
        let values = self.accumulator.state(slots)?;
        let table = StateTable { numbers: vec![self.taken.column(slots)], keys: Vec::new(), values };
        Ok(Some(Box::new(Whole(Some(table)))))
    }

    fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        let table = StateTable::from_batch(table, 1, 0)?;
        self.taken.restore(&table.numbers[0])?;
        self.accumulator.restore(&table.values)
    }
}
