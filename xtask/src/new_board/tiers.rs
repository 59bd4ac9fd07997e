//! The table of support tiers in `docs/porting.md`, held against `ci/matrix.toml`.
//!
//! Tier 1 is what CI boots, and by which paths; tier 2 what it brings up from its device tree without booting it. The
//! table says neither more nor less than the matrix and Debian's trees do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use platform::board::BOARDS;

use crate::matrix::{self, Machine};
use crate::qemu::TestDevice;
use crate::workspace;

/// Boot paths, in the table's order.
const PATHS: [&str; 4] = ["direct", "uefi", "limine", "limine-bios"];

/// The rows of tier 1, as the matrix proves them: each board of the table, and its machines by boot path.
fn proved() -> BTreeMap<String, [usize; PATHS.len()]> {
    let mut rows = BTreeMap::new();
    for board in BOARDS {
        rows.insert(board.name.to_owned(), [0; PATHS.len()]);
    }
    for machine in matrix::read().unwrap() {
        // Where it is named after another board, it boots by a tree of its own: a row of its own.
        let name = if machine.dtb.is_some() { machine.name.as_str() } else { kind(&machine) };
        let boot = machine.boot.to_string();
        let path = PATHS.iter().position(|path| *path == boot).expect("a boot path of the table");
        rows.entry(name.to_owned()).or_insert([0; PATHS.len()])[path] += 1;
    }
    rows
}

/// QEMU's name of what it is.
fn kind(machine: &Machine) -> &str {
    machine.machine.split(',').next().unwrap_or_default()
}

/// A row as the table has it: how many machines of the matrix boot by each path.
fn row(name: &str, counts: [usize; PATHS.len()]) -> String {
    let cell = |count: usize| if count == 0 { "-".to_owned() } else { count.to_string() };
    format!("| {name} | {} |", counts.map(cell).join(" | "))
}

#[test]
fn the_table_of_tiers_is_what_the_matrix_proves() {
    let text = fs::read_to_string(workspace::root().join("docs/porting.md")).unwrap();
    let table = text.split("## Support tiers").nth(1).expect("a part about tiers");
    let table = table.split("\n## ").next().unwrap_or_default();
    let header = "| board | direct | UEFI | Limine by UEFI | Limine by BIOS |";
    let rows = table.split(header).nth(1).expect("a table of tier 1");
    let written: BTreeSet<_> = rows.trim_start().lines().skip(1).take_while(|line| line.starts_with('|')).collect();
    let proved: Vec<_> = proved().into_iter().map(|(name, counts)| row(&name, counts)).collect();
    let proved_set: BTreeSet<_> = proved.iter().map(String::as_str).collect();
    assert!(
        proved.iter().all(|row| row.contains(|letter: char| letter.is_ascii_digit())),
        "a board that nothing boots"
    );
    assert_eq!(written, proved_set, "docs/porting.md must say:\n{}", proved.join("\n"));
}

// Whether by ACPI, PSCI, its device tree or what its file says: a test device would hide that none of them works.
#[test]
fn every_board_that_qemu_has_is_seen_to_end_by_its_own_means() {
    let machines = matrix::read().unwrap();
    for board in BOARDS {
        let mut own = machines.iter().filter(|machine| machine.dtb.is_none() && kind(machine) == board.name).peekable();
        let by_tree_alone = own.peek().is_none();
        let ends = own.any(|machine| machine.test_device == TestDevice::Absent && !machine.stops);
        assert!(by_tree_alone || ends, "no machine of {} has `no-test-device = true`", board.name);
    }
}
