//! What the responses say, as far as it can be read.
//!
//! Each response is its revision, then words of 8 bytes: numbers, or pointers of the loader.

use super::{Left, Request};
use crate::cmdline::Cmdline;
use crate::firmware::acpi;
use crate::firmware::efi::{self, EfiMap, SystemTable};
use crate::firmware::fdt::{self, Blob};
use crate::firmware::limine::LimineMap;
use crate::handover::{
    BootInfo, HandoverError, LimineLoader, LoaderText, MAX_RESERVED, MemoryMapSource, Protocol, text,
};
use crate::read::{PhysRead, u64_at};
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Count, Problem, Source, Table};

/// Modules that are looked at. What is left of the reservations is for others.
const MAX_MODULES: u64 = (MAX_RESERVED - 4) as u64;

/// Where the words of a response begin: behind its revision.
const BODY: u64 = 8;

/// What the loader left, whose requests and direct map are `left`; `tree` are the bytes of the device tree at
/// [`Left::device_tree`], where the arch crate wants one. What is wrong stands among the result's warnings.
///
/// # Errors
/// When nobody says where memory is, or when the device tree is damaged and there is no ACPI in its place.
pub fn read<'a>(
    left: &Left,
    tree: Option<&'a mut [u8]>,
    read: &mut dyn PhysRead,
) -> Result<BootInfo<'a>, HandoverError> {
    let mut info = BootInfo::new(Protocol::Limine(loader(left, read)));
    command_line(left, read, &mut info);
    modules(left, read, &mut info);
    efi_system_table(left, read, &mut info);
    info.rsdp = pointer(left, Request::Rsdp, Table::Rsdp, read, &mut info).or_else(|| root_in(info.efi?, read));
    if let (Some(at), Some(bytes)) = (left.address_in(Request::DeviceTree, read).ok().flatten(), tree) {
        device_tree(at, bytes, read, &mut info)?;
    }
    let efi = efi_map(left, read, &mut info);
    let own = memory_map(left, read, &mut info);
    (info.map, info.loader_map) = match (efi, own) {
        (Some(efi), own) => (MemoryMapSource::Efi(efi), own),
        (None, own) if info.tree.as_ref().is_some_and(names_memory) => (MemoryMapSource::DeviceTree, own),
        (None, Some(own)) => (MemoryMapSource::Limine(own), None),
        (None, None) => return Err(HandoverError::NoMemoryMap),
    };
    Ok(info)
}

impl Left {
    /// The first `N` words of the response to `request`; `None` when the loader gave none.
    fn words<const N: usize>(&self, request: Request, read: &mut dyn PhysRead) -> Result<Option<[u64; N]>, Problem> {
        let Some(at) = self.response(request) else { return Ok(None) };
        words(at, BODY, read).map(Some)
    }

    /// The address that is all that the response to `request` says.
    pub(super) fn address_in(&self, request: Request, read: &mut dyn PhysRead) -> Result<Option<PhysAddr>, Problem> {
        Ok(self.words::<1>(request, read)?.and_then(|[pointer]| self.physical(pointer)))
    }
}

/// `N` words from `offset` bytes behind `at` on.
fn words<const N: usize>(at: PhysAddr, offset: u64, read: &mut dyn PhysRead) -> Result<[u64; N], Problem> {
    let mut words = [0; N];
    let mut next = at.checked_add(offset);
    for word in &mut words {
        let here = next.ok_or(Problem::Unreadable(at))?;
        let mut bytes = [0; 8];
        read.read(here, &mut bytes).map_err(|error| Problem::Unreadable(error.at))?;
        *word = u64_at(&bytes, 0);
        next = here.checked_add(8);
    }
    Ok(words)
}

/// The address that is all that a response says; `table` is what it leads to.
fn pointer(
    left: &Left,
    request: Request,
    table: Table,
    read: &mut dyn PhysRead,
    info: &mut BootInfo<'_>,
) -> Option<PhysAddr> {
    left.address_in(request, read).unwrap_or_else(|problem| {
        info.warn(Source::whole(table), problem);
        None
    })
}

/// Who the loader is. What cannot be read of that is not worth a word.
fn loader(left: &Left, read: &mut dyn PhysRead) -> LimineLoader {
    let [name, version] = left.words(Request::Loader, read).ok().flatten().unwrap_or([0; 2]);
    let mut text = |pointer| left.physical(pointer).map_or(LoaderText::new_const(), |at| loader_text(at, read));
    LimineLoader { revision: left.revision(), name: text(name), version: text(version) }
}

fn loader_text(at: PhysAddr, read: &mut dyn PhysRead) -> LoaderText {
    let mut bytes = [0; 31];
    let length = text::fetch(at, read, &mut bytes).length;
    let mut text = LoaderText::new_const();
    for &byte in bytes.get(..length).unwrap_or_default() {
        // It goes to a terminal.
        let shown = if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '?' };
        // There is room for each of the bytes.
        let _ = text.try_push(shown);
    }
    text
}

/// The command line: by its own request, or else by what the loader says of the kernel's file.
fn command_line(left: &Left, read: &mut dyn PhysRead, info: &mut BootInfo<'_>) {
    /// Where a file's string is: behind its revision, address, size and path.
    const STRING: u64 = 32;
    let found = match left.address_in(Request::CommandLine, read) {
        Ok(None) => left.address_in(Request::ExecutableFile, read).and_then(|file| {
            let Some(file) = file else { return Ok(None) };
            words(file, STRING, read).map(|[string]| left.physical(string))
        }),
        found => found,
    };
    match found {
        // It is copied, and the loader's own is as good as gone.
        Ok(Some(at)) => _ = text::command_line(info, read, at),
        Ok(None) => {}
        Err(problem) => info.warn(Source::whole(Table::CommandLine), problem),
    }
}

/// The modules. The first one is the initial RAM disk.
fn modules(left: &Left, read: &mut dyn PhysRead, info: &mut BootInfo<'_>) {
    let whole = Source::whole(Table::LimineModules);
    let (stated, list) = match left.words(Request::Modules, read) {
        Ok(Some([stated, list])) if stated > 0 => (stated, left.physical(list)),
        Ok(_) => return,
        Err(problem) => return info.warn(whole, problem),
    };
    let Some(list) = list else { return info.warn(whole, Problem::TableIgnored("there is no list")) };
    let count = stated.min(MAX_MODULES);
    if stated > count {
        info.warn(whole, Problem::TooMany { what: "boot modules", limit: MAX_MODULES });
    }
    for index in 0..count {
        // At most MAX_MODULES.
        let source = Source::entry(Table::LimineModules, index as u32);
        let file = words(list, index * 8, read).map(|[file]| left.physical(file));
        let module = file.and_then(|file| match file {
            Some(file) => words(file, BODY, read),
            None => Err(Problem::Empty { start: 0 }),
        });
        let [start, size] = match module {
            Ok(module) => module,
            Err(problem) => {
                info.warn(source, problem);
                continue;
            }
        };
        let Some(at) = left.physical(start).filter(|_| size > 0) else {
            info.warn(source, Problem::Empty { start });
            continue;
        };
        let Some(range) = PhysRange::from_size(at, size) else {
            info.warn(source, Problem::Wraps { start: at.as_u64(), size });
            continue;
        };
        info.reserve(range, if index == 0 { "initrd" } else { "boot module" }, source);
        if index == 0 {
            info.initrd = Some(range);
        }
    }
}

/// Checks the device tree. One that is damaged is the end only where ACPI is not there in its place.
fn device_tree<'a>(
    at: PhysAddr,
    bytes: &'a mut [u8],
    read: &mut dyn PhysRead,
    info: &mut BootInfo<'a>,
) -> Result<(), HandoverError> {
    let sound_acpi = info.rsdp.is_some_and(|rsdp| acpi::is_there(rsdp, read));
    let blob = match fdt::check(bytes) {
        Ok(blob) => blob,
        Err(_) if sound_acpi => {
            info.warn(Source::whole(Table::DeviceTree), Problem::TableIgnored("it is damaged, and there is ACPI"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    if info.rsdp.is_some() && !sound_acpi && !blob.is_stub() {
        info.warn(
            Source::whole(Table::Rsdp),
            Problem::TableIgnored("it leads to no tables, and there is a device tree"),
        );
        info.rsdp = None;
    }
    if let Some(bytes) = blob.bootargs()
        && info.cmdline.as_str().is_empty()
    {
        info.cmdline = Cmdline::from_bytes(bytes);
    }
    info.keep_tree(at, blob);
    Ok(())
}

/// EFI's system table.
fn efi_system_table(left: &Left, read: &mut dyn PhysRead, info: &mut BootInfo<'_>) {
    let source = Source::whole(Table::EfiSystemTable);
    let Some(at) = pointer(left, Request::EfiSystemTable, source.table, read, info) else { return };
    info.efi = SystemTable::open(at, read);
    if info.efi.is_none() {
        info.warn(source, Problem::Signature);
    }
}

/// ACPI's root pointer by EFI's tables, from loaders that do not pass it.
fn root_in(efi: SystemTable, read: &mut dyn PhysRead) -> Option<PhysAddr> {
    efi.find(efi::ACPI_2, read).or_else(|| efi.find(efi::ACPI_1, read))
}

/// EFI's memory map, where it names memory.
fn efi_map(left: &Left, read: &mut dyn PhysRead, info: &mut BootInfo<'_>) -> Option<EfiMap> {
    let source = Source::whole(Table::EfiMap);
    let words = left.words(Request::EfiMemoryMap, read).unwrap_or_else(|problem| {
        info.warn(source, problem);
        None
    });
    let [at, size, stride, version] = words?;
    // The version is 32 bits; what follows in its word is padding.
    let map = left.physical(at).map(|at| EfiMap { at, size, stride, version: version as u32 });
    let map = map.filter(|map| map.names_memory(read));
    if map.is_none() {
        info.warn(source, Problem::TableIgnored("it names no memory"));
    }
    map
}

/// The loader's own memory map.
fn memory_map(left: &Left, read: &mut dyn PhysRead, info: &mut BootInfo<'_>) -> Option<LimineMap> {
    let words = left.words(Request::MemoryMap, read).unwrap_or_else(|problem| {
        info.warn(Source::whole(Table::LimineMap), problem);
        None
    });
    let [entries, list] = words?;
    let list = left.physical(list)?;
    (entries > 0).then_some(LimineMap { list, entries, direct_map: left.hhdm })
}

fn names_memory(tree: &Blob<'_>) -> bool {
    let mut count = Count::default();
    tree.describe(&mut count);
    count.banks > 0
}
