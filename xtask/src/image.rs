//! The bootable image: builds the kernel, and turns its ELF file into what QEMU's `-kernel` takes.
//!
//! On x86_64 that is the ELF file itself (QEMU finds the PVH note in it). On aarch64 it is the memory image that
//! Linux's boot protocol describes: the loadable segments, laid out by physical address from the lowest on, of which
//! the first bytes are the Image header that the kernel's `.head` section carries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use object::elf::{FileHeader64, NoteType, PT_LOAD};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use crate::arch::Arch;
use crate::kernel::Kernel;
use crate::workspace;

/// An image larger than this is a linker script gone wrong: segments far apart.
const LARGEST_IMAGE: u64 = 256 << 20;

/// Where the Image header has its magic number, and what it is.
const HEADER_MAGIC: (usize, &[u8]) = (56, b"ARM\x64");

/// What cargo says while it builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Everything, on stderr.
    Progress,
    /// Errors only, in the error this returns.
    Errors,
}

/// Builds the kernel and returns the path of its bootable image.
///
/// # Errors
/// When the kernel does not build, or the ELF file is not what an image can be made of.
pub(crate) fn build(kernel: impl Into<Kernel>, report: Report) -> Result<PathBuf> {
    let kernel = kernel.into();
    let mut cargo = release_build("kernel", kernel.arch.target());
    cargo.arg("--target-dir").arg(workspace::kernel_target_dir(kernel)?);
    if let Some(feature) = kernel.model.feature() {
        cargo.args(["--features", feature]);
    }
    carry_out(cargo, &format!("the {kernel}"), report)?;
    let (elf, image) = (workspace::kernel_elf(kernel)?, workspace::kernel_image(kernel)?);
    if elf != image {
        let bytes = fs::read(&elf).with_context(|| elf.display().to_string())?;
        let (_, flat) = flatten(&bytes).with_context(|| elf.display().to_string())?;
        check_header(&flat).with_context(|| elf.display().to_string())?;
        write_whole(&image, &flat)?;
    }
    Ok(image)
}

/// Builds our boot loader for UEFI firmware and returns its path.
///
/// # Errors
/// When it does not build.
pub(crate) fn build_loader(arch: Arch, report: Report) -> Result<PathBuf> {
    let mut cargo = release_build("tessera-loader", arch.uefi_target());
    cargo.arg("--target-dir").arg(workspace::target_dir()?);
    carry_out(cargo, &format!("the {arch} boot loader"), report)?;
    workspace::loader_program(arch)
}

fn release_build(package: &str, target: &str) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release", "--package", package, "--target", target]);
    // These would replace the flags that .cargo/config.toml has for the kernel's targets.
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"] {
        cargo.env_remove(variable);
    }
    cargo.stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr()));
    cargo
}

fn carry_out(mut cargo: Command, what: &str, report: Report) -> Result<()> {
    match report {
        Report::Progress => {
            let status = cargo.status().context("cargo cannot be started")?;
            if !status.success() {
                bail!("{what} does not build");
            }
        }
        Report::Errors => {
            let output = cargo.arg("--quiet").stderr(Stdio::piped()).output().context("cargo cannot be started")?;
            if !output.status.success() {
                bail!("{what} does not build\n{}", String::from_utf8_lossy(&output.stderr).trim_end());
            }
        }
    }
    Ok(())
}

/// Puts the file in its place in one step, because another run may be booting from it.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let fresh = path.with_extension(format!("new.{}", std::process::id()));
    let written = fs::write(&fresh, bytes).with_context(|| fresh.display().to_string());
    let placed = written.and_then(|()| fs::rename(&fresh, path).with_context(|| path.display().to_string()));
    if placed.is_err() {
        // It may not have come into being.
        let _ = fs::remove_file(&fresh);
    }
    placed
}

/// The loadable segments of an ELF file as one piece of memory, from the lowest physical address to the end of the
/// last byte that the file holds; and that lowest address. What the file leaves out at the end (`.bss`) is the header's
/// business.
///
/// # Errors
/// When it is no ELF file, or its segments do not make one image.
pub(crate) fn flatten(elf: &[u8]) -> Result<(u64, Vec<u8>)> {
    let header = FileHeader64::<LittleEndian>::parse(elf).context("no ELF file")?;
    let endian = header.endian().context("no little-endian ELF file")?;
    let mut segments = Vec::new();
    for segment in header.program_headers(endian, elf).context("no program headers")? {
        if segment.p_type(endian) != PT_LOAD || segment.p_filesz(endian) == 0 {
            continue;
        }
        let Ok(data) = segment.data(endian, elf) else { bail!("a segment lies outside the file") };
        segments.push((segment.p_paddr(endian), data));
    }
    segments.sort_by_key(|(address, _)| *address);
    let base = segments.first().map(|(address, _)| *address).context("no loadable segment")?;
    let mut flat = Vec::new();
    for (address, data) in segments {
        let start = address - base;
        if start.saturating_add(data.len() as u64) > LARGEST_IMAGE {
            bail!("the segment at {address:#x} lies too far from the first, at {base:#x}");
        }
        let start = usize::try_from(start)?;
        if start < flat.len() {
            bail!("the segment at {address:#x} overlaps the one before it");
        }
        flat.resize(start, 0);
        flat.extend_from_slice(data);
    }
    Ok((base, flat))
}

/// The name and the type of the note that holds the physical address at which PVH enters the kernel.
const PVH_NOTE: (&[u8], NoteType) = (b"Xen", NoteType(18));

/// Where PVH enters the kernel in this ELF file, if it does.
pub(crate) fn pvh_entry(elf: &[u8]) -> Option<u32> {
    let header = FileHeader64::<LittleEndian>::parse(elf).ok()?;
    let endian = header.endian().ok()?;
    for segment in header.program_headers(endian, elf).ok()? {
        let Ok(Some(mut notes)) = segment.notes(endian, elf) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if (note.name(), note.n_type(endian)) == PVH_NOTE {
                return note.desc().first_chunk().copied().map(u32::from_le_bytes);
            }
        }
    }
    None
}

fn check_header(image: &[u8]) -> Result<()> {
    let (at, magic) = HEADER_MAGIC;
    match image.get(at..at + magic.len()) {
        Some(found) if found == magic => Ok(()),
        _ => bail!("the first segment does not start with an Image header"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with these segments: type, physical address, bytes in the file, bytes in memory.
    fn elf(segments: &[(u32, u64, &[u8], u64)]) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let count = u16::try_from(segments.len()).unwrap();
        file.extend([2u16, 183].map(u16::to_le_bytes).concat());
        file.extend(1u32.to_le_bytes());
        file.extend([0u64, 64, 0].map(u64::to_le_bytes).concat());
        file.extend(0u32.to_le_bytes());
        file.extend([64, 56, count, 64, 0, 0].map(u16::to_le_bytes).concat());
        let mut offset = 64 + 56 * segments.len() as u64;
        for (kind, address, data, memory) in segments {
            file.extend([*kind, 5].map(u32::to_le_bytes).concat());
            let virt = 0xffff_ffff_8000_0000 | address;
            let align = if *kind == PT_LOAD.0 { 4096 } else { 4 };
            let fields = [offset, virt, *address, data.len() as u64, *memory, align];
            file.extend(fields.map(u64::to_le_bytes).concat());
            offset += data.len() as u64;
        }
        for (_, _, data, _) in segments {
            file.extend_from_slice(data);
        }
        file
    }

    #[test]
    fn segments_are_laid_out_by_physical_address() {
        let file = elf(&[
            (PT_LOAD.0, 0x20_0008, b"data", 0x1000),
            (4, 0x10, b"a note is not loaded", 20),
            (PT_LOAD.0, 0x20_0000, b"text", 4),
            (PT_LOAD.0, 0x30_0000, b"", 0x8000),
        ]);
        assert_eq!(flatten(&file).unwrap(), (0x20_0000, b"text\0\0\0\0data".to_vec()));
    }

    #[test]
    fn what_cannot_be_an_image_is_refused() {
        let load = PT_LOAD.0;
        let overlapping = elf(&[(load, 0x1000, b"text", 4), (load, 0x1002, b"data", 4)]);
        let far = elf(&[(load, 0x1000, b"text", 4), (load, 1 << 40, b"data", 4)]);
        let mut cut = elf(&[(load, 0x1000, b"text", 4)]);
        cut.truncate(cut.len() - 2);
        for (file, reason) in [
            (overlapping, "overlaps"),
            (far, "too far"),
            (elf(&[]), "no loadable segment"),
            (cut, "outside the file"),
            (b"no ELF".to_vec(), "no ELF"),
        ] {
            let error = format!("{:#}", flatten(&file).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_pvh_entry_is_in_the_note() {
        let note = |name: &[u8; 4]| [&[4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0][..], name, &[0x34, 0x12, 0x20, 0]].concat();
        let file = |name| elf(&[(PT_LOAD.0, 0x20_0000, b"text", 4), (4, 0x20_1000, &note(name), 20)]);
        assert_eq!(pvh_entry(&file(b"Xen\0")), Some(0x20_1234));
        assert_eq!(pvh_entry(&file(b"GNU\0")), None);
        assert_eq!(pvh_entry(b"no ELF"), None);
    }

    #[test]
    fn the_header_is_looked_for_where_the_protocol_has_it() {
        let mut image = vec![0; 64];
        assert!(check_header(&image).is_err());
        image[56..60].copy_from_slice(b"ARM\x64");
        assert!(check_header(&image).is_ok());
        assert!(check_header(&image[..58]).is_err());
    }
}
