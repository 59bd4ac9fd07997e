//! Tables with random damage, their checksums made right again half of the time.

use super::*;

const TRIALS: usize = if cfg!(miri) { 10 } else { 15_000 };

/// The tables that are read, and those on the way to them: start, and the place of their checksum.
const SEALED: [(usize, usize); 5] = [(0x1cec, 0x3c), (0x1a48, 0x74), (0x1abc, 0x90), (0x1b84, 0x110), (0x1c94, 0x30)];

#[test]
fn damaged_tables_never_panic() {
    let mut random = Random::new(0xac31);
    let mut without_warning = 0;
    // The DSDT is by far the longest: damage where it counts.
    for _ in 0..TRIALS {
        let mut tables = PC_TABLES.to_vec();
        for _ in 0..=random.below(3) {
            let (start, length) = SEALED[random.below(SEALED.len())];
            random.damage(&mut tables[start..start + length]);
        }
        if random.below(2) == 0 {
            for (start, length) in SEALED {
                seal(&mut tables[start..start + length], 9);
            }
        }
        let recorder = describe_at(&[PC[0], (0x7fe_0000, &tables)]);
        without_warning += usize::from(recorder.warnings.is_empty());
        assert!(recorder.affinities.iter().all(|affinity| !affinity.range.is_empty()));
        assert!(recorder.reservations.iter().all(|reservation| reservation.range.size() <= 1 << 20));
    }
    assert!(without_warning > 0 && without_warning < TRIALS, "{without_warning}");
}

#[test]
fn a_damaged_microvm_never_panics() {
    let mut random = Random::new(0x3141);
    for _ in 0..TRIALS {
        let (mut rsdp, mut tables) = (MICROVM_RSDP.to_vec(), MICROVM_TABLES.to_vec());
        if random.below(4) == 0 {
            random.damage(&mut rsdp);
        }
        for _ in 0..=random.below(3) {
            random.damage(&mut tables);
        }
        let start = random.below(700);
        seal(&mut tables[0x2c6..0x2fa], 9);
        seal(&mut tables[start..], 1);
        let pieces = [(0xf3490, &rsdp[..]), (0xefd00, &tables[..])];
        let _ = (describe_at(&pieces), with(&pieces, |rsdp, image| power_off(rsdp, image)));
        with(&pieces, read_interrupts);
        let _ = with(&pieces, |rsdp, image| print_tables(rsdp, image, &mut String::new()));
    }
}

/// Whatever is read, a driver can rely on it.
fn read_interrupts(rsdp: PhysAddr, image: &mut MemoryImage<'_>) {
    let holds = |range: PhysRange, bytes: u64| assert!(range.size() >= bytes && range.start().as_u64() > 0, "{range}");
    match irq_controller(rsdp, image, &mut |warning| assert!(!warning.to_string().contains('\n'))) {
        Some(IrqController::LocalApic { address }) => assert!(address.is_aligned(0x1000)),
        Some(IrqController::Gic2 { distributor, cpu_interface }) => {
            holds(distributor, 0x1000);
            holds(cpu_interface, 0x100);
        }
        Some(IrqController::Gic3 { distributor, redistributors }) => {
            holds(distributor, 0x1_0000);
            assert!(!redistributors.ranges.is_empty());
            redistributors.ranges.iter().for_each(|&range| holds(range, 0x2_0000));
        }
        Some(IrqController::Bcm2836 { .. }) => panic!("ACPI has no such controller"),
        None => {}
    }
    assert!(timer_interrupt(rsdp, image).is_none_or(|number| (16..32).contains(&number)));
}

/// Tables that QEMU's machines of these kinds have not, each with its checksum made right again.
#[test]
fn a_damaged_arm_server_never_panics() {
    let mut random = Random::new(0x1047);
    let its = [&[0u8, 24, 0, 1][..], &[0; 20]].concat();
    let mut root_complex = vec![0; 36];
    (root_complex[0], root_complex[1], root_complex[3], root_complex[32]) = (2, 36, 1, 32);
    let iort = table("IORT", 0, &[[2u32, 48, 0].map(u32::to_le_bytes).concat(), its, root_complex].concat());
    let spcr = table("SPCR", 2, &[&[3, 0, 0, 0, 0, 32, 0, 3, 0, 0, 0, 9][..], &[0; 10], &[7], &[0; 21]].concat());
    let initiator = [&[5u8, 32, 0, 1, 7][..], &[0; 19], &[1], &[0; 7]].concat();
    let mut gicc = vec![0; 80];
    (gicc[0], gicc[1], gicc[12], gicc[16], gicc[25]) = (11, 80, 1, 1, 0x80);
    (gicc[33], gicc[61]) = (0x80, 0x90);
    let distributor = [&[12u8, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8][..], &[0; 8], &[3, 0, 0, 0]].concat();
    let redistributors = [&[14u8, 16, 0, 0, 0, 0, 10, 8][..], &[0; 6], &[4, 0]].concat();
    let gtdt = include_bytes!("../../../../testdata/virt-gtdt.bin").to_vec();
    let place = [&[3u8, 18][..], &[0; 8], &[1], &[0; 7]].concat();
    let sound = [iort, spcr, srat(3, &[initiator, place]), madt(&[gicc, distributor, redistributors]), gtdt];
    let undamaged = Machine::new(&sound).describe();
    assert!(undamaged.warnings.is_empty(), "{:?}", undamaged.warnings);
    assert_eq!((undamaged.dma_limits.len(), undamaged.initiators.len(), undamaged.cpu_affinities.len()), (1, 1, 1));
    let mut changed = 0;
    for _ in 0..TRIALS {
        let mut machine = Machine::new(&sound);
        for _ in 0..=random.below(3) {
            let which = random.below(sound.len());
            let table = &mut machine.tables[which];
            let start = if random.below(8) == 0 { 0 } else { 36 };
            random.damage(&mut table[start..]);
            seal(table, 9);
        }
        let recorder = machine.describe();
        let pieces = machine.pieces();
        let spec = with(&pieces, |rsdp, image| console(rsdp, image));
        assert!(spec.is_none_or(|spec| spec.baud != Some(0)));
        with(&pieces, read_interrupts);
        let _ = with(&pieces, |rsdp, image| print_tables(rsdp, image, &mut String::new()));
        changed += usize::from(recorder != undamaged);
    }
    assert!(changed > 0 && changed < TRIALS, "{changed}");
}
