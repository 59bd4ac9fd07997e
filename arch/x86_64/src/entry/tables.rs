//! The boot tables: the storage, and how it is filled when the image may lie anywhere.
//!
//! They map the image at its link address, the image's memory in the direct map, and make room for the fixmap. entry.s
//! fills them for an image that lies where it is linked, in 32-bit mode, where nothing else is possible;
//! [`BootTables::fill`] does it for any place, for a boot loader that starts the kernel in 64-bit mode. What is mapped,
//! and with which rights, both take from the symbols of kernel.ld, and the kernel's own tests hold the live tables
//! against them.
//!
//! The direct map's part is two tables wide at the upper levels, because memory that begins anywhere may lie across a
//! boundary. Costs: 100 KiB of .bss; about ten instructions for each page of the image and each of its two mappings.

use crate::Native;
use crate::layout::{IMAGE_START, LAYOUT};
use core::mem::offset_of;
use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::arch::PageFormat;
use mm::layout::{ImageSection, VirtRange};
use mm::paging::{Access, Level, Mapping, MemoryType};

/// Entries of a table.
const ENTRIES: usize = 512;
/// Tables whose entries map 2 MiB, 1 GiB and 512 GiB.
const PMD: Level = Level::new(1);
const PUD: Level = Level::new(2);
const PGD: Level = Level::new(3);
/// Where the image is loaded by those who load it where it is linked (kernel.ld).
pub(super) const LINKED_AT: PhysAddr = PhysAddr::new(2 << 20);
/// Where it is linked: at the start of what a lowest table maps.
const LINKED: VirtAddr = VirtAddr::new(IMAGE_START + LINKED_AT.as_u64());
/// The image with its stacks fits this many of the lowest tables: kernel.ld asserts it.
const IMAGE_TABLES: usize = 7;
/// Tables of the fixmap, one for each 2 MiB.
pub(super) const FIXMAP_TABLES: usize = (LAYOUT.fixmap.size() >> 21) as usize;

type Table = [u64; ENTRIES];

/// All of them. entry.s knows each by its offset.
#[repr(C, align(4096))]
pub(super) struct BootTables {
    pub(super) root: Table,
    /// The top 512 GiB: image and fixmap.
    pub(super) high: Table,
    pub(super) image_directory: Table,
    pub(super) image: [Table; IMAGE_TABLES],
    pub(super) fixmap_directory: Table,
    pub(super) fixmap: [Table; FIXMAP_TABLES],
    /// The direct map, with the image's memory in it.
    pub(super) direct_pointers: [Table; 2],
    pub(super) direct_directories: [Table; 2],
    pub(super) direct: [Table; IMAGE_TABLES + 1],
}

/// The direct map has no room for the image's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OutOfReach;

impl BootTables {
    /// As they are before anybody has filled them.
    pub(super) const EMPTY: Self = Self {
        root: [0; ENTRIES],
        high: [0; ENTRIES],
        image_directory: [0; ENTRIES],
        image: [[0; ENTRIES]; _],
        fixmap_directory: [0; ENTRIES],
        fixmap: [[0; ENTRIES]; _],
        direct_pointers: [[0; ENTRIES]; _],
        direct_directories: [[0; ENTRIES]; _],
        direct: [[0; ENTRIES]; _],
    };

    /// Fills them, which are empty and lie at `own`, and returns the root. The `sections` follow one another, linked and
    /// loaded, and the first is linked where the image is. The pages of `guards` are not mapped where they are linked.
    pub(super) fn fill(
        &mut self,
        own: PhysAddr,
        sections: &[ImageSection],
        guards: &[VirtRange],
    ) -> Result<PhysAddr, OutOfReach> {
        let start = sections.first().map_or(own, |section| section.phys.start());
        let end = sections.last().map_or(own, |section| section.phys.end());
        let direct = LAYOUT.direct_range(PhysRange::new(start, end)).ok_or(OutOfReach)?;
        let image = VirtRange::new(LINKED, LINKED.saturating_add(direct.size()));

        let first_mapped = direct.start().align_down(span(PMD));
        for section in sections {
            // Nothing is executed in the direct map.
            let alias = if section.access == Access::ReadExecute { Access::ReadOnly } else { section.access };
            for offset in (0..section.virt.size()).step_by(Native::PAGE_SIZE as usize) {
                let (virt, phys) =
                    (section.virt.start().saturating_add(offset), section.phys.start().saturating_add(offset));
                if !guards.iter().any(|guard| guard.contains(virt)) {
                    put(self.image.as_flattened_mut(), pages_between(LINKED, virt), leaf(phys, section.access));
                }
                if let Some(virt) = LAYOUT.phys_to_virt(phys) {
                    put(self.direct.as_flattened_mut(), pages_between(first_mapped, virt), leaf(phys, alias));
                }
            }
        }

        let at = |offset: usize| own.saturating_add(offset as u64);
        link(&mut self.root, PGD, VirtRange::new(LINKED, LAYOUT.fixmap.end()), at(offset_of!(Self, high)));
        link(&mut self.high, PUD, image, at(offset_of!(Self, image_directory)));
        link(&mut self.high, PUD, LAYOUT.fixmap, at(offset_of!(Self, fixmap_directory)));
        link(&mut self.image_directory, PMD, image, at(offset_of!(Self, image)));
        link(&mut self.fixmap_directory, PMD, LAYOUT.fixmap, at(offset_of!(Self, fixmap)));
        link(&mut self.root, PGD, direct, at(offset_of!(Self, direct_pointers)));
        link(self.direct_pointers.as_flattened_mut(), PUD, direct, at(offset_of!(Self, direct_directories)));
        link(self.direct_directories.as_flattened_mut(), PMD, direct, at(offset_of!(Self, direct)));
        Ok(at(offset_of!(Self, root)))
    }
}

/// What an entry of a table of this level maps, in bytes.
const fn span(level: Level) -> u64 {
    level.span::<Native>()
}

fn pages_between(from: VirtAddr, to: VirtAddr) -> usize {
    (to.as_u64().saturating_sub(from.as_u64()) / Native::PAGE_SIZE) as usize
}

fn leaf(phys: PhysAddr, access: Access) -> u64 {
    Native.leaf(phys, Level::PAGE, Mapping { access, memory: MemoryType::Normal })
}

/// Links the tables that translate `range`, which lie one after another from `children` on, in their parents: tables of
/// `level` that follow one another, of which the first translates the start of `range`.
fn link(parents: &mut [u64], level: Level, range: VirtRange, children: PhysAddr) {
    let from = range.start().align_down(span(level));
    let count = range.end().as_u64().saturating_sub(from.as_u64()).div_ceil(span(level));
    for (slot, number) in (level.index::<Native>(from)..).zip(0..count) {
        put(parents, slot, Native.table(children.saturating_add(number * Native::PAGE_SIZE)));
    }
}

/// Writes an entry. The places come from kernel.ld, which asserts that there is room.
fn put(table: &mut [u64], place: usize, entry: u64) {
    if let Some(slot) = table.get_mut(place) {
        *slot = entry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;
    const TEXT: u64 = 0xffff_ffff_8020_0000;
    const RODATA: u64 = TEXT + 0xaf000;
    const DATA: u64 = RODATA + 0x12000;
    const END: u64 = TEXT + 0x36_0000;
    const GUARD: u64 = DATA + 0x3_0000;
    /// Where the tables lie, from the image's start on.
    const OWN: u64 = DATA - TEXT + 0x1000;

    fn range(start: u64, end: u64) -> VirtRange {
        VirtRange::new(VirtAddr::new(start), VirtAddr::new(end))
    }

    fn section(start: u64, end: u64, access: Access, base: u64) -> ImageSection {
        let phys = |virt| PhysAddr::new(base + (virt - TEXT));
        ImageSection { name: "test", virt: range(start, end), phys: PhysRange::new(phys(start), phys(end)), access }
    }

    fn filled(base: u64) -> (Box<BootTables>, Result<PhysAddr, OutOfReach>) {
        let mut tables = Box::new(BootTables::EMPTY);
        let sections = [
            section(TEXT, RODATA, Access::ReadExecute, base),
            section(RODATA, DATA, Access::ReadOnly, base),
            section(DATA, END, Access::ReadWrite, base),
        ];
        let root = tables.fill(PhysAddr::new(base + OWN), &sections, &[range(GUARD, GUARD + PAGE)]);
        (tables, root)
    }

    /// The tables as the CPU reads them, by their physical addresses.
    struct Walker<'t> {
        words: &'t [u64],
        own: u64,
    }

    impl Walker<'_> {
        fn word(&self, address: u64) -> u64 {
            self.words[((address - self.own) / 8) as usize]
        }

        /// The entry that maps `virt`, by the manual's drawing, or 0.
        fn leaf(&self, root: u64, virt: u64) -> u64 {
            let mut table = root;
            for shift in [39, 30, 21] {
                let entry = self.word(table + (virt >> shift & 511) * 8);
                if entry & 1 == 0 {
                    return 0;
                }
                assert_eq!(entry & !0x000f_ffff_ffff_f000, 0x23, "a table is present, writable, accessed");
                table = entry & 0x000f_ffff_ffff_f000;
            }
            self.word(table + (virt >> 12 & 511) * 8)
        }
    }

    const READ_EXECUTE: u64 = 0x161;
    const READ_ONLY: u64 = 0x8000_0000_0000_0161;
    const READ_WRITE: u64 = 0x8000_0000_0000_0163;

    fn check(base: u64) {
        let (tables, root) = filled(base);
        let root = root.expect("in reach").as_u64();
        let words = [
            &tables.root,
            &tables.high,
            &tables.image_directory,
            tables.image.as_flattened(),
            &tables.fixmap_directory,
            tables.fixmap.as_flattened(),
            tables.direct_pointers.as_flattened(),
            tables.direct_directories.as_flattened(),
            tables.direct.as_flattened(),
        ]
        .concat();
        let walker = Walker { words: &words, own: base + OWN };
        for virt in (TEXT - PAGE..END + PAGE).step_by(PAGE as usize) {
            let phys = base.wrapping_add(virt.wrapping_sub(TEXT));
            let (linked, direct) = match virt {
                TEXT..RODATA => (READ_EXECUTE, READ_ONLY),
                RODATA..DATA => (READ_ONLY, READ_ONLY),
                GUARD => (0, READ_WRITE),
                DATA..END => (READ_WRITE, READ_WRITE),
                _ => (0, 0),
            };
            let expected = |bits: u64| if bits == 0 { 0 } else { bits | phys };
            assert_eq!(walker.leaf(root, virt), expected(linked), "{virt:#x} with the image at {base:#x}");
            let alias = 0xffff_8880_0000_0000_u64.wrapping_add(phys);
            assert_eq!(walker.leaf(root, alias), expected(direct), "{alias:#x} with the image at {base:#x}");
        }
        // The fixmap has all of its tables, and each is its own.
        let mut seen = std::collections::BTreeSet::new();
        for virt in (0xffff_ffff_ff00_0000_u64..0xffff_ffff_ff40_0000).step_by(2 << 20) {
            let directory = walker.word(walker.word(root + 511 * 8) & !0xfff | 511 * 8) & !0xfff;
            assert!(seen.insert(walker.word(directory + (virt >> 21 & 511) * 8)));
        }
        assert!(!seen.contains(&0));
        // Nothing in the lower half.
        assert!(tables.root[..256].iter().all(|&entry| entry == 0));
        assert_eq!(words.iter().filter(|&&entry| entry & 0x100 != 0).count() as u64, 2 * (END - TEXT) / PAGE - 1);
    }

    #[test]
    fn an_image_that_lies_anywhere_is_mapped_page_by_page_with_its_rights() {
        // Where it is linked; at odd pages; across 2 MiB, 1 GiB, 512 GiB boundaries; in the first MiB and far up.
        for base in [
            0x20_0000,
            0x1_0000,
            0x1fe3_5000,
            0x3ff0_1000,
            0x1_4000_0000,
            0x7f_ffff_f000,
            0x80_0000_0000 - (END - TEXT),
            0x3fff_ffff_f000 - (END - TEXT),
        ] {
            check(base);
        }
    }

    #[test]
    fn the_largest_image_fits_at_the_worst_place() {
        let mut tables = Box::new(BootTables::EMPTY);
        let base = 0x7f_ffff_f000;
        let whole = section(TEXT, TEXT + (14 << 20), Access::ReadWrite, base);
        assert!(tables.fill(PhysAddr::new(base), &[whole], &[]).is_ok());
        assert!(tables.image.as_flattened().iter().all(|&entry| entry != 0));
        let direct = tables.direct.as_flattened();
        assert_eq!(direct.iter().filter(|&&entry| entry != 0).count() as u64, (14 << 20) / PAGE);
        assert_ne!(direct[511], 0);
        assert_eq!(tables.direct_directories.as_flattened().iter().filter(|&&entry| entry != 0).count(), 8);
        assert_eq!(tables.direct_pointers.as_flattened().iter().filter(|&&entry| entry != 0).count(), 2);
        assert_eq!(tables.root.iter().filter(|&&entry| entry != 0).count(), 3);
    }

    #[test]
    fn what_the_direct_map_has_no_room_for_is_refused() {
        assert_eq!(filled((64 << 40) - PAGE).1, Err(OutOfReach));
    }
}
