//! Readers of what the firmware says. Each turns one kind of table into facts for a [`mm::machine::MachineSink`].
//!
//! None of them trusts a byte: lengths, offsets and checksums are checked before use, loops are bounded by lengths that
//! were checked, arithmetic is checked, and nothing panics. An entry that cannot be is dropped with a warning that
//! names table and entry; the rest is used.

pub mod acpi;
pub mod e820;
pub mod efi;
pub mod fdt;
pub mod interrupts;
pub mod limine;
pub mod mp_table;
pub mod mtrr;
pub mod pat;

pub use interrupts::{IrqController, Redistributors};

#[cfg(test)]
pub(crate) mod recorder;
