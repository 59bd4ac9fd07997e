//! The order of bring-up, from the boot loader's registers to the prompt. Read it top to bottom.
//!
//! Each stage takes the one before by value and returns the next, so nothing can be done too early or too late: there
//! is no memblock left to allocate from once the page allocator has taken over. What a stage prints is Linux's text,
//! in Linux's order. Linux: `start_kernel`, `setup_arch`, `mm_init`.

use crate::describe::{self, Description};
use crate::log::{self, BootText, warning};
use crate::monitor::Monitor;
use crate::report::stop;
use crate::selftest::{self, Verdict};
use crate::system::{MM, System};
use crate::tables;
use ::log::{info, warn};
use arch::paging::EarlyMap;
use arch::{LAYOUT, Native, discover, timer, traps};
use core::fmt::Display;
use mm::Mm;
use mm::memblock::Memblock;
use mm::numa::Nodes;
use mm::page_alloc::PageAllocator;
use mm::view::boot as text;
use mm::zone::Zones;
use platform::handover::BootInfo;

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
    info!("Command line: {}", boot.cmdline.as_str());

    if discover::print_map(&boot, &mut early, &mut BootText::default()).is_err() {
        warn!("the firmware's memory map could not be printed as a whole");
    }

    // What the firmware says of memory: every table once to count, once to fill.
    let Description { machine, window } = describe::read(&boot, &mut early);
    let mut memblock = Memblock::new(Native);
    // SAFETY: the window is RAM that meets no reservation, and it is mapped in the direct map for good.
    unsafe { memblock.set_mapped(window) };
    or_stop("memblock", memblock.populate(&machine, &mut warning));
    or_stop("memblock", memblock.limit(describe::reach(), &machine, &mut warning));
    let ram = describe::ram(&memblock);
    let nodes = Nodes::assign(memblock, &machine, discover::AFFINITY_RULES, &mut BootText::default(), &mut warning);
    let mut nodes = or_stop("nodes", nodes);

    // Final tables: all RAM in the direct map, the image with W^X, the fixmap.
    let tables = tables::build(nodes.memblock_mut());

    // Nodes and zones.
    or_stop("node data", nodes.place_data(PageAllocator::<Native>::NODE_DATA_BYTES, &mut BootText::default()));
    let mut zones = or_stop("zones", Zones::lay_out(nodes, discover::zone_limits(ram)));
    or_stop("boot text", text::zone_layout(&zones, &mut BootText::default()));
    or_stop("zonelists", zones.build_zonelists());
    or_stop("boot text", zonelist_text(&zones, &boot));
    let resources = or_stop("resources", describe::resources(&machine, &mut zones));

    // Memory map, page allocator, slab: memblock ends here.
    // SAFETY: `tables::build` has activated these tables, and only the fixmap changes besides, which has its own.
    let mm = or_stop("memory", unsafe { Mm::new(zones, tables, &LAYOUT) });
    let mm = MM.call_once(|| mm);
    describe::memory_line(mm);

    ready(System { boot, machine, resources, mm })
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

/// The value, or the end with a sentence that names the stage.
fn or_stop<T, E: Display>(stage: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => stop(format_args!("{stage}: {error}")),
    }
}

/// Orders and lists; the lists themselves only when `mminit_loglevel=` asks for them, as in Linux.
fn zonelist_text(zones: &Zones<Native>, boot: &BootInfo<'_>) -> core::fmt::Result {
    let text = &mut BootText::default();
    text::fallback_orders(zones, text)?;
    if boot.cmdline.get("mminit_loglevel").and_then(|level| level.parse::<u32>().ok()).is_some_and(|level| level >= 4) {
        text::zonelist_entries(zones, text)?;
    }
    // The page allocator has no page blocks yet.
    text::built(zones, LAYOUT.struct_page_bytes, text::Mobility::Off, text)
}

fn parse_levels(boot: &BootInfo) {
    if let Some(level) = boot.cmdline.get("loglevel") {
        match level.parse() {
            Ok(level) => log::set_console_level(level),
            Err(_) => warn!("command line: loglevel={level} is no number; 7 is used"),
        }
    }
}
