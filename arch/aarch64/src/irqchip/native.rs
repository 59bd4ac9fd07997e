//! The controller of the machine that this kernel runs on.

use super::bcm2836::{self, Bcm2836};
use super::block::Mapped;
use super::error::IrqError;
use super::gic2::Gic2;
use super::gic3::Gic3;
use super::system::SystemRegisters;
use crate::traps::Interrupt;
use crate::{Native, cpu, timer};
use aarch64_cpu::asm::barrier;
use arrayvec::ArrayVec;
use core::arch::asm;
use core::fmt;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, Ordering};
use mm::addr::{CpuId, PhysAddr, PhysRange, VirtAddr};
use mm::arch::Cpu;
use mm::layout::VirtRange;
use platform::firmware::interrupts::IrqController;
use spin::Once;

/// What the firmware said that is needed to use the controller.
#[derive(Clone, Debug)]
pub struct IrqFacts {
    /// Which one there is, and where.
    pub controller: IrqController,
    /// The number of the virtual timer's interrupt, where it was said.
    pub timer: Option<u32>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of it, and it stays where it is made")]
enum Driver {
    Gic2(Gic2<Mapped>),
    Gic3(Gic3<Mapped, SystemRegisters>),
    Bcm2836(Bcm2836<Mapped>),
}

#[derive(Debug)]
struct Chip {
    driver: Driver,
    registers: PhysAddr,
    timer: u32,
}

/// Numbers that say that no interrupt waits.
const SPECIAL: RangeInclusive<u32> = 1020..=1023;

/// The one in use.
static CHIP: Once<Chip> = Once::new();

mm::percpu! {
    /// What to write to signal this CPU; 0 until it can be.
    static TARGET: AtomicU64 = AtomicU64::new(0);
}

/// Turns the controller on. `map` maps registers as Device, for good. Once, on the boot CPU; every CPU, this one too,
/// then calls [`init_cpu`].
///
/// # Errors
/// [`IrqError`]: it cannot be used. Nothing has been turned on then.
pub fn init(facts: &IrqFacts, map: &mut dyn FnMut(PhysRange) -> Option<VirtAddr>) -> Result<(), IrqError> {
    if CHIP.get().is_some() {
        return Err(IrqError::Twice);
    }
    let (possible, usual) = match &facts.controller {
        IrqController::Bcm2836 { .. } => (0..=bcm2836::TIMERS - 1, bcm2836::USUAL_TIMER),
        _ => (16..=31, timer::USUAL_INTERRUPT),
    };
    let timer = facts.timer.unwrap_or(usual);
    if !possible.contains(&timer) {
        return Err(IrqError::Timer { number: timer, first: *possible.start(), last: *possible.end() });
    }
    let mut block = |range: PhysRange| {
        let start = map(range).ok_or(IrqError::Unmapped(range))?;
        Ok(Mapped::new(VirtRange::new(start, start.saturating_add(range.size()))))
    };
    let (driver, registers) = match &facts.controller {
        IrqController::Gic2 { distributor, cpu_interface } => {
            let gic = Gic2 { distributor: block(*distributor)?, cpu_interface: block(*cpu_interface)? };
            gic.init()?;
            (Driver::Gic2(gic), distributor)
        }
        IrqController::Gic3 { distributor, redistributors } => {
            let mut ranges = ArrayVec::new();
            for range in &redistributors.ranges {
                // Both have the same capacity.
                let _ = ranges.try_push(block(*range)?);
            }
            let stride = redistributors.stride;
            let gic = Gic3 { distributor: block(*distributor)?, ranges, stride, interface: SystemRegisters };
            let id = cpu::hardware_id();
            gic.find(id).ok_or(IrqError::NoRedistributor(id))?;
            if !SystemRegisters::exist() {
                return Err(IrqError::NoSystemRegisters);
            }
            gic.init()?;
            (Driver::Gic3(gic), distributor)
        }
        IrqController::Bcm2836 { local, devices } => {
            let id = cpu::hardware_id();
            if id >= bcm2836::CPUS {
                return Err(IrqError::NoLocalRegisters(id));
            }
            let chip = Bcm2836 { local: block(*local)?, devices: devices.map(&mut block).transpose()? };
            chip.init()?;
            (Driver::Bcm2836(chip), local)
        }
        IrqController::LocalApic { .. } => return Err(IrqError::NotHere),
    };
    let registers = registers.start();
    CHIP.call_once(|| Chip { driver, registers, timer });
    Ok(())
}

/// Turns on what is this CPU's own. Every CPU, on itself, with interrupts off. A CPU that cannot be interrupted stays
/// as it was: whoever signals it gets no answer.
pub fn init_cpu() {
    let Some(chip) = CHIP.get() else { return };
    let target = match &chip.driver {
        Driver::Gic2(gic) => gic.init_cpu(chip.timer).into(),
        Driver::Gic3(gic) => gic.init_cpu(cpu::hardware_id(), chip.timer).unwrap_or(0),
        Driver::Bcm2836(bcm) => bcm.init_cpu(cpu::hardware_id(), chip.timer).map_or(0, u64::from),
    };
    TARGET.get(&Native.pin()).store(target, Ordering::Release);
}

/// Signals CPU `to`, which may be this one: it takes [`Interrupt::Signal`] as soon as its interrupts are on, and sees
/// what was written before. One that comes while another waits there is the same. A CPU that has not called
/// [`init_cpu`] is not signalled.
pub fn signal(to: CpuId) {
    let Some(chip) = CHIP.get() else { return };
    let target = TARGET.of(&Native, to).map_or(0, |target| target.load(Ordering::Acquire));
    if target == 0 {
        return;
    }
    // What the other CPU is to look at is there before it is told.
    // SAFETY: barriers have no effect but order.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
    match &chip.driver {
        // What it stored is 32 bits wide.
        Driver::Gic2(gic) => gic.send(target as u32),
        Driver::Gic3(gic) => gic.interface.send(target),
        Driver::Bcm2836(bcm) => bcm.send(target as u32),
    }
}

/// Whether there is a controller, so that an interrupt can be expected.
pub(crate) fn is_ready() -> bool {
    CHIP.get().is_some()
}

/// Whether the CPU that the hardware knows by `hardware_id` can be interrupted, as far as is known.
pub(crate) fn reaches(hardware_id: u64) -> bool {
    match CHIP.get().map(|chip| &chip.driver) {
        Some(Driver::Gic3(gic)) => gic.find(hardware_id).is_some(),
        Some(Driver::Bcm2836(_)) => hardware_id < bcm2836::CPUS,
        Some(Driver::Gic2(_)) | None => true,
    }
}

/// Takes the interrupt that waits and hands it to the kernel. With interrupts off.
pub(crate) fn take() {
    unsafe extern "C" {
        safe fn kernel_interrupt(kind: Interrupt);
    }
    let Some(chip) = CHIP.get() else { return };
    let (taken, number) = chip.acknowledge();
    if SPECIAL.contains(&number) {
        return;
    }
    let kind = match number {
        _ if number == chip.signal() => Interrupt::Signal,
        _ if number == chip.timer => {
            timer::clear_alarm();
            Interrupt::Timer
        }
        _ => {
            chip.mask(number);
            Interrupt::Other(number)
        }
    };
    // Ended before it is dealt with: interrupts are off, so none comes in between, and the kernel's part may not
    // return.
    chip.end(taken);
    kernel_interrupt(kind);
}

impl Chip {
    /// The signal's number.
    fn signal(&self) -> u32 {
        match &self.driver {
            Driver::Gic2(_) | Driver::Gic3(_) => super::SIGNAL,
            Driver::Bcm2836(_) => bcm2836::SIGNAL,
        }
    }

    /// What waits: what [`Chip::end`] wants, and its number.
    fn acknowledge(&self) -> (u32, u32) {
        match &self.driver {
            Driver::Gic2(gic) => {
                let taken = gic.acknowledge();
                // What was written before the interrupt was sent is seen from here on.
                barrier::dsb(barrier::SY);
                taken
            }
            Driver::Gic3(gic) => {
                let number = gic.interface.acknowledge();
                (number, number)
            }
            Driver::Bcm2836(bcm) => {
                let number = bcm.acknowledge(cpu::hardware_id());
                barrier::dsb(barrier::SY);
                (number, number)
            }
        }
    }

    fn end(&self, taken: u32) {
        match &self.driver {
            Driver::Gic2(gic) => gic.end(taken),
            Driver::Gic3(gic) => gic.interface.end(taken),
            // It was taken when it was acknowledged, or it is a level that is silent by now.
            Driver::Bcm2836(_) => {}
        }
    }

    fn mask(&self, number: u32) {
        match &self.driver {
            Driver::Gic2(gic) => gic.mask(number),
            Driver::Gic3(gic) => gic.mask(number, cpu::hardware_id()),
            Driver::Bcm2836(bcm) => bcm.mask(number, cpu::hardware_id()),
        }
    }
}

/// The controller in a line: `GICv3 at 0x8000000, timer interrupt 27`.
pub fn describe() -> impl fmt::Display {
    Description(CHIP.get())
}

struct Description(Option<&'static Chip>);

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(chip) = self.0 else { return f.write_str("no interrupt controller") };
        let name = match chip.driver {
            Driver::Gic2(_) => "GICv2",
            Driver::Gic3(_) => "GICv3",
            Driver::Bcm2836(_) => "BCM2836",
        };
        write!(f, "{name} at {:#x}, timer interrupt {}", chip.registers, chip.timer)
    }
}
