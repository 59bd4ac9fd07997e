//! Which way of starting a CPU the firmware's tables leave, and why there may be none.

use crate::psci::PsciError;
use core::fmt;
use mm::addr::PhysAddr;
use mm::machine::StartMethod;
use platform::power::Conduit;

/// What the firmware said that is needed to start CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartFacts {
    /// How the firmware's PSCI is called, if there is one.
    pub psci: Option<Conduit>,
}

/// How a CPU is told where to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// By a call of the firmware.
    Psci(Conduit),
    /// By writing the entry point to the 64-bit word at this address.
    SpinTable(PhysAddr),
}

/// Why a CPU was not started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// It runs, or a start was tried before.
    Twice,
    /// It is not there yet: it can be plugged in.
    NotThere,
    /// The firmware names a method that is not known here.
    UnknownMethod,
    /// The firmware names no method, and has no PSCI.
    NoMethod,
    /// It is to be started by PSCI, and no table says how that is called.
    NoPsci,
    /// Nobody takes PSCI's calls.
    NoFirmware,
    /// PSCI refuses.
    Psci(PsciError),
    /// It waits in ACPI's parking protocol, of which the mailbox is known and the number that the CPU expects is not.
    Parked {
        /// Its mailbox.
        mailbox: PhysAddr,
    },
    /// The word that it looks at does not lie at a multiple of 8.
    Misaligned {
        /// The word.
        release: PhysAddr,
    },
    /// The word that it looks at cannot be mapped.
    Unmapped {
        /// The word.
        release: PhysAddr,
    },
    /// It has no per-CPU area in the direct map.
    NoArea,
    /// The interrupt controller has no registers for it, so nobody could call it.
    NoInterrupts,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice => f.write_str("it was started before"),
            Self::NotThere => f.write_str("it is not plugged in"),
            Self::UnknownMethod => f.write_str("the firmware starts it in a way that is not known here"),
            Self::NoMethod => f.write_str("the firmware does not say how it is started"),
            Self::NoPsci => f.write_str("it is started by PSCI, and no table says how that is called"),
            Self::NoFirmware => f.write_str("PSCI: nobody takes the call"),
            Self::Psci(error) => write!(f, "PSCI: {error}"),
            Self::Parked { mailbox } => {
                write!(f, "it waits in ACPI's parking protocol (mailbox {mailbox:#x}), which is not supported")
            }
            Self::Misaligned { release } => write!(f, "its release address {release:#x} is not a multiple of 8"),
            Self::Unmapped { release } => write!(f, "its release address {release:#x} cannot be mapped"),
            Self::NoArea => f.write_str("it has no per-CPU area"),
            Self::NoInterrupts => f.write_str("the interrupt controller has no registers for it"),
        }
    }
}

impl core::error::Error for StartError {}

impl Way {
    /// The way that a CPU with `method` is started on a machine with or without PSCI. Where no table says how, PSCI is
    /// what ACPI expects.
    pub(super) fn of(method: StartMethod, psci: Option<Conduit>) -> Result<Self, StartError> {
        match method {
            StartMethod::Psci => psci.map(Self::Psci).ok_or(StartError::NoPsci),
            StartMethod::Unstated => psci.map(Self::Psci).ok_or(StartError::NoMethod),
            StartMethod::SpinTable { release } if release.is_aligned(8) => Ok(Self::SpinTable(release)),
            StartMethod::SpinTable { release } => Err(StartError::Misaligned { release }),
            StartMethod::Parked { mailbox } => Err(StartError::Parked { mailbox }),
            StartMethod::Plugged => Err(StartError::NotThere),
            StartMethod::Unknown => Err(StartError::UnknownMethod),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    const RELEASE: PhysAddr = PhysAddr::new(0xd8);

    #[test]
    fn the_tables_decide() {
        use StartMethod::{Parked, Plugged, Psci, SpinTable, Unknown, Unstated};
        let smc = Some(Conduit::Smc);
        assert_eq!(Way::of(Psci, smc), Ok(Way::Psci(Conduit::Smc)));
        assert_eq!(Way::of(Unstated, Some(Conduit::Hvc)), Ok(Way::Psci(Conduit::Hvc)));
        assert_eq!(Way::of(Psci, None), Err(StartError::NoPsci));
        assert_eq!(Way::of(Unstated, None), Err(StartError::NoMethod));
        // A CPU with a release address does not listen to PSCI, whoever has it.
        assert_eq!(Way::of(SpinTable { release: RELEASE }, smc), Ok(Way::SpinTable(RELEASE)));
        let odd = PhysAddr::new(0xdc);
        assert_eq!(Way::of(SpinTable { release: odd }, smc), Err(StartError::Misaligned { release: odd }));
        let mailbox = PhysAddr::new(0x1000);
        assert_eq!(Way::of(Parked { mailbox }, smc), Err(StartError::Parked { mailbox }));
        assert_eq!(Way::of(Plugged, smc), Err(StartError::NotThere));
        assert_eq!(Way::of(Unknown, smc), Err(StartError::UnknownMethod));
    }

    #[test]
    fn an_error_names_the_method_and_the_address() {
        let parked = StartError::Parked { mailbox: PhysAddr::new(0x8000_1000) }.to_string();
        assert_eq!(parked, "it waits in ACPI's parking protocol (mailbox 0x80001000), which is not supported");
        assert_eq!(StartError::Psci(PsciError::Denied).to_string(), "PSCI: denied (-3)");
        let misaligned = StartError::Misaligned { release: PhysAddr::new(0xdc) }.to_string();
        assert_eq!(misaligned, "its release address 0xdc is not a multiple of 8");
    }
}
