//! Columns that stand in the names of folders and not in the files: `line=a/day=2026-03-01/part-0.parquet`.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::FieldRef;
use lineshaft_engine::declaration::OptionError;

use super::convert::convert;
use crate::format::timestamp::TimestampFormat;
use crate::parquet::{NULL_VALUE, unescaped};

/// The value of a column, one row, as the folders that the file is in have it; `None` if none of them names the column.
///
/// # Errors
/// If it is not of the declared type, or NULL where that may not be.
pub(super) fn value(
    path: &Path,
    field: &FieldRef,
    timestamp: &TimestampFormat,
) -> Result<Option<ArrayRef>, OptionError> {
    let Some(text) = text(path, field.name()) else { return Ok(None) };
    let column = StringArray::from(vec![(text != NULL_VALUE).then(|| text.clone())]);
    let is_null = column.is_null(0);
    let column: ArrayRef = Arc::new(column);
    match convert(&column, field.data_type(), timestamp) {
        Ok(value) if value.is_null(0) == is_null && (!is_null || field.is_nullable()) => Ok(Some(value)),
        _ => {
            let (name, path) = (field.name(), path.display());
            let message = format!(
                "the folder \"{name}={text}\" of {path} is no value of column {name:?}, {}{}",
                field.data_type(),
                if field.is_nullable() { "" } else { " NOT NULL" }
            );
            Err(OptionError::of("path", message).help("declare the column with a type that all folders fit"))
        }
    }
}

/// What the nearest folder that is named after the column says.
fn text(path: &Path, column: &str) -> Option<String> {
    let folders = path.ancestors().skip(1).map_while(|folder| folder.file_name()?.to_str());
    let parts = folders.map_while(|folder| folder.split_once('='));
    parts.into_iter().find(|(name, _)| unescaped(name) == column).map(|(_, value)| unescaped(value))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Int64Type};

    use super::*;

    #[test]
    fn the_folders_right_above_a_file_name_columns() {
        let path = Path::new("/x=9/plant/line=a%2Fb/n=7/part.parquet");
        assert_eq!(text(path, "line").as_deref(), Some("a/b"));
        assert_eq!(text(path, "n").as_deref(), Some("7"));
        assert_eq!(text(path, "x"), None, "it is above a folder that names no column");
        let of = |name: &str, data_type: DataType, is_nullable: bool| {
            let field: FieldRef = Arc::new(Field::new(name, data_type, is_nullable));
            value(path, &field, &TimestampFormat::Rfc3339)
        };
        let n = of("n", DataType::Int64, false).unwrap().unwrap();
        assert_eq!(n.as_primitive::<Int64Type>().value(0), 7);
        assert!(of("m", DataType::Int64, true).unwrap().is_none());
        let error = of("line", DataType::Int64, true).unwrap_err();
        assert!(error.message.contains("\"line=a/b\" of /x=9/plant/"), "{error}");
    }

    #[test]
    fn the_folder_of_null_is_null() {
        let path = Path::new("n=__HIVE_DEFAULT_PARTITION__/part.parquet");
        let of = |is_nullable| {
            let field: FieldRef = Arc::new(Field::new("n", DataType::Int64, is_nullable));
            value(path, &field, &TimestampFormat::Rfc3339)
        };
        assert!(of(true).unwrap().unwrap().is_null(0));
        assert!(of(false).is_err());
    }
}
