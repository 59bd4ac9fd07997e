//! Files of the file system that this program was started from.

use super::error::Error;
use super::memory::{self, OutOfMemory, Purpose};
use core::fmt;
use uefi::data_types::CStr16;
use uefi::proto::media::file::{Directory, File, FileAttribute, FileInfo, FileMode};
use uefi::{Status, boot};

/// The kernel's file.
pub(crate) const KERNEL: &str = r"\boot\tessera.elf";
/// Its command line.
pub(crate) const COMMAND_LINE: &str = r"\boot\cmdline.txt";
/// The file that is handed over as the first module.
pub(crate) const INITRD: &str = r"\boot\initrd";

/// A file could not be read.
pub(crate) enum FileError {
    /// It is not there.
    Absent,
    /// It is a directory.
    Directory,
    /// It ended before its size.
    Short {
        /// Bytes that it has.
        bytes: usize,
        /// Bytes that it should have.
        size: u64,
    },
    /// The firmware cannot read it.
    Unreadable(Status),
    /// There is no memory for it.
    Memory(OutOfMemory),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no such file"),
            Self::Directory => f.write_str("is a directory"),
            Self::Short { bytes, size } => write!(f, "ends after {bytes} of {size} bytes"),
            Self::Unreadable(status) => write!(f, "cannot be read ({status:?})"),
            Self::Memory(error) => error.fmt(f),
        }
    }
}

/// The root of the file system.
pub(crate) struct Files(Directory);

/// Opens the file system that this program was started from.
pub(crate) fn open() -> Result<Files, Error> {
    let volume = boot::get_image_file_system(boot::image_handle()).and_then(|mut system| system.open_volume());
    volume.map(Files).map_err(|error| Error::Volume(error.status()))
}

impl Files {
    /// All bytes of a file, at the start of a page.
    pub(crate) fn read(&mut self, path: &'static str) -> Result<&'static mut [u8], Error> {
        self.bytes(path).map_err(|error| Error::File(path, error))
    }

    /// The same of a file that need not be there.
    pub(crate) fn read_optional(&mut self, path: &'static str) -> Result<Option<&'static mut [u8]>, Error> {
        match self.bytes(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(FileError::Absent) => Ok(None),
            Err(error) => Err(Error::File(path, error)),
        }
    }

    fn bytes(&mut self, path: &str) -> Result<&'static mut [u8], FileError> {
        let failed = |status| match status {
            Status::NOT_FOUND => FileError::Absent,
            status => FileError::Unreadable(status),
        };
        let mut name = [0; 32];
        let name = CStr16::from_str_with_buf(path, &mut name).map_err(|_| FileError::Absent)?;
        let handle = self.0.open(name, FileMode::Read, FileAttribute::empty());
        let file = handle.map_err(|error| failed(error.status()))?;
        let mut file = file.into_regular_file().ok_or(FileError::Directory)?;

        let mut info = Info([0; 512]);
        let info = file.get_info::<FileInfo>(&mut info.0).map_err(|error| FileError::Unreadable(error.status()))?;
        let size = info.file_size();
        let bytes = memory::allocate(Purpose::File, size, loader::PAGE, 0).map_err(FileError::Memory)?;
        let read = file.read(bytes).map_err(|error| FileError::Unreadable(error.status()))?;
        if read as u64 != size { Err(FileError::Short { bytes: read, size }) } else { Ok(bytes) }
    }
}

/// Room for what the firmware says of a file, its name with it.
#[repr(align(8))]
struct Info([u8; 512]);
