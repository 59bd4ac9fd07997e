//! Starting the other CPUs: INIT, then STARTUP, with a page below 1 MiB to begin in.
//!
//! A CPU that gets a STARTUP message begins in real mode in the page that the message names. [`prepare_start`] keeps a
//! page for that, and four for the tables that the CPU begins with. [`start`] copies the trampoline there (secondary.s),
//! fills a [`StartRecord`] and sends the messages: INIT, 10 ms, STARTUP, 200 µs, STARTUP. The trampoline leads to 64-bit
//! mode and to the image's link address; there the CPU takes the kernel's tables, finds its record by its APIC id, and on
//! its own stack comes to [`arch_start_secondary`].
//!
//! Invariants:
//! - Nothing that a starting CPU reads is ever written for another one: the trampoline holds nothing of any CPU and is
//!   written once, and each has a record in its own per-CPU area. So several may be on their way at once, and one that
//!   comes late finds its own stack, and whoever runs there what it was started for.
//! - It does not matter where the image lies, nor where the kernel's tables do: a CPU begins with a root below 4 GiB,
//!   since CR3 has 32 bits until it is in 64-bit mode, and that root has the kernel's own entry for the image.
//! - Nothing is ever writable and executable: the root that a CPU begins with maps the trampoline's page where it lies, to
//!   be executed and not written; the direct map maps it to be written and not executed. With the kernel's root nothing
//!   is mapped low.
//! - Whoever gets a STARTUP without a record halts, with interrupts off, in the image.
//!
//! Costs: 10.4 ms a CPU, five pages for all, 112 bytes in each area. Linux: `arch/x86/kernel/smpboot.c`,
//! `realmode/rm/trampoline_64.S`, `reserve_real_mode`, `trampoline_pgd_entry`.

use super::mtrr;
use super::{area, set_memory_types};
use crate::irqchip::{self, Message, SendError};
use crate::layout::LAYOUT;
use crate::{Native, paging, timer, traps};
use core::fmt;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use mm::addr::{CpuId, PhysAddr, PhysRange, VirtAddr};
use mm::arch::{Cpu as _, PageFormat as _, PhysMap as _};
use mm::layout::VirtRange;
use mm::machine::Owner;
use mm::memblock::{Memblock, NodeWish, OutOfMemory, Request};
use mm::numa::CpuInfo;
use mm::paging::{Level, Mapping};
use mm::sync::IrqLock;
use x86_64::registers::control::Cr4;

/// Bytes of the stack that a CPU runs on.
pub const MAIN_STACK_BYTES: u64 = 64 << 10;
/// Stacks that a CPU has for traps: double fault, NMI, machine check.
pub const TRAP_STACKS: usize = 3;
/// Bytes of each of them.
pub const TRAP_STACK_BYTES: u64 = 16 << 10;

const PAGE: u64 = 4096;
/// Where a CPU can begin: in RAM, so below the video memory, and not in the BIOS's own page.
const LOW: PhysRange = PhysRange::new(PhysAddr::new(PAGE), PhysAddr::new(640 << 10));
/// Where CR3 can point before 64-bit mode.
const BELOW_4_GIB: PhysRange = PhysRange::new(PhysAddr::new(PAGE), PhysAddr::new(4 << 30));
/// The tables that a CPU begins with: a root, and one of each level below it for the trampoline's page.
const TABLES: u64 = 4;
/// How long a CPU is given after INIT, and after STARTUP.
const AFTER_INIT: Duration = Duration::from_millis(10);
const AFTER_STARTUP: Duration = Duration::from_micros(200);

/// A CPU's stacks. Below each lies a page that is not mapped.
#[derive(Clone, Copy, Debug)]
pub struct Stacks {
    /// The top of the one it runs on, of [`MAIN_STACK_BYTES`].
    pub main: VirtAddr,
    /// The tops of those for double faults, NMIs and machine checks, of [`TRAP_STACK_BYTES`] each.
    pub traps: [VirtAddr; TRAP_STACKS],
}

/// What must be known of the firmware to start a CPU: nothing. The local APIC does it.
#[derive(Clone, Copy, Debug)]
pub struct StartFacts;

/// Why a CPU was not started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// No page below 640 KiB was kept for it ([`prepare_start`]).
    NoPage,
    /// It has no per-CPU area.
    NoArea,
    /// It was started before, or is the one that booted.
    Twice,
    /// A number as large as this no CPU has.
    HardwareId(u64),
    /// Its local APIC cannot be spoken to.
    Send(SendError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPage => f.write_str("there is no free page below 640 KiB in which it could begin"),
            Self::NoArea => f.write_str("it has no per-CPU area"),
            Self::Twice => f.write_str("it was started before"),
            Self::HardwareId(id) => write!(f, "{id:#x} is no APIC id"),
            Self::Send(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for StartError {}

/// What a CPU has to know when it starts. secondary.s reads it.
#[repr(C)]
struct StartRecord {
    /// The next record of the list.
    next: AtomicPtr<StartRecord>,
    stack: AtomicU64,
    percpu: AtomicU64,
    cr4: AtomicU64,
    /// The local APIC's number; [`NOBODY`] until the CPU is started.
    hardware_id: AtomicU32,
    cpu: AtomicU32,
    /// Tops of the trap stacks.
    traps: [AtomicU64; TRAP_STACKS],
}

/// The broadcast address, which is no CPU's.
const NOBODY: u32 = u32::MAX;

mm::percpu! {
    static RECORD: StartRecord = StartRecord {
        next: AtomicPtr::new(core::ptr::null_mut()),
        stack: AtomicU64::new(0),
        percpu: AtomicU64::new(0),
        cr4: AtomicU64::new(0),
        hardware_id: AtomicU32::new(NOBODY),
        cpu: AtomicU32::new(0),
        traps: [const { AtomicU64::new(0) }; TRAP_STACKS],
    };
}

/// The records of all CPUs that were ever started. secondary.s walks it.
#[cfg_attr(not(test), unsafe(no_mangle))]
static START_LIST: AtomicPtr<StartRecord> = AtomicPtr::new(core::ptr::null_mut());
/// The kernel's root table. secondary.s loads it.
#[cfg_attr(not(test), unsafe(no_mangle))]
static START_ROOT: AtomicU64 = AtomicU64::new(0);
/// What CPUs begin with. The lock is held while the list grows.
static BEGINNING: IrqLock<Beginning> = IrqLock::new(Beginning::Nowhere);

/// The page and the tables that CPUs begin with.
#[derive(Clone, Copy, Debug)]
enum Beginning {
    /// There is no page.
    Nowhere,
    /// They are kept, and nothing stands there.
    Kept { page: PhysAddr, tables: PhysAddr },
    /// A CPU can begin in the page of this number.
    Ready(u8),
}

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
    static trampoline_root: u8;
    static trampoline_to_32: u8;
    static trampoline_to_64: u8;
    static trampoline_gdt_address: u8;
}

/// Keeps a page below 640 KiB in which CPUs can begin, and pages below 4 GiB for the tables that they begin with. Without
/// them none can, which is no reason not to go on. Where the firmware's boot services hold all low memory, the page is
/// one of theirs: nothing is written there before they are given back.
///
/// # Errors
/// When there is no such memory.
pub fn prepare_start(memblock: &mut Memblock<Native>) -> Result<(), OutOfMemory> {
    let owner = Owner::new("trampoline");
    let page = Request { size: PAGE, align: PAGE, within: LOW, node: NodeWish::Any, owner };
    let tables = Request { size: TABLES * PAGE, within: BELOW_4_GIB, ..page };
    let page = memblock.alloc(page).or_else(|_| memblock.alloc_temporary(page))?.start();
    let tables = memblock.alloc(tables)?.start();
    *BEGINNING.lock(Native) = Beginning::Kept { page, tables };
    Ok(())
}

/// Starts `cpu`, on `stacks`, and does not wait for it: it comes to the kernel's `start_secondary`, with interrupts off.
/// Until it does, or for good if it never does, its stacks and its area are its own. Linux: `do_boot_cpu`.
///
/// # Errors
/// [`StartError`]: it cannot be started.
pub fn start(cpu: &CpuInfo, _: &StartFacts, stacks: &Stacks) -> Result<(), StartError> {
    let hardware_id = u32::try_from(cpu.hardware_id).ok().filter(|&id| id != NOBODY);
    let hardware_id = hardware_id.ok_or(StartError::HardwareId(cpu.hardware_id))?;
    irqchip::reaches(hardware_id).map_err(StartError::Send)?;
    let page = enlist(cpu.id, hardware_id, stacks)?;
    let send = |message| irqchip::send(hardware_id, message).map_err(StartError::Send);
    send(Message::Init)?;
    pass(AFTER_INIT);
    for _ in 0..2 {
        send(Message::Startup { page })?;
        pass(AFTER_STARTUP);
    }
    Ok(())
}

/// Makes everything ready that the CPU will read, and returns the number of the page in which it begins.
fn enlist(cpu: CpuId, hardware_id: u32, stacks: &Stacks) -> Result<u8, StartError> {
    let mut beginning = BEGINNING.lock(Native);
    let offset = area::offset_of_cpu(cpu).ok_or(StartError::NoArea)?;
    let record = RECORD.of(&Native, cpu).ok_or(StartError::NoArea)?;
    if cpu == CpuId::BOOT || record.hardware_id.load(Ordering::Relaxed) != NOBODY {
        return Err(StartError::Twice);
    }
    let page = match *beginning {
        Beginning::Nowhere => return Err(StartError::NoPage),
        Beginning::Ready(page) => page,
        Beginning::Kept { page, tables } => {
            let number = u8::try_from(page.as_u64() / PAGE).map_err(|_| StartError::NoPage)?;
            put_tables(page, tables);
            put_trampoline(page, tables);
            *beginning = Beginning::Ready(number);
            number
        }
    };
    mtrr::keep_boot_values();
    record.stack.store(stacks.main.as_u64(), Ordering::Relaxed);
    record.percpu.store(offset as u64, Ordering::Relaxed);
    record.cr4.store(Cr4::read_raw(), Ordering::Relaxed);
    record.cpu.store(cpu.as_u32(), Ordering::Relaxed);
    for (slot, top) in record.traps.iter().zip(stacks.traps) {
        slot.store(top.as_u64(), Ordering::Relaxed);
    }
    record.hardware_id.store(hardware_id, Ordering::Relaxed);
    record.next.store(START_LIST.load(Ordering::Relaxed), Ordering::Relaxed);
    START_ROOT.store(paging::live_root().as_u64(), Ordering::Relaxed);
    START_LIST.store(core::ptr::from_ref(record).cast_mut(), Ordering::Release);
    Ok(page)
}

/// Makes the tables that CPUs begin with, at `tables`, for a trampoline in `page`.
fn put_tables(page: PhysAddr, tables: PhysAddr) {
    let image = ROOT.index::<Native>(LAYOUT.image.start());
    // SAFETY: the live root is a table, in memory that the direct map maps, and the index is below 512.
    let kernels = unsafe { table_at(paging::live_root()).add(image).read_volatile() };
    for number in 0..TABLES {
        // SAFETY: `prepare_start` was given these pages, which are RAM in the direct map, and no CPU uses them yet.
        unsafe { table_at(nth_page(tables, number)).write_bytes(0, PAGE as usize / size_of::<u64>()) };
    }
    for (number, index, entry) in beginning_entries(page, tables, kernels) {
        // SAFETY: as above; each number is one of theirs, and each index is below 512.
        unsafe { table_at(nth_page(tables, number)).add(index).write_volatile(entry) };
    }
}

/// The level of the table that CR3 names.
const ROOT: Level = Level::new(3);

/// The entries of these tables: which table, its index, its value. The image is reached by `kernels`, the kernel's own
/// entry for it.
fn beginning_entries(page: PhysAddr, tables: PhysAddr, kernels: u64) -> [(u64, usize, u64); 5] {
    let [pud, pmd] = [Level::new(2), Level::new(1)];
    let index = |level: Level| level.index::<Native>(VirtAddr::new(page.as_u64()));
    let table = |number| Native.table(nth_page(tables, number));
    [
        (0, ROOT.index::<Native>(LAYOUT.image.start()), kernels),
        (0, index(ROOT), table(1)),
        (1, index(pud), table(2)),
        (2, index(pmd), table(3)),
        (3, index(Level::PAGE), Native.leaf(page, Level::PAGE, Mapping::TEXT)),
    ]
}

fn nth_page(start: PhysAddr, number: u64) -> PhysAddr {
    start.saturating_add(number * PAGE)
}

/// The entries of the table at `table`.
fn table_at(table: PhysAddr) -> *mut u64 {
    Native.phys_ptr(table).cast()
}

/// Copies the trampoline to `page`, and fills in its numbers: the root at `tables`, and where the page is.
fn put_trampoline(page: PhysAddr, tables: PhysAddr) {
    let (start, end) = (&raw const trampoline_start, &raw const trampoline_end);
    let (length, to) = (end.addr() - start.addr(), Native.phys_ptr(page));
    // SAFETY: `prepare_start` was given the page, which is RAM in the direct map, and the trampoline is shorter. It lies
    // in the image, between the two symbols. No CPU runs it yet.
    unsafe { to.copy_from_nonoverlapping(start, length) };
    // Both lie below 4 GiB.
    let (page, root) = (page.as_u64() as u32, tables.as_u64() as u32);
    let numbers = [
        (&raw const trampoline_root, root),
        (&raw const trampoline_to_32, page),
        (&raw const trampoline_to_64, page),
        (&raw const trampoline_gdt_address, page),
    ];
    for (symbol, value) in numbers {
        // SAFETY: the symbols are words between the two others, at multiples of 4, as the trampoline itself is.
        unsafe {
            let number = to.add(symbol.addr() - start.addr()).cast::<u32>();
            number.write_volatile(number.read_volatile().wrapping_add(value));
        }
    }
}

/// Lets time pass. CPUs that run already may want an answer meanwhile.
fn pass(time: Duration) {
    let until = timer::uptime().saturating_add(time);
    while timer::uptime() < until {
        Native.relax();
    }
}

/// Where secondary.s leads: interrupts off, on this CPU's main stack, in the kernel's tables, GS at its area, CR0, CR4
/// and EFER as on the boot CPU. A trap before the tables are loaded resets the machine.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, expect(dead_code, reason = "secondary.s calls it"))]
extern "C" fn arch_start_secondary(cpu: u32) -> ! {
    let pin = Native.pin();
    let tops = RECORD.get(&pin).traps.each_ref().map(|top| VirtAddr::new(top.load(Ordering::Relaxed)));
    traps::init_secondary(tops);
    set_memory_types();
    mtrr::match_boot_values(&mut mtrr::Hardware);
    enter_kernel(cpu)
}

#[cfg(not(test))]
fn enter_kernel(cpu: u32) -> ! {
    unsafe extern "C" {
        safe fn start_secondary(cpu: u32) -> !;
    }
    start_secondary(cpu)
}

#[cfg(test)]
fn enter_kernel(_: u32) -> ! {
    super::halt()
}

/// The pages below this CPU's stacks. Of the boot CPU, whose stacks are in the image, it says nothing.
pub(crate) fn stack_guards() -> impl Iterator<Item = VirtRange> {
    let pin = Native.pin();
    let record = RECORD.get(&pin);
    let main = (record.stack.load(Ordering::Relaxed), MAIN_STACK_BYTES);
    let traps = record.traps.each_ref().map(|top| (top.load(Ordering::Relaxed), TRAP_STACK_BYTES));
    [main].into_iter().chain(traps).filter_map(|(top, bytes)| guard_below(VirtAddr::new(top), bytes))
}

/// The page below the stack of `bytes` that ends at `top`.
fn guard_below(top: VirtAddr, bytes: u64) -> Option<VirtRange> {
    let bottom = top.as_u64().checked_sub(bytes)?;
    Some(VirtRange::new(VirtAddr::new(bottom.checked_sub(PAGE)?), VirtAddr::new(bottom)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    const SECONDARY: &str = include_str!("../secondary.s");

    /// The value that secondary.s gives the symbol.
    fn in_secondary(symbol: &str) -> usize {
        let start = format!(".set {symbol}, ");
        let line = SECONDARY.lines().find_map(|line| line.strip_prefix(start.as_str())).expect("secondary.s sets it");
        line.trim().parse().expect("a number")
    }

    #[test]
    fn secondary_s_reads_what_is_written() {
        assert_eq!(in_secondary("RECORD_NEXT"), offset_of!(StartRecord, next));
        assert_eq!(in_secondary("RECORD_STACK"), offset_of!(StartRecord, stack));
        assert_eq!(in_secondary("RECORD_PERCPU"), offset_of!(StartRecord, percpu));
        assert_eq!(in_secondary("RECORD_CR4"), offset_of!(StartRecord, cr4));
        assert_eq!(in_secondary("RECORD_HARDWARE_ID"), offset_of!(StartRecord, hardware_id));
        assert_eq!(in_secondary("RECORD_CPU"), offset_of!(StartRecord, cpu));
    }

    // By the manual's drawing: four levels, 9 bits each.
    #[test]
    fn a_cpu_begins_with_its_page_and_the_image_and_nothing_else() {
        let entries = beginning_entries(PhysAddr::new(0x9_e000), PhysAddr::new(0xbdfc_a000), 0x1_4567_8023);
        let expected = [
            (0, 511, 0x1_4567_8023),
            (0, 0, 0xbdfc_b023),
            (1, 0, 0xbdfc_c023),
            (2, 0, 0xbdfc_d023),
            // Executable, and not writable.
            (3, 0x9e, 0x9_e161),
        ];
        assert_eq!(entries, expected);
    }

    #[test]
    fn the_guard_is_the_page_below() {
        let guard = guard_below(VirtAddr::new(0xffff_c900_0002_1000), MAIN_STACK_BYTES);
        let expected = VirtRange::new(VirtAddr::new(0xffff_c900_0001_0000), VirtAddr::new(0xffff_c900_0001_1000));
        assert_eq!(guard, Some(expected));
        // The boot CPU has no record.
        assert_eq!(guard_below(VirtAddr::new(0), MAIN_STACK_BYTES), None);
    }

    #[test]
    fn a_page_below_640_kib_fits_a_startup_message() {
        assert_eq!(u8::try_from((LOW.end().as_u64() - 1) / PAGE), Ok(0x9f));
        assert_eq!(LOW.start().as_u64() / PAGE, 1);
    }
}
