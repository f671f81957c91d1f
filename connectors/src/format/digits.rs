//! Numbers of few digits, which almost all numbers of sensors are.

/// A number of few digits without an exponent, as almost all are: its digits and the power of ten are exact doubles, so
/// that their quotient is the nearest double (Clinger, How to read floating point numbers accurately, 1990).
pub(super) fn short_double(text: &[u8]) -> Option<f64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let (number, fraction) = word(digits).and_then(eight_digits).or_else(|| few_digits(digits))?;
    #[expect(clippy::cast_precision_loss, reason = "at most 15 digits")]
    let value = number as f64 / POWERS[fraction];
    Some(if is_negative { -value } else { value })
}

const MOST_DIGITS: usize = 15;
const POWERS: [f64; MOST_DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Digits with at most one point among them, as a whole number and how many of them are behind the point.
fn few_digits(text: &[u8]) -> Option<(u64, usize)> {
    if text.len() > MOST_DIGITS || !text.first()?.is_ascii_digit() {
        return None;
    }
    let (mut number, mut fraction) = (0_u64, None);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => number = number * 10 + u64::from(byte - b'0'),
            b'.' if fraction.is_none() && at + 1 < text.len() => fraction = Some(text.len() - at - 1),
            _ => return None,
        }
    }
    Some((number, fraction.unwrap_or(0)))
}

/// Four to eight bytes as a word, the first one lowest, and their number.
fn word(text: &[u8]) -> Option<(u64, u32)> {
    let (first, last) = (text.first_chunk::<4>()?, text.last_chunk::<4>()?);
    let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
    let len = u32::try_from(text.len()).ok().filter(|len| *len <= 8)?;
    Some((u64::from(first) | u64::from(last) << ((len - 4) * 8), len))
}

/// The same as [`few_digits`], all bytes at once, of a word with one point that is neither first nor last.
fn eight_digits((word, len): (u64, u32)) -> Option<(u64, usize)> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    const ZEROS: u64 = 0x30 * EACH;
    let other = word ^ (u64::from(b'.') * EACH);
    // Exact for ASCII, and what is not ASCII is no digit below.
    let point = other.wrapping_sub(EACH) & !other & HIGH;
    let at = point.trailing_zeros() / 8;
    if at == 0 || at + 1 >= len {
        return None;
    }
    let before = word & ((1 << (at * 8)) - 1);
    let behind = word >> (at * 8) >> 8;
    // Without the point, and with zeros in front so that there are eight digits.
    let digits = before | behind << (at * 8);
    let missing = (9 - len) * 8;
    let digits = digits << missing | ZEROS & ((1 << missing) - 1);
    let is_digits = (digits.wrapping_add(0x46 * EACH) | digits.wrapping_sub(ZEROS)) & HIGH == 0;
    // Pairs of digits, then pairs of these, then both halves.
    let pairs = digits.wrapping_sub(ZEROS);
    let pairs = pairs.wrapping_mul(10).wrapping_add(pairs >> 8);
    let low = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let high = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    is_digits.then_some((low.wrapping_add(high) >> 32, (len - at - 1) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_number_is_the_double_that_any_reader_gets() {
        let mut texts: Vec<String> = [
            "0.5", "00.50", "1.", ".5", "1..2", "1.2.3", "-", "", "1e5", "1.2e3", "+1.5", "9.9.", "1,5",
            "a.55",
        ]
        .map(Into::into)
        .into();
        texts.extend(["12345678", "123456789.12345", "0.000000000000001", "\u{e9}1.25"].map(Into::into));
        for digits in 1..9 {
            let number = "987654321"[..digits].to_owned();
            texts.extend((0..=digits).map(|at| format!("{}.{}", &number[..at], &number[at..])));
            texts.push(number);
        }
        let (mut read, mut at_once) = (0, 0);
        for text in texts.iter().flat_map(|text| [text.clone(), format!("-{text}")]) {
            let Some(value) = short_double(text.as_bytes()) else { continue };
            let expected: f64 = text.parse().unwrap();
            assert_eq!(value.to_bits(), expected.to_bits(), "{text}");
            let digits = text.trim_start_matches('-').as_bytes();
            at_once += usize::from(word(digits).and_then(eight_digits).is_some());
            read += 1;
        }
        assert_eq!((read, at_once), (80, 42));
    }

    #[test]
    fn whatever_eight_bytes_hold_is_read_as_byte_by_byte() {
        const BYTES: [u8; 8] = [b'0', b'7', b'9', b'.', b'/', b':', b'-', 0xae];
        for len in 4..=6 {
            for number in 0..8_usize.pow(len) {
                let text: Vec<u8> = (0..len).map(|at| BYTES[number >> (3 * at) & 7]).collect();
                let Some(found) = word(&text).and_then(eight_digits) else { continue };
                assert_eq!(Some(found), few_digits(&text), "{text:?}");
            }
        }
    }
}
