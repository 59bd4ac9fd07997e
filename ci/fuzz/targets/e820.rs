//! A PC's memory map of any bytes. The first byte says how many entries of 24 bytes follow; what is left is a chain of
//! `setup_data`.
#![no_main]

use bring_up::Facts;
use libfuzzer_sys::fuzz_target;
use mm::addr::PhysAddr;
use mm::machine::Rules;
use platform::firmware::e820::{E820, FirmwareMap, PcMap, Stage};
use platform::options::Options;
use platform::read::MemoryImage;

const MAP: PhysAddr = PhysAddr::new(0x1000);
const SETUP_DATA: PhysAddr = PhysAddr::new(0x9_0000);

fuzz_target!(|bytes: &[u8]| {
    let Some((&count, rest)) = bytes.split_first() else { return };
    let (entries, setup_data) = rest.split_at(rest.len().min(usize::from(count) * E820::ENTRY_SIZE));
    let map = E820 { at: MAP, entries: count.into() };
    let chain = (!setup_data.is_empty()).then_some(SETUP_DATA);
    let map = PcMap { setup_data: chain, ..PcMap::from(FirmwareMap::E820(map)) };
    let pieces = [(MAP, entries), (SETUP_DATA, setup_data)];
    let read = &mut MemoryImage::new(&pieces);
    let mut facts = Facts::default();
    map.describe(read, &mut facts);
    let text = &mut String::new();
    for stage in [Stage::Firmware, Stage::Kexec, Stage::Extended, Stage::User, Stage::Pc, Stage::Working] {
        let _ = map.print_table(stage, "table", read, text);
    }
    let _ = map
        .print(read, text)
        .and_then(|()| map.print_changes(read, text))
        .and_then(|()| map.print_uncached(read, text));
    facts.bring_up(Rules::X86, &Options::default());
});
