//! The end of a kernel that cannot go on: registers, the fault's page-table walk, a backtrace, and power off with a
//! failure.
//!
//! All ways in end here: a trap, a Rust panic, a CPU that does not answer. Each report begins with the CPU that makes
//! it (`CPU 3: kernel panic: …`). The first one has the console: it stops the other CPUs, names those that do not stop,
//! and a CPU that wants to report meanwhile stops as well. A fault while reporting ends at once, so that a report never
//! loops. Backtrace lines are `  #0 0xffffffff80201234`; xtask adds names and lines from the kernel's ELF. Linux:
//! `arch/*/mm/fault.c`, `kernel/panic.c`, `smp_send_stop`.

use crate::cpus;
use crate::log::{self, emergency};
use crate::system::MM;
use arch::traps::TrapFrame;
use arch::{Native, discover, exit, paging};
use core::fmt::Arguments;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use mm::addr::{CpuId, VirtAddr};
use mm::arch::Cpu as _;
use mm::vmalloc::AreaPart;

/// Who reports: its number and one; 0 while nobody does.
static REPORTER: AtomicU32 = AtomicU32::new(0);

/// Frames that a backtrace shows at most: a damaged stack may be a ring.
const FRAMES: usize = 48;

/// How long the other CPUs have to stop. Those that cannot are those that wait, with interrupts off, for what the
/// reporting CPU holds.
const STOP_LIMIT: Duration = Duration::from_millis(100);

macro_rules! say {
    ($($argument:tt)*) => { emergency(format_args!("{}\n", format_args!($($argument)*))) };
}

/// What the arch's handlers call for a trap that nothing expects.
#[unsafe(no_mangle)]
extern "C" fn kernel_trap(frame: &TrapFrame) -> ! {
    begin_panic(format_args!("{} at {:#x}", frame.cause(), frame.pc()));
    if let Some(fault) = frame.fault() {
        say!("{fault}");
        if let Some(area) = MM.get().and_then(|mm| mm.vmalloc.try_find(fault.address)) {
            let place = match area.part(fault.address) {
                AreaPart::GuardBelow => "below",
                AreaPart::Mapped(_) => "in",
                AreaPart::GuardAbove => "behind",
            };
            say!("{:#x} lies {place} {area}", fault.address);
        }
        say!("{}", paging::live_tables().walk(fault.address));
    }
    say!("{frame}");
    backtrace(frame.pc(), frame.frame_pointer());
    exit::power_off(exit::ExitStatus::Failure)
}

/// What the arch calls when CPU `cpu` has not forgotten translations within the limit: it may still use them, so the
/// caller can neither go on nor back.
#[unsafe(no_mangle)]
extern "C" fn kernel_unanswered(cpu: u32, limit_seconds: u64) -> ! {
    unanswered(CpuId::new(cpu), "a TLB flush", Duration::from_secs(limit_seconds), "")
}

/// The end because `cpu` has not answered `what` within `limit`; `more` goes on with the sentence.
pub(crate) fn unanswered(cpu: CpuId, what: &str, limit: Duration, more: &str) -> ! {
    hang(format_args!("CPU {cpu} has not answered {what} within {} ms{more}", limit.as_millis()))
}

/// The end because nothing goes on.
pub(crate) fn hang(reason: Arguments<'_>) -> ! {
    begin_panic(reason);
    here()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    begin_panic(format_args!("{}", info.message()));
    if let Some(location) = info.location() {
        say!("at {location}");
    }
    here()
}

/// The backtrace of the caller, and the end.
fn here() -> ! {
    let (pc, frame_pointer) = arch::cpu::caller_frame();
    backtrace(pc, frame_pointer);
    exit::power_off(exit::ExitStatus::Failure)
}

/// A sentence, then the same end as a panic: for a machine that leaves nothing to boot with.
pub(crate) fn stop(reason: Arguments<'_>) -> ! {
    claim();
    say!("kernel stopped: {reason}");
    exit::power_off(exit::ExitStatus::Failure)
}

/// Whether some CPU reports: then the others stop at the next signal.
pub(crate) fn is_under_way() -> bool {
    REPORTER.load(Ordering::Acquire) != 0
}

/// The first line of a report, and the end of what the other CPUs do.
fn begin_panic(reason: Arguments<'_>) {
    claim();
    say!("CPU {}: kernel panic: {reason}", Native.current());
    for cpu in cpus::stop_others(STOP_LIMIT) {
        say!("CPU {cpu} has not stopped within {} ms", STOP_LIMIT.as_millis());
    }
}

/// Makes this CPU the one that reports, or stops it.
fn claim() {
    // From here on no interrupt handler of this CPU comes between; nothing turns them on again.
    let _ = Native.irq_save();
    let me = Native.current().as_u32() + 1;
    match REPORTER.compare_exchange(0, me, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => log::ensure_console(discover::default_consoles()),
        Err(first) if first == me => exit::power_off(exit::ExitStatus::Failure),
        Err(_) => cpus::stand_still(),
    }
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
