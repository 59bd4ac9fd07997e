//! How the firmware is called while nobody has said whether there is any.

use platform::power::Conduit;

/// Where ID_AA64PFR0_EL1 says whether a CPU has EL2, and EL3; 0 is no.
const EL2_SHIFT: u32 = 8;
const EL3_SHIFT: u32 = 12;
const LEVEL: u64 = 0xf;

/// The conduit that can be tried on a CPU with this ID_AA64PFR0_EL1, entered at `entry_level`; `None` where the call
/// might not come back.
///
/// It goes to the level above that of the entry. Where the CPU does not have that level, whoever made the CPU (a
/// hypervisor, an emulator) serves the call, or it is an undefined instruction, which is survived. Where it has, nobody
/// knows who is there: a loader that itself went from EL2 to EL1 leaves EL2's vectors to whatever becomes of their
/// memory, and a board without firmware has none at EL3.
pub(crate) const fn guess(entry_level: u64, id_aa64pfr0: u64) -> Option<Conduit> {
    let (conduit, above) = match entry_level {
        1 => (Conduit::Hvc, EL2_SHIFT),
        _ => (Conduit::Smc, EL3_SHIFT),
    };
    if id_aa64pfr0 >> above & LEVEL == 0 { Some(conduit) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_called_at_a_level_that_the_cpu_has() {
        // ID_AA64PFR0_EL1 from bit 0 on: EL0, EL1, EL2, EL3; 1 is AArch64 alone, 2 AArch32 too.
        assert_eq!(guess(1, 0x0022), Some(Conduit::Hvc), "under a hypervisor or an emulator");
        assert_eq!(guess(1, 0x1022), Some(Conduit::Hvc), "EL3 does not matter");
        assert_eq!([guess(1, 0x0122), guess(1, 0x0222), guess(1, 0x1111)], [None; 3], "a loader came from EL2");
        assert_eq!(guess(2, 0x0111), Some(Conduit::Smc), "an emulator is the firmware");
        assert_eq!([guess(2, 0x1111), guess(2, 0x2222)], [None; 2], "perhaps a board without firmware");
        // Fields above are others'.
        assert_eq!(guess(1, 0x1101_0000_1111_0022), Some(Conduit::Hvc));
    }
}
