//! ACPI's root pointer and tables of any bytes, over a fixed map of memory. The first 64 bytes are the root pointer,
//! the rest lies where it most likely points.
#![no_main]

use bring_up::Facts;
use libfuzzer_sys::fuzz_target;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Bank, MachineSink, MemoryKind, RegionFlags, Rules, Source, Table};
use platform::firmware::acpi;
use platform::options::Options;
use platform::read::MemoryImage;

const RSDP: PhysAddr = PhysAddr::new(0xf_59d0);
const TABLES: PhysAddr = PhysAddr::new(0x7fe_0000);

fuzz_target!(|bytes: &[u8]| {
    let (rsdp, tables) = bytes.split_at(bytes.len().min(64));
    // Sums that are wrong would keep everything behind them from being read.
    let (rsdp, tables) = (sealed_root(rsdp), sealed_tables(tables));
    let pieces = [(RSDP, &rsdp[..]), (TABLES, &tables[..])];
    let mut facts = Facts::default();
    for (start, end) in [(0x1000, 0x9_f000), (0x10_0000, 0x800_0000), (1 << 32, 5 << 30)] {
        let range = PhysRange::new(PhysAddr::new(start), PhysAddr::new(end));
        let source = Source::whole(Table::E820);
        facts.bank(Bank { range, kind: MemoryKind::Usable, flags: RegionFlags::empty(), source });
    }
    acpi::describe(RSDP, &mut MemoryImage::new(&pieces), &mut facts);
    let read = &mut MemoryImage::new(&pieces);
    let _ = (acpi::power_off(RSDP, read), acpi::psci(RSDP, read), acpi::console(RSDP, read));
    let _ = acpi::irq_controller(RSDP, read, &mut |warning| facts.warning(warning));
    let _ = acpi::timer_interrupt(RSDP, read);
    let _ = acpi::print_tables(RSDP, read, &mut String::new());
    facts.bring_up(Rules::X86, &Options::default());
});

fn seal(bytes: &mut [u8], place: usize) {
    if place < bytes.len() {
        bytes[place] = 0;
        bytes[place] = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
    }
}

/// The root pointer with right sums, unless it asks for wrong ones by its last byte.
fn sealed_root(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= 36 && bytes.last() != Some(&0xff) {
        seal(&mut bytes[..20], 8);
        seal(&mut bytes[..36], 32);
    }
    bytes
}

/// Tables that follow each other, each with a right sum.
fn sealed_tables(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + 36) {
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let Some(table) = at.checked_add(length).and_then(|end| bytes.get_mut(at..end)) else { break };
        if length < 36 {
            break;
        }
        seal(table, 9);
        at += length;
    }
    bytes
}
