//! No board costs more than 3 files and 150 lines of this tree.
//!
//! The test finds the boards itself: whatever has a file in `platform/src/board` or `ci/boards` is one. To a board
//! belongs every file that is named after it, `raspi3b.rs` or `raspi3b-something.toml`, wherever it lies, and all that
//! lies in a folder of that name. What was recorded on machines is no part of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const MOST_FILES: usize = 3;
const MOST_LINES: usize = 150;

/// Folders of boards, and what in them is no board.
const FOLDERS: [&str; 2] = ["platform/src/board", "ci/boards"];
const NO_BOARDS: [&str; 3] = ["mod", "tests", "README"];
/// What is built, and what was recorded.
const LEFT_OUT: [&str; 5] = ["target", "ci/linux", "ci/maps", "ci/fuzz", "platform/testdata"];

/// A file's or folder's name as boards are told apart: without what stands behind the first dot.
fn plain(name: &Path) -> Option<String> {
    let name = name.file_name()?.to_str()?;
    Some(name.split('.').next()?.replace('-', "_"))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let list = fs::read_dir(folder).into_iter().flatten().flatten();
    list.map(|entry| entry.path()).collect()
}

fn boards(root: &Path) -> BTreeSet<String> {
    let named = FOLDERS.iter().flat_map(|folder| entries(&root.join(folder)));
    named.filter_map(|path| plain(&path)).filter(|name| !NO_BOARDS.contains(&name.as_str())).collect()
}

/// Whether something of this name belongs to the board.
fn is_of(board: &str, path: &Path) -> bool {
    let rest = plain(path).and_then(|name| name.strip_prefix(board).map(str::to_owned));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// Adds the files below `folder` that belong to the board; all of them, where the folder does.
fn collect(root: &Path, folder: &Path, board: &str, files: &mut Vec<PathBuf>) {
    for path in entries(folder) {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden || LEFT_OUT.iter().any(|out| path == root.join(out)) {
            continue;
        }
        let ours = is_of(board, &path)
            || folder.ancestors().take_while(|above| *above != root).any(|above| is_of(board, above));
        if path.is_dir() {
            collect(root, &path, board, files);
        } else if ours {
            files.push(path);
        }
    }
}

/// Every board that costs too much, with its files and lines.
fn over_budget(root: &Path) -> Vec<String> {
    let mut over = Vec::new();
    for board in boards(root) {
        let mut files = Vec::new();
        collect(root, root, &board, &mut files);
        // What cannot be read is no line, but a file all the same.
        let lines = |file: &PathBuf| fs::read(file).unwrap_or_default().iter().filter(|&&byte| byte == b'\n').count();
        let lines: usize = files.iter().map(lines).sum();
        println!("{board}: {} files, {lines} lines", files.len());
        assert!(!files.is_empty());
        if files.len() > MOST_FILES || lines > MOST_LINES {
            over.push(format!("{board}: {lines} lines in {files:?}"));
        }
    }
    over
}

#[test]
fn no_board_costs_more() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let found = boards(root);
    // Each of the list, and each that was put where the list does not say.
    for board in platform::board::BOARDS {
        assert!(found.contains(&board.name.replace('-', "_")), "{} has no file of its name", board.name);
    }
    assert!(found.len() >= platform::board::BOARDS.len());
    assert_eq!(over_budget(root), Vec::<String>::new());
}

#[test]
fn a_board_that_costs_more_is_found() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("board-budget");
    let _ = fs::remove_dir_all(&root);
    let write = |file: &str, lines: usize| {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, "line\n".repeat(lines)).expect("a file");
    };
    write("platform/src/board/mod.rs", 900);
    write("platform/src/board/fine.rs", 100);
    write("ci/boards/fine.toml", 50);
    write("ci/linux/fine-1g.toml", 900);
    write("target/fine.txt", 900);
    write("platform/src/finery.rs", 900);
    assert_eq!(over_budget(&root), Vec::<String>::new());
    // One line more, somewhere else, and written otherwise.
    write("arch/aarch64/src/fine-start.s", 1);
    write("platform/src/board/two_words.rs", 1);
    write("ci/boards/two-words.toml", 150);
    write("platform/src/board/many/mod.rs", 1);
    write("platform/src/board/many/a.rs", 1);
    write("platform/src/board/many/b.rs", 1);
    assert_eq!(over_budget(&root).len(), 2, "fine has 151 lines, two_words too, many has 3 files");
    write("ci/boards/many.toml", 1);
    assert_eq!(over_budget(&root).len(), 3);
}
