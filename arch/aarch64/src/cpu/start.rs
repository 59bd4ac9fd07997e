//! Starting another CPU: what it has to know goes to memory, then it is told where to begin.
//!
//! The CPU comes to `secondary_start` or `secondary_start_listed` (entry.s) at EL2 or EL1, with its MMU off. There it
//! takes the boot CPU's tables and control registers from its [`StartRecord`], and goes on in [`arch_start_secondary`]
//! on its own stack, with its own per-CPU area. Everything that it reads before its MMU is on, it reads past the
//! caches: the record, the head of the list and the word of a spin table are cleaned to memory, the entry code has been
//! since the boot CPU began.
//!
//! PSCI hands the CPU the address of its record. A spin table hands it nothing, and may be one word for many CPUs:
//! there the CPU looks for its MPIDR in a list of records, and waits until it is in it. Linux:
//! `arch/arm64/kernel/psci.c`, `smp_spin_table.c`, `secondary_entry` in `head.S`.

use super::area::{self, Stacks};
use super::errata;
use super::method::{StartError, StartFacts, Way};
use super::record::{Start, StartRecord};
use crate::psci::{self, PsciError};
use crate::{Native, cache, entry, irqchip, paging, tlb, traps};
use aarch64_cpu::asm;
use aarch64_cpu::registers::{Readable, SCTLR_EL1, TCR_EL1};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use mm::addr::{CpuId, PhysAddr, PhysRange, VirtAddr};
use mm::arch::PhysMap;
use mm::memblock::{Memblock, OutOfMemory};
use mm::numa::CpuInfo;
use mm::paging::Mapping;
use mm::sync::IrqLock;
use platform::power::Conduit;

mm::percpu! {
    /// What this CPU was or will be told.
    static RECORD: StartRecord = StartRecord::new();
    /// Whether somebody has started it.
    static STARTED: AtomicBool = AtomicBool::new(false);
}

/// Physical address of the first record of the list; 0 while it is empty. The entry code reads it.
pub(crate) static START_LIST: AtomicU64 = AtomicU64::new(0);

/// Held while the list grows.
static GROWING: IrqLock<()> = IrqLock::new(());

unsafe extern "C" {
    static secondary_start: u8;
    static secondary_start_listed: u8;
}

/// What has to be kept of low memory: nothing. A CPU of this architecture can begin anywhere.
///
/// # Errors
/// None here.
pub fn prepare_start(_: &mut Memblock<Native>) -> Result<(), OutOfMemory> {
    Ok(())
}

/// Starts `cpu`, on `stacks`, and does not wait for it: it comes to the kernel's `start_secondary`, with interrupts
/// off. Until it does, or for good if it never does, its stacks and its area are its own.
///
/// # Errors
/// [`StartError`]: it cannot be started, or the firmware refuses.
pub fn start(cpu: &CpuInfo, facts: &StartFacts, stacks: &Stacks) -> Result<(), StartError> {
    let way = Way::of(cpu.start, facts.psci)?;
    if !irqchip::reaches(cpu.hardware_id) {
        return Err(StartError::NoInterrupts);
    }
    let percpu = area::offset_of(cpu.id).ok_or(StartError::NoArea)?;
    let started = STARTED.of(&Native, cpu.id).ok_or(StartError::NoArea)?;
    if cpu.id == CpuId::BOOT || started.swap(true, Ordering::AcqRel) {
        return Err(StartError::Twice);
    }
    area::describe(cpu.id, stacks).ok_or(StartError::NoArea)?;
    let start = Start {
        root: paging::live_root().as_u64(),
        tcr: TCR_EL1.get(),
        sctlr: SCTLR_EL1.get(),
        stack: stacks.main.as_u64(),
        percpu: percpu as u64,
        cpu: cpu.id.as_u32().into(),
        hardware_id: cpu.hardware_id,
    };
    // Its tables and its area must be seen by whoever walks and reads from now on.
    tlb::publish();
    match way {
        Way::Psci(conduit) => by_psci(conduit, cpu.id, &start),
        Way::SpinTable(release) => by_spin_table(release, cpu.id, &start),
    }
}

fn by_psci(conduit: Conduit, cpu: CpuId, start: &Start) -> Result<(), StartError> {
    let record = write_record(cpu, start, 0)?;
    let arguments = [start.hardware_id, entry::phys_of_symbol(&raw const secondary_start).as_u64(), record.as_u64()];
    // SAFETY: PSCI follows the calling convention. The CPU begins in the entry code with its own record, which is in
    // memory; what it runs on from there on nobody else uses.
    let result = unsafe { psci::call(conduit, psci::CPU_ON, arguments) }.ok_or(StartError::NoFirmware)?;
    PsciError::result(result).map_err(StartError::Psci)
}

fn by_spin_table(release: PhysAddr, cpu: CpuId, start: &Start) -> Result<(), StartError> {
    let growing = GROWING.lock(Native);
    let record = write_record(cpu, start, START_LIST.load(Ordering::Relaxed))?;
    START_LIST.store(record.as_u64(), Ordering::Release);
    cache::clean(address_of(&START_LIST), 8);
    drop(growing);
    write_release(release, entry::phys_of_symbol(&raw const secondary_start_listed))
        .ok_or(StartError::Unmapped { release })?;
    asm::sev();
    Ok(())
}

/// Fills the record of `cpu`, cleans it to memory, and tells where it lies.
fn write_record(cpu: CpuId, start: &Start, next: u64) -> Result<PhysAddr, StartError> {
    let record = RECORD.of(&Native, cpu).ok_or(StartError::NoArea)?;
    let address = Native.ptr_phys((&raw const *record).cast()).ok_or(StartError::NoArea)?;
    record.fill(start, next);
    cache::clean(address_of(record), size_of::<StartRecord>() as u64);
    Ok(address)
}

fn address_of<T>(value: &T) -> VirtAddr {
    VirtAddr::new((&raw const *value).addr() as u64)
}

/// Writes `entry` to the word that a CPU looks at. The word may lie in memory that the direct map leaves out, so it is
/// reached through a window.
fn write_release(release: PhysAddr, entry: PhysAddr) -> Option<()> {
    let word = PhysRange::from_size(release, 8).filter(|&word| paging::addressable(word))?;
    let fixmap = paging::fixmap()?;
    let window = fixmap.lock(Native).early_ioremap(word, Mapping::DATA).ok()?;
    let address = window.address();
    // SAFETY: the window maps these 8 aligned bytes, writable, until it is closed below. The firmware's tables name
    // them as the word by which the CPU is started, so nobody keeps anything else there.
    unsafe { Native.virt_ptr(address).cast::<u64>().write_volatile(entry.as_u64()) };
    cache::clean(address, 8);
    fixmap.lock(Native).early_iounmap(window);
    Some(())
}

/// Where a CPU that was started comes to Rust: on its own stack and area, in the kernel's tables, the vectors in place.
#[unsafe(no_mangle)]
extern "C" fn arch_start_secondary(cpu: u32) -> ! {
    unsafe extern "C" {
        safe fn start_secondary(cpu: u32) -> !;
    }
    errata::check();
    traps::init();
    errata::tell();
    start_secondary(cpu)
}
