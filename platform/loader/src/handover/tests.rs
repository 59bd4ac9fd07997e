use super::*;
use crate::elf::check;
use crate::elf::tests::{BASE, Builder};
use crate::memory_map::Kind;
use crate::requests::find;

const POOL: u64 = 0x200_0000;
const FORMATS: [Format; 2] = [Format::X86_64, Format::Aarch64];
const COMMON: [u64; 2] = [0xc7b1_dd30_df4c_8b88, 0x0a82_e883_a194_f07b];
const STACK_SIZE: [u64; 2] = [0x224e_f046_0a8e_8926, 0xe1cb_0fc2_5f46_ea3d];
const ENTRY_POINT: [u64; 2] = [0x13d8_6c03_5a1c_d3e1, 0x2b0c_aa89_d8f3_026a];
const PAGING_MODE: [u64; 2] = [0x95c1_a0ed_ab09_44cb, 0xa4e5_cb38_42f7_488a];

/// Base revision 6.
const TAG: [u64; 3] = [0xf956_2b2d_5c95_a6c8, 0x6a7b_3849_4453_6bdc, 6];

fn request(id: [u64; 2], revision: u64, arguments: &[u64]) -> Vec<u64> {
    [&COMMON[..], &id, &[revision, 0], arguments].concat()
}

/// Builds the handover of a kernel whose data begins with these words.
fn build(format: Format, words: &[u64]) -> Result<(Ready, Vec<u8>), HandoverError> {
    let mut builder = Builder::kernel(format.machine());
    builder.segments[2].1 = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let file = builder.file();
    let executable = check(file.bytes(), format.machine()).unwrap();
    let mut image = vec![0; executable.size() as usize];
    executable.load(&mut image);
    let requests = find(&image)?;
    let map = [
        Entry { start: 0, end: 0x100_0000, kind: Kind::Usable },
        Entry { start: 0x100_0000, end: 0x800_0000, kind: Kind::LoaderReclaimable },
    ];
    let facts = Facts { command_line: b"quiet", device_tree: Some(&[1; 1000]), ..Facts::default() };
    let handover =
        Handover { format, executable: &executable, requests: &requests, image: 0x100_0000, jump: 0x180_0000 };
    let most = handover.most_bytes(&facts, &image, &map)?;
    let mut memory = vec![0xee; most as usize];
    let mut pool = Pool::new(&mut memory, POOL);
    let first = handover.build(&facts, &mut image, &map, &mut pool)?;
    // The second time, over what the first left, gives the same.
    let mut pool = Pool::new(&mut memory, POOL);
    assert_eq!(handover.build(&facts, &mut image, &map, &mut pool), Ok(first));
    // Where less is there than was foretold, it is an error and no panic.
    let used = pool.used();
    for bytes in (0..used).step_by(2000) {
        let mut pool = Pool::new(&mut memory[..bytes], POOL);
        assert!(handover.build(&facts, &mut image, &map, &mut pool).is_err());
    }
    let mut pool = Pool::new(&mut memory, POOL);
    handover.build(&facts, &mut image, &map, &mut pool)?;
    Ok((first, memory))
}

#[test]
fn a_kernel_is_entered_where_its_file_says() {
    for format in FORMATS {
        let (ready, memory) = build(format, &TAG).unwrap();
        assert_eq!(ready.entry, BASE + 0x10);
        let physical = ready.stack - hhdm(format.machine());
        assert!(physical.is_multiple_of(16) && physical - STACK_BYTES >= POOL);
        assert!(physical <= POOL + memory.len() as u64);
        assert_eq!(ready.gdt == 0, format == Format::Aarch64);
    }
}

#[test]
fn the_gdt_is_the_protocols() {
    let (ready, memory) = build(Format::X86_64, &TAG).unwrap();
    let hhdm = hhdm(Machine::X86_64);
    let at = |address: u64| &memory[(address - hhdm - POOL) as usize..];
    let limit = u16::from_le_bytes(*at(ready.gdt).first_chunk().unwrap());
    assert_eq!(limit, 7 * 8 - 1);
    let table = u64::from_le_bytes(*at(ready.gdt + 2).first_chunk().unwrap());
    let segment = |selector: u64| u64::from_le_bytes(*at(table + selector).first_chunk().unwrap());
    assert_eq!(segment(0), 0);
    // Intel's manual, volume 3, 3.4.5: present, a code or data segment, accessed, all addresses; L for 64-bit code.
    for (selector, kind, large) in [(0x28, 0xb, 0xa), (0x30, 0x3, 0xc), (0x18, 0xb, 0xc), (0x08, 0xb, 0x0)] {
        assert_eq!(segment(selector) >> 40 & 0xff, 0x90 | kind, "{selector:#x}");
        assert_eq!(segment(selector) >> 52 & 0xf, large, "{selector:#x}");
    }
}

#[test]
fn a_stack_is_as_large_as_asked_for() {
    for (asked, bytes) in [(0x20000, 0x20000), (0x20001, 0x20010), (1, STACK_BYTES), (0, STACK_BYTES)] {
        let (ready, memory) = build(Format::X86_64, &request(STACK_SIZE, 0, &[asked])).unwrap();
        let end = ready.stack - hhdm(Machine::X86_64) - POOL;
        assert!(end >= bytes && end as usize <= memory.len());
        // Nothing else of the handover lies in it.
        let stack = &memory[(end - bytes) as usize..end as usize];
        assert!(stack.iter().all(|&byte| byte == 0), "{asked:#x}");
    }
    let file = Builder::kernel(Machine::X86_64).file();
    let executable = check(file.bytes(), Machine::X86_64).unwrap();
    let image: Vec<u8> = request(STACK_SIZE, 0, &[u64::MAX]).iter().flat_map(|word| word.to_le_bytes()).collect();
    let requests = find(&image).unwrap();
    let handover =
        Handover { format: Format::X86_64, executable: &executable, requests: &requests, image: 0, jump: 0x1000 };
    assert_eq!(handover.most_bytes(&Facts::default(), &image, &[]), Ok(u64::MAX));
}

#[test]
fn another_entry_point_is_used_if_it_can_be_entered() {
    let other = BASE + 0x800;
    let (ready, _) = build(Format::Aarch64, &request(ENTRY_POINT, 0, &[other])).unwrap();
    assert_eq!(ready.entry, other);
    for address in [0, BASE + 0x2000, u64::MAX] {
        let error = build(Format::Aarch64, &request(ENTRY_POINT, 0, &[address])).err();
        assert_eq!(error, Some(HandoverError::Request(RequestError::Entry { address })));
    }
}

#[test]
fn five_levels_are_given_up_but_not_replaced() {
    // Revision 0 has no least mode, so what follows is not the request's.
    assert!(build(Format::X86_64, &request(PAGING_MODE, 0, &[1, 1, 1])).is_ok());
    assert!(build(Format::X86_64, &request(PAGING_MODE, 1, &[1, 1, 0])).is_ok());
    let error = build(Format::X86_64, &request(PAGING_MODE, 1, &[1, 1, 1])).err();
    assert_eq!(error, Some(HandoverError::Request(RequestError::Levels)));
}

#[test]
fn errors_are_one_line() {
    for error in [
        HandoverError::Full,
        HandoverError::Map(MapError::Full),
        HandoverError::Map(MapError::Taken { address: 1 }),
        HandoverError::Map(MapError::Range { address: 1 }),
        HandoverError::Request(RequestError::Levels),
    ] {
        let text = error.to_string();
        assert!(!text.contains('\n') && text.len() > 20, "{text}");
    }
}
