//! A good file, and every way in which it can be damaged.

use super::*;

/// Writes the ELF files that tests load.
pub(crate) struct Builder {
    pub(crate) machine: Machine,
    pub(crate) entry: u64,
    /// Address, bytes in the file, bytes in memory, flags, alignment.
    pub(crate) segments: Vec<(u64, Vec<u8>, u64, u32, u64)>,
}

pub(crate) const BASE: u64 = HIGHER_HALF + 0x20_0000;
const R: u32 = 4;
const W: u32 = 2;
const X: u32 = 1;
const HEADER: usize = 64;
const ENTRY_SIZE: usize = 56;
/// Bytes of the header and three program headers.
const HEADERS: usize = HEADER + 3 * ENTRY_SIZE;

impl Builder {
    /// Text, rodata, and data with memory behind it.
    pub(crate) fn kernel(machine: Machine) -> Self {
        let segments = vec![
            (BASE, vec![0xcc; 0x1234], 0x1234, R | X, 0x1000),
            (BASE + 0x2000, vec![0x11; 0x800], 0x800, R, 0x1000),
            (BASE + 0x3000, vec![0x22; 0x1008], 0x5000, R | W, 0x1000),
        ];
        Self { machine, entry: BASE + 0x10, segments }
    }

    /// The file; its bytes begin where a page could.
    pub(crate) fn file(&self) -> Aligned {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let number: u16 = if self.machine == Machine::X86_64 { 62 } else { 183 };
        bytes.extend([2, 0]);
        bytes.extend(number.to_le_bytes());
        bytes.extend([1, 0, 0, 0]);
        bytes.extend(self.entry.to_le_bytes());
        bytes.extend((HEADER as u64).to_le_bytes());
        bytes.extend([0; 12]);
        for half in [HEADER, ENTRY_SIZE, self.segments.len(), 64, 0, 0] {
            bytes.extend((half as u16).to_le_bytes());
        }
        assert_eq!(bytes.len(), HEADER);
        let mut offset = 0x1000;
        for (address, content, memory, flags, align) in &self.segments {
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(flags.to_le_bytes());
            let place = offset + address % 0x1000;
            for word in [place, *address, 0x20_0000, content.len() as u64, *memory, *align] {
                bytes.extend(word.to_le_bytes());
            }
            offset = (place + content.len() as u64).next_multiple_of(0x1000);
        }
        let mut offset = 0x1000;
        for (address, content, ..) in &self.segments {
            let place = offset + (address % 0x1000) as usize;
            bytes.resize(place, 0);
            bytes.extend(content);
            offset = bytes.len().next_multiple_of(0x1000);
        }
        Aligned::new(&bytes)
    }
}

/// Bytes at an address that is a multiple of 8.
#[derive(Clone)]
pub(crate) struct Aligned {
    words: Vec<u64>,
    length: usize,
}

impl Aligned {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let word = |chunk: &[u8]| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        };
        Self { words: bytes.chunks(8).map(word).collect(), length: bytes.len() }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &object::pod::bytes_of_slice(&self.words)[..self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut object::pod::bytes_of_slice_mut(&mut self.words)[..self.length]
    }

    fn with(&self, at: usize, change: &[u8]) -> Self {
        let mut bytes = self.bytes().to_vec();
        bytes[at..at + change.len()].copy_from_slice(change);
        Self::new(&bytes)
    }

    fn cut(&self, length: usize) -> Self {
        Self::new(&self.bytes()[..length])
    }
}

fn refusal(file: &Aligned) -> ElfError {
    check(file.bytes(), Machine::X86_64).unwrap_err()
}

#[test]
fn a_good_file_is_loaded() {
    for machine in [Machine::X86_64, Machine::Aarch64] {
        let file = Builder::kernel(machine).file();
        let kernel = check(file.bytes(), machine).unwrap();
        assert_eq!((kernel.start(), kernel.size(), kernel.align), (BASE, 0x8000, 0x1000));
        assert_eq!(kernel.entry, BASE + 0x10);
        let rights: Vec<Rights> = kernel.segments().iter().map(|s| s.rights).collect();
        assert_eq!(rights, [Rights::ReadExecute, Rights::Read, Rights::ReadWrite]);
        let mut memory = vec![0xee; 0x8000];
        kernel.load(&mut memory);
        let expected = [(0xcc, 0x1234), (0, 0xdcc), (0x11, 0x800), (0, 0x800), (0x22, 0x1008), (0, 0x3ff8)];
        let mut at = 0;
        for (value, count) in expected {
            assert!(memory[at..at + count].iter().all(|&byte| byte == value), "{value:#x} at {at:#x}");
            at += count;
        }
        assert_eq!(at, memory.len());
    }
}

#[test]
fn gaps_order_and_alignment_are_the_files() {
    let mut builder = Builder::kernel(Machine::X86_64);
    builder.segments.reverse();
    builder.segments.push((BASE + 0x40_0000, vec![0x33; 16], 16, R, 0x20_0000));
    let file = builder.file();
    // Its place in the file is no multiple of 2 MiB.
    let problem = SegmentProblem::Misplaced { align: 0x20_0000 };
    assert_eq!(refusal(&file), ElfError::Segment { index: 3, address: BASE + 0x40_0000, problem });
    // Where nothing of it is in the file, that does not matter.
    builder.segments[3].1.clear();
    let file = builder.file();
    let kernel = check(file.bytes(), Machine::X86_64).unwrap();
    assert_eq!((kernel.start(), kernel.size(), kernel.align), (BASE, 0x40_1000, 0x20_0000));
    let mut memory = vec![0; 0x40_1000];
    kernel.load(&mut memory);
    assert_eq!((memory[0], memory[0x3000], memory[0x40_0000]), (0xcc, 0x22, 0));
    // Memory that is too small takes what fits, and nothing panics.
    kernel.load(&mut memory[..0x1800]);
}

#[test]
fn segments_of_equal_rights_may_share_a_page() {
    let mut builder = Builder::kernel(Machine::X86_64);
    builder.segments.push((BASE + 0x2900, vec![0x44; 8], 8, R, 8));
    assert!(check(builder.file().bytes(), Machine::X86_64).is_ok());
    builder.segments[3].3 = R | W;
    let page = BASE + 0x2000;
    assert_eq!(refusal(&builder.file()), ElfError::SharedPage { segments: [1, 3], address: page });
    builder.segments[3].0 = BASE + 0x2700;
    assert_eq!(refusal(&builder.file()), ElfError::Overlap { segments: [1, 3], address: BASE + 0x2700 });
}

#[test]
fn every_damage_has_its_refusal() {
    let good = Builder::kernel(Machine::X86_64).file();
    let segment = |index: usize, field: usize| HEADER + index * ENTRY_SIZE + field;
    let word = |value: u64| value.to_le_bytes();
    let wrong = |index, address, problem| ElfError::Segment { index, address, problem };
    let size = good.bytes().len();
    for (at, change, expected) in [
        (0, &b"\x7fELG"[..], ElfError::NotElf),
        (0, b"MZ", ElfError::NotElf),
        (4, &[1], ElfError::Format),
        (5, &[2], ElfError::Format),
        (6, &[7], ElfError::Format),
        (18, &[183, 0], ElfError::Machine { found: 183, wanted: Machine::X86_64 }),
        (18, &[243, 0], ElfError::Machine { found: 243, wanted: Machine::X86_64 }),
        (16, &[3, 0], ElfError::PositionIndependent),
        (16, &[1, 0], ElfError::NotExecutable { kind: 1 }),
        (16, &[4, 0], ElfError::NotExecutable { kind: 4 }),
        (24, &word(0), ElfError::Entry { address: 0 }),
        (24, &word(BASE + 0x1234), ElfError::Entry { address: BASE + 0x1234 }),
        (24, &word(BASE + 0x2000), ElfError::Entry { address: BASE + 0x2000 }),
        (32, &word(size as u64 - 100), ElfError::Headers { offset: size as u64 - 100, entries: 3 }),
        (32, &word(u64::MAX), ElfError::Headers { offset: u64::MAX, entries: 3 }),
        (54, &[32, 0], ElfError::Headers { offset: 64, entries: 3 }),
        (56, &[0, 0], ElfError::NothingToLoad),
        (56, &[255, 250], ElfError::Headers { offset: 64, entries: 0xfaff }),
        (segment(0, 4), &[7], wrong(0, BASE, SegmentProblem::WritableAndExecutable)),
        (segment(0, 4), &[4], ElfError::Entry { address: BASE + 0x10 }),
        (
            segment(1, 8),
            &word(0x100_0000),
            wrong(1, BASE + 0x2000, SegmentProblem::OutsideFile { end: 0x100_0800, bytes: size }),
        ),
        (
            segment(1, 8),
            &word(u64::MAX),
            wrong(1, BASE + 0x2000, SegmentProblem::OutsideFile { end: u64::MAX, bytes: size }),
        ),
        (segment(1, 8), &word(0x3008), wrong(1, BASE + 0x2000, SegmentProblem::Misplaced { align: 0x1000 })),
        (segment(1, 16), &word(0x20_0000), wrong(1, 0x20_0000, SegmentProblem::LowerHalf)),
        (segment(1, 16), &word(HIGHER_HALF - 0x1000), wrong(1, HIGHER_HALF - 0x1000, SegmentProblem::LowerHalf)),
        (segment(1, 16), &word(u64::MAX - 0xfff), wrong(1, u64::MAX - 0xfff, SegmentProblem::Wraps)),
        (segment(1, 16), &word(BASE + 0x1000), ElfError::Overlap { segments: [0, 1], address: BASE + 0x1000 }),
        (segment(1, 40), &word(u64::MAX), wrong(1, BASE + 0x2000, SegmentProblem::Wraps)),
        (segment(1, 40), &word(0x7ff), wrong(1, BASE + 0x2000, SegmentProblem::LargerInFile)),
        (segment(1, 48), &word(3), wrong(1, BASE + 0x2000, SegmentProblem::Alignment { align: 3 })),
        (segment(1, 48), &word(1 << 31), wrong(1, BASE + 0x2000, SegmentProblem::Alignment { align: 1 << 31 })),
    ] {
        let error = refusal(&good.with(at, change));
        assert_eq!(error, expected, "{at}: {change:?}");
        assert!(!format!("{error}").contains('\n'));
    }
}

#[test]
fn a_file_that_ends_early_is_refused_wherever_it_ends() {
    let good = Builder::kernel(Machine::X86_64).file();
    for length in 0..good.bytes().len() {
        let error = refusal(&good.cut(length));
        match length {
            0 => assert_eq!(error, ElfError::Empty),
            1..64 => assert_eq!(error, ElfError::Short { bytes: length }),
            64..HEADERS => assert_eq!(error, ElfError::Headers { offset: 64, entries: 3 }),
            _ => assert!(matches!(error, ElfError::Segment { problem: SegmentProblem::OutsideFile { .. }, .. })),
        }
    }
}

#[test]
fn more_segments_than_there_is_room_for_are_refused() {
    let mut builder = Builder::kernel(Machine::X86_64);
    let spare = |index| (BASE + 0x10_0000 + index * 0x1000, vec![], 16, R, 0x1000);
    builder.segments.extend((0..MAX_SEGMENTS as u64 - 3).map(spare));
    assert!(check(builder.file().bytes(), Machine::X86_64).is_ok());
    builder.segments.push(spare(100));
    assert_eq!(refusal(&builder.file()), ElfError::TooManySegments);
}

#[test]
fn random_damage_never_panics_and_what_is_accepted_can_be_loaded() {
    let good = Builder::kernel(Machine::X86_64).file();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut accepted = 0;
    let mut refused = 0;
    let mut file = good.clone();
    let mut memory = [0; 0x4000];
    for _ in 0..20_000 {
        let headers = &mut file.bytes_mut()[..HEADERS];
        headers.copy_from_slice(&good.bytes()[..HEADERS]);
        for _ in 0..random() % 4 + 1 {
            let byte = &mut headers[(random() % HEADERS as u64) as usize];
            *byte = match random() % 4 {
                0 => 0,
                1 => 0xff,
                2 => *byte ^ 1 << (random() % 8),
                _ => random() as u8,
            };
        }
        match check(file.bytes(), Machine::X86_64) {
            Ok(kernel) => {
                accepted += 1;
                assert!(kernel.start() >= HIGHER_HALF && kernel.start() % PAGE == 0 && kernel.size() % PAGE == 0);
                assert!(kernel.enters(kernel.entry));
                let size = kernel.size().min(0x4000) as usize;
                kernel.load(&mut memory[..size]);
            }
            Err(error) => {
                refused += 1;
                assert!(format!("{error}").len() < 120, "{error}");
            }
        }
    }
    assert!(accepted > 1000 && refused > 10_000, "{accepted} accepted, {refused} refused");
}
