//! FADT: the fixed registers, here those that end the machine; and where the DSDT and the FACS are.
//!
//! A machine with fixed hardware goes off by its PM1 control registers, one of reduced hardware (microvm, most servers
//! on Arm without PSCI) by its sleep control register, one with PSCI by that; in the first two cases the value is in
//! the package `\_S5` of the DSDT ([`super::aml`]). Newer fields count only where the table is long enough to have
//! them. Linux: `acpi_tb_parse_fadt` in `drivers/acpi/acpica/tbfadt.c`, `hwesleep.c`, `hwxfsleep.c`.

use super::table::Table;
use super::{aml, reserve, warn};
use crate::power::{AcpiEnable, Conduit, Off, PowerOff, Register, Reset};
use crate::read::{PhysRead, u32_at, u64_at};
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{MachineSink, Problem, Source, Table as Name};

pub(super) const SIGNATURE: [u8; 4] = *b"FACP";

/// Bytes of the longest version that is known.
const LONGEST: usize = 276;
/// Bytes of the first version.
const SHORTEST: u32 = 116;

const FACS: usize = 36;
const DSDT: usize = 40;
const SMI_COMMAND: usize = 48;
const ACPI_ENABLE: usize = 52;
const PM1A_CONTROL: usize = 64;
const PM1B_CONTROL: usize = 68;
const FLAGS: usize = 112;
const RESET_REGISTER: usize = 116;
const RESET_VALUE: usize = 128;
const ARM_BOOT_FLAGS: usize = 129;
const X_FACS: usize = 132;
const X_DSDT: usize = 140;
const X_PM1A_CONTROL: usize = 172;
const X_PM1B_CONTROL: usize = 184;
const SLEEP_CONTROL: usize = 244;

const RESET_SUPPORTED: u32 = 1 << 10;
const REDUCED_HARDWARE: u32 = 1 << 20;

const PSCI_COMPLIANT: u8 = 1;
const PSCI_BY_HVC: u8 = 1 << 1;

/// The table's bytes, zero where it has none.
struct Fields([u8; LONGEST]);

impl Fields {
    fn read(fadt: &Table, read: &mut dyn PhysRead) -> Result<Self, Problem> {
        if fadt.length() < SHORTEST {
            return Err(Problem::Length { stated: fadt.length().into() });
        }
        let mut bytes = [0; LONGEST];
        fadt.bytes(read, 0, &mut bytes)?;
        Ok(Self(bytes))
    }

    fn byte(&self, offset: usize) -> u8 {
        self.0.get(offset).copied().unwrap_or_default()
    }

    /// The 64-bit address at `long`, or else the 32-bit one at `short`.
    fn pointer(&self, long: usize, short: usize) -> Option<PhysAddr> {
        let address = match u64_at(&self.0, long) {
            0 => u32_at(&self.0, short).into(),
            address => address,
        };
        (address != 0).then_some(PhysAddr::new(address))
    }

    /// The register that a generic address at `offset` describes.
    fn register(&self, offset: usize) -> Option<Register> {
        let address = u64_at(&self.0, offset + 4);
        match self.byte(offset) {
            _ if address == 0 => None,
            0 => Some(Register::Memory(PhysAddr::new(address))),
            1 => u16::try_from(address).ok().map(Register::Io),
            _ => None,
        }
    }

    /// How PSCI is called, if it is there.
    fn psci(&self) -> Option<Conduit> {
        let (flags, arm) = (u32_at(&self.0, FLAGS), self.byte(ARM_BOOT_FLAGS));
        let there = flags & REDUCED_HARDWARE != 0 && arm & PSCI_COMPLIANT != 0;
        there.then_some(if arm & PSCI_BY_HVC != 0 { Conduit::Hvc } else { Conduit::Smc })
    }

    /// The register of the generic address at `long`, or else the port at `short`.
    fn fixed(&self, long: usize, short: usize) -> Option<Register> {
        let port = || u16::try_from(u32_at(&self.0, short)).ok().filter(|&port| port != 0).map(Register::Io);
        self.register(long).or_else(port)
    }
}

/// How PSCI is called. Only an Arm machine has it, and only one of reduced hardware.
pub(super) fn psci(fadt: &Table, read: &mut dyn PhysRead) -> Result<Option<Conduit>, Problem> {
    fadt.verify(read)?;
    Ok(Fields::read(fadt, read)?.psci())
}

/// The tables that only the FADT points to.
pub(super) struct Pointers {
    pub(super) dsdt: Option<PhysAddr>,
    /// By the short pointer, and by the long one.
    pub(super) facs: [Option<PhysAddr>; 2],
}

/// Where the tables are that only the FADT points to. Reduced hardware has no FACS.
pub(super) fn pointers(fadt: &Table, read: &mut dyn PhysRead) -> Result<Pointers, Problem> {
    let fields = Fields::read(fadt, read)?;
    let address = |value: u64| (value != 0).then_some(PhysAddr::new(value));
    let facs = match u32_at(&fields.0, FLAGS) & REDUCED_HARDWARE {
        0 => [address(u32_at(&fields.0, FACS).into()), address(u64_at(&fields.0, X_FACS))],
        _ => [None; 2],
    };
    Ok(Pointers { dsdt: fields.pointer(X_DSDT, DSDT), facs })
}

/// Reserves the tables that only the FADT points to.
pub(super) fn describe(fadt: &Table, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) -> Result<(), Problem> {
    fadt.verify(read)?;
    let fields = Fields::read(fadt, read)?;
    let source = Source::whole(Name::Fadt);
    if let Some(at) = fields.pointer(X_DSDT, DSDT) {
        match Table::open(read, at) {
            Ok(dsdt) => reserve(sink, &dsdt.name(), dsdt.range(), dsdt.source()),
            Err(problem) => warn(sink, source, problem),
        }
    }
    // The FACS has no common header and no checksum, but its length stands at the same place.
    if let Some(at) = fields.pointer(X_FACS, FACS) {
        let length = at.checked_add(4).and_then(|at| read.read_u32(at).ok()).unwrap_or(0);
        match PhysRange::from_size(at, length.into()) {
            Some(range) if (64..=4096).contains(&length) => reserve(sink, "ACPI table FACS", range, source),
            _ => warn(sink, source, Problem::Length { stated: length.into() }),
        }
    }
    Ok(())
}

/// How the machine ends.
pub(super) fn power_off(fadt: &Table, read: &mut dyn PhysRead) -> Result<PowerOff, Problem> {
    fadt.verify(read)?;
    let fields = Fields::read(fadt, read)?;
    let flags = u32_at(&fields.0, FLAGS);
    let reset = fields.register(RESET_REGISTER).filter(|_| flags & RESET_SUPPORTED != 0);
    let reset = reset.map(|register| Reset::Byte { register, value: fields.byte(RESET_VALUE) });
    if let Some(conduit) = fields.psci() {
        return Ok(PowerOff { off: Some(Off::Psci(conduit)), reset });
    }
    let sleep_types = fields.pointer(X_DSDT, DSDT).and_then(|at| aml::soft_off(&Table::open(read, at).ok()?, read));
    let off = sleep_types.and_then(|(sleep_type_a, sleep_type_b)| {
        if flags & REDUCED_HARDWARE != 0 {
            return Some(Off::SleepControl { control: fields.register(SLEEP_CONTROL)?, sleep_type: sleep_type_a });
        }
        let port = u16::try_from(u32_at(&fields.0, SMI_COMMAND)).ok().filter(|&port| port != 0);
        let value = fields.byte(ACPI_ENABLE);
        Some(Off::Pm1 {
            a: fields.fixed(X_PM1A_CONTROL, PM1A_CONTROL)?,
            sleep_type_a,
            b: fields.fixed(X_PM1B_CONTROL, PM1B_CONTROL).map(|register| (register, sleep_type_b)),
            enable: port.filter(|_| value != 0).map(|port| AcpiEnable { port, value }),
        })
    });
    Ok(PowerOff { off, reset })
}
