//! `kernelcore=` and `movablecore=`: how much memory is for the kernel, how much only for what can be moved.
//!
//! Bytes with a suffix, a percentage of all pages, or (`kernelcore=` alone) `mirror`. Linux: `cmdline_parse_core` in
//! mm/page_alloc.c.

use super::size::{leading_number, size};
use mm::zone::Amount;

/// What `kernelcore=` says.
pub(super) fn kernelcore(value: &str) -> Result<Amount, &'static str> {
    if value == "mirror" { Ok(Amount::Mirror) } else { amount(value) }
}

/// What `movablecore=` says.
pub(super) fn movablecore(value: &str) -> Result<Amount, &'static str> {
    amount(value)
}

fn amount(value: &str) -> Result<Amount, &'static str> {
    if let Ok((number, "%")) = leading_number(value) {
        let percent = u8::try_from(number).ok().filter(|percent| *percent <= 100);
        return percent.map(Amount::Percent).ok_or("more than 100 %");
    }
    size(value).map(Amount::Bytes).map_err(|error| error.reason())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_percent_and_mirror() {
        assert_eq!(kernelcore("1G"), Ok(Amount::Bytes(1 << 30)));
        assert_eq!(kernelcore("40%"), Ok(Amount::Percent(40)));
        assert_eq!(kernelcore("mirror"), Ok(Amount::Mirror));
        assert_eq!(movablecore("100%"), Ok(Amount::Percent(100)));
        assert_eq!(movablecore("0"), Ok(Amount::Bytes(0)));
    }

    #[test]
    fn what_is_no_amount() {
        assert!(movablecore("mirror").is_err());
        for value in ["", "%", "101%", "256%", "5%%", "5M%", "mirrored", "18446744073709551616%", "1Gb"] {
            assert!(kernelcore(value).is_err(), "{value}");
        }
    }
}
