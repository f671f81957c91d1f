//! `connector = 'stdout'`: rows as JSON lines, CSV or a table, for a person or a pipe.
//!
//! Rows of an epoch are written at its end. A pipe that is closed at the other end (`| head`) ends the output, not the
//! program. A changelog has its weight in front: `+1` inserts a row, `-1` takes it back.

use std::io::{self, Write};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use lineshaft_engine::declaration::{OptionError, SinkDeclaration};
use lineshaft_engine::sink::{Sink, SinkFactory, Worker};
use lineshaft_engine::time::EpochHeader;
use lineshaft_engine::{Batch, Error, Result};
use std::sync::Arc;

use crate::format::rows::{texts, write_csv, write_csv_header, write_json_lines};
use crate::options::{OptionDoc, OptionReader};

/// The options of the sink.
pub const OPTIONS: &[OptionDoc] =
    &[OptionDoc::optional("format", "jsonl, csv or table", "jsonl", "How rows are written.")];

/// Name of the column with the weight of a changelog.
const WEIGHT: &str = "weight";
/// Bytes after which output is written before the epoch ends.
const BUFFER_BYTES: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    JsonLines,
    Csv,
    Table,
}

/// What is wrong with the options.
pub fn check(declaration: &SinkDeclaration) -> Vec<OptionError> {
    style(declaration).err().unwrap_or_default()
}

/// The sink.
///
/// # Errors
/// What is wrong with the options.
pub fn sink(declaration: &SinkDeclaration) -> Result<Box<dyn SinkFactory>, Vec<OptionError>> {
    let (name, style) = (declaration.name.clone(), style(declaration)?);
    let are_commands = declaration.options.contains_key("ttl");
    Ok(Box::new(StdoutFactory { name, style, are_commands }))
}

fn style(declaration: &SinkDeclaration) -> Result<Style, Vec<OptionError>> {
    let mut read = OptionReader::new("sink", "stdout", &declaration.options, OPTIONS);
    let styles = [
        ("jsonl", Style::JsonLines),
        ("json", Style::JsonLines),
        ("csv", Style::Csv),
        ("table", Style::Table),
    ];
    let style = read.choice("format", &styles, Style::JsonLines);
    read.finish(style)
}

struct StdoutFactory {
    name: String,
    style: Style,
    are_commands: bool,
}

impl SinkFactory for StdoutFactory {
    fn open(&self, _schema: SchemaRef, _worker: Worker) -> Result<Box<dyn Sink>> {
        Ok(Box::new(TextSink::new(&self.name, self.style, io::stdout())))
    }

    fn is_at_most_once(&self) -> bool {
        self.are_commands
    }
}

/// Writes rows as text.
struct TextSink<W> {
    name: String,
    style: Style,
    out: W,
    buffer: Vec<u8>,
    has_header: bool,
    /// Characters of each column of the table.
    widths: Vec<usize>,
    is_closed: bool,
}

impl<W: Write> TextSink<W> {
    fn new(name: &str, style: Style, out: W) -> Self {
        Self {
            name: name.to_owned(),
            style,
            out,
            buffer: Vec::new(),
            has_header: false,
            widths: Vec::new(),
            is_closed: false,
        }
    }

    fn format(&mut self, rows: &RecordBatch) -> Result<()> {
        let is_first = !std::mem::replace(&mut self.has_header, true);
        match self.style {
            Style::JsonLines => write_json_lines(rows, &mut self.buffer),
            Style::Csv => {
                if is_first {
                    write_csv_header(&rows.schema(), &mut self.buffer);
                }
                write_csv(rows, &mut self.buffer)
            }
            Style::Table => {
                let texts = texts(rows)?;
                if is_first {
                    let names: Vec<String> =
                        rows.schema().fields().iter().map(|field| field.name().clone()).collect();
                    self.widen(std::iter::once(&names).chain(&texts));
                    self.table_row(&names);
                    let rule: Vec<String> = self.widths.iter().map(|width| "-".repeat(*width)).collect();
                    self.table_row(&rule);
                }
                self.widen(texts.iter());
                texts.iter().for_each(|row| self.table_row(row));
                Ok(())
            }
        }
    }

    /// Columns grow with what comes, and never shrink again.
    fn widen<'a>(&mut self, rows: impl Iterator<Item = &'a Vec<String>>) {
        for row in rows {
            self.widths.resize(row.len(), 0);
            for (width, text) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
    }

    fn table_row(&mut self, row: &[String]) {
        let cells: Vec<String> =
            row.iter().zip(&self.widths).map(|(text, width)| format!("{text:<width$}")).collect();
        self.buffer.extend_from_slice(cells.join("  ").trim_end().as_bytes());
        self.buffer.push(b'\n');
    }

    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() || self.is_closed {
            self.buffer.clear();
            return Ok(());
        }
        let result = self.out.write_all(&self.buffer).and_then(|()| self.out.flush());
        self.buffer.clear();
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            other => other.map_err(|error| Error::connector("stdout sink", &self.name, error)),
        }
    }
}

impl<W: Write> Sink for TextSink<W> {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.format(&with_weights(batch)?)?;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn end_epoch(&mut self, _header: EpochHeader) -> Result<()> {
        self.flush()
    }

    fn finish(&mut self) -> Result<()> {
        self.flush()
    }
}

/// The rows of a batch; of a changelog with the weights as first column.
fn with_weights(batch: &Batch) -> Result<RecordBatch> {
    let Some(weights) = batch.weights() else {
        return Ok(batch.rows().clone());
    };
    let schema = batch.schema();
    let weight = Arc::new(Field::new(WEIGHT, arrow::datatypes::DataType::Int64, false));
    let fields: Vec<_> = std::iter::once(weight).chain(schema.fields().iter().cloned()).collect();
    let weights: ArrayRef = Arc::new(weights.clone());
    let columns = std::iter::once(weights).chain(batch.rows().columns().iter().cloned()).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray};

    use super::*;

    fn written(style: Style, batches: &[Batch]) -> String {
        let mut sink = TextSink::new("out", style, Vec::new());
        batches.iter().for_each(|batch| sink.write(batch).unwrap());
        sink.finish().unwrap();
        String::from_utf8(sink.out).unwrap()
    }

    fn batch() -> Batch {
        let names: ArrayRef = Arc::new(StringArray::from(vec!["pump", "x"]));
        let bars: ArrayRef = Arc::new(Float64Array::from(vec![1.5, 22.25]));
        RecordBatch::try_from_iter([("name", names), ("bar", bars)]).unwrap().into()
    }

    #[test]
    fn a_table_is_aligned_under_its_names() {
        let expected = "name  bar\n----  -----\npump  1.5\nx     22.25\npump  1.5\nx     22.25\n";
        assert_eq!(written(Style::Table, &[batch(), batch()]), expected);
    }

    #[test]
    fn csv_has_one_header() {
        assert_eq!(
            written(Style::Csv, &[batch(), batch()]),
            "name,bar\npump,1.5\nx,22.25\npump,1.5\nx,22.25\n"
        );
    }

    #[test]
    fn a_changelog_shows_its_weights() {
        let batch = Batch::with_weights(batch().into_rows(), Int64Array::from(vec![1, -1]));
        let expected =
            "{\"weight\":1,\"name\":\"pump\",\"bar\":1.5}\n{\"weight\":-1,\"name\":\"x\",\"bar\":22.25}\n";
        assert_eq!(written(Style::JsonLines, &[batch]), expected);
    }
}
