//! What an Arm boot loader does last: x0 holds the device tree, x1 to x3 nothing, and on to the kernel.
//!
//! Linux: `Documentation/arch/arm64/booting.rst`, "Call the kernel image".

/// `ldr xREGISTER, .+offset`
const fn load(register: u32, offset: u32) -> u32 {
    0x5800_0000 | (offset / 4) << 5 | register
}

/// `mov xREGISTER, #0`
const fn zero(register: u32) -> u32 {
    0xd280_0000 | register
}

/// `br xREGISTER`
const fn branch(register: u32) -> u32 {
    0xd61f_0000 | register << 5
}

/// The instructions, and behind them the two addresses that they load.
pub(super) fn bytes(tree: u64, kernel: u64) -> Vec<u8> {
    let code = [load(0, 24), zero(1), zero(2), zero(3), load(4, 16), branch(4)];
    [&code.map(u32::to_le_bytes).concat()[..], &[tree, kernel].map(u64::to_le_bytes).concat()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_instructions_and_two_addresses() {
        let bytes = bytes(0x4800_0000, 0x4020_0000);
        let words: Vec<u32> = bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        // ldr x0, .+24; mov x1..x3, #0; ldr x4, .+16; br x4: what an assembler makes of these.
        assert_eq!(words[..6], [0x5800_00c0, 0xd280_0001, 0xd280_0002, 0xd280_0003, 0x5800_0084, 0xd61f_0080]);
        assert_eq!(words[6..], [0x4800_0000, 0, 0x4020_0000, 0]);
    }
}
