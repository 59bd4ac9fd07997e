//! What the page allocator does with a model, and nobody else: making it, and giving frames their records.
//!
//! At boot, while memblock is being taken over, the sections that must be described are marked as pending and
//! described; the others stay untouched. Later, under the lock of its zone, one untouched granule after the other.
//! The trait stands behind [`MemoryModel`](super::MemoryModel) and cannot be named outside of this crate, so a model
//! is one of those here: that its records are where it says is what the allocators rely on.

use super::Memmap;
use super::granule::Granule;
use super::place::MemmapError;
use super::section::{SectionEntry, SectionState, Sections};
use crate::addr::{NodeId, PfnRange, PhysRange};
use crate::arch::Arch;
use crate::layout::Layout;
use crate::memblock::Memblock;
use crate::paging::{MapError, PageTables};

/// How a model is made, and how frames get their records.
pub trait Describe<A: Arch>: Memmap + Sized {
    /// Its table of sections.
    type Sections: Sections<A>;

    /// No section described, for all memory of `memblock`, in the live `tables`.
    ///
    /// # Errors
    /// When the model has no room for all memory, or memblock none for the model.
    fn make(memblock: &mut Memblock<A>, tables: &PageTables<A>, layout: &Layout) -> Result<Self, MemmapError>;

    /// The table of sections.
    fn sections(&self) -> &Self::Sections;

    /// Gives all of `frames`, whole pending sections of one granule on one node, their records.
    ///
    /// # Errors
    /// When memblock has no memory for the records or the tables that map them.
    fn describe(
        &mut self,
        memblock: &mut Memblock<A>,
        tables: &mut PageTables<A>,
        frames: PfnRange,
        node: NodeId,
    ) -> Result<(), MemmapError>;

    /// Describes every pending section.
    ///
    /// # Errors
    /// As [`Describe::describe`].
    fn describe_pending(&mut self, memblock: &mut Memblock<A>, tables: &mut PageTables<A>) -> Result<(), MemmapError> {
        let mut from = 0;
        while let Some((section, entry)) = self.sections().next(from, SectionState::Pending) {
            let frames = together::<A>(self.sections(), section, entry);
            self.describe(memblock, tables, frames, entry.node)?;
            from = Granule::<A>::section_of(frames.end());
        }
        Ok(())
    }

    /// Gets everything that describing the granules in `frames` will need.
    ///
    /// # Errors
    /// When memblock has no memory for it.
    fn prepare(
        &self,
        memblock: &mut Memblock<A>,
        tables: &mut PageTables<A>,
        frames: PfnRange,
    ) -> Result<(), MemmapError> {
        let _ = (memblock, tables, frames);
        Ok(())
    }

    /// Called once, when all is described that is described at boot.
    fn settle(&self) {}

    /// Gives an untouched granule its records.
    ///
    /// # Errors
    /// When they cannot be mapped; the granule is untouched then.
    ///
    /// # Safety
    /// `granule` is one whole untouched granule of mapped RAM for which [`Describe::prepare`] was called; nobody uses
    /// its memory, and nobody else describes it.
    unsafe fn describe_granule(&self, granule: PfnRange) -> Result<(), MapError>;
}

/// The whole granule that begins with `section` if all of it is pending on one node, else the section.
fn together<A: Arch>(sections: &impl Sections<A>, section: u64, entry: SectionEntry) -> PfnRange {
    let alone = Granule::<A>::section_frames(section);
    let per_granule = Granule::<A>::FRAMES / Granule::<A>::SECTION_FRAMES;
    let whole = section.is_multiple_of(per_granule)
        && (section..section + per_granule).all(|section| sections.get(section) == entry);
    if whole { PfnRange::new(alone.start(), alone.start().saturating_add(Granule::<A>::FRAMES)) } else { alone }
}

/// Clears the records at `records`.
///
/// # Safety
/// The range is mapped RAM of the memmap, of frames that are not described.
pub(super) unsafe fn clear<A: Arch>(access: A, records: PhysRange) {
    if !records.is_empty() {
        // SAFETY: the caller gives RAM that nobody reads as records yet.
        unsafe { access.clear(records) };
    }
}

/// The first frames of a granule, in which its records lie once it is carved.
pub(super) fn own_frames<A: Arch>(granule: PfnRange) -> PfnRange {
    PfnRange::new(granule.start(), granule.start().saturating_add(Granule::<A>::MEMMAP_ORDER.frames()))
}
