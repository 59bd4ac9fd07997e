//! The page attribute table: which memory type each combination of a page-table entry's PWT, PCD and PAT bits means.
//!
//! Eight types, a byte each, in one register. Intel's manual, volume 3, "Page Attribute Table"; Linux:
//! `__init_cache_modes` in `arch/x86/mm/pat/memtype.c`.

use core::fmt;

/// The value of the register (`IA32_PAT`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pat(pub u64);

impl Pat {
    /// The name of entry `index`'s type, of eight. Numbers that mean nothing are uncached, as for Linux.
    #[must_use]
    pub const fn name(self, index: u32) -> &'static str {
        match self.0 >> (index % 8 * 8) & 7 {
            1 => "WC",
            4 => "WT",
            5 => "WP",
            6 => "WB",
            7 => "UC-",
            _ => "UC",
        }
    }
}

/// Linux's line about it: each name in four columns, the last one too.
impl fmt::Display for Pat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("x86/PAT: Configuration [0-7]: ")?;
        (0..8).try_for_each(|index| write!(f, "{:<4}", self.name(index)))
    }
}

#[cfg(test)]
mod tests {
    use super::Pat;

    #[test]
    fn what_linux_prints_of_what_it_writes_and_of_what_a_cpu_starts_with() {
        let line = |value| Pat(value).to_string();
        assert_eq!(line(0x0407_0506_0007_0106), "x86/PAT: Configuration [0-7]: WB  WC  UC- UC  WB  WP  UC- WT  ");
        assert_eq!(line(0x0007_0406_0007_0406), "x86/PAT: Configuration [0-7]: WB  WT  UC- UC  WB  WT  UC- UC  ");
        assert_eq!(line(0xfafb_0203_0000_0000), "x86/PAT: Configuration [0-7]: UC  UC  UC  UC  UC  UC  UC  UC  ");
    }
}
