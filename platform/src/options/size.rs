//! Sizes and addresses as the command line writes them: `4G`, `0x100000`, `512m`, `0755`.
//!
//! A number is decimal, hexadecimal behind `0x`, octal behind any other `0`; one letter K, M, G, T, P or E of either
//! case behind it multiplies by the power of 1024. Where Linux takes what it can read for a number and goes on, wraps
//! what is too large, and reads nothing as 0, here each is an error that says so: the caller warns and keeps the
//! default. Linux: `memparse` in lib/cmdline.c.

use core::fmt;

/// Why a text is no size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SizeError {
    /// No digit where a number should stand.
    NoNumber,
    /// More than 64 bits.
    TooLarge,
    /// Something behind the number that does not belong to it.
    Trailing,
}

impl SizeError {
    /// The reason in words, for a warning.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoNumber => "no number where one should stand",
            Self::TooLarge => "more than 64 bits",
            Self::Trailing => "something behind the number that does not belong to it",
        }
    }
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl core::error::Error for SizeError {}

/// The size that the whole of `text` is, in bytes.
///
/// # Errors
/// It is none, or more than one.
pub fn size(text: &str) -> Result<u64, SizeError> {
    match leading_size(text)? {
        (size, "") => Ok(size),
        _ => Err(SizeError::Trailing),
    }
}

/// The size that `text` begins with, in bytes, and what stands behind it.
///
/// # Errors
/// It begins with none.
pub fn leading_size(text: &str) -> Result<(u64, &str), SizeError> {
    let (number, rest) = leading_number(text)?;
    let shift = match rest.bytes().next().map(|suffix| suffix.to_ascii_uppercase()) {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        Some(b'P') => 50,
        Some(b'E') => 60,
        _ => return Ok((number, rest)),
    };
    let bytes = number.checked_mul(1 << shift).ok_or(SizeError::TooLarge)?;
    Ok((bytes, rest.get(1..).unwrap_or_default()))
}

/// The number that `text` begins with, of any base and without a suffix, and what stands behind it.
///
/// # Errors
/// It begins with none.
pub fn leading_number(text: &str) -> Result<(u64, &str), SizeError> {
    let (digits, radix) = digits_of(text);
    let end = digits.find(|character: char| !character.is_digit(radix)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(end).unwrap_or((digits, ""));
    if digits.is_empty() {
        return Err(SizeError::NoNumber);
    }
    let number = u64::from_str_radix(digits, radix).map_err(|_| SizeError::TooLarge)?;
    Ok((number, rest))
}

/// Where the digits begin, and their base. A lone `0`, and the 0 of a `0x` without a digit behind it, are octal.
fn digits_of(text: &str) -> (&str, u32) {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) if digits.starts_with(|character: char| character.is_ascii_hexdigit()) => (digits, 16),
        _ if text.starts_with('0') => (text, 8),
        _ => (text, 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_base_with_every_suffix() {
        for (text, expected) in [
            ("0", 0),
            ("7", 7),
            ("010", 8),
            ("0x10", 16),
            ("0XfF", 255),
            ("1k", 1 << 10),
            ("3M", 3 << 20),
            ("0x2g", 2 << 30),
            ("1T", 1 << 40),
            ("1p", 1 << 50),
            ("15E", 15 << 60),
            ("18446744073709551615", u64::MAX),
            ("0xffffffffffffffff", u64::MAX),
            ("01777777777777777777777", u64::MAX),
        ] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn hexadecimal_digits_win_over_suffixes() {
        // As in Linux: in `0x1e` the e is a digit.
        assert_eq!(size("0x1e"), Ok(0x1e));
        assert_eq!(size("0x1eE"), Ok(0x1ee));
        assert_eq!(size("1e"), Ok(1 << 60));
    }

    #[test]
    fn what_is_no_size_says_why() {
        for (text, expected) in [
            ("", SizeError::NoNumber),
            ("M", SizeError::NoNumber),
            (" 1", SizeError::NoNumber),
            ("-1", SizeError::NoNumber),
            ("+1", SizeError::NoNumber),
            ("x10", SizeError::NoNumber),
            ("18446744073709551616", SizeError::TooLarge),
            ("0x10000000000000000", SizeError::TooLarge),
            ("16E", SizeError::TooLarge),
            ("0x1000000000G", SizeError::TooLarge),
            ("1MB", SizeError::Trailing),
            ("1M ", SizeError::Trailing),
            ("08", SizeError::Trailing),
            ("0x", SizeError::Trailing),
            ("0xg", SizeError::Trailing),
            ("1,5G", SizeError::Trailing),
            ("1Mé", SizeError::Trailing),
            ("1é", SizeError::Trailing),
        ] {
            assert_eq!(size(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn what_stands_behind_a_size_is_handed_back() {
        assert_eq!(leading_size("64M@16M"), Ok((64 << 20, "@16M")));
        assert_eq!(leading_size("0x10$0x20"), Ok((16, "$0x20")));
        assert_eq!(leading_size("1KiB"), Ok((1024, "iB")));
        assert_eq!(leading_number("4U"), Ok((4, "U")));
        assert_eq!(leading_number("4M"), Ok((4, "M")));
    }
}
