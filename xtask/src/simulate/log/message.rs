//! The messages of a boot that say something of memory, in the words of every kernel since 3.x.
//!
//! What Linux prints for one fact has changed over the years; each function here knows all forms of one. Linux:
//! `e820__print_table`, `e820__update_range`, `efi_print_memmap`, `efi_md_typeattr_format`,
//! `acpi_numa_memory_affinity_init`, `free_area_init`, `fdt_init_reserved_mem`, `alloc_large_system_hash`.

use super::line::{Cursor, after};
use crate::simulate::subject::{
    Change, E820Entry, EfiEntry, Held, HeldMapping, NodeRange, Span, SratCpu, SratMemory, e820_kind, efi_attributes,
    efi_kind,
};

/// What one line says.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Message<'a> {
    /// The kernel's first line.
    Version(&'a str),
    /// The command line.
    CommandLine(&'a str),
    /// An entry of a memory map, or the word for its type, which nobody knows.
    Map(MapName, Result<E820Entry, &'a str>),
    /// A map begins, or begins again.
    MapBegins(MapName),
    /// The kernel changes its map.
    Change(Change),
    /// The kernel has taken memory's end from the map.
    LastPfn,
    /// An entry of EFI's map.
    Efi(EfiEntry),
    /// Memory of SRAT.
    SratMemory(SratMemory),
    /// A CPU of SRAT.
    SratCpu(SratCpu),
    /// Memory as the kernel has it.
    NodeRange(NodeRange),
    /// A node that has CPUs and no memory.
    Memoryless(u16),
    /// Something held.
    Held(Held),
    /// Bytes of a page, as a message gives them away.
    PageSize(u64),
    /// Only arm64 says this.
    Arm64,
    /// Only this other architecture says this.
    Foreign(&'static str),
    /// Where memory of a zone lies.
    Zone(&'static str, Span),
}

/// Which memory map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MapName {
    /// The firmware's, or a hypervisor's in its place.
    Firmware,
    /// What the command line made of it.
    User,
}

/// What `line` says, if it is one of the messages.
pub(super) fn read(line: &str) -> Option<Message<'_>> {
    // First, because a command line may hold anything.
    if let Some(text) = after(line, "Command line: ").or_else(|| after(line, "Kernel command line: ")) {
        return Some(Message::CommandLine(text.trim()));
    }
    if let Some(text) = after(line, "Linux version ").filter(|text| text.starts_with(|c: char| c.is_ascii_digit())) {
        return Some(Message::Version(text.trim()));
    }
    map(line)
        .or_else(|| change(line).map(Message::Change))
        .or_else(|| after(line, "last_pfn = ").map(|_| Message::LastPfn))
        .or_else(|| efi(line).map(Message::Efi))
        .or_else(|| srat(line))
        .or_else(|| node_range(line).map(Message::NodeRange))
        .or_else(|| memoryless(line).map(Message::Memoryless))
        .or_else(|| held(line).map(Message::Held))
        .or_else(|| page_size(line).map(Message::PageSize))
        .or_else(|| kind_of_kernel(line))
}

/// `[mem 0x…-0x…]`.
fn mem(cursor: &mut Cursor<'_>) -> Option<Span> {
    cursor.skip("[mem")?;
    let first = cursor.hex()?;
    cursor.skip("-")?;
    let last = cursor.hex()?;
    cursor.skip("]")?;
    Span::new(first, last)
}

/// As [`mem`], or in the form before 3.5: `start - end`, without the end.
fn mem_or_old(cursor: &mut Cursor<'_>) -> Option<Span> {
    let mut new = *cursor;
    if let Some(span) = mem(&mut new) {
        *cursor = new;
        return Some(span);
    }
    let start = cursor.hex()?;
    cursor.skip("-")?;
    Span::until(start, cursor.hex()?)
}

fn map(line: &str) -> Option<Message<'_>> {
    for (words, name) in
        [("BIOS-provided physical RAM map", MapName::Firmware), ("user-defined physical RAM map", MapName::User)]
    {
        if after(line, words).is_some() {
            return Some(Message::MapBegins(name));
        }
    }
    for (words, name) in [
        ("BIOS-e820: ", MapName::Firmware),
        ("BIOS-e801: ", MapName::Firmware),
        ("BIOS-88: ", MapName::Firmware),
        ("Xen: ", MapName::Firmware),
        ("user: ", MapName::User),
    ] {
        let Some(text) = after(line, words) else { continue };
        let mut cursor = Cursor::new(text);
        let Some(span) = mem_or_old(&mut cursor) else { continue };
        let word = cursor.rest();
        let entry = e820_kind(word).map(|kind| E820Entry { span, kind }).ok_or(word);
        return Some(Message::Map(name, entry));
    }
    None
}

fn change(line: &str) -> Option<Change> {
    let update = after(line, "e820: update ").or_else(|| after(line, "e820 update range: "));
    if let Some(text) = update {
        let mut cursor = Cursor::new(text);
        let span = mem_or_old(&mut cursor)?;
        let (from, to) = cursor.rest().split_once("==>")?;
        return Some(Change { span, from: Some(e820_kind(from)?), to: Some(e820_kind(to)?) });
    }
    let text = after(line, "e820: remove ").or_else(|| after(line, "e820 remove range: "))?;
    let mut cursor = Cursor::new(text);
    let span = mem_or_old(&mut cursor)?;
    // Without a type it is removed whatever it is.
    let from = match cursor.rest() {
        "" => None,
        word => Some(e820_kind(word)?),
    };
    Some(Change { span, from, to: None })
}

/// x86's form, `mem00: [type|attributes] range=[…]`, in old kernels `mem00: type=7, attr=0xf, range=[…)`; and arm64's,
/// `0x…-0x… [type|attributes]`.
fn efi(line: &str) -> Option<EfiEntry> {
    let mut cursor = Cursor::new(after(line, "efi: ").or_else(|| after(line, "EFI: "))?);
    if cursor.skip("mem").is_some() {
        cursor.decimal::<u64>()?;
        cursor.skip(":")?;
        let mut old = cursor;
        let (kind, attributes) = match old.skip("type=") {
            Some(()) => {
                let kind = old.decimal()?;
                old.until("attr=")?;
                let attributes = old.hex()?;
                cursor = old;
                (kind, attributes)
            }
            None => typed(&mut cursor)?,
        };
        cursor.until("range=[")?;
        let first = cursor.hex()?;
        cursor.skip("-")?;
        let end = cursor.hex()?;
        let span = if cursor.skip(")").is_some() { Span::until(first, end)? } else { Span::new(first, end)? };
        return Some(EfiEntry { span, kind, attributes });
    }
    let first = cursor.hex()?;
    cursor.skip("-")?;
    let span = Span::new(first, cursor.hex()?)?;
    let (kind, attributes) = typed(&mut cursor)?;
    Some(EfiEntry { span, kind, attributes })
}

/// `[Conventional Memory|   |WB|WT|WC|UC]`.
fn typed(cursor: &mut Cursor<'_>) -> Option<(u32, u64)> {
    cursor.skip("[")?;
    let (kind, attributes) = cursor.until("]")?.split_once('|')?;
    Some((efi_kind(kind)?, efi_attributes(attributes)))
}

fn srat(line: &str) -> Option<Message<'_>> {
    let mut cursor = Cursor::new(after(line, "SRAT: ")?);
    if cursor.skip("Node").is_some() {
        let node = cursor.decimal()?;
        cursor.skip("PXM")?;
        let domain = cursor.decimal()?;
        let span = mem_or_old(&mut cursor)?;
        return Some(Message::SratMemory(SratMemory::with_words(node, domain, span, cursor.rest())));
    }
    cursor.skip("PXM")?;
    let domain = cursor.decimal()?;
    cursor.skip("->")?;
    cursor.skip("APIC").or_else(|| cursor.skip("MPIDR"))?;
    let hardware_id = cursor.hex()?;
    cursor.skip("->")?;
    cursor.skip("Node")?;
    Some(Message::SratCpu(SratCpu { node: cursor.decimal()?, domain, hardware_id }))
}

fn node_range(line: &str) -> Option<NodeRange> {
    let mut cursor = Cursor::new(after(line, "node ")?);
    let node = cursor.decimal()?;
    cursor.skip(":")?;
    Some(NodeRange { node, span: mem(&mut cursor)? })
}

/// In kernels before 5.17, a node that ends at 0.
fn memoryless(line: &str) -> Option<u16> {
    let mut cursor = Cursor::new(after(line, "Initmem setup node ")?);
    let node = cursor.decimal()?;
    let rest = cursor.rest();
    (rest == "as memoryless" || mem(&mut cursor).is_some_and(|span| span.last() == 0)).then_some(node)
}

fn held(line: &str) -> Option<Held> {
    if let Some(text) = after(line, "RAMDISK: ") {
        let span = mem_or_old(&mut Cursor::new(text))?;
        return Some(Held { span, owner: "initrd".into(), mapping: HeldMapping::Mapped });
    }
    let mut cursor = Cursor::new(after(line, "reserved mem: ")?);
    let first = cursor.hex()?;
    cursor.skip("..")?;
    let span = Span::new(first, cursor.hex()?)?;
    cursor.until(")")?;
    let mut words = cursor.rest().split_whitespace();
    let mapping = if words.next()? == "nomap" { HeldMapping::Unmapped } else { HeldMapping::Mapped };
    let owner = words.nth(1).unwrap_or("reserved-memory").to_owned();
    Some(Held { span, owner, mapping })
}

/// A first chunk of per-CPU memory is so many pages of so many bytes; a table of order 1 or more is `1 << order` pages.
fn page_size(line: &str) -> Option<u64> {
    if let Some(text) = after(line, "Embedded ") {
        let mut cursor = Cursor::new(text);
        let pages: u64 = cursor.decimal()?;
        cursor.skip("pages/cpu")?;
        let mut bytes: u64 = 0;
        for word in cursor.rest().split_whitespace() {
            if let Some(part) = word.strip_prefix(['s', 'r', 'd']).and_then(|number| number.parse::<u64>().ok()) {
                bytes = bytes.checked_add(part)?;
            }
        }
        return bytes.checked_div(pages).filter(|_| pages.checked_mul(bytes / pages.max(1)) == Some(bytes));
    }
    let mut cursor = Cursor::new(after(line, "hash table entries: ")?);
    cursor.until("(order: ")?;
    let order: u32 = cursor.decimal()?;
    cursor.skip(",")?;
    let bytes: u64 = cursor.decimal()?;
    (1..32).contains(&order).then(|| bytes >> order)
}

/// What other architectures' kernels say of themselves.
const FOREIGN: [(&str, &str); 6] = [
    ("CPU: ARMv", "a 32-bit Arm processor"),
    ("SBI specification v", "RISC-V"),
    ("riscv: ", "RISC-V"),
    ("CPU0 revision is: ", "MIPS"),
    ("Using radix MMU", "PowerPC"),
    ("hash-mmu: ", "PowerPC"),
];

fn kind_of_kernel(line: &str) -> Option<Message<'_>> {
    if after(line, "Booting Linux on physical CPU").is_some() {
        return Some(Message::Arm64);
    }
    if after(line, "HighMem ").is_some_and(|rest| rest.trim_start().starts_with(['[', 'e'])) {
        return Some(Message::Foreign("a 32-bit processor"));
    }
    let foreign = FOREIGN.iter().find(|(words, _)| after(line, words).is_some());
    if let Some((_, name)) = foreign {
        return Some(Message::Foreign(name));
    }
    // With the blank behind it, `DMA` is no part of `DMA32`.
    ["DMA ", "DMA32 ", "Normal "].into_iter().find_map(|zone| {
        let span = mem(&mut Cursor::new(after(line, zone)?))?;
        Some(Message::Zone(zone.trim_end(), span))
    })
}
