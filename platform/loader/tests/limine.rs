//! The answers as a kernel reads them: through the crate `limine`, which knows the protocol from the other side.

use limine::BaseRevision;
use limine::firmware_type::FirmwareType;
use limine::memory_map::EntryType;
use limine::paging::Mode;
use limine::request::*;
use loader::memory_map::{Entry, Kind};
use loader::pool::Pool;
use loader::requests::find;
use loader::responses::{EfiMap, Facts, File, NAME, Place, VERSION, answer};

/// What a kernel has in its data.
#[repr(C)]
struct Kernel {
    start: RequestsStartMarker,
    revision: BaseRevision,
    info: BootloaderInfoRequest,
    command_line: ExecutableCmdlineRequest,
    firmware: FirmwareTypeRequest,
    stack: StackSizeRequest,
    hhdm: HhdmRequest,
    framebuffer: FramebufferRequest,
    paging: PagingModeRequest,
    cpus: MpRequest,
    map: MemoryMapRequest,
    entry: EntryPointRequest,
    file: ExecutableFileRequest,
    modules: ModuleRequest,
    rsdp: RsdpRequest,
    smbios: SmbiosRequest,
    system_table: EfiSystemTableRequest,
    efi_map: EfiMemoryMapRequest,
    date: DateAtBootRequest,
    address: ExecutableAddressRequest,
    tree: DeviceTreeBlobRequest,
    end: RequestsEndMarker,
}

fn kernel(revision: u64) -> Kernel {
    Kernel {
        start: RequestsStartMarker::new(),
        revision: BaseRevision::with_revision(revision),
        info: BootloaderInfoRequest::new(),
        command_line: ExecutableCmdlineRequest::new(),
        firmware: FirmwareTypeRequest::new(),
        stack: StackSizeRequest::new(),
        hhdm: HhdmRequest::new(),
        framebuffer: FramebufferRequest::new(),
        paging: PagingModeRequest::new(),
        cpus: MpRequest::new(),
        map: MemoryMapRequest::new(),
        entry: EntryPointRequest::new(),
        file: ExecutableFileRequest::new(),
        modules: ModuleRequest::new(),
        rsdp: RsdpRequest::new(),
        smbios: SmbiosRequest::new(),
        system_table: EfiSystemTableRequest::new(),
        efi_map: EfiMemoryMapRequest::new(),
        date: DateAtBootRequest::new(),
        address: ExecutableAddressRequest::new(),
        tree: DeviceTreeBlobRequest::new(),
        end: RequestsEndMarker::new(),
    }
}

/// Physical address 0 as far below this program's memory as the pool is above it, so that the kernel's pointers work.
const POOL: u64 = 0x100_0000;

/// Answers a kernel in place and shows it what it got.
fn answered(revision: u64, facts: &Facts<'_>, map: &[Entry], look: impl Fn(&Kernel, u64)) -> Result<(), &'static str> {
    let mut kernel = kernel(revision);
    let mut memory = vec![0_u64; 4096];
    let hhdm = memory.as_ptr() as u64 - POOL;
    {
        let (start, length) = (&raw mut kernel, size_of::<Kernel>());
        // SAFETY: all of these types are plain words without padding, valid for any value, and nothing else looks at
        // the kernel while it is bytes.
        let image = unsafe { core::slice::from_raw_parts_mut(start.cast::<u8>(), length) };
        let requests = find(image).map_err(|_| "its requests are refused")?;
        // SAFETY: words are bytes, and the vector is not used otherwise while they are borrowed.
        let bytes = unsafe { core::slice::from_raw_parts_mut(memory.as_mut_ptr().cast::<u8>(), memory.len() * 8) };
        let mut pool = Pool::new(bytes, POOL);
        let place = Place { physical: 0x3fe0_0000, linked: 0xffff_ffff_8020_0000, hhdm };
        answer(&requests, image, &mut pool, place, map, facts).map_err(|_| "the pool is too small")?;
    }
    look(&kernel, hhdm);
    Ok(())
}

fn facts() -> Facts<'static> {
    Facts {
        command_line: b"quiet exec=poweroff",
        rsdp: Some(0xf_59b0),
        smbios: [Some(0xf_5000), None],
        device_tree: Some(b"\xd0\x0d\xfe\xed a tree"),
        system_table: 0x3f00_0018,
        efi_map: Some(EfiMap { start: 0x3e00_0018, size: 4800, descriptor_size: 48, descriptor_version: 1 }),
        date: Some(1_795_289_527),
        executable_file: Some(File { start: 0x3d00_0000, size: 12345, path: "/boot/tessera.elf" }),
        module: Some(File { start: 0x3c00_0000, size: 678, path: "/boot/initrd" }),
    }
}

const MAP: [Entry; 8] = {
    const fn entry(start: u64, end: u64, kind: Kind) -> Entry {
        Entry { start, end, kind }
    }
    [
        entry(0, 0x1000, Kind::Usable),
        entry(0x1000, 0x2000, Kind::Reserved),
        entry(0x2000, 0x4000, Kind::AcpiReclaimable),
        entry(0x4000, 0x5000, Kind::AcpiNvs),
        entry(0x5000, 0x6000, Kind::Bad),
        entry(0x6000, 0x7000, Kind::LoaderReclaimable),
        entry(0x7000, 0x8000, Kind::Executable),
        entry(0x8000, 0x9000, Kind::ReservedMapped),
    ]
};

#[test]
fn every_request_has_the_answer_that_a_kernel_expects() {
    answered(6, &facts(), &MAP, |kernel, hhdm| {
        assert!(kernel.revision.is_supported());
        assert_eq!(kernel.revision.loaded_revision(), Some(6));
        let info = kernel.info.get_response().unwrap();
        assert_eq!((info.name(), info.version()), (NAME, VERSION));
        let line = kernel.command_line.get_response().unwrap().cmdline();
        assert_eq!(line.to_bytes(), b"quiet exec=poweroff");
        assert!(kernel.firmware.get_response().unwrap().firmware_type() == FirmwareType::UEFI_64);
        assert!(kernel.stack.get_response().is_some() && kernel.entry.get_response().is_some());
        assert_eq!(kernel.hhdm.get_response().unwrap().offset(), hhdm);
        assert!(kernel.paging.get_response().unwrap().mode() == Mode::FOUR_LEVEL);
        let address = kernel.address.get_response().unwrap();
        assert_eq!((address.physical_base(), address.virtual_base()), (0x3fe0_0000, 0xffff_ffff_8020_0000));
        assert_eq!(kernel.date.get_response().unwrap().timestamp().as_secs(), 1_795_289_527);
        let tree = kernel.tree.get_response().unwrap().dtb_ptr().cast::<[u8; 11]>();
        // SAFETY: the copy is in the pool, which is still there.
        assert_eq!(unsafe { &*tree }, b"\xd0\x0d\xfe\xed a tree");
        let efi = kernel.efi_map.get_response().unwrap();
        assert_eq!(efi.memmap() as u64 - hhdm, 0x3e00_0018);
        assert_eq!((efi.memmap_size(), efi.desc_size(), efi.desc_version()), (4800, 48, 1));
        // Nobody answers these here.
        assert!(kernel.framebuffer.get_response().is_none() && kernel.cpus.get_response().is_none());
    })
    .unwrap();
}

#[test]
fn the_memory_map_is_the_one_that_was_given() {
    answered(6, &facts(), &MAP, |kernel, _| {
        let entries = kernel.map.get_response().unwrap().entries();
        assert_eq!(entries.len(), MAP.len());
        let known = [
            EntryType::USABLE,
            EntryType::RESERVED,
            EntryType::ACPI_RECLAIMABLE,
            EntryType::ACPI_NVS,
            EntryType::BAD_MEMORY,
            EntryType::BOOTLOADER_RECLAIMABLE,
            EntryType::EXECUTABLE_AND_MODULES,
        ];
        for (index, (found, meant)) in entries.iter().zip(&MAP).enumerate() {
            assert_eq!((found.base, found.base + found.length), (meant.start, meant.end));
            // The crate has no name for the newest kind.
            assert!(known.get(index).is_none_or(|&kind| found.entry_type == kind), "entry {index}");
            assert!(index < known.len() || known.iter().all(|&kind| found.entry_type != kind));
        }
    })
    .unwrap();
}

#[test]
fn files_are_described_with_their_paths() {
    answered(6, &facts(), &MAP, |kernel, hhdm| {
        let file = kernel.file.get_response().unwrap().file();
        assert_eq!((file.addr() as u64 - hhdm, file.size()), (0x3d00_0000, 12345));
        assert_eq!(file.path().to_bytes(), b"/boot/tessera.elf");
        assert_eq!(file.string().to_bytes(), b"quiet exec=poweroff");
        assert!(file.gpt_disk_id().is_none() && file.partition_idx().is_none() && file.partition_uuid().is_none());
        let [module] = kernel.modules.get_response().unwrap().modules() else { panic!("not one module") };
        assert_eq!((module.addr() as u64 - hhdm, module.size()), (0x3c00_0000, 678));
        assert_eq!((module.path().to_bytes(), module.string().to_bytes()), (&b"/boot/initrd"[..], &b""[..]));
    })
    .unwrap();
}

#[test]
fn tables_are_where_the_base_revision_wants_them() {
    for revision in 0..=6 {
        answered(revision, &facts(), &MAP, |kernel, hhdm| {
            let root = if revision == 3 { 0 } else { hhdm };
            let tables = if matches!(revision, 3 | 4) { 0 } else { hhdm };
            assert_eq!(kernel.rsdp.get_response().unwrap().address() as u64, root + 0xf_59b0, "{revision}");
            let smbios = kernel.smbios.get_response().unwrap();
            let entry = smbios.entry_32().map(|at| at.get() as u64);
            assert_eq!((entry, smbios.entry_64()), (Some(tables + 0xf_5000), None));
            assert_eq!(kernel.system_table.get_response().unwrap().address() as u64, tables + 0x3f00_0018);
            assert_eq!(kernel.revision.loaded_revision(), Some(revision));
        })
        .unwrap();
    }
}

#[test]
fn what_is_not_there_is_not_answered() {
    answered(6, &Facts::default(), &[], |kernel, _| {
        assert!(kernel.rsdp.get_response().is_none() && kernel.smbios.get_response().is_none());
        assert!(kernel.tree.get_response().is_none() && kernel.date.get_response().is_none());
        assert!(kernel.efi_map.get_response().is_none() && kernel.file.get_response().is_none());
        assert!(kernel.modules.get_response().unwrap().modules().is_empty());
        assert!(kernel.map.get_response().unwrap().entries().is_empty());
        assert_eq!(kernel.command_line.get_response().unwrap().cmdline().to_bytes(), b"");
    })
    .unwrap();
}
