//! Boards of QEMU that come without a device tree: the tree stands in `ci/boards/NAME.toml`, or in a blob that somebody
//! has of the real board.
//!
//! QEMU loads the blob (`-dtb`), takes its memory nodes out, and adds those of the machine, the command line, and PSCI
//! where the machine has it. Linux boots with it, too. The file says what the tree says, node by node; nothing here
//! knows a board. Format: `docs/boards.md`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use platform::firmware::fdt;
use serde::Deserialize;
use toml::{Table, Value};
use vm_fdt::{FdtReserveEntry, FdtWriter};

use crate::exit::Failure;
use crate::workspace;

/// Where the descriptions lie, from the root of the workspace.
const FOLDER: &str = "ci/boards";
const TREE_FILE: &str = "board.dtb";

/// A board of which QEMU is told by a device tree.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    tree: Tree,
    /// QEMU's serial line, counted from 0, that is the console by this tree.
    pub(crate) console_line: usize,
    /// Options of QEMU that belong to the board, with their values.
    qemu: Vec<[String; 2]>,
}

#[derive(Clone, Debug)]
enum Tree {
    /// Our own, made of this.
    Described { reserved: Vec<[u64; 2]>, root: Table },
    /// Somebody's.
    Given(PathBuf),
}

/// What a file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Addresses of the UARTs, in the order of QEMU's serial lines.
    #[serde(default)]
    serial: Vec<u64>,
    /// Options of QEMU, with their values.
    #[serde(default)]
    qemu: Vec<[String; 2]>,
    /// Start and size of what the tree's header reserves.
    #[serde(default)]
    reserved: Vec<[u64; 2]>,
    /// The root: a table is a node, all else is a property.
    tree: Table,
}

impl Board {
    /// The board of this QEMU machine, with properties after commas, where one is described; with as many CPUs as `smp`
    /// says.
    ///
    /// # Errors
    /// When the description cannot be.
    pub(crate) fn of_machine(machine: &str, smp: u32) -> Result<Option<Self>> {
        let Some((name, text)) = description(machine)? else { return Ok(None) };
        Self::described(&text, smp).with_context(|| name).map(Some)
    }

    fn described(text: &str, smp: u32) -> Result<Self> {
        let File { serial, qemu, reserved, tree } = toml::from_str(text)?;
        let mut root = tree;
        keep_cpus(&mut root, smp);
        let mut blob = write(&reserved, &root)?;
        let console_line = console_line(&mut blob, &serial)?;
        Ok(Self { tree: Tree::Described { reserved, root }, console_line, qemu })
    }

    /// The board of this QEMU machine with the device tree in `file`.
    ///
    /// # Errors
    /// When there is no such file, or it is no device tree.
    pub(crate) fn given(file: &Path, machine: &str) -> Result<Self> {
        if !file.is_file() {
            return Err(Failure::NoFile(format!("--dtb: there is no file {}", file.display())).into());
        }
        let mut blob = std::fs::read(file).with_context(|| file.display().to_string())?;
        let described = description(machine)?.map(|(name, text)| toml::from_str::<File>(&text).context(name));
        let (serial, qemu) = match described.transpose()? {
            Some(file) => (file.serial, file.qemu),
            // A board of QEMU that is not described may have the chip of one that is.
            None => (serial_lines_of(&mut blob)?, Vec::new()),
        };
        let console_line = console_line(&mut blob, &serial).with_context(|| file.display().to_string())?;
        Ok(Self { tree: Tree::Given(file.to_owned()), console_line, qemu })
    }

    /// QEMU's options for it, with our files in `folder`.
    pub(super) fn options(&self, folder: &Path) -> Vec<[String; 2]> {
        let file = match &self.tree {
            Tree::Described { .. } => folder.join(TREE_FILE),
            Tree::Given(file) => file.clone(),
        };
        let tree = ["-dtb".to_owned(), file.to_string_lossy().into_owned()];
        self.qemu.iter().cloned().chain([tree]).collect()
    }

    /// Writes the files that the options name.
    ///
    /// # Errors
    /// When the tree cannot be, or cannot be written.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let Tree::Described { reserved, root } = &self.tree else { return Ok(()) };
        crate::image::write_whole(&folder.join(TREE_FILE), &write(reserved, root)?)
    }
}

/// The description of this QEMU machine: its file, and what it says.
fn description(machine: &str) -> Result<Option<(String, String)>> {
    let name = format!("{FOLDER}/{}.toml", machine.split(',').next().unwrap_or_default());
    let path = workspace::root().join(&name);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).with_context(|| name.clone())?;
    Ok(Some((name, text)))
}

/// Takes the CPUs out that the machine does not have.
fn keep_cpus(root: &mut Table, smp: u32) {
    let Some(Value::Table(cpus)) = root.get_mut("cpus") else { return };
    let mut left = smp;
    cpus.retain(|name, _| {
        let keep = !name.starts_with("cpu@") || left > 0;
        left = left.saturating_sub(name.starts_with("cpu@").into());
        keep
    });
}

/// The serial lines of a described board that has a UART where this tree has its console.
fn serial_lines_of(blob: &mut [u8]) -> Result<Vec<u64>> {
    let tree = fdt::check(blob).map_err(|error| anyhow::anyhow!("no device tree: {error}"))?;
    let Some(console) = tree.stdout().map(|spec| spec.named_address()) else { return Ok(Vec::new()) };
    let folder = workspace::root().join(FOLDER);
    let mut files: Vec<_> = std::fs::read_dir(&folder).context(FOLDER)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let described: File = toml::from_str(&text).with_context(|| file.display().to_string())?;
        if described.serial.contains(&console) {
            return Ok(described.serial);
        }
    }
    Ok(Vec::new())
}

/// Which of the UARTs at `serial` the tree names as its console; the first where it names none of them.
fn console_line(blob: &mut [u8], serial: &[u64]) -> Result<usize> {
    let tree = fdt::check(blob).map_err(|error| anyhow::anyhow!("no device tree: {error}"))?;
    let Some(console) = tree.stdout() else { return Ok(0) };
    Ok(serial.iter().position(|&address| address == console.named_address()).unwrap_or(0))
}

fn write(reserved: &[[u64; 2]], root: &Table) -> Result<Vec<u8>> {
    let entry = |&[start, size]: &[u64; 2]| FdtReserveEntry::new(start, size);
    let reserved = reserved.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let mut tree = FdtWriter::new_with_mem_reserv(&reserved)?;
    node(&mut tree, "", root)?;
    Ok(tree.finish()?)
}

fn node(tree: &mut FdtWriter, name: &str, table: &Table) -> Result<()> {
    let open = tree.begin_node(name)?;
    // The format has properties before children.
    for (name, value) in table {
        property(tree, name, value).with_context(|| name.clone())?;
    }
    for (name, value) in table {
        if let Value::Table(table) = value {
            node(tree, name, table).with_context(|| name.clone())?;
        }
    }
    Ok(tree.end_node(open)?)
}

/// `true` is a property without a value, a number is a cell, a text a text, a list either of them.
fn property(tree: &mut FdtWriter, name: &str, value: &Value) -> Result<()> {
    let cell = |number: i64| u32::try_from(number).with_context(|| format!("{number:#x} does not fit a cell"));
    match value {
        Value::Table(_) => {}
        Value::Boolean(true) => tree.property_null(name)?,
        Value::Integer(number) => tree.property_u32(name, cell(*number)?)?,
        Value::String(text) => tree.property_string(name, text)?,
        Value::Array(list) => {
            let numbers = list.iter().map(Value::as_integer).collect::<Option<Vec<_>>>();
            let texts = list.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
            match (numbers, texts) {
                (Some(numbers), _) => {
                    let cells = numbers.into_iter().map(cell).collect::<Result<Vec<_>>>()?;
                    tree.property_array_u32(name, &cells)?;
                }
                (None, Some(texts)) => tree.property_string_list(name, texts)?,
                (None, None) => bail!("a list is of numbers, or of texts"),
            }
        }
        _ => bail!("write true, a number, a text, or a list of numbers or of texts"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::fdt::{Token, tokens};

    const SMALL: &str = "serial = [0x1000, 0x2000]\nreserved = [[0, 0x1000]]\n[tree]\n'#size-cells' = 1\n\
                         chosen = { stdout-path = '/uart@2000' }\n\
                         'uart@2000' = { compatible = ['a', 'arm,pl011'], reg = [0x2000, 0x1000], on = true }\n\
                         [tree.cpus]\n'cpu@0' = { reg = 0 }\n'cpu@1' = { reg = 1 }\ncpu-map = {}\n";

    fn blob(text: &str, smp: u32) -> Result<Vec<u8>> {
        match Board::described(text, smp)?.tree {
            Tree::Described { reserved, root } => write(&reserved, &root),
            Tree::Given(_) => bail!("it was described"),
        }
    }

    #[test]
    fn the_tree_is_what_the_file_says() {
        let blob = blob(SMALL, 1).unwrap();
        let expected = [
            Token::Begin(""),
            Token::Property("#size-cells", &[0, 0, 0, 1]),
            Token::Begin("chosen"),
            Token::Property("stdout-path", b"/uart@2000\0"),
            Token::End,
            Token::Begin("cpus"),
            Token::Begin("cpu-map"),
            Token::End,
            Token::Begin("cpu@0"),
            Token::Property("reg", &[0, 0, 0, 0]),
            Token::End,
            Token::End,
            Token::Begin("uart@2000"),
            Token::Property("compatible", b"a\0arm,pl011\0"),
            Token::Property("on", &[]),
            Token::Property("reg", &[0, 0, 0x20, 0, 0, 0, 0x10, 0]),
            Token::End,
            Token::End,
        ];
        assert_eq!(tokens(&blob).unwrap(), expected);
        // The block of reservations stands behind the header.
        assert_eq!(blob[40..56], [[0; 8], 0x1000u64.to_be_bytes()].concat());
    }

    #[test]
    fn the_console_is_the_serial_line_of_the_trees() {
        assert_eq!(Board::described(SMALL, 2).unwrap().console_line, 1);
        let other = SMALL.replace("0x1000, 0x2000]\nr", "0x2000, 0x1000]\nr");
        assert_eq!(Board::described(&other, 2).unwrap().console_line, 0);
        let none = SMALL.replace("stdout-path", "stdout");
        assert_eq!(Board::described(&none, 2).unwrap().console_line, 0);
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, reason) in [
            ("reg = 0 ", "reg = 0x100000000", "0x100000000 does not fit a cell"),
            ("reg = 0 ", "reg = -1", "does not fit a cell"),
            ("reg = 0 ", "reg = [0, 'a']", "a list is of numbers, or of texts"),
            ("reg = 0 ", "reg = false", "write true, a number"),
            ("reg = 0 ", "reg = 1.5", "write true, a number"),
            ("[tree]", "[trees]", "trees"),
            ("[[0, 0x1000]]", "[[0]]", "reserved"),
        ] {
            let text = SMALL.replace(from, to);
            assert_ne!(text, SMALL);
            let error = format!("{:#}", blob(&text, 4).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        let error = Board::given(Path::new("/nowhere/a.dtb"), "raspi3b").unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Failure::NoFile(_))), "{error}");
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let error = format!("{:#}", Board::given(&here, "raspi3b").unwrap_err());
        assert!(error.contains("Cargo.toml: no device tree: "), "{error}");
    }

    #[test]
    fn every_board_that_is_described_can_be() {
        let folder = workspace::root().join(FOLDER);
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let machine = name.strip_suffix(".toml").expect("a description");
            let board = Board::of_machine(&format!("{machine},property=on"), 1).unwrap().expect("a board");
            assert_eq!(board.console_line, 0, "{name}");
            count += 1;
        }
        assert!(count >= 2);
        assert!(Board::of_machine("virt", 1).unwrap().is_none());
    }
}
