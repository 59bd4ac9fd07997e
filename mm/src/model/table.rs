//! `mem_section`, the table of all sections, in two forms.
//!
//! [`SectionTable`] has two levels: an array of roots, sized by the highest section that holds memory, and a page of
//! entries under each root that has memory below it. With entries of 4 bytes and pages of 4 KiB a root covers 128 GiB.
//! [`FixedTable`] is one array for all sections up to a limit that the type names: a dependent load less, but memory
//! for sections that are not there, and no room for memory beyond the limit. It lies in boot memory too, since a value
//! of this size would not fit the stacks over which it is handed on.
//!
//! Both are made at boot, while the page allocator takes memblock over. Linux: `CONFIG_SPARSEMEM_EXTREME` and
//! `CONFIG_SPARSEMEM_STATIC`, `mem_section` and `sparse_index_init` in `mm/sparse.c`.

use super::granule::Granule;
use super::place::MemmapError;
use super::section::{Sections, Word, sections_of};
use crate::addr::{NodeId, Pfn, PfnRange, PhysAddr, PhysRange};
use crate::arch::Arch;
use crate::machine::Owner;
use crate::memblock::{BootSlice, Memblock, NodeWish, OutOfMemory, Request};
use core::fmt;
use core::marker::PhantomData;
use core::slice;
use core::sync::atomic::{AtomicU32, AtomicU64};

/// A root: nothing, or the page of entries at an address. Zero is nothing, so an address is stored plus one: frame 0
/// may hold a page of entries too.
#[derive(Clone, Copy)]
struct Root(u64);

// SAFETY: a transparent integer for which zero means that there is no page; no drop.
unsafe impl crate::memblock::Zeroed for Root {}

/// The table of two levels.
pub struct SectionTable<A, W = AtomicU32> {
    access: A,
    roots: BootSlice<A, Root>,
    words: PhantomData<W>,
}

impl<A: Arch, W: Word> SectionTable<A, W> {
    /// Entries under a root.
    const PER_ROOT: u64 = A::PAGE_SIZE / size_of::<W>() as u64;

    /// Makes the page of entries under root `at`, if it is not there.
    fn make_root(&mut self, memblock: &mut Memblock<A>, at: u64, node: NodeId) -> Result<(), OutOfMemory> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let Some(root) = self.roots.get_mut(at) else { return Ok(()) };
        if root.0 != 0 {
            return Ok(());
        }
        let request = Request {
            size: A::PAGE_SIZE,
            align: A::PAGE_SIZE,
            within: memblock.mapped(),
            node: NodeWish::Prefer(node),
            owner: Owner::new("mem_section"),
        };
        let page: PhysRange = memblock.alloc(request)?;
        // SAFETY: memblock just handed the page out, it lies in mapped RAM, and nobody else knows it.
        unsafe { self.access.clear(page) };
        root.0 = page.start().as_u64() + 1;
        Ok(())
    }
}

/// Sections up to the end of all memory.
fn section_count<A: Arch>(memblock: &Memblock<A>) -> u64 {
    let end = memblock.memory().last().map_or(PhysAddr::new(0), |region| region.range().end());
    Pfn::at_or_above(end, A::PAGE_SHIFT).as_u64().div_ceil(Granule::<A>::SECTION_FRAMES)
}

impl<A: Arch, W: Word> Sections<A> for SectionTable<A, W> {
    type Word = W;

    const PIECE: u64 = Self::PER_ROOT;

    fn make(memblock: &mut Memblock<A>) -> Result<Self, MemmapError> {
        let count = section_count(memblock).div_ceil(Self::PER_ROOT);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let roots = memblock.alloc_slice(count, NodeWish::Any, Owner::new("mem_section"))?;
        let mut table = Self { access: memblock.access(), roots, words: PhantomData };
        // Allocating changes what is reserved, never the memory regions.
        for at in 0..memblock.memory().len() {
            let Some(region) = memblock.memory().get(at) else { break };
            let sections = sections_of::<A>(PfnRange::inside(region.range(), A::PAGE_SHIFT));
            let roots = sections.start / Self::PER_ROOT..sections.end.div_ceil(Self::PER_ROOT);
            for root in roots {
                table.make_root(memblock, root, region.node().unwrap_or_default())?;
            }
        }
        Ok(table)
    }

    fn end(&self) -> u64 {
        self.roots.len() as u64 * Self::PER_ROOT
    }

    fn piece(&self, section: u64) -> Option<&[W]> {
        let root = self.roots.get(usize::try_from(section / Self::PER_ROOT).ok()?)?;
        let address = PhysAddr::new(root.0.checked_sub(1)?);
        // SAFETY: a root other than nothing names a page that `make_root` took from memblock for good and filled with
        // zeroes, a value of every entry; it is mapped by the promise of `set_mapped`, and only reached as atomics.
        Some(unsafe { slice::from_raw_parts(self.access.phys_ptr(address).cast(), Self::PER_ROOT as usize) })
    }
}

impl<A: Arch, W: Word> fmt::Debug for SectionTable<A, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f)
    }
}

/// The table of one level for `COUNT` sections from address 0 on.
pub struct FixedTable<A, const COUNT: usize> {
    /// One item.
    words: BootSlice<A, [AtomicU64; COUNT]>,
}

impl<A: Arch, const COUNT: usize> Sections<A> for FixedTable<A, COUNT> {
    type Word = AtomicU64;

    const PIECE: u64 = {
        assert!(COUNT > 0, "a table without sections");
        COUNT as u64
    };

    fn make(memblock: &mut Memblock<A>) -> Result<Self, MemmapError> {
        if section_count(memblock) > Self::PIECE {
            return Err(MemmapError::Beyond(Granule::<A>::section_frames(Self::PIECE).start()));
        }
        Ok(Self { words: memblock.alloc_slice(1, NodeWish::Any, Owner::new("mem_section"))? })
    }

    fn end(&self) -> u64 {
        Self::PIECE
    }

    fn piece(&self, section: u64) -> Option<&[AtomicU64]> {
        self.words.first().filter(|_| section < Self::PIECE).map(<[AtomicU64; COUNT]>::as_slice)
    }
}

impl<A: Arch, const COUNT: usize> fmt::Debug for FixedTable<A, COUNT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f)
    }
}
