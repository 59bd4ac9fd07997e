//! The end of a kernel that cannot go on: registers, the fault's page-table walk, a backtrace, and power off with a
//! failure.
//!
//! Both ways in, a trap and a Rust panic, end here. A fault while reporting ends at once, so that a report never
//! loops. Backtrace lines are `  #0 0xffffffff80201234`; xtask adds names and lines from the kernel's ELF.
//! Linux: `arch/*/mm/fault.c`, `kernel/panic.c`.

use crate::log::{self, emergency};
use arch::traps::TrapFrame;
use arch::{discover, exit, paging};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU8, Ordering};
use mm::addr::VirtAddr;

/// How many reports have begun.
static REPORTS: AtomicU8 = AtomicU8::new(0);

/// Frames that a backtrace shows at most: a damaged stack may be a ring.
const FRAMES: usize = 48;

macro_rules! say {
    ($($argument:tt)*) => { emergency(format_args!("{}\n", format_args!($($argument)*))) };
}

/// What the arch's handlers call for a trap that nothing expects.
#[unsafe(no_mangle)]
extern "C" fn kernel_trap(frame: &TrapFrame) -> ! {
    begin();
    say!("kernel panic: {} at {:#x}", frame.cause(), frame.pc());
    if let Some(fault) = frame.fault() {
        say!("{fault}");
        say!("{}", paging::live_tables().walk(fault.address));
    }
    say!("{frame}");
    backtrace(frame.pc(), frame.frame_pointer());
    exit::power_off(exit::ExitStatus::Failure)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    begin();
    say!("kernel panic: {}", info.message());
    if let Some(location) = info.location() {
        say!("at {location}");
    }
    let (pc, frame_pointer) = arch::cpu::caller_frame();
    backtrace(pc, frame_pointer);
    exit::power_off(exit::ExitStatus::Failure)
}

/// A sentence, then the same end as a panic: for a machine that leaves nothing to boot with.
pub(crate) fn stop(reason: core::fmt::Arguments<'_>) -> ! {
    begin();
    say!("kernel stopped: {reason}");
    exit::power_off(exit::ExitStatus::Failure)
}

fn begin() {
    if REPORTS.fetch_add(1, Ordering::Relaxed) > 0 {
        exit::power_off(exit::ExitStatus::Failure);
    }
    log::ensure_console(discover::default_consoles());
}

/// Follows the chain of saved frame pointers: at each, the caller's frame pointer and then the return address.
fn backtrace(pc: VirtAddr, frame_pointer: VirtAddr) {
    say!("backtrace:");
    say!("  #0 {pc:#x}");
    let mut frame = frame_pointer;
    for number in 1..FRAMES {
        let Some((next, return_address)) = saved_frame(frame) else { break };
        if return_address.as_u64() == 0 {
            break;
        }
        say!("  #{number} {return_address:#x}");
        if next <= frame {
            break;
        }
        frame = next;
    }
}

/// The two words that a frame begins with, when both can be read.
fn saved_frame(frame: VirtAddr) -> Option<(VirtAddr, VirtAddr)> {
    if !frame.is_aligned(8) {
        return None;
    }
    Some((read_word(frame)?, read_word(frame.checked_add(8)?)?))
}

fn read_word(at: VirtAddr) -> Option<VirtAddr> {
    let mut word = [0u8; 8];
    for (offset, byte) in (0u64..).zip(word.iter_mut()) {
        *byte = arch::traps::try_read(at.checked_add(offset)?).ok()?;
    }
    Some(VirtAddr::new(u64::from_le_bytes(word)))
}
