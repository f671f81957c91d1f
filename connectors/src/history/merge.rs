//! Merging small files: so many of one folder and level become one of the next level.
//!
//! Which ones is a function of the files that were committed and not of the time at which somebody looks. A row is written
//! again once a level, so it is written `log(n)` times for n files. The rows are sorted by event time; those of one time stay
//! in the order in which they were committed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;

use super::error::{HistoryError, Result};
use super::reader::hash;
use super::record::{HistoryFile, Merge};
use super::state::State;
use super::{MERGED, WRITTEN, split};
use crate::parquet::{EventColumn, Files, HashedFile};
use crate::room::Room;

/// Rows that are written in one go.
const BATCH_ROWS: usize = 8_192;
/// A pause after each of these: the dataflow has more of the processor than the upkeep.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 2 });

/// Which files are merged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Merging {
    /// So many become one; 0 if none do.
    pub(crate) files: usize,
    /// Those that are less than this together.
    pub(crate) bytes: u64,
    /// And have no more rows than this together.
    pub(crate) rows: u64,
    /// And whose event times are not further apart than this, so that they are not past at different times. Microseconds.
    pub(crate) span: Option<i64>,
    /// How the pages of the new one are compressed.
    pub(crate) compression: Compression,
}

impl Merging {
    /// The first files that become one.
    pub(super) fn plan<'a>(&self, state: &'a State) -> Option<Vec<&'a HistoryFile>> {
        if self.files < 2 {
            return None;
        }
        let mut groups: BTreeMap<(&str, u8, &str), Vec<&HistoryFile>> = BTreeMap::new();
        let limit = self.bytes / self.files as u64;
        for file in state.files.iter().filter(|file| file.bytes <= limit && file.level < u8::MAX) {
            let group = groups.entry((split(&file.name).0, file.level, &file.schema)).or_default();
            group.push(file);
            if group.len() == self.files {
                if self.fit(group) {
                    return Some(std::mem::take(group));
                }
                group.remove(0);
            }
        }
        None
    }

    fn fit(&self, group: &[&HistoryFile]) -> bool {
        let rows: u64 = group.iter().map(|file| file.rows).sum();
        let from = group.iter().filter_map(|file| file.from).min();
        let to = group.iter().filter_map(|file| file.to).max();
        let apart = from.zip(to).map_or(0, |(from, to)| to.saturating_sub(from));
        rows <= self.rows && self.span.is_none_or(|span| apart <= span)
    }

    /// Writes the new file, without making it count; `None` if `is_closed` says to stop.
    ///
    /// # Errors
    /// If a file is not as it was written, or the new one cannot be written.
    pub(super) fn merge(
        &self,
        folder: &Path,
        group: &[&HistoryFile],
        room: &Arc<Room>,
        is_closed: impl Fn() -> bool,
    ) -> Result<Option<Merge>> {
        let mut batches = Vec::new();
        for file in group {
            if is_closed() {
                return Ok(None);
            }
            batches.extend(read(folder, file)?);
            sleep(PAUSE);
        }
        let Some(schema) = batches.first().map(RecordBatch::schema) else { return Ok(None) };
        let name = name_of(group[0]);
        let path = folder.join(&name);
        let failed = |error: &dyn std::fmt::Display| HistoryError::Parquet {
            action: "merge",
            path: path.clone(),
            reason: error.to_string(),
        };
        let rows = concat_batches(&schema, &batches).map_err(|error| failed(&error))?;
        drop(batches);
        let order = in_order(&rows);
        let files = Files::new(folder, schema, self.compression, Arc::clone(room));
        let mut file: HashedFile = files.create(&name).map_err(|error| failed(&error))?;
        for indices in order.chunks(BATCH_ROWS) {
            if is_closed() {
                return Ok(None);
            }
            let indices = UInt32Array::from(indices.to_vec());
            let batch = take_record_batch(&rows, &indices).map_err(|error| failed(&error))?;
            file.write(&batch).map_err(|error| failed(&error))?;
            sleep(PAUSE);
        }
        let mut file = file.finish().map_err(|error| failed(&error))?;
        file.level = group[0].level + 1;
        Ok(Some(Merge { removed: group.iter().map(|file| file.name.clone()).collect(), file }))
    }
}

/// The name of what these become: `merged-2-0-000017.parquet` of files that begin with `part-0-000017.parquet`.
fn name_of(first: &HistoryFile) -> String {
    let (folder, last) = split(&first.name);
    let stem = last.strip_prefix(WRITTEN).or_else(|| Some(last.strip_prefix(MERGED)?.split_once('-')?.1));
    let name = format!("{MERGED}{}-{}", first.level + 1, stem.unwrap_or(last));
    if folder.is_empty() { name } else { format!("{folder}/{name}") }
}

fn read(folder: &Path, file: &HistoryFile) -> Result<Vec<RecordBatch>> {
    let path = folder.join(&file.name);
    let bytes = fs::read(&path).map_err(|error| HistoryError::file("read", &path, error))?;
    let failed = |reason: String| HistoryError::Parquet { action: "merge", path: path.clone(), reason };
    if hash(&bytes) != file.hash {
        return Err(failed("it is not as it was written: its checksum differs".into()));
    }
    let read = || {
        let file = fs::File::open(&path)?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(BATCH_ROWS).build()?;
        reader.collect::<Result<Vec<_>, _>>().map_err(parquet::errors::ParquetError::from)
    };
    read().map_err(|error| failed(error.to_string()))
}

/// The numbers of the rows, by event time; those without one are last.
fn in_order(rows: &RecordBatch) -> Vec<u32> {
    let mut order: Vec<u32> = (0_u32..).take(rows.num_rows()).collect();
    if let Some(times) = EventColumn::of(&rows.schema()).times(rows) {
        // A stable sort: rows of one time stay in their order.
        order.sort_by_key(|row| {
            let row = *row as usize;
            (times.is_null(row), if times.is_null(row) { 0 } else { times.value(row) })
        });
    }
    order
}
