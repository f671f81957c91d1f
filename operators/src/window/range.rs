//! A range of groups: accumulators of their own, and what may stand between them and the rows that come.
//!
//! ```text
//! open      rows are added
//! held      a snapshot wants the state as it was: rows wait until it has it
//! on disk   the state is in a file, and the rows that came since wait, most of them in another file
//! ```
//!
//! Rows that have waited are added in their order, so the results have the same bits as if none had.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::UInt32Type;
use lineshaft_engine::spill::{Spill, SpillFile};
use lineshaft_engine::{Error, Result};

use super::arguments::{Accumulators, Aggregates, Values};
use super::state::stack;

/// Rows that wait for a state on disk go to a file when they are so many.
const PIECE: usize = if cfg!(test) { 3 } else { 4_096 };
/// A state on disk is brought up to date when the rows that wait for it take so many times its bytes: no more disk is
/// used for a window, however many rows it has.
const MOST_WAITING: u64 = 4;
/// Fewer bytes than this are not worth a file.
const LEAST: usize = if cfg!(test) { 1 } else { 1 << 16 };

/// See the module.
pub(super) struct GroupRange {
    accumulators: Accumulators,
    /// Groups that there are results of.
    len: usize,
    /// The state of which the accumulators have nothing.
    on_disk: Option<SpillFile>,
    /// Rows that come after the state; `None` if they are added at once.
    waiting: Option<WaitingRows>,
    /// What a snapshot that has begun wants besides the state, until it has it.
    wanted: Option<Wanted>,
    /// Bytes of the accumulators when they were last asked, and rows that were added since.
    measured: usize,
    added: usize,
}

/// What came between a state on disk and the beginning of a snapshot.
struct Wanted {
    rows: WaitingRows,
    /// Groups that there were.
    groups: usize,
}

impl GroupRange {
    pub(super) fn new(of: &Aggregates) -> Result<Self> {
        Ok(Self {
            accumulators: of.accumulators()?,
            len: 0,
            on_disk: None,
            waiting: None,
            wanted: None,
            measured: 0,
            added: 0,
        })
    }

    pub(super) fn has_groups(&self) -> bool {
        self.len > 0
    }

    pub(super) fn is_on_disk(&self) -> bool {
        self.on_disk.is_some()
    }

    /// Adds rows; row `i` is of group `numbers[i]`, of which there are `total` now.
    pub(super) fn update(
        &mut self,
        of: &Aggregates,
        values: Values<'_>,
        numbers: &[usize],
        total: usize,
    ) -> Result<()> {
        self.len = total;
        match &mut self.waiting {
            Some(waiting) => {
                waiting.push(&values.copied()?, numbers);
                Ok(())
            }
            None => {
                self.added += numbers.len();
                self.accumulators.update(of, values, numbers, total)
            }
        }
    }

    /// Adds partial results.
    pub(super) fn merge(
        &mut self,
        of: &Aggregates,
        states: &[ArrayRef],
        numbers: &[usize],
        total: usize,
    ) -> Result<()> {
        self.load(of)?;
        self.len = total;
        self.added += numbers.len();
        self.accumulators.merge(of, states, numbers, total)
    }

    /// From now on rows wait until [`GroupRange::release`] has given the state as it is.
    pub(super) fn hold(&mut self) {
        if self.len > 0 {
            let before = self.waiting.replace(WaitingRows::default());
            self.wanted = Some(Wanted { rows: before.unwrap_or_default(), groups: self.len });
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.wanted.is_some()
    }

    /// Gives the partial results as they were at [`GroupRange::hold`] and the number of their groups, and keeps them.
    pub(super) fn release(
        &mut self,
        of: &Aggregates,
        spill: &Spill,
    ) -> Result<Option<(Vec<ArrayRef>, usize)>> {
        let Some(Wanted { rows, groups }) = self.wanted.take() else { return Ok(None) };
        let (file, since) = (self.on_disk.take(), self.waiting.take().unwrap_or_default());
        self.fill(of, file.as_ref(), &rows, groups)?;
        let states = self.accumulators.state()?;
        if file.is_some() && self.put_on_disk(of, spill, &states)? {
            self.waiting = Some(since);
        } else {
            self.put_back(of, &states, groups)?;
            self.fill(of, None, &since, self.len)?;
        }
        Ok(Some((states, groups)))
    }

    /// Gives what `take` gives of all results; no group is left.
    pub(super) fn empty<T>(
        &mut self,
        of: &Aggregates,
        take: impl FnOnce(&mut Accumulators) -> Result<T>,
    ) -> Result<T> {
        assert!(self.wanted.is_none(), "what is held is given before");
        self.load(of)?;
        (self.len, self.measured) = (0, 0);
        take(&mut self.accumulators)
    }

    /// Brings a state that is on disk back, with the rows that wait for it.
    fn load(&mut self, of: &Aggregates) -> Result<()> {
        if let Some(file) = self.on_disk.take() {
            let waiting = self.waiting.take().unwrap_or_default();
            self.fill(of, Some(&file), &waiting, self.len)?;
        }
        Ok(())
    }

    /// Adds a state of disk, and then rows, to the accumulators.
    fn fill(
        &mut self,
        of: &Aggregates,
        file: Option<&SpillFile>,
        rows: &WaitingRows,
        groups: usize,
    ) -> Result<()> {
        if let Some(file) = file {
            for states in file.read()? {
                let states = states?;
                let numbers: Vec<usize> = (0..states.num_rows()).collect();
                self.accumulators.merge(of, states.columns(), &numbers, numbers.len())?;
            }
        }
        rows.replay(|columns, numbers| self.accumulators.update(of, columns, numbers, groups))
    }

    fn put_back(&mut self, of: &Aggregates, states: &[ArrayRef], groups: usize) -> Result<()> {
        let numbers: Vec<usize> = (0..groups).collect();
        self.accumulators.merge(of, states, &numbers, groups)
    }

    fn put_on_disk(&mut self, of: &Aggregates, spill: &Spill, states: &[ArrayRef]) -> Result<bool> {
        self.on_disk = spill.write(&table(states.to_vec())?);
        if self.on_disk.is_some() {
            // New ones, since those that are empty keep their memory.
            self.accumulators = of.accumulators()?;
            (self.measured, self.added) = (0, 0);
        }
        Ok(self.on_disk.is_some())
    }
}

/// What is in memory, and what need not be.
impl GroupRange {
    /// Bytes in memory, about.
    pub(super) fn size(&mut self) -> usize {
        if self.added * 8 >= self.len {
            (self.measured, self.added) = (self.accumulators.size(), 0);
        }
        let waiting = self.waiting.as_ref().map_or(0, |rows| rows.bytes);
        self.measured + waiting + self.wanted.as_ref().map_or(0, |wanted| wanted.rows.bytes)
    }

    /// Moves the state to a file; gives the bytes that are free then.
    pub(super) fn move_to_disk(&mut self, of: &Aggregates, spill: &Spill) -> Result<usize> {
        let size = self.size();
        if self.waiting.is_some() || size < LEAST {
            return Ok(0);
        }
        let states = self.accumulators.state()?;
        if !self.put_on_disk(of, spill, &states)? {
            self.put_back(of, &states, self.len)?;
            return Ok(0);
        }
        self.waiting = Some(WaitingRows::default());
        Ok(size)
    }

    /// Moves rows that wait for a state on disk there, and brings that up to date once there are many.
    pub(super) fn tidy(&mut self, of: &Aggregates, spill: &Spill) -> Result<()> {
        let (Some(file), Some(waiting)) = (&self.on_disk, &mut self.waiting) else { return Ok(()) };
        waiting.move_to_disk(spill)?;
        let many = file.bytes().max(1) * MOST_WAITING;
        if self.wanted.is_none() && waiting.file.as_ref().is_some_and(|rows| rows.bytes() > many) {
            self.load(of)?;
            self.added = self.len;
            self.move_to_disk(of, spill)?;
        }
        Ok(())
    }
}

/// Rows in order of arrival: the first of them in a file, perhaps.
#[derive(Default)]
struct WaitingRows {
    file: Option<SpillFile>,
    parts: Vec<(Vec<ArrayRef>, Vec<usize>)>,
    rows: usize,
    /// Of the parts.
    bytes: usize,
    /// Rows at which it is tried again to write the parts.
    next: usize,
}

impl WaitingRows {
    fn push(&mut self, columns: &[ArrayRef], numbers: &[usize]) {
        let of_column = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0);
        self.bytes += size_of_val(numbers) + columns.iter().map(of_column).sum::<usize>();
        self.rows += numbers.len();
        self.parts.push((columns.to_vec(), numbers.to_vec()));
    }

    fn move_to_disk(&mut self, spill: &Spill) -> Result<()> {
        if self.rows < PIECE.max(self.next) {
            return Ok(());
        }
        // A range has fewer groups than 2^32.
        let numbers = self.parts.iter().flat_map(|(_, numbers)| numbers);
        let numbers: UInt32Array = numbers.filter_map(|number| u32::try_from(*number).ok()).collect();
        let mut columns = stack(self.parts.iter().map(|(columns, _)| columns.as_slice()))?;
        columns.push(Arc::new(numbers));
        let rows = table(columns)?;
        let is_written = match &mut self.file {
            Some(file) => file.append(&rows),
            None => {
                self.file = spill.write(&rows);
                self.file.is_some()
            }
        };
        if is_written {
            *self = Self { file: self.file.take(), ..Self::default() };
        } else {
            self.next = self.rows * 2;
        }
        Ok(())
    }

    /// Gives the rows to `add`: columns, and the number of each row's group.
    fn replay(&self, mut add: impl FnMut(&[ArrayRef], &[usize]) -> Result<()>) -> Result<()> {
        if let Some(file) = &self.file {
            for rows in file.read()? {
                let rows = rows?;
                let Some((numbers, columns)) = rows.columns().split_last() else { continue };
                let numbers = numbers.as_primitive_opt::<UInt32Type>();
                let numbers =
                    numbers.ok_or_else(|| Error::operator("window", "a file of another operator"))?;
                let numbers: Vec<usize> = numbers.values().iter().map(|number| *number as usize).collect();
                add(columns, &numbers)?;
            }
        }
        self.parts.iter().try_for_each(|(columns, numbers)| add(columns, numbers))
    }
}

/// Columns without names.
pub(crate) fn table(columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let named = columns.into_iter().enumerate().map(|(at, column)| (at.to_string(), column, true));
    Ok(RecordBatch::try_from_iter_with_nullable(named)?)
}
