//! Guest instructions from entry to prompt, of a boot whose clock counts them (`-icount shift=0`).
//!
//! The kernel says how many ticks of its timer went by; under that clock a tick is always the same number of
//! instructions: QEMU's time stamp counter ticks once a nanosecond, its generic timer once in 16.

use crate::arch::Arch;
use crate::serial::without_time;

/// The count, when the kernel got as far as its prompt.
pub(crate) fn to_prompt(arch: Arch, log: &[String]) -> Option<u64> {
    let line = log.iter().map(|line| without_time(line)).find(|line| line.starts_with("Ready "))?;
    let (_, ticks) = line.split_once('(')?;
    let (ticks, _) = ticks.split_once(" timer ticks)")?;
    let each = match arch {
        Arch::X86_64 => 1,
        Arch::Aarch64 => 16,
    };
    Some(ticks.parse::<u64>().ok()? * each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_instructions() {
        let log = [
            "[    0.001000] Memory: 1K/1K".to_owned(),
            "[    0.002096] Ready 0.002096 s after entry (2096 timer ticks)".to_owned(),
        ];
        assert_eq!(to_prompt(Arch::X86_64, &log), Some(2096));
        assert_eq!(to_prompt(Arch::Aarch64, &log), Some(16 * 2096));
        assert_eq!(to_prompt(Arch::X86_64, &log[..1]), None);
    }
}
