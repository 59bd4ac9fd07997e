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
    }
}
