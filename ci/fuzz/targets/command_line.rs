//! A command line of any bytes, on a machine of three banks and two nodes. The first byte chooses the architecture.
#![no_main]

use bring_up::Facts;
use libfuzzer_sys::fuzz_target;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Affinity, Bank, MachineSink, MemoryKind, Persistence, Plug, RegionFlags, Rules, Source, Table};
use platform::cmdline::Cmdline;
use platform::firmware::e820::{E820, FirmwareMap, PcMap};
use platform::options::Options;
use platform::read::MemoryImage;

/// First byte, end and domain of each bank.
const BANKS: [(u64, u64, u32); 3] = [(0x1000, 0x9_f000, 0), (0x10_0000, 0xc000_0000, 0), (1 << 32, 6 << 30, 1)];
const MAP: PhysAddr = PhysAddr::new(0x1000);

fuzz_target!(|bytes: &[u8]| {
    let Some((first, line)) = bytes.split_first() else { return };
    let cmdline = Cmdline::from_bytes(line);
    let options = Options::read(&cmdline, &mut |item, why| assert!(!item.contains('\n') && !why.is_empty()));
    let _ = cmdline.unknown().map(|item| item.to_string().len()).sum::<usize>();
    let mut facts = Facts::default();
    for (entry, (start, end, domain)) in (0..).zip(BANKS) {
        let range = PhysRange::new(PhysAddr::new(start), PhysAddr::new(end));
        let plug = if domain == 1 { Plug::HotPluggable } else { Plug::Fixed };
        facts.affinity(Affinity {
            range,
            domain,
            plug,
            persistence: Persistence::default(),
            source: Source::entry(Table::Srat, entry),
        });
    }
    if first & 1 == 0 {
        on_a_pc(&cmdline, &mut facts);
        facts.bring_up(Rules::X86, &options);
    } else {
        for (entry, (start, end, _)) in (0..).zip(BANKS) {
            let range = PhysRange::new(PhysAddr::new(start), PhysAddr::new(end));
            let source = Source::entry(Table::MemoryNode, entry);
            facts.bank(Bank { range, kind: MemoryKind::Usable, flags: RegionFlags::empty(), source });
        }
        facts.bring_up(Rules::Arm64, &options);
    }
});

/// There the line changes the map itself.
fn on_a_pc(cmdline: &Cmdline, facts: &mut Facts) {
    let mut bytes = Vec::new();
    for (start, end, _) in BANKS {
        bytes.extend([start, end - start].into_iter().flat_map(u64::to_le_bytes));
        bytes.extend([1, 0].into_iter().flat_map(u32::to_le_bytes));
    }
    let map = E820 { at: MAP, entries: BANKS.len() as u32 };
    let map = PcMap { cmdline: Some(cmdline), ..PcMap::from(FirmwareMap::E820(map)) };
    let pieces = [(MAP, &bytes[..])];
    let read = &mut MemoryImage::new(&pieces);
    map.describe(read, facts);
    let text = &mut String::new();
    let _ = map.print(read, text).and_then(|()| map.print_changes(read, text));
}
