//! Which of several tables is asked.

use super::*;
use crate::firmware::recorder::Recorder;
use crate::read::MemoryImage;

const PC_RSDP: &[u8] = include_bytes!("../../testdata/pc-numa-rsdp.bin");
const PC_TABLES: &[u8] = include_bytes!("../../testdata/pc-numa-tables.bin");
const MP_TABLE: &[u8] = include_bytes!("../../testdata/microvm-mp-table.bin");
const VIRT: &[u8] = include_bytes!("../../testdata/virt-gic3.dtb");

const RSDP: PhysAddr = PhysAddr::new(0xf_59d0);

fn tables() -> [(PhysAddr, &'static [u8]); 3] {
    [(RSDP, PC_RSDP), (PhysAddr::new(0x7fe_0000), PC_TABLES), (PhysAddr::new(0x9_fc00), MP_TABLE)]
}

fn rules_of(boot: &BootInfo<'_>) -> Rules {
    if boot.protocol == Protocol::Pvh { Rules::X86 } else { Rules::Arm64 }
}

/// How many CPUs each table lists.
fn cpus(boot: &BootInfo<'_>, memory: &[(PhysAddr, &[u8])]) -> Vec<(Table, usize)> {
    let recorder = Recorder::of(|sink| boot.describe(rules_of(boot), &mut MemoryImage::new(memory), sink));
    let count = |table| recorder.cpus.iter().filter(|cpu| cpu.source.table == table).count();
    [Table::Madt, Table::MpTable, Table::CpuNode]
        .map(|table| (table, count(table)))
        .into_iter()
        .filter(|it| it.1 > 0)
        .collect()
}

#[test]
fn an_mp_table_counts_where_acpi_lists_no_cpu() {
    let memory = tables();
    let mut boot = BootInfo::new(Protocol::Pvh);
    assert_eq!(cpus(&boot, &memory), [(Table::MpTable, 2)]);
    boot.rsdp = Some(RSDP);
    assert_eq!(cpus(&boot, &memory), [(Table::Madt, 4)]);
    // A root pointer that leads nowhere.
    assert_eq!(cpus(&boot, &memory[2..]), [(Table::MpTable, 2)]);
    let mut blob = VIRT.to_vec();
    let boot = image::read(PhysAddr::new(0x4000_0000), &mut blob).unwrap();
    assert_eq!(cpus(&boot, &memory), [(Table::CpuNode, 2)]);
}

#[test]
fn who_says_of_interrupts_what() {
    let memory = tables();
    let asked = |boot: &BootInfo<'_>, memory: &[(PhysAddr, &[u8])]| {
        let image = &mut MemoryImage::new(memory);
        (boot.irq_controller(rules_of(boot), image, &mut |warning| panic!("{warning}")), boot.timer_interrupt(image))
    };
    let mut moved = MP_TABLE.to_vec();
    // The local APICs' address, and the sum with it.
    moved[16 + 38] = 0xc0;
    moved[16 + 7] = moved[16 + 7].wrapping_add(0x20);
    let local_apic = |address| Some(IrqController::LocalApic { address: PhysAddr::new(address) });
    let mut boot = BootInfo::new(Protocol::Pvh);
    assert_eq!(asked(&boot, &[(PhysAddr::new(0x9_fc00), &moved)]), (local_apic(0xfec0_0000), None));
    assert_eq!(asked(&boot, &[]), (local_apic(0xfee0_0000), None));
    boot.rsdp = Some(RSDP);
    assert_eq!(asked(&boot, &[memory[0], memory[1], (PhysAddr::new(0x9_fc00), &moved)]).0, local_apic(0xfee0_0000));
    let mut blob = VIRT.to_vec();
    let mut boot = image::read(PhysAddr::new(0x4000_0000), &mut blob).unwrap();
    let (controller, timer) = asked(&boot, &memory);
    assert!(matches!(controller, Some(IrqController::Gic3 { .. })));
    assert_eq!(timer, Some(27));
    // A tree that says something comes first, unless ACPI is asked for; that has no word on the timer.
    boot.rsdp = Some(RSDP);
    assert_eq!(asked(&boot, &memory), (controller.clone(), timer));
    for (item, expected) in [("on", local_apic(0xfee0_0000)), ("force", local_apic(0xfee0_0000)), ("off", controller)] {
        boot.cmdline = Cmdline::new(&format!("acpi={item}"));
        assert_eq!(asked(&boot, &memory), (expected.clone(), Some(27)), "{item}");
    }
}
