//! The order of bring-up, from the boot loader's registers to the prompt. Read it top to bottom.
//!
//! Each stage takes the one before by value and returns the next, so nothing can be done too early or too late: there
//! is no memblock left to allocate from once the page allocator has taken over. What a stage prints is Linux's text,
//! in Linux's order. Linux: `start_kernel`, `setup_arch`, `mm_init`.

use crate::cpus::{self, Interrupts};
use crate::describe::{self, Description};
use crate::log::{self, BootText, warning};
use crate::monitor::Monitor;
use crate::plug::{self, Takers};
use crate::report::stop;
use crate::selftest::{self, Verdict};
use crate::system::{MM, Mm, PERCPU, Pages, System};
use crate::tables;
use ::log::{info, warn};
use arch::paging::EarlyMap;
use arch::{LAYOUT, Native, discover, timer, traps};
use core::fmt::{Display, Write};
use mm::arch::PhysMap as _;
use mm::memblock::Memblock;
use mm::zone::LowZones;
use platform::bring_up;
use platform::handover::BootInfo;
use platform::options::Options;
use platform::plan::{Listener, Plan};

/// Entered by `arch::entry` on the boot CPU, with interrupts off, on the boot stack, `.bss` cleared, in tables that
/// map the image and the fixmap. `handover` is what the boot loader left in its register.
#[unsafe(no_mangle)]
extern "C" fn start_kernel(handover: u64) -> ! {
    log::init();
    traps::init();
    timer::init();

    // What the boot loader says, and somebody to tell it to.
    let mut early = EarlyMap::new();
    let boot = match discover::boot_info(handover, &mut early) {
        Ok(boot) => boot,
        Err(error) => stop(format_args!("{error}")),
    };
    let reject = &mut |item: &str, why| warn!("command line: {item}: {why}");
    log::ensure_console(discover::consoles(&boot, reject));
    parse_levels(&boot);
    info!("Tessera {} on {}", env!("CARGO_PKG_VERSION"), arch::NAME);
    info!("Boot: {}", boot.protocol);
    info!("Command line: {}", boot.cmdline.as_str());
    name_unknown(&boot);

    if discover::print_map(&boot, &mut early, &mut BootText::default()).is_err() {
        warn!("the firmware's memory map could not be printed as a whole");
    }

    // What the firmware says of memory: every table once to count, once to fill.
    let Description { machine, window } = describe::read(&boot, &mut early);
    let mut memblock = Memblock::new(Native);
    // SAFETY: the window is RAM that meets no reservation, and it is mapped in the direct map for good.
    unsafe { memblock.set_mapped(window) };
    let options = Options::read(&boot.cmdline, &mut |item, why| warn!("command line: {item}: {why}"));
    memblock.set_listener(log::memblock_event, options.memblock.tell());
    let plan = Plan {
        rules: discover::RULES,
        low_zones: LowZones::all(),
        machine: &machine,
        options: &options,
        reach: describe::reach(),
    };
    let listener = &mut Listener { text: &mut BootText::default(), warn: &mut warning };
    let pools = or_stop(bring_up::memory(&plan, &mut memblock, listener));
    let mut nodes = or_stop(bring_up::nodes(&plan, memblock, listener));

    // Data of each node, and what the command line wants kept: where Linux has it, so before any table of ours.
    or_stop(bring_up::node_data(&mut nodes, Pages::NODE_DATA_BYTES, listener));
    let mut reserved = or_stop(bring_up::reserve(&plan, pools, &mut nodes, listener));

    if nodes.cpus().len() > 1
        && let Err(error) = arch::cpu::prepare_start(nodes.memblock_mut())
    {
        warn!("smp: nowhere for other CPUs to begin: {error}");
    }

    // Final tables: all RAM in the direct map, the image with W^X, the fixmap.
    let mut tables = tables::build(nodes.memblock_mut());

    // Zones, the variables of each CPU on its node, the order of zones, and large pages.
    let mut zones = or_stop(bring_up::zones(&plan, nodes, listener));
    let template = arch::cpu::percpu_template();
    let mut percpu = or_stop(bring_up::percpu(&mut zones, template.size(), listener));
    // SAFETY: `tables::build` has mapped all memory; the template lies in the image's data, and this CPU, with
    // interrupts off, is the only one.
    unsafe { percpu.fill(Native.virt_ptr(template.start())) };
    let percpu = PERCPU.call_once(|| percpu);
    // SAFETY: the copies have just been made, in memory that stays reserved, and nothing that is linked in the template
    // is in use yet.
    unsafe { arch::cpu::set_percpu(percpu.offsets()) };
    or_stop(bring_up::zonelists(&plan, &mut zones, LAYOUT.struct_page_bytes, listener));
    or_stop(bring_up::huge_pages(&plan, &mut reserved, &mut zones, LAYOUT.struct_page_bytes, listener));

    // Memory in slots, which no map names.
    let slots = boot.memory_slots(&mut early, &mut warning);
    let mut resources = or_stop(describe::resources(&machine, slots, &mut zones));
    if let Some(slots) = slots {
        let takers = &mut Takers { zones: &mut zones, tables: &mut tables, resources: &mut resources };
        // SAFETY: `tables::build` has activated these tables.
        unsafe { plug::memory(&slots, &plan, takers) };
    }

    // Memory map, page allocator, slab: memblock ends here.
    // SAFETY: `tables::build` has activated these tables, and only the fixmap changes besides, which has its own.
    let mm = or_stop(unsafe { Mm::new(zones, tables, &LAYOUT) });
    let mm = MM.call_once(|| mm);
    describe::memory_line(mm, &reserved);

    // Interrupts, and all CPUs.
    cpus::prepare(mm);
    let interrupts = cpus::interrupts(mm, &boot, &mut early);
    cpus::bring_up(mm, &discover::start_facts(&boot, &mut early), interrupts);
    if interrupts == Interrupts::Ready {
        arch::cpu::interrupts_enable();
    }

    ready(System { boot, machine, reserved, resources, percpu, mm })
}

/// Bring-up is done: tests when they are asked for, commands when they are given, the prompt.
fn ready(system: System) -> ! {
    let uptime = timer::uptime();
    info!("Ready {}.{:06} s after entry ({} timer ticks)", uptime.as_secs(), uptime.subsec_micros(), timer::ticks());
    let mut monitor = Monitor::new(&system);
    if system.boot.cmdline.has("selftest") && selftest::run(&system) == Verdict::Failed {
        monitor.note_failure();
    }
    if let Some(script) = system.boot.cmdline.get("exec") {
        monitor.execute(script);
    }
    monitor.prompt()
}

/// The value, or the end with a sentence.
fn or_stop<T, E: Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => stop(format_args!("{error}")),
    }
}

/// Says once what of the command line means nothing here.
fn name_unknown(boot: &BootInfo) {
    if boot.cmdline.unknown().next().is_none() {
        return;
    }
    let mut text = BootText::default();
    // The log takes everything.
    let _ = text.write_str("Unknown kernel command line parameters \"");
    for (number, item) in boot.cmdline.unknown().enumerate() {
        let _ = write!(text, "{}{item}", if number == 0 { "" } else { " " });
    }
    let _ = text.write_str("\": they mean nothing here.\n");
}

fn parse_levels(boot: &BootInfo) {
    if let Some(level) = boot.cmdline.get("loglevel") {
        match level.parse() {
            Ok(level) => log::set_console_level(level),
            Err(_) => warn!("command line: loglevel={level} is no number; 7 is used"),
        }
    }
}
