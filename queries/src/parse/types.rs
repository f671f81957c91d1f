//! Types of SQL as types of Arrow: the same as DataFusion's casts, so a column and a cast agree.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field};
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType as Sql, ExactNumberInfo, TimezoneInfo};
use lineshaft_engine::batch::TIMESTAMP;

use super::tokens::{Result, Tokens};
use crate::error::{NameKind, QueryError};
use crate::span::Span;

const NAMES: [&str; 10] =
    ["TIMESTAMP", "DOUBLE", "REAL", "BIGINT", "INT", "SMALLINT", "BOOLEAN", "TEXT", "DATE", "DECIMAL"];

/// A type of a column. One that is not a type at all stops the statement.
pub(super) fn data_type(tokens: &mut Tokens<'_>) -> Result<DataType> {
    let mark = tokens.mark();
    let sql = tokens.sql(|parser| parser.parse_data_type())?;
    arrow_type(&sql, tokens.since(mark))
}

fn arrow_type(sql: &Sql, span: Span) -> Result<DataType> {
    Ok(match sql {
        Sql::Timestamp(precision, zone) => return timestamp(*precision, zone, span),
        Sql::Double(_) | Sql::DoublePrecision | Sql::Float8 | Sql::Float64 => DataType::Float64,
        Sql::Float(_) | Sql::Real | Sql::Float4 | Sql::Float32 => DataType::Float32,
        Sql::BigInt(_) | Sql::Int8(_) | Sql::Int64 => DataType::Int64,
        Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) | Sql::Int32 => DataType::Int32,
        Sql::SmallInt(_) | Sql::Int2(_) | Sql::Int16 => DataType::Int16,
        Sql::TinyInt(_) => DataType::Int8,
        Sql::Boolean | Sql::Bool => DataType::Boolean,
        Sql::Text | Sql::String(_) | Sql::Varchar(_) | Sql::Char(_) | Sql::CharacterVarying(_) => {
            DataType::Utf8
        }
        Sql::Date => DataType::Date32,
        Sql::Decimal(size) | Sql::Numeric(size) | Sql::Dec(size) => return decimal(*size, span),
        Sql::Array(ArrayElemTypeDef::SquareBracket(item, _) | ArrayElemTypeDef::AngleBracket(item)) => {
            DataType::List(Arc::new(Field::new_list_field(arrow_type(item, span)?, true)))
        }
        Sql::Custom(name, _) => {
            let name = name.to_string();
            return Err(QueryError::unknown(NameKind::Type, &name, Some(span), NAMES));
        }
        other => {
            return Err(QueryError::not_supported(format!("type {other}"), span)
                .with_help(format!("types of columns are {} and arrays of them", NAMES.join(", "))));
        }
    })
}

fn timestamp(precision: Option<u64>, zone: &TimezoneInfo, span: Span) -> Result<DataType> {
    if matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) {
        return Err(QueryError::not_supported("timestamps with a time zone", span)
            .with_help("use TIMESTAMP: all times are UTC, and an offset in the text is understood"));
    }
    match precision {
        None | Some(0..=6) => Ok(TIMESTAMP),
        Some(digits) => Err(QueryError::not_supported(format!("timestamps with {digits} digits"), span)
            .with_help("use TIMESTAMP: event time has microseconds")),
    }
}

/// Without a precision, that of DataFusion's casts.
fn decimal(size: ExactNumberInfo, span: Span) -> Result<DataType> {
    let (precision, scale) = match size {
        ExactNumberInfo::None => (DECIMAL128_MAX_PRECISION.into(), 10),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    let fits = || {
        let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
        let good = (1..=DECIMAL128_MAX_PRECISION).contains(&precision)
            && (0..=precision).contains(&u8::try_from(scale).ok()?);
        good.then_some(DataType::Decimal128(precision, scale))
    };
    fits().ok_or_else(|| {
        QueryError::invalid(
            format!("decimal of precision {precision} and scale {scale} does not exist"),
            span,
        )
        .with_help(format!("precision is 1 to {DECIMAL128_MAX_PRECISION}, scale at most the precision"))
    })
}
