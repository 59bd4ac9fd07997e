//! A PC BIOS memory map of any bytes, in entries of 24.
#![no_main]

use bring_up::Facts;
use libfuzzer_sys::fuzz_target;
use mm::addr::PhysAddr;
use mm::machine::Rules;
use platform::firmware::e820::E820;
use platform::options::Options;
use platform::read::MemoryImage;

const AT: PhysAddr = PhysAddr::new(0x1000);

fuzz_target!(|bytes: &[u8]| {
    let map = E820 { at: AT, entries: (bytes.len() / E820::ENTRY_SIZE) as u32 };
    let pieces = [(AT, bytes)];
    let mut facts = Facts::default();
    map.describe(&mut MemoryImage::new(&pieces), &mut facts);
    let text = &mut String::new();
    let _ = map.print(&mut MemoryImage::new(&pieces), text);
    let _ = map.print_rules(&mut MemoryImage::new(&pieces), text);
    facts.bring_up(Rules::X86, &Options::default());
});
