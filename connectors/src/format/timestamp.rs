//! `timestamp_format`: texts and numbers as event time, microseconds since the Unix epoch, UTC.

use std::borrow::Cow;

use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{NaiveTime, Timelike};
use lineshaft_engine::time::EventTime;

use crate::options::OptionValue;

/// How the `TIMESTAMP` columns of a source are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum TimestampFormat {
    /// `2020-03-09T10:14:33.5Z`; also with a blank for the `T`, with any offset or none (UTC), or the date alone.
    #[default]
    Rfc3339,
    /// A number since the Unix epoch.
    Unix(Unit),
    /// A pattern such as `%d.%m.%Y %H:%M`; without an offset in it, UTC.
    Pattern(Vec<Item<'static>>),
}

/// The unit of a number since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds; what is below a microsecond is cut off.
    Nanos,
}

impl OptionValue for TimestampFormat {
    const EXPECTED: &'static str =
        "rfc3339, unix_s, unix_ms, unix_us, unix_ns or a pattern such as '%d.%m.%Y %H:%M'";

    fn parse(text: &str) -> Option<Self> {
        Some(match text.trim() {
            "rfc3339" => Self::Rfc3339,
            "unix_s" => Self::Unix(Unit::Seconds),
            "unix_ms" => Self::Unix(Unit::Millis),
            "unix_us" => Self::Unix(Unit::Micros),
            "unix_ns" => Self::Unix(Unit::Nanos),
            pattern if pattern.contains('%') => {
                // A fraction after a dot is one whatever its length, as in Python; chrono alone would count it in ns.
                let pattern = pattern.replace(".%f", "%.f");
                let items: Vec<_> = StrftimeItems::new(&pattern).map(Item::to_owned).collect();
                if items.contains(&Item::Error) {
                    return None;
                }
                Self::Pattern(items)
            }
            _ => return None,
        })
    }
}

impl TimestampFormat {
    /// What is expected, for the reason of a rejection.
    pub fn expected(&self) -> Cow<'static, str> {
        match self {
            Self::Rfc3339 => "a TIMESTAMP such as 2020-03-09T10:14:33Z".into(),
            Self::Unix(Unit::Seconds) => "a TIMESTAMP in seconds since 1970".into(),
            Self::Unix(Unit::Millis) => "a TIMESTAMP in milliseconds since 1970".into(),
            Self::Unix(Unit::Micros) => "a TIMESTAMP in microseconds since 1970".into(),
            Self::Unix(Unit::Nanos) => "a TIMESTAMP in nanoseconds since 1970".into(),
            Self::Pattern(_) => "a TIMESTAMP of the pattern in timestamp_format".into(),
        }
    }

    /// The event time of a text.
    pub fn parse_text(&self, text: &[u8]) -> Option<EventTime> {
        match self {
            Self::Rfc3339 => rfc3339(text).or_else(|| rfc3339(text.trim_ascii())),
            Self::Unix(unit) => unit.parse(text).or_else(|| unit.parse(text.trim_ascii())),
            Self::Pattern(items) => pattern(std::str::from_utf8(text).ok()?.trim(), items),
        }
    }

    /// The event time of a JSON number; `None` for formats that are no numbers.
    pub fn parse_number(&self, number: &[u8]) -> Option<EventTime> {
        match self {
            Self::Rfc3339 => None,
            Self::Unix(_) | Self::Pattern(_) => self.parse_text(number),
        }
    }
}

impl Unit {
    /// The event time of an integer.
    pub fn micros(self, number: i64) -> Option<EventTime> {
        match self {
            Self::Seconds => number.checked_mul(1_000_000),
            Self::Millis => number.checked_mul(1_000),
            Self::Micros => Some(number),
            Self::Nanos => Some(number.div_euclid(1_000)),
        }
    }

    /// Microseconds in the unit.
    fn scale(self) -> f64 {
        match self {
            Self::Seconds => 1e6,
            Self::Millis => 1e3,
            Self::Micros => 1.0,
            Self::Nanos => 1e-3,
        }
    }

    fn parse(self, text: &[u8]) -> Option<EventTime> {
        match lexical_core::parse::<i64>(text) {
            Ok(number) => self.micros(number),
            Err(_) => self.parse_decimal(text),
        }
    }

    /// The whole part and the fraction are scaled apart, because the sum has more digits than a double.
    #[expect(clippy::cast_possible_truncation, reason = "both parts are checked or below one unit")]
    fn parse_decimal(self, text: &[u8]) -> Option<EventTime> {
        let is_plain = text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'.'));
        let Some(dot) = memchr::memchr(b'.', text).filter(|dot| is_plain && *dot > 0) else {
            let number: f64 = lexical_core::parse(text).ok()?;
            let micros = (number * self.scale()).round();
            return (micros.abs() < 9.2e18).then_some(micros as i64);
        };
        let whole: i64 = lexical_core::parse(&text[..dot]).ok()?;
        let fraction: f64 = if dot + 1 < text.len() { lexical_core::parse(&text[dot..]).ok()? } else { 0.0 };
        let sign = if text[0] == b'-' { -1.0 } else { 1.0 };
        if self == Self::Nanos {
            return self.micros(whole);
        }
        self.micros(whole)?.checked_add((sign * fraction * self.scale()).round() as i64)
    }
}

/// The event time of an RFC 3339 text and its usual relatives.
pub(crate) fn rfc3339(text: &[u8]) -> Option<EventTime> {
    let Some(whole) = whole_seconds(text) else { return of_parts(text) };
    let (fraction, at) = fraction(text, 19)?;
    let offset = offset(&text[at..])?;
    Some((whole - offset) * 1_000_000 + fraction)
}

/// Seconds of a text that begins as `2020-03-09T10:14:33` does, eight bytes at once; `None` of any other.
fn whole_seconds(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_first_chunk::<8>()?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let [b':', tens, ones, ..] = *rest else { return None };
    let separator = time[2];
    let date = pairs(*date, *b"0000-00-")?;
    let time = pairs(*time, [b'0', b'0', separator, b'0', b'0', b':', b'0', b'0'])?;
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    let [hour, minute, second] =
        [i64::from(time[3]), i64::from(time[6]), i64::from(tens) * 10 + i64::from(ones)];
    let is_time = matches!(separator, b'T' | b't' | b' ') && tens <= 9 && ones <= 9;
    if !is_time || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let date = days(i64::from(date[0]) * 100 + i64::from(date[2]), date[5].into(), time[0].into())?;
    Some(date * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// At each place the number of two digits that begins there, of eight bytes that are digits where `form` has a 0 and those of
/// `form` elsewhere; `None` if they are not.
fn pairs(text: [u8; 8], form: [u8; 8]) -> Option<[u8; 8]> {
    // A digit is at most 9 now, and anything else 0.
    let found = u64::from_le_bytes(text) ^ u64::from_le_bytes(form);
    // What is added to the most that may be found is 127: more than that sets the highest bit.
    let most = u64::from_le_bytes(form.map(|byte| if byte == b'0' { 127 - 9 } else { 127 }));
    let is_other = (found | found.wrapping_add(most)) & 0x8080_8080_8080_8080 != 0;
    (!is_other).then(|| (found * 10 + (found >> 8)).to_le_bytes())
}

/// The event time of a text by its parts.
fn of_parts(text: &[u8]) -> Option<EventTime> {
    let date = days(digits(text, 0, 4)?, digits(text, 5, 2)?, digits(text, 8, 2)?)?;
    if text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let midnight = date * 86_400_000_000;
    let Some(separator) = text.get(10) else {
        return Some(midnight);
    };
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let (hour, minute) = (digits(text, 11, 2)?, digits(text, 14, 2)?);
    let (second, at) = match text.get(16) {
        Some(b':') => (digits(text, 17, 2)?, 19),
        _ => (0, 16),
    };
    // 60 is a leap second: the same instant as the second after it.
    if text[13] != b':' || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, at) = fraction(text, at)?;
    let offset = offset(&text[at..])?;
    Some(midnight + (hour * 3_600 + minute * 60 + second - offset) * 1_000_000 + fraction)
}

/// A number of exactly `count` digits.
fn digits(text: &[u8], from: usize, count: usize) -> Option<i64> {
    let mut number = 0;
    for byte in text.get(from..from + count)? {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(number)
}

/// Days since 1970-01-01 in the Gregorian calendar, counting years from March so that a leap day ends its year.
pub(crate) fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap),
        _ => return None,
    };
    if day < 1 || day > length {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
}

/// Microseconds of a fraction at `at`, if there is one, and where it ends.
fn fraction(text: &[u8], at: usize) -> Option<(i64, usize)> {
    if !matches!(text.get(at), Some(b'.' | b',')) {
        return Some((0, at));
    }
    let count = text[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let used = count.min(6);
    let mut micros = digits(text, at + 1, used)?;
    for _ in used..6 {
        micros *= 10;
    }
    (count > 0).then_some((micros, at + 1 + count))
}

/// Seconds east of UTC; an empty text is UTC.
fn offset(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii_start();
    let sign = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let minutes = match text.len() {
        3 => 0,
        5 => digits(text, 3, 2)?,
        6 if text[3] == b':' => digits(text, 4, 2)?,
        _ => return None,
    };
    let hours = digits(text, 1, 2)?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn pattern(text: &str, items: &[Item<'static>]) -> Option<EventTime> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, items.iter()).ok()?;
    if parsed.timestamp().is_some() || parsed.offset().is_some() {
        let offset = parsed.offset().unwrap_or(0);
        let local = parsed.to_naive_datetime_with_offset(offset).ok()?;
        return Some(local.and_utc().timestamp_micros() - i64::from(offset) * 1_000_000);
    }
    let date = parsed.to_naive_date().ok()?;
    let time = match (parsed.hour_mod_12(), parsed.minute()) {
        (None, None) => NaiveTime::MIN,
        (Some(_), None) => {
            parsed.set_minute(0).ok()?;
            parsed.to_naive_time().ok()?
        }
        _ => parsed.to_naive_time().ok()?,
    };
    let micros =
        i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1_000);
    Some(date.and_time(NaiveTime::MIN).and_utc().timestamp_micros() + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2020-03-09T10:14:33Z
    const T: i64 = 1_583_748_873_000_000;

    fn read(format: &str, text: &str) -> Option<EventTime> {
        TimestampFormat::parse(format).unwrap().parse_text(text.as_bytes())
    }

    #[test]
    fn rfc3339_and_its_relatives_are_read() {
        for text in [
            "2020-03-09T10:14:33Z",
            "2020-03-09 10:14:33",
            " 2020-03-09t10:14:33z ",
            "2020-03-09T12:14:33+02:00",
            "2020-03-09 05:14:33 -0500",
            "2020-03-09 11:14:33+01",
            "2020-03-09T10:14:33.000000000999Z",
            "2020-03-09T10:13:93Z",
        ] {
            let expected = (!text.contains(":93")).then_some(T);
            assert_eq!(read("rfc3339", text), expected, "{text}");
        }
        assert_eq!(read("rfc3339", "2020-03-09T10:14:33.5Z"), Some(T + 500_000));
        assert_eq!(read("rfc3339", "2020-03-09T10:14:33.123456789"), Some(T + 123_456));
        assert_eq!(read("rfc3339", "2020-03-09"), Some(T - (10 * 3600 + 14 * 60 + 33) * 1_000_000));
        assert_eq!(read("rfc3339", "1969-12-31T23:59:59.25Z"), Some(-750_000));
        assert_eq!(read("rfc3339", "2016-12-31T23:59:60Z"), read("rfc3339", "2017-01-01T00:00:00Z"));
    }

    #[test]
    fn eight_bytes_at_once_are_what_the_parts_are() {
        let good = b"2024-02-29T23:59:60.25+01:00";
        assert_eq!(rfc3339(good), of_parts(good));
        assert!(whole_seconds(good).is_some());
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut text = *good;
                text[at] = byte;
                assert_eq!(rfc3339(&text), of_parts(&text), "{byte} at {at}");
            }
            assert_eq!(rfc3339(&good[..at]), of_parts(&good[..at]), "{at}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "x",
            "2020-03-09T",
            "2020-02-30",
            "2020-13-01",
            "2020-03-09T25:00:00",
            "2020-03-09X10:14:33",
            "2020-03-09T10:14:33.",
            "2020-03-09T10:14:33 PST",
            "2020/03/09 10:14:33",
            "1583748873",
            "2021-02-29",
        ] {
            assert_eq!(read("rfc3339", text), None, "{text}");
        }
    }

    #[test]
    fn the_calendar_agrees_with_chrono() {
        for day in (-200_000..200_000_i64).step_by(17) {
            let date = chrono::DateTime::from_timestamp(day * 86_400, 0).unwrap();
            let text = date.format("%Y-%m-%d").to_string();
            if text.len() == 10 {
                assert_eq!(read("rfc3339", &text), Some(day * 86_400_000_000), "{text}");
            }
        }
    }

    #[test]
    fn unix_numbers_are_scaled_exactly() {
        assert_eq!(read("unix_s", "1583748873"), Some(T));
        assert_eq!(read("unix_s", "1583748873.000001"), Some(T + 1));
        assert_eq!(read("unix_s", "1.583748873e9"), Some(T));
        assert_eq!(read("unix_ms", "1583748873000.25"), Some(T + 250));
        assert_eq!(read("unix_us", "1583748873000000"), Some(T));
        assert_eq!(read("unix_ns", "1583748873000000999"), Some(T));
        assert_eq!(read("unix_s", "-0.5"), Some(-500_000));
        assert_eq!(read("unix_s", "99999999999999999"), None);
        assert_eq!(read("unix_s", "2020-03-09"), None);
        assert_eq!(read("unix_s", "nan"), None);
    }

    #[test]
    fn patterns_may_lack_seconds_time_and_zone() {
        assert_eq!(read("%d.%m.%Y %H:%M", "09.03.2020 10:14"), Some(T - 33_000_000));
        assert_eq!(read("%d.%m.%Y", "09.03.2020"), read("rfc3339", "2020-03-09"));
        assert_eq!(read("%d.%m.%Y %H", "09.03.2020 10"), read("rfc3339", "2020-03-09 10:00:00"));
        assert_eq!(read("%Y-%m-%d %H:%M:%S.%f", "2020-03-09 10:14:33.250"), Some(T + 250_000));
        assert_eq!(read("%d/%b/%Y:%H:%M:%S %z", "09/Mar/2020:12:14:33 +0200"), Some(T));
        assert_eq!(read("%d.%m.%Y %H:%M", "2020-03-09 10:14"), None);
        assert_eq!(TimestampFormat::parse("%Q"), None);
        assert_eq!(TimestampFormat::parse("unix"), None);
    }
}
