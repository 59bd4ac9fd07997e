//! PVH: the `hvm_start_info` whose address an x86 loader passes in EBX.
//!
//! A structure of 40 bytes (version 0) or 56 (version 1, which adds the memory map): magic, version, flags, module
//! count, then the physical addresses of the module list, the command line, ACPI's root pointer and the memory map.
//! Nothing of it needs to be aligned (on QEMU's microvm the module list is not), and all of it lies in memory that the
//! map itself calls usable, so every piece becomes a reservation. The first module is the initial RAM disk.
//!
//! Linux: `arch/x86/platform/pvh/enlighten.c`; the layout is Xen's `public/arch-x86/hvm/start_info.h`.

use super::{BootInfo, HandoverError, MAX_RESERVED, MemoryMapSource, Protocol, text};
use crate::firmware::e820::E820;
use crate::read::{PhysRead, u32_at, u64_at};
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Problem, Source, Table};

/// What an `hvm_start_info` begins with.
pub const MAGIC: u32 = 0x336e_c578;

const SIZE_V0: usize = 40;
const SIZE_V1: usize = 56;
const MODULE_SIZE: usize = 32;
/// Modules that are looked at. Four of the reservations are the loader's own.
const MAX_MODULES: u32 = (MAX_RESERVED - 4) as u32;

const START_INFO: Source = Source::whole(Table::StartInfo);

/// What the `hvm_start_info` at `start_info` says. What is wrong in it stands among the result's warnings.
///
/// # Errors
/// When it cannot be read, or does not begin with [`MAGIC`].
pub fn read(start_info: PhysAddr, read: &mut dyn PhysRead) -> Result<BootInfo<'static>, HandoverError> {
    let mut header = [0; SIZE_V1];
    let (v0, v1) = header.split_at_mut(SIZE_V0);
    read.read(start_info, v0).map_err(HandoverError::StartInfoUnreadable)?;
    let magic = u32_at(v0, 0);
    if magic != MAGIC {
        return Err(HandoverError::StartInfoMagic { at: start_info, value: magic });
    }
    let has_map = u32_at(v0, 4) >= 1;
    if has_map && let Some(at) = start_info.checked_add(SIZE_V0 as u64) {
        read.read(at, v1).map_err(HandoverError::StartInfoUnreadable)?;
    }
    let header = header;
    let address = |offset| Some(u64_at(&header, offset)).filter(|&address| address != 0).map(PhysAddr::new);

    let mut info = BootInfo::new(Protocol::Pvh);
    let size = if has_map { SIZE_V1 } else { SIZE_V0 };
    reserve(&mut info, start_info, size as u64, "start_info", START_INFO);
    if let Some(list) = address(16) {
        modules(&mut info, read, list, u32_at(&header, 12));
    }
    if let Some(at) = address(24) {
        let size = text::command_line(&mut info, read, at);
        reserve(&mut info, at, size, "command line", START_INFO);
    }
    info.rsdp = address(32);
    if let Some(at) = address(40) {
        let map = E820 { at, entries: u32_at(&header, 48) };
        let bytes = u64::from(map.entries.min(E820::MAX_ENTRIES)) * E820::ENTRY_SIZE as u64;
        reserve(&mut info, at, bytes, "memory map", START_INFO);
        info.map = MemoryMapSource::E820(map);
    }
    Ok(info)
}

fn reserve(info: &mut BootInfo<'_>, start: PhysAddr, size: u64, owner: &str, source: Source) -> Option<PhysRange> {
    let Some(range) = PhysRange::from_size(start, size) else {
        info.warn(source, Problem::Wraps { start: start.as_u64(), size });
        return None;
    };
    info.reserve(range, owner, source);
    Some(range)
}

fn modules(info: &mut BootInfo<'_>, read: &mut dyn PhysRead, list: PhysAddr, stated: u32) {
    let count = stated.min(MAX_MODULES);
    if stated > count {
        info.warn(START_INFO, Problem::TooMany { what: "boot modules", limit: MAX_MODULES.into() });
    }
    if count > 0 {
        reserve(info, list, u64::from(count) * MODULE_SIZE as u64, "module list", START_INFO);
    }
    for index in 0..count {
        let source = Source::entry(Table::StartInfo, index);
        let at = list.saturating_add(u64::from(index) * MODULE_SIZE as u64);
        let mut entry = [0; MODULE_SIZE];
        if let Err(error) = read.read(at, &mut entry) {
            info.warn(source, Problem::Unreadable(error.at));
            return;
        }
        let (start, size) = (PhysAddr::new(u64_at(&entry, 0)), u64_at(&entry, 8));
        if size == 0 {
            info.warn(source, Problem::Empty { start: start.as_u64() });
            continue;
        }
        let range = reserve(info, start, size, if index == 0 { "initrd" } else { "boot module" }, source);
        if index == 0 {
            info.initrd = range;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmdline::Cmdline;
    use crate::read::MemoryImage;

    const AT: u64 = 0x21e0;
    const LIST: u64 = 0x7b7c;
    const TEXT: u64 = 0x3000;

    fn start_info(version: u32, modules: u32, pointers: [u64; 4], entries: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [MAGIC, version, 0, modules] {
            bytes.extend(word.to_le_bytes());
        }
        for pointer in pointers {
            bytes.extend(pointer.to_le_bytes());
        }
        bytes.truncate(SIZE_V0);
        bytes.extend(if version >= 1 {
            [entries, 0].iter().flat_map(|word| word.to_le_bytes()).collect()
        } else {
            vec![]
        });
        bytes
    }

    /// Version 1 wants five pointers; the fifth is the memory map's.
    fn version_1(modules: u32, pointers: [u64; 4], entries: u32) -> Vec<u8> {
        let mut bytes = start_info(0, modules, [pointers[0], pointers[1], pointers[2], 0], 0);
        bytes.truncate(40);
        bytes[4] = 1;
        bytes.extend(pointers[3].to_le_bytes());
        bytes.extend(entries.to_le_bytes());
        bytes.extend([0; 4]);
        assert_eq!(bytes.len(), SIZE_V1);
        bytes
    }

    fn module(start: u64, size: u64) -> Vec<u8> {
        [start, size, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn load(pieces: &[(u64, &[u8])]) -> Result<BootInfo<'static>, HandoverError> {
        let pieces: Vec<(PhysAddr, &[u8])> = pieces.iter().map(|&(at, bytes)| (PhysAddr::new(at), bytes)).collect();
        read(PhysAddr::new(AT), &mut MemoryImage::new(&pieces))
    }

    fn owners(info: &BootInfo<'_>) -> Vec<(String, u64, u64)> {
        let text =
            |r: &mm::machine::Reservation| (r.owner.as_str().to_owned(), r.range.start().as_u64(), r.range.size());
        info.reserved.iter().map(text).collect()
    }

    #[test]
    fn everything_that_the_loader_left_is_found_and_reserved() {
        let header = version_1(2, [LIST, TEXT, 0xf59b0, 0x5000], 3);
        let mut list = module(0x1ffd_7000, 0x1234);
        list.extend(module(0x1000_0000, 0x10));
        let info = load(&[(AT, &header), (LIST, &list), (TEXT, b"selftest exit=isa-debug\0junk")]).unwrap();
        assert_eq!(info.cmdline.as_str(), "selftest exit=isa-debug");
        assert_eq!(info.rsdp, Some(PhysAddr::new(0xf59b0)));
        assert_eq!(info.initrd, PhysRange::from_size(PhysAddr::new(0x1ffd_7000), 0x1234));
        assert!(matches!(info.map, MemoryMapSource::E820(E820 { at, entries: 3 }) if at.as_u64() == 0x5000));
        assert_eq!(
            owners(&info),
            [
                ("start_info".to_owned(), AT, 56),
                ("module list".to_owned(), LIST, 64),
                ("initrd".to_owned(), 0x1ffd_7000, 0x1234),
                ("boot module".to_owned(), 0x1000_0000, 0x10),
                ("command line".to_owned(), TEXT, 24),
                ("memory map".to_owned(), 0x5000, 72),
            ]
        );
        assert!(info.warnings.is_empty());
    }

    #[test]
    fn version_0_has_no_map() {
        let header = start_info(0, 0, [0, 0, 0, 0], 0);
        let info = load(&[(AT, &header[..SIZE_V0])]).unwrap();
        assert!(matches!(info.map, MemoryMapSource::None));
        assert_eq!(owners(&info), [("start_info".to_owned(), AT, 40)]);
    }

    #[test]
    fn a_wrong_magic_and_an_absent_structure_are_errors() {
        let mut header = version_1(0, [0; 4], 0);
        header[0] = 0;
        assert_eq!(
            load(&[(AT, &header)]).err(),
            Some(HandoverError::StartInfoMagic { at: PhysAddr::new(AT), value: 0x336e_c500 })
        );
        let nowhere = load(&[]).expect_err("nothing there");
        assert!(matches!(nowhere, HandoverError::StartInfoUnreadable(_)));
        assert!(nowhere.to_string().starts_with("the boot loader's start_info: "), "{nowhere}");
        let short = version_1(0, [0; 4], 0);
        assert!(matches!(load(&[(AT, &short[..44])]), Err(HandoverError::StartInfoUnreadable(_))));
    }

    #[test]
    fn wild_pointers_and_counts_are_warnings() {
        let header = version_1(u32::MAX, [LIST, u64::MAX - 3, 0, u64::MAX - 16], u32::MAX);
        let info = load(&[(AT, &header), (LIST, &module(u64::MAX - 4, 100))]).unwrap();
        let problems: Vec<Problem> = info.warnings.iter().map(|warning| warning.problem).collect();
        assert!(problems.contains(&Problem::TooMany { what: "boot modules", limit: 12 }));
        assert!(problems.contains(&Problem::Wraps { start: u64::MAX - 4, size: 100 }));
        assert!(problems.iter().any(|problem| matches!(problem, Problem::Unreadable(_))));
        assert!(info.cmdline.as_str().is_empty());
        assert_eq!(info.initrd, None);
    }

    #[test]
    fn a_command_line_without_an_end_is_cut() {
        let header = version_1(0, [0, TEXT + 5, 0, 0], 0);
        let text = vec![b'a'; 5000];
        let info = load(&[(AT, &header), (TEXT, &text)]).unwrap();
        assert_eq!(info.cmdline.as_str().len(), Cmdline::CAPACITY);
        assert_eq!(info.warnings.len(), 1);
        // At the very end of memory, what can be read is used.
        let info = load(&[(AT, &header), (TEXT, &text[..64])]).unwrap();
        assert_eq!(info.cmdline.as_str().len(), 59);
        assert_eq!(info.warnings.len(), 1);
    }
}
