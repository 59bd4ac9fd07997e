//! How to end: which registers or calls switch the machine off or reset it.
//!
//! The readers in [`crate::firmware`] fill this in, [`crate::board`] has a default for machines whose tables say
//! nothing, and the arch crate's `exit` module acts on it, in the order [`Off`], then [`Reset`]. Nothing here touches
//! a register. Linux: `drivers/acpi/acpica/hwesleep.c` and `hwsleep.c`, `drivers/firmware/psci/psci.c`.

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
}

/// How the machine starts over: one byte into one register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reset {
    /// The register, 8 bits wide.
    pub register: Register,
    /// The byte.
    pub value: u8,
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
