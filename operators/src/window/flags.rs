//! What is known of the rows of a block, of which the columns do not change, and how a snapshot takes them.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter;
use lineshaft_engine::Result;
use lineshaft_engine::spill::SpillFile;

use super::state::{slice, stack};

/// Rows of a part of a snapshot, at least, unless there are no more. Rows that are gone count, so that a part has the same blocks
/// at the next snapshot.
const PART: usize = if cfg!(test) { 3 } else { 32_768 };

/// Two bits a row.
#[derive(Debug)]
pub(crate) struct Flags {
    is_there: BooleanBufferBuilder,
    is_matched: BooleanBufferBuilder,
    /// Rows that are there.
    left: usize,
}

/// The columns of a block.
#[derive(Clone, Debug)]
pub(crate) enum Columns {
    InMemory(Vec<ArrayRef>),
    /// A batch of a file, by the place where it begins.
    OnDisk(Arc<SpillFile>, u64),
}

impl Columns {
    pub(crate) fn load(&self) -> Result<Vec<ArrayRef>> {
        match self {
            Self::InMemory(columns) => Ok(columns.clone()),
            Self::OnDisk(file, at) => Ok(file.read_at(*at)?.columns().to_vec()),
        }
    }
}

/// Some rows of a block as they were.
#[derive(Debug)]
pub(crate) struct Saved {
    columns: Columns,
    /// The first of them in the block.
    from: usize,
    is_there: BooleanBuffer,
    is_matched: BooleanBuffer,
}

impl Flags {
    /// Those of rows that are all there.
    pub(crate) fn new(is_matched: impl Iterator<Item = bool>) -> Self {
        let mut marks = BooleanBufferBuilder::new(0);
        is_matched.for_each(|is_matched| marks.append(is_matched));
        let mut is_there = BooleanBufferBuilder::new(marks.len());
        is_there.append_n(marks.len(), true);
        Self { left: marks.len(), is_there, is_matched: marks }
    }

    /// False if all rows are gone.
    pub(crate) fn has_rows(&self) -> bool {
        self.left > 0
    }

    /// Number of rows that are there.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// True if some rows are there, and fewer than a quarter.
    pub(crate) fn is_rest(&self) -> bool {
        self.has_rows() && self.left * 4 < self.is_there.len()
    }

    pub(crate) fn is_matched(&self, row: usize) -> bool {
        self.is_matched.get_bit(row)
    }

    /// True if it was not marked before.
    pub(crate) fn mark(&mut self, row: usize) -> bool {
        let is_new = !self.is_matched.get_bit(row);
        self.is_matched.set_bit(row, true);
        is_new
    }

    pub(crate) fn remove(&mut self, row: usize) {
        self.is_there.set_bit(row, false);
        self.left -= 1;
    }

    /// The rows of the block with these columns, in pieces of which a worker can make a part at a time.
    pub(crate) fn save(&self, columns: Columns) -> impl Iterator<Item = Saved> + use<> {
        let rows = self.is_there.len();
        let bits = |bits: &BooleanBufferBuilder| BooleanBuffer::new(bits.as_slice().into(), 0, rows);
        let (is_there, is_matched) = (bits(&self.is_there), bits(&self.is_matched));
        (0..rows).step_by(PART).map(move |from| {
            let len = PART.min(rows - from);
            Saved {
                columns: columns.clone(),
                from,
                is_there: is_there.slice(from, len),
                is_matched: is_matched.slice(from, len),
            }
        })
    }
}

impl Saved {
    /// The next part: the marks of rows, and their columns. `None` if there are no more.
    pub(crate) fn next(saved: &mut VecDeque<Self>) -> Result<Option<Vec<ArrayRef>>> {
        let (mut parts, mut rows) = (Vec::new(), 0);
        while (rows < PART || parts.is_empty())
            && let Some(piece) = saved.pop_front()
        {
            rows += piece.is_there.len();
            if piece.is_there.has_true() {
                parts.push(piece.rows()?);
            }
        }
        if parts.is_empty() { Ok(None) } else { stack(parts.iter().map(Vec::as_slice)).map(Some) }
    }

    fn rows(self) -> Result<Vec<ArrayRef>> {
        let marks: ArrayRef = Arc::new(BooleanArray::new(self.is_matched, None));
        let columns = slice(&self.columns.load()?, self.from, self.is_there.len());
        let columns = std::iter::once(marks).chain(columns);
        if self.is_there.count_set_bits() == self.is_there.len() {
            return Ok(columns.collect());
        }
        let is_there = BooleanArray::new(self.is_there, None);
        columns.map(|column| Ok(filter(&column, &is_there)?)).collect()
    }
}
