//! aarch64: what the kernel needs of this architecture, under the names that both arch crates share.
//!
//! | module | holds | Linux |
//! |---|---|---|
//! | [`entry`] | Image header, EL2 to EL1, boot tables, the image's sections, stacks | `arch/arm64/kernel/head.S` |
//! | [`layout`](LAYOUT) | where the kernel's virtual areas lie | `Documentation/arch/arm64/memory.rst` |
//! | [`paging`] | table entries, physical access, early windows | `asm/pgtable-hwdef.h`, `mm/mmu.c`, `mm/fixmap.c` |
//! | [`discover`] | from x0 to the machine's description, consoles | `kernel/setup.c`, `drivers/of/fdt.c` |
//! | [`traps`] | vectors, register dump, accesses that may fault | `kernel/entry.S`, `kernel/traps.c`, `mm/fault.c` |
//! | [`cpu`] | per-CPU areas, interrupt masks, starting the others | `kernel/smp.c`, `asm/percpu.h`, `asm/irqflags.h` |
//! | [`irqchip`] | GICv2 and GICv3: the timer's interrupt, signals | `drivers/irqchip/irq-gic.c`, `irq-gic-v3.c` |
//! | [`tlb`] | flushes | `asm/tlbflush.h` |
//! | [`timer`] | time since boot by the virtual counter, alarms | `drivers/clocksource/arm_arch_timer.c` |
//! | [`psci`] | the firmware's calls for power | `drivers/firmware/psci/psci.c` |
//! | [`exit`] | test device, power off, reset | `arch/arm64/kernel/process.c` |
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
mod cache;
pub mod cpu;
#[cfg(target_os = "none")]
pub mod discover;
#[cfg(target_os = "none")]
pub mod entry;
#[cfg(target_os = "none")]
pub mod exit;
#[cfg(target_os = "none")]
mod hello;
pub mod irqchip;
mod layout;
pub mod paging;
pub mod psci;
#[cfg(target_os = "none")]
mod registers;
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
