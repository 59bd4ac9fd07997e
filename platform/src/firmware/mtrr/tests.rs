use super::*;
use crate::firmware::recorder::Random;

const BITS: u32 = 48;

fn registers(default_type: u64, pairs: &[(u64, u64)]) -> Mtrr {
    let pairs = pairs.iter().copied().collect();
    Mtrr { default_type, pairs, physical_bits: BITS, top_of_memory_2: 0 }
}

/// Base and mask registers for `size` bytes, a power of two.
fn pair(base: u64, size: u64, kind: u8) -> (u64, u64) {
    (base | u64::from(kind), ((1 << BITS) - size) | IN_USE)
}

fn uncached(registers: &Mtrr, end_of_ram: u64) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    registers.uncached(end_of_ram, &mut |frames| found.push((frames.start().as_u64(), frames.end().as_u64())));
    found
}

/// A laptop of AMD: the registers and the range are those of its boot log.
#[test]
fn a_real_machine() {
    let pairs = [(0x6, 0xffff_8000_0800), (0x8000_0006, 0xffff_f000_0800), (0x8f80_0000, 0xffff_ff80_0800), (0, 0)];
    let registers = Mtrr { top_of_memory_2: 0x2_3f00_0000, ..registers(0xc00, &pairs) };
    assert_eq!(uncached(&registers, 0x23_f000), [(0x8_f800, 0x10_0000)]);
    // It ends where it says.
    assert_eq!(uncached(&registers, 0x24_0000), [(0x8_f800, 0x10_0000), (0x23_f000, 0x24_0000)]);
    // Without TOM2, what lies above is lost.
    let registers = Mtrr { top_of_memory_2: 0, ..registers };
    assert_eq!(uncached(&registers, 0x23_f000), [(0x8_f800, 0x23_f000)]);
    assert_eq!(uncached(&registers, 0x8_f000), []);
}

#[test]
fn registers_that_tell_nothing_take_nothing() {
    let end = 1 << 20;
    let good = [pair(0, 1 << 30, WRITE_BACK)];
    assert_eq!(uncached(&registers(0, &good), end), [(1 << 18, end)]);
    for (default_type, pairs) in [
        // QEMU's SeaBIOS: all is write-back, but for the hole.
        (0xc06, vec![pair(1 << 31, 1 << 31, UNCACHED)]),
        // Blank.
        (0xc00, vec![]),
        (0, vec![(0, 0); 8]),
        // Not in use.
        (0, vec![(6, good[0].1 & !IN_USE)]),
        // Uncached alone; another type besides.
        (0, vec![pair(0, 1 << 30, UNCACHED)]),
        (0, vec![good[0], pair(1 << 30, 1 << 20, 1)]),
        (0, vec![good[0], pair(1 << 30, 1 << 20, 5)]),
        // All that is cached is taken out again.
        (0, vec![good[0], pair(0, 1 << 31, UNCACHED)]),
    ] {
        assert_eq!(uncached(&registers(default_type, &pairs), end), [], "{default_type:#x} {pairs:x?}");
    }
}

#[test]
fn where_memory_is_cached_unless_said_otherwise_nothing_is_taken() {
    let cached = pair(0, 1 << 30, WRITE_BACK);
    for pairs in [vec![cached], vec![cached, pair(1 << 29, 1 << 28, UNCACHED)]] {
        // Write-combining, write-through, write-protected, write-back.
        for default_type in [1, 4, 5, 6] {
            for enabled in [0, 0x800, 0xc00] {
                let registers = registers(enabled | default_type, &pairs);
                assert!(!registers.tells());
                assert_eq!(uncached(&registers, 1 << 20), [], "{:#x} {pairs:x?}", registers.default_type);
            }
        }
        assert!(!uncached(&registers(0xc00, &pairs), 1 << 20).is_empty(), "{pairs:x?}");
    }
}

#[test]
fn the_first_mib_belongs_to_the_fixed_registers_where_they_are_on() {
    let pairs = [pair(0, 1 << 30, WRITE_BACK), pair(0, 1 << 21, UNCACHED)];
    assert_eq!(uncached(&registers(0xc00, &pairs), 1 << 18), [(0x100, 0x200)]);
    // Off, each by its own bit or all at once.
    for off in [0, 0x400, 0x800] {
        assert_eq!(uncached(&registers(off, &pairs), 1 << 18), [(0, 0x200)]);
    }
    let below = [pair(0, 1 << 30, WRITE_BACK), pair(0xa_0000, 1 << 17, UNCACHED)];
    assert_eq!(uncached(&registers(0xc00, &below), 1 << 18), []);
}

#[test]
fn a_mask_for_fewer_address_bits_is_filled_up() {
    let short = (6, 0xf_c000_0800);
    assert_eq!(uncached(&registers(0, &[short]), 1 << 20), [(1 << 18, 1 << 20)]);
}

#[test]
fn a_mask_of_no_bits_names_all_that_can_be_addressed() {
    let all = (6, IN_USE);
    assert_eq!(uncached(&registers(0, &[all]), 1 << 20), []);
    assert_eq!(uncached(&registers(0, &[all, pair(1 << 31, 1 << 31, UNCACHED)]), 1 << 20), [(1 << 19, 1 << 20)]);
    // However many bits the CPU claims to have.
    for (physical_bits, last) in [(30, 1 << 18), (52, 1 << 40), (64, 1 << 52), (76, 1 << 52), (255, 1 << 52)] {
        let registers = Mtrr { physical_bits, ..registers(0, &[all]) };
        assert_eq!(uncached(&registers, last), [], "{physical_bits}");
        assert_eq!(uncached(&registers, last + 1), [(last, last + 1)], "{physical_bits}");
    }
}

/// What U-Boot 2023.01 leaves on QEMU, by its own command `mtrr`: its flash is write-back, RAM is nowhere. Linux takes
/// all RAM away, and so do we.
#[test]
fn registers_that_cover_flash_alone_take_all_ram() {
    let registers = registers(0xc00, &[(0xfff0_0006, 0xf_fff0_0800), (0, 0), (0, 0)]);
    assert_eq!(uncached(&registers, 1 << 18), [(0, 0xf_ff00)]);
}

#[test]
fn random_registers_agree_with_a_frame_by_frame_model() {
    let mut random = Random::new(77);
    for _ in 0..if cfg!(miri) { 3 } else { 2000 } {
        let mut pairs = Vec::new();
        let mut ranges = Vec::new();
        for _ in 0..1 + random.below(7) {
            let size = 1u64 << random.below(9);
            let base = random.below(600) as u64 / size * size;
            let kind = if random.below(2) == 0 { WRITE_BACK } else { UNCACHED };
            pairs.push(pair(base << PAGE_SHIFT, size << PAGE_SHIFT, kind));
            ranges.push((base, base + size, kind));
        }
        let has_fixed = random.below(2) == 0;
        let end = random.below(900) as u64;
        let found = uncached(&registers(if has_fixed { 0xc00 } else { 0x400 }, &pairs), end);
        let covers =
            |frame: u64, kind| ranges.iter().any(|&(low, high, of)| of == kind && low <= frame && frame < high);
        let is_cached = |frame| covers(frame, WRITE_BACK) && (!covers(frame, UNCACHED) || has_fixed && frame < PFN_1M);
        let cached: Vec<u64> = (0..2000).filter(|&frame| is_cached(frame)).collect();
        let Some(last) = cached.last() else {
            assert_eq!(found, []);
            continue;
        };
        let expected: Vec<u64> = (0..end.max(last + 1)).filter(|&frame| !is_cached(frame)).collect();
        let frames: Vec<u64> = found.iter().flat_map(|&(low, high)| low..high).collect();
        assert_eq!(frames, expected, "{ranges:x?} {end:#x}");
    }
}

#[test]
fn any_values_are_registers() {
    let mut random = Random::new(3);
    for _ in 0..if cfg!(miri) { 10 } else { 20_000 } {
        let pairs: Vec<(u64, u64)> = (0..random.below(41)).map(|_| (random.next(), random.next())).collect();
        let pairs: Vec<(u64, u64)> = pairs
            .iter()
            .map(|&(base, mask)| (if random.below(2) == 0 { base & !7 | 6 } else { base & !0xff }, mask | IN_USE))
            .collect();
        let mut registers = registers(random.next() & !0xff, &pairs);
        registers.physical_bits = random.below(70) as u32;
        registers.top_of_memory_2 = random.next() >> random.below(64);
        let found = uncached(&registers, random.next());
        assert!(found.is_sorted_by(|one, next| one.1 <= next.0) && found.iter().all(|(low, high)| low < high));
    }
}
