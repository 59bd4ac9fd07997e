//! The Limine boot protocol: requests that stand in the kernel's image, and responses that a loader leaves in memory.
//!
//! The kernel's image holds one [`Requests`]; the loader finds it by its markers and writes into each request that it
//! knows a pointer to its response. The arch crate's entry code leaves the loader's page tables at once and hands on
//! what stood there ([`Left`]); [`read`] turns that into a
//! [`BootInfo`](super::BootInfo).
//!
//! Pointers of a loader lead into its *higher-half direct map*: physical memory from one offset on, which only its own
//! page tables have. Nothing is read through it. A pointer from that offset on is made physical by taking the offset
//! away; one below it is physical already. So it does not matter of which base revision the loader is (the address of
//! ACPI's root pointer is physical in 3, that of EFI's system table in 3 and 4, and in no other), nor what a revision
//! maps: every revision is taken, also from loaders that do not say.
//!
//! Responses, their strings, the device tree and the memory map lie in memory that the map calls reclaimable. All of it
//! is held back until the page allocator takes over ([`Purpose::Temporary`](mm::machine::Purpose)), but for what EFI's map
//! calls boot services on arm64; what is still needed then (device tree, modules) is held on its own.
//!
//! Nothing that a response says is believed: a wild pointer or count is one warning, and what it leads to is as good
//! as not there. Only where nobody says where memory is there is nothing to go on with.
//!
//! Requests and their numbers are the crate `limine`'s; its readers of responses are not used, as they dereference.
//! Layouts: the Limine boot protocol's specification.

mod responses;

use crate::read::PhysRead;
use core::mem::{offset_of, size_of};
use limine::BaseRevision;
use limine::request::{
    BootloaderInfoRequest, DeviceTreeBlobRequest, EfiMemoryMapRequest, EfiSystemTableRequest, ExecutableAddressRequest,
    ExecutableCmdlineRequest, ExecutableFileRequest, HhdmRequest, MemoryMapRequest, ModuleRequest, RequestsEndMarker,
    RequestsStartMarker, RsdpRequest,
};
use mm::addr::PhysAddr;

pub use responses::read;

/// The base revision that is asked for: the newest that is known. A loader that knows only older ones uses its newest.
pub const BASE_REVISION: u64 = 6;

/// Every request of this kernel, between the protocol's markers. Its place is a section of initialised, writable data,
/// at a multiple of 8.
#[repr(C)]
pub struct Requests {
    start: RequestsStartMarker,
    revision: BaseRevision,
    loader: BootloaderInfoRequest,
    hhdm: HhdmRequest,
    executable_address: ExecutableAddressRequest,
    memory_map: MemoryMapRequest,
    efi_memory_map: EfiMemoryMapRequest,
    efi_system_table: EfiSystemTableRequest,
    rsdp: RsdpRequest,
    device_tree: DeviceTreeBlobRequest,
    command_line: ExecutableCmdlineRequest,
    /// Names the command line too: loaders that are older than its own request know only this.
    executable_file: ExecutableFileRequest,
    modules: ModuleRequest,
    end: RequestsEndMarker,
}

/// Where in a request the pointer to its response is: behind four words of its number and one of its revision.
const RESPONSE: usize = 40;
/// Bytes of a word.
const WORD: usize = 8;

impl Requests {
    /// Words that it takes.
    pub const WORDS: usize = size_of::<Self>() / WORD;
    /// The byte of [`Requests`] at which the pointer to the higher-half direct map's response is. The response: its
    /// revision, then the offset.
    pub const HHDM_RESPONSE: usize = offset_of!(Self, hhdm) + RESPONSE;
    /// The byte at which the pointer to the executable address's response is. The response: its revision, the physical,
    /// then the virtual base.
    pub const EXECUTABLE_ADDRESS_RESPONSE: usize = offset_of!(Self, executable_address) + RESPONSE;

    /// All of them, not yet answered.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            start: RequestsStartMarker::new(),
            revision: BaseRevision::with_revision(BASE_REVISION),
            loader: BootloaderInfoRequest::new(),
            hhdm: HhdmRequest::new(),
            executable_address: ExecutableAddressRequest::new(),
            memory_map: MemoryMapRequest::new(),
            efi_memory_map: EfiMemoryMapRequest::new(),
            efi_system_table: EfiSystemTableRequest::new(),
            rsdp: RsdpRequest::new(),
            device_tree: DeviceTreeBlobRequest::new(),
            command_line: ExecutableCmdlineRequest::new(),
            executable_file: ExecutableFileRequest::new(),
            modules: ModuleRequest::new(),
            end: RequestsEndMarker::new(),
        }
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Requests {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

/// The requests whose responses are read here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Request {
    Loader,
    MemoryMap,
    EfiMemoryMap,
    EfiSystemTable,
    Rsdp,
    DeviceTree,
    CommandLine,
    ExecutableFile,
    Modules,
}

impl Request {
    /// The word of [`Requests`] that points to its response.
    const fn word(self) -> usize {
        let request = match self {
            Self::Loader => offset_of!(Requests, loader),
            Self::MemoryMap => offset_of!(Requests, memory_map),
            Self::EfiMemoryMap => offset_of!(Requests, efi_memory_map),
            Self::EfiSystemTable => offset_of!(Requests, efi_system_table),
            Self::Rsdp => offset_of!(Requests, rsdp),
            Self::DeviceTree => offset_of!(Requests, device_tree),
            Self::CommandLine => offset_of!(Requests, command_line),
            Self::ExecutableFile => offset_of!(Requests, executable_file),
            Self::Modules => offset_of!(Requests, modules),
        };
        (request + RESPONSE) / WORD
    }
}

/// What stood in the requests when the kernel was entered (volatile reads of all their words), and the offset of the
/// loader's direct map.
#[derive(Clone, Debug)]
pub struct Left {
    /// The words of [`Requests`].
    pub words: [u64; Requests::WORDS],
    /// Where the loader's direct map begins.
    pub hhdm: u64,
}

impl Left {
    /// Where the device tree is, when there is one: for the arch crate, which maps it.
    pub fn device_tree(&self, read: &mut dyn PhysRead) -> Option<PhysAddr> {
        self.address_in(Request::DeviceTree, read).ok().flatten()
    }

    /// The base revision that the loader used, when it says.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        /// What stands in the tag's second word until a loader writes there.
        const UNTOUCHED: u64 = 0x6a7b_3849_4453_6bdc;
        let tag = offset_of!(Requests, revision) / WORD;
        self.words.get(tag + 1).copied().filter(|&word| word != UNTOUCHED)
    }

    /// What the loader's `pointer` is physically; `None` for null.
    fn physical(&self, pointer: u64) -> Option<PhysAddr> {
        let address = pointer.checked_sub(self.hhdm).unwrap_or(pointer);
        (pointer != 0).then_some(PhysAddr::new(address))
    }

    /// Where the response to `request` is; `None` when the loader gave none.
    fn response(&self, request: Request) -> Option<PhysAddr> {
        self.physical(*self.words.get(request.word())?)
    }
}

#[cfg(test)]
mod tests;
