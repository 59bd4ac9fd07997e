//! Random damage to requests and responses: whatever comes of it, reading ends, and what is stated can be.

use super::*;
use crate::firmware::recorder::Random;

const VIRT: &[u8] = include_bytes!("../../../../testdata/virt-gic3.dtb");
const TRIALS: usize = if cfg!(miri) { 10 } else { 10_000 };

/// A loader under UEFI that answers everything.
fn whole() -> Model {
    let mut model = pc(HHDMS[0], Some(6));
    model.efi_map(&[(7, 0x10_0000, 0x7d_0000 >> 12, 8), (4, 0x800_0000, 0x100, 8), (6, 0x900_0000, 1, 8 | 1 << 63)]);
    model.answer(Asked::DeviceTree, &[HHDMS[0] + 0x1f80_0000]);
    model.executable_file("console=ttyS0");
    model.table(Asked::EfiSystemTable, 0x1fe0_0000, 5);
    model
}

#[test]
fn damaged_responses_never_panic() {
    let mut random = Random::new(15);
    let sound = whole();
    let (mut read, mut refused) = (0, 0);
    for _ in 0..TRIALS {
        let mut model = sound.clone();
        for _ in 0..=random.below(6) {
            random.damage(&mut model.pool);
        }
        if random.below(4) == 0 {
            let asked = [Asked::MemoryMap, Asked::EfiMemoryMap, Asked::Modules, Asked::CommandLine, Asked::Rsdp];
            *model.slot(asked[random.below(asked.len())]) ^= random.next() >> random.below(64);
        }
        let mut tree = VIRT.to_vec();
        let tree = (random.below(2) == 0).then_some(&mut tree[..]);
        let rules = if tree.is_some() { Rules::Arm64 } else { Rules::X86 };
        let pieces = model.pieces(&ACPI_TABLES);
        let memory = &mut MemoryImage::new(&pieces);
        let boot = match super::super::read(&model.left(), tree, memory) {
            Ok(boot) => boot,
            Err(error) => {
                assert!(!error.to_string().contains('\n'));
                refused += 1;
                continue;
            }
        };
        read += 1;
        let recorder = Recorder::of(|sink| boot.describe(rules, memory, sink));
        assert!(recorder.banks.iter().all(|bank| !bank.range.is_empty()));
        assert!(recorder.reservations.iter().all(|held| !held.range.is_empty()));
        assert!(!boot.protocol.to_string().contains(|letter: char| letter.is_control()));
        let mut text = String::new();
        boot.print_efi(rules, memory, &mut text).unwrap();
        boot.print_tables(memory, &mut text).unwrap();
        let _ = (boot.power_off(memory), boot.psci(memory), boot.timer_interrupt(memory), boot.stdout());
        let _ = boot.irq_controller(rules, memory, &mut |_| ());
    }
    assert!(read > TRIALS / 2 && (refused > 0 || cfg!(miri)), "{read} read, {refused} refused");
}
