//! Which memory in slots may join: held against the map, the command line and the size of memory blocks.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use mm::addr::{NodeId, PhysAddr, PhysRange};
use mm::machine::{
    Affinity, Bank, MemoryKind, Owner, Persistence, Plug, Purpose, RegionFlags, Reservation, Rules, Source, Table,
};
use mm::zone::{LowZones, MovableNode, Placement};
use mm_testkit::Told;
use platform::Cmdline;
use platform::options::Options;
use platform::plan::Plan;
use platform::plug::{Admission, Intake};
use platform::slots::MemoryDevice;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const REACH: PhysRange = PhysRange::new(PhysAddr::new(0), PhysAddr::new(1 << 46));

fn range(start: u64, size: u64) -> PhysRange {
    PhysRange::from_size(PhysAddr::new(start), size).unwrap()
}

/// A PC with 2 GiB on node 0 and `high` bytes at 4 GiB on node 1, something that the firmware keeps at 1 TiB, a table
/// at 12 GiB that no bank names, and a window of domain 5 for what may be plugged in at 32 GiB.
fn pc(high: u64) -> Told {
    let mut told = Told::default();
    let banks = [
        (range(MIB, 2 * GIB - MIB), MemoryKind::Usable),
        (range(4 * GIB, high), MemoryKind::Usable),
        (range(1 << 40, 12 * GIB), MemoryKind::Reserved),
    ];
    for (entry, (range, kind)) in (0..).zip(banks) {
        let source = Source::entry(Table::E820, entry);
        told.description.banks.push(Bank { range, kind, flags: RegionFlags::empty(), source });
    }
    let source = Source::whole(Table::Acpi);
    let held = Reservation { range: range(12 * GIB, 100), owner: Owner::new("table"), purpose: Purpose::Held, source };
    told.description.reservations.push(held);
    let windows = [
        (range(0, 2 * GIB), 0, Plug::Fixed),
        (range(4 * GIB, high), 3, Plug::Fixed),
        (range(32 * GIB, 32 * GIB), 5, Plug::HotPluggable),
    ];
    for (entry, (range, domain, plug)) in (0..).zip(windows) {
        told.description.affinities.push(Affinity {
            range,
            domain,
            plug,
            persistence: Persistence::default(),
            source: Source::entry(Table::Srat, entry),
        });
    }
    told
}

/// What is said of the devices (start, size, domain), with this command line.
fn asked<const N: usize>(
    mut told: Told,
    rules: Rules,
    line: &str,
    devices: [(u64, u64, u32); N],
) -> [Result<Admission, String>; N] {
    let options = Options::read(&Cmdline::new(line), &mut |item, why| panic!("{item}: {why}"));
    let mut again = told.description.clone();
    let machine = again.lend();
    let plan = Plan { rules, low_zones: LowZones::all(), machine: &machine, options: &options, reach: REACH };
    let answers = told.bring_up(rules, &options, |zones| {
        let intake = Intake::new(&plan, zones);
        devices.map(|(start, size, domain)| {
            let device = MemoryDevice { slot: 9, range: range(start, size), domain };
            intake.admit(zones, &device).map_err(|warning| warning.to_string())
        })
    });
    answers.unwrap()
}

fn one(line: &str, device: (u64, u64, u32)) -> Result<Admission, String> {
    let [answer] = asked(pc(2 * GIB), Rules::X86, line, [device]);
    answer
}

fn node(line: &str, device: (u64, u64, u32)) -> u16 {
    one(line, device).unwrap().node.as_u16()
}

#[test]
fn the_command_line_says_what_becomes_of_it() {
    let device = (32 * GIB, GIB, 5);
    let placement = |line| one(line, device).unwrap().placement;
    assert_eq!(placement(""), None);
    assert_eq!(placement("memhp_default_state=offline"), None);
    assert_eq!(placement("memhp_default_state=online"), Some(Placement::Default(MovableNode::Ignore)));
    assert_eq!(placement("memhp_default_state=online movable_node"), Some(Placement::Default(MovableNode::Honour)));
    assert_eq!(placement("memhp_default_state=online_kernel"), Some(Placement::Kernel));
    assert_eq!(placement("memhp_default_state=online_movable"), Some(Placement::Movable));
    let admission = Admission { node: NodeId::new(2), placement: None, block_bytes: 128 * MIB };
    assert_eq!(one("", device), Ok(admission));
}

#[test]
fn its_node_is_that_of_its_domain_or_of_its_window_or_the_lowest() {
    // Domains 0, 3 and 5 are nodes 0, 1 and 2; of 7 nobody has heard.
    assert_eq!([0, 3, 5].map(|domain| node("", (32 * GIB, GIB, domain))), [0, 1, 2]);
    assert_eq!(node("", (32 * GIB, GIB, 7)), 2);
    assert_eq!(node("", (100 * GIB, GIB, 7)), 0);
    assert_eq!(node("numa=off", (32 * GIB, GIB, 5)), 0);
}

#[test]
fn what_the_map_names_is_no_new_memory() {
    let refused = |start, size| one("", (start, size, 0)).unwrap_err();
    let map = "memory slot entry 9: the memory map names a part of it; entry dropped";
    assert_eq!(refused(GIB, GIB), map);
    assert_eq!(refused(3 * GIB, 2 * GIB), map);
    assert_eq!(refused((1 << 40) + GIB, GIB), map);
    let table = refused(12 * GIB, GIB);
    assert_eq!(table, format!("memory slot entry 9: {} overlaps an earlier entry", range(12 * GIB, 100)));
    let far = refused((1 << 46) - GIB, 2 * GIB);
    let place = range((1 << 46) - GIB, 2 * GIB);
    assert_eq!(far, format!("memory slot entry 9: {place} is out of the kernel's reach; not used"));
}

#[test]
fn it_comes_in_whole_blocks() {
    let odd = "memory slot entry 9: it does not start and end on memory blocks; entry dropped";
    assert_eq!(one("", (7 * GIB, 192 * MIB, 0)).unwrap_err(), odd);
    assert_eq!(one("", (7 * GIB + 64 * MIB, 128 * MIB, 0)).unwrap_err(), odd);
    assert!(one("", (7 * GIB + 128 * MIB, 128 * MIB, 0)).is_ok());
    // With 64 GiB memory ends at 66 GiB, so blocks are of 2 GiB; arm64 stays with sections.
    let devices = [(100 * GIB, GIB, 0), (100 * GIB, 2 * GIB, 0)];
    let [small, large] = asked(pc(62 * GIB), Rules::X86, "", devices);
    assert_eq!(small.unwrap_err(), odd);
    assert_eq!(large.unwrap().block_bytes, 2 * GIB);
    let [small, _] = asked(pc(62 * GIB), Rules::Arm64, "", devices);
    assert_eq!(small.unwrap().block_bytes, 128 * MIB);
}

#[test]
fn where_memory_ends_by_command_line_nothing_is_added_above() {
    let above = "memory slot entry 9: mem= ends memory below; entry dropped";
    assert_eq!(one("mem=33G", (33 * GIB, GIB, 5)).unwrap_err(), above);
    assert_eq!(one("mem=33G", (32 * GIB + 512 * MIB, GIB, 5)).unwrap_err(), above);
    assert!(one("mem=33G", (32 * GIB, GIB, 5)).is_ok());
    // On arm64 it is a number of bytes, and only of what is there at boot.
    let [added] = asked(pc(2 * GIB), Rules::Arm64, "mem=1G", [(32 * GIB, GIB, 5)]);
    assert!(added.is_ok());
}
