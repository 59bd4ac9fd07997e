//! What PVH hands over: an `hvm_start_info` of version 1, the command line, and the memory map.
//!
//! They lie one behind another, in memory that the map may call usable or not, as it likes. Layout: Xen's
//! `public/arch-x86/hvm/start_info.h`.

/// What an `hvm_start_info` begins with.
pub(super) const MAGIC: u32 = 0x336e_c578;

/// Bytes of the structure, without what it points to.
const SIZE: u64 = 56;

/// Offset of the number of entries of the memory map.
pub(super) const COUNT: usize = 48;

/// An entry of the memory map: start, size, type.
pub(super) type Entry = (u64, u64, u32);

/// The structure at `at`, with what it points to behind it. `rsdp` is ACPI's root pointer, 0 where there is none.
pub(super) fn bytes(at: u64, magic: u32, command_line: &str, map: &[Entry], rsdp: u64) -> Vec<u8> {
    let text = [command_line.as_bytes(), &[0]].concat();
    let text_at = at + SIZE;
    let map_at = (text_at + text.len() as u64).next_multiple_of(8);
    let mut bytes = Vec::new();
    // Version 1, no flags, no modules.
    bytes.extend([magic, 1, 0, 0].map(u32::to_le_bytes).concat());
    // No list of modules.
    bytes.extend([0, text_at, rsdp, map_at].map(u64::to_le_bytes).concat());
    bytes.extend([map.len() as u32, 0].map(u32::to_le_bytes).concat());
    bytes.extend(text);
    bytes.resize((map_at - at) as usize, 0);
    for &(start, size, kind) in map {
        bytes.extend([start, size].map(u64::to_le_bytes).concat());
        bytes.extend([kind, 0].map(u32::to_le_bytes).concat());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_where_the_abi_has_it() {
        let bytes = bytes(0x8000, MAGIC, "selftest", &[(0, 0x9_fc00, 1), (0x10_0000, 0x1000, 2)], 0xabcd);
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!((word(0), word(4), word(8), word(12)), (0x336e_c578, 1, 0, 0));
        assert_eq!((long(16), long(24), long(32)), (0, 0x8038, 0xabcd));
        assert_eq!(&bytes[0x38..0x41], b"selftest\0");
        assert_eq!((long(40), word(COUNT), word(52)), (0x8048, 2, 0));
        assert_eq!((long(0x48), long(0x50), word(0x58), word(0x5c)), (0, 0x9_fc00, 1, 0));
        assert_eq!((long(0x60), long(0x68), word(0x70)), (0x10_0000, 0x1000, 2));
        assert_eq!(bytes.len(), 0x78);
    }
}
