//! Where a source stands, as the bytes that the journal keeps; see [`Chunk::position`].
//!
//! A byte for the form, a hash of the fields, and the fields one after the other (Postcard), so that numbers come back to
//! their last bit. The hash is there because not all readers of what may be in the fields bear damaged bytes.
//!
//! [`Chunk::position`]: lineshaft_engine::source::Chunk::position

#[cfg(test)]
pub(crate) mod testing;

use lineshaft_engine::hash::stable_hash;
use lineshaft_engine::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Changes with the fields of any position.
const FORM: u8 = 1;
/// Where the fields begin.
const FIELDS: usize = 1 + size_of::<u64>();

/// A position as bytes.
pub(crate) fn write(position: &impl Serialize) -> Result<Vec<u8>> {
    let no_bytes = |error| Error::Plan(format!("a position has no bytes: {error}"));
    let mut bytes = postcard::to_extend(position, vec![FORM; FIELDS]).map_err(no_bytes)?;
    let hash = stable_hash(&[&bytes[FIELDS..]]);
    bytes[1..FIELDS].copy_from_slice(&hash.to_le_bytes());
    Ok(bytes)
}

/// The position in bytes of [`write`].
///
/// # Errors
/// If they are damaged, or of another version.
pub(crate) fn read<T: DeserializeOwned>(connector: &'static str, name: &str, bytes: &[u8]) -> Result<T> {
    fields(bytes).and_then(|fields| postcard::from_bytes(fields).ok()).ok_or_else(|| damaged(connector, name))
}

fn fields(bytes: &[u8]) -> Option<&[u8]> {
    let (head, fields) = bytes.split_first_chunk::<FIELDS>()?;
    let hash = stable_hash(&[fields]).to_le_bytes();
    (head[0] == FORM && head[1..] == hash).then_some(fields)
}

/// The error of a position that says nothing.
pub(crate) fn damaged(connector: &'static str, name: &str) -> Error {
    let reason = "the journal does not tell where it stood: the position is damaged or of another version";
    Error::connector(connector, name, reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Fields = (u64, f64, Vec<u8>, String);

    proptest! {
        #[test]
        fn a_position_comes_back(position: Fields) {
            let bytes = write(&position).unwrap();
            let read: Fields = read("file source", "a", &bytes).unwrap();
            prop_assert_eq!(read.1.to_bits(), position.1.to_bits());
            prop_assert_eq!((read.0, read.2, read.3), (position.0, position.2, position.3));
        }

        #[test]
        fn a_damaged_position_is_an_error(position: Fields, at: prop::sample::Index, with: Option<u8>) {
            let mut bytes = write(&position).unwrap();
            let at = at.index(bytes.len());
            match with {
                Some(with) if with != 0 => bytes[at] ^= with,
                _ => bytes.truncate(at),
            }
            let error = read::<Fields>("file source", "a", &bytes).unwrap_err();
            prop_assert!(error.to_string().contains("the position is damaged"));
        }
    }
}
