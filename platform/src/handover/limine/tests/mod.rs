//! The reader against a model loader: each way to boot, what is missing, what is wild, and random damage.

mod damage;
mod firmware;
mod model;
mod wild;

use super::*;
use crate::firmware::limine::LimineMap;
use crate::firmware::recorder::Recorder;
use crate::handover::{BootInfo, HandoverError, LimineLoader, MemoryMapSource, Protocol};
use crate::read::MemoryImage;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{MemoryKind, Problem, Purpose, Reservation, Rules, Source, Table};
use model::{
    ACPI, Asked, BAD, EXECUTABLE, FRAMEBUFFER, HHDMS, MAPPED, Model, NVS, POOL, POOL_SIZE, RECLAIMABLE, RESERVED,
    USABLE,
};

const RSDP: u64 = 0xf_59d0;
const PC_RSDP: &[u8] = include_bytes!("../../../../testdata/pc-numa-rsdp.bin");
const PC_TABLES: &[u8] = include_bytes!("../../../../testdata/pc-numa-tables.bin");

/// The memory in which ACPI's tables are.
const ACPI_TABLES: [(PhysAddr, &[u8]); 2] = [(PhysAddr::new(RSDP), PC_RSDP), (PhysAddr::new(0x7fe_0000), PC_TABLES)];

const MIB: u64 = 1 << 20;

/// A PC's map as its BIOS and the loader have it: every type, one of them unknown.
const PC_MAP: [(u64, u64, u64); 12] = [
    (0x1000, 0x9_e000, USABLE),
    (0x9_fc00, 0x400, RESERVED),
    (0xf_0000, 0x1_0000, MAPPED),
    (0x10_0000, 0x7e0_0000, USABLE),
    (0x7f0_0000, 0xf_0000, ACPI),
    (0x7ff_0000, 0x1_0000, NVS),
    (0x800_0000, 0x1000, BAD),
    (0x1000_0000, 0x20_0000, EXECUTABLE),
    (0x1020_0000, 0xee0_0000, USABLE),
    (POOL, POOL_SIZE, RECLAIMABLE),
    (0xe000_0000, 0x80_0000, FRAMEBUFFER),
    (0xfec0_0000, 0x1000, 99),
];

/// A loader on a PC with a BIOS that answers everything that it can.
fn pc(hhdm: u64, base: Option<u64>) -> Model {
    let mut model = Model::new(hhdm, base);
    model.named("Limine", "12.3.2");
    model.map(&PC_MAP);
    model.command_line("selftest exit=isa-debug");
    model.modules(&[(0x1010_0000, 0x1234), (0x1018_0000, 0x10)]);
    model.table(Asked::Rsdp, RSDP, 4);
    model
}

fn describe(boot: &BootInfo<'_>, rules: Rules, pieces: &[(PhysAddr, &[u8])]) -> Recorder {
    Recorder::of(|sink| boot.describe(rules, &mut MemoryImage::new(pieces), sink))
}

fn range(start: u64, size: u64) -> PhysRange {
    PhysRange::from_size(PhysAddr::new(start), size).unwrap()
}

/// Owner, range and purpose of what the loader and its modules hold.
fn held(recorder: &Recorder) -> Vec<(&str, PhysRange, Purpose)> {
    let by_loader =
        |held: &&Reservation| matches!(held.source.table, Table::LimineMap | Table::LimineModules | Table::DeviceTree);
    let held = recorder.reservations.iter().filter(by_loader);
    held.map(|held| (held.owner.as_str(), held.range, held.purpose)).collect()
}

/// The requests are the protocol's, and where the model has them.
#[test]
fn requests_are_the_protocols() {
    assert_eq!(Requests::WORDS, 4 + 3 + 10 * 6 + 8 + 2);
    assert_eq!(Requests::HHDM_RESPONSE, 8 * (7 + 6 + 5));
    assert_eq!(Requests::EXECUTABLE_ADDRESS_RESPONSE, 8 * (7 + 12 + 5));
    assert!(align_of::<Requests>() == 8 && size_of::<Requests>() == 8 * Requests::WORDS);
    let requests = Requests::default();
    let common = [0xc7b1_dd30_df4c_8b88, 0x0a82_e883_a194_f07b];
    for (id, own) in [
        (requests.loader.id(), [0xf550_38d8_e2a1_202f, 0x2794_26fc_f5f5_9740]),
        (requests.hhdm.id(), [0x48dc_f1cb_8ad2_b852, 0x6398_4e95_9a98_244b]),
        (requests.executable_address.id(), [0x71ba_7686_3cc5_5f63, 0xb264_4a48_c516_a487]),
        (requests.memory_map.id(), [0x67cf_3d9d_378a_806f, 0xe304_acdf_c50c_3c62]),
        (requests.efi_memory_map.id(), [0x7df6_2a43_1d68_72d5, 0xa4fc_dfb3_e573_06c8]),
        (requests.efi_system_table.id(), [0x5ceb_a516_3eaa_f6d6, 0x0a69_8161_0cf6_5fcc]),
        (requests.rsdp.id(), [0xc5e7_7b6b_397e_7b43, 0x2763_7845_accd_cf3c]),
        (requests.device_tree.id(), [0xb40d_db48_fb54_bac7, 0x5450_8149_3f81_ffb7]),
        (requests.command_line.id(), [0x4b16_1536_e598_651e, 0xb390_ad4a_2f1f_303a]),
        (requests.executable_file.id(), [0xad97_e90e_83f1_ed67, 0x31eb_5d1c_5ff2_3b69]),
        (requests.modules.id(), [0x3e7e_2797_02be_32af, 0xca1c_4f3b_d128_0cee]),
    ] {
        assert_eq!((&id[..2], &id[2..]), (&common[..], &own[..]));
    }
    assert!(!requests.revision.is_valid() && !requests.revision.is_supported());
    assert_eq!(format!("{requests:?}"), "Requests { .. }");
}

#[test]
fn every_base_revision_and_direct_map_says_the_same() {
    let others = ACPI_TABLES;
    for base in [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)] {
        for hhdm in HHDMS {
            let model = pc(hhdm, base);
            let boot = model.read(None, &others).unwrap();
            assert_eq!(boot.cmdline.as_str(), "selftest exit=isa-debug");
            assert_eq!(boot.rsdp, Some(PhysAddr::new(RSDP)), "{base:?}");
            assert_eq!(boot.initrd, Some(range(0x1010_0000, 0x1234)));
            let Protocol::Limine(LimineLoader { revision, name, version }) = boot.protocol else { panic!() };
            assert_eq!((revision, &*name, &*version), (base, "Limine", "12.3.2"));
            let said = base.map_or("2 or older".to_owned(), |base| base.to_string());
            assert_eq!(boot.protocol.to_string(), format!("Limine protocol, base revision {said}, by Limine 12.3.2"));
            let recorder = describe(&boot, Rules::X86, &model.pieces(&others));
            assert!(recorder.warnings.is_empty(), "{:?}", recorder.warnings);
            assert_eq!(recorder.cpus.len(), 4);
            assert_eq!(
                held(&recorder),
                [
                    ("initrd", range(0x1010_0000, 0x1234), Purpose::Held),
                    ("boot module", range(0x1018_0000, 0x10), Purpose::Held),
                    ("boot loader", range(POOL, POOL_SIZE), Purpose::Temporary),
                ]
            );
        }
    }
}

#[test]
fn a_bios_map_becomes_a_pcs() {
    let model = pc(HHDMS[0], Some(6));
    let boot = model.read(None, &ACPI_TABLES).unwrap();
    assert!(matches!(boot.map, MemoryMapSource::Limine(LimineMap { entries: 12, .. })) && boot.loader_map.is_none());
    let pieces = model.pieces(&ACPI_TABLES);
    let mut text = String::new();
    boot.pc_map().unwrap().print(&mut MemoryImage::new(&pieces), &mut text).unwrap();
    assert_eq!(
        text,
        "BIOS-provided physical RAM map:\n\
         BIOS-e820: [mem 0x0000000000001000-0x000000000009efff] usable\n\
         BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved\n\
         BIOS-e820: [mem 0x00000000000f0000-0x00000000000fffff] reserved\n\
         BIOS-e820: [mem 0x0000000000100000-0x0000000007efffff] usable\n\
         BIOS-e820: [mem 0x0000000007f00000-0x0000000007feffff] ACPI data\n\
         BIOS-e820: [mem 0x0000000007ff0000-0x0000000007ffffff] ACPI NVS\n\
         BIOS-e820: [mem 0x0000000008000000-0x0000000008000fff] unusable\n\
         BIOS-e820: [mem 0x0000000010000000-0x000000001f0fffff] usable\n\
         BIOS-e820: [mem 0x00000000e0000000-0x00000000e07fffff] reserved\n\
         BIOS-e820: [mem 0x00000000fec00000-0x00000000fec00fff] reserved\n"
    );
    let banks = describe(&boot, Rules::X86, &pieces);
    assert_eq!(banks.usable(), [(0x1000, 0x9_f000), (MIB, 0x7f0_0000), (0x1000_0000, POOL + POOL_SIZE)]);
    assert_eq!(banks.banks[0].source, Source::entry(Table::LimineMap, 0));
    // Elsewhere it is the same map without what a BIOS keeps.
    let elsewhere = describe(&boot, Rules::Arm64, &pieces);
    assert_eq!(elsewhere.usable(), banks.usable());
    assert_eq!(held(&elsewhere), held(&banks));
    assert!(elsewhere.reservations.iter().all(|held| held.owner.as_str() != "BIOS"));
    assert_eq!(elsewhere.banks.iter().filter(|bank| bank.kind == MemoryKind::Reserved).count(), 4);
}

#[test]
fn what_is_missing_is_as_if_it_were_not_asked_for() {
    let silent = |asked: &[Asked]| {
        let mut model = pc(HHDMS[1], Some(4));
        asked.iter().for_each(|&asked| model.silence(asked));
        model.read(None, &ACPI_TABLES)
    };
    let boot = silent(&[Asked::CommandLine, Asked::Modules, Asked::Rsdp, Asked::Loader]).unwrap();
    assert!(boot.cmdline.as_str().is_empty() && boot.initrd.is_none() && boot.rsdp.is_none());
    assert!(boot.reserved.is_empty() && boot.warnings.is_empty());
    assert_eq!(boot.protocol.to_string(), "Limine protocol, base revision 4");
    assert_eq!(silent(&[Asked::MemoryMap]).err(), Some(HandoverError::NoMemoryMap));
    let mut empty = pc(HHDMS[1], Some(4));
    empty.map(&[]);
    assert_eq!(empty.read(None, &[]).err(), Some(HandoverError::NoMemoryMap));
    assert!(HandoverError::NoMemoryMap.to_string().starts_with("the boot loader hands over no memory map"));
}

#[test]
fn an_old_loader_names_the_command_line_with_the_kernels_file() {
    let mut model = pc(HHDMS[0], None);
    model.silence(Asked::CommandLine);
    model.executable_file("console=ttyS0");
    assert_eq!(model.read(None, &[]).unwrap().cmdline.as_str(), "console=ttyS0");
    // The newer request holds, also where it says that there is nothing.
    model.command_line("");
    assert_eq!(model.read(None, &[]).unwrap().cmdline.as_str(), "");
}

#[test]
fn a_loader_may_call_itself_what_it_likes() {
    let mut model = pc(HHDMS[0], Some(3));
    model.named("a name that is longer than there is room for it", "\u{1b}[2J1.0");
    let boot = model.read(None, &[]).unwrap();
    assert_eq!(
        boot.protocol.to_string(),
        "Limine protocol, base revision 3, by a name that is longer than ther ?[2J1.0"
    );
    model.named("Limine", "");
    assert_eq!(model.read(None, &[]).unwrap().protocol.to_string(), "Limine protocol, base revision 3, by Limine");
    model.named("", "7");
    assert_eq!(model.read(None, &[]).unwrap().protocol.to_string(), "Limine protocol, base revision 3");
}
