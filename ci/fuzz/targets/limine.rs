//! A loader of the Limine protocol that leaves any bytes: one that chooses the architecture and whether the device
//! tree is looked at, then the words of the requests, then the memory to which they point.
#![no_main]

use bring_up::Facts;
use libfuzzer_sys::fuzz_target;
use mm::addr::PhysAddr;
use mm::machine::{MachineSink, Rules};
use platform::handover::limine::{self, Left, Requests};
use platform::options::Options;
use platform::read::{MemoryImage, PhysRead};

/// Where memory begins, and where the loader has it.
const AT: PhysAddr = PhysAddr::new(0x1000_0000);
const HHDM: u64 = 0xffff_8000_0000_0000;
/// Bytes that are given as the device tree.
const LONGEST_TREE: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let Some((requests, memory)) = bytes.split_at_checked(8 * Requests::WORDS) else { return };
    let mut words = [0; Requests::WORDS];
    for (word, bytes) in words.iter_mut().zip(requests.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    let left = Left { words, hhdm: HHDM };
    let pieces = [(AT, memory)];
    let read = &mut MemoryImage::new(&pieces);
    let mut tree = [0; LONGEST_TREE];
    let tree = left.device_tree(read).filter(|_| choice & 1 != 0).and_then(|at| {
        let length = (1..=LONGEST_TREE).rev().find(|&length| read.read(at, &mut tree[..length]).is_ok())?;
        Some(&mut tree[..length])
    });
    let rules = if choice & 2 == 0 { Rules::X86 } else { Rules::Arm64 };
    let Ok(boot) = limine::read(&left, tree, read) else { return };
    let mut facts = Facts::default();
    boot.describe(rules, read, &mut facts);
    let text = &mut String::new();
    let _ = boot.print_efi(rules, read, text).and_then(|()| boot.print_mirrored(read, text));
    if let Some(map) = boot.pc_map() {
        let _ = map.print(read, text).and_then(|()| map.print_rules(read, text));
    }
    let _ = boot.print_tables(read, text);
    let _ = (boot.protocol.to_string(), boot.power_off(read), boot.psci(read), boot.stdout());
    let _ = (boot.irq_controller(rules, read, &mut |warning| facts.warning(warning)), boot.timer_interrupt(read));
    facts.bring_up(rules, &Options::default());
});
