//! PVH

use super::{BootInfo, HandoverError};
use crate::read::PhysRead;
use mm::addr::PhysAddr;

/// What the `hvm_start_info` at `start_info` says.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn read(start_info: PhysAddr, read: &mut dyn PhysRead) -> Result<BootInfo<'static>, HandoverError> {
    let _ = read.read_u32(start_info)?;
    Ok(BootInfo::new())
}
