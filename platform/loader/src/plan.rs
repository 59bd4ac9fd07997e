//! Which addresses the kernel finds mapped when it is entered.
//!
//! - Physical memory at one offset, the HHDM: how much of it is a matter of the base revision ([`BaseRevision`]).
//!   Readable and writable, never executable; from revision 3 on only memory, earlier what else lies in the first
//!   4 GiB too, as devices.
//! - The image where it was linked, each segment with its own rights.
//! - One page of the loader itself, read-only and executable, just below the top 2 GiB, where no kernel can be
//!   ([`JUMP`]): the code there changes from the firmware's tables to these and enters the kernel. It lies outside the
//!   HHDM because all of that stays writable.
//! - Before revision 1, the first 4 GiB at their own addresses.
//!
//! To get onto these tables, a second root (`transition`) maps the loader's page at its own address as well.
//!
//! Linux has such a plan in `arch/x86/mm/init.c` (`init_mem_mapping`) and `arch/arm64/mm/mmu.c` (`map_mem`).

use crate::elf::{Executable, MAX_SEGMENTS, Machine, Segment};
use crate::memory_map::{Entry, Kind};
use crate::pool::Pool;
use crate::requests::BaseRevision;
use crate::tables::{Access, Format, MapError, Tables, most_tables};
use crate::{PAGE, page_ceil, page_floor};
use arrayvec::ArrayVec;

/// Where the loader's own page is while it enters the kernel.
pub const JUMP: u64 = 0xffff_ffff_7fff_f000;
/// Nothing of the HHDM reaches here.
const HHDM_END: u64 = 0xffff_ff80_0000_0000;
const FOUR_GIB: u64 = 1 << 32;

/// The virtual address of physical address 0.
pub const fn hhdm(machine: Machine) -> u64 {
    match machine {
        Machine::X86_64 => 0xffff_8000_0000_0000,
        Machine::Aarch64 => 0xffff_0000_0000_0000,
    }
}

/// Physical addresses of the trees' roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roots {
    /// The kernel's half, and on x86_64 the lower half too.
    pub kernel: u64,
    /// The lower half: on x86_64 the same root.
    pub lower: u64,
    /// The loader's page at its own address; on x86_64 the kernel's half too.
    pub transition: u64,
}

/// What has to be mapped.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// How.
    pub format: Format,
    /// By which rules.
    pub revision: BaseRevision,
    /// All memory: sorted and disjoint.
    pub map: &'a [Entry],
    /// The kernel.
    pub executable: &'a Executable<'a>,
    /// The physical address of its image.
    pub image: u64,
    /// The physical address of the loader's page.
    pub jump: u64,
}

/// A range of physical memory that is mapped in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: u64,
    end: u64,
    access: Access,
}

impl Plan<'_> {
    /// Builds the tables.
    ///
    /// # Errors
    /// When the pool is used up, or memory lies where the HHDM cannot reach.
    pub fn build(&self, pool: &mut Pool<'_>) -> Result<Roots, MapError> {
        let hhdm = hhdm(self.format.machine());
        let mut tables = Tables::new(pool, self.format);
        let kernel = tables.root()?;
        let lower = match self.format.machine() {
            Machine::X86_64 => kernel,
            Machine::Aarch64 => tables.root()?,
        };
        self.for_each_run(|run| tables.map(kernel, hhdm + run.start, run.start, run.end - run.start, run.access))?;
        self.map_image(&mut tables, kernel)?;
        tables.map(kernel, JUMP, self.jump, PAGE, Access::ReadExecute)?;
        // From here on nothing is mapped in the kernel's half, so that the roots can share it.
        let transition = match self.format.machine() {
            Machine::X86_64 => tables.share_upper_half(kernel)?,
            Machine::Aarch64 => tables.root()?,
        };
        tables.map(transition, self.jump, self.jump, PAGE, Access::ReadExecute)?;
        if self.revision.maps_identity() {
            let low = |run: Run| Run { start: run.start.max(PAGE), end: run.end.min(FOUR_GIB), ..run };
            self.for_each_run(|run| match low(run) {
                Run { start, end, access } if start < end => tables.map(lower, start, start, end - start, access),
                _ => Ok(()),
            })?;
        }
        Ok(Roots { kernel, lower, transition })
    }

    /// Bytes that the tables take at most, for a map of up to `more` additional entries.
    pub fn most_bytes(&self, more: u64) -> u64 {
        let mut tables = 0_u64;
        // An error is one of the build, and comes there.
        let _ = self.for_each_run(|run| {
            tables = tables.saturating_add(most_tables(self.format, run.end - run.start));
            Ok(())
        });
        let identity = if self.revision.maps_identity() { tables } else { 0 };
        let image = most_tables(Format::X86_64, self.executable.size()) + (self.executable.size() >> 21);
        let rest = 3 + 2 * most_tables(self.format, PAGE) + more * 2 * most_tables(self.format, PAGE);
        tables.saturating_add(identity).saturating_add(image + rest).saturating_mul(PAGE)
    }

    fn map_image(&self, tables: &mut Tables<'_, '_>, root: u64) -> Result<(), MapError> {
        let base = self.executable.start();
        let mut segments: ArrayVec<&Segment, MAX_SEGMENTS> = self.executable.segments().iter().collect();
        segments.sort_unstable_by_key(|segment| segment.start);
        // Segments with equal rights may have a page in common; it is mapped once.
        let mut mapped = base;
        for segment in segments {
            let (start, end) = (page_floor(segment.start).max(mapped), page_ceil(segment.end));
            if start < end {
                tables.map(root, start, self.image + (start - base), end - start, segment.rights.into())?;
                mapped = end;
            }
        }
        Ok(())
    }

    /// Each range of the HHDM, in order, neighbours of one access as one.
    fn for_each_run(&self, mut visit: impl FnMut(Run) -> Result<(), MapError>) -> Result<(), MapError> {
        let mut pending: Option<Run> = None;
        let mut add = |new: Run| -> Result<(), MapError> {
            if new.start >= new.end {
                return Ok(());
            }
            match &mut pending {
                Some(last) if last.end == new.start && last.access == new.access => last.end = new.end,
                last => {
                    if let Some(done) = last.replace(new) {
                        visit(done)?;
                    }
                }
            }
            Ok(())
        };
        let reach = HHDM_END - hhdm(self.format.machine());
        let mut here = 0;
        for &Entry { start, end, kind } in self.map {
            if self.revision.maps_first_4g() {
                add(Run { start: here, end: start.min(FOUR_GIB), access: Access::Device })?;
            }
            here = end;
            match kind {
                Kind::Reserved | Kind::Bad => {
                    let low = if self.revision.maps_first_4g() { FOUR_GIB } else { 0 };
                    let end = end.min(if self.revision.maps_reserved_above_4g() { reach } else { low });
                    add(Run { start, end, access: Access::Device })?;
                }
                Kind::AcpiReclaimable | Kind::AcpiNvs if !self.revision.maps_acpi() => {}
                _ if end > reach => return Err(MapError::Range { address: start }),
                _ => add(Run { start, end, access: Access::ReadWrite })?,
            }
        }
        if self.revision.maps_first_4g() {
            add(Run { start: here, end: FOUR_GIB, access: Access::Device })?;
        }
        pending.map_or(Ok(()), visit)
    }
}

#[cfg(test)]
mod tests;
