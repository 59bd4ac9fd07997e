//! The Linux Image protocol: x0 holds the physical address of a device tree, and everything else stands in there.
//!
//! The blob lies in memory that its own memory nodes call free, so it becomes a reservation, and so does the initial
//! RAM disk that `/chosen` names. Linux: `setup_machine_fdt` in `arch/arm64/kernel/setup.c`,
//! `early_init_dt_scan_chosen`.

use super::{BootInfo, HandoverError, MemoryMapSource, Protocol};
use crate::cmdline::Cmdline;
use crate::firmware::fdt;
use mm::addr::PhysAddr;
use mm::machine::{Problem, Source, Table};

/// What the device tree at `at` says, whose bytes (at least as many as its header states) are `blob`.
///
/// # Errors
/// When the device tree is damaged.
pub fn read(at: PhysAddr, blob: &mut [u8]) -> Result<BootInfo<'_>, HandoverError> {
    let blob = fdt::check(blob)?;
    let mut info = BootInfo::new(Protocol::LinuxImage);
    info.map = MemoryMapSource::DeviceTree;
    if let Some(bytes) = blob.bootargs() {
        info.cmdline = Cmdline::from_bytes(bytes);
        if bytes.len() > Cmdline::CAPACITY {
            let limit = Cmdline::CAPACITY as u64;
            info.warn(Source::whole(Table::CommandLine), Problem::TooMany { what: "bytes", limit });
        }
    }
    let initrd = blob.initrd();
    info.keep_tree(at, blob);
    if let Some(initrd) = initrd {
        info.initrd = Some(initrd);
        info.reserve(initrd, "initrd", Source::whole(Table::DeviceTree));
    }
    Ok(info)
}
