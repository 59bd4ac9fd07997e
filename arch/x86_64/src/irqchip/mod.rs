//! Interrupts: the local APIC of each CPU, by which CPUs signal each other and get their timer's alarm.
//!
//! Nothing comes from devices: the two legacy controllers stay masked and the I/O APIC stays as it is. Four vectors are
//! in use, below; the local APIC decides which it delivers, the stubs of [`traps`](crate::traps) lead here
//! ([`acknowledge`]), and the kernel's `kernel_interrupt` gets what concerns it.
//!
//! [`init`] runs once on the boot CPU; [`init_cpu`] on every CPU, the boot CPU too, before it lets interrupts in. The
//! newer interface (x2APIC) is used where the CPU offers it or the firmware has turned it on, else the older one, whose
//! page is mapped uncached once for all: each CPU finds its own APIC there. QEMU offers x2APIC under KVM only; the tests
//! of [`local_apic`] go through both by a model. Where the page is the CPU itself knows; what the firmware says of it
//! is compared.
//!
//! Costs: a signal is one or two writes of registers, each of about 100 ns (microseconds under a hypervisor). Linux:
//! `arch/x86/kernel/apic/`, `asm/irq_vectors.h`.

mod local_apic;
mod message;

pub use local_apic::SendError;
pub(crate) use message::Message;

use crate::cpu::{self, cpuid};
use crate::traps::Interrupt;
use crate::{Native, timer};
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use local_apic::{Bus, Interface, LocalApic};
use mm::addr::{CpuId, PhysAddr, PhysRange, VirtAddr};
use mm::arch::{Cpu as _, PhysMap as _};
use platform::firmware::IrqController;
use spin::Once;
use x86_64::registers::model_specific::Msr;

/// The vector of this CPU's timer. This one and the next three are Linux's numbers.
const TIMER: u8 = 0xec;
/// Another CPU wants something.
const SIGNAL: u8 = 0xfd;
/// The local APIC met an error.
const ERROR: u8 = 0xfe;
/// An interrupt that was taken back before it was delivered. On old CPUs the low bits are always ones.
const SPURIOUS: u8 = 0xff;

/// Bytes of the page of registers.
const PAGE_BYTES: u64 = 4096;

/// What the firmware says of interrupts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IrqFacts {
    /// The controller.
    pub controller: Option<IrqController>,
}

/// Why no interrupt can come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IrqError {
    /// The CPU has no local APIC, or the firmware has turned it off.
    NoLocalApic,
    /// Its registers cannot be mapped.
    NotMapped(PhysRange),
    /// Its timer stands still.
    TimerStands,
}

impl fmt::Display for IrqError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLocalApic => f.write_str("the CPU has no local APIC, or it is turned off"),
            Self::NotMapped(range) => write!(f, "the local APIC's registers at {range} cannot be mapped"),
            Self::TimerStands => f.write_str("the local APIC's timer stands still"),
        }
    }
}

impl core::error::Error for IrqError {}

/// The registers of the CPU that asks.
#[derive(Clone, Copy, Debug)]
struct Hardware {
    /// Where the page is mapped; not looked at by the newer interface.
    page: VirtAddr,
}

impl Bus for Hardware {
    fn load(self, offset: u32) -> u32 {
        let at = Native.virt_ptr(self.page.saturating_add(offset.into())).cast::<u32>();
        // SAFETY: `init` had the page mapped for good, and every offset of a register lies in it, aligned.
        unsafe { at.read_volatile() }
    }

    fn store(self, offset: u32, value: u32) {
        let at = Native.virt_ptr(self.page.saturating_add(offset.into())).cast::<u32>();
        // SAFETY: as in `load`. No register of the APIC makes it touch this CPU's memory; that another CPU is started
        // only where it has a record is `cpu::start`'s.
        unsafe { at.write_volatile(value) }
    }

    fn read_msr(self, number: u32) -> u64 {
        // SAFETY: a CPU with a local APIC has its base register, one with an x2APIC has that one's.
        unsafe { Msr::new(number).read() }
    }

    fn write_msr(self, number: u32, value: u64) {
        // SAFETY: as in `read_msr` and `store`. These writes may pass earlier stores; with the fences they do not.
        unsafe {
            core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags));
            Msr::new(number).write(value);
        }
    }
}

/// How the local APIC is reached, the same on every CPU.
static LOCAL_APIC: Once<LocalApic<Hardware>> = Once::new();
/// Where its page is, for the log.
static BASE: Once<PhysAddr> = Once::new();

/// No CPU has this number.
const NOBODY: u32 = u32::MAX;

mm::percpu! {
    /// The number of this CPU's local APIC, once it takes interrupts.
    static APIC_ID: AtomicU32 = AtomicU32::new(NOBODY);
}

fn has(feature: u32) -> bool {
    cpuid(1).edx & feature != 0
}

/// Finds the local APIC and how fast its timer is. For the boot CPU, once, with interrupts off. `map` maps registers
/// uncached, for good.
///
/// # Errors
/// [`IrqError`]; then no interrupt can come, and no CPU can be started.
pub fn init(facts: &IrqFacts, map: &mut dyn FnMut(PhysRange) -> Option<VirtAddr>) -> Result<(), IrqError> {
    const APIC: u32 = 1 << 9;
    const MODEL_SPECIFIC_REGISTERS: u32 = 1 << 5;
    const X2APIC: u32 = 1 << 21;
    if !has(APIC) || !has(MODEL_SPECIFIC_REGISTERS) {
        return Err(IrqError::NoLocalApic);
    }
    let unmapped = Hardware { page: VirtAddr::new(0) };
    let base = local_apic::base(unmapped).ok_or(IrqError::NoLocalApic)?;
    let apic = if cpuid(1).ecx & X2APIC != 0 || local_apic::is_extended(unmapped) {
        LocalApic::new(unmapped, Interface::X2Apic)
    } else {
        if let Some(IrqController::LocalApic { address }) = facts.controller
            && address != base
        {
            log::warn!("the firmware has the local APIC at {address:#x}, the CPU at {base:#x}");
        }
        let range = PhysRange::new(base, base.saturating_add(PAGE_BYTES));
        let page = map(range).ok_or(IrqError::NotMapped(range))?;
        LocalApic::new(Hardware { page }, Interface::XApic)
    };
    apic.enable();
    apic.start_silent_timer();
    let measured = timer::alarm::measure(|| apic.timer_count());
    apic.stop_timer();
    measured.ok_or(IrqError::TimerStands)?;
    BASE.call_once(|| base);
    LOCAL_APIC.call_once(|| apic);
    Ok(())
}

/// Makes this CPU's local APIC ready. Interrupts come once the CPU lets them in. Does nothing where [`init`] has failed.
pub fn init_cpu() {
    let Some(apic) = LOCAL_APIC.get() else { return };
    apic.enable();
    APIC_ID.get(&Native.pin()).store(apic.id(), Ordering::Release);
}

/// Whether interrupts can come.
pub(crate) fn is_in_use() -> bool {
    LOCAL_APIC.is_completed()
}

/// Interrupts CPU `to`, which may be this one. A CPU that is not ready for interrupts gets none.
pub fn signal(to: CpuId) {
    let Some(id) = APIC_ID.of(&Native, to).map(|id| id.load(Ordering::Acquire)).filter(|&id| id != NOBODY) else {
        return;
    };
    // A message that does not go out is one that gets no answer: who waits for that has a time limit.
    let _ = send(id, Message::Interrupt { vector: SIGNAL });
}

/// Whether messages reach the CPU of APIC id `id`.
pub(crate) fn reaches(id: u32) -> Result<(), SendError> {
    LOCAL_APIC.get().ok_or(SendError::NotReady)?.reaches(id)
}

/// Sends `message` to the CPU of APIC id `id`.
pub(crate) fn send(id: u32, message: Message) -> Result<(), SendError> {
    let apic = LOCAL_APIC.get().ok_or(SendError::NotReady)?;
    let interrupts = Native.irq_save();
    let sent = apic.send(id, message);
    Native.irq_restore(interrupts);
    sent
}

/// Makes this CPU's timer interrupt when it has counted `count` down, or never for 0.
pub(crate) fn set_timer(count: u32) {
    match (LOCAL_APIC.get(), count) {
        (None, _) => {}
        (Some(apic), 0) => apic.stop_timer(),
        (Some(apic), _) => apic.start_timer(count),
    }
}

/// What an interrupt of `vector` means to the kernel; `None` when it means nothing. The local APIC may deliver the next
/// from here on, and does once interrupts are on again.
pub(crate) fn acknowledge(vector: u8) -> Option<Interrupt> {
    let Some(apic) = LOCAL_APIC.get() else { return Some(Interrupt::Other(vector.into())) };
    match vector {
        // Nothing is in service.
        SPURIOUS => None,
        TIMER => {
            apic.end_of_interrupt();
            timer::alarm::rang().then_some(Interrupt::Timer)
        }
        SIGNAL => {
            apic.end_of_interrupt();
            Some(Interrupt::Signal)
        }
        _ => {
            if apic.is_in_service(vector) {
                apic.end_of_interrupt();
            }
            if vector == ERROR {
                log::warn!("CPU {}: local APIC errors {:#x}", Native.current(), apic.take_errors());
                return None;
            }
            Some(Interrupt::Other(vector.into()))
        }
    }
}

/// `xAPIC at 0xfee00000, timer 1000.000 MHz`
#[derive(Clone, Copy, Debug)]
struct Description;

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match LOCAL_APIC.get().map(|apic| apic.interface()) {
            None => return f.write_str("no local APIC"),
            Some(Interface::X2Apic) => f.write_str("x2APIC")?,
            Some(Interface::XApic) => {
                write!(f, "xAPIC at {:#x}", BASE.get().copied().unwrap_or(PhysAddr::new(0)))?;
            }
        }
        let kilohertz = timer::alarm::hertz() / 1000;
        write!(f, ", boot CPU {:#x}, timer {}.{:03} MHz", cpu::hardware_id(), kilohertz / 1000, kilohertz % 1000)
    }
}

/// One line for the log.
#[must_use]
pub fn describe() -> impl fmt::Display {
    Description
}

// The CPU ignores what the other interface would want of these.
const _: () = assert!(SPURIOUS & 0xf == 0xf && TIMER > 31 && SIGNAL > 31 && ERROR > 31);
