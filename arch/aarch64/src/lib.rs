//! aarch64: what the kernel needs of this architecture, under the names that both arch crates share.
//!
//! | module | holds | Linux |
//! |---|---|---|
//! | [`entry`] | Image header, EL2 to EL1, boot tables, the image's sections, stacks | `arch/arm64/kernel/head.S` |
//! | [`layout`](LAYOUT) | where the kernel's virtual areas lie | `Documentation/arch/arm64/memory.rst` |
//! | [`paging`] | table entries, physical access, early windows | `asm/pgtable-hwdef.h`, `mm/mmu.c`, `mm/fixmap.c` |
//! | [`discover`] | from x0 to the machine's description, console and power off | `kernel/setup.c`, `drivers/of/fdt.c` |
//! | [`traps`] | vectors, the report of an exception, accesses that may fault | `kernel/entry.S`, `kernel/traps.c`, `mm/fault.c` |
//! | [`cpu`], [`tlb`] | interrupt masks, flushes | `asm/irqflags.h`, `asm/tlbflush.h` |
//! | [`timer`] | time since boot by the virtual counter | `drivers/clocksource/arm_arch_timer.c` |
//! | [`exit`] | test device, power off, reset | `drivers/firmware/psci/psci.c` |
#![no_std]
#![deny(clippy::indexing_slicing)]

pub mod cpu;
pub mod discover;
pub mod entry;
pub mod exit;
mod hello;
mod layout;
pub mod paging;
pub mod timer;
pub mod tlb;
pub mod traps;

pub use layout::LAYOUT;

/// The architecture's name, as the boot text has it.
pub const NAME: &str = "aarch64";

/// The machine that runs this program, as `mm` wants to see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Native;
