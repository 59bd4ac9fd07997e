//! `/proc/iomem`: what lies where in physical address space.
//!
//! Two blanks for each level, ends inclusive, at least 8 hexadecimal digits. Linux: `r_show` in kernel/resource.c.

#![forbid(unsafe_code)]

use crate::resource::{Resource, ResourceTree};
use core::fmt::{Result, Write};
use core::ops::DerefMut;

/// Prints the whole tree.
///
/// # Errors
/// Those of `out`.
pub fn iomem<S: DerefMut<Target = [Resource]>>(tree: &ResourceTree<S>, out: &mut dyn Write) -> Result {
    for resource in tree.resources() {
        let (range, indent) = (resource.range(), 2 * resource.depth());
        writeln!(out, "{:indent$}{:08x}-{:08x} : {}", "", range.start(), range.last(), resource.name())?;
    }
    Ok(())
}
