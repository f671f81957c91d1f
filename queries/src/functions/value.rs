//! What a feature gives: a number or a list of numbers, and a column of either.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Builder, ListBuilder};
use datafusion::arrow::datatypes::{DataType, Field};

/// The value of a feature.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(Option<f64>),
    List(Option<Vec<f64>>),
}

/// A column of values, while it is filled.
pub(super) enum Values {
    Numbers(Float64Builder),
    Lists(ListBuilder<Float64Builder>),
}

/// The type of a list of numbers.
pub(super) fn list_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)))
}

impl Values {
    pub(super) fn new(data_type: &DataType, capacity: usize) -> Self {
        match data_type {
            DataType::List(_) => Self::Lists(ListBuilder::with_capacity(Float64Builder::new(), capacity)),
            _ => Self::Numbers(Float64Builder::with_capacity(capacity)),
        }
    }

    /// Adds a value; one of the other kind is NULL here, and there is none.
    pub(super) fn push(&mut self, value: Value) {
        match (self, value) {
            (Self::Numbers(numbers), Value::Number(number)) => numbers.append_option(number),
            (Self::Lists(lists), Value::List(Some(list))) => {
                lists.values().append_slice(&list);
                lists.append(true);
            }
            (Self::Numbers(numbers), Value::List(_)) => numbers.append_null(),
            (Self::Lists(lists), _) => lists.append(false),
        }
    }

    pub(super) fn push_null(&mut self) {
        self.push(Value::Number(None));
    }

    pub(super) fn finish(self) -> ArrayRef {
        match self {
            Self::Numbers(mut numbers) => Arc::new(numbers.finish()),
            Self::Lists(mut lists) => Arc::new(lists.finish()),
        }
    }
}
