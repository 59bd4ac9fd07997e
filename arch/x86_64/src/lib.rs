//! x86_64: what the kernel needs of this architecture, under the names that both arch crates share.
//!
//! | module | holds | Linux |
//! |---|---|---|
//! | [`entry`] | the ways in (PVH, Limine), boot tables, the image's sections, stacks | `arch/x86/platform/pvh/head.S`, `kernel/head_64.S` |
//! | [`layout`](LAYOUT) | where the kernel's virtual areas lie | `Documentation/arch/x86/x86_64/mm.rst` |
//! | [`paging`] | table entries, physical access, early windows | `asm/pgtable_types.h`, `mm/ioremap.c` |
//! | [`discover`] | from the loader's hand-over to the machine's description | `kernel/e820.c`, `kernel/setup.c` |
//! | [`traps`] | descriptor tables, exceptions, interrupts, accesses that may fault | `kernel/idt.c`, `kernel/traps.c`, `mm/extable.c` |
//! | [`cpu`] | control registers, per-CPU areas, starting the other CPUs | `kernel/cpu/common.c`, `kernel/smpboot.c` |
//! | [`irqchip`] | the local APIC: signals between CPUs, the timer's interrupt | `kernel/apic/` |
//! | [`tlb`] | flushes, here and on all CPUs | `mm/tlb.c` |
//! | [`timer`] | time since boot by the time stamp counter, alarms | `kernel/tsc.c`, `kernel/apic/apic.c` |
//! | [`exit`] | test device, soft-off, reset | `kernel/reboot.c`, `drivers/acpi/sleep.c` |
//!
//! The crate also compiles on an x86_64 host for the tests of its pure parts; what only makes sense in the kernel's
//! image is left out there.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod cpu;
pub mod discover;
pub mod entry;
pub mod exit;
pub mod irqchip;
mod layout;
pub mod paging;
mod port;
mod registers;
pub mod timer;
pub mod tlb;
pub mod traps;

pub use layout::LAYOUT;
pub use registers::DeviceRegisters;

/// The architecture's name, as the boot text has it.
pub const NAME: &str = "x86_64";

/// The machine that runs this program, as `mm` wants to see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Native;
