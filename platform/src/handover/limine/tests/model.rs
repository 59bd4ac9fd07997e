//! A loader, written from the protocol's specification: it lays responses out in memory and fills in the requests. It
//! shares nothing with the reader, not even where a request is.

use super::super::{Left, Requests};
use crate::handover::{BootInfo, HandoverError};
use crate::read::MemoryImage;
use mm::addr::PhysAddr;

/// A request by its place behind the markers and the tag for the base revision: six words each.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    Loader = 0,
    Hhdm = 1,
    ExecutableAddress = 2,
    MemoryMap = 3,
    EfiMemoryMap = 4,
    EfiSystemTable = 5,
    Rsdp = 6,
    DeviceTree = 7,
    CommandLine = 8,
    ExecutableFile = 9,
    Modules = 10,
}

pub(super) const USABLE: u64 = 0;
pub(super) const RESERVED: u64 = 1;
pub(super) const ACPI: u64 = 2;
pub(super) const NVS: u64 = 3;
pub(super) const BAD: u64 = 4;
pub(super) const RECLAIMABLE: u64 = 5;
pub(super) const EXECUTABLE: u64 = 6;
pub(super) const FRAMEBUFFER: u64 = 7;
pub(super) const MAPPED: u64 = 8;

/// Where the loader keeps what it makes, and how much room it has there.
pub(super) const POOL: u64 = 0x1f00_0000;
pub(super) const POOL_SIZE: u64 = 0x10_0000;

/// Offsets of higher-half direct maps that were seen, and one that was moved.
pub(super) const HHDMS: [u64; 3] = [0xffff_8000_0000_0000, 0xffff_0000_0000_0000, 0xffff_c07d_4000_0000];

#[derive(Clone)]
pub(super) struct Model {
    /// The base revision that it knows; `None` when it is too old to say.
    base: Option<u64>,
    hhdm: u64,
    words: [u64; Requests::WORDS],
    /// What it has put into its pool.
    pub(super) pool: Vec<u8>,
}

impl Model {
    pub(super) fn new(hhdm: u64, base: Option<u64>) -> Self {
        let mut this = Self { base, hhdm, words: [0; Requests::WORDS], pool: Vec::new() };
        this.words[4..7].copy_from_slice(&[0xf956_2b2d_5c95_a6c8, 0x6a7b_3849_4453_6bdc, 6]);
        match base {
            Some(6) => this.words[5..7].copy_from_slice(&[6, 0]),
            Some(older) => this.words[5] = older,
            None => {}
        }
        let hhdm = this.hhdm;
        this.answer(Asked::Hhdm, &[hhdm]);
        this.answer(Asked::ExecutableAddress, &[0x1000_0000, 0xffff_ffff_8000_0000]);
        this
    }

    /// Puts `bytes` into the pool; where they are in the direct map.
    pub(super) fn put(&mut self, bytes: &[u8]) -> u64 {
        let at = self.pool.len();
        self.pool.extend(bytes);
        self.pool.resize(self.pool.len().next_multiple_of(8), 0xcc);
        self.hhdm + POOL + at as u64
    }

    pub(super) fn words(&mut self, words: &[u64]) -> u64 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(&bytes)
    }

    pub(super) fn text(&mut self, text: &str) -> u64 {
        self.put(format!("{text}\0").as_bytes())
    }

    /// The word that points to a response.
    pub(super) fn slot(&mut self, asked: Asked) -> &mut u64 {
        &mut self.words[7 + 6 * asked as usize + 5]
    }

    pub(super) fn answer(&mut self, asked: Asked, body: &[u64]) {
        let response = self.words(&[&[0], body].concat());
        *self.slot(asked) = response;
    }

    pub(super) fn silence(&mut self, asked: Asked) {
        *self.slot(asked) = 0;
    }

    pub(super) fn named(&mut self, name: &str, version: &str) {
        let (name, version) = (self.text(name), self.text(version));
        self.answer(Asked::Loader, &[name, version]);
    }

    /// Start, length and type of each entry.
    pub(super) fn map(&mut self, entries: &[(u64, u64, u64)]) {
        let pointers: Vec<u64> =
            entries.iter().map(|&(start, length, kind)| self.words(&[start, length, kind])).collect();
        let list = self.words(&pointers);
        self.answer(Asked::MemoryMap, &[pointers.len() as u64, list]);
    }

    /// Type, start, pages and attributes of each descriptor, 48 bytes apart.
    pub(super) fn efi_map(&mut self, descriptors: &[(u32, u64, u64, u64)]) {
        let words: Vec<u64> = descriptors
            .iter()
            .flat_map(|&(kind, start, pages, attributes)| [kind.into(), start, 0, pages, attributes, !0])
            .collect();
        let at = self.words(&words);
        self.answer(Asked::EfiMemoryMap, &[at, 8 * words.len() as u64, 48, 0xdead_beef_0000_0001]);
    }

    /// A file as the protocol describes it, with the address, the size and the string.
    fn file(&mut self, start: u64, size: u64, string: &str) -> u64 {
        let (path, string) = (self.text("/boot/file"), self.text(string));
        self.words(&[0, self.hhdm + start, size, path, string, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// Start and size of each module.
    pub(super) fn modules(&mut self, modules: &[(u64, u64)]) {
        let files: Vec<u64> = modules.iter().map(|&(start, size)| self.file(start, size, "")).collect();
        let list = self.words(&files);
        self.answer(Asked::Modules, &[files.len() as u64, list]);
    }

    pub(super) fn command_line(&mut self, text: &str) {
        let text = self.text(text);
        self.answer(Asked::CommandLine, &[text]);
    }

    /// The command line as loaders that are older than its request have it.
    pub(super) fn executable_file(&mut self, command_line: &str) {
        let file = self.file(0x1000_0000, 0x1234, command_line);
        self.answer(Asked::ExecutableFile, &[file]);
    }

    /// A table of the firmware: physical from base revision 3 on, until `virtual_again` has it in the direct map.
    pub(super) fn table(&mut self, asked: Asked, at: u64, virtual_again: u64) {
        let physical = self.base.is_some_and(|base| (3..virtual_again).contains(&base));
        let pointer = if physical { at } else { self.hhdm + at };
        self.answer(asked, &[pointer]);
    }

    pub(super) fn left(&self) -> Left {
        Left { words: self.words, hhdm: self.hhdm }
    }

    /// What is in memory, with that of `others`.
    pub(super) fn pieces<'m>(&'m self, others: &[(PhysAddr, &'m [u8])]) -> Vec<(PhysAddr, &'m [u8])> {
        let own = (PhysAddr::new(POOL), &self.pool[..]);
        [&[own], others].concat()
    }

    pub(super) fn read<'t>(
        &self,
        tree: Option<&'t mut [u8]>,
        others: &[(PhysAddr, &[u8])],
    ) -> Result<BootInfo<'t>, HandoverError> {
        super::super::read(&self.left(), tree, &mut MemoryImage::new(&self.pieces(others)))
    }
}
