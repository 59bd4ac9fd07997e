//! What the kernel asks for, by the Limine boot protocol: requests that stand somewhere in its image.
//!
//! A request is an 8-aligned structure: four words that say which one it is, the request's revision, and the place for
//! a pointer to the answer; some have more words behind. From base revision 2 on they are looked for between the two
//! markers only, if the image has them. A request that is not known here is left as it is: the kernel then finds no
//! answer, which is what the protocol says of a loader that cannot answer.
//!
//! The image is data from a disk: nothing is read outside it, and what stands in it twice is an error, since the kernel
//! would look at one of the two without knowing which was answered.

use core::fmt;

/// What can be asked for and is answered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Name and version of the loader.
    BootloaderInfo,
    /// The command line.
    CommandLine,
    /// What kind of firmware there is.
    FirmwareType,
    /// A stack of some size.
    StackSize,
    /// Where physical memory is mapped.
    Hhdm,
    /// How many levels the page tables have.
    PagingMode,
    /// The memory map.
    MemoryMap,
    /// Another entry point than the file's.
    EntryPoint,
    /// The kernel's file itself.
    ExecutableFile,
    /// Other files.
    Modules,
    /// ACPI's root pointer.
    Rsdp,
    /// SMBIOS's entry points.
    Smbios,
    /// EFI's system table.
    EfiSystemTable,
    /// EFI's memory map.
    EfiMemoryMap,
    /// The time.
    DateAtBoot,
    /// Where the image is.
    ExecutableAddress,
    /// The device tree.
    DeviceTree,
}

impl Request {
    /// Every request, in the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::BootloaderInfo,
        Self::CommandLine,
        Self::FirmwareType,
        Self::StackSize,
        Self::Hhdm,
        Self::PagingMode,
        Self::MemoryMap,
        Self::EntryPoint,
        Self::ExecutableFile,
        Self::Modules,
        Self::Rsdp,
        Self::Smbios,
        Self::EfiSystemTable,
        Self::EfiMemoryMap,
        Self::DateAtBoot,
        Self::ExecutableAddress,
        Self::DeviceTree,
    ];

    /// The words that tell it from the others; the two before them are the same for all.
    fn id(self) -> [u64; 2] {
        match self {
            Self::BootloaderInfo => [0xf550_38d8_e2a1_202f, 0x2794_26fc_f5f5_9740],
            Self::CommandLine => [0x4b16_1536_e598_651e, 0xb390_ad4a_2f1f_303a],
            Self::FirmwareType => [0x8c2f_75d9_0bef_28a8, 0x7045_a468_8eac_00c3],
            Self::StackSize => [0x224e_f046_0a8e_8926, 0xe1cb_0fc2_5f46_ea3d],
            Self::Hhdm => [0x48dc_f1cb_8ad2_b852, 0x6398_4e95_9a98_244b],
            Self::PagingMode => [0x95c1_a0ed_ab09_44cb, 0xa4e5_cb38_42f7_488a],
            Self::MemoryMap => [0x67cf_3d9d_378a_806f, 0xe304_acdf_c50c_3c62],
            Self::EntryPoint => [0x13d8_6c03_5a1c_d3e1, 0x2b0c_aa89_d8f3_026a],
            Self::ExecutableFile => [0xad97_e90e_83f1_ed67, 0x31eb_5d1c_5ff2_3b69],
            Self::Modules => [0x3e7e_2797_02be_32af, 0xca1c_4f3b_d128_0cee],
            Self::Rsdp => [0xc5e7_7b6b_397e_7b43, 0x2763_7845_accd_cf3c],
            Self::Smbios => [0x9e90_46f1_1e09_5391, 0xaa4a_520f_efbd_e5ee],
            Self::EfiSystemTable => [0x5ceb_a516_3eaa_f6d6, 0x0a69_8161_0cf6_5fcc],
            Self::EfiMemoryMap => [0x7df6_2a43_1d68_72d5, 0xa4fc_dfb3_e573_06c8],
            Self::DateAtBoot => [0x5027_46e1_84c0_88aa, 0xfbc5_ec83_e632_7893],
            Self::ExecutableAddress => [0x71ba_7686_3cc5_5f63, 0xb264_4a48_c516_a487],
            Self::DeviceTree => [0xb40d_db48_fb54_bac7, 0x5450_8149_3f81_ffb7],
        }
    }

    /// Its name in a message.
    fn name(self) -> &'static str {
        match self {
            Self::BootloaderInfo => "bootloader info",
            Self::CommandLine => "command line",
            Self::FirmwareType => "firmware type",
            Self::StackSize => "stack size",
            Self::Hhdm => "HHDM",
            Self::PagingMode => "paging mode",
            Self::MemoryMap => "memory map",
            Self::EntryPoint => "entry point",
            Self::ExecutableFile => "executable file",
            Self::Modules => "modules",
            Self::Rsdp => "RSDP",
            Self::Smbios => "SMBIOS",
            Self::EfiSystemTable => "EFI system table",
            Self::EfiMemoryMap => "EFI memory map",
            Self::DateAtBoot => "date at boot",
            Self::ExecutableAddress => "executable address",
            Self::DeviceTree => "device tree",
        }
    }
}

/// The first two words of every request.
const COMMON: [u64; 2] = [0xc7b1_dd30_df4c_8b88, 0x0a82_e883_a194_f07b];
const START: [u64; 4] = [0xf6b8_f4b3_9de7_d1ae, 0xfab9_1a69_40fc_b9cf, 0x785c_6ed0_15d3_e316, 0x181e_920a_7852_b9d9];
const END: [u64; 2] = [0xadc0_e053_1bb1_0d03, 0x9572_709f_3176_4c62];
const REVISION: [u64; 2] = [0xf956_2b2d_5c95_a6c8, 0x6a7b_3849_4453_6bdc];

/// Id, revision and answer.
const WORDS: usize = 6;

/// Which rules of the protocol hold. What each changed stands at the methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseRevision(u64);

impl BaseRevision {
    /// The newest whose rules are known here.
    pub const NEWEST: Self = Self(6);

    /// The one that a kernel gets that asks for `asked`.
    pub fn for_kernel(asked: u64) -> Self {
        Self(asked).min(Self::NEWEST)
    }

    /// Its number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// Before 1, the first 4 GiB are mapped to themselves too, without page 0; afterwards nothing is mapped low.
    pub fn maps_identity(self) -> bool {
        self.0 < 1
    }

    /// Before 1, what is reserved or bad above 4 GiB is mapped too.
    pub fn maps_reserved_above_4g(self) -> bool {
        self.0 < 1
    }

    /// From 2 on, requests outside the markers do not count.
    pub fn markers_bind(self) -> bool {
        self.0 >= 2
    }

    /// Before 3, all of the first 4 GiB is mapped, whatever it is; afterwards only memory.
    pub fn maps_first_4g(self) -> bool {
        self.0 < 3
    }

    /// At 3, ACPI's memory is not mapped.
    pub fn maps_acpi(self) -> bool {
        self.0 != 3
    }

    /// At 3, ACPI's root pointer is a physical address; before and after, it is one in the HHDM.
    pub fn rsdp_is_physical(self) -> bool {
        self.0 == 3
    }

    /// From 5 on, the firmware's runtime services are mapped.
    pub fn maps_runtime_services(self) -> bool {
        self.0 >= 5
    }

    /// At 3 and 4, the entry points of SMBIOS and EFI's system table are physical addresses.
    pub fn tables_are_physical(self) -> bool {
        matches!(self.0, 3 | 4)
    }
}

/// What is wrong with the requests in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestError {
    /// There is neither a request nor a tag: it is no kernel of this protocol.
    Nothing,
    /// The same request stands there twice.
    Twice(Request),
    /// A marker, or the tag with the base revision, stands there twice.
    MarkerTwice,
    /// The end marker stands before the start marker.
    Order,
    /// A request is not all in the image.
    Cut(Request),
    /// It wants more levels of page tables than there are.
    Levels,
    /// It wants to be entered where it is not executable.
    Entry {
        /// That address.
        address: u64,
    },
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("asks for nothing by the Limine boot protocol"),
            Self::Twice(request) => write!(f, "its Limine request for the {} stands there twice", request.name()),
            Self::MarkerTwice => f.write_str("a marker of its Limine requests stands there twice"),
            Self::Order => f.write_str("the markers of its Limine requests are in the wrong order"),
            Self::Cut(request) => write!(f, "its Limine request for the {} is cut off", request.name()),
            Self::Levels => f.write_str("it asks for more than four levels of page tables"),
            Self::Entry { address } => write!(f, "it asks for the entry point {address:#x}, in no executable segment"),
        }
    }
}

/// What was found in an image.
#[derive(Debug, Clone, Copy)]
pub struct Requests {
    /// The rules that hold.
    pub revision: BaseRevision,
    /// Byte offset of the tag in the image, and whether what it asks for is known here.
    tag: Option<(usize, Asked)>,
    found: [Option<usize>; Request::ALL.len()],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Known,
    Newer,
}

/// The word at a byte offset.
fn word(image: &[u8], at: usize) -> Option<u64> {
    image.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

fn stands(image: &[u8], at: usize, words: &[u64]) -> bool {
    (at..).step_by(8).zip(words).all(|(at, &wanted)| word(image, at) == Some(wanted))
}

/// Notes a place that there may be once.
fn once(place: &mut Option<usize>, at: usize, error: RequestError) -> Result<(), RequestError> {
    if place.replace(at).is_some() { Err(error) } else { Ok(()) }
}

/// Looks through the loaded image.
///
/// # Errors
/// What stands there twice, or where it cannot.
pub fn find(image: &[u8]) -> Result<Requests, RequestError> {
    let (mut tag, mut start, mut end) = (None, None, None);
    let places = || (0..image.len()).step_by(8);
    for at in places() {
        match word(image, at) {
            Some(word) if word == REVISION[0] && stands(image, at, &REVISION) => {
                once(&mut tag, at, RequestError::MarkerTwice)?;
            }
            Some(word) if word == START[0] && stands(image, at, &START) => {
                once(&mut start, at, RequestError::MarkerTwice)?;
            }
            Some(word) if word == END[0] && stands(image, at, &END) => {
                once(&mut end, at, RequestError::MarkerTwice)?;
            }
            _ => {}
        }
    }
    let asked = tag.and_then(|at| word(image, at + 16)).unwrap_or(0);
    let revision = BaseRevision::for_kernel(asked);
    let known = if asked == revision.number() { Asked::Known } else { Asked::Newer };
    let mut requests = Requests { revision, tag: tag.map(|at| (at, known)), found: [None; Request::ALL.len()] };

    let within = if revision.markers_bind() { start.unwrap_or(0)..end.unwrap_or(image.len()) } else { 0..image.len() };
    if within.start > within.end {
        return Err(RequestError::Order);
    }
    for at in places().filter(|at| within.contains(at)) {
        if word(image, at) != Some(COMMON[0]) || !stands(image, at, &COMMON) {
            continue;
        }
        for (request, found) in Request::ALL.into_iter().zip(&mut requests.found) {
            if stands(image, at + 16, &request.id()) {
                once(found, at, RequestError::Twice(request))?;
                word(image, at + (WORDS - 1) * 8).ok_or(RequestError::Cut(request))?;
            }
        }
    }
    if tag.is_none() && requests.found.iter().all(Option::is_none) {
        return Err(RequestError::Nothing);
    }
    Ok(requests)
}

impl Requests {
    fn place(&self, request: Request) -> Option<usize> {
        Request::ALL.iter().zip(&self.found).find(|(each, _)| **each == request).and_then(|(_, found)| *found)
    }

    /// Whether the kernel asks for this.
    pub fn asks(&self, request: Request) -> bool {
        self.place(request).is_some()
    }

    /// The revision of a request, if the kernel has that one.
    pub fn request_revision(&self, image: &[u8], request: Request) -> Option<u64> {
        word(image, self.place(request)? + 32)
    }

    /// The word that stands `index` words behind the answer of a request, if the kernel has that request.
    ///
    /// # Errors
    /// When the image ends before it.
    pub fn argument(&self, image: &[u8], request: Request, index: usize) -> Result<Option<u64>, RequestError> {
        let Some(place) = self.place(request) else { return Ok(None) };
        word(image, place + (WORDS + index) * 8).map(Some).ok_or(RequestError::Cut(request))
    }

    /// Puts the address of the answer where the kernel looks for it.
    pub fn answer(&self, image: &mut [u8], request: Request, address: u64) {
        if let Some(place) = self.place(request) {
            put(image, place + (WORDS - 1) * 8, address);
        }
    }

    /// Says in the tag by which rules the kernel is started, and whether they are those that it asked for.
    pub fn answer_revision(&self, image: &mut [u8]) {
        if let Some((at, asked)) = self.tag {
            put(image, at + 8, self.revision.number());
            if asked == Asked::Known {
                put(image, at + 16, 0);
            }
        }
    }
}

fn put(image: &mut [u8], at: usize, word: u64) {
    if let Some(target) = image.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *target = word.to_le_bytes();
    }
}

#[cfg(test)]
mod tests;
