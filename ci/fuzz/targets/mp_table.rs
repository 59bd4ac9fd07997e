//! An MP table of any bytes in the last KiB of base memory, its pointer first. Both get right sums, unless the last
//! byte asks for wrong ones.
#![no_main]

use bring_up::Facts;
use libfuzzer_sys::fuzz_target;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Bank, MachineSink, MemoryKind, RegionFlags, Rules, Source, Table};
use platform::firmware::mp_table;
use platform::options::Options;
use platform::read::MemoryImage;

const POINTER: PhysAddr = PhysAddr::new(0x9_fc00);
/// Bytes of the pointer; the table follows it.
const TABLE: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if bytes.len() > TABLE && bytes.last() != Some(&0xff) {
        let (pointer, table) = bytes.split_at_mut(TABLE);
        seal(pointer, 10);
        let length = usize::from(u16::from_le_bytes([table.get(4), table.get(5)].map(|byte| *byte.unwrap_or(&0))));
        if let Some(table) = table.get_mut(..length) {
            seal(table, 7);
        }
    }
    let pieces = [(POINTER, &bytes[..])];
    let read = &mut MemoryImage::new(&pieces);
    let mut facts = Facts::default();
    let range = PhysRange::new(PhysAddr::new(0x10_0000), PhysAddr::new(0x800_0000));
    let source = Source::whole(Table::E820);
    facts.bank(Bank { range, kind: MemoryKind::Usable, flags: RegionFlags::empty(), source });
    mp_table::describe(read, &mut facts);
    let _ = mp_table::irq_controller(read);
    facts.bring_up(Rules::X86, &Options::default());
});

fn seal(bytes: &mut [u8], place: usize) {
    if place < bytes.len() {
        bytes[place] = 0;
        bytes[place] = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
    }
}
