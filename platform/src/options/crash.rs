//! `crashkernel=`: memory for a kernel that takes over when this one dies.
//!
//! | form | asks for |
//! |---|---|
//! | `SIZE` | a place of the kernel's choice |
//! | `SIZE@START` | exactly that place |
//! | `START-[END]:SIZE,…[@START]` | the size of the range in which the machine's memory lies |
//! | `SIZE,high` | a place anywhere, above 4 GiB too |
//! | `SIZE,low` | beside a high one, so much that all devices reach |
//!
//! Of each kind the last one holds. Linux: `parse_crashkernel` and what it calls in kernel/crash_core.c.

use super::size::{leading_size, size};
use arrayvec::ArrayVec;
use mm::addr::PhysAddr;

/// Ranges of memory sizes that are kept; more are an error.
const MOST_RANGES: usize = 16;
/// The firmware keeps some of what is built in, so the machine's memory is rounded up to this before it is looked up.
const RAM_ROUNDING: u64 = 128 << 20;

/// A size for machines with at least `from` and less than `to` bytes of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct SizeRange {
    from: u64,
    to: u64,
    size: u64,
}

/// What a `crashkernel=` without `,high` or `,low` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CrashKernel {
    /// Bytes whatever memory there is; of no account where there are ranges.
    bytes: u64,
    ranges: ArrayVec<SizeRange, MOST_RANGES>,
    /// Exactly from here on; `None`: a place of the kernel's choice.
    pub at: Option<PhysAddr>,
}

/// What the command line says of a crash kernel.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CrashOption {
    /// The plain form, or the one with ranges.
    pub plain: Option<CrashKernel>,
    /// Bytes anywhere (`,high`).
    pub high: Option<u64>,
    /// Bytes that all devices reach, beside a high one (`,low`).
    pub low: Option<u64>,
}

impl CrashOption {
    /// Takes one `crashkernel=`.
    pub(super) fn take(&mut self, value: &str) -> Result<(), &'static str> {
        let bytes = |value| size(value).map_err(|error| error.reason());
        if let Some(value) = value.strip_suffix(",high") {
            self.high = Some(bytes(value)?);
        } else if let Some(value) = value.strip_suffix(",low") {
            self.low = Some(bytes(value)?);
        } else {
            self.plain = Some(CrashKernel::parse(value)?);
        }
        Ok(())
    }
}

impl CrashKernel {
    fn parse(value: &str) -> Result<Self, &'static str> {
        let (amount, at) = match value.split_once('@') {
            Some((amount, at)) => (amount, Some(size(at).map_err(|error| error.reason())?)),
            None => (value, None),
        };
        let (bytes, ranges) = if amount.contains(':') {
            (0, ranges(amount)?)
        } else {
            (size(amount).map_err(|error| error.reason())?, ArrayVec::new())
        };
        // As in Linux 0 is no place.
        Ok(Self { bytes, ranges, at: at.filter(|at| *at > 0).map(PhysAddr::new) })
    }

    /// Bytes to keep on a machine with `ram` bytes of memory; `None` where no range holds it, or all of it is asked
    /// for.
    #[must_use]
    pub fn size(&self, ram: u64) -> Option<u64> {
        let size = if self.ranges.is_empty() {
            self.bytes
        } else {
            let ram = ram.checked_next_multiple_of(RAM_ROUNDING)?;
            let range = self.ranges.iter().find(|range| range.from <= ram && ram < range.to)?;
            if range.size >= ram { 0 } else { range.size }
        };
        (size > 0).then_some(size)
    }
}

fn ranges(value: &str) -> Result<ArrayVec<SizeRange, MOST_RANGES>, &'static str> {
    let mut ranges = ArrayVec::new();
    for range in value.split(',') {
        let (from, rest) = leading_size(range).map_err(|error| error.reason())?;
        let rest = rest.strip_prefix('-').ok_or("a range is START-END:SIZE")?;
        let (to, bytes) = match rest.strip_prefix(':') {
            Some(bytes) => (u64::MAX, bytes),
            None => {
                let (to, rest) = leading_size(rest).map_err(|error| error.reason())?;
                (to, rest.strip_prefix(':').ok_or("a range is START-END:SIZE")?)
            }
        };
        if to <= from {
            return Err("a range ends before it starts");
        }
        let size = size(bytes).map_err(|error| error.reason())?;
        ranges.try_push(SizeRange { from, to, size }).map_err(|_| "more than 16 ranges")?;
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn plain(value: &str) -> CrashKernel {
        let mut option = CrashOption::default();
        option.take(value).unwrap();
        option.plain.unwrap()
    }

    #[test]
    fn sizes_and_places() {
        assert_eq!(plain("256M").size(4 << 30), Some(256 * MIB));
        assert_eq!(plain("256M").at, None);
        assert_eq!(plain("64M@16M").at, Some(PhysAddr::new(16 * MIB)));
        assert_eq!(plain("64M@0").at, None);
        assert_eq!(plain("0").size(4 << 30), None);
    }

    #[test]
    fn the_range_that_holds_the_machines_memory_says_the_size() {
        let ranges = plain("512M-2G:64M,2G-:128M@16M");
        for (ram, expected) in [
            (256 * MIB, None),
            // Rounded up to 128 MiB.
            (500 * MIB, Some(64)),
            (512 * MIB, Some(64)),
            (1900 * MIB, Some(64)),
            (2048 * MIB - 1, Some(128)),
            (2048 * MIB, Some(128)),
            (1 << 45, Some(128)),
            (u64::MAX, None),
        ] {
            assert_eq!(ranges.size(ram), expected.map(|mib| mib * MIB), "{ram:#x}");
        }
        assert_eq!(ranges.at, Some(PhysAddr::new(16 * MIB)));
        // All memory is not for the taking.
        assert_eq!(plain("0-:1G").size(1 << 30), None);
        // The first range that holds it.
        assert_eq!(plain("0-2G:64M,1G-:128M").size(1 << 30), Some(64 * MIB));
    }

    #[test]
    fn high_low_and_plain_are_kept_apart_and_the_last_of_each_holds() {
        let mut option = CrashOption::default();
        for value in ["1G,high", "512M,high", "128M,low", "64M", "32M"] {
            option.take(value).unwrap();
        }
        assert_eq!((option.high, option.low), (Some(512 * MIB), Some(128 * MIB)));
        assert_eq!(option.plain.unwrap().size(1 << 30), Some(32 * MIB));
    }

    #[test]
    fn what_is_no_form() {
        let many = (0..17).map(|n| format!("{n}G-{}G:64M", n + 1)).collect::<Vec<_>>().join(",");
        for value in [
            "",
            "auto",
            "256MB",
            "256M@",
            "256M@x",
            "256M,up",
            ",high",
            "1G@1G,high",
            "16E",
            "512M-2G",
            "512M:64M",
            "2G-1G:64M",
            "1G-1G:64M",
            "1G-2G:",
            "1G-2G:64M,",
            "-2G:64M",
            "1G-2G:64M@1G,3G-:1G",
            &many,
        ] {
            let mut option = CrashOption::default();
            assert!(option.take(value).is_err(), "{value}");
            assert_eq!(option, CrashOption::default(), "{value}");
        }
    }
}
