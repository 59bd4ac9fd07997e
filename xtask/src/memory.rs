//! A memory size as QEMU writes it: `512M`, `4G`; a bare number is MiB.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

const KIB: u64 = 1 << 10;
const UNITS: [(char, u64); 4] = [('T', KIB * KIB * KIB * KIB), ('G', KIB * KIB * KIB), ('M', KIB * KIB), ('K', KIB)];

/// A size in bytes, a multiple of 1 KiB, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct MemorySize(u64);

impl MemorySize {
    pub(crate) const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    pub(crate) const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    pub(crate) const fn bytes(self) -> u64 {
        self.0
    }

    /// The sum, or `None` where it does not fit into 64 bits.
    pub(crate) fn sum(sizes: impl IntoIterator<Item = Self>) -> Option<Self> {
        sizes.into_iter().try_fold(0u64, |sum, size| sum.checked_add(size.0)).filter(|sum| *sum != 0).map(Self)
    }
}

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let complaint = || format!("`{text}` is no memory size: write a number and K, M, G or T, such as 512M or 4G");
        let last = text.chars().last().ok_or_else(complaint)?.to_ascii_uppercase();
        let (digits, unit) = match UNITS.iter().find(|(letter, _)| *letter == last) {
            Some((_, unit)) => (&text[..text.len() - 1], *unit),
            None => (text, KIB * KIB),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(complaint());
        }
        let number: u64 = digits.parse().map_err(|_| complaint())?;
        number.checked_mul(unit).filter(|bytes| *bytes != 0).map(Self).ok_or_else(complaint)
    }
}

impl TryFrom<String> for MemorySize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().find(|(_, unit)| self.0.is_multiple_of(*unit));
        match exact {
            Some((letter, unit)) => write!(f, "{}{letter}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print_in_the_largest_exact_unit() {
        let cases =
            [("4G", "4G"), ("4096M", "4G"), ("4608m", "4608M"), ("512", "512M"), ("128K", "128K"), ("1t", "1T")];
        for (written, printed) in cases {
            assert_eq!(written.parse::<MemorySize>().unwrap().to_string(), printed, "{written}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "G", "0", "0G", "-1G", "+1G", "1.5G", "4GB", "99999999999T", "four", "1é"] {
            assert!(text.parse::<MemorySize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_sum_that_overflows_is_no_sum() {
        let huge: MemorySize = "16000000T".parse().unwrap();
        assert_eq!(MemorySize::sum([huge, huge]), None);
        assert_eq!(MemorySize::sum(["1G", "3G"].map(|text| text.parse().unwrap())), Some(MemorySize::gib(4)));
    }
}
