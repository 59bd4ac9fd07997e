//! What is loaded: the kernel's ELF file, checked before anything of it is used.
//!
//! The file comes from a disk that anyone can write to. [`check`] accepts what the Limine boot protocol allows and the
//! page tables can express: a static 64-bit executable of this machine, linked in the top 2 GiB, whose segments neither
//! overlap nor share a page with different rights, none of them both writable and executable, and whose entry point
//! lies in one that is executable. What is wrong comes back as the first thing that is wrong, with where it stands.
//!
//! A position-independent executable is refused: this kernel is none, and it would have to be relocated.
//!
//! Cost: one pass over the program headers, compared with each other (32 at most); loading copies each byte once.
//! Linux does the same for what it starts in `fs/binfmt_elf.c` (`load_elf_binary`).

use crate::{PAGE, page_ceil, page_floor};
use arrayvec::ArrayVec;
use core::fmt;
use core::ops::Range;
use object::Endianness;
use object::elf::{
    ELFCLASS64, ELFDATA2LSB, EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, Machine as ElfMachine, PF_W, PF_X,
    PT_LOAD, ProgramHeader64,
};
use object::read::elf::{FileHeader, ProgramHeader};

/// Where the top 2 GiB begin. The protocol wants kernels there.
pub const HIGHER_HALF: u64 = 0xffff_ffff_8000_0000;
/// Segments with memory that an executable may have.
pub const MAX_SEGMENTS: usize = 32;
/// The largest alignment that is honoured: that of the largest leaf of the page tables.
pub const MAX_ALIGN: u64 = 1 << 30;

/// The machine that a file was built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Machine {
    fn of(number: u16) -> Option<Self> {
        match ElfMachine(number) {
            EM_X86_64 => Some(Self::X86_64),
            EM_AARCH64 => Some(Self::Aarch64),
            _ => None,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        })
    }
}

/// What may be done with a segment's memory. Writable and executable at once cannot be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Read it.
    Read,
    /// Read and write it.
    ReadWrite,
    /// Read it and run it.
    ReadExecute,
}

/// One piece of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its place in the list of program headers.
    pub index: u16,
    /// Its bytes in the file; the rest of the memory is zero.
    file: Range<usize>,
    /// Its first virtual address.
    pub start: u64,
    /// The virtual address after its last.
    pub end: u64,
    /// How it is mapped.
    pub rights: Rights,
}

/// A file that passed every check.
#[derive(Debug, Clone)]
pub struct Executable<'a> {
    bytes: &'a [u8],
    segments: ArrayVec<Segment, MAX_SEGMENTS>,
    /// Where it wants to be entered.
    pub entry: u64,
    /// The largest alignment that a segment asks for, in bytes; a page at least.
    pub align: u64,
    start: u64,
    end: u64,
}

/// The file is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElfError {
    /// It holds nothing.
    Empty,
    /// It ends inside its header.
    Short {
        /// Bytes that it has.
        bytes: usize,
    },
    /// It does not begin as an ELF file does.
    NotElf,
    /// It is of 32 bits, or of the other byte order.
    Format,
    /// It was built for another machine.
    Machine {
        /// The number of that machine (`e_machine`).
        found: u16,
        /// What this loader runs on.
        wanted: Machine,
    },
    /// It is position-independent.
    PositionIndependent,
    /// It is an object file, a core dump, or something newer.
    NotExecutable {
        /// `e_type`.
        kind: u16,
    },
    /// The list of program headers lies outside the file, at an odd place, or has entries of another size.
    Headers {
        /// Where the list should begin in the file.
        offset: u64,
        /// Entries that it should have.
        entries: u16,
    },
    /// Nothing in it takes memory.
    NothingToLoad,
    /// It has more segments than [`MAX_SEGMENTS`].
    TooManySegments,
    /// One segment is wrong.
    Segment {
        /// Its place in the list of program headers.
        index: u16,
        /// Its virtual address.
        address: u64,
        /// What is wrong with it.
        problem: SegmentProblem,
    },
    /// Two segments lie on the same addresses.
    Overlap {
        /// Their places in the list of program headers.
        segments: [u16; 2],
        /// The first address that both have.
        address: u64,
    },
    /// Two segments with different rights have a page in common.
    SharedPage {
        /// Their places in the list of program headers.
        segments: [u16; 2],
        /// That page's address.
        address: u64,
    },
    /// The entry point is not in an executable segment.
    Entry {
        /// The entry point.
        address: u64,
    },
}

/// What is wrong with one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentProblem {
    /// Its bytes are not all in the file.
    OutsideFile {
        /// Where they end.
        end: u64,
        /// Where the file ends.
        bytes: usize,
    },
    /// It has more bytes in the file than in memory.
    LargerInFile,
    /// It lies below [`HIGHER_HALF`].
    LowerHalf,
    /// It reaches past the end of the address space, or into its last page.
    Wraps,
    /// It may be written to and run.
    WritableAndExecutable,
    /// Its alignment is no power of two, or above [`MAX_ALIGN`].
    Alignment {
        /// What it asks for.
        align: u64,
    },
    /// Its address and its place in the file differ by what is no multiple of its alignment.
    Misplaced {
        /// What it asks for.
        align: u64,
    },
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("is empty"),
            Self::Short { bytes } => write!(f, "ends after {bytes} bytes, inside its header"),
            Self::NotElf => f.write_str("is no ELF file"),
            Self::Format => f.write_str("is no 64-bit little-endian ELF file"),
            Self::Machine { found, wanted } => match Machine::of(found) {
                Some(found) => write!(f, "is for {found}, this machine is {wanted}"),
                None => write!(f, "is for ELF machine {found}, this machine is {wanted}"),
            },
            Self::PositionIndependent => f.write_str("is position-independent; it has to be linked at a fixed address"),
            Self::NotExecutable { kind } => write!(f, "is of ELF type {kind}, not an executable"),
            Self::Headers { offset, entries } => {
                write!(f, "its list of {entries} program headers at byte {offset} is damaged or outside the file")
            }
            Self::NothingToLoad => f.write_str("has no segment to load"),
            Self::TooManySegments => write!(f, "has more than {MAX_SEGMENTS} segments to load"),
            Self::Segment { index, address, problem } => write!(f, "segment {index} at {address:#x} {problem}"),
            Self::Overlap { segments: [one, two], address } => {
                write!(f, "segments {one} and {two} overlap at {address:#x}")
            }
            Self::SharedPage { segments: [one, two], address } => {
                write!(f, "segments {one} and {two} have different rights and share the page at {address:#x}")
            }
            Self::Entry { address } => write!(f, "entry point {address:#x} is in no executable segment"),
        }
    }
}

impl fmt::Display for SegmentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OutsideFile { end, bytes } => write!(f, "reaches to byte {end} of a file of {bytes} bytes"),
            Self::LargerInFile => f.write_str("is larger in the file than in memory"),
            Self::LowerHalf => write!(f, "is below {HIGHER_HALF:#x}"),
            Self::Wraps => f.write_str("reaches past the end of the address space"),
            Self::WritableAndExecutable => f.write_str("is writable and executable"),
            Self::Alignment { align } => write!(f, "has an alignment of {align:#x}"),
            Self::Misplaced { align } => write!(f, "is not aligned in the file as it is in memory ({align:#x})"),
        }
    }
}

/// Checks the whole file. `bytes` must be aligned to 8, as a page is.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(bytes: &[u8], machine: Machine) -> Result<Executable<'_>, ElfError> {
    let (header, headers) = headers(bytes, machine)?;
    let mut segments = ArrayVec::new();
    let mut align = PAGE;
    for (index, header) in (0..).zip(headers) {
        if header.p_type(ENDIAN) != PT_LOAD || header.p_memsz(ENDIAN) == 0 {
            continue;
        }
        let found = segment(index, header, bytes.len()).map_err(|problem| ElfError::Segment {
            index,
            address: header.p_vaddr(ENDIAN),
            problem,
        })?;
        segments.try_push(found).map_err(|_| ElfError::TooManySegments)?;
        align = align.max(header.p_align(ENDIAN));
    }
    neighbours(&segments)?;
    let entry = header.e_entry(ENDIAN);
    let start = segments.iter().map(|segment| page_floor(segment.start)).min().ok_or(ElfError::NothingToLoad)?;
    let end = segments.iter().map(|segment| page_ceil(segment.end)).max().ok_or(ElfError::NothingToLoad)?;
    let executable = Executable { bytes, segments, entry, align, start, end };
    executable.enters(entry).then_some(executable).ok_or(ElfError::Entry { address: entry })
}

const ENDIAN: Endianness = Endianness::Little;

type Header = FileHeader64<Endianness>;

fn headers(bytes: &[u8], machine: Machine) -> Result<(&Header, &[ProgramHeader64<Endianness>]), ElfError> {
    if bytes.is_empty() {
        return Err(ElfError::Empty);
    }
    if bytes.len() >= 4 && !bytes.starts_with(b"\x7fELF") {
        return Err(ElfError::NotElf);
    }
    if bytes.len() < size_of::<Header>() {
        return Err(ElfError::Short { bytes: bytes.len() });
    }
    let header = Header::parse(bytes).map_err(|_| ElfError::Format)?;
    if header.e_ident().class != ELFCLASS64 || header.e_ident().data != ELFDATA2LSB {
        return Err(ElfError::Format);
    }
    let found = header.e_machine(ENDIAN).0;
    if Machine::of(found) != Some(machine) {
        return Err(ElfError::Machine { found, wanted: machine });
    }
    match header.e_type(ENDIAN) {
        ET_EXEC => {}
        ET_DYN => return Err(ElfError::PositionIndependent),
        kind => return Err(ElfError::NotExecutable { kind: kind.0 }),
    }
    let damaged = ElfError::Headers { offset: header.e_phoff(ENDIAN), entries: header.e_phnum(ENDIAN) };
    Ok((header, header.program_headers(ENDIAN, bytes).map_err(|_| damaged)?))
}

fn segment(index: u16, header: &ProgramHeader64<Endianness>, file_bytes: usize) -> Result<Segment, SegmentProblem> {
    let (start, in_memory) = (header.p_vaddr(ENDIAN), header.p_memsz(ENDIAN));
    let (offset, in_file) = (header.p_offset(ENDIAN), header.p_filesz(ENDIAN));
    let file_end = offset.saturating_add(in_file);
    let file = match (usize::try_from(offset), usize::try_from(file_end)) {
        // Where nothing of it is in the file, its place there says nothing.
        _ if in_file == 0 => 0..0,
        (Ok(from), Ok(to)) if to <= file_bytes => from..to,
        _ => return Err(SegmentProblem::OutsideFile { end: file_end, bytes: file_bytes }),
    };
    if in_file > in_memory {
        return Err(SegmentProblem::LargerInFile);
    }
    if start < HIGHER_HALF {
        return Err(SegmentProblem::LowerHalf);
    }
    // The last page stays free, so that no end is beyond what a number can say.
    let end = start.checked_add(in_memory).filter(|&end| end <= page_floor(u64::MAX)).ok_or(SegmentProblem::Wraps)?;
    let align = header.p_align(ENDIAN).max(1);
    if !align.is_power_of_two() || align > MAX_ALIGN {
        return Err(SegmentProblem::Alignment { align });
    }
    if in_file > 0 && (start ^ offset) & (align - 1) != 0 {
        return Err(SegmentProblem::Misplaced { align });
    }
    let flags = header.p_flags(ENDIAN);
    let rights = match (flags.0 & PF_W.0 != 0, flags.0 & PF_X.0 != 0) {
        (true, true) => return Err(SegmentProblem::WritableAndExecutable),
        (true, false) => Rights::ReadWrite,
        (false, true) => Rights::ReadExecute,
        (false, false) => Rights::Read,
    };
    Ok(Segment { index, file, start, end, rights })
}

fn neighbours(segments: &[Segment]) -> Result<(), ElfError> {
    for (place, one) in segments.iter().enumerate() {
        for two in segments.iter().skip(place + 1) {
            let both = [one.index, two.index];
            if one.start < two.end && two.start < one.end {
                return Err(ElfError::Overlap { segments: both, address: one.start.max(two.start) });
            }
            let shared = page_floor(one.start.max(two.start));
            if one.rights != two.rights && shared < page_ceil(one.end).min(page_ceil(two.end)) {
                return Err(ElfError::SharedPage { segments: both, address: shared });
            }
        }
    }
    Ok(())
}

impl Executable<'_> {
    /// The first virtual address of the image: where a page begins.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Bytes of memory that the image takes, whole pages.
    pub fn size(&self) -> u64 {
        self.end - self.start
    }

    /// Its segments, in the file's order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether `address` can be entered: it lies in an executable segment.
    pub fn enters(&self, address: u64) -> bool {
        self.segments.iter().any(|s| s.rights == Rights::ReadExecute && (s.start..s.end).contains(&address))
    }

    /// Copies the image to `memory`, whose first byte is that of [`Executable::start`], and clears the rest of it.
    /// What does not fit is left out: `memory` has [`Executable::size`] bytes.
    pub fn load(&self, memory: &mut [u8]) {
        memory.fill(0);
        for segment in &self.segments {
            let bytes = self.bytes.get(segment.file.clone()).unwrap_or_default();
            let offset = usize::try_from(segment.start - self.start).unwrap_or(usize::MAX);
            if let Some(target) = memory.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len())) {
                target.copy_from_slice(bytes);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
