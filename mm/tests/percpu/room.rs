//! Machines where not everything goes as it should; and the text of rare shapes.

use crate::machines::{Plan, held};
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Owner, Rules};
use mm::memblock::OutOfMemory;
use mm::percpu::{FirstChunk, PerCpuError, text};
use mm::view;
use mm_testkit::Machine;

fn printed(plan: &Plan, static_bytes: u64) -> String {
    let machine: Machine<12> = plan.machine();
    let mut nodes = plan.nodes(&machine);
    let chunk = FirstChunk::allocate(&mut nodes, static_bytes).unwrap();
    let mut printed = String::new();
    text::write(&chunk, 4096, &mut printed).unwrap();
    printed
}

fn one_node(rules: Rules, mib: u64, cpus: usize) -> Plan {
    Plan { rules, ram: vec![(16, mib, 0)], cpus: vec![0; cpus] }
}

/// Linux's widths: two digits from ten on, of CPUs and of groups each by itself.
#[test]
fn numbers_have_the_width_of_their_count() {
    assert_eq!(
        printed(&one_node(Rules::Arm64, 64, 10), 0),
        "percpu: Embedded 9 pages/cpu s0 r8192 d28672 u36864\n\
         pcpu-alloc: s0 r8192 d28672 u36864 alloc=9*4096\n\
         pcpu-alloc: [0] 00 [0] 01 [0] 02 [0] 03 [0] 04 [0] 05 [0] 06 [0] 07 \n\
         pcpu-alloc: [0] 08 [0] 09 \n"
    );
    assert_eq!(
        printed(&one_node(Rules::X86, 64, 16), 64),
        "percpu: Embedded 10 pages/cpu s64 r8192 d32704 u262144\n\
         pcpu-alloc: s64 r8192 d32704 u262144 alloc=1*2097152\n\
         pcpu-alloc: [0] 00 01 02 03 04 05 06 07 [0] 08 09 10 11 12 13 14 15 \n"
    );
    let ram = (0..10).map(|node| (16 + 32 * u64::from(node), 16, node)).collect();
    assert!(printed(&Plan { rules: Rules::X86, ram, cpus: (0..10).collect() }, 0).ends_with(
        "pcpu-alloc: [00] 00 [01] 01 [02] 02 [03] 03 \npcpu-alloc: [04] 04 [05] 05 [06] 06 [07] 07 \n\
         pcpu-alloc: [08] 08 [09] 09 \n"
    ));
}

#[test]
fn units_of_no_cpu_are_dashes_and_go_back() {
    // Three CPUs on each of two nodes: four units an allocation leave two unused, as many as may be.
    let plan = Plan { rules: Rules::X86, ram: vec![(16, 64, 0), (128, 64, 1)], cpus: vec![0, 1, 0, 1, 0, 1] };
    assert!(printed(&plan, 0).ends_with("pcpu-alloc: [0] 0 2 4 - [1] 1 3 5 - \n"));
    // With ten CPUs a unit of nobody is two dashes.
    let plan = Plan { cpus: vec![0, 1, 0, 1, 0, 1, 0, 1, 0, 0], ..plan };
    assert!(printed(&plan, 0).contains("[1] 01 03 05 07"), "{}", printed(&plan, 0));
    let plan = one_node(Rules::X86, 64, 14);
    assert!(printed(&plan, 0).ends_with("[0] 08 09 10 11 12 13 -- -- \n"), "{}", printed(&plan, 0));
}

/// No 2 MiB are free in one piece: single pages serve.
#[test]
fn pages_serve_where_there_is_no_room_for_large_leaves() {
    let plan = one_node(Rules::X86, 8, 4);
    let machine: Machine<12> = plan.machine();
    let mut nodes = plan.nodes(&machine);
    for mib in 16..24 {
        let page = PhysRange::from_size(PhysAddr::new((mib << 20) + 0x8_0000), 0x1000).unwrap();
        nodes.memblock_mut().reserve(page, Owner::new("test")).unwrap();
    }
    let chunk = FirstChunk::allocate(&mut nodes, 64).unwrap();
    let layout = chunk.layout();
    assert_eq!((layout.atom_bytes, layout.unit_bytes, layout.units_per_allocation), (0x1000, 0xa000, 1));
    assert_eq!((chunk.areas().len(), held(&nodes, "per-CPU areas")), (4, 4 * 0xa000));
}

/// On x86 areas lie below 16 MiB only where nothing else is left.
#[test]
fn low_memory_is_the_last_choice() {
    let plan = Plan { rules: Rules::X86, ram: vec![(1, 23, 0)], cpus: vec![0] };
    let machine: Machine<12> = plan.machine();
    let mut nodes = plan.nodes(&machine);
    let high = PhysRange::from_size(PhysAddr::new(16 << 20), 8 << 20).unwrap();
    let first = FirstChunk::allocate(&mut nodes, 64).unwrap();
    assert!(high.contains_range(first.areas()[0].range));
    nodes.memblock_mut().reserve(high, Owner::new("test")).unwrap();
    let second = FirstChunk::allocate(&mut nodes, 64).unwrap();
    assert!(second.areas()[0].range.end() <= high.start());
}

/// A table that names more CPUs than there is memory for costs their areas, not the boot.
#[test]
fn the_boot_cpu_goes_before_all_others() {
    let plan = one_node(Rules::Arm64, 1, 200);
    let machine: Machine<12> = plan.machine();
    let mut nodes = plan.nodes(&machine);
    let before = nodes.memblock().reserved_size();
    let chunk = FirstChunk::allocate(&mut nodes, 64).unwrap();
    assert_eq!((chunk.areas().len(), held(&nodes, "per-CPU areas")), (1, 0xa000));
    let tables = held(&nodes, "per-CPU tables");
    assert_eq!(nodes.memblock().reserved_size(), before + 0xa000 + tables, "what was tried is given back");
}

#[test]
fn no_room_at_all_is_an_error_and_changes_nothing() {
    let plan = one_node(Rules::X86, 4, 2);
    let machine: Machine<12> = plan.machine();
    let mut nodes = plan.nodes(&machine);
    let before = nodes.memblock().reserved_size();
    for static_bytes in [4 << 20, 1 << 40, 1 << 60] {
        let error = FirstChunk::allocate(&mut nodes, static_bytes).unwrap_err();
        assert!(matches!(error, PerCpuError::Memory(OutOfMemory::NoRange { .. })), "{static_bytes:#x}: {error}");
        assert_eq!(nodes.memblock().reserved_size(), before);
    }
    let error = FirstChunk::allocate(&mut nodes, u64::MAX - 5).unwrap_err();
    assert_eq!(error, PerCpuError::TooLarge { static_bytes: u64::MAX - 5, cpus: 2 });
    assert_eq!(error.to_string(), "areas of 2 CPUs for 18446744073709551610 bytes each are more than there can be");
    assert_eq!(nodes.memblock().reserved_size(), before);
}

#[test]
fn without_a_named_cpu_there_is_one() {
    let plan = Plan { rules: Rules::X86, ram: vec![(16, 64, 0)], cpus: vec![0] };
    let machine: Machine<12> = plan.machine();
    let mut facts = machine.describe();
    facts.cpus.clear();
    let facts = facts.lend();
    let mut memblock = mm::memblock::Memblock::new(machine.handle());
    memblock.populate(&facts, &mut |_| {}).unwrap();
    // SAFETY: all RAM of the emulated machine is in reach, and nobody else uses it.
    unsafe { memblock.set_mapped(PhysRange::ALL) };
    let policy = mm::numa::NumaPolicy::firmware(Rules::X86);
    let mut nodes = mm::numa::Nodes::assign(memblock, &facts, policy, &mut String::new(), &mut |_| {}).unwrap();
    let chunk = FirstChunk::allocate(&mut nodes, 0).unwrap();
    assert_eq!((chunk.areas().len(), chunk.groups().len(), chunk.groups()[0].units), (1, 1, 1));
}

#[test]
fn the_view_tells_where_each_cpus_variables_are() {
    let plan = Plan { rules: Rules::X86, ram: vec![(16, 16, 0), (64, 16, 1)], cpus: vec![1, 0, 1] };
    let machine: Machine<12> = plan.machine();
    let mut nodes = plan.nodes(&machine);
    let mut chunk = FirstChunk::allocate(&mut nodes, 64).unwrap();
    let mut shown = String::new();
    view::percpu(&mut shown, &chunk, &nodes).unwrap();
    let expected = "static 64, reserved 8192, dynamic 32704, unit 1048576 bytes\n\
         allocations of 2097152 bytes with room for 2 units\n\
         group 0: node 1, 2 CPUs, 2 units, [mem 0x0000000004c00000-0x0000000004dfffff]\n\
         group 1: node 0, 1 CPUs, 2 units, [mem 0x0000000001e00000-0x0000000001ffffff]\n\
         cpu 0: unit 0, group 0, node 1, [mem 0x0000000004c00000-0x0000000004c09fff]\n\
         cpu 1: unit 2, group 1, node 0, [mem 0x0000000001e00000-0x0000000001e09fff]\n\
         cpu 2: unit 1, group 0, node 1, [mem 0x0000000004d00000-0x0000000004d09fff]\n";
    assert_eq!(shown, expected);
    let linked = [1_u8; 64];
    // SAFETY: the machine's RAM is all in reach, and `linked` is an array.
    unsafe { chunk.fill(linked.as_ptr()) };
    shown.clear();
    view::percpu(&mut shown, &chunk, &nodes).unwrap();
    assert!(shown.ends_with(&format!(", offset {:#018x}\n", chunk.offsets()[2])));
}
