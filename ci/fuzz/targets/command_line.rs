//! A command line of any bytes, on a machine of three banks and two nodes. The first byte chooses the architecture.
#![no_main]

use bring_up::Facts;
use libfuzzer_sys::fuzz_target;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Affinity, Bank, MachineSink, MemoryKind, Plug, RegionFlags, Rules, Source, Table};
use platform::cmdline::Cmdline;
use platform::options::Options;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, line)) = bytes.split_first() else { return };
    let rules = if first & 1 == 0 { Rules::X86 } else { Rules::Arm64 };
    let cmdline = Cmdline::from_bytes(line);
    let options = Options::read(&cmdline, &mut |item, why| assert!(!item.contains('\n') && !why.is_empty()));
    let _ = cmdline.unknown().map(|item| item.to_string().len()).sum::<usize>();
    let mut facts = Facts::default();
    let banks = [(0x1000, 0x9_f000, 0), (0x10_0000, 0xc000_0000, 0), (1 << 32, 6 << 30, 1)];
    for (entry, (start, end, domain)) in (0..).zip(banks) {
        let range = PhysRange::new(PhysAddr::new(start), PhysAddr::new(end));
        let source = Source::entry(Table::Srat, entry);
        facts.bank(Bank { range, kind: MemoryKind::Usable, flags: RegionFlags::empty(), source });
        let plug = if domain == 1 { Plug::HotPluggable } else { Plug::Fixed };
        facts.affinity(Affinity { range, domain, plug, source });
    }
    facts.bring_up(rules, &options);
});
