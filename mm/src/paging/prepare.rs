//! Tables without leaves, for addresses that will be mapped later without a frame at hand.
//!
//! The vmemmap of memory that was never touched is mapped while a zone's lock is held, where no table can be
//! allocated. So the tables above its leaves are made at boot. Linux does the same for the fixmap and for vmalloc's
//! top-level entries (`preallocate_vmalloc_pages`).

use crate::addr::{PhysAddr, VirtAddr};
use crate::arch::{PageFormat, PhysMap};
use crate::paging::map::MapError;
use crate::paging::mapping::{Entry, Level};
use crate::paging::source::FrameSource;
use crate::paging::tables::{PageTables, Table, translates};

/// The part of a range that one table spans: its first and last byte.
#[derive(Clone, Copy)]
struct Part {
    first: VirtAddr,
    last: VirtAddr,
}

impl<A: PhysMap + PageFormat> PageTables<A> {
    /// Makes every table down to and at `level` through which the `size` bytes at `at` are translated. Their frames
    /// are asked for `near` the memory that they will lead to. What is there already stays.
    ///
    /// # Errors
    /// [`MapError`]: outside the tables, a larger leaf in the way, or no frame; what was made before stays.
    pub fn make_tables(
        &mut self,
        at: VirtAddr,
        size: u64,
        level: Level,
        near: PhysAddr,
        frames: &mut impl FrameSource,
    ) -> Result<(), MapError> {
        if size == 0 {
            return Ok(());
        }
        let part = match at.checked_add(size - 1) {
            Some(last) if translates::<A>(at) && translates::<A>(last) => Part { first: at, last },
            _ => return Err(MapError::OutsideTables { at, size }),
        };
        let result =
            self.make_below(self.root_table(), Level::top::<A>(), level, part, &mut || frames.table_frame(near));
        self.access.publish();
        result
    }

    fn make_below(
        &self,
        table: Table<A>,
        here: Level,
        level: Level,
        part: Part,
        frame: &mut dyn FnMut() -> Option<PhysAddr>,
    ) -> Result<(), MapError> {
        if here <= level {
            return Ok(());
        }
        let Some(below) = here.below() else { return Ok(()) };
        let span = here.span::<A>();
        let mut first = part.first;
        loop {
            let end = VirtAddr::new(first.align_down(span).as_u64() | (span - 1));
            let last = end.min(part.last);
            let index = here.index::<A>(first);
            let next = match table.entry(here, index) {
                Entry::Table(frame) => table.child(frame),
                Entry::Leaf { .. } => return Err(MapError::AlreadyMapped { at: first }),
                Entry::Absent => {
                    let next = Table::zeroed(self.access, frame().ok_or(MapError::OutOfFrames { at: first })?);
                    table.link(index, next);
                    next
                }
            };
            self.make_below(next, below, level, Part { first, last }, frame)?;
            match last.checked_add(1) {
                Some(after) if last < part.last => first = after,
                _ => return Ok(()),
            }
        }
    }
}
