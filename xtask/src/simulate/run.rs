//! Bring-up on the host: the stages of `platform::bring_up` over a machine of which only the early window is there.
//!
//! What the stages keep (region arrays, tables of nodes and zones) lies in memory of the simulated machine, in one
//! window that is found as the kernel finds its own. Only that window has host memory behind it, zeroed lazily; all
//! other RAM is numbers. So a machine of 12 TiB costs what its tables cost. A kernel maps all RAM before it lays out
//! zones; here everything must fit into the window, which therefore grows with the square of the nodes.

use anyhow::{Context as _, Result, bail};
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{
    Count, Fill, MachineMemory, MachineSink, Owner, Purpose, Reservation, Rules, Source, Table, carve, find_window,
};
use mm::memblock::Memblock;
use mm::numa::Fake;
use mm::page_alloc::PageAllocator;
use mm::zone::Zones;
use mm_testkit::{Emulated, Machine};
use platform::Cmdline;
use platform::bring_up;
use platform::options::Options;
use platform::plan::{Listener, Plan};

use super::described::Described;
use super::facts::describe;
use super::subject::{PageSize, Subject};
use super::tables::Tables;

/// What the window is aligned to, and the least that it has beside the description.
const WINDOW_ALIGN: u64 = 64 << 10;
/// Bytes of the window beside what grows with the machine.
const SLACK: u64 = 1 << 20;
/// Bytes of distances, orders and zonelists for a pair of nodes.
const PAIR_BYTES: u64 = 32;
/// Nodes that there can be.
const MAX_NODES: u64 = mm::addr::NodeId::MAX_COUNT as u64;

/// Somebody who looks at a machine that has come up.
pub(super) trait Visitor {
    /// Looks at it.
    fn visit<const SHIFT: u32>(&mut self, machine: &MachineMemory<'_>, zones: &Zones<Emulated<'_, SHIFT>>);
}

/// What a boot says.
#[derive(Default, Debug)]
pub(super) struct Log {
    /// Its lines.
    pub(super) text: Stamped,
    /// What was dropped or changed, a sentence each.
    pub(super) warnings: Vec<String>,
    /// What the file says, in numbers.
    pub(super) described: Described,
}

/// Lines behind time stamps, as a boot prints them: what reads a boot's log reads this too. No time passes here.
#[derive(Default, Debug)]
pub(super) struct Stamped {
    pub(super) text: String,
}

impl std::fmt::Write for Stamped {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for line in text.split_inclusive('\n') {
            if self.text.is_empty() || self.text.ends_with('\n') {
                self.text.push_str("[    0.000000] ");
            }
            self.text.push_str(line);
        }
        Ok(())
    }
}

/// Brings the machine up to zonelists, logs it to `log`, and shows the result to `visitor`.
///
/// # Errors
/// The machine has no memory to keep its own description in.
pub(super) fn run(subject: &Subject, tables: &Tables<'_>, log: &mut Log, visitor: &mut impl Visitor) -> Result<()> {
    match subject.page_size {
        PageSize::K4 => with_pages::<12>(subject, tables, log, visitor),
        PageSize::K16 => with_pages::<14>(subject, tables, log, visitor),
        PageSize::K64 => with_pages::<16>(subject, tables, log, visitor),
    }
}

/// What a kernel of these rules addresses: 64 TiB with four levels of x86 tables, 48 bits on arm64.
fn reach(rules: Rules) -> PhysRange {
    let bits = match rules {
        Rules::X86 => 46,
        Rules::Arm64 => 48,
    };
    PhysRange::new(PhysAddr::new(0), PhysAddr::new(1 << bits))
}

fn with_pages<const SHIFT: u32>(
    subject: &Subject,
    tables: &Tables<'_>,
    log: &mut Log,
    visitor: &mut impl Visitor,
) -> Result<()> {
    let Log { text, warnings, described } = log;
    described.note(tables);
    describe(subject, tables, described);
    if described.usable_banks == 0 {
        bail!("no usable memory: the file names none (in most device trees the boot loader fills it in)");
    }
    tables.print(text).context("the firmware's map cannot be printed")?;
    let mut count = Count::default();
    describe(subject, tables, &mut count);
    // One more: the storage itself is a reservation.
    count.reservations += 1;
    let reach = reach(subject.rules);
    let (storage, window) = place(&count, SHIFT, reach, subject, tables)?;

    let host = Machine::<SHIFT>::builder().ram(window.start().as_u64(), window.size(), 0).finish();
    // SAFETY: the storage is page-aligned RAM at the start of the window, the host's machine lives as long as the
    // description, and the reservation below keeps everybody else out of it.
    let Some(mut machine) = (unsafe { carve(host.handle(), storage, count) }) else {
        bail!("the description does not fit into the {} KiB counted for it", storage.size() >> 10);
    };
    let mut fill =
        Fill { machine: &mut machine, warn: |warning: mm::machine::Warning| warnings.push(warning.to_string()) };
    let (owner, source) = (Owner::new("machine description"), Source::whole(Table::Kernel));
    fill.reservation(Reservation { range: storage, owner, purpose: Purpose::Held, source });
    describe(subject, tables, &mut fill);

    let options =
        Options::read(&tables.cmdline, &mut |item, why| warnings.push(format!("command line: {item}: {why}")));
    let Subject { rules, low_zones, .. } = *subject;
    let plan = Plan { rules, low_zones, machine: &machine, options: &options, reach };
    let mut memblock = Memblock::new(host.handle());
    // SAFETY: all of the window is RAM of the host's machine, for as long as memblock lives; the storage at its start
    // is reserved before anything is handed out.
    unsafe { memblock.set_mapped(window) };
    let listener =
        &mut Listener { text, warn: &mut |warning: mm::machine::Warning| warnings.push(warning.to_string()) };
    let pools = bring_up::memory(&plan, &mut memblock, listener)?;
    let mut nodes = bring_up::nodes(&plan, memblock, listener)?;
    bring_up::node_data(&mut nodes, PageAllocator::<Emulated<'_, SHIFT>>::NODE_DATA_BYTES, listener)?;
    let mut reserved = bring_up::reserve(&plan, pools, &mut nodes, listener)?;
    let struct_page_bytes = Emulated::<SHIFT>::LAYOUT.struct_page_bytes;
    let mut zones = bring_up::zones(&plan, nodes, listener)?;
    // What a kernel links for each CPU is its own affair: none of it here.
    bring_up::percpu(&mut zones, 0, listener)?;
    bring_up::zonelists(&plan, &mut zones, struct_page_bytes, listener)?;
    bring_up::huge_pages(&plan, &mut reserved, &mut zones, struct_page_bytes, listener)?;
    visitor.visit(&machine, &zones);
    Ok(())
}

/// How many nodes the command line may make of so many.
fn emulated(cmdline: &Cmdline, named: u64) -> u64 {
    match Options::read(cmdline, &mut |_, _| {}).numa.fake {
        Some(Fake::Count(count)) => count.into(),
        Some(Fake::PerNode(count)) => named.max(1).saturating_mul(count.into()),
        // That depends on memory, which nobody has added up yet.
        Some(Fake::Size(_)) => MAX_NODES,
        None => 0,
    }
}

/// The description's storage, and the window that begins with it: the lowest free range that is large enough.
fn place(
    count: &Count,
    page_shift: u32,
    reach: PhysRange,
    subject: &Subject,
    tables: &Tables<'_>,
) -> Result<(PhysRange, PhysRange)> {
    let storage = count.storage_bytes().next_multiple_of(1 << page_shift);
    let named = (count.affinities + count.cpus + count.cpu_affinities) as u64;
    let nodes = named.max(emulated(&tables.cmdline, named)).clamp(1, MAX_NODES);
    let wanted = storage + count.working_bytes() + SLACK + PAIR_BYTES * nodes * nodes;
    let mut size = wanted.next_multiple_of(WINDOW_ALIGN);
    // The least machines have not that much in one piece: half of it, and so on, until it cannot be enough.
    let window = loop {
        if let Some(window) = find_window(size, WINDOW_ALIGN, reach, |sink| describe(subject, tables, sink)) {
            break window;
        }
        let smaller = (size / 2).next_multiple_of(WINDOW_ALIGN);
        if smaller == size || smaller <= storage {
            bail!("no usable memory: nothing names a free range of {} KiB", size >> 10);
        }
        size = smaller;
    };
    Ok((PhysRange::new(window.start(), window.start().saturating_add(storage)), window))
}
