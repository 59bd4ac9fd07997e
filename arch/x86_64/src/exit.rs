//! exit
use crate::port;
/// test
pub fn isa_debug(v: u32) -> ! {
    // SAFETY: scratch
    unsafe { port::write_u32(0xf4, v) };
    crate::cpu::halt()
}
