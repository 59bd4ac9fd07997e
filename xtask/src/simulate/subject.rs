//! What is known of a machine that is not here, whatever file said it.
//!
//! `machine_file`, `log` and `tree` each make a [`Subject`]; `facts` states it to `mm` and `platform` in the words of
//! a firmware. Nothing here is interpreted: a range that overlaps another, or an order that makes no sense, is for the
//! code under test to deal with.

use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Persistence, Plug, Rules};
use mm::zone::LowZones;
use platform::firmware::efi::DescriptorType;

/// A machine, as its file describes it.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// Whose rules apply.
    pub(crate) rules: Rules,
    /// The low zones that its kernel had.
    pub(crate) low_zones: LowZones,
    /// Its page size.
    pub(crate) page_size: PageSize,
    /// The kernel command line, as far as the map does not show its effect already.
    pub(crate) cmdline: String,
    /// What says where memory is.
    pub(crate) map: Map,
    /// Nodes of a kernel's list that have CPUs and no memory.
    pub(crate) memoryless: Vec<u16>,
    /// The first byte that some device does not reach, where the file gives it away.
    pub(crate) dma_limit: Option<u64>,
    /// Memory of SRAT, in the table's order.
    pub(crate) srat: Vec<SratMemory>,
    /// CPUs of SRAT, in the table's order.
    pub(crate) srat_cpus: Vec<SratCpu>,
    /// What somebody holds.
    pub(crate) held: Vec<Held>,
    /// What was passed over while the file was read, a sentence each.
    pub(crate) notes: Vec<String>,
}

/// What says where memory is.
#[derive(Clone, Debug)]
pub(crate) enum Map {
    /// A PC BIOS memory map.
    E820 {
        /// Its entries.
        entries: Vec<E820Entry>,
        /// What the kernel changed in it before it took memory from it.
        changes: Vec<Change>,
    },
    /// EFI's memory map.
    Efi(Vec<EfiEntry>),
    /// Memory as a kernel listed it, with its nodes.
    NodeRanges(Vec<NodeRange>),
    /// A device tree blob.
    Tree(Vec<u8>),
}

/// An entry of a PC BIOS memory map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct E820Entry {
    pub(crate) span: Span,
    /// The type, as a number.
    pub(crate) kind: u32,
}

/// A change that a kernel made to the map, and said so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) span: Span,
    /// What is changed; `None`: whatever is there.
    pub(crate) from: Option<u32>,
    /// What it is then; `None`: nothing.
    pub(crate) to: Option<u32>,
}

/// An entry of EFI's memory map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EfiEntry {
    pub(crate) span: Span,
    /// The type, as a number.
    pub(crate) kind: u32,
    /// Attribute bits.
    pub(crate) attributes: u64,
}

/// Memory of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NodeRange {
    pub(crate) node: u16,
    pub(crate) span: Span,
}

/// A memory affinity of SRAT, and the node that the kernel made of its domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SratMemory {
    pub(crate) node: u16,
    pub(crate) domain: u32,
    pub(crate) span: Span,
    pub(crate) plug: Plug,
    pub(crate) persistence: Persistence,
}

impl SratMemory {
    /// Memory with the words that Linux puts behind it: `hotplug`, `non-volatile`.
    pub(crate) fn with_words(node: u16, domain: u32, span: Span, words: &str) -> Self {
        let plug = if words.contains("hotplug") { Plug::HotPluggable } else { Plug::Fixed };
        let keeps = words.contains("non-volatile");
        let persistence = if keeps { Persistence::NonVolatile } else { Persistence::Volatile };
        Self { node, domain, span, plug, persistence }
    }
}

/// A CPU affinity of SRAT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SratCpu {
    pub(crate) node: u16,
    pub(crate) domain: u32,
    pub(crate) hardware_id: u64,
}

/// A range that somebody holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    pub(crate) span: Span,
    pub(crate) owner: String,
    pub(crate) mapping: HeldMapping,
}

/// Whether what is held is in the direct map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeldMapping {
    /// Like all RAM.
    Mapped,
    /// It stays out (`no-map`).
    Unmapped,
}

/// The first and the last byte of a range, as logs print them: so a range may reach the end of the address space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Span {
    first: u64,
    last: u64,
}

impl Span {
    /// From `first` to `last`; `None` when that is backwards.
    pub(crate) const fn new(first: u64, last: u64) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// From `start` up to and without `end`; `None` when nothing is between.
    pub(crate) const fn until(start: u64, end: u64) -> Option<Self> {
        match end.checked_sub(1) {
            Some(last) => Self::new(start, last),
            None => None,
        }
    }

    pub(crate) const fn first(self) -> u64 {
        self.first
    }

    pub(crate) const fn last(self) -> u64 {
        self.last
    }

    /// Its bytes; without the last one of the address space, which no range holds.
    pub(crate) const fn range(self) -> PhysRange {
        PhysRange::new(PhysAddr::new(self.first), PhysAddr::new(self.last.saturating_add(1)))
    }

    /// What both hold.
    pub(crate) fn meet(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// What is left below and above `other`.
    pub(crate) fn without(self, other: Self) -> [Option<Self>; 2] {
        let below = Self::until(self.first, other.first).and_then(|below| self.meet(below));
        let above = other.last.checked_add(1).and_then(|start| Self::new(start, u64::MAX));
        [below, above.and_then(|above| self.meet(above))]
    }

    /// Whether `others` together hold all of it.
    pub(crate) fn is_covered(self, others: impl Iterator<Item = Self>) -> bool {
        let mut left = vec![self];
        for other in others {
            left = left.into_iter().flat_map(|part| part.without(other)).flatten().collect();
        }
        left.is_empty()
    }

    /// Whether `next` begins where this ends.
    pub(crate) fn touches(self, next: Self) -> bool {
        self.last.checked_add(1) == Some(next.first)
    }
}

/// Bytes of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PageSize {
    /// 4 KiB.
    K4,
    /// 16 KiB.
    K16,
    /// 64 KiB.
    K64,
}

impl PageSize {
    /// Its bytes.
    pub(crate) const fn bytes(self) -> u64 {
        match self {
            Self::K4 => 0x1000,
            Self::K16 => 0x4000,
            Self::K64 => 0x1_0000,
        }
    }

    /// The size of `bytes`, where machines have such pages.
    pub(crate) const fn of(bytes: u64) -> Option<Self> {
        match bytes {
            0x1000 => Some(Self::K4),
            0x4000 => Some(Self::K16),
            0x1_0000 => Some(Self::K64),
            _ => None,
        }
    }
}

/// The number of an E820 type by the word that Linux prints for it; `None` for a word that it does not print.
pub(crate) fn e820_kind(word: &str) -> Option<u32> {
    let word = word.trim().trim_start_matches('(').trim_end_matches(')').trim();
    Some(match word {
        // The last two are what later kernels call it.
        "usable" | "System RAM" | "kernel usable RAM" => 1,
        "reserved" | "device reserved" => 2,
        "ACPI data" | "ACPI Data" => 3,
        "ACPI NVS" => 4,
        "unusable" => 5,
        "soft reserved" | "Soft Reserved" => 0xefff_ffff,
        _ => {
            let number = word.strip_prefix("persistent (type ").or_else(|| word.strip_prefix("type "))?;
            number.trim_end_matches(')').parse().ok()?
        }
    })
}

/// The number of an EFI memory type by the word that Linux prints for it, of which older kernels print more.
pub(crate) fn efi_kind(word: &str) -> Option<u32> {
    let word = word.trim();
    let long = match word {
        "Conventional Memory" => "Conventional",
        "Persistent Memory" => "Persistent",
        "ACPI Reclaim Memory" => "ACPI Reclaim",
        "ACPI Memory NVS" => "ACPI Mem NVS",
        "Memory Mapped I/O" => "MMIO",
        "MMIO Port Space" | "Memory Mapped I/O Port Space" => "MMIO Port",
        "Boot Services Code" => "Boot Code",
        "Boot Services Data" => "Boot Data",
        "Runtime Services Code" => "Runtime Code",
        "Runtime Services Data" => "Runtime Data",
        "Unaccepted Memory" => "Unaccepted",
        _ => word,
    };
    match long {
        // Newer than what is modelled here; nobody may use it.
        "Unaccepted" => Some(15),
        _ => (0..15).find(|&number| DescriptorType(number).name() == Some(long)),
    }
}

/// EFI's attributes in the words that Linux prints, with their bits.
const EFI_ATTRIBUTES: [(&str, u64); 14] = [
    ("UC", 1 << 0),
    ("WC", 1 << 1),
    ("WT", 1 << 2),
    ("WB", 1 << 3),
    ("UCE", 1 << 4),
    ("WP", 1 << 12),
    ("RP", 1 << 13),
    ("XP", 1 << 14),
    ("NV", 1 << 15),
    ("MR", 1 << 16),
    ("RO", 1 << 17),
    ("SP", 1 << 18),
    ("CC", 1 << 19),
    ("RUN", 1 << 63),
];

/// The attribute bits that `words` name, between spaces or bars.
pub(crate) fn efi_attributes(words: &str) -> u64 {
    let words = words.split(|letter: char| letter == '|' || letter.is_whitespace());
    let bit = |word: &str| EFI_ATTRIBUTES.iter().find(|(name, _)| *name == word).map(|(_, bit)| *bit);
    words.filter_map(bit).fold(0, |bits, bit| bits | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, last: u64) -> Span {
        Span::new(first, last).unwrap()
    }

    #[test]
    fn words_behind_a_range_of_srat_are_each_for_itself() {
        let told = |words| {
            let memory = SratMemory::with_words(1, 4, span(0x1000, 0x1fff), words);
            (memory.plug, memory.persistence)
        };
        assert_eq!(told(""), (Plug::Fixed, Persistence::Volatile));
        assert_eq!(told(" hotplug"), (Plug::HotPluggable, Persistence::Volatile));
        assert_eq!(told("non-volatile"), (Plug::Fixed, Persistence::NonVolatile));
        assert_eq!(told(" hotplug non-volatile"), (Plug::HotPluggable, Persistence::NonVolatile));
    }

    #[test]
    fn spans_are_cut_at_either_end_and_in_the_middle() {
        let all = span(0x1000, 0x4fff);
        assert_eq!(all.without(span(0x2000, 0x2fff)), [Span::new(0x1000, 0x1fff), Span::new(0x3000, 0x4fff)]);
        assert_eq!(all.without(span(0, 0x2fff)), [None, Span::new(0x3000, 0x4fff)]);
        assert_eq!(all.without(span(0x3000, u64::MAX)), [Span::new(0x1000, 0x2fff), None]);
        assert_eq!(all.without(span(0, u64::MAX)), [None, None]);
        assert_eq!(all.without(span(0x6000, 0x6fff)), [Some(all), None]);
        assert!(all.is_covered([span(0x3000, 0x5fff), span(0, 0x2fff)].into_iter()));
        assert!(!all.is_covered([span(0x3000, 0x5fff), span(0, 0x2ffe)].into_iter()));
        assert_eq!(Span::until(0, 0), None);
        assert!(span(0, 0xfff).touches(all) && !span(0, u64::MAX).touches(all));
    }

    #[test]
    fn words_of_every_kernel_have_their_numbers() {
        for (word, kind) in [
            ("usable", 1),
            ("(ACPI NVS)", 4),
            ("persistent (type 12)", 12),
            ("type 20", 20),
            ("soft reserved", 0xefff_ffff),
        ] {
            assert_eq!(e820_kind(word), Some(kind), "{word}");
            let printed = platform::firmware::e820::Kind::new(kind).unwrap().to_string();
            assert_eq!(e820_kind(&printed), Some(kind));
        }
        assert_eq!(e820_kind("of no use"), None);
        assert_eq!((efi_kind("Conventional Memory"), efi_kind("Boot Data")), (Some(7), Some(4)));
        assert_eq!(efi_attributes("   |   |  |WB|WT|WC|UC"), 0xf);
        assert_eq!(efi_attributes("RUN UC"), 1 << 63 | 1);
    }
}
