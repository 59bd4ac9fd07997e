//! Devices: their registers in virtual space, cached as asked, and never in two ways at once.
//!
//! A CPU that caches one byte in two ways may write old contents over new ones. So an area is refused when the direct
//! map has these bytes in another way (RAM is there as normal memory), or when another area has some of them with
//! another cache type; both are named. Areas that agree may overlap: two drivers share a page of registers.
//!
//! Costs: O(devices) for the check, O(pages) where the direct map would have them; leaves as large as alignment allows.
//!
//! Linux: `__ioremap_caller` in `arch/x86/mm/ioremap.c`, `memtype_reserve` in `arch/x86/mm/pat/memtype.c`,
//! `mm/ioremap.c`.

use super::area::AreaKind;
use super::record::{Records, Ref};
use super::{Vmalloc, VmallocError};
use crate::addr::{PhysRange, VirtAddr};
use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::page_alloc::TableFrames;
use crate::paging::{Access, Entry, Level, Mapping, MemoryType};

/// No CPU of either architecture has longer physical addresses.
const PHYS_BITS: u32 = 52;

/// Whether all devices that have bytes in common with `physical` are cached as `wanted`.
pub(super) fn check<A: Arch, M: MemoryModel<A>>(
    records: &Records<A, M>,
    first: Option<Ref>,
    physical: PhysRange,
    wanted: MemoryType,
) -> Result<(), VmallocError> {
    let mut at = first;
    while let Some(node) = at {
        let area = records.area(node);
        if let AreaKind::Device { physical: other, memory: held } = area.kind
            && other.overlaps(physical)
            && held != wanted
        {
            return Err(VmallocError::CacheType { other, held, wanted });
        }
        at = area.next;
    }
    Ok(())
}

/// Takes `node` out of the list that begins at `first`.
pub(super) fn unlink<A: Arch, M: MemoryModel<A>>(records: &mut Records<A, M>, first: &mut Option<Ref>, node: Ref) {
    let next = records.area(node).next;
    if *first == Some(node) {
        *first = next;
        return;
    }
    let mut at = *first;
    while let Some(before) = at {
        at = records.area(before).next;
        if at == Some(node) {
            records.area_mut(before).next = next;
            return;
        }
    }
}

impl<A: Arch, M: MemoryModel<A>> Vmalloc<A, M> {
    /// Maps the device at `range`, cached as `memory`, for `owner`. The address of its first byte, which need not be on
    /// a page.
    ///
    /// # Errors
    /// [`VmallocError`]: [`DirectMap`](VmallocError::DirectMap) and [`CacheType`](VmallocError::CacheType) name who has
    /// it in another way.
    pub fn ioremap(&self, range: PhysRange, memory: MemoryType, owner: &'static str) -> Result<VirtAddr, VmallocError> {
        if range.is_empty() {
            return Err(VmallocError::Empty);
        }
        let mapping = Mapping { access: Access::ReadWrite, memory };
        let physical = range.expand_to(A::PAGE_SIZE);
        if !self.entry_says(physical, mapping) {
            return Err(VmallocError::Unreachable(range));
        }
        self.check_direct_map(physical, mapping.raw())?;
        let kind = AreaKind::Device { physical, memory };
        let claim = self.claim(kind, physical.size(), self.leaf_bytes(physical), owner)?;
        let mapped = {
            let mut tables = self.pages.tables().lock(self.access());
            tables.map(claim.mapped.start(), physical, mapping, &mut TableFrames(self.pages))
        };
        let mapped = self.finish(claim, mapped)?;
        Ok(mapped.start().saturating_add(range.start().as_u64() & (A::PAGE_SIZE - 1)))
    }

    /// Whether entries can name each page of `physical`.
    fn entry_says(&self, physical: PhysRange, mapping: Mapping) -> bool {
        // A range that is clipped at the end of the 64-bit space is longer than that, too.
        if physical.end().as_u64() > 1 << PHYS_BITS {
            return false;
        }
        let last = physical.last().align_down(A::PAGE_SIZE);
        let entry = self.access().leaf(last, Level::PAGE, mapping);
        matches!(self.access().decode(entry, Level::PAGE), Entry::Leaf { address, .. } if address == last)
    }

    /// Bytes of the largest leaf that can map the start of `physical`.
    fn leaf_bytes(&self, physical: PhysRange) -> u64 {
        let fits = |level: &Level| {
            let span = level.span::<A>();
            self.access().leaf_at(*level) && span <= physical.size() && physical.start().is_aligned(span)
        };
        let levels = (1..A::LEVELS).map(Level::new).take_while(fits);
        levels.last().unwrap_or(Level::PAGE).span::<A>()
    }
}
