//! Reads page tables as the CPUs do, from their manuals, and shares no code with what writes them.

use crate::elf::Machine;
use crate::pool::Pool;

/// A leaf of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) virtual_start: u64,
    pub(crate) physical_start: u64,
    pub(crate) size: u64,
    pub(crate) write: bool,
    pub(crate) execute: bool,
    pub(crate) cached: bool,
}

/// Every leaf below a root, by address. `upper` says whether the tree is that of aarch64's upper half.
pub(crate) fn leaves(pool: &Pool<'_>, machine: Machine, root: u64, half: Half) -> Vec<Leaf> {
    let mut found = Vec::new();
    let above = match (machine, half) {
        (Machine::Aarch64, Half::Upper) => 0xffff_0000_0000_0000,
        _ => 0,
    };
    table(pool, machine, root, 0, above, &mut found);
    found
}

/// Which half of the addresses a tree serves, where each half has its own.
#[derive(Clone, Copy)]
pub(crate) enum Half {
    Lower,
    Upper,
}

fn table(pool: &Pool<'_>, machine: Machine, at: u64, level: usize, base: u64, found: &mut Vec<Leaf>) {
    assert_eq!(at % 4096, 0, "a table at {at:#x}");
    let size = [1_u64 << 39, 1 << 30, 1 << 21, 1 << 12][level];
    for index in 0..512 {
        let entry = pool.get(at + index * 8);
        let mut start = base + index * size;
        if machine == Machine::X86_64 && level == 0 && index >= 256 {
            start |= 0xffff_0000_0000_0000;
        }
        if entry == 0 {
            continue;
        }
        assert_eq!(entry & 1, 1, "entry {entry:#x} is neither empty nor present");
        match machine {
            Machine::X86_64 => {
                // Intel's manual, volume 3, 4.5: bit 7 of an entry above the lowest level makes it a leaf.
                if level < 3 && entry & 0x80 == 0 {
                    assert_eq!(entry & 0xfff, 3, "a table's entry");
                    table(pool, machine, entry & !0xfff, level + 1, start, found);
                    continue;
                }
                assert!(level > 0 && entry & 4 == 0);
                let pat_index = entry >> 3 & 3;
                assert!(pat_index == 0 || pat_index == 3);
                found.push(Leaf {
                    virtual_start: start,
                    physical_start: entry & 0x000f_ffff_ffff_f000,
                    size,
                    write: entry & 2 != 0,
                    execute: entry >> 63 == 0,
                    cached: pat_index == 0,
                });
            }
            Machine::Aarch64 => {
                // Arm's manual, D8.3: bit 1 is set in tables and in pages, clear in blocks.
                if level < 3 && entry & 2 != 0 {
                    assert_eq!(entry & !0x0000_ffff_ffff_f000, 3, "a table's entry");
                    table(pool, machine, entry & !0xfff, level + 1, start, found);
                    continue;
                }
                assert!(level > 0 && (level == 3) == (entry & 2 != 0));
                assert_ne!(entry & 1 << 10, 0, "not accessed");
                assert_ne!(entry & 1 << 54, 0, "executable at EL0");
                assert_eq!(entry & 1 << 6, 0, "reachable from EL0");
                let (memory_type, shareable) = (entry >> 2 & 7, entry >> 8 & 3);
                assert!(memory_type == 0 && shareable == 3 || memory_type == 2);
                found.push(Leaf {
                    virtual_start: start,
                    physical_start: entry & 0x0000_ffff_ffff_f000,
                    size,
                    write: entry & 0x80 == 0,
                    execute: entry & 1 << 53 == 0,
                    cached: memory_type == 0,
                });
            }
        }
        let leaf = found[found.len() - 1];
        assert_eq!(leaf.physical_start % size, 0, "a leaf of {size:#x} bytes at {:#x}", leaf.physical_start);
        assert!(!(leaf.write && leaf.execute), "{leaf:x?} is writable and executable");
    }
}
