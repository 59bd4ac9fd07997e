//! `/proc/meminfo`: totals in KiB.
//!
//! What was set aside at boot is not in `MemTotal`, other than in Linux, where the page allocator lends contiguous
//! memory out and counts large pages as its own. Linux: `meminfo_proc_show`, `hugetlb_report_meminfo`.

#![forbid(unsafe_code)]

use crate::Mm;
use crate::arch::Arch;
use crate::layout::Layout;
use crate::model::MemoryModel;
use core::fmt::{self, Write};

/// Memory that the page allocator never gets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SetAside {
    /// Contiguous memory for devices. Nobody has taken any of it yet.
    pub cma_bytes: u64,
    /// Bytes of a large page of the default size.
    pub huge_page_bytes: u64,
    /// Large pages of the default size.
    pub huge_pages: u64,
    /// Bytes of large pages of every size.
    pub huge_bytes: u64,
}

/// Writes it.
///
/// # Errors
/// When `out` does.
pub fn meminfo<A: Arch, M: MemoryModel<A>>(
    out: &mut dyn Write,
    mm: &Mm<A, M>,
    layout: &Layout,
    aside: &SetAside,
) -> fmt::Result {
    let kib = |pages: u64| (pages << A::PAGE_SHIFT) >> 10;
    let (mut managed, mut free, mut low_marks) = (0, 0, 0);
    for (index, _) in mm.pages.populated() {
        let counts = mm.pages.counts(index);
        managed += counts.managed;
        free += counts.free;
        low_marks += counts.watermarks.low;
    }
    let slab = mm.slab.pages();
    let rows: [(&str, u64); 44] = [
        ("MemTotal", kib(managed)),
        ("MemFree", kib(free)),
        // What can be had without going below the low watermarks; nothing here could be reclaimed on top.
        ("MemAvailable", kib(free.saturating_sub(low_marks))),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", 0),
        ("Active(anon)", 0),
        ("Inactive(anon)", 0),
        ("Active(file)", 0),
        ("Inactive(file)", 0),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", 0),
        ("Mapped", 0),
        ("Shmem", 0),
        ("KReclaimable", 0),
        ("Slab", kib(slab)),
        ("SReclaimable", 0),
        ("SUnreclaim", kib(slab)),
        ("KernelStack", 0),
        ("PageTables", 0),
        ("SecPageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", kib(managed) / 2),
        ("Committed_AS", 0),
        ("VmallocTotal", layout.vmalloc.size() >> 10),
        ("VmallocUsed", kib(mm.vmalloc.pages())),
        ("VmallocChunk", 0),
        ("Percpu", 0),
        ("AnonHugePages", 0),
        ("ShmemHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FileHugePages", 0),
        ("FilePmdMapped", 0),
        ("CmaTotal", aside.cma_bytes >> 10),
        ("CmaFree", aside.cma_bytes >> 10),
    ];
    for (name, value) in rows {
        writeln!(out, "{:<16}{value:>8} kB", Name(name))?;
    }
    let huge = [
        ("HugePages_Total", aside.huge_pages),
        ("HugePages_Free", aside.huge_pages),
        ("HugePages_Rsvd", 0),
        ("HugePages_Surp", 0),
    ];
    for (name, pages) in huge {
        writeln!(out, "{:<16}{pages:>8}", Name(name))?;
    }
    writeln!(out, "{:<16}{:>8} kB", Name("Hugepagesize"), aside.huge_page_bytes >> 10)?;
    writeln!(out, "{:<16}{:>8} kB", Name("Hugetlb"), aside.huge_bytes >> 10)
}

/// A row's name with its colon, in a column.
struct Name(&'static str);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = f.width().unwrap_or(0).saturating_sub(1);
        write!(f, "{}:{:gap$}", self.0, "", gap = width.saturating_sub(self.0.len()))
    }
}
