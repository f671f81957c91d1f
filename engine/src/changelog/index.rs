//! Indexes: differential arrangements of encoded rows that lie one after the other in one buffer.
//!
//! A row of an index costs its bytes and 8 bytes of places (where it ends, and where its changes end); a key costs the same
//! once. Times and weights are kept once for a run of rows that share them, as rows of past epochs do.

use std::rc::Rc;

use differential_dataflow::VecCollection;
use differential_dataflow::batcher::merge::MergeBatcher;
use differential_dataflow::batcher::merge::chunker::ContainerChunker;
use differential_dataflow::batcher::merge::vec::VecMerger;
use differential_dataflow::lattice::Lattice;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::ord_neu::{
    OrdKeyBatch, OrdKeyBuilder, OrdValBatch, OrdValBuilder,
};
use differential_dataflow::trace::implementations::spine_fueled::Spine;
use differential_dataflow::trace::implementations::{BatchContainer, OffsetList};
use timely::container::PushInto;
use timely::progress::Timestamp;

use super::{Row, Rows};
use crate::time::Epoch;

/// Rows by an encoded key: see [`super::encode_keys`].
pub type Index<'scope, T = Epoch> = Arranged<'scope, IndexTrace<T>>;

/// Keys, or rows by themselves.
pub type Keys<'scope, T = Epoch> = Arranged<'scope, KeysTrace<T>>;

/// What an [`Index`] keeps.
pub type IndexTrace<T> = TraceAgent<Spine<Rc<OrdValBatch<PairLayout<T>>>>>;
/// What [`Keys`] keep.
pub type KeysTrace<T> = TraceAgent<Spine<Rc<OrdKeyBatch<KeyLayout<T>>>>>;

/// How an [`Index`] is laid out.
pub type PairLayout<T> = (RowList, RowList, Vec<T>, Vec<isize>, OffsetList);
/// How [`Keys`] are laid out.
pub type KeyLayout<T> = (RowList, Vec<()>, Vec<T>, Vec<isize>, OffsetList);

type Updates<D, T> = Vec<(D, T, isize)>;
type Batcher<D, T, B> = MergeBatcher<ContainerChunker<Updates<D, T>>, VecMerger<D, T, isize>, B>;
type PairBuilder<T> = OrdValBuilder<PairLayout<T>, Updates<(Row, Row), T>>;
type KeyBuilder<T> = OrdKeyBuilder<KeyLayout<T>, Updates<(Row, ()), T>>;

/// The index of rows that come with their keys.
pub fn index<'scope, T>(pairs: VecCollection<'scope, T, (Row, Row), isize>) -> Index<'scope, T>
where
    T: Timestamp + Lattice,
{
    pairs.arrange_named::<Batcher<(Row, Row), T, PairBuilder<T>>, _>("index", MergeBatcher::new)
}

/// Rows by themselves.
pub fn keys<'scope, T>(rows: Rows<'scope, T>) -> Keys<'scope, T>
where
    T: Timestamp + Lattice,
{
    let keys = rows.map(|row| (row, ()));
    keys.arrange_named::<Batcher<(Row, ()), T, KeyBuilder<T>>, _>("keys", MergeBatcher::new)
}

/// Each row once.
pub fn distinct<'scope, T>(rows: Rows<'scope, T>) -> Rows<'scope, T>
where
    T: Timestamp + Lattice,
{
    all(distinct_keys(keys(rows)))
}

/// Each key once.
pub fn distinct_keys<'scope, T>(keys: Keys<'scope, T>) -> Keys<'scope, T>
where
    T: Timestamp + Lattice,
{
    keys.reduce_abelian::<_, KeyBuilder<T>, _, _, _>(
        "distinct",
        |_, weights, output| {
            if weights[0].1 > 0 {
                output.push(((), 1));
            }
        },
        refill,
    )
}

/// The keys of an index for which it has rows, each once, as far as they are `wanted`.
pub fn keys_of<'scope, T>(
    index: Index<'scope, T>,
    wanted: impl Fn(&[u8]) -> bool + 'static,
) -> Keys<'scope, T>
where
    T: Timestamp + Lattice,
{
    index.reduce_abelian::<_, KeyBuilder<T>, _, _, _>(
        "keys",
        move |key, rows, output| {
            let is_there = rows.iter().map(|(_, weight)| weight).sum::<isize>() > 0;
            if is_there && wanted(key) {
                output.push(((), 1));
            }
        },
        refill,
    )
}

/// For each key of an index the rows that `logic` makes of its rows, which come in their order, each with its weight.
pub fn reduced<'scope, T>(
    index: Index<'scope, T>,
    name: &str,
    mut logic: impl FnMut(&[(&[u8], isize)], &mut Vec<(Row, isize)>) + 'static,
) -> Index<'scope, T>
where
    T: Timestamp + Lattice,
{
    index.reduce_abelian::<_, PairBuilder<T>, _, _, _>(
        name,
        move |_, rows, output| logic(rows, output),
        refill,
    )
}

/// The rows of an index.
pub fn rows<'scope, T>(index: Index<'scope, T>) -> Rows<'scope, T>
where
    T: Timestamp + Lattice,
{
    index.as_collection(|_, row| row.to_vec())
}

/// The rows that are by themselves.
pub fn all<'scope, T>(keys: Keys<'scope, T>) -> Rows<'scope, T>
where
    T: Timestamp + Lattice,
{
    keys.as_collection(|key, ()| key.to_vec())
}

/// What has changed of a key, in the form in which a builder takes it.
fn refill<V, T>(updates: &mut Updates<(Row, V), T>, key: &[u8], changes: &mut Updates<V, T>) {
    updates.clear();
    updates.extend(changes.drain(..).map(|(value, time, weight)| ((key.to_vec(), value), time, weight)));
}

/// Encoded rows, one after the other.
#[derive(Debug)]
pub struct RowList {
    /// Where each row ends.
    ends: OffsetList,
    bytes: Vec<u8>,
}

impl RowList {
    fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
    }
}

impl PushInto<Row> for RowList {
    fn push_into(&mut self, row: Row) {
        self.push(&row);
    }
}

impl BatchContainer for RowList {
    type Owned = Row;
    type ReadItem<'a> = &'a [u8];

    fn into_owned(row: &[u8]) -> Row {
        row.to_vec()
    }

    fn clone_onto(row: &[u8], other: &mut Row) {
        row.clone_into(other);
    }

    fn push_ref(&mut self, row: &[u8]) {
        self.push(row);
    }

    fn push_own(&mut self, row: &Row) {
        self.push(row);
    }

    fn clear(&mut self) {
        self.ends.clear();
        self.bytes.clear();
    }

    fn with_capacity(rows: usize) -> Self {
        Self { ends: OffsetList::with_capacity(rows), bytes: Vec::new() }
    }

    fn merge_capacity(a: &Self, b: &Self) -> Self {
        Self {
            ends: OffsetList::with_capacity(a.ends.len() + b.ends.len()),
            bytes: Vec::with_capacity(a.bytes.len() + b.bytes.len()),
        }
    }

    fn reborrow<'b, 'a: 'b>(row: &'a [u8]) -> &'b [u8] {
        row
    }

    fn index(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends.index(before));
        &self.bytes[start..self.ends.index(index)]
    }

    fn len(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_length_come_out_as_they_went_in() {
        let rows = [vec![1_u8, 2], vec![], vec![3], vec![]];
        let mut list = RowList::with_capacity(0);
        rows.iter().for_each(|row| list.push_own(row));
        let kept: Vec<_> = (0..list.len()).map(|place| list.index(place).to_vec()).collect();
        assert_eq!(kept, rows);
        assert_eq!(list.last(), Some(&[][..]));
        let mut owned = vec![9; 5];
        RowList::clone_onto(list.index(0), &mut owned);
        assert_eq!(owned, [1, 2]);
        let mut merged = RowList::merge_capacity(&list, &list);
        merged.push_ref(list.index(2));
        assert_eq!((merged.len(), merged.index(0)), (1, &[3_u8][..]));
        list.clear();
        assert!(list.is_empty());
    }
}
