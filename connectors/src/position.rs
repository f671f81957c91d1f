//! Where a source stands, as the bytes that the journal keeps; see [`Chunk::position`].
//!
//! A byte for the form, then the fields one after the other (Postcard), so that numbers come back to their last bit.
//!
//! [`Chunk::position`]: lineshaft_engine::source::Chunk::position

use lineshaft_engine::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Changes with the fields of any position.
const FORM: u8 = 1;

/// A position as bytes.
pub(crate) fn write(position: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_extend(position, vec![FORM])
        .map_err(|error| Error::Plan(format!("a position has no bytes: {error}")))
}

/// The position in bytes of [`write`].
///
/// # Errors
/// If they are damaged, or of another version.
pub(crate) fn read<T: DeserializeOwned>(connector: &'static str, name: &str, bytes: &[u8]) -> Result<T> {
    let fields = bytes.strip_prefix(&[FORM]);
    match fields.and_then(|fields| postcard::take_from_bytes(fields).ok()) {
        Some((position, [])) => Ok(position),
        _ => Err(damaged(connector, name)),
    }
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

    proptest! {
        #[test]
        fn a_position_comes_back_and_any_cut_of_it_is_an_error(
            position: (u64, f64, Vec<u8>, String), cut: prop::sample::Index
        ) {
            let bytes = write(&position).unwrap();
            let read: (u64, f64, Vec<u8>, String) = super::read("file source", "a", &bytes).unwrap();
            prop_assert_eq!((read.0, read.1.to_bits(), read.2, read.3), (
                position.0, position.1.to_bits(), position.2, position.3
            ));
            let cut = &bytes[..cut.index(bytes.len())];
            let error = super::read::<(u64, f64, Vec<u8>, String)>("file source", "a", cut).unwrap_err();
            prop_assert!(error.to_string().contains("the position is damaged"));
        }

        #[test]
        fn other_bytes_do_not_panic(bytes: Vec<u8>) {
            super::read::<(u64, Vec<String>)>("file source", "a", &bytes).ok();
        }
    }
}
