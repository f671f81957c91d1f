//! Hashes of key columns: which worker owns a key. Fixed seed: the same on every machine and at every replay.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericByteArray, PrimitiveArray, UInt32Array, downcast_primitive_array,
};
use arrow::compute::take;
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, ByteArrayType, DataType, Float32Type, Float64Type, Int32Type,
    ToByteSlice,
};
use arrow::row::{RowConverter, SortField};

use crate::error::Result;

/// Chosen once; a change moves keys to other workers, which no result depends on.
const SEED: u64 = 0x6c69_6e65_7368_6166;

/// The hash of some bytes.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::with_seed(SEED).build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// 64-bit FNV-1a over several parts: stable over versions and machines, unlike the hasher of the standard library.
/// (Fowler, Noll, Vo, Eastlake: The FNV non-cryptographic hash algorithm, RFC 9923.)
pub fn stable_hash(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        // 0xff is in no UTF-8 text, so it keeps ("ab", "c") and ("a", "bc") apart.
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

/// Mixes a fixed-width value; the finaliser of MurmurHash3 (fmix64, public domain).
fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// A column as a key: floats that are equal get the same bits, so that 0.0 is -0.0, and NaN is NaN.
pub fn as_key(column: &ArrayRef) -> ArrayRef {
    // The sum of -0.0 and 0.0 is 0.0.
    match column.data_type() {
        DataType::Float32 => {
            let one = |x: f32| if x.is_nan() { f32::NAN } else { x + 0.0 };
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(one))
        }
        DataType::Float64 => {
            let one = |x: f64| if x.is_nan() { f64::NAN } else { x + 0.0 };
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(one))
        }
        _ => Arc::clone(column),
    }
}

/// One hash per row over all `columns`. NULL hashes like nothing else; equal values of a type hash equally.
///
/// # Errors
/// If a column has a type that cannot be a key.
pub fn hash_rows(columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
    let mut hashes = vec![SEED; rows];
    for column in columns {
        hash_column(column, &mut hashes)?;
    }
    Ok(hashes)
}

fn hash_column(column: &ArrayRef, hashes: &mut [u64]) -> Result<()> {
    match column.data_type() {
        DataType::Utf8 => bytes_column(column.as_string::<i32>(), hashes),
        DataType::LargeUtf8 => bytes_column(column.as_string::<i64>(), hashes),
        DataType::Dictionary(key, _) if **key == DataType::Int32 => {
            let dictionary = column.as_dictionary::<Int32Type>();
            if dictionary.values().len() > hashes.len() {
                let column = take(dictionary.values(), dictionary.keys(), None)?;
                return hash_column(&column, hashes);
            }
            // Hash each value once, then spread the hashes over the rows.
            let mut values = vec![0; dictionary.values().len()];
            hash_values(dictionary.values(), &mut values)?;
            for (hash, key) in hashes.iter_mut().zip(dictionary.keys()) {
                let value = key.map_or(0, |key| values[usize::try_from(key).unwrap_or_default()]);
                *hash = mix(*hash ^ value);
            }
        }
        data_type if data_type.is_primitive() => {
            let column = as_key(column);
            let array = column.as_ref();
            downcast_primitive_array!(
                array => primitive_column(array, hashes),
                other => unreachable!("{other} is primitive")
            );
        }
        _ => {
            let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
            let rows = converter.convert_columns(std::slice::from_ref(column))?;
            for (hash, row) in hashes.iter_mut().zip(rows.iter()) {
                *hash = mix(*hash ^ hash_bytes(row.as_ref()));
            }
        }
    }
    Ok(())
}

/// The hash of each value by itself: what a row with it mixes in.
fn hash_values(values: &ArrayRef, hashes: &mut [u64]) -> Result<()> {
    match values.data_type() {
        DataType::Utf8 => {
            for (hash, text) in hashes.iter_mut().zip(values.as_string::<i32>()) {
                *hash = text.map_or(0, |text| hash_bytes(text.as_bytes()));
            }
            Ok(())
        }
        _ => hash_column(values, hashes),
    }
}

fn bytes_column<T: ByteArrayType>(array: &GenericByteArray<T>, hashes: &mut [u64]) {
    for (row, hash) in hashes.iter_mut().enumerate() {
        let value = if array.is_null(row) { 0 } else { hash_bytes(array.value(row).as_ref()) };
        *hash = mix(*hash ^ value);
    }
}

fn primitive_column<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, hashes: &mut [u64]) {
    for (row, hash) in hashes.iter_mut().enumerate() {
        let value = if array.is_null(row) { 0 } else { word(array.value(row).to_byte_slice()) };
        *hash = mix(*hash ^ value);
    }
}

/// The bytes of a number as one word; a wider number is folded.
fn word(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(1, |folded: u64, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        folded.rotate_left(32) ^ u64::from_le_bytes(word)
    })
}

/// Row numbers per worker, each ascending: who owns the values of `columns`.
///
/// # Errors
/// If a column has a type that cannot be a key.
pub fn partition(columns: &[ArrayRef], rows: usize, workers: usize) -> Result<Vec<UInt32Array>> {
    if let [column] = columns
        && let Some(dictionary) = column.as_dictionary_opt::<Int32Type>()
        && dictionary.null_count() == 0
        && dictionary.values().len() <= rows
    {
        // One look a row: the owner of each value is known.
        let values = hash_rows(&[Arc::clone(dictionary.values())], dictionary.values().len())?;
        let owners: Vec<u32> = values.iter().map(|hash| owner(*hash, workers)).collect();
        let codes = dictionary.keys().values().iter();
        let owners: Vec<u32> = codes.map(|code| owners[code.as_usize()]).collect();
        return Ok(scatter(&owners, workers));
    }
    let hashes = hash_rows(columns, rows)?;
    let owners: Vec<u32> = hashes.iter().map(|hash| owner(*hash, workers)).collect();
    Ok(scatter(&owners, workers))
}

/// The numbers of the rows of each owner. A pass per worker without a branch on the owner, which nobody can predict.
fn scatter(owners: &[u32], workers: usize) -> Vec<UInt32Array> {
    let of = |worker: u32| {
        let mut rows = vec![0; owners.len()];
        let mut taken = 0;
        for (row, owner) in (0_u32..).zip(owners) {
            rows[taken] = row;
            taken += usize::from(*owner == worker);
        }
        rows.truncate(taken);
        UInt32Array::from(rows)
    };
    (0..).take(workers).map(of).collect()
}

/// The worker that owns a key: the high bits, so that a hash table on the worker still gets all of the low ones.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the product of 64 bits and `workers`, shifted, is below `workers`"
)]
fn owner(hash: u64, workers: usize) -> u32 {
    ((u128::from(hash) * workers as u128) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Float64Array, StringArray};

    use super::*;

    #[test]
    fn text_hashes_alike_plain_or_in_a_dictionary_large_or_small() {
        let texts = [Some("pump"), None, Some("fan"), Some("pump")];
        let plain: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let dictionary: DictionaryArray<Int32Type> = texts.into_iter().collect();
        let large: Vec<String> =
            (0..100).map(|i| format!("x{i}")).chain(["pump".into(), "fan".into()]).collect();
        let codes = [Some(100), None, Some(101), Some(100)].into_iter().collect();
        let large = DictionaryArray::<Int32Type>::try_new(codes, Arc::new(StringArray::from(large))).unwrap();
        let expected = hash_rows(&[plain], 4).unwrap();
        assert_eq!(hash_rows(&[Arc::new(dictionary)], 4).unwrap(), expected);
        assert_eq!(hash_rows(&[Arc::new(large)], 4).unwrap(), expected);
        assert_eq!(expected[0], expected[3]);
        assert_ne!(expected[0], expected[2]);
    }

    #[test]
    fn equal_floats_hash_alike_whatever_their_bits() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.0]));
        let hashes = hash_rows(&[floats], 5).unwrap();
        assert_eq!((hashes[0], hashes[2]), (hashes[1], hashes[3]));
        assert_ne!(hashes[0], hashes[4]);
    }

    #[test]
    fn a_key_has_the_same_owner_plain_or_in_a_dictionary() {
        let texts: Vec<String> = (0..50).map(|i| format!("pump {}", i % 7)).collect();
        let plain: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let dictionary: DictionaryArray<Int32Type> = texts.iter().map(String::as_str).collect();
        let plain = partition(&[plain], 50, 3).unwrap();
        assert_eq!(partition(&[Arc::new(dictionary)], 50, 3).unwrap(), plain);
        let mut rows: Vec<u32> = plain.iter().flat_map(|rows| rows.values().to_vec()).collect();
        rows.sort_unstable();
        assert_eq!(rows, (0..50).collect::<Vec<_>>());
    }
}
