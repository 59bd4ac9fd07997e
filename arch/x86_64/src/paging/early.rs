//! Reading physical memory while it is not known what is memory: the firmware's tables.
//!
//! [`EarlyMap`] moves one page of the fixmap over what is read, and refuses addresses that the CPU does not have. Where
//! nothing answers, a PC's bus gives all ones, so a wrong address yields a table that fails its checks. Pages are mapped
//! as ordinary memory, which tables are; what a device answers under such a mapping the MTRRs keep uncached.
//! Costs a store and a TLB flush for each change of page. Linux: `early_memremap`.

use super::fixmap::{self, WINDOW};
use crate::{Native, cpu};
use mm::addr::{PhysAddr, PhysRange};
use mm::arch::PhysMap;
use mm::paging::Mapping;
use mm::sync::IrqLock;
use platform::read::{PhysRead, Unreadable};

const PAGE: u64 = 4096;

/// The page that the window shows; there is one window, whoever reads.
static SHOWN: IrqLock<Option<PhysAddr>> = IrqLock::new(None);

/// Physical memory as the fixmap's window shows it.
#[derive(Debug, Default)]
pub struct EarlyMap(());

impl EarlyMap {
    /// A reader. All readers share the window.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl PhysRead for EarlyMap {
    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> Result<(), Unreadable> {
        let unreadable = Unreadable { at };
        let range = PhysRange::from_size(at, into.len() as u64).ok_or(unreadable)?;
        if range.end().as_u64() > 1 << cpu::physical_bits() {
            return Err(unreadable);
        }
        let mut shown = SHOWN.lock(Native);
        let mut at = at;
        let mut left = into;
        while !left.is_empty() {
            let page = at.align_down(PAGE);
            if *shown != Some(page) {
                fixmap::set(WINDOW, page, Mapping::RODATA);
                *shown = Some(page);
            }
            let offset = at.checked_sub(page).ok_or(unreadable)?;
            let count = (PAGE - offset).min(left.len() as u64);
            let (now, later) = left.split_at_mut(count as usize);
            let source = Native.virt_ptr(WINDOW.saturating_add(offset));
            for (offset, byte) in now.iter_mut().enumerate() {
                // SAFETY: the window's page is mapped and the lock keeps it in place; the bytes lie inside it. Volatile,
                // because others may write this memory: each byte is copied once, whatever it is.
                *byte = unsafe { source.add(offset).read_volatile() };
            }
            at = at.checked_add(count).ok_or(unreadable)?;
            left = later;
        }
        Ok(())
    }
}
