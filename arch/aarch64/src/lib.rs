//! aarch64: what the kernel needs of this architecture, under the names that both arch crates share.
//!
//! | module | holds | Linux |
//! |---|---|---|
//! | [`entry`] | Image header, EL2 to EL1, boot tables, the image's sections, stacks | `arch/arm64/kernel/head.S` |
//! | [`layout`](LAYOUT) | where the kernel's virtual areas lie | `Documentation/arch/arm64/memory.rst` |
//! | [`paging`] | table entries, physical access, early windows | `asm/pgtable-hwdef.h`, `mm/mmu.c`, `mm/fixmap.c` |
//! | [`discover`] | from x0 to the machine's description, consoles | `kernel/setup.c`, `drivers/of/fdt.c` |
//! | [`traps`] | vectors, register dump, accesses that may fault | `kernel/entry.S`, `kernel/traps.c`, `mm/fault.c` |
//! | [`cpu`], [`tlb`] | interrupt masks, flushes | `asm/irqflags.h`, `asm/tlbflush.h` |
//! | [`timer`] | time since boot by the virtual counter | `drivers/clocksource/arm_arch_timer.c` |
//! | [`exit`] | test device, power off, reset | `drivers/firmware/psci/psci.c` |
//!
//! On a host only the parts that touch no hardware are compiled, for their tests: `cargo test -p arch-aarch64`.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]
#![cfg_attr(not(target_os = "none"), expect(unused_imports, reason = "what uses them is compiled for the kernel only"))]
#![cfg_attr(
    not(any(test, target_os = "none")),
    expect(dead_code, reason = "what uses it is compiled for the kernel and for tests only")
)]

#[cfg(target_os = "none")]
pub mod cpu;
#[cfg(target_os = "none")]
pub mod discover;
#[cfg(target_os = "none")]
pub mod entry;
#[cfg(target_os = "none")]
pub mod exit;
#[cfg(target_os = "none")]
mod hello;
mod layout;
pub mod paging;
#[cfg(target_os = "none")]
mod registers;
#[cfg(target_os = "none")]
pub mod timer;
#[cfg(target_os = "none")]
pub mod tlb;
pub mod traps;

pub use layout::LAYOUT;

/// The architecture's name, as the boot text has it.
pub const NAME: &str = "aarch64";

/// The machine that runs this program, as `mm` wants to see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Native;
