//! The part of the UEFI loader that needs no firmware: what the kernel's file says, what is handed over, which tables
//! the kernel starts in. It runs on the host too, where its tests are.
//!
//! The way of the data: [`elf::check`] turns the file's bytes into an [`elf::Executable`], which knows the size and the
//! alignment of the memory that it needs and copies itself there. [`requests::find`] reads what the kernel asks for by
//! the Limine boot protocol. [`memory_map::translate`] makes the protocol's memory map of the firmware's, and
//! [`handover::build`] writes tables ([`tables`], [`plan`]) and answers ([`responses`]) into one piece of memory
//! ([`pool`]). Nothing is mapped, and nothing of the kernel is run, before all of that has succeeded.
//!
//! No unsafe code, no allocation, no globals, and no input panics.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]
#![forbid(unsafe_code)]

pub mod cmdline;
pub mod date;
pub mod elf;
pub mod handover;
pub mod memory_map;
pub mod plan;
pub mod pool;
pub mod requests;
pub mod responses;
pub mod tables;
pub mod tree;

/// Bytes of a page. Other page sizes are not used before the kernel has its own tables.
pub const PAGE: u64 = 4096;

/// `address`, or the next lower address where a page begins.
pub const fn page_floor(address: u64) -> u64 {
    address & !(PAGE - 1)
}

/// `address`, or the next higher address where a page begins; the last page's address where there is none.
pub const fn page_ceil(address: u64) -> u64 {
    page_floor(address.saturating_add(PAGE - 1))
}
