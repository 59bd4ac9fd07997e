//! `cargo xtask new-board`: from a board's device tree to what the kernel needs to know of it, which is mostly nothing.
//!
//! `told` says what the tree says beside what is understood; `skeleton` makes the texts of what is missing, `tree` names
//! nodes. A board gets a file only where an entry in the table helps: where the tree leaves the console, the interrupt
//! controller or power-off open. What it gets compiles and passes the tests as it is.

mod skeleton;
#[cfg(test)]
mod tiers;
mod told;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use platform::board::BOARDS;
use platform::firmware::fdt;

use crate::arch::Arch;
use crate::cli::NewBoardArgs;
use crate::exit::{Exit, Failure, usage};
use crate::firmware::reference::Reference;
use crate::process::{self, Ending, Input, Next, Piece};
use crate::{image, matrix, workspace};
use told::Told;

/// The table of boards, and the matrix, from the root of the workspace.
const TABLE: &str = "platform/src/board/mod.rs";
const MATRIX: &str = "ci/matrix.toml";

/// How long QEMU may take to say which machine types it has.
const QEMU_LIMIT: Duration = Duration::from_secs(10);

/// A file that is to be written, whole.
struct Change {
    /// From the root of the workspace.
    file: String,
    text: String,
    /// What is new in it.
    shown: String,
}

/// Says what is understood of the board, and writes what it needs.
pub(crate) fn new_board(args: &NewBoardArgs) -> Result<Exit> {
    check_name(&args.name)?;
    let mut bytes = read(&args.dtb)?;
    let file = args.dtb.display();
    let blob = fdt::check(&mut bytes).map_err(|error| anyhow!("{file}: device tree: {error}"))?;
    let told = Told::of(&blob).with_context(|| file.to_string())?;
    let machine = machine(args)?;
    let changes = changes(args, &told, machine.as_deref())?;
    print!("{told}");
    println!();
    match told.gaps().map(|part| part.name).collect::<Vec<_>>().as_slice() {
        [] => println!("The device tree says all that a board file could: none is needed."),
        gaps => println!("A board file says what the tree leaves open: {}.", gaps.join(", ")),
    }
    for change in &changes {
        println!("{} {}:", if args.dry_run { "would write" } else { "writes" }, change.file);
        change.shown.lines().for_each(|line| println!("  {line}"));
    }
    if !args.dry_run {
        write(workspace::root(), &changes)?;
    }
    how_to_try(args, &told, machine.as_deref());
    Ok(Exit::Right)
}

/// Whether there can be a board of this name, and is none yet.
fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.bytes().all(plain) || name.ends_with('-') {
        return Err(usage(format!("{name:?}: a board's name has lower-case letters, digits and `-`, a letter first")));
    }
    let file = workspace::root().join(board_file(name));
    if BOARDS.iter().any(|board| board.name == name) || file.exists() {
        return Err(usage(format!("{name}: there is a board of this name already, in {TABLE}")));
    }
    if matrix::read()?.iter().any(|machine| machine.name == name) {
        return Err(usage(format!("{name}: there is a machine of this name already, in {MATRIX}")));
    }
    Ok(())
}

fn board_file(name: &str) -> String {
    format!("platform/src/board/{}.rs", skeleton::module(name))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    if !file.is_file() {
        return Err(Failure::NoFile(format!("--dtb: there is no file {}", file.display())).into());
    }
    fs::read(file).with_context(|| file.display().to_string())
}

/// QEMU's machine type that the board is.
fn machine(args: &NewBoardArgs) -> Result<Option<String>> {
    let types = machine_types(Arch::Aarch64);
    let Some(wanted) = &args.machine else {
        return Ok(types.filter(|types| types.contains(&args.name)).map(|_| args.name.clone()));
    };
    let kind = wanted.split(',').next().unwrap_or_default();
    match types {
        Some(types) if !types.iter().any(|name| name == kind) => {
            Err(usage(format!("--machine: QEMU has no {kind}: `qemu-system-aarch64 -M help` names what it has")))
        }
        _ => Ok(Some(wanted.clone())),
    }
}

/// The machine types of the QEMU that is installed, if one is.
fn machine_types(arch: Arch) -> Option<Vec<String>> {
    let mut list = Vec::new();
    let mut command = Command::new(arch.qemu());
    let ending = process::watch(command.args(["-M", "help"]), Input::Nothing, Some(QEMU_LIMIT), &mut |piece| {
        if let Piece::Output(bytes) = piece {
            list.extend(bytes);
        }
        Ok(Next::GoOn)
    });
    let right = matches!(ending, Ok(Ending::Exited(status)) if status.success());
    right.then(|| names(&String::from_utf8_lossy(&list)))
}

/// The machine types in QEMU's list, behind the line that says what it is.
fn names(list: &str) -> Vec<String> {
    list.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// What is to be written.
fn changes(args: &NewBoardArgs, told: &Told, machine: Option<&str>) -> Result<Vec<Change>> {
    let read = |file: &str| fs::read_to_string(workspace::root().join(file)).with_context(|| file.to_owned());
    let mut changes = Vec::new();
    if told.gaps().next().is_some() {
        if let Some(board) = told.known {
            bail!("it is the board {board}, whose file is the place for what the tree leaves open");
        }
        let compatible = told.compatible.first().context("the tree's root is compatible with nothing to know it by")?;
        let text = skeleton::board(&args.name, compatible, told);
        changes.push(Change { file: board_file(&args.name), shown: text.clone(), text });
        let module = skeleton::module(&args.name);
        let shown = format!("mod {module}; pub use {module}::{0}; BOARDS = [.., {0}]", module.to_uppercase());
        changes.push(Change { file: TABLE.into(), text: skeleton::table(&read(TABLE)?, &args.name)?, shown });
    }
    if let Some(machine) = machine {
        let entry = skeleton::machine(&args.name, machine, &Reference::to(&args.dtb)?, told);
        changes.push(Change { file: MATRIX.into(), text: read(MATRIX)? + &entry, shown: entry.trim().into() });
    }
    Ok(changes)
}

/// Writes all of it below `root`, in its order, or nothing: a board's file without its line in the table is in the way of
/// another attempt.
fn write(root: &Path, changes: &[Change]) -> Result<()> {
    let mut done: Vec<(PathBuf, Option<Vec<u8>>)> = Vec::new();
    for change in changes {
        let file = root.join(&change.file);
        let before = fs::read(&file).ok();
        if let Err(error) = image::write_whole(&file, change.text.as_bytes()) {
            for (file, before) in done.iter().rev() {
                match before {
                    Some(bytes) => image::write_whole(file, bytes),
                    None => fs::remove_file(file).with_context(|| file.display().to_string()),
                }
                .with_context(|| format!("taking back what was written, since {error:#}"))?;
            }
            return Err(error);
        }
        done.push((file, before));
    }
    let sources: Vec<_> =
        done.iter().map(|(file, _)| file).filter(|file| file.extension() == Some("rs".as_ref())).collect();
    if !sources.is_empty() {
        let mut rustfmt = Command::new("rustfmt");
        let status = rustfmt.args(["--edition", "2024"]).args(&sources).stdin(Stdio::null()).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("warning: rustfmt did not lay out the new lines: `cargo fmt` does");
        }
    }
    Ok(())
}

fn how_to_try(args: &NewBoardArgs, told: &Told, machine: Option<&str>) {
    let dtb = args.dtb.display();
    println!("\nTry it:");
    if told.memory_bytes > 0 {
        println!("  cargo xtask simulate {dtb}");
    }
    match machine {
        Some(_) if args.dry_run => {}
        Some(_) => println!("  cargo xtask run --config {} --exec \"zoneinfo; poweroff\"", args.name),
        None => {
            println!(
                "  cargo xtask build --arch aarch64, and give its last line to the board's boot loader as `Image`"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(file: &str) -> Told {
        let mut bytes = fs::read(workspace::root().join("platform/testdata").join(file)).unwrap();
        Told::of(&fdt::check(&mut bytes).unwrap()).unwrap()
    }

    fn args(name: &str, dtb: &str) -> NewBoardArgs {
        let dtb = workspace::root().join("platform/testdata").join(dtb);
        NewBoardArgs { name: name.into(), dtb, machine: None, dry_run: true }
    }

    fn error_of(name: &str, dtb: &str) -> anyhow::Error {
        new_board(&args(name, dtb)).map(|_| ()).unwrap_err()
    }

    #[test]
    fn a_board_that_its_tree_describes_needs_no_file() {
        let told = told("virt-gic3.dtb");
        assert_eq!((told.known, told.gaps().count()), (Some("virt"), 0));
        let text = told.to_string();
        for part in [
            "/memory@40000000: reg",
            "GICv3 at 0x8000000",
            "/chosen: stdout-path \"/pl011@9000000\"",
            "earlycon=pl011,0x9000000",
            "PSCI, by hvc",
            "the CPUs' own timer, interrupt 27",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(changes(&args("virt-other", "virt-gic3.dtb"), &told, None).unwrap().is_empty());
    }

    #[test]
    fn a_board_that_its_tree_leaves_open_gets_a_file_and_a_line_and_a_machine() {
        let told = told("bare.dtb");
        assert_eq!(told.known, None);
        let gaps: Vec<_> = told.gaps().map(|part| part.name).collect();
        assert_eq!(gaps, ["interrupts"]);
        let changes = changes(&args("odd-board", "bare.dtb"), &told, Some("virt")).unwrap();
        let files: Vec<_> = changes.iter().map(|change| change.file.as_str()).collect();
        assert_eq!(files, ["platform/src/board/odd_board.rs", TABLE, MATRIX]);
        let board = &changes[0].text;
        assert!(board.contains("pub const ODD_BOARD: Board = Board {\n    name: \"odd-board\","), "{board}");
        assert!(board.contains("compatible: &[\"tessera,odd\"],"), "{board}");
        assert!(board.contains("UartKind::Ns16550"), "{board}");
        assert!(changes[2].text.ends_with(&format!("{}\n", changes[2].shown)));
        assert!(changes[2].shown.contains("dtb = \"platform/testdata/bare.dtb\""));
    }

    #[test]
    fn where_a_file_cannot_be_written_none_is() {
        let root = std::env::temp_dir().join(format!("xtask-new-board-{}", std::process::id()));
        fs::create_dir_all(root.join("in-the-way.toml")).unwrap();
        fs::write(root.join("table.txt"), "before").unwrap();
        let change = |file: &str| Change { file: file.into(), text: "after".into(), shown: String::new() };
        let list = ["board.txt", "table.txt", "in-the-way.toml"].map(change);
        let error = format!("{:#}", write(&root, &list).unwrap_err());
        assert!(error.contains("in-the-way.toml"), "{error}");
        let mut left: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["in-the-way.toml", "table.txt"]);
        assert_eq!(fs::read(root.join("table.txt")).unwrap(), b"before");
        write(&root, &list[..2]).unwrap();
        for file in ["board.txt", "table.txt"] {
            assert_eq!(fs::read(root.join(file)).unwrap(), b"after");
        }
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn qemus_list_is_names_behind_a_line() {
        let list = "Supported machines are:\nnone                 empty machine\nvirt                 ARM (alias)\n";
        assert_eq!(names(list), ["none", "virt"]);
        if workspace::find_program(Arch::Aarch64.qemu()).is_some() {
            assert!(machine_types(Arch::Aarch64).unwrap().iter().any(|name| name == "virt"));
        }
    }

    #[test]
    fn what_cannot_be_is_one_line_with_its_exit_code() {
        for name in ["", "Board", "1board", "a_b", "a b", "board-", "../x"] {
            assert!(matches!(error_of(name, "bare.dtb").downcast_ref(), Some(Failure::Usage(_))), "{name}");
        }
        for name in ["virt", "raspi3b", "microvm-1g"] {
            let error = error_of(name, "bare.dtb");
            assert!(matches!(error.downcast_ref(), Some(Failure::Usage(_))) && error.to_string().contains("already"));
        }
        let missing = error_of("a-board", "no-such.dtb");
        assert!(matches!(missing.downcast_ref(), Some(Failure::NoFile(_))), "{missing}");
        let damaged = error_of("a-board", "README.md");
        assert!(damaged.downcast_ref::<Failure>().is_none());
        assert!(format!("{damaged:#}").contains("README.md: device tree: "), "{damaged:#}");
        assert_eq!(format!("{damaged:#}").lines().count(), 1);
    }
}
