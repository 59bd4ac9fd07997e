//! What the command line asks of memory, each item as a value of its own type.
//!
//! [`Options::read`] walks the command line once. A value that cannot be understood is one warning, and the default
//! holds. What shapes the firmware's map itself (`mem=`, `memmap=` on x86) is not here: the map's reader applies it.
//! Linux: `early_param` all over `mm/`, `arch/*/mm`.

pub mod size;

use crate::cmdline::Cmdline;
use mm::numa::NumaOption;
use mm::zone::MovableRequest;

/// What the command line asks of memory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Options {
    /// Where nodes come from (`numa=`).
    pub numa: NumaOption,
    /// What the Movable zone gets (`kernelcore=`, `movablecore=`, `movable_node`).
    pub movable: MovableRequest,
    /// How much of zones and zonelists is told (`mminit_loglevel=`); 4: all.
    pub mminit_loglevel: u32,
}

impl Options {
    /// Reads `cmdline`. `reject` gets each item that cannot be understood, and why.
    #[must_use]
    pub fn read(cmdline: &Cmdline, reject: &mut dyn FnMut(&str, &'static str)) -> Self {
        let mut options = Self::default();
        for value in cmdline.all("numa").flatten() {
            match value {
                "off" => options.numa = NumaOption::Off,
                "on" => options.numa = NumaOption::Firmware,
                _ => reject("numa", "neither on nor off"),
            }
        }
        if let Some(level) = cmdline.get("mminit_loglevel") {
            match level.parse() {
                Ok(level) => options.mminit_loglevel = level,
                Err(_) => reject("mminit_loglevel", "not a number"),
            }
        }
        options
    }
}
