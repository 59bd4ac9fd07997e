//! Reading physical memory while it is not known what is memory: the firmware's tables.
//!
//! [`EarlyMap`] moves a window of the fixmap over what is read, and refuses addresses that the CPU does not have. Where
//! nothing answers, a PC's bus gives all ones, so a wrong address yields a table that fails its checks. The window maps
//! ordinary memory, which tables are; what a device answers under such a mapping the MTRRs keep uncached.
//! Costs four stores and four TLB flushes each time the window moves. Linux: `early_memremap`.

use super::fixmap::fixmap;
use crate::{Native, cpu};
use mm::addr::{PhysAddr, PhysRange};
use mm::arch::PhysMap;
use mm::paging::Mapping;
use mm::paging::early_ioremap::Window;
use platform::read::{PhysRead, Unreadable};

const PAGE: u64 = 4096;
/// Bytes that the window shows.
const WINDOW: u64 = 4 * PAGE;

/// Physical memory as a window of the fixmap shows it. There are six windows, so there can be six of these.
#[derive(Debug, Default)]
pub struct EarlyMap {
    window: Option<Window>,
}

impl EarlyMap {
    /// A reader, whose window is still closed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows memory from `at` on, one page at least.
    fn show(&mut self, at: PhysAddr) -> Option<&Window> {
        if !self.window.as_ref().is_some_and(|window| window.range().contains(at)) {
            self.close();
            let start = at.align_down(PAGE);
            let limit = PhysAddr::new(1 << cpu::physical_bits());
            let range = PhysRange::new(start, start.saturating_add(WINDOW).min(limit));
            self.window = fixmap()?.lock(Native).early_ioremap(range, Mapping::RODATA).ok();
        }
        self.window.as_ref()
    }

    fn close(&mut self) {
        if let Some(window) = self.window.take()
            && let Some(fixmap) = fixmap()
        {
            fixmap.lock(Native).early_iounmap(window);
        }
    }
}

impl Drop for EarlyMap {
    fn drop(&mut self) {
        self.close();
    }
}

/// Copies what stands at `source`, each byte once, whatever it is: others may write this memory. By words, because
/// tables are read several times over.
///
/// # Safety
/// As many bytes as `into` has can be read at `source`.
unsafe fn copy_out(source: *const u8, into: &mut [u8]) {
    let unaligned = source.align_offset(size_of::<u64>()).min(into.len());
    let (head, aligned) = into.split_at_mut(unaligned);
    let (words, tail) = aligned.as_chunks_mut::<8>();
    for (offset, byte) in head.iter_mut().enumerate() {
        // SAFETY: inside, as the caller says.
        *byte = unsafe { source.add(offset).read_volatile() };
    }
    for (index, word) in words.iter_mut().enumerate() {
        // SAFETY: inside, as the caller says, and behind the head all words are aligned.
        *word = unsafe { source.add(unaligned).cast::<u64>().add(index).read_volatile() }.to_ne_bytes();
    }
    let done = unaligned + words.len() * 8;
    for (offset, byte) in tail.iter_mut().enumerate() {
        // SAFETY: inside, as the caller says.
        *byte = unsafe { source.add(done + offset).read_volatile() };
    }
}

impl PhysRead for EarlyMap {
    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> Result<(), Unreadable> {
        let unreadable = Unreadable { at };
        let range = PhysRange::from_size(at, into.len() as u64).ok_or(unreadable)?;
        if range.end().as_u64() > 1 << cpu::physical_bits() {
            return Err(unreadable);
        }
        let mut at = at;
        let mut left = into;
        while !left.is_empty() {
            let window = self.show(at).ok_or(unreadable)?;
            let offset = at.checked_sub(window.range().start()).ok_or(unreadable)?;
            let count = (window.range().size().saturating_sub(offset)).min(left.len() as u64);
            let source = Native.virt_ptr(window.address().saturating_add(offset));
            let (now, later) = left.split_at_mut(count as usize);
            // SAFETY: the window is open, borrowed from `self`, and `count` bytes from `source` on lie inside it.
            unsafe { copy_out(source, now) };
            at = at.saturating_add(count);
            left = later;
        }
        Ok(())
    }
}
