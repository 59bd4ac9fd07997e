//! `numa=`: where nodes come from.
//!
//! `off`, `on`, or `fake=` with a number of nodes (`4`), the size of each (`512M`, `1G`) or how many to cut each of the
//! firmware's into (`2U`). The letters are capitals, as in Linux. Linux: `numa_setup` in arch/x86/mm/numa.c,
//! `numa_emulation` in arch/x86/mm/numa_emulation.c.

use super::size::{leading_number, size};
use mm::numa::{Fake, NumaOption};

/// What `value` says.
pub(super) fn parse(value: &str) -> Result<NumaOption, &'static str> {
    match value {
        "off" => Ok(NumaOption::Off),
        "on" => Ok(NumaOption::Firmware),
        _ => match value.strip_prefix("fake=") {
            Some(nodes) => fake(nodes).map(NumaOption::Fake),
            None => Err("neither on, off nor fake="),
        },
    }
}

fn fake(nodes: &str) -> Result<Fake, &'static str> {
    let (number, unit) = leading_number(nodes).map_err(|error| error.reason())?;
    if number == 0 {
        return Err("no memory is on no node");
    }
    let count = || u32::try_from(number).map_err(|_| "more nodes than there can be");
    match unit {
        "" => Ok(Fake::Count(count()?)),
        "U" => Ok(Fake::PerNode(count()?)),
        "M" | "G" => Ok(Fake::Size(size(nodes).map_err(|error| error.reason())?)),
        _ => Err("fake= takes a number, or one with M, G or U behind it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        for (value, expected) in [
            ("off", NumaOption::Off),
            ("on", NumaOption::Firmware),
            ("fake=4", NumaOption::Fake(Fake::Count(4))),
            ("fake=0x10", NumaOption::Fake(Fake::Count(16))),
            ("fake=512M", NumaOption::Fake(Fake::Size(512 << 20))),
            ("fake=2G", NumaOption::Fake(Fake::Size(2 << 30))),
            ("fake=8U", NumaOption::Fake(Fake::PerNode(8))),
        ] {
            assert_eq!(parse(value), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_is_no_form() {
        for value in
            ["", "of", "fake", "fake=", "fake=0", "fake=M", "fake=4m", "fake=4UU", "fake=4,4", "fake=4294967296"]
        {
            assert!(parse(value).is_err(), "{value}");
        }
        assert!(parse("fake=99999999999999G").is_err());
    }
}
