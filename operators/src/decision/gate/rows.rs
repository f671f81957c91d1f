//! Puts decisions into columns.

use arrow::array::{
    BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::compute::{filter_record_batch, interleave, take};

use super::*;

/// What was decided on one command.
pub(super) struct Decided {
    pub(super) decision: &'static str,
    pub(super) reason: Option<String>,
    /// The number of the command that goes out.
    pub(super) goes_out: Option<i64>,
    /// What goes out in the place of proposed values, by column of the input.
    pub(super) instead: Values,
}

impl Decided {
    pub(super) fn refused(decision: &'static str, reason: String) -> Self {
        Self { decision, reason: Some(reason), goes_out: None, instead: Values::new() }
    }
}

/// The decisions on one batch of proposals, failsafe rows among them.
pub(super) struct Rows<'a> {
    pub(super) options: &'a GateOptions,
    pub(super) input: &'a SchemaRef,
    pub(super) now: i64,
    /// The row of the proposals that each decision is about, and whether it is the failsafe that followed.
    pub(super) decided: &'a [(usize, bool, Decided)],
}

impl Rows<'_> {
    /// What goes out, and the log.
    pub(super) fn finish(self, proposals: &RecordBatch) -> Result<(Option<RecordBatch>, RecordBatch)> {
        let columns: Result<Vec<ArrayRef>> = (0..proposals.num_columns())
            .map(|column| self.changed(column, self.column(proposals, column)?))
            .collect();
        let columns = columns?;
        let log = self.log(&columns)?;
        let goes_out: Vec<bool> = self.decided.iter().map(|(.., it)| it.goes_out.is_some()).collect();
        if !goes_out.contains(&true) {
            return Ok((None, log));
        }
        let commands = self.commands(columns)?;
        Ok((Some(filter_record_batch(&commands, &BooleanArray::from(goes_out))?), log))
    }

    fn column(&self, proposals: &RecordBatch, column: usize) -> Result<ArrayRef> {
        let proposed = proposals.column(column);
        if self.decided.len() == proposals.num_rows() {
            return Ok(Arc::clone(proposed));
        }
        if self.options.keys.contains(&column) {
            let rows: Option<Vec<u32>> =
                self.decided.iter().map(|(row, ..)| u32::try_from(*row).ok()).collect();
            let rows =
                rows.ok_or_else(|| Error::operator("gate", "more rows in a batch than 32 bits count"))?;
            return Ok(take(proposed, &UInt32Array::from(rows), None)?);
        }
        let failsafe = self.failsafe_value(column, proposed.data_type())?;
        let place =
            |(row, is_failsafe, _): &(usize, bool, Decided)| if *is_failsafe { (1, 0) } else { (0, *row) };
        let places: Vec<(usize, usize)> = self.decided.iter().map(place).collect();
        Ok(interleave(&[proposed.as_ref(), failsafe.as_ref()], &places)?)
    }

    /// The column with what goes out in the place of values.
    fn changed(&self, column: usize, proposed: ArrayRef) -> Result<ArrayRef> {
        let instead = self.decided.iter().map(|(.., it)| it.instead.get(column).copied().flatten());
        let instead: Float64Array = instead.collect();
        if instead.null_count() == instead.len() {
            return Ok(proposed);
        }
        let values = cast(&instead, proposed.data_type())?;
        let places = (0..instead.len()).map(|row| (usize::from(instead.is_valid(row)), row));
        Ok(interleave(&[proposed.as_ref(), values.as_ref()], &places.collect::<Vec<_>>())?)
    }

    /// One row: the failsafe value of a column, or NULL.
    fn failsafe_value(&self, column: usize, data_type: &DataType) -> Result<ArrayRef> {
        match self.options.failsafe.iter().find(|(known, _)| *known == column) {
            Some((_, value)) => Ok(cast(&Float64Array::from(vec![*value]), data_type)?),
            None => Ok(new_null_array(data_type, 1)),
        }
    }

    fn commands(&self, mut columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        if let Some(ttl) = self.options.ttl {
            let expires_at = self.now.saturating_add(ttl);
            columns.push(Arc::new(TimestampMicrosecondArray::from(vec![expires_at; self.decided.len()])));
        }
        if self.options.tells_outcomes {
            let numbers = self.decided.iter().map(|(.., decided)| decided.goes_out.unwrap_or(-1));
            columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
        }
        Ok(RecordBatch::try_new(self.options.command_schema(self.input), columns)?)
    }

    fn log(&self, columns: &[ArrayRef]) -> Result<RecordBatch> {
        let decisions =
            self.decided.iter().map(|(.., decided)| (decided.decision, decided.reason.as_deref()));
        log(self.options, self.input, self.now, columns, decisions.collect())
    }
}

/// Rows of the log: what was decided on each command of these columns.
pub(super) fn log(
    options: &GateOptions,
    input: &SchemaRef,
    now: i64,
    columns: &[ArrayRef],
    decisions: Vec<(&str, Option<&str>)>,
) -> Result<RecordBatch> {
    let mut log: Vec<ArrayRef> = Vec::with_capacity(columns.len() + 3);
    log.push(Arc::new(TimestampMicrosecondArray::from(vec![now; decisions.len()])));
    log.extend(columns.iter().map(Arc::clone));
    log.push(Arc::new(StringArray::from_iter_values(decisions.iter().map(|(decision, _)| decision))));
    log.push(Arc::new(decisions.iter().map(|(_, reason)| *reason).collect::<StringArray>()));
    Ok(RecordBatch::try_new(options.log_schema(input), log)?)
}
