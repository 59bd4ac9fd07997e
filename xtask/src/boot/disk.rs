//! A bootable disk image: a GPT behind its protective MBR, with an EFI system partition. Where a BIOS is to start Limine
//! from it, the MBR holds the code for that, and a second partition what the code loads ([`Bios`]).
//!
//! The same files make the same bytes: GUIDs and the volume's number are constants, and files have no time. The image
//! is put into its place when it is whole, so a failure leaves none, and not half of one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use fscommon::{BufStream, StreamSlice};
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::{GptConfig, partition_types};

use super::bios::Bios;
use super::esp::{Contents, FileOfEsp};
use crate::memory::MemorySize;

/// The unit of a disk.
const SECTOR: u64 = 512;

/// Partitions begin and end at multiples of this, which suits every disk's own unit.
const ALIGNMENT: u64 = 1 << 20;

/// What the second copy of the partition table takes at the end of the disk: 128 entries and a header.
const TABLE_SECTORS: u64 = 33;

/// Identities that never change, so that images can be compared. "Tessera" and a number, as ASCII.
const DISK_GUID: u128 = 0x5465_7373_6572_4144_8000_6973_6b30_3031;
const BIOS_GUID: u128 = 0x5465_7373_6572_4142_8000_6269_6f73_3031;
const PARTITION_GUID: u128 = 0x5465_7373_6572_4150_8000_6172_7430_3031;
const VOLUME_NUMBER: u32 = 0x5465_7373;
const LABEL: [u8; 11] = *b"TESSERA    ";

/// The largest unit in which FAT gives out space.
const CLUSTER: u64 = 32 << 10;

/// How large a disk must be for these files: each in whole clusters, two tables of clusters, folders, and what lies
/// before and behind the partition.
fn needed(files: &[FileOfEsp], bios: Option<&Bios>) -> u64 {
    let clusters: u64 = files.iter().map(|(_, bytes)| (bytes.len() as u64).div_ceil(CLUSTER)).sum();
    let folders = folders(files).len() as u64 + 2;
    let data = (clusters + folders) * CLUSTER;
    (data + data / 64 + 3 * ALIGNMENT + bios_room(bios)).next_multiple_of(ALIGNMENT)
}

/// The size of the partition for a BIOS.
fn bios_room(bios: Option<&Bios>) -> u64 {
    bios.map_or(0, |bios| (bios.rest().len() as u64).next_multiple_of(ALIGNMENT))
}

/// The folders of these files, each after the one it lies in.
fn folders(files: &[FileOfEsp]) -> Vec<&str> {
    let mut folders = Vec::new();
    for (name, _) in files {
        for (at, _) in name.match_indices('/') {
            if let Some(folder) = name.get(..at)
                && !folders.contains(&folder)
            {
                folders.push(folder);
            }
        }
    }
    folders
}

/// Writes a disk image of this size.
///
/// # Errors
/// When the files do not fit, which says what would do, or one cannot be read or written.
pub(crate) fn write(path: &Path, size: MemorySize, contents: &Contents<'_>) -> Result<()> {
    let (mut files, bios) = (contents.files()?, contents.bios()?);
    files.extend(bios.as_ref().map(Bios::system));
    write_files(path, size, &files, bios.as_ref())
}

fn write_files(path: &Path, size: MemorySize, files: &[FileOfEsp], bios: Option<&Bios>) -> Result<()> {
    let needed = needed(files, bios);
    if size.bytes() < needed {
        bail!("a disk of {size} has no room for the files of the boot: it takes {}M", needed >> 20);
    }
    let mut half = path.as_os_str().to_owned();
    half.push(format!(".new.{}", std::process::id()));
    let half = Half(PathBuf::from(half));
    fill(&half.0, size, files, bios).with_context(|| half.0.display().to_string())?;
    fs::rename(&half.0, path).with_context(|| path.display().to_string())
}

/// A file that is gone when nobody has renamed it.
struct Half(PathBuf);

impl Drop for Half {
    fn drop(&mut self) {
        // After the renaming there is none, and that is right.
        let _ = fs::remove_file(&self.0);
    }
}

fn fill(path: &Path, size: MemorySize, files: &[FileOfEsp], bios: Option<&Bios>) -> Result<()> {
    let mut disk = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    disk.set_len(size.bytes())?;
    let sectors = size.bytes() / SECTOR;
    let start = ALIGNMENT + bios_room(bios);
    let end = (sectors - TABLE_SECTORS) * SECTOR / ALIGNMENT * ALIGNMENT;
    let mut partitions = BTreeMap::from([(1, partition(start..end, partition_types::EFI, PARTITION_GUID))]);
    let mut mbr = ProtectiveMBR::with_lb_size(u32::try_from(sectors - 1).unwrap_or(u32::MAX));
    if let Some(bios) = bios {
        mbr.set_bootcode(bios.first_sector(ALIGNMENT)?);
        disk.seek(SeekFrom::Start(ALIGNMENT))?;
        disk.write_all(bios.rest())?;
        partitions.insert(2, partition(ALIGNMENT..start, partition_types::BIOS, BIOS_GUID));
    }
    mbr.overwrite_lba0(&mut disk)?;
    let mut table =
        GptConfig::new().writable(true).create_from_device(&mut disk, Some(uuid::Uuid::from_u128(DISK_GUID)))?;
    table.update_partitions(partitions)?;
    table.write()?;
    format(&mut disk, start..end, files)?;
    disk.sync_all()?;
    Ok(())
}

fn partition(bytes: Range<u64>, kind: partition_types::Type, guid: u128) -> Partition {
    Partition {
        name: if kind == partition_types::EFI { "EFI system partition" } else { "BIOS boot partition" }.to_owned(),
        part_type_guid: kind,
        part_guid: uuid::Uuid::from_u128(guid),
        first_lba: bytes.start / SECTOR,
        last_lba: bytes.end / SECTOR - 1,
        flags: 0,
    }
}

/// Makes a FAT file system in this part of the disk, with these files.
fn format(disk: &mut File, part: Range<u64>, files: &[FileOfEsp]) -> io::Result<()> {
    let mut part = BufStream::new(StreamSlice::new(disk, part.start, part.end)?);
    let options = FormatVolumeOptions::new().volume_id(VOLUME_NUMBER).volume_label(LABEL);
    fatfs::format_volume(&mut part, options)?;
    // Without a clock (fatfs's feature `chrono`) nothing has a time.
    let system = FileSystem::new(&mut part, FsOptions::new())?;
    let root = system.root_dir();
    for folder in folders(files) {
        root.create_dir(folder)?;
    }
    for (name, bytes) in files {
        let mut file = root.create_file(name)?;
        file.write_all(bytes)?;
        file.flush()?;
    }
    drop(root);
    system.unmount()?;
    part.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("xtask-disk-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn files(kernel: usize) -> Vec<FileOfEsp> {
        let bytes: Vec<u8> = (0..kernel).map(|at| (at % 251) as u8).collect();
        vec![
            ("EFI/BOOT/BOOTX64.EFI".into(), b"loader".to_vec()),
            ("boot/tessera.elf".into(), bytes),
            ("boot/cmdline.txt".into(), b"selftest\n".to_vec()),
            ("limine.conf".into(), Vec::new()),
        ]
    }

    /// What the image holds, read by the crates' readers.
    fn contents(image: &Path, names: &[FileOfEsp]) -> Vec<FileOfEsp> {
        let mut disk = File::options().read(true).write(true).open(image).unwrap();
        let table = GptConfig::new().open_from_device(&mut disk).unwrap();
        let partition = table.partitions().get(&1).unwrap().clone();
        assert_eq!(partition.part_type_guid, partition_types::EFI);
        drop(table);
        let part = StreamSlice::new(&mut disk, partition.first_lba * SECTOR, (partition.last_lba + 1) * SECTOR);
        let system = FileSystem::new(BufStream::new(part.unwrap()), FsOptions::new()).unwrap();
        let read = |name: &str| {
            let mut bytes = Vec::new();
            system.root_dir().open_file(name).unwrap().read_to_end(&mut bytes).unwrap();
            (name.to_owned(), bytes)
        };
        names.iter().map(|(name, _)| read(name)).collect()
    }

    #[test]
    fn what_goes_in_comes_out_and_the_same_gives_the_same() {
        let folder = Folder::new("same");
        let files = files(3_000_000);
        let [one, other] = ["a", "b"].map(|name| folder.0.join(name));
        for image in [&one, &other] {
            write_files(image, MemorySize::mib(16), &files, None).unwrap();
            assert_eq!(contents(image, &files), files);
        }
        let bytes = fs::read(&one).unwrap();
        assert_eq!(bytes.len(), 16 << 20);
        assert!(bytes == fs::read(&other).unwrap());
        // The protective MBR: one partition of kind 0xee from sector 1 on.
        assert_eq!((bytes[450], &bytes[454..458], &bytes[510..512]), (0xee, &[1, 0, 0, 0][..], &[0x55, 0xaa][..]));
    }

    #[test]
    fn a_bios_finds_its_code_and_the_partition_that_it_names() {
        let folder = Folder::new("bios");
        let beginning: Vec<String> = (0..3000_u32)
            .map(|at| match at {
                // The address of the place of the rest, in the sector at 0x7c00.
                100 => "0xa4".to_owned(),
                101 => "0x7d".to_owned(),
                510 => "0x55".to_owned(),
                511 => "0xaa".to_owned(),
                _ => format!("{:#x}", at % 253),
            })
            .collect();
        fs::write(folder.0.join("limine-bios-hdd.h"), format!("{{ {} }}", beginning.join(","))).unwrap();
        fs::write(folder.0.join("limine-bios.sys"), "system").unwrap();
        let bios = Bios::beside(&folder.0.join("BOOTX64.EFI")).unwrap();
        let mut files = files(100);
        files.push(bios.system());
        let image = folder.0.join("disk.img");
        write_files(&image, MemorySize::mib(16), &files, Some(&bios)).unwrap();
        assert_eq!(contents(&image, &files), files);
        let bytes = fs::read(&image).unwrap();
        assert_eq!(bytes[..440], bios.first_sector(1 << 20).unwrap());
        assert_eq!((bytes[450], &bytes[510..512]), (0xee, &[0x55, 0xaa][..]));
        assert_eq!(&bytes[1 << 20..(1 << 20) + bios.rest().len()], bios.rest());
    }

    #[test]
    fn what_is_said_to_be_needed_is_enough() {
        let folder = Folder::new("needed");
        let image = folder.0.join("disk.img");
        for kernel in [1, 100_000, 4_000_000, 31_000_000, 140_000_000] {
            let files = files(kernel);
            let needed = needed(&files, None);
            write_files(&image, MemorySize::mib(needed >> 20), &files, None).unwrap();
            assert_eq!(contents(&image, &files[1..2]), files[1..2], "{kernel}");
        }
    }

    #[test]
    fn every_size_makes_a_file_system() {
        let folder = Folder::new("sizes");
        let image = folder.0.join("disk.img");
        let files = files(1);
        for mib in (needed(&files, None) >> 20..70).chain((70..1100).step_by(37)).chain([255, 256, 511, 512, 513, 4096])
        {
            write_files(&image, MemorySize::mib(mib), &files, None)
                .unwrap_or_else(|error| panic!("{mib} MiB: {error:#}"));
        }
    }

    #[test]
    fn a_disk_that_is_too_small_says_what_would_do_and_leaves_nothing() {
        let folder = Folder::new("small");
        let image = folder.0.join("disk.img");
        let error = write_files(&image, MemorySize::mib(8), &files(20_000_000), None).unwrap_err();
        assert_eq!(error.to_string(), "a disk of 8M has no room for the files of the boot: it takes 23M");
        let unwritable = folder.0.join("no/such/folder.img");
        assert!(write_files(&unwritable, MemorySize::mib(8), &files(1), None).is_err());
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
    }
}
