//! `cargo xtask oracle`: what Linux makes of a machine, and whether we make the same of it.
//!
//! `record` boots Debian's Linux ([`debian`](crate::debian)) with a tiny userland ([`initrd`]) on machines of the
//! matrix and keeps what it says as `ci/linux/NAME.json`. `compare` boots our kernel on the same QEMU command lines and
//! holds what it says against that. Both logs go through one reader ([`log`], [`tables`]) into [`Facts`], so nothing
//! differs but what was printed. `docs/oracle.md` says what is compared and what is left out.
//!
//! Under UEFI firmware Linux is QEMU's `-kernel`, which the firmware starts without a loader; ours comes from the drive.
//!
//! Not asked are machines whose firmware lies on purpose (Linux's answer to those is not the measure), those that count
//! our own instructions, those that boot another build of ours or by another loader on a machine that is there already,
//! those that damage our kernel's file, and those that say so (`not-asked`): on many CPUs Linux takes minutes under an emulator, and says of memory what it says on few.

use anyhow::Result;

use crate::exit::{Exit, usage};
use crate::kernel::Model;
use crate::matrix::Machine;
use crate::test;

mod args;
mod boot;
mod compare;
mod facts;
mod initrd;
mod log;
mod record;
mod store;
mod table;
mod tables;

pub(crate) use args::OracleArgs;
use args::{Choice, Task};
use facts::Facts;

/// Records or compares.
pub(crate) fn oracle(args: &OracleArgs) -> Result<Exit> {
    match &args.task {
        Task::Record(args) => record::record(args),
        Task::Compare(args) => compare::compare(args),
    }
}

/// Whether Linux is asked about this machine.
fn is_asked(machine: &Machine) -> bool {
    machine.max_instructions.is_none()
        && !machine.boot.is_limine()
        && machine.kernel_damage.is_none()
        && !machine.not_asked
        && machine.model == Model::default()
        && machine.firmware.as_ref().is_none_or(|firmware| !firmware.lies())
}

/// The machines that are chosen, of those that Linux is asked about.
///
/// # Errors
/// When the matrix cannot be read; wrong usage when none is left.
fn chosen(choice: &Choice) -> Result<Vec<Machine>> {
    let mut machines = test::chosen(choice.arch, choice.config.as_deref())?;
    machines.retain(is_asked);
    if machines.is_empty() {
        return Err(usage("Linux is not asked about these: their firmware lies on purpose, or they are only measured"));
    }
    Ok(machines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_that_is_asked_has_its_answer() {
        let everything = Choice { arch: None, config: None, jobs: None };
        let machines = chosen(&everything).unwrap();
        assert!(machines.len() >= 54);
        for machine in machines {
            let record = store::read(&machine.name).unwrap().unwrap_or_else(|| panic!("{}: no record", machine.name));
            assert_eq!(record.qemu, boot::written(&machine).unwrap(), "{}: record it again", machine.name);
            assert!(record.kernel.starts_with("6.1."), "{}", machine.name);
        }
    }

    #[test]
    fn liars_are_not_asked() {
        let choice = |config: &str| Choice { arch: None, config: Some(config.to_owned()), jobs: None };
        assert!(chosen(&choice("bad-*")).is_err());
        assert!(chosen(&choice("*-icount")).is_err());
        assert!(chosen(&choice("*-flat")).is_err());
        assert_eq!(chosen(&choice("pc-4g")).unwrap().len(), 1);
    }
}
