//! The gate in front of the device tree: everything that a reader relies on is checked here, once.
//!
//! What holds behind it: the blocks lie inside the blob and apart from each other; the reservation block ends; the
//! structure block is one well-formed tree (balanced, at most [`MAX_DEPTH`] deep, properties before children, ended by
//! `FDT_END`) whose names, lengths and string offsets stay inside their blocks; names are terminated and UTF-8; there
//! is no `FDT_NOP`, because the structure block is compacted in place. Loaders make NOPs when they delete nodes (QEMU
//! does when a user's tree has memory nodes).
//!
//! Format: Devicetree Specification, chapter 5. Version 16 lacks the structure block's size in its header; such a blob
//! is turned into version 17. Linux: `scripts/dtc/libfdt/fdt.c` and `fdt_check.c`.

use super::Blob;
use super::survey::Survey;
use core::fmt;
use core::ops::Range;
use fdt::Fdt;
use mm::machine::Problem;

/// Nodes may be nested this deep, the root included: what the walker behind the gate has room for.
pub const MAX_DEPTH: u32 = 63;

pub(super) const MAGIC: u32 = 0xd00d_feed;
pub(super) const HEADER: u32 = 40;
const VERSION: u32 = 17;
const OLDEST_VERSION: u32 = 16;
const RESERVE_ENTRY: usize = 16;

pub(super) const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
pub(super) const PROP: u32 = 3;
pub(super) const NOP: u32 = 4;
const END: u32 = 9;

/// A part of the blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The header.
    Header,
    /// The memory reservation block.
    ReserveMap,
    /// The structure block.
    Structure,
    /// The strings block.
    Strings,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::ReserveMap => "reservation block",
            Self::Structure => "structure block",
            Self::Strings => "strings block",
        }
    }
}

/// What is wrong at some place of the structure block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The block ends inside a token.
    Ends,
    /// There is no such token.
    Token,
    /// A node's name has no end, or is no text.
    NodeName,
    /// A property's value runs past the end of the block.
    Length,
    /// A property's name does not lie in the strings block, has no end, or is no text.
    PropertyName,
    /// Nodes are nested too deep.
    Depth,
    /// A node ends that did not begin, or the block ends before its nodes do.
    Balance,
    /// A property stands outside of all nodes, or after a child node.
    Property,
    /// There is more than one root, or none.
    Root,
}

impl Fault {
    const fn text(self) -> &'static str {
        match self {
            Self::Ends => "the structure block ends inside a token",
            Self::Token => "there is no such token",
            Self::NodeName => "a node's name has no end or is no text",
            Self::Length => "a property runs past the end of the structure block",
            Self::PropertyName => "a property's name does not lie in the strings block or is no text",
            Self::Depth => "nodes are nested too deep",
            Self::Balance => "nodes do not end where they must",
            Self::Property => "a property stands outside of all nodes or after a child node",
            Self::Root => "there is not exactly one root",
        }
    }
}

/// Why a blob is no device tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FdtError {
    /// It is shorter than a header.
    TooShort,
    /// It begins with this instead of 0xd00dfeed.
    Magic(u32),
    /// Its header states this size in bytes, which is more than there are, or less than a header.
    TotalSize(u32),
    /// It is of this version, which is not known.
    Version(u32),
    /// This part does not lie in the blob, or not at a multiple of its alignment.
    Block(Part),
    /// These two parts overlap.
    Overlap(Part, Part),
    /// The reservation block has no end.
    ReserveMap,
    /// The structure block is damaged.
    Structure {
        /// Offset in bytes from the start of the blob.
        offset: u32,
        /// What is wrong there.
        fault: Fault,
    },
}

impl fmt::Display for FdtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("shorter than a header"),
            Self::Magic(value) => write!(f, "it begins with {value:#x}, not 0xd00dfeed"),
            Self::TotalSize(size) => write!(f, "a size of {size:#x} bytes cannot be"),
            Self::Version(version) => write!(f, "version {version} is not known"),
            Self::Block(part) => write!(f, "the {} does not lie in the blob", part.name()),
            Self::Overlap(one, other) => write!(f, "the {} overlaps the {}", one.name(), other.name()),
            Self::ReserveMap => f.write_str("the reservation block has no end"),
            Self::Structure { offset, fault } => write!(f, "{} at offset {offset:#x}", fault.text()),
        }
    }
}

impl core::error::Error for FdtError {}

impl FdtError {
    /// The same as the problem of a [`mm::machine::Warning`].
    #[must_use]
    pub const fn problem(self) -> Problem {
        let (offset, what) = match self {
            Self::TooShort => (0, "it is shorter than a header"),
            Self::Magic(_) => return Problem::Signature,
            Self::TotalSize(stated) => return Problem::Length { stated: stated as u64 },
            Self::Version(value) => return Problem::Value { what: "its version", value: value as u64 },
            Self::Block(_) => (0, "a block does not lie in the blob"),
            Self::Overlap(..) => (0, "blocks overlap"),
            Self::ReserveMap => (0, "the reservation block has no end"),
            Self::Structure { offset, fault } => (offset as u64, fault.text()),
        };
        Problem::Malformed { offset, what }
    }
}

/// Checks the whole of a device tree, and takes out its NOPs in place. `bytes` may be longer than the blob.
///
/// # Errors
/// The first thing that is wrong. The bytes are then as they were.
pub fn check(bytes: &mut [u8]) -> Result<Blob<'_>, FdtError> {
    let (plan, total) = plan(bytes)?;
    let bytes = bytes.get_mut(..total).ok_or(FdtError::TooShort)?;
    if let Some(structure) = bytes.get_mut(plan.structure.clone()) {
        let length = if plan.nops { compact(structure, plan.length) } else { plan.length };
        // Whichever way a reader looks for the end, here it is.
        for tail in structure.get_mut(length..).unwrap_or_default().chunks_exact_mut(4) {
            tail.copy_from_slice(&END.to_be_bytes());
        }
        set(bytes, 36, length);
    }
    set(bytes, 20, plan.version.max(VERSION) as usize);
    let bytes = &*bytes;
    let reserve_map = bytes.get(plan.reserve_map).unwrap_or_default();
    // The header was checked, so this cannot fail.
    let fdt = Fdt::new(bytes).map_err(|_| FdtError::TooShort)?;
    let blob = Blob { fdt, bytes, reserve_map, survey: Survey::NOTHING };
    let survey = Survey::of(&blob);
    Ok(Blob { survey, ..blob })
}

/// The 32-bit big-endian value at `offset`.
fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}

/// Sets the 32-bit big-endian value at `offset` to `value`, which came out of 32-bit values.
fn set(bytes: &mut [u8], offset: usize, value: usize) {
    if let Some(chunk) = bytes.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) {
        *chunk = u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes();
    }
}

/// What a valid blob consists of.
struct Plan {
    version: u32,
    /// Bytes of the reservation block's entries, from the start of the blob.
    reserve_map: Range<usize>,
    /// Bytes of the structure block, from the start of the blob.
    structure: Range<usize>,
    /// Bytes of it up to and with `FDT_END`.
    length: usize,
    /// Whether there is a NOP in it.
    nops: bool,
}

/// Everything that can be found wrong without changing a byte; and the blob's size.
fn plan(bytes: &[u8]) -> Result<(Plan, usize), FdtError> {
    let field = |offset| word(bytes, offset).ok_or(FdtError::TooShort);
    let magic = field(0)?;
    if magic != MAGIC {
        return Err(FdtError::Magic(magic));
    }
    let total = field(4)?;
    let (structure, strings, reserve_map) = (field(8)?, field(12)?, field(16)?);
    let (version, compatible) = (field(20)?, field(24)?);
    let (strings_size, structure_size) = (field(32)?, field(36)?);
    let bytes = usize::try_from(total).ok().and_then(|total| bytes.get(..total)).ok_or(FdtError::TotalSize(total))?;
    if total < HEADER {
        return Err(FdtError::TotalSize(total));
    }
    if version < OLDEST_VERSION || compatible > VERSION {
        return Err(FdtError::Version(version));
    }

    let strings = block(bytes, Part::Strings, strings, strings_size, 1)?;
    let (_, reserve_map) = block(bytes, Part::ReserveMap, reserve_map, 0, 8)?;
    let structure_size = if version >= VERSION {
        structure_size
    } else {
        // It reaches up to whatever comes next.
        let starts = [strings.1.start, reserve_map.start, bytes.len()].map(|start| start as u64);
        let next = starts.into_iter().filter(|&start| start > u64::from(structure)).min();
        u32::try_from(next.unwrap_or(0).saturating_sub(structure.into())).unwrap_or(0)
    };
    let structure = block(bytes, Part::Structure, structure, structure_size, 4)?;
    let entries = reserve_entries(bytes, reserve_map.start)?;
    apart(&[
        (Part::Header, 0..HEADER as usize),
        (Part::ReserveMap, entries.start..entries.end + RESERVE_ENTRY),
        (Part::Structure, structure.1.clone()),
        (Part::Strings, strings.1),
    ])?;

    let (length, nops) = walk(structure.0, strings.0).map_err(|(offset, fault)| FdtError::Structure {
        offset: u32::try_from(structure.1.start + offset).unwrap_or(u32::MAX),
        fault,
    })?;
    Ok((Plan { version, reserve_map: entries, structure: structure.1, length, nops }, bytes.len()))
}

/// The bytes of a block, and where in the blob they are.
fn block(bytes: &[u8], part: Part, offset: u32, size: u32, align: u32) -> Result<(&[u8], Range<usize>), FdtError> {
    let error = FdtError::Block(part);
    let end = offset.checked_add(size).ok_or(error)?;
    let start = usize::try_from(offset).map_err(|_| error)?;
    let end = usize::try_from(end).map_err(|_| error)?;
    let inside = bytes.get(start..end).ok_or(error)?;
    if offset.is_multiple_of(align) { Ok((inside, start..end)) } else { Err(error) }
}

/// Where the reservation block's entries are, without the empty one that ends it.
fn reserve_entries(bytes: &[u8], start: usize) -> Result<Range<usize>, FdtError> {
    let entries = bytes.get(start..).unwrap_or_default().chunks_exact(RESERVE_ENTRY);
    let count = entries.take_while(|entry| entry.iter().any(|&byte| byte != 0)).count();
    let end = start + count * RESERVE_ENTRY;
    if bytes.get(end..end + RESERVE_ENTRY).is_some() { Ok(start..end) } else { Err(FdtError::ReserveMap) }
}

/// Since the structure block is rewritten, nothing else may share its bytes.
fn apart(parts: &[(Part, Range<usize>)]) -> Result<(), FdtError> {
    for (index, (part, range)) in parts.iter().enumerate() {
        for (earlier, other) in parts.iter().take(index) {
            if range.start < other.end && other.start < range.end {
                return Err(FdtError::Overlap(*earlier, *part));
            }
        }
    }
    Ok(())
}

/// Walks the whole structure block; its length up to and with `FDT_END`, and whether there is a NOP in it.
fn walk(structure: &[u8], strings: &[u8]) -> Result<(usize, bool), (usize, Fault)> {
    let mut at = 0;
    let mut depth = 0;
    let mut root = false;
    let mut nops = false;
    // Only between a node's beginning and its first child.
    let mut properties = false;
    loop {
        let fault = |fault| (at, fault);
        let (token, next) = token(structure, at).map_err(fault)?;
        match token {
            Token::BeginNode if depth == 0 && root => return Err(fault(Fault::Root)),
            Token::BeginNode if depth == MAX_DEPTH => return Err(fault(Fault::Depth)),
            Token::BeginNode => (depth, root, properties) = (depth + 1, true, true),
            Token::EndNode if depth == 0 => return Err(fault(Fault::Balance)),
            Token::EndNode => (depth, properties) = (depth - 1, false),
            Token::Property(_) if !properties => return Err(fault(Fault::Property)),
            Token::Property(name) => {
                let name = usize::try_from(name).ok().and_then(|name| strings.get(name..));
                name.and_then(terminated).ok_or(fault(Fault::PropertyName))?;
            }
            Token::Nop => nops = true,
            Token::End if depth > 0 => return Err(fault(Fault::Balance)),
            Token::End if !root => return Err(fault(Fault::Root)),
            Token::End => return Ok((next, nops)),
        }
        at = next;
    }
}

#[derive(Clone, Copy)]
enum Token {
    BeginNode,
    EndNode,
    /// With its name's offset in the strings block.
    Property(u32),
    Nop,
    End,
}

/// The token at `at`, and where the next one is.
fn token(structure: &[u8], at: usize) -> Result<(Token, usize), Fault> {
    let body = at + 4;
    Ok(match word(structure, at).ok_or(Fault::Ends)? {
        BEGIN_NODE => {
            let name = structure.get(body..).and_then(terminated).ok_or(Fault::NodeName)?;
            (Token::BeginNode, (body + name.len() + 1).next_multiple_of(4))
        }
        END_NODE => (Token::EndNode, body),
        PROP => {
            let length = word(structure, body).ok_or(Fault::Ends)?;
            let name = word(structure, body + 4).ok_or(Fault::Ends)?;
            let value = body + 8;
            let end = usize::try_from(length).ok().and_then(|length| value.checked_add(length)).ok_or(Fault::Length)?;
            structure.get(value..end).ok_or(Fault::Length)?;
            (Token::Property(name), end.next_multiple_of(4))
        }
        NOP => (Token::Nop, body),
        END => (Token::End, body),
        _ => return Err(Fault::Token),
    })
}

/// Whether any property of a checked blob is called `name`, or ends so. Much cheaper than to look at all nodes.
pub(super) fn names_property(blob: &[u8], name: &str) -> bool {
    let at = |field| word(blob, field).and_then(|value| usize::try_from(value).ok()).unwrap_or(0);
    let strings = blob.get(at(12)..).and_then(|rest| rest.get(..at(32))).unwrap_or_default();
    strings.split(|&byte| byte == 0).any(|string| string.ends_with(name.as_bytes()))
}

/// The text at the front of `bytes`, up to a zero byte.
fn terminated(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    core::str::from_utf8(bytes.get(..end)?).ok()
}

/// Moves every token of the first `length` bytes down over the NOPs before it; the length that is left.
fn compact(structure: &mut [u8], length: usize) -> usize {
    let (mut from, mut to) = (0, 0);
    while from < length {
        // The walk has seen every token, so each is whole.
        let Ok((token, next)) = token(structure, from) else { break };
        let next = next.min(length);
        if !matches!(token, Token::Nop) {
            structure.copy_within(from..next, to);
            to += next - from;
        }
        from = next;
    }
    to
}
