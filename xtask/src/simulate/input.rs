//! Which kind of file it is, by what stands in it, and the machine that it describes.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use mm::machine::Rules;
use mm::zone::LowZones;
use platform::Cmdline;
use platform::firmware::fdt;

use super::subject::{Held, HeldMapping, Map, PageSize, Span, Subject};
use super::{log, machine_file};
use crate::exit::Failure;

/// Files that are larger are none of these kinds.
const MAX_BYTES: u64 = 256 << 20;

/// What a device tree blob begins with.
const FDT_MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];

/// The machine's name: the file's, without its ending.
pub(super) fn config(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Reads the file at `path`.
///
/// # Errors
/// It cannot be read, or it is no file of a known kind; the sentence says why.
pub(super) fn read(path: &Path) -> Result<Subject> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::NoFile("there is no such file".into()).into(),
        _ => anyhow!(error),
    })?;
    if metadata.is_dir() {
        bail!("a directory, not a file");
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).context("cannot be read")?;
    // Not every file knows how long it is.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).context("cannot be read")?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("more than {} MiB, which no log or table has", MAX_BYTES >> 20);
    }
    let is_toml = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
    parse(bytes, if is_toml { Kind::MachineFile } else { Kind::Unknown })
}

/// What the name of a file says of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It ends in `.toml`.
    MachineFile,
    /// Nothing.
    Unknown,
}

/// Makes a machine of a file's contents.
///
/// # Errors
/// As [`read`].
pub(super) fn parse(bytes: Vec<u8>, kind: Kind) -> Result<Subject> {
    if bytes.is_empty() {
        bail!("the file is empty");
    }
    if bytes.starts_with(&FDT_MAGIC) {
        return tree(bytes);
    }
    // A log may hold any byte; what is no UTF-8 is of no use in any of them.
    let text = String::from_utf8_lossy(&bytes);
    match kind {
        Kind::MachineFile => machine_file::read(&text),
        Kind::Unknown => log::read(&text),
    }
}

fn tree(bytes: Vec<u8>) -> Result<Subject> {
    // The check takes out NOPs in place, so it works on a copy.
    let mut copy = bytes.clone();
    let blob = fdt::check(&mut copy).map_err(|error| anyhow!("device tree: {error}"))?;
    let cmdline = Cmdline::from_bytes(blob.bootargs().unwrap_or_default()).as_str().to_owned();
    let initrd = blob.initrd().and_then(|range| Span::until(range.start().as_u64(), range.end().as_u64()));
    let held = initrd.map(|span| Held { span, owner: "initrd".into(), mapping: HeldMapping::Mapped });
    Ok(Subject {
        rules: Rules::Arm64,
        low_zones: LowZones::all(),
        page_size: PageSize::K4,
        cmdline,
        map: Map::Tree(bytes),
        memoryless: Vec::new(),
        dma_limit: None,
        srat: Vec::new(),
        srat_cpus: Vec::new(),
        held: held.into_iter().collect(),
        notes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_description_is_one_sentence() {
        for (bytes, kind, words) in [
            (&b""[..], Kind::Unknown, "empty"),
            (b"hello\n", Kind::Unknown, "nothing in this log says where memory is: looked for `BIOS-e820"),
            (b"\xff\xfe\x00", Kind::Unknown, "nothing in this log"),
            (b"\xd0\x0d\xfe\xed", Kind::Unknown, "device tree: "),
            (b"arch = 3", Kind::MachineFile, "not a machine file"),
            (b"arch = \"riscv64\"", Kind::MachineFile, "arch `riscv64`"),
            (b"arch = \"x86_64\"", Kind::MachineFile, "nothing says where memory is"),
            (b"arch = \"x86_64\"\npage_size = 8192", Kind::MachineFile, "page_size 8192"),
        ] {
            let error = parse(bytes.to_vec(), kind).map(|subject| subject.cmdline);
            let text = format!("{:#}", error.unwrap_err());
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_missing_file_has_its_own_exit_code() {
        let error = read(Path::new("/nowhere/at/all")).map(|subject| subject.cmdline).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Failure::NoFile(_))), "{error}");
    }
}
