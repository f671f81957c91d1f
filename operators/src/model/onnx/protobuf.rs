//! The wire format of Protocol Buffers, as far as ONNX needs it: fields with numbers, read in place.
//!
//! Source: "Encoding", protobuf.dev/programming-guides/encoding. Groups, which ONNX does not use, are refused.

use super::Reason;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// An integer, an enumeration or a boolean.
    Varint(u64),
    /// Eight bytes, such as a double.
    Eight([u8; 8]),
    /// Text, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
    /// Four bytes, such as a float.
    Four([u8; 4]),
}

/// Number and value of each field of a message.
///
/// # Errors
/// If the message is cut short or is none.
pub(super) fn fields(mut message: &[u8]) -> Result<Vec<(u64, Value<'_>)>, Reason> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut message)?),
            1 => Value::Eight(chunk(&mut message)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).map_err(|_| damaged())?;
                let (bytes, rest) = message.split_at_checked(length).ok_or_else(damaged)?;
                message = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Four(chunk(&mut message)?),
            _ => return Err(damaged()),
        };
        fields.push((tag >> 3, value));
    }
    Ok(fields)
}

fn varint(message: &mut &[u8]) -> Result<u64, Reason> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().ok_or_else(damaged)?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(damaged())
}

fn chunk<const N: usize>(message: &mut &[u8]) -> Result<[u8; N], Reason> {
    let (chunk, rest) = message.split_first_chunk::<N>().ok_or_else(damaged)?;
    *message = rest;
    Ok(*chunk)
}

fn damaged() -> Reason {
    "it is no ONNX file, or is cut short".into()
}

impl<'a> Value<'a> {
    /// Text, bytes or a message.
    pub(super) fn bytes(self) -> Result<&'a [u8], Reason> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(damaged()) }
    }

    /// Text.
    pub(super) fn text(self) -> Result<String, Reason> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    /// A signed integer, of two's complement as ONNX has it.
    pub(super) fn integer(self) -> Result<i64, Reason> {
        if let Self::Varint(value) = self { Ok(value.cast_signed()) } else { Err(damaged()) }
    }

    /// Adds one integer, or all that are packed into the field.
    pub(super) fn push_integers(self, integers: &mut Vec<i64>) -> Result<(), Reason> {
        let Self::Bytes(mut packed) = self else {
            integers.push(self.integer()?);
            return Ok(());
        };
        while !packed.is_empty() {
            integers.push(varint(&mut packed)?.cast_signed());
        }
        Ok(())
    }

    /// Adds one float, or all that are packed into the field.
    pub(super) fn push_floats(self, floats: &mut Vec<f64>) -> Result<(), Reason> {
        match self {
            Self::Four(bytes) => floats.push(f32::from_le_bytes(bytes).into()),
            Self::Bytes(packed) => floats.extend(floats_of(packed)?),
            _ => return Err(damaged()),
        }
        Ok(())
    }

    /// Adds one double, or all that are packed into the field.
    pub(super) fn push_doubles(self, doubles: &mut Vec<f64>) -> Result<(), Reason> {
        match self {
            Self::Eight(bytes) => doubles.push(f64::from_le_bytes(bytes)),
            Self::Bytes(packed) => doubles.extend(doubles_of(packed)?),
            _ => return Err(damaged()),
        }
        Ok(())
    }
}

/// Little-endian numbers of so many bytes each.
fn numbers<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Result<Vec<T>, Reason> {
    let (chunks, rest) = bytes.as_chunks::<N>();
    if rest.is_empty() { Ok(chunks.iter().map(|chunk| number(*chunk)).collect()) } else { Err(damaged()) }
}

/// Floats as they lie in memory.
pub(super) fn floats_of(bytes: &[u8]) -> Result<Vec<f64>, Reason> {
    numbers(bytes, |chunk| f32::from_le_bytes(chunk).into())
}

/// Doubles as they lie in memory.
pub(super) fn doubles_of(bytes: &[u8]) -> Result<Vec<f64>, Reason> {
    numbers(bytes, f64::from_le_bytes)
}

/// Integers of eight bytes as they lie in memory.
pub(super) fn integers_of(bytes: &[u8]) -> Result<Vec<i64>, Reason> {
    numbers(bytes, i64::from_le_bytes)
}

/// Integers of four bytes as they lie in memory.
pub(super) fn short_integers_of(bytes: &[u8]) -> Result<Vec<i64>, Reason> {
    numbers(bytes, |chunk| i32::from_le_bytes(chunk).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_specification() {
        // The examples of "Encoding": 150 in field 1, "testing" in field 2, and 3, 270, 86942 packed in field 6.
        let message = [
            [0x08, 0x96, 0x01].as_slice(),
            &[0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67],
            &[0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05],
        ]
        .concat();
        let found = fields(&message).unwrap();
        assert_eq!(found[0], (1, Value::Varint(150)));
        assert_eq!(found[1].1.text().unwrap(), "testing");
        let mut packed = Vec::new();
        found[2].1.push_integers(&mut packed).unwrap();
        assert_eq!(packed, [3, 270, 86_942]);
        for cut in 1..message.len() {
            // A message that is cut at the end of a field is a shorter one.
            if ![3, 12].contains(&cut) {
                assert!(fields(&message[..cut]).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn negative_numbers_and_floats_keep_their_value() {
        assert_eq!(Value::Varint(u64::MAX).integer(), Ok(-1));
        let mut floats = Vec::new();
        Value::Four(1.5_f32.to_le_bytes()).push_floats(&mut floats).unwrap();
        Value::Bytes(&[0, 0, 0x80, 0xbf]).push_floats(&mut floats).unwrap();
        assert_eq!(floats, [1.5, -1.0]);
        assert!(Value::Bytes(&[0, 0, 0]).push_floats(&mut floats).is_err());
    }
}
