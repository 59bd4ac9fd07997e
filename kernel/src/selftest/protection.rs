//! W^X, seen from the running kernel: by walking the live tables, and by doing what must trap.

use super::case::{Failure, Test, fail};
use crate::system::System;
use arch::{LAYOUT, Native, entry, traps};
use mm::addr::VirtAddr;
use mm::layout::ImageSection;
use mm::paging::Access;

pub(super) const TESTS: &[Test] = &[
    Test { name: "live tables map nothing writable and executable", run: no_writable_executable },
    Test { name: "image sections have exactly their access", run: image_access },
    Test { name: "a write to .rodata traps", run: write_rodata },
    Test { name: "a write to the direct map's alias of text traps", run: write_text_alias },
    Test { name: "a jump into data traps", run: jump_into_data },
    Test { name: "a jump into the direct map traps", run: jump_into_direct_map },
    Test { name: "the stack's guard page is not mapped", run: stack_guard },
    Test { name: "address zero is not mapped", run: null_pointer },
];

fn no_writable_executable(system: &System) -> Result<(), Failure> {
    match system.mm.pages.tables().lock(Native).find_writable_executable() {
        Some(found) => fail!("{found} is writable and executable"),
        None => Ok(()),
    }
}

fn section(access: Access) -> Result<ImageSection, Failure> {
    match entry::image().iter().find(|section| section.access == access) {
        Some(section) => Ok(*section),
        None => fail!("the image has no section of access {access:?}"),
    }
}

/// The whole of each section, page by page, in the live tables.
fn image_access(system: &System) -> Result<(), Failure> {
    let tables = system.mm.pages.tables().lock(Native);
    for section in entry::image() {
        let mut at = section.virt.start();
        while at < section.virt.end() {
            let is_guard = entry::guard_pages().iter().any(|guard| guard.contains(at));
            match tables.translate(at) {
                Some(_) if is_guard => fail!("the guard page at {at:#x} is mapped"),
                Some(found) => {
                    let (writable, executable) = (found.mapping.writable, found.mapping.executable);
                    if (writable, executable)
                        != (section.access == Access::ReadWrite, section.access == Access::ReadExecute)
                    {
                        fail!("{} at {at:#x}: writable {writable}, executable {executable}", section.name);
                    }
                }
                None if is_guard => {}
                None => fail!("{} at {at:#x} is not mapped", section.name),
            }
            let Some(next) = at.checked_add(0x1000) else { break };
            at = next;
        }
    }
    Ok(())
}

static CONSTANT: [u8; 64] = [0x5a; 64];
static mut VARIABLE: [u8; 64] = [0xc3; 64];

/// Writing must fault, and the byte must stay.
fn write_must_trap(at: VirtAddr) -> Result<(), Failure> {
    let before = match traps::try_read(at) {
        Ok(byte) => byte,
        Err(fault) => fail!("reading {at:#x}: {fault}"),
    };
    // SAFETY: the byte is a constant of this test or text that nobody writes: it must not change, and if the write goes
    // through, the test fails and the machine stops being used.
    match unsafe { traps::try_write(at, !before) } {
        Ok(()) => fail!("the write to {at:#x} went through"),
        Err(fault) if fault.address != at => fail!("the fault is at {:#x}, not at {at:#x}", fault.address),
        Err(_) => {}
    }
    match traps::try_read(at) {
        Ok(after) if after == before => Ok(()),
        _ => fail!("the byte at {at:#x} changed"),
    }
}

fn write_rodata(_: &System) -> Result<(), Failure> {
    let at = VirtAddr::new((&raw const CONSTANT).addr() as u64);
    if !section(Access::ReadOnly)?.virt.contains(at) {
        fail!("a constant at {at:#x} is not in .rodata");
    }
    write_must_trap(at)
}

fn write_text_alias(_: &System) -> Result<(), Failure> {
    let text = section(Access::ReadExecute)?;
    match LAYOUT.phys_to_virt(text.phys.start()) {
        Some(alias) => write_must_trap(alias),
        None => fail!("text at {} has no alias in the direct map", text.phys),
    }
}

fn execute_must_trap(at: VirtAddr) -> Result<(), Failure> {
    // SAFETY: the page must not be executable; if it is, what runs is whatever stands there, and the test has failed.
    match unsafe { traps::try_execute(at) } {
        Ok(()) => fail!("the jump to {at:#x} came back"),
        Err(fault) if fault.address != at => fail!("the fault is at {:#x}, not at {at:#x}", fault.address),
        Err(_) => Ok(()),
    }
}

fn jump_into_data(_: &System) -> Result<(), Failure> {
    // The bytes are never run: the page does not allow it.
    execute_must_trap(VirtAddr::new((&raw const VARIABLE).addr() as u64))
}

fn jump_into_direct_map(_: &System) -> Result<(), Failure> {
    // Even the code's own bytes may only run at the address that they are linked at.
    let text = section(Access::ReadExecute)?;
    match LAYOUT.phys_to_virt(text.phys.start()) {
        Some(alias) => execute_must_trap(alias),
        None => fail!("text at {} has no alias in the direct map", text.phys),
    }
}

fn stack_guard(_: &System) -> Result<(), Failure> {
    let guard = entry::boot_stack_guard();
    match traps::try_read(guard.start()) {
        Ok(_) => fail!("the guard page at {:#x} can be read", guard.start()),
        Err(_) => Ok(()),
    }
}

fn null_pointer(_: &System) -> Result<(), Failure> {
    match traps::try_read(VirtAddr::new(0)) {
        Ok(_) => fail!("address 0 can be read"),
        Err(_) => Ok(()),
    }
}
