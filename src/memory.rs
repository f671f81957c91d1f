//! `Memory`: how much of it a program or a query may use where that can be limited.

use std::fmt;
use std::str::FromStr;

use lineshaft_connectors::options::{OptionValue, Size};

/// A limit of memory; see [`Engine::memory`](crate::Engine::memory) and [`history::query`](crate::history::query). As text
/// it is a size such as `512 MiB` or `2GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    bytes: u64,
}

impl Memory {
    /// So many bytes.
    pub fn new(bytes: u64) -> Self {
        Self { bytes }
    }

    /// All of it.
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// The part of it that raw input may have that the workers have not finished. Decoded, and copied once more where it
    /// goes to another worker, it takes two to three times as much.
    pub(crate) fn input(self) -> u64 {
        self.bytes / 4
    }

    /// The part of it that the state of operators may have.
    pub(crate) fn state(self) -> u64 {
        self.bytes / 2
    }

    /// The part of it that a query may have for what it holds; the rest is for reading, which nobody counts.
    pub(crate) fn query(self) -> u64 {
        self.bytes / 2
    }
}

impl Default for Memory {
    /// 512 MiB.
    fn default() -> Self {
        Self::new(512 << 20)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
        match units.iter().find(|(_, bits)| self.bytes >> bits << bits == self.bytes && self.bytes > 0) {
            Some((unit, bits)) => write!(f, "{}{unit}", self.bytes >> bits),
            None => write!(f, "{}", self.bytes),
        }
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Size::parse(text) {
            Some(Size(bytes)) if bytes > 0 => Ok(Self::new(bytes)),
            _ => Err("write a size such as 256MiB or 2GB".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_size_with_a_unit() {
        assert_eq!("64 MiB".parse(), Ok(Memory::new(64 << 20)));
        assert_eq!("2GB".parse(), Ok(Memory::new(2_000_000_000)));
        assert_eq!(
            ["512 MiB", "3GiB", "1000"].map(|text| text.parse::<Memory>().unwrap().to_string()),
            ["512MiB", "3GiB", "1000"]
        );
        assert!("much".parse::<Memory>().is_err() && "0".parse::<Memory>().is_err());
    }
}
