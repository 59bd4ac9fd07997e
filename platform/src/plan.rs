//! What every stage of bring-up is told, and whom it tells: what the firmware said, what the command line asks for,
//! where lines and warnings go.

use crate::options::Options;
use core::fmt;
use mm::addr::PhysRange;
use mm::machine::{MachineMemory, Rules, Warning};
use mm::zone::LowZones;

/// What is known before the first stage.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Whose rules apply.
    pub rules: Rules,
    /// The low zones that the kernel has: both in ours.
    pub low_zones: LowZones,
    /// What the firmware said.
    pub machine: &'a MachineMemory<'a>,
    /// What the command line asks for.
    pub options: &'a Options,
    /// What this kernel can address.
    pub reach: PhysRange,
}

/// Where a stage prints what Linux prints, and whom it warns.
pub struct Listener<'l> {
    /// Lines of the boot log.
    pub text: &'l mut dyn fmt::Write,
    /// What was dropped or changed.
    pub warn: &'l mut dyn FnMut(Warning),
}
