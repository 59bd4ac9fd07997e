//! A BIOS of 64 KiB that does one thing: it enters a kernel by PVH.
//!
//! An x86 CPU wakes in real mode at the last 16 bytes below 4 GiB. From there the code below goes to 32-bit protected
//! mode with flat segments, which is what PVH asks for, puts the address of the `hvm_start_info` into EBX and jumps to
//! the kernel's entry. No memory is touched on the way. Written as bytes, so that no assembler is needed; each line is
//! one instruction. Intel SDM volume 3, chapters 11.1.4 and 11.9; Xen's "x86/HVM direct boot ABI".

/// Bytes of the image; QEMU wants a multiple of 64 KiB.
pub(super) const SIZE: usize = 64 << 10;

/// Where the image begins: it ends at 4 GiB.
const BASE: u32 = 0u32.wrapping_sub(SIZE as u32);
/// Offset of the first instruction after reset.
const RESET: usize = SIZE - 16;
/// Offset of the real-mode code.
const REAL_MODE: usize = SIZE - 0x100;
/// Offset of the code in protected mode.
const PROTECTED_MODE: usize = SIZE - 0xc0;
/// Offset of the descriptor table, and of the six bytes that `lgdt` reads.
const TABLE: usize = SIZE - 0x80;
const TABLE_POINTER: usize = SIZE - 0x60;

/// Nothing; code, 32 bits, from 0 to 4 GiB; data, the same. Both as if accessed, since this memory cannot be written.
const DESCRIPTORS: [u64; 3] = [0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
const CODE: u8 = 0x08;
const DATA: u8 = 0x10;

/// Instructions, one behind the other.
#[derive(Default)]
struct Code(Vec<u8>);

impl Code {
    fn add(mut self, opcode: &[u8], operand: &[u8]) -> Self {
        self.0.extend_from_slice(opcode);
        self.0.extend_from_slice(operand);
        self
    }
}

/// The image for a kernel whose PVH entry is at `entry` and whose `hvm_start_info` is at `start_info`.
pub(super) fn image(entry: u32, start_info: u32) -> Vec<u8> {
    let mut image = vec![0; SIZE];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);

    // Relative to the byte behind the instruction, which has three.
    let back = (REAL_MODE as u16).wrapping_sub(RESET as u16 + 3).to_le_bytes();
    put(RESET, &[&[0xe9][..], &back].concat()); // jmp REAL_MODE

    let pointer = (TABLE_POINTER as u16).to_le_bytes();
    let protected = (BASE + PROTECTED_MODE as u32).to_le_bytes();
    let code = Code::default()
        .add(&[0xfa], &[]) // cli
        .add(&[0xfc], &[]) // cld
        .add(&[0x66, 0x2e, 0x0f, 0x01, 0x16], &pointer) // lgdtd cs:[TABLE_POINTER]
        .add(&[0x0f, 0x20, 0xc0], &[]) // mov eax, cr0
        .add(&[0x0c, 0x01], &[]) // or al, 1: protected mode
        .add(&[0x0f, 0x22, 0xc0], &[]) // mov cr0, eax
        .add(&[0x66, 0xea], &[&protected[..], &[CODE, 0]].concat()); // jmp dword CODE:PROTECTED_MODE
    put(REAL_MODE, &code.0);

    let code = Code::default()
        .add(&[0x66, 0xb8], &[DATA, 0]) // mov ax, DATA
        .add(&[0x8e, 0xd8], &[]) // mov ds, ax
        .add(&[0x8e, 0xc0], &[]) // mov es, ax
        .add(&[0x8e, 0xd0], &[]) // mov ss, ax
        .add(&[0xbb], &start_info.to_le_bytes()) // mov ebx, start_info
        .add(&[0xb8], &entry.to_le_bytes()) // mov eax, entry
        .add(&[0xff, 0xe0], &[]); // jmp eax
    put(PROTECTED_MODE, &code.0);

    put(TABLE, &DESCRIPTORS.map(u64::to_le_bytes).concat());
    let limit = (DESCRIPTORS.len() * 8 - 1) as u16;
    let table = (BASE + TABLE as u32).to_le_bytes();
    put(TABLE_POINTER, &[&limit.to_le_bytes()[..], &table].concat());
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_ends_at_4_gib_and_begins_with_a_jump_to_its_code() {
        let image = image(0x20_1234, 0x8000);
        assert_eq!(image.len(), 0x1_0000);
        assert_eq!(BASE, 0xffff_0000);
        assert_eq!(image[0xfff0..0xfff3], [0xe9, 0x0d, 0xff]);
        assert_eq!((0xfff3u16).wrapping_add(0xff0d), 0xff00);
        assert_eq!(image[0xff00..0xff02], [0xfa, 0xfc]);
        assert!(image[..0xff00].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn protected_mode_has_flat_segments_and_the_two_addresses() {
        let image = image(0x20_1234, 0x8765_4321);
        // The far jump's target lies in the image, and so does the table.
        assert_eq!(image[0xff11..0xff19], [0x66, 0xea, 0x40, 0xff, 0xff, 0xff, 0x08, 0x00]);
        assert_eq!(image[0xffa0..0xffa6], [0x17, 0x00, 0x80, 0xff, 0xff, 0xff]);
        assert_eq!(image[0xff88..0xff90], [0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0]);
        assert_eq!(image[0xff4a..0xff4f], [0xbb, 0x21, 0x43, 0x65, 0x87]);
        assert_eq!(image[0xff4f..0xff54], [0xb8, 0x34, 0x12, 0x20, 0x00]);
    }

    #[test]
    fn nothing_overlaps() {
        let ends = [(REAL_MODE, 28), (PROTECTED_MODE, 24), (TABLE, 24), (TABLE_POINTER, 6), (RESET, 3)];
        assert!(ends.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
    }
}
