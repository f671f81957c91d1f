//! What is swapped while a program runs, such as the version of a model: between two epochs, and between the same two at every
//! replay.
//!
//! ```text
//! anybody --ask--> Swaps --> intake: note in the journal --> Holder::swap(from, ..) --> epoch `from` is worked on
//! ```
//!
//! The holder keeps, for each name, the values with the epochs from which they count. Whoever computes something on a worker asks
//! [`worked_on`] for its epoch, and takes the value of that epoch: no row is lost or waits for a swap, and it does not
//! matter how far each worker is.
//!
//! Rows that may be taken back are computed outside of any epoch, with the first value that the state of the program saw: a
//! row must be taken back as it was given.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use tokio::sync::Notify;

use crate::checkpoint::damaged;
use crate::error::Result;
use crate::time::Epoch;

thread_local! {
    static WORKED_ON: Cell<Option<Epoch>> = const { Cell::new(None) };
}

/// The epoch whose rows this thread computes; `None` for rows that may be taken back, and outside of a program.
pub fn worked_on() -> Option<Epoch> {
    WORKED_ON.get()
}

/// From now on this thread computes rows of `epoch`.
pub(crate) fn work_on(epoch: Option<Epoch>) {
    WORKED_ON.set(epoch);
}

/// A new value of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// Of what.
    pub name: String,
    /// The value; the engine does not mind what it is.
    pub value: Vec<u8>,
}

impl Swap {
    /// As the journal keeps it: epoch, length of the name, name, value.
    pub(crate) fn encode(&self, from: Epoch) -> Vec<u8> {
        let length = u32::try_from(self.name.len()).unwrap_or(u32::MAX);
        let parts = [&from.to_le_bytes()[..], &length.to_le_bytes(), self.name.as_bytes(), &self.value];
        parts.concat()
    }

    pub(crate) fn decode(body: &[u8]) -> Option<(Epoch, Self)> {
        let (from, rest) = body.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (name, value) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        Some((Epoch::from_le_bytes(*from), Self { name, value: value.to_vec() }))
    }
}

/// Who keeps the values by epoch.
pub trait Holder: Send + Sync {
    /// The value counts for rows of the epoch `from` and later, until the next one. The first value of a name counts for all
    /// epochs before it, too.
    ///
    /// # Errors
    /// If there is no such value, such as when a file is gone: the program ends.
    fn swap(&self, from: Epoch, swap: &Swap) -> Result<()>;

    /// No row of an epoch below `epoch` is computed any more. The first value of the name is still needed.
    fn forget_before(&self, _name: &str, _epoch: Epoch) {}
}

/// What is swapped in a program; see the page of this module.
#[derive(Clone)]
pub struct Swaps(Arc<Shared>);

struct Shared {
    holder: Box<dyn Holder>,
    asked: Mutex<VecDeque<Swap>>,
    news: Notify,
    /// The values of each name, with the epochs from which they count.
    held: Mutex<BTreeMap<String, Held>>,
}

/// Values with the epochs from which they count, ascending.
type Held = Vec<(Epoch, Vec<u8>)>;

impl fmt::Debug for Swaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swaps").field("held", &self.0.held).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Swaps {
    /// Nothing is asked for yet.
    pub fn new(holder: impl Holder + 'static) -> Self {
        let (asked, news, held) = (Mutex::default(), Notify::new(), Mutex::default());
        Self(Arc::new(Shared { holder: Box::new(holder), asked, news, held }))
    }

    /// Asks for a swap before the next epoch; nothing happens if that is the value already. What is asked for before the program
    /// starts is there for its first new row.
    pub fn ask(&self, swap: Swap) {
        lock(&self.0.asked).push_back(swap);
        self.0.news.notify_one();
    }

    /// Waits until something is asked for.
    pub(crate) async fn news(&self) {
        self.0.news.notified().await;
    }

    /// The next swap that changes something.
    pub(crate) fn next(&self) -> Option<Swap> {
        loop {
            let swap = lock(&self.0.asked).pop_front()?;
            let held = lock(&self.0.held);
            let newest = held.get(&swap.name).and_then(|values| values.last());
            if newest.is_none_or(|(_, value)| *value != swap.value) {
                return Some(swap);
            }
        }
    }

    /// It could not be noted, and is still to be done.
    pub(crate) fn put_back(&self, swap: Swap) {
        lock(&self.0.asked).push_front(swap);
    }

    /// From the epoch `from` on the value counts. A swap that is known is no news.
    ///
    /// # Errors
    /// As for [`Holder::swap`].
    pub(crate) fn hold(&self, from: Epoch, swap: &Swap) -> Result<()> {
        let is_known = |(known, value): &(Epoch, Vec<u8>)| (*known, value) == (from, &swap.value);
        if lock(&self.0.held).get(&swap.name).is_some_and(|values| values.iter().any(is_known)) {
            return Ok(());
        }
        self.0.holder.swap(from, swap)?;
        lock(&self.0.held).entry(swap.name.clone()).or_default().push((from, swap.value.clone()));
        Ok(())
    }

    /// All epochs below `epoch` are complete: of what counted before it, the first and the last value are kept.
    pub(crate) fn forget_before(&self, epoch: Epoch) {
        for (name, values) in lock(&self.0.held).iter_mut() {
            let past = values.iter().take_while(|(from, _)| *from <= epoch).count();
            if past > 2 {
                values.drain(1..past - 1);
                self.0.holder.forget_before(name, epoch);
            }
        }
    }

    /// All that counts, for a checkpoint.
    pub(crate) fn snapshot(&self) -> Result<RecordBatch> {
        let held = lock(&self.0.held);
        let each = || held.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let columns: [(&str, ArrayRef); 3] = [
            ("from", Arc::new(each().map(|(_, (from, _))| from.cast_signed()).collect::<Int64Array>())),
            ("name", Arc::new(each().map(|(name, _)| Some(name)).collect::<StringArray>())),
            ("value", Arc::new(each().map(|(_, (_, value))| Some(value)).collect::<BinaryArray>())),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }

    /// Puts back what [`Swaps::snapshot`] gave.
    ///
    /// # Errors
    /// If it is another table, or as for [`Holder::swap`].
    pub(crate) fn restore(&self, table: &RecordBatch) -> Result<()> {
        let column = |name: &str| table.column_by_name(name).ok_or_else(damaged);
        let from = column("from")?.as_primitive_opt::<Int64Type>().ok_or_else(damaged)?.clone();
        let name = column("name")?.as_string_opt::<i32>().ok_or_else(damaged)?.clone();
        let value = column("value")?.as_binary_opt::<i32>().ok_or_else(damaged)?.clone();
        for row in 0..table.num_rows() {
            let swap = Swap { name: name.value(row).to_owned(), value: value.value(row).to_vec() };
            self.hold(from.value(row).cast_unsigned(), &swap)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes what it is told.
    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Vec<String>>>);

    impl Holder for Notes {
        fn swap(&self, from: Epoch, swap: &Swap) -> Result<()> {
            lock(&self.0).push(format!("{} {} from {from}", swap.name, swap.value[0]));
            Ok(())
        }

        fn forget_before(&self, name: &str, epoch: Epoch) {
            lock(&self.0).push(format!("{name} before {epoch} is past"));
        }
    }

    fn swap(value: u8) -> Swap {
        Swap { name: "wear".into(), value: vec![value] }
    }

    #[test]
    fn a_swap_is_read_from_the_journal_as_it_was_written() {
        assert_eq!(Swap::decode(&swap(7).encode(42)), Some((42, swap(7))));
        let body = swap(7).encode(42);
        assert!(
            (0..16).all(|length| Swap::decode(&body[..length]).is_none()),
            "one that is cut short is none"
        );
    }

    #[test]
    fn asking_for_what_counts_already_is_no_swap() {
        let swaps = Swaps::new(Notes::default());
        swaps.hold(0, &swap(1)).unwrap();
        swaps.ask(swap(1));
        swaps.ask(swap(2));
        assert_eq!(swaps.next(), Some(swap(2)));
        assert_eq!(swaps.next(), None);
    }

    #[test]
    fn a_checkpoint_has_the_first_value_and_those_that_rows_on_their_way_may_need() {
        let notes = Notes::default();
        let swaps = Swaps::new(notes.clone());
        for (from, value) in [(0, 1), (10, 2), (20, 3), (30, 4)] {
            swaps.hold(from, &swap(value)).unwrap();
        }
        swaps.forget_before(25);
        let again = Notes::default();
        Swaps::new(again.clone()).restore(&swaps.snapshot().unwrap()).unwrap();
        assert_eq!(*lock(&again.0), ["wear 1 from 0", "wear 3 from 20", "wear 4 from 30"]);
        assert_eq!(lock(&notes.0).last().unwrap(), "wear before 25 is past");
    }
}
