//! `/reserved-memory`: ranges that somebody holds, and sizes that want a place.
//!
//! The node counts only when its cells are the root's and it has a `ranges`: what it says otherwise cannot be told. A
//! child with a `reg` is a reservation of each range there. One with a `size` and no `reg` is a [`Wish`]: its
//! `alignment` holds, and of its `alloc-ranges` the first in which there is room. `no-map` keeps the memory out of
//! every mapping.
//!
//! A `shared-dma-pool` that is `reusable` is a pool of contiguous memory (CMA), as far as its first range; the one
//! that is `linux,cma-default` serves every device. Whether a pool's start and size are multiples of a page block, as
//! they must be, is for whoever makes the pool: here the page size is not known. One that is `no-map` too can be
//! neither, so nobody holds it. Linux: `fdt_scan_reserved_mem` in `drivers/of/fdt.c`, `__reserved_mem_alloc_size` and
//! `fdt_init_reserved_mem` in `of_reserved_mem.c`, `rmem_cma_setup` in `kernel/dma/contiguous.c`.

use super::tree::{Cells, cell, has, is_compatible, is_okay, sized_number, value};
use fdt::node::FdtNode;
use mm::addr::PhysRange;
use mm::machine::{Fact, MachineSink, Owner, Problem, Purpose, Reservation, Source, Table, Warning, Wish};

/// The alignment of what does not ask for one: a cache line.
const CACHE_LINE: u64 = 64;

/// One child: what it is for, and how it is told.
struct Child<'b, 'a> {
    node: FdtNode<'b, 'a>,
    /// The cells of all ranges here.
    cells: Cells,
    owner: Owner,
    source: Source,
    index: u32,
}

/// The node and its children.
pub(super) fn describe(node: FdtNode<'_, '_>, root: Cells, sink: &mut dyn MachineSink) {
    let stated = (cell(node, "#address-cells"), cell(node, "#size-cells"));
    if stated != (Some(root.address), Some(root.size)) || !has(node, "ranges") {
        let problem = Problem::TableIgnored("it has no `ranges`, or other cells than the root");
        return sink.warning(Warning { source: Source::whole(Table::ReservedMemory), problem });
    }
    for (index, node) in (0..).zip(node.children()) {
        if is_okay(node) {
            let source = Source::entry(Table::ReservedMemory, index);
            Child { node, cells: root, owner: Owner::new(node.name), source, index }.describe(sink);
        }
    }
}

impl Child<'_, '_> {
    fn describe(&self, sink: &mut dyn MachineSink) {
        let told = match value(self.node, "reg") {
            Some(reg) => self.placed(reg, sink),
            None if has(self.node, "size") => self.wishes(sink),
            None => Err(Problem::Length { stated: 0 }),
        };
        if let Err(problem) = told {
            self.warn(problem, sink);
        }
    }

    fn warn(&self, problem: Problem, sink: &mut dyn MachineSink) {
        sink.warning(Warning { source: self.source, problem });
    }

    /// What memory of this child is for where it is no pool.
    fn plain(&self) -> Purpose {
        if has(self.node, "no-map") { Purpose::NoMap } else { Purpose::Held }
    }

    /// What its first range is for.
    fn purpose(&self) -> Result<Purpose, Problem> {
        let pool = is_compatible(self.node, "shared-dma-pool") && has(self.node, "reusable");
        match (pool, self.plain()) {
            (true, Purpose::NoMap) => Err(Problem::EntryIgnored("a pool cannot be both reusable and no-map")),
            (true, _) => Ok(Purpose::Contiguous),
            (false, plain) => Ok(plain),
        }
    }

    /// Says that this is the pool of every device, if it is.
    fn default_pool(&self, purpose: Purpose, sink: &mut dyn MachineSink) {
        if purpose == Purpose::Contiguous && has(self.node, "linux,cma-default") {
            sink.fact(Fact::DefaultPool(self.source));
        }
    }

    /// The ranges of a `reg`. One whose length cannot be says nothing at all.
    fn placed(&self, reg: &[u8], sink: &mut dyn MachineSink) -> Result<(), Problem> {
        let ranges = self.cells.ranges(reg)?;
        if !(reg.len() as u64).is_multiple_of(self.cells.pair_bytes()) {
            return Err(Problem::Length { stated: reg.len() as u64 });
        }
        for (at, range) in ranges.enumerate() {
            let told = match range {
                // A range that nobody filled, where there is a size too: a place of our choice is meant.
                Ok(range) if range.is_empty() && at == 0 && has(self.node, "size") => self.wishes(sink),
                Ok(range) if range.is_empty() => Err(Problem::Empty { start: range.start().as_u64() }),
                Ok(range) if at == 0 => self.purpose().map(|purpose| self.hold(range, purpose, sink)),
                Ok(range) => {
                    self.hold(range, self.plain(), sink);
                    Ok(())
                }
                Err(problem) => Err(problem),
            };
            if let Err(problem) = told {
                self.warn(problem, sink);
            }
        }
        Ok(())
    }

    fn hold(&self, range: PhysRange, purpose: Purpose, sink: &mut dyn MachineSink) {
        self.default_pool(purpose, sink);
        sink.reservation(Reservation { range, owner: self.owner, purpose, source: self.source });
    }

    /// Memory at a place of our choice: one wish for each of the `alloc-ranges`.
    fn wishes(&self, sink: &mut dyn MachineSink) -> Result<(), Problem> {
        let purpose = self.purpose()?;
        let size = sized_number(self.node, "size", self.cells.size)?.unwrap_or(0);
        if size == 0 {
            return Err(Problem::Empty { start: 0 });
        }
        let align = match sized_number(self.node, "alignment", self.cells.address)? {
            None | Some(0) => CACHE_LINE,
            Some(align) if align.is_power_of_two() => align,
            Some(align) => return Err(Problem::Value { what: "the alignment", value: align }),
        };
        let Self { owner, source, .. } = *self;
        let wish = |within| Fact::Wish(Wish { size, align, within, group: self.index, owner, purpose, source });
        let Some(places) = value(self.node, "alloc-ranges") else {
            self.default_pool(purpose, sink);
            sink.fact(wish(PhysRange::ALL));
            return Ok(());
        };
        let ranges = self.cells.ranges(places)?;
        if places.is_empty() || !(places.len() as u64).is_multiple_of(self.cells.pair_bytes()) {
            return Err(Problem::Length { stated: places.len() as u64 });
        }
        self.default_pool(purpose, sink);
        for range in ranges {
            match range {
                // Nothing from nowhere stands for anywhere.
                Ok(range) if range.end().as_u64() == 0 => sink.fact(wish(PhysRange::ALL)),
                Ok(range) if range.is_empty() => self.warn(Problem::Empty { start: range.start().as_u64() }, sink),
                Ok(range) => sink.fact(wish(range)),
                Err(problem) => self.warn(problem, sink),
            }
        }
        Ok(())
    }
}
