//! The file itself: the length of the header, 8 bytes, little-endian; the header as JSON; the numbers of all tensors without gaps.
//!
//! ```text
//! {"__metadata__": {"lineshaft": "..."}, "0.bias": {"dtype": "F64", "shape": [16], "data_offsets": [0, 128]}, ...}
//! ```
//!
//! Source: the README of safetensors 0.8, "Format". Own code, as the crate of that name is as long as this with what it needs, and
//! leaves the order of the metadata open.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A longer header is refused before it is read, as safetensors itself does.
const LONGEST_HEADER: usize = 100_000_000;
const METADATA: &str = "__metadata__";
/// The header is filled with blanks to a multiple of this, so that numbers lie where they can be read in place.
const ALIGNMENT: usize = 8;

/// A file that is read.
pub(super) struct File<'a> {
    pub(super) tensors: BTreeMap<String, Tensor<'a>>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// A tensor, row after row.
pub(super) struct Tensor<'a> {
    /// The name of the type of its numbers.
    pub(super) dtype: String,
    pub(super) shape: Vec<usize>,
    data: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl<'a> File<'a> {
    /// # Errors
    /// If the bytes are no such file.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or("it is shorter than its header")?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > LONGEST_HEADER {
            return Err(format!("its header has {length} bytes, more than {LONGEST_HEADER}"));
        }
        let (header, data) = rest.split_at_checked(length).ok_or("it is shorter than its header")?;
        let wrong = |error: serde_json::Error| format!("its header cannot be read: {error}");
        let mut header: BTreeMap<String, Value> = serde_json::from_slice(header).map_err(wrong)?;
        let metadata = header.remove(METADATA).map(serde_json::from_value).transpose().map_err(wrong)?;
        let (mut tensors, mut parts) = (BTreeMap::new(), Vec::new());
        for (name, entry) in header {
            let Entry { dtype, shape, data_offsets: (start, end) } =
                serde_json::from_value(entry).map_err(wrong)?;
            let data =
                data.get(start..end).ok_or_else(|| format!("tensor {name:?} is not within the file"))?;
            let tensor = Tensor { dtype, shape, data };
            if tensor.size().is_some_and(|size| tensor.bytes(size) != Some(data.len())) {
                return Err(format!("tensor {name:?} has {} bytes, not those of its shape", data.len()));
            }
            parts.push((start, end));
            tensors.insert(name, tensor);
        }
        parts.sort_unstable();
        let end = parts.iter().try_fold(0, |reached, (start, end)| (*start == reached).then_some(*end));
        if end != Some(data.len()) {
            return Err("its tensors overlap or leave bytes out".to_owned());
        }
        Ok(Self { tensors, metadata: metadata.unwrap_or_default() })
    }
}

impl Tensor<'_> {
    /// Its numbers; `None` for types that are not read.
    pub(super) fn numbers(&self) -> Option<Vec<f64>> {
        let (singles, doubles) = (self.data.as_chunks().0.iter(), self.data.as_chunks().0.iter());
        match self.dtype.as_str() {
            "F32" => Some(singles.map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()),
            "F64" => Some(doubles.map(|bytes| f64::from_le_bytes(*bytes)).collect()),
            _ => None,
        }
    }

    /// Bytes of a number.
    fn size(&self) -> Option<usize> {
        match self.dtype.as_str() {
            "F32" => Some(4),
            "F64" => Some(8),
            _ => None,
        }
    }

    fn bytes(&self, size: usize) -> Option<usize> {
        self.shape.iter().try_fold(size, |bytes, length| bytes.checked_mul(*length))
    }
}

/// A tensor to be written, of doubles.
pub(super) struct Written {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) numbers: Vec<f64>,
}

/// A file with these tensors and one entry of metadata; the same bytes each time.
///
/// # Errors
/// If the header does not become JSON.
pub(super) fn write(
    tensors: impl Iterator<Item = Written>,
    (name, text): (&str, String),
) -> Result<Vec<u8>, serde_json::Error> {
    let mut header: BTreeMap<String, Value> = BTreeMap::new();
    header.insert(METADATA.to_owned(), serde_json::to_value(BTreeMap::from([(name, text)]))?);
    let mut data: Vec<u8> = Vec::new();
    for Written { name, shape, numbers } in tensors {
        let start = data.len();
        data.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let entry = Entry { dtype: "F64".to_owned(), shape, data_offsets: (start, data.len()) };
        header.insert(name, serde_json::to_value(entry)?);
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    Ok([&(header.len() as u64).to_le_bytes(), header.as_slice(), data.as_slice()].concat())
}
