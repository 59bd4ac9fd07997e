//! Port input and output.
//!
//! Ports are a space of their own beside memory: no access can harm Rust's memory directly, but a device can be told to
//! do so (a DMA controller, a reset register). So the functions are unsafe, and each caller says which device answers.

use x86_64::instructions::port::Port;

/// Reads a byte.
///
/// # Safety
/// Reading `port` has no effect on memory that this program uses.
pub(crate) unsafe fn read_u8(port: u16) -> u8 {
    // SAFETY: the caller's promise.
    unsafe { Port::new(port).read() }
}

/// Writes a byte.
///
/// # Safety
/// Writing `value` to `port` has no effect on memory that this program uses.
pub(crate) unsafe fn write_u8(port: u16, value: u8) {
    // SAFETY: the caller's promise.
    unsafe { Port::new(port).write(value) }
}

/// Reads two bytes.
///
/// # Safety
/// As [`read_u8`].
pub(crate) unsafe fn read_u16(port: u16) -> u16 {
    // SAFETY: the caller's promise.
    unsafe { Port::new(port).read() }
}

/// Writes two bytes.
///
/// # Safety
/// As [`write_u8`].
pub(crate) unsafe fn write_u16(port: u16, value: u16) {
    // SAFETY: the caller's promise.
    unsafe { Port::new(port).write(value) }
}

/// Writes four bytes.
///
/// # Safety
/// As [`write_u8`].
pub(crate) unsafe fn write_u32(port: u16, value: u32) {
    // SAFETY: the caller's promise.
    unsafe { Port::new(port).write(value) }
}

/// Reads four bytes.
///
/// # Safety
/// As [`read_u8`].
pub(crate) unsafe fn read_u32(port: u16) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { Port::new(port).read() }
}
