//! Memory for a kernel that takes over when this one dies.
//!
//! The architectures differ in where they put it:
//!
//! | | x86 | arm64 |
//! |---|---|---|
//! | alignment | 16 MiB | 2 MiB |
//! | plain | below 4 GiB, else above | below what all devices reach |
//! | `,high` | anywhere, from the top | anywhere, from the top |
//! | beside one above 4 GiB (arm64: above what devices reach) | `,low`, or 256 MiB | `,low`, or nothing |
//!
//! A place that the command line names is taken or not, never moved. Linux: `reserve_crashkernel` in
//! arch/x86/kernel/setup.c and arch/arm64/mm/init.c, `reserve_crashkernel_low`.

use crate::options::{CrashKernel, CrashOption};
use core::fmt;
use mm::addr::{PhysAddr, PhysRange};
use mm::arch::{PageFormat, PhysMap};
use mm::machine::{Owner, Rules};
use mm::memblock::{Direction, Memblock, MemblockError, NodeWish, Request};

const MIB: u64 = 1 << 20;
const FOUR_GIB: PhysAddr = PhysAddr::new(1 << 32);
/// x86 starts a crash kernel below this.
const X86_HIGHEST: PhysAddr = PhysAddr::new(64 << 40);
/// What x86 keeps low beside a high one by itself: bounce buffers of 64 MiB and 8 MiB more would do, but never less
/// than this.
const X86_DEFAULT_LOW: u64 = 256 * MIB;

/// What was reserved for a crash kernel.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CrashRanges {
    /// Where it will run.
    pub main: Option<PhysRange>,
    /// What it will have that all devices reach, where the main part lies above that.
    pub low: Option<PhysRange>,
}

/// One reservation under way.
pub(super) struct Crash<'a, A> {
    pub(super) memblock: &'a mut Memblock<A>,
    pub(super) text: &'a mut dyn fmt::Write,
}

/// What is asked for, once the machine's memory is known.
#[derive(Clone, Copy)]
struct Wanted {
    size: u64,
    at: Option<PhysAddr>,
    height: Height,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Height {
    Low,
    High,
}

impl<A: PhysMap + PageFormat> Crash<'_, A> {
    /// Reserves what `option` asks for; all devices reach below `dma_end`.
    ///
    /// # Errors
    /// [`MemblockError::Full`].
    pub(super) fn reserve(
        &mut self,
        option: &CrashOption,
        rules: Rules,
        dma_end: PhysAddr,
    ) -> Result<CrashRanges, MemblockError> {
        let ram = self.memblock.memory_size();
        let Some(wanted) = wanted(option, rules, ram) else { return Ok(CrashRanges::default()) };
        match rules {
            Rules::X86 => self.x86(wanted, option.low, ram),
            Rules::Arm64 => {
                // `,low` belongs to `,high` there.
                let low = option.low.filter(|_| matches!(wanted.height, Height::High));
                self.arm64(wanted, low.unwrap_or(0), dma_end)
            }
        }
    }

    fn x86(&mut self, wanted: Wanted, low: Option<u64>, ram: u64) -> Result<CrashRanges, MemblockError> {
        const ALIGN: u64 = 16 * MIB;
        let main = match wanted.at {
            // A named place is searched for in steps of 1 MiB.
            Some(at) if !at.is_aligned(MIB) => None,
            Some(at) => self.exactly(at, wanted.size)?,
            None => {
                let start = PhysAddr::new(ALIGN);
                let below = match wanted.height {
                    Height::Low => self.take(wanted.size, ALIGN, PhysRange::new(start, FOUR_GIB))?,
                    Height::High => None,
                };
                match below {
                    Some(range) => Some(range),
                    None => self.take(wanted.size, ALIGN, PhysRange::new(start, X86_HIGHEST))?,
                }
            }
        };
        let Some(main) = main else {
            let why = if wanted.at.is_some() { "memory is in use." } else { "No suitable area found." };
            let _ = writeln!(self.text, "crashkernel reservation failed - {why}");
            return Ok(CrashRanges::default());
        };
        let mut ranges = CrashRanges { main: Some(main), low: None };
        let low_size = low.unwrap_or(X86_DEFAULT_LOW);
        if main.start() >= FOUR_GIB && low_size > 0 {
            ranges.low = self.take(low_size, ALIGN, PhysRange::new(PhysAddr::new(0), FOUR_GIB))?;
            let Some(low) = ranges.low else {
                let size = low_size / MIB;
                let _ = writeln!(self.text, "Cannot reserve {size}MB crashkernel low memory, please try smaller size.");
                return self.give_back(main);
            };
            let _ = writeln!(
                self.text,
                "Reserving {}MB of low memory at {}MB for crashkernel (low RAM limit: {}MB)",
                low_size / MIB,
                low.start().as_u64() / MIB,
                ram.min(FOUR_GIB.as_u64()) / MIB
            );
        }
        let _ = writeln!(
            self.text,
            "Reserving {}MB of memory at {}MB for crashkernel (System RAM: {}MB)",
            wanted.size / MIB,
            main.start().as_u64() / MIB,
            ram / MIB
        );
        Ok(ranges)
    }

    fn arm64(&mut self, wanted: Wanted, low_size: u64, dma_end: PhysAddr) -> Result<CrashRanges, MemblockError> {
        const ALIGN: u64 = 2 * MIB;
        let Some(size) = wanted.size.checked_next_multiple_of(A::PAGE_SIZE) else {
            return Ok(CrashRanges::default());
        };
        let end = match wanted.height {
            Height::Low => dma_end,
            Height::High => PhysRange::ALL.end(),
        };
        let main = match wanted.at {
            // The alignment holds for named places too.
            Some(at) if !at.is_aligned(ALIGN) => None,
            Some(at) => self.exactly(at, size)?,
            None => self.take(size, ALIGN, PhysRange::new(PhysAddr::new(0), end))?,
        };
        let Some(main) = main else {
            let _ = writeln!(self.text, "cannot allocate crashkernel (size:{size:#x})");
            return Ok(CrashRanges::default());
        };
        let mut ranges = CrashRanges { main: Some(main), low: None };
        if main.start() >= dma_end && low_size > 0 {
            ranges.low = self.take(low_size, ALIGN, PhysRange::new(PhysAddr::new(0), dma_end))?;
            let Some(low) = ranges.low else {
                let _ = writeln!(self.text, "cannot allocate crashkernel low memory (size:{low_size:#x}).");
                return self.give_back(main);
            };
            let (start, end, mib) = (low.start(), low.end(), low_size / MIB);
            let _ = writeln!(self.text, "crashkernel low memory reserved: {start:#010x} - {end:#010x} ({mib} MB)");
        }
        let (start, end, mib) = (main.start(), main.end(), size / MIB);
        let _ = writeln!(self.text, "crashkernel reserved: {start:#018x} - {end:#018x} ({mib} MB)");
        Ok(ranges)
    }

    fn take(&mut self, size: u64, align: u64, within: PhysRange) -> Result<Option<PhysRange>, MemblockError> {
        let request = Request { size, align, within, node: NodeWish::Any, owner: Owner::new("Crash kernel") };
        self.memblock.keep(request, Direction::TopDown, self.memblock.mapped())
    }

    fn exactly(&mut self, at: PhysAddr, size: u64) -> Result<Option<PhysRange>, MemblockError> {
        match PhysRange::from_size(at, size) {
            Some(place) => self.take(size, 1, place),
            None => Ok(None),
        }
    }

    /// Without low memory a high range is of no use.
    fn give_back(&mut self, main: PhysRange) -> Result<CrashRanges, MemblockError> {
        self.memblock.free(main)?;
        Ok(CrashRanges::default())
    }
}

/// What the command line asks for on a machine with `ram` bytes. arm64 looks at `,high` only where there is no plain
/// item; x86 also where the plain one asks for nothing on this machine.
fn wanted(option: &CrashOption, rules: Rules, ram: u64) -> Option<Wanted> {
    let of_plain = |plain: &CrashKernel| plain.size(ram).map(|size| Wanted { size, at: plain.at, height: Height::Low });
    let high = || option.high.filter(|size| *size > 0).map(|size| Wanted { size, at: None, height: Height::High });
    match (&option.plain, rules) {
        (Some(plain), Rules::Arm64) => of_plain(plain),
        (Some(plain), Rules::X86) => of_plain(plain).or_else(high),
        (None, _) => high(),
    }
}
