//! The order of things, from the firmware's call to the kernel's entry.
//!
//! Everything that can go wrong goes wrong while the firmware is there: then one line says what, and the machine is
//! powered off. Nothing waits for a key, and the firmware's watchdog is off, so nothing is reset behind our back.

mod console;
mod error;
mod files;
mod memory;
mod system;

use crate::arch;
use arrayvec::ArrayVec;
use console::say;
use core::convert::Infallible;
use core::ops::Range;
use error::Error;
use loader::handover::{Handover, MORE_ENTRIES, Ready};
use loader::memory_map::{self, Descriptor, Entry, Kind};
use loader::pool::Pool;
use loader::requests::{BaseRevision, Request};
use loader::responses::{EfiMap, Facts, File};
use loader::{cmdline, elf, page_ceil, page_floor, requests};
use memory::Purpose;
use uefi::mem::memory_map::{MemoryMap, MemoryMapOwned, MemoryType};
use uefi::runtime::ResetType;
use uefi::{Status, boot, entry, runtime};

/// The kernel's file, a module, the image, and four tables of the firmware.
const MAX_KNOWN: usize = 7;

#[entry]
fn start() -> Status {
    let Err(error) = load();
    say(format_args!("error: {error}"));
    runtime::reset(ResetType::SHUTDOWN, Status::LOAD_ERROR, None)
}

fn load() -> Result<Infallible, Error> {
    // A machine without a watchdog is as good.
    let _ = boot::set_watchdog_timer(0, 0x10000, None);
    let format = arch::format()?;
    let mut files = files::open()?;

    let file = files.read(files::KERNEL)?;
    let executable = elf::check(file, arch::MACHINE)?;
    let (size, align) = (executable.size(), executable.align);
    let image = memory::allocate(Purpose::Image, size, align, executable.start() % align)?;
    executable.load(image);
    let requests = requests::find(image)?;
    let physical = address(image);
    say(format_args!("{}: {} KiB at {physical:#x}", files::KERNEL, size / 1024));

    let line = files.read_optional(files::COMMAND_LINE)?.unwrap_or_default();
    let command_line = cmdline::parse(line)?;
    say(format_args!("{} bytes of command line", command_line.len()));
    let initrd = files.read_optional(files::INITRD)?;
    if let Some(initrd) = &initrd {
        say(format_args!("{}: {} KiB at {:#x}", files::INITRD, initrd.len().div_ceil(1024), address(initrd)));
    }
    let as_file = |bytes: &[u8], path| File { start: address(bytes), size: bytes.len() as u64, path };

    let found = system::tables()?;
    let mut facts = Facts {
        command_line,
        rsdp: found.rsdp,
        smbios: found.smbios,
        device_tree: found.device_tree,
        system_table: found.system_table,
        date: system::date(),
        efi_map: None,
        executable_file: requests.asks(Request::ExecutableFile).then(|| as_file(file, "/boot/tessera.elf")),
        module: initrd.as_deref().map(|bytes| as_file(bytes, "/boot/initrd")),
    };

    let jump = page_floor(arch::jump());
    let handover = Handover { format, executable: &executable, requests: &requests, image: physical, jump };

    // The rehearsal: what cannot be built is said now.
    let map = boot::memory_map(MemoryType::LOADER_DATA).map_err(|error| Error::MemoryMap(error.status()))?;
    let known = known(&map, requests.revision, &facts, physical..physical + size);
    let entries = memory::allocate_entries(memory_map::most_entries(map.len() + MORE_ENTRIES, known.len()))?;
    facts.efi_map = Some(efi_map(&map));
    let entries_now = translate(&map, &known, requests.revision, entries)?;
    let pool = memory::allocate(Purpose::Handover, handover.most_bytes(&facts, image, entries_now)?, loader::PAGE, 0)?;
    let start = address(pool);
    handover.build(&facts, image, entries_now, &mut Pool::new(pool, start))?;
    drop(map);

    // SAFETY: nothing that boot services gave is used from here on but memory: no protocol, no handle, no console.
    let map = unsafe { boot::exit_boot_services(None) };
    arch::mask_interrupts();
    facts.efi_map = Some(efi_map(&map));
    let last_entries = translate(&map, &known, requests.revision, entries).ok();
    let build = |map| handover.build(&facts, image, map, &mut Pool::new(pool, start)).ok();
    match last_entries.and_then(build) {
        Some(ready) => leave(ready, &[image, pool, map.buffer(), file, initrd.unwrap_or_default()]),
        // The rehearsal was right, and there is room for more entries: only a map that grew without bound comes here.
        None => runtime::reset(ResetType::SHUTDOWN, Status::LOAD_ERROR, None),
    }
}

fn leave(ready: Ready, written: &[&[u8]]) -> ! {
    for bytes in written {
        arch::clean(bytes);
    }
    // SAFETY: `ready` comes from a handover that was built with this CPU's format and the page of `arch::jump`. Boot
    // services are over, interrupts are off, and nothing of this program is needed any more.
    unsafe { arch::enter(&ready) }
}

fn address(bytes: &[u8]) -> u64 {
    bytes.as_ptr() as u64
}

fn descriptors(map: &MemoryMapOwned) -> impl Iterator<Item = Descriptor> + Clone {
    map.entries().map(|descriptor| Descriptor {
        kind: descriptor.ty.0,
        start: descriptor.phys_start,
        pages: descriptor.page_count,
        attributes: descriptor.att.bits(),
    })
}

/// The firmware's map as the protocol's, in `entries`.
fn translate<'a>(
    map: &MemoryMapOwned,
    known: &[Entry],
    revision: BaseRevision,
    entries: &'a mut [Entry],
) -> Result<&'a [Entry], memory_map::Full> {
    let count = memory_map::translate(descriptors(map), known, revision, entries)?;
    Ok(entries.get(..count).unwrap_or_default())
}

fn efi_map(map: &MemoryMapOwned) -> EfiMap {
    let meta = map.meta();
    EfiMap {
        start: address(map.buffer()),
        size: meta.map_size as u64,
        descriptor_size: meta.desc_size as u64,
        descriptor_version: meta.desc_version.into(),
    }
}

/// What is known better than the firmware's map says it: memory that the kernel wants to keep, and tables of the
/// firmware that have to be mapped although the firmware calls their memory reserved.
fn known(
    map: &MemoryMapOwned,
    revision: BaseRevision,
    facts: &Facts<'_>,
    image: Range<u64>,
) -> ArrayVec<Entry, MAX_KNOWN> {
    let pages = |start: u64, end: u64, kind| Entry { start: page_floor(start), end: page_ceil(end), kind };
    let files = [facts.executable_file, facts.module].into_iter().flatten();
    let kept = files.map(|file| file.start..file.start + file.size).chain([image]);

    let root = facts.rsdp.filter(|_| !revision.rsdp_is_physical());
    let [smbios_32, smbios_64] = facts.smbios;
    let others = [smbios_32, smbios_64, Some(facts.system_table)];
    let others = others.into_iter().flatten().filter(|_| !revision.tables_are_physical());
    let is_hidden = |&at: &u64| {
        let kind = memory_map::kind_at(descriptors(map), revision, at);
        kind.is_none_or(|kind| kind >= Kind::Reserved)
    };
    let hidden = root.into_iter().chain(others).filter(is_hidden);

    kept.map(|range| pages(range.start, range.end, Kind::Executable))
        .chain(hidden.map(|at| pages(at, at + 1, Kind::ReservedMapped)))
        .collect()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say(format_args!("error: {}", info.message()));
    runtime::reset(ResetType::SHUTDOWN, Status::ABORTED, None)
}
