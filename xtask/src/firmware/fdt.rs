//! Writes a flattened device tree, also one that no sound writer would; and reads one back, token by token.
//!
//! The trees of boards, which are always sound, are written by the crate vm-fdt ([`super::board`]). It refuses what is
//! wanted here: it knows no token that says nothing, and nests nodes 64 deep and no deeper. Sound and damaged trees of the
//! matrix come from the same lines ([`super::tree`]), so that they differ in the damage alone.
//!
//! Format: Devicetree Specification, chapter 5. The kernel reads it with a crate and a gate of its own; neither is used
//! here.

use anyhow::{Context as _, Result, bail};

const MAGIC: u32 = 0xd00d_feed;
const HEADER: usize = 40;
const VERSION: u32 = 17;
const LAST_COMPATIBLE_VERSION: u32 = 16;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// Offsets of the header's fields.
pub(super) const TOTAL_SIZE: usize = 4;
pub(super) const STRUCTURE_OFFSET: usize = 8;
pub(super) const STRINGS_OFFSET: usize = 12;

/// Whether there are tokens that say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nops {
    None,
    /// One before every other token.
    Everywhere,
}

/// A tree that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    nops: Nops,
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl Writer {
    pub(super) const fn new(nops: Nops) -> Self {
        Self { nops, structure: Vec::new(), strings: Vec::new() }
    }

    /// Begins a node, which what follows is in.
    pub(super) fn begin(&mut self, name: &str) -> &mut Self {
        self.token(BEGIN_NODE);
        self.structure.extend(name.bytes().chain([0]));
        self.align()
    }

    /// Ends the innermost node.
    pub(super) fn end(&mut self) -> &mut Self {
        self.token(END_NODE);
        self
    }

    /// A property with a value of any bytes.
    pub(super) fn bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        let name_at = self.strings.len() as u32;
        self.strings.extend(name.bytes().chain([0]));
        self.token(PROPERTY);
        self.structure.extend([value.len() as u32, name_at].map(u32::to_be_bytes).concat());
        self.structure.extend(value);
        self.align()
    }

    /// A property that is a list of numbers of 32 bits.
    pub(super) fn cells(&mut self, name: &str, cells: &[u32]) -> &mut Self {
        let value: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.bytes(name, &value)
    }

    /// A property that is a list of numbers of 64 bits.
    pub(super) fn longs(&mut self, name: &str, longs: &[u64]) -> &mut Self {
        let value: Vec<u8> = longs.iter().flat_map(|long| long.to_be_bytes()).collect();
        self.bytes(name, &value)
    }

    /// A property that is a list of texts.
    pub(super) fn texts(&mut self, name: &str, texts: &[&str]) -> &mut Self {
        let value: Vec<u8> = texts.iter().flat_map(|text| text.bytes().chain([0])).collect();
        self.bytes(name, &value)
    }

    /// The blob: header, an empty reservation block, structure, strings.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.token(END);
        let reservations = [0; 16];
        let structure_at = (HEADER + reservations.len()) as u32;
        let (structure_size, strings_size) = (self.structure.len() as u32, self.strings.len() as u32);
        let strings_at = structure_at + structure_size;
        let total = strings_at + strings_size;
        let header = [
            MAGIC,
            total,
            structure_at,
            strings_at,
            HEADER as u32,
            VERSION,
            LAST_COMPATIBLE_VERSION,
            0,
            strings_size,
            structure_size,
        ];
        [&header.map(u32::to_be_bytes).concat()[..], &reservations, &self.structure, &self.strings].concat()
    }

    fn token(&mut self, token: u32) {
        if self.nops == Nops::Everywhere {
            self.structure.extend(NOP.to_be_bytes());
        }
        self.structure.extend(token.to_be_bytes());
    }

    fn align(&mut self) -> &mut Self {
        let length = self.structure.len().next_multiple_of(4);
        self.structure.resize(length, 0);
        self
    }
}

/// A piece of a tree's structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A node of this name begins.
    Begin(&'a str),
    /// The innermost node ends.
    End,
    /// A property of the innermost node, with its value.
    Property(&'a str, &'a [u8]),
}

/// The structure of a blob that a sound writer wrote.
///
/// # Errors
/// When it is none.
pub(super) fn tokens(blob: &[u8]) -> Result<Vec<Token<'_>>> {
    let word = |at: usize| -> Result<u32> {
        let bytes = at.checked_add(4).and_then(|end| blob.get(at..end)).and_then(|bytes| bytes.first_chunk());
        bytes.copied().map(u32::from_be_bytes).with_context(|| format!("it ends before offset {at}"))
    };
    let text = |at: usize| -> Result<&str> {
        let bytes = blob.get(at..).context("a name lies outside")?;
        let name = bytes.split(|&byte| byte == 0).next().context("a name without end")?;
        std::str::from_utf8(name).context("a name that is no text")
    };
    if word(0)? != MAGIC {
        bail!("it does not begin as a device tree does");
    }
    let strings = word(STRINGS_OFFSET)? as usize;
    let mut at = word(STRUCTURE_OFFSET)? as usize;
    let mut list = Vec::new();
    loop {
        let token = word(at)?;
        at += 4;
        match token {
            BEGIN_NODE => {
                let name = text(at)?;
                list.push(Token::Begin(name));
                at = (at + name.len() + 1).next_multiple_of(4);
            }
            END_NODE => list.push(Token::End),
            PROPERTY => {
                let (length, name) = (word(at)? as usize, text(strings + word(at + 4)? as usize)?);
                let value = blob.get(at + 8..at + 8 + length).context("a property lies outside")?;
                list.push(Token::Property(name, value));
                at = (at + 8 + length).next_multiple_of(4);
            }
            NOP => {}
            END => return Ok(list),
            other => bail!("there is no token {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(nops: Nops) -> Vec<u8> {
        let mut tree = Writer::new(nops);
        tree.begin("").cells("a", &[1]).begin("child").texts("b", &["x", "yz"]).end().end();
        tree.finish()
    }

    fn words(bytes: &[u8]) -> Vec<u32> {
        bytes.chunks_exact(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect()
    }

    #[test]
    fn the_header_names_every_block() {
        let blob = small(Nops::None);
        let header = words(&blob[..40]);
        assert_eq!(header[..2], [0xd00d_feed, blob.len() as u32]);
        assert_eq!(header[2..8], [56, 56 + header[9], 40, 17, 16, 0]);
        assert_eq!(&blob[header[3] as usize..], b"a\0b\0");
        assert_eq!((header[8], blob[40..56].iter().all(|&byte| byte == 0)), (4, true));
    }

    #[test]
    fn the_structure_is_tokens_names_and_values() {
        let blob = small(Nops::None);
        let structure = words(&blob[56..blob.len() - 4]);
        let text = |text: &[u8; 4]| u32::from_be_bytes(*text);
        let child = [1, text(b"chil"), text(b"d\0\0\0"), 3, 5, 2, text(b"x\0yz"), 0, 2];
        assert_eq!(structure, [&[1, 0, 3, 4, 0, 1][..], &child, &[2, 9]].concat());
    }

    #[test]
    fn nops_stand_before_every_token() {
        let blob = small(Nops::Everywhere);
        let structure = words(&blob[56..blob.len() - 4]);
        assert_eq!(structure[..6], [4, 1, 0, 4, 3, 4]);
        assert_eq!(structure.iter().filter(|&&word| word == 4).count(), 7 + 1, "one is a length");
    }

    #[test]
    fn what_was_written_is_read_back() {
        let expected = [
            Token::Begin(""),
            Token::Property("a", &[0, 0, 0, 1]),
            Token::Begin("child"),
            Token::Property("b", b"x\0yz\0"),
            Token::End,
            Token::End,
        ];
        for nops in [Nops::None, Nops::Everywhere] {
            assert_eq!(tokens(&small(nops)).unwrap(), expected);
        }
        let blob = small(Nops::None);
        for length in 0..blob.len() - 8 {
            assert!(tokens(&blob[..length]).is_err(), "{length}");
        }
    }
}
