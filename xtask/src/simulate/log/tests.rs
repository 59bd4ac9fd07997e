//! Logs of every dress and age, small but whole.

use super::*;
use mm::machine::Plug;

use crate::simulate::subject::HeldMapping;

/// A PC with everything that its log can say, in today's words.
const PC: &str = "\
[    0.000000] Linux version 6.1.0-13-amd64 (x@y) (gcc) #1 SMP
[    0.000000] Command line: root=/dev/sda1 mem=8G crashkernel=256M
[    0.000000] BIOS-provided physical RAM map:
[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
[    0.000000] BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved
[    0.000000] BIOS-e820: [mem 0x0000000000100000-0x00000000bfffffff] usable
[    0.000000] BIOS-e820: [mem 0x0000000100000000-0x000000013fffffff] usable
[    0.000000] BIOS-e820: [mem 0x0000000140000000-0x000000014fffffff] persistent (type 12)
[    0.000000] BIOS-e820: [mem 0x0000000150000000-0x000000015fffffff] of no use
[    0.000000] e820: update [mem 0x00000000-0x00000fff] usable ==> reserved
[    0.000000] e820: remove [mem 0x000a0000-0x000fffff] usable
[    0.000000] last_pfn = 0x140000 max_arch_pfn = 0x400000000
[    0.000000] e820: update [mem 0xb0000000-0xffffffff] usable ==> reserved
[    0.000000] last_pfn = 0xb0000 max_arch_pfn = 0x400000000
[    0.000000] RAMDISK: [mem 0x30000000-0x31ffffff]
[    0.000000] SRAT: PXM 0 -> APIC 0x00 -> Node 0
[    0.000000] SRAT: PXM 4 -> APIC 0x01 -> Node 1
[    0.000000] ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0xbfffffff]
[    0.000000] ACPI: SRAT: Node 1 PXM 4 [mem 0x100000000-0x13fffffff] hotplug
[    0.000000] e820: update [mem 0x20000000-0x20000fff] usable ==> reserved
[    0.000000] Zone ranges:
[    0.000000]   DMA      [mem 0x0000000000001000-0x0000000000ffffff]
[    0.000000] Early memory node ranges
[    0.000000]   node   0: [mem 0x0000000000001000-0x000000000009efff]
[    0.000000]   node   0: [mem 0x0000000000100000-0x00000000afffffff]
[    0.000000]   node   1: [mem 0x0000000100000000-0x000000013fffffff]
[    0.000000] Initmem setup node 0 [mem 0x0000000000001000-0x00000000afffffff]
";

fn span(first: u64, last: u64) -> Span {
    Span::new(first, last).unwrap()
}

fn e820(subject: &Subject) -> (&[E820Entry], &[Change]) {
    match &subject.map {
        Map::E820 { entries, changes } => (entries, changes),
        other => panic!("{other:?}"),
    }
}

fn node_ranges(subject: &Subject) -> Vec<(u16, u64, u64)> {
    match &subject.map {
        Map::NodeRanges(ranges) => ranges.iter().map(|r| (r.node, r.span.first(), r.span.last())).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pc_says_all_that_it_has() {
    let pc = read(PC).unwrap();
    let (entries, changes) = e820(&pc);
    assert_eq!(entries.len(), 5);
    assert_eq!(entries[4], E820Entry { span: span(0x1_4000_0000, 0x1_4fff_ffff), kind: 12 });
    // The change after the last mark touches no memory.
    assert_eq!(changes.len(), 3);
    assert_eq!(changes[2], Change { span: span(0xb000_0000, 0xffff_ffff), from: Some(1), to: Some(2) });
    assert_eq!((pc.rules, pc.page_size), (Rules::X86, PageSize::K4));
    assert_eq!(pc.cmdline, "root=/dev/sda1 mem=8G crashkernel=256M");
    assert_eq!(pc.srat.len(), 2);
    assert_eq!((pc.srat[1].node, pc.srat[1].domain, pc.srat[1].plug), (1, 4, Plug::HotPluggable));
    assert_eq!(pc.srat_cpus[1], SratCpu { node: 1, domain: 4, hardware_id: 1 });
    assert_eq!(pc.held[0].span, span(0x3000_0000, 0x31ff_ffff));
    assert!(pc.notes.len() == 1 && pc.notes[0].contains("of no use"), "{:?}", pc.notes);
}

#[test]
fn what_a_tool_writes_before_the_text_makes_no_difference() {
    let plain = format!("{:?}", read(PC).unwrap());
    for prefix in [
        "",
        "<6>[    0.000000] ",
        "<6>",
        "[    0.000000][    T0] ",
        "kern  :info  : [    0.000000] ",
        "[Mon Jan  1 00:00:00 2024] ",
        "Jan 01 00:00:00 host-1 kernel: ",
        "2024-01-01T00:00:00+0000 host kernel: ",
        "> > [    0.000000] ",
        "\u{1b}[32m[    0.000000] \u{1b}[0m",
    ] {
        let log: String = PC.lines().map(|line| format!("{}\r\n", line.replace("[    0.000000] ", prefix))).collect();
        assert_eq!(format!("{:?}", read(&log).unwrap()), plain, "{prefix}");
    }
}

#[test]
fn the_map_after_mem_is_the_input_and_mem_is_not_applied_again() {
    let user = "\
[    0.000000] user-defined physical RAM map:
[    0.000000] user: [mem 0x0000000000000000-0x000000000009fbff] usable
[    0.000000] user: [mem 0x0000000000100000-0x000000013fffffff] usable
";
    let pc = read(&PC.replace("[    0.000000] RAMDISK", &format!("{user}[    0.000000] RAMDISK"))).unwrap();
    assert_eq!(e820(&pc).0.len(), 2);
    assert_eq!(pc.cmdline, "root=/dev/sda1 crashkernel=256M");
}

#[test]
fn a_xen_guest_has_its_hypervisors_map() {
    let xen = PC.replace("BIOS-e820: ", "Xen: ");
    assert_eq!(e820(&read(&xen).unwrap()).0.len(), 5);
}

#[test]
fn a_cut_map_gives_way_to_the_kernels_own_list() {
    let start = PC.find("[    0.000000] BIOS-e820: [mem 0x0000000100000000").unwrap();
    let pc = read(&PC[start..]).unwrap();
    let all = [(0, 0x1000, 0x9_efff), (0, 0x10_0000, 0xafff_ffff), (1, 0x1_0000_0000, 0x1_3fff_ffff)];
    assert_eq!(node_ranges(&pc), all);
    assert_eq!(pc.rules, Rules::X86);
    assert!(pc.notes.iter().any(|note| note.contains("is cut")), "{:?}", pc.notes);
    // Without even a line of the map, the zones tell a PC.
    let start = PC.find("[    0.000000] Zone ranges").unwrap();
    let pc = read(&PC[start..]).unwrap();
    assert_eq!((node_ranges(&pc).len(), pc.rules), (3, Rules::X86));
}

#[test]
fn old_kernels_print_ends_and_types_in_another_way() {
    let old = "\
Linux version 3.2.0-4-amd64 (x@y)
 BIOS-e820: 0000000000000000 - 000000000009f800 (usable)
 BIOS-e820: 000000000009f800 - 00000000000a0000 (reserved)
 BIOS-e820: 0000000000100000 - 000000007fff0000 (usable)
 BIOS-e820: 000000007fff0000 - 0000000080000000 (ACPI data)
e820 update range: 0000000000000000 - 0000000000010000 (usable) ==> (reserved)
e820 remove range: 00000000000a0000 - 0000000000100000 (usable)
last_pfn = 0x7fff0 max_arch_pfn = 0x400000000
RAMDISK: 37d8f000 - 37ff0000
SRAT: Node 0 PXM 0 0-a0000
SRAT: Node 0 PXM 0 100000-80000000
";
    let pc = read(old).unwrap();
    let (entries, changes) = e820(&pc);
    let spans: Vec<_> = entries.iter().map(|entry| (entry.span.first(), entry.span.last(), entry.kind)).collect();
    assert_eq!(
        spans,
        [(0, 0x9_f7ff, 1), (0x9_f800, 0x9_ffff, 2), (0x10_0000, 0x7ffe_ffff, 1), (0x7fff_0000, 0x7fff_ffff, 3)]
    );
    assert_eq!(changes[0], Change { span: span(0, 0xffff), from: Some(1), to: Some(2) });
    assert_eq!(changes[1], Change { span: span(0xa_0000, 0xf_ffff), from: Some(1), to: None });
    assert_eq!(pc.srat[1].span, span(0x10_0000, 0x7fff_ffff));
    assert_eq!(pc.held[0].span, span(0x37d8_f000, 0x37fe_ffff));
}

/// An arm64 machine with 64 KiB pages, whose firmware's map is not printed.
const ARM: &str = "\
[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x410fd083]
[    0.000000] Linux version 6.1.0 (x@y) (aarch64-linux-gnu-gcc)
[    0.000000] OF: reserved mem: 0x0000000080000000..0x00000000807fffff (8192 KiB) nomap non-reusable tz@80000000
[    0.000000] OF: reserved mem: 0x00000000fc000000..0x00000000ffffffff (65536 KiB) map reusable linux,cma
[    0.000000] Zone ranges:
[    0.000000]   DMA      [mem 0x0000000080000000-0x00000000bfffffff]
[    0.000000]   DMA32    [mem 0x00000000c0000000-0x00000000ffffffff]
[    0.000000]   Normal   empty
[    0.000000] Early memory node ranges
[    0.000000]   node   0: [mem 0x0000000080000000-0x00000000807fffff]
[    0.000000]   node   0: [mem 0x0000000080800000-0x00000000ffffffff]
[    0.000000] Initmem setup node 0 [mem 0x0000000080000000-0x00000000ffffffff]
[    0.000000] Initmem setup node 1 as memoryless
[    0.000000] percpu: Embedded 3 pages/cpu s120728 r8192 d67688 u196608
[    0.000000] Kernel command line: console=ttyAMA0 numa=fake=2 cma=64M
[    0.000000] Dentry cache hash table entries: 262144 (order: 5, 2097152 bytes, linear)
";

#[test]
fn an_arm_machine_shows_its_memory_page_size_and_dma_limit() {
    let arm = read(ARM).unwrap();
    assert_eq!((arm.rules, arm.page_size), (Rules::Arm64, PageSize::K64));
    assert_eq!(node_ranges(&arm).len(), 2);
    assert_eq!(arm.dma_limit, Some(0xc000_0000));
    assert_eq!(arm.memoryless, [1]);
    // The list shows the effect of `numa=`.
    assert_eq!(arm.cmdline, "console=ttyAMA0 cma=64M");
    assert_eq!((arm.held[0].mapping, &*arm.held[0].owner), (HeldMapping::Unmapped, "tz@80000000"));
    assert_eq!((arm.held[1].mapping, &*arm.held[1].owner), (HeldMapping::Mapped, "linux,cma"));
    let by_hash = ARM.replace("percpu: Embedded", "percpu:");
    assert_eq!(read(&by_hash).unwrap().page_size, PageSize::K64);
}

#[test]
fn efi_maps_of_both_architectures_are_read() {
    for line in [
        "efi:   0x000040000000-0x00007fffffff [Conventional Memory|   |  |  |  |  |  |  |  |   |WB|WT|WC|UC]*",
        "efi: mem03: [Conventional Memory|   |  |  |  |  |   |WB|WT|WC|UC] range=[0x40000000-0x7fffffff] (1024MB)",
        "EFI: mem03: type=7, attr=0xf, range=[0x0000000040000000-0x0000000080000000) (1024MB)",
    ] {
        let machine = read(&format!("{line}\n")).unwrap();
        let Map::Efi(entries) = &machine.map else { panic!("{line}") };
        assert_eq!(
            entries[..],
            [EfiEntry { span: span(0x4000_0000, 0x7fff_ffff), kind: 7, attributes: 0xf }],
            "{line}"
        );
    }
}

#[test]
fn of_several_boots_the_first_that_names_memory_is_taken() {
    let log = format!("[    0.0] Linux version 1.0\n{PC}{ARM}");
    let pc = read(&log).unwrap();
    assert_eq!(pc.rules, Rules::X86);
    assert!(pc.notes.iter().any(|note| note.contains("3 boots")), "{:?}", pc.notes);
}

#[test]
fn logs_that_do_not_help_say_why() {
    let high = format!("{PC}[    0.000000]   HighMem  [mem 0x00000000377fe000-0x00000000afffffff]\n");
    assert!(read(&high).unwrap_err().to_string().contains("32-bit"));
    let riscv = ARM.replace("Booting Linux on physical CPU", "SBI specification v0.3 detected");
    assert!(read(&riscv).unwrap_err().to_string().contains("RISC-V"));
    for nothing in
        ["", "hello", "BIOS-e820: [mem 0x0-0xfff] reserved", "node 0: [mem 0x5000-0x1000]", "SRAT: Node 0 PXM"]
    {
        assert!(read(nothing).unwrap_err().to_string().contains("looked for"), "{nothing}");
    }
}

/// Any line may be cut anywhere, or hold anything.
#[test]
fn no_line_panics() {
    for line in PC.lines().chain(ARM.lines()) {
        for end in 0..=line.len() {
            let _ = message::read(&line[..end]);
            let _ = message::read(&format!("{}99999999999999999999{}", &line[..end], &line[end..]));
            let _ = message::read(&format!("{}é{}", &line[..end], &line[end..]));
        }
    }
}
