//! The rows of each group, kept as they are: for windows that give their rows, and for aggregates that want them sorted.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeListArray, StructArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortColumn, SortOptions, concat, filter, lexsort_to_indices, take};
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use lineshaft_engine::Result;
use lineshaft_engine::expression::{Accumulator, Aggregate, Column, Expression};

/// The rows of groups `0..n`, in the order in which they came.
#[derive(Debug)]
pub(crate) struct RowLists {
    types: Vec<DataType>,
    /// The columns of the rows, batch by batch.
    rows: Vec<Vec<ArrayRef>>,
    /// The group of each row.
    groups: Vec<u32>,
    total: usize,
}

impl RowLists {
    pub(crate) fn new(types: Vec<DataType>) -> Self {
        Self { types, rows: Vec::new(), groups: Vec::new(), total: 0 }
    }

    /// The column of [`RowLists::lists`].
    pub(crate) fn field(name: &str, types: &[DataType]) -> Field {
        let row = Field::new_list_field(DataType::Struct(fields(types)), true);
        Field::new(name, DataType::LargeList(Arc::new(row)), true)
    }

    fn push(&mut self, rows: Vec<ArrayRef>, groups: impl Iterator<Item = usize>, total: usize) {
        self.total = self.total.max(total);
        // There are fewer groups than slots of keys, which are u32.
        self.groups.extend(groups.filter_map(|group| u32::try_from(group).ok()));
        self.rows.push(rows);
    }

    /// Adds the rows for which the condition is true.
    pub(crate) fn add(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        condition: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let Some(condition) = condition else {
            self.push(columns.to_vec(), groups.iter().copied(), total);
            return Ok(());
        };
        let rows = columns.iter().map(|column| Ok(filter(column, condition)?)).collect::<Result<_>>()?;
        let passes = |row: usize| condition.is_valid(row) && condition.value(row);
        let kept = groups.iter().enumerate().filter(|(row, _)| passes(*row)).map(|(_, group)| *group);
        self.push(rows, kept, total);
        Ok(())
    }

    /// Adds the rows of lists, as [`RowLists::lists`] gave them.
    pub(crate) fn add_lists(&mut self, lists: &ArrayRef, groups: &[usize], total: usize) {
        let lists = lists.as_list::<i64>();
        let offsets = lists.offsets();
        let of = |offset: i64| usize::try_from(offset).unwrap_or_default();
        let (first, last) = (of(offsets[0]), of(offsets[lists.len()]));
        let rows = lists.values().slice(first, last - first);
        let columns = rows.as_struct().columns().to_vec();
        let groups = groups.iter().zip(offsets.lengths());
        self.push(columns, groups.flat_map(|(group, rows)| std::iter::repeat_n(*group, rows)), total);
    }

    /// The rows group by group, and where those of each group end; no row is left. Within a group by the last columns in
    /// this order, and as they came where that tells nothing.
    pub(crate) fn take(&mut self, order: &[SortOptions]) -> Result<(Vec<ArrayRef>, OffsetBuffer<i64>)> {
        let mut lengths = vec![0; std::mem::take(&mut self.total)];
        self.groups.iter().for_each(|group| lengths[*group as usize] += 1);
        let rows = std::mem::take(&mut self.rows);
        let groups: ArrayRef = Arc::new(UInt32Array::from(std::mem::take(&mut self.groups)));
        let column = |at: usize| -> Result<ArrayRef> {
            let parts: Vec<&dyn Array> = rows.iter().map(|columns| columns[at].as_ref()).collect();
            if parts.is_empty() {
                return Ok(arrow::array::new_empty_array(&self.types[at]));
            }
            Ok(concat(&parts)?)
        };
        let columns = (0..self.types.len()).map(column).collect::<Result<Vec<_>>>()?;
        let numbers = UInt32Array::from_iter_values((0..).take(groups.len()));
        let mut by = vec![SortColumn { values: groups, options: None }];
        let keys = &columns[columns.len() - order.len()..];
        by.extend(
            keys.iter()
                .zip(order)
                .map(|(values, options)| SortColumn { values: Arc::clone(values), options: Some(*options) }),
        );
        by.push(SortColumn { values: Arc::new(numbers), options: None });
        let order = lexsort_to_indices(&by, None)?;
        let columns = columns.iter().map(|column| Ok(take(column, &order, None)?));
        Ok((columns.collect::<Result<_>>()?, OffsetBuffer::from_lengths(lengths)))
    }

    /// A list of rows for each group, in one column; no row is left.
    pub(crate) fn lists(&mut self) -> Result<ArrayRef> {
        let (columns, offsets) = self.take(&[])?;
        let rows = StructArray::new(fields(&self.types), columns, None);
        let field = Arc::new(Field::new_list_field(rows.data_type().clone(), true));
        Ok(Arc::new(LargeListArray::try_new(field, offsets, Arc::new(rows), None)?))
    }

    pub(crate) fn size(&self) -> usize {
        let arrays: usize = self.rows.iter().flatten().map(|column| column.get_array_memory_size()).sum();
        size_of_val(self) + arrays + self.groups.capacity() * size_of::<u32>()
    }
}

fn fields(types: &[DataType]) -> Fields {
    types.iter().enumerate().map(|(at, of)| Field::new(format!("c{at}"), of.clone(), true)).collect()
}

/// An aggregate whose result is the rows themselves.
#[derive(Debug)]
pub(crate) struct AllRows {
    columns: Vec<Arc<dyn Expression>>,
    result: Field,
}

impl AllRows {
    /// Keeps the columns at these places.
    pub(crate) fn new(places: &[usize], schema: &SchemaRef) -> Self {
        let types: Vec<DataType> =
            places.iter().map(|place| schema.field(*place).data_type().clone()).collect();
        let column = |(index, data_type): (&usize, &DataType)| -> Arc<dyn Expression> {
            Arc::new(Column { index: *index, data_type: data_type.clone() })
        };
        let columns = places.iter().zip(&types).map(column).collect();
        Self { columns, result: RowLists::field("rows", &types) }
    }
}

impl Aggregate for AllRows {
    fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        let types = self.columns.iter().map(|column| column.data_type().clone()).collect();
        Ok(Box::new(RowLists::new(types)))
    }

    fn arguments(&self) -> &[Arc<dyn Expression>] {
        &self.columns
    }

    fn filter(&self) -> Option<&Arc<dyn Expression>> {
        None
    }

    fn result(&self) -> &Field {
        &self.result
    }

    fn state(&self) -> &[Field] {
        std::slice::from_ref(&self.result)
    }
}

impl Accumulator for RowLists {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.add(arguments, groups, filter, total)
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.add_lists(&state[0], groups, total);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        self.lists()
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.lists()?])
    }

    fn size(&self) -> usize {
        self.size()
    }
}
