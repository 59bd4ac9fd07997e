//! Blobs with random damage: whatever the gate lets through can be walked and read to its end.

use super::*;
use crate::firmware::IrqController;
use crate::handover::image;
use crate::read::MemoryImage;
use mm::addr::PhysAddr;
use mm::machine::Rules;

const TRIALS: usize = if cfg!(miri) { 50 } else { 100_000 };

/// Everything that can be asked of a tree.
fn read_all(bytes: &mut [u8]) -> bool {
    let Ok(info) = image::read(PhysAddr::new(0x4800_0000), bytes) else { return false };
    let blob = info.tree.as_ref().unwrap();
    let recorder = Recorder::of(|sink| info.describe(Rules::Arm64, &mut MemoryImage::new(&[]), sink));
    assert!(recorder.banks.iter().all(|bank| !bank.range.is_empty()));
    assert!(recorder.reservations.iter().all(|reservation| !reservation.range.is_empty()));
    assert!(recorder.wishes.iter().all(|wish| wish.size > 0 && wish.align.is_power_of_two()));
    assert!(recorder.usable.iter().all(|usable| !usable.range.is_empty()));
    let nodes = listing(blob);
    assert!(!nodes.is_empty());
    let _ = (blob.stdout(), blob.power_off(), blob.model(), blob.compatible().count());
    if let Some(IrqController::Gic2 { cpu_interface, .. }) = blob.irq_controller(&mut |_| ()) {
        assert!(cpu_interface.size() >= 0x100 && cpu_interface.start().as_u64() > 0);
    }
    assert!(blob.timer_interrupt().is_none_or(|number| (16..32).contains(&number)));
    for (name, _) in nodes.iter().take(8) {
        let _ = blob.resolve(name).map(|path| bus::address(&path));
    }
    true
}

fn damage(sound: &[u8], seed: u64, trials: usize) -> usize {
    let mut random = Random::new(seed);
    let mut bytes = Vec::new();
    (0..trials)
        .filter(|_| {
            bytes.clear();
            bytes.extend_from_slice(sound);
            for _ in 0..=random.below(3) {
                random.damage(&mut bytes);
            }
            read_all(&mut bytes)
        })
        .count()
}

/// Miri is slow: it gets a tree that has a little of everything, and no more.
fn small() -> Vec<u8> {
    let memory = Builder::root(1, 1).nop().memory("memory@0", &[0, 0x1000], &[("numa-node-id", &cells(&[1]))]);
    let pool = cells(&[0x40]);
    let pool: [(&str, &[u8]); 3] = [("compatible", b"shared-dma-pool\0"), ("reusable", &[]), ("size", &pool)];
    let reserved = memory
        .reserved_memory(1, 1)
        .node("pool", &pool)
        .node("a", &[("reg", &cells(&[0x10, 0x20])), ("no-map", &[])])
        .end();
    let usable = cells(&[0, 0x1000]);
    let chosen: [(&str, &[u8]); 3] =
        [("stdout-path", b"/uart\0"), ("bootargs", b"exec=poweroff\0"), ("linux,usable-memory-range", &usable)];
    let chosen = reserved.node("chosen", &chosen);
    let bus = chosen.begin("soc").prop("dma-ranges", &cells(&[0, 0x4000_0000, 0x4000_0000])).end();
    let reg = cells(&[0x1000, 0x1000, 0x2000, 0x1000]);
    let gic: [(&str, &[u8]); 5] = [
        ("compatible", b"arm,gic-400\0"),
        ("interrupt-controller", &[]),
        ("#interrupt-cells", &cells(&[3])),
        ("phandle", &cells(&[1])),
        ("reg", &reg),
    ];
    let specifiers = cells(&[1, 13, 8, 1, 14, 8, 1, 11, 8]);
    let timer: [(&str, &[u8]); 3] =
        [("compatible", b"arm,armv8-timer\0"), ("interrupt-parent", &cells(&[1])), ("interrupts", &specifiers)];
    let bus = bus.node("gic", &gic).node("timer", &timer);
    bus.node("uart", &[("compatible", b"arm,pl011\0"), ("reg", &cells(&[0x9000, 0x1000]))]).nop().done()
}

#[test]
fn a_damaged_tree_with_nops_never_panics() {
    let trials = TRIALS / 5 * 4;
    let passed = if cfg!(miri) { damage(&small(), 0xf17, trials) } else { damage(NOPS, 0xf17, trials) };
    // Otherwise this would test the gate alone, or nothing.
    assert!(passed > trials / 10 && passed < trials, "{passed} passed");
}

#[test]
fn a_damaged_tree_of_qemu_never_panics() {
    let trials = TRIALS / 5;
    let passed = if cfg!(miri) { damage(&small(), 0x17, trials) } else { damage(VIRT, 0x17, trials) };
    assert!(passed > trials / 10 && passed < trials, "{passed} passed");
}

/// Everything that a tree can say of memory, buses and CPUs.
#[test]
fn a_damaged_tree_of_all_kinds_never_panics() {
    let trials = if cfg!(miri) { 10 } else { TRIALS / 2 };
    let passed = damage(&small(), 0x5317, trials);
    assert!(passed > trials / 10 && passed < trials, "{passed} passed");
}

#[test]
fn a_damaged_header_never_panics() {
    let hurtful = [0, 1, 4, 7, 8, 15, 16, 17, 39, 40, 41, 48, 0x7fff_ffff, 0xffff_fff8, 0xffff_fffc, u32::MAX];
    let step = if cfg!(miri) { 13 } else { 1 };
    for field in (0..40).step_by(4) {
        let sizes = [BARE.len() as u32 - 1, BARE.len() as u32, BARE.len() as u32 + 1];
        for value in hurtful.into_iter().chain(sizes).step_by(step) {
            let mut bytes = BARE.to_vec();
            bytes[field..field + 4].copy_from_slice(&value.to_be_bytes());
            read_all(&mut bytes);
        }
    }
}

#[test]
fn what_passes_once_passes_again_unchanged() {
    let mut random = Random::new(0x77);
    for _ in 0..TRIALS / 50 {
        let mut bytes = NOPS.to_vec();
        random.damage(&mut bytes);
        if check(&mut bytes).is_ok() {
            let once = bytes.clone();
            assert!(check(&mut bytes).is_ok());
            assert_eq!(bytes, once);
        }
    }
}
