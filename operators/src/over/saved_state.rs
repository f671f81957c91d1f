//! What functions remembered when a snapshot began.

use std::fmt::Debug;

use lineshaft_engine::Result;

use crate::shared::SharedVec;
use crate::window::state::StateTable;

/// Partitions of a table, at most. Tests have few.
const SLOTS: usize = if cfg!(test) { 2 } else { 8_192 };

/// The state of a function as it was, given table by table.
pub(super) trait SavedState {
    /// The next table; `None` if that was all.
    fn next(&mut self) -> Result<Option<StateTable>>;
}

/// All in one table.
pub(super) struct Whole(pub(super) Option<StateTable>);

impl SavedState for Whole {
    fn next(&mut self) -> Result<Option<StateTable>> {
        Ok(self.0.take())
    }
}

/// A value for each partition; `table` makes a table of some of them, of which the first has the slot that it is given.
pub(super) struct BySlot<T, F> {
    values: SharedVec<T>,
    next: usize,
    table: F,
}

impl<T, F> BySlot<T, F>
where
    T: Clone + Debug + 'static,
    F: Fn(usize, &[&T]) -> Result<StateTable> + 'static,
{
    pub(super) fn boxed(values: &SharedVec<T>, table: F) -> Box<dyn SavedState> {
        Box::new(Self { values: values.clone(), next: 0, table })
    }
}

impl<T, F> SavedState for BySlot<T, F>
where
    T: Clone,
    F: Fn(usize, &[&T]) -> Result<StateTable>,
{
    fn next(&mut self) -> Result<Option<StateTable>> {
        let first = self.next;
        let values: Vec<&T> = self.values.iter_from(first).take(SLOTS).collect();
        self.next += values.len();
        if values.is_empty() { Ok(None) } else { (self.table)(first, &values).map(Some) }
    }
}
