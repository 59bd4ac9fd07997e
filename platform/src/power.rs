//! How to end: which registers or calls switch the machine off or reset it.
//!
//! The readers in [`crate::firmware`] fill this in, [`crate::board`] has a default for machines whose tables say
//! nothing, and the arch crate's `exit` module acts on it, in the order [`Off`], then [`Reset`]. What a device of a
//! board wants is data, too: a few [`Write`]s, one after another. Nothing here touches a register. Linux:
//! `drivers/acpi/acpica/hwesleep.c` and `hwsleep.c`, `drivers/firmware/psci/psci.c`,
//! `drivers/watchdog/bcm2835_wdt.c` and `sbsa_gwdt.c`.

use mm::addr::PhysAddr;

/// How the kernel's run went: what a test device is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// As it should.
    Success,
    /// Not as it should.
    Failure,
}

/// Where a register of the platform is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Register {
    /// In the I/O port space of an x86 machine.
    Io(u16),
    /// In memory.
    Memory(PhysAddr),
}

/// The instruction that calls the firmware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// `hvc #0`
    Hvc,
    /// `smc #0`
    Smc,
}

/// The write that turns an ACPI machine from legacy to ACPI mode, needed before its fixed registers work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcpiEnable {
    /// The SMI command port.
    pub port: u16,
    /// The byte to write there.
    pub value: u8,
}

/// How power goes off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Off {
    /// ACPI fixed hardware: 16-bit registers, each to be written `sleep_type << 10`, then the same with bit 13 set.
    Pm1 {
        /// PM1a control.
        a: Register,
        /// Its sleep type for S5, 0 to 7.
        sleep_type_a: u8,
        /// PM1b control, where there is one, and its sleep type.
        b: Option<(Register, u8)>,
        /// To do first, when bit 0 (`SCI_EN`) of PM1a control is clear.
        enable: Option<AcpiEnable>,
    },
    /// ACPI reduced hardware: an 8-bit register, to be written `sleep_type << 2` with bit 5 set.
    SleepControl {
        /// The sleep control register.
        control: Register,
        /// The sleep type for S5, 0 to 7.
        sleep_type: u8,
    },
    /// PSCI 0.2 or later: `SYSTEM_OFF` (0x84000008), and `SYSTEM_RESET` (0x84000009).
    Psci(Conduit),
    /// Writes to a device's registers.
    Writes(Writes),
}

/// A write to a register of 32 bits in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Write {
    /// The register.
    pub register: PhysAddr,
    /// Bits that stay as they are; with none the register is not read.
    pub keep: u32,
    /// The others.
    pub value: u32,
}

/// Writes, one after another.
pub type Writes = [Option<Write>; 3];

const fn write(base: PhysAddr, offset: u64, keep: u32, value: u32) -> Option<Write> {
    Some(Write { register: base.saturating_add(offset), keep, value })
}

impl Off {
    /// The bit of PM1 control that starts the transition.
    pub const PM1_SLEEP_ENABLE: u16 = 1 << 13;
    /// The bit of the sleep control register that starts the transition.
    pub const SLEEP_CONTROL_ENABLE: u8 = 1 << 5;

    /// What to write to a PM1 control register for `sleep_type`, without [`Off::PM1_SLEEP_ENABLE`].
    #[must_use]
    pub const fn pm1_value(sleep_type: u8) -> u16 {
        ((sleep_type & 7) as u16) << 10
    }

    /// What to write to the sleep control register for `sleep_type`, [`Off::SLEEP_CONTROL_ENABLE`] included.
    #[must_use]
    pub const fn sleep_control_value(sleep_type: u8) -> u8 {
        (sleep_type & 7) << 2 | Self::SLEEP_CONTROL_ENABLE
    }

    /// By the power management of a BCM2835 and its kin (Raspberry Pi 1 to 3), whose registers begin at `base`: a reset
    /// after which its firmware finds that it is to start nothing.
    #[must_use]
    pub const fn bcm2835(base: PhysAddr) -> Self {
        Self::Writes(bcm2835::reset_into(base, bcm2835::HALT))
    }
}

/// How the machine starts over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    /// One byte into one register.
    Byte {
        /// The register, 8 bits wide.
        register: Register,
        /// The byte.
        value: u8,
    },
    /// Writes to a device's registers.
    Writes(Writes),
}

impl Reset {
    /// By the power management of a BCM2835, whose registers begin at `base`.
    #[must_use]
    pub const fn bcm2835(base: PhysAddr) -> Self {
        Self::Writes(bcm2835::reset_into(base, 0))
    }

    /// By the generic watchdog of Arm's base system architecture, whose control frame is at `control`: it is told to
    /// wait for one tick of its clock.
    #[must_use]
    pub const fn sbsa_watchdog(control: PhysAddr) -> Self {
        const CONTROL: u64 = 0;
        const OFFSET: u64 = 8;
        Self::Writes([write(control, CONTROL, 0, 0), write(control, OFFSET, 0, 1), write(control, CONTROL, 0, 1)])
    }
}

/// The power management of a BCM2835: a watchdog, and a status that its firmware reads after a reset. Each write needs
/// a password in the upper byte.
mod bcm2835 {
    use super::{PhysAddr, Writes, write};

    const CONTROL: u64 = 0x1c;
    const STATUS: u64 = 0x20;
    const WATCHDOG: u64 = 0x24;
    const PASSWORD: u32 = 0x5a00_0000;
    /// Bits that can be written beside the password.
    const BITS: u32 = 0x00ff_ffff;
    /// The status's number of the partition to start from, in every second bit.
    const PARTITION: u32 = 0x555;
    /// The number that stands for none.
    pub(super) const HALT: u32 = 0x555;
    /// What the watchdog does when its time is over, and that it resets everything.
    const ACTION: u32 = 0x30;
    const FULL_RESET: u32 = 0x20;
    /// About 150 microseconds.
    const TICKS: u32 = 10;

    pub(super) const fn reset_into(base: PhysAddr, partition: u32) -> Writes {
        [
            write(base, STATUS, BITS & !PARTITION, PASSWORD | partition),
            write(base, WATCHDOG, 0, PASSWORD | TICKS),
            write(base, CONTROL, BITS & !ACTION, PASSWORD | FULL_RESET),
        ]
    }
}

/// The ways to end that the machine told of.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PowerOff {
    /// How power goes off.
    pub off: Option<Off>,
    /// How it resets.
    pub reset: Option<Reset>,
}

impl PowerOff {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { off: None, reset: None };

    /// What `self` says, and where it says nothing, what `other` says.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            off: if self.off.is_some() { self.off } else { other.off },
            reset: if self.reset.is_some() { self.reset } else { other.reset },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The register's offset from `base`, and what it holds afterwards where it held `before`.
    fn carried_out(writes: &Writes, base: u64, before: u32) -> Vec<(u64, u32)> {
        let after = |write: &Write| (write.register.as_u64() - base, before & write.keep | write.value);
        writes.iter().flatten().map(after).collect()
    }

    // BCM2835 has no public description of these registers; the values are those that Linux's driver computes.
    #[test]
    fn a_bcm2835_halts_by_partition_63_and_resets_by_partition_0() {
        let Off::Writes(off) = Off::bcm2835(PhysAddr::new(0x3f10_0000)) else { panic!("writes") };
        let Reset::Writes(reset) = Reset::bcm2835(PhysAddr::new(0x3f10_0000)) else { panic!("writes") };
        let written = carried_out(&off, 0x3f10_0000, 0);
        assert_eq!(written, [(0x20, 0x5a00_0555), (0x24, 0x5a00_000a), (0x1c, 0x5a00_0020)]);
        // What was there stays, but for the fields that are meant; and there is one password.
        let written = carried_out(&off, 0x3f10_0000, 0xffff_ffff);
        assert_eq!(written, [(0x20, 0x5aff_ffff), (0x24, 0x5a00_000a), (0x1c, 0x5aff_ffef)]);
        assert_eq!(carried_out(&reset, 0x3f10_0000, 0xffff_ffff)[0], (0x20, 0x5aff_faaa));
        assert_eq!(carried_out(&reset, 0x3f10_0000, 0)[1..], carried_out(&off, 0x3f10_0000, 0)[1..]);
    }

    // BSA (DEN0094) chapter "Generic Watchdog": WCS at 0, WOR at 8, WCS bit 0 is enable.
    #[test]
    fn an_sbsa_watchdog_is_off_while_its_time_is_set() {
        let Reset::Writes(writes) = Reset::sbsa_watchdog(PhysAddr::new(0x5001_1000)) else { panic!("writes") };
        assert_eq!(carried_out(&writes, 0x5001_1000, 0xffff_ffff), [(0, 0), (8, 1), (0, 1)]);
    }
}
