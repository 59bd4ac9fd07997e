//! Range registers (MTRRs): read for the memory map, and made the same on every CPU.
//!
//! All CPUs must give a physical address the same memory type. Firmware is to see to that, and a virtual machine's often
//! does for the boot CPU only. So each CPU that starts compares its registers with the boot CPU's, and writes them when
//! they differ: with its cache off and empty, and the registers out of use meanwhile, as Intel's manual has it
//! (volume 3, "MTRR considerations in MP systems"). Costs a few dozen register reads a CPU. Linux: `mtrr_ap_init`,
//! `generic_set_all` in `arch/x86/kernel/cpu/mtrr/generic.c`.

use super::{cpuid, physical_bits, top_of_memory_2};
use core::arch::asm;
use platform::firmware::mtrr::Mtrr;
use spin::Once;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;

/// How many pairs of range registers there are in the lowest byte, and whether there are fixed ones.
const IA32_MTRRCAP: u32 = 0xfe;
const HAS_FIXED: u64 = 1 << 8;
const IA32_MTRR_DEF_TYPE: u32 = 0x2ff;
/// In that register: ranges are in use.
const ENABLED: u64 = 1 << 11;
/// The first pair: base, mask; then the next.
const IA32_MTRR_PHYSBASE0: u32 = 0x200;
/// The registers of the first MiB: of 64 KiB, 16 KiB and 4 KiB pieces.
const FIXED: [u32; 11] = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];

/// A CPU's range registers, and what must be done around a change.
pub(super) trait Registers {
    /// Reads register `number`.
    fn read(&self, number: u32) -> u64;
    /// Writes it.
    fn write(&mut self, number: u32, value: u64);
    /// Runs `change` while nothing is cached.
    fn uncached(&mut self, change: &mut dyn FnMut(&mut Self));
}

/// Registers' values.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Values {
    default_type: u64,
    fixed: Option<[u64; FIXED.len()]>,
    pairs: usize,
    pair: [(u64, u64); Mtrr::MAX_PAIRS],
}

impl Values {
    fn read(registers: &impl Registers) -> Self {
        let capabilities = registers.read(IA32_MTRRCAP);
        let pairs = Mtrr::MAX_PAIRS.min((capabilities as u8).into());
        let mut pair = [(0, 0); Mtrr::MAX_PAIRS];
        for (slot, base) in pair.iter_mut().zip((IA32_MTRR_PHYSBASE0..).step_by(2)).take(pairs) {
            *slot = (registers.read(base), registers.read(base + 1));
        }
        Self {
            default_type: registers.read(IA32_MTRR_DEF_TYPE),
            fixed: (capabilities & HAS_FIXED != 0).then(|| FIXED.map(|number| registers.read(number))),
            pairs,
            pair,
        }
    }

    fn write(&self, registers: &mut impl Registers) {
        registers.write(IA32_MTRR_DEF_TYPE, self.default_type & !ENABLED);
        for (number, value) in FIXED.into_iter().zip(self.fixed.into_iter().flatten()) {
            registers.write(number, value);
        }
        for (&(base, mask), number) in self.pair.iter().zip((IA32_MTRR_PHYSBASE0..).step_by(2)).take(self.pairs) {
            registers.write(number, base);
            registers.write(number + 1, mask);
        }
        registers.write(IA32_MTRR_DEF_TYPE, self.default_type);
    }
}

/// Makes `registers` what the boot CPU's are, unless the CPU has others than that one.
fn make_equal(registers: &mut impl Registers, boot: &Values) {
    let here = Values::read(registers);
    if here == *boot || here.pairs != boot.pairs || here.fixed.is_some() != boot.fixed.is_some() {
        return;
    }
    // One at a time: CPUs of one core may share the registers, and its cache.
    static CHANGING: spin::Mutex<()> = spin::Mutex::new(());
    let changing = CHANGING.lock();
    registers.uncached(&mut |registers| boot.write(registers));
    drop(changing);
}

/// The registers of the CPU that runs this.
pub(super) struct Hardware;

impl Registers for Hardware {
    fn read(&self, number: u32) -> u64 {
        // SAFETY: the CPU says that it has range registers, and that it has this one.
        unsafe { Msr::new(number).read() }
    }

    fn write(&mut self, number: u32, value: u64) {
        // SAFETY: as in `read`. The value is another CPU's, for which the same memory is the same; nothing is cached.
        unsafe { Msr::new(number).write(value) }
    }

    fn uncached(&mut self, change: &mut dyn FnMut(&mut Self)) {
        let (control, flags) = (Cr0::read(), Cr4::read());
        let off = control.union(Cr0Flags::CACHE_DISABLE).difference(Cr0Flags::NOT_WRITE_THROUGH);
        // SAFETY: slower, and the same otherwise. What the cache and the TLB hold goes by the old types, so both are
        // emptied before the change and after it. Everything else in both registers comes back as it was.
        unsafe {
            Cr0::write(off);
            asm!("wbinvd", options(nostack, preserves_flags));
            Cr4::write(flags.difference(Cr4Flags::PAGE_GLOBAL));
        }
        change(self);
        // SAFETY: as above.
        unsafe {
            asm!("wbinvd", options(nostack, preserves_flags));
            Cr0::write(control);
            Cr4::write(flags);
        }
    }
}

/// What the boot CPU has.
static BOOT: Once<Option<Values>> = Once::new();

/// Remembers the boot CPU's registers. To be called there.
pub(super) fn keep_boot_values() {
    BOOT.call_once(|| present().then(|| Values::read(&Hardware)));
}

/// Makes this CPU's registers what the boot CPU's are.
pub(super) fn match_boot_values(registers: &mut impl Registers) {
    if let Some(Some(boot)) = BOOT.get()
        && present()
    {
        make_equal(registers, boot);
    }
}

fn present() -> bool {
    const HAS_MTRR: u32 = 1 << 12;
    cpuid(1).edx & HAS_MTRR != 0
}

/// The CPU's range registers, where it has them.
pub(crate) fn range_registers() -> Option<Mtrr> {
    if !present() {
        return None;
    }
    let Values { default_type, pairs, pair, .. } = Values::read(&Hardware);
    let pairs = pair.into_iter().take(pairs).collect();
    Some(Mtrr { default_type, pairs, physical_bits: physical_bits(), top_of_memory_2: top_of_memory_2() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A CPU that allows changes only while nothing is cached and no range is in use.
    #[derive(Clone)]
    struct Model {
        values: BTreeMap<u32, u64>,
        cached: bool,
        writes: usize,
    }

    impl Model {
        fn new(capabilities: u64) -> Self {
            Self { values: BTreeMap::from([(IA32_MTRRCAP, capabilities)]), cached: true, writes: 0 }
        }

        fn with(mut self, number: u32, value: u64) -> Self {
            self.values.insert(number, value);
            self
        }
    }

    impl Registers for Model {
        fn read(&self, number: u32) -> u64 {
            self.values.get(&number).copied().unwrap_or(0)
        }

        fn write(&mut self, number: u32, value: u64) {
            assert!(!self.cached, "{number:#x} changes while memory is cached");
            let in_use = self.read(IA32_MTRR_DEF_TYPE) & ENABLED != 0;
            assert!(number == IA32_MTRR_DEF_TYPE || !in_use, "{number:#x} changes while ranges are in use");
            self.values.insert(number, value);
            self.writes += 1;
        }

        fn uncached(&mut self, change: &mut dyn FnMut(&mut Self)) {
            self.cached = false;
            change(self);
            self.cached = true;
        }
    }

    /// Two pairs and the fixed registers, as SeaBIOS leaves them.
    fn boot() -> Model {
        let model = Model::new(0x502).with(IA32_MTRR_DEF_TYPE, 0xc06);
        let model = model.with(0x200, 0xc000_0000).with(0x201, 0xff_c000_0800);
        FIXED.into_iter().fold(model, |model, number| model.with(number, 0x0606_0606_0606_0606))
    }

    #[test]
    fn a_cpu_that_the_firmware_has_left_blank_gets_the_boot_cpus_values() {
        let mut blank = Model::new(0x502);
        make_equal(&mut blank, &Values::read(&boot()));
        let differs = |number: &u32| boot().read(*number) != blank.read(*number);
        let numbers = FIXED.into_iter().chain([IA32_MTRR_DEF_TYPE, 0x200, 0x201, 0x202, 0x203]);
        assert_eq!(numbers.filter(differs).count(), 0);
    }

    #[test]
    fn equal_registers_are_left_alone() {
        let mut same = boot();
        make_equal(&mut same, &Values::read(&boot()));
        assert_eq!(same.writes, 0);
    }

    #[test]
    fn ranges_that_are_in_use_go_out_of_use_first() {
        let mut other = boot().with(0x200, 0x8000_0000);
        make_equal(&mut other, &Values::read(&boot()));
        assert_eq!(other.read(0x200), 0xc000_0000);
        assert_eq!(other.read(IA32_MTRR_DEF_TYPE), 0xc06);
    }

    #[test]
    fn a_cpu_with_other_registers_is_left_alone() {
        let mut fewer = Model::new(0x501);
        make_equal(&mut fewer, &Values::read(&boot()));
        assert_eq!(fewer.writes, 0);
    }
}
