//! A state as it was when a snapshot began.

use std::fmt::Debug;

use lineshaft_engine::Result;

use super::SharedVec;
use crate::window::state::StateTable;

/// Slots of a table, at most. Tests have few.
const SLOTS: usize = if cfg!(test) { 2 } else { 8_192 };

/// A state as it was, given table by table.
pub(crate) trait SavedState {
    /// The next table; `None` if that was all.
    fn next(&mut self) -> Result<Option<StateTable>>;
}

/// All in one table.
pub(crate) struct Whole(pub(crate) Option<StateTable>);

impl SavedState for Whole {
    fn next(&mut self) -> Result<Option<StateTable>> {
        Ok(self.0.take())
    }
}

/// A value for each slot; `table` makes a table of some of them, of which the first has the slot that it is given.
pub(crate) struct BySlot<T, F> {
    values: SharedVec<T>,
    next: usize,
    table: F,
}

impl<T, F> BySlot<T, F>
where
    T: Clone + Debug + 'static,
    F: Fn(usize, &[&T]) -> Result<StateTable> + 'static,
{
    pub(crate) fn boxed(values: &SharedVec<T>, table: F) -> Box<dyn SavedState> {
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
