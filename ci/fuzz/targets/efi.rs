//! A memory map of EFI firmware of any bytes. The first byte chooses the architecture and how far descriptors lie
//! apart.
#![no_main]

use bring_up::Facts;
use libfuzzer_sys::fuzz_target;
use mm::addr::PhysAddr;
use mm::machine::Rules;
use platform::firmware::e820::{FirmwareMap, PcMap};
use platform::firmware::efi::EfiMap;
use platform::options::Options;
use platform::read::MemoryImage;

const AT: PhysAddr = PhysAddr::new(0x8000);
const STRIDES: [u64; 4] = [40, 48, 64, 41];

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, descriptors)) = bytes.split_first() else { return };
    let stride = STRIDES[usize::from(first >> 1) % STRIDES.len()];
    let map = EfiMap { at: AT, size: descriptors.len() as u64, stride, version: EfiMap::VERSION };
    let pieces = [(AT, descriptors)];
    let read = &mut MemoryImage::new(&pieces);
    let mut facts = Facts::default();
    let text = &mut String::new();
    let rules = if first & 1 == 0 { Rules::X86 } else { Rules::Arm64 };
    let _ = map.print(rules, read, text);
    match rules {
        Rules::X86 => {
            let map = PcMap::from(FirmwareMap::Efi(map));
            map.describe(read, &mut facts);
            let _ = map.print(read, text);
        }
        Rules::Arm64 => map.describe(0x1000, read, &mut facts),
    }
    facts.bring_up(rules, &Options::default());
});
