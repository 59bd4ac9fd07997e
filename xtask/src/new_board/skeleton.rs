//! The texts of a new board: its file, its lines in the table of boards, its machine in the matrix.

use anyhow::{Context as _, Result};
use platform::console::{ConsoleSpec, Width, Window};

use super::told::Told;
use crate::firmware::reference::Reference;

/// The module of a board's name.
pub(super) fn module(name: &str) -> String {
    name.replace('-', "_")
}

/// The board's file. `compatible` is the string by which it is known.
pub(super) fn board(name: &str, compatible: &str, told: &Told) -> String {
    let gaps: Vec<_> = told.gaps().map(|part| part.name).collect();
    let serial: Vec<_> = told.serial.iter().map(serial).collect();
    let consts = serial.join(", ");
    let layout = if consts.contains("Window::") { ", Width, Window" } else { "" };
    let imports = match serial.as_slice() {
        [] => String::new(),
        _ => format!("use crate::console::{{ConsoleSpec, UartKind{layout}}};\nuse mm::addr::PhysAddr;\n"),
    };
    let model = told.model.replace(['\n', '\r'], " ");
    let (gaps, constant) = (gaps.join(" and "), module(name).to_uppercase());
    format!(
        "//! {model}. Its device tree says all but: {gaps}.\n\nuse super::{{Board, UNKNOWN}};\n{imports}\n\
         /// The board.\npub const {constant}: Board = Board {{\n    name: {name:?},\n    \
         compatible: &[{compatible:?}],\n    serial: &[{consts}],\n    ..UNKNOWN\n}};\n"
    )
}

/// A serial port as Rust has it.
fn serial(console: &ConsoleSpec) -> String {
    let kind = format!("UartKind::{:?}", console.kind);
    let address = |address: u64| {
        let digits = format!("{address:x}");
        let grouped: Vec<_> = digits.as_bytes().rchunks(4).rev().map(String::from_utf8_lossy).collect();
        format!("PhysAddr::new(0x{})", grouped.join("_"))
    };
    match console.window {
        Window::Mmio { base, shift: 2, width: Width::Bits32 } => {
            format!("ConsoleSpec::words({kind}, {})", address(base.as_u64()))
        }
        Window::Mmio { base, shift, width } => format!(
            "ConsoleSpec {{ kind: {kind}, window: Window::Mmio {{ base: {}, shift: {shift}, width: Width::{width:?} }}, \
             baud: None, clock: None }}",
            address(base.as_u64())
        ),
        Window::Io { base } => format!("ConsoleSpec::ns16550_io({base:#x})"),
    }
}

/// The table of boards with one more.
///
/// # Errors
/// When the text is not such a table.
pub(super) fn table(text: &str, name: &str) -> Result<String> {
    let (module, constant) = (module(name), module(name).to_uppercase());
    let text = among(text, "mod ", &format!("mod {module};")).context("no modules of boards")?;
    let text = among(&text, "pub use ", &format!("pub use {module}::{constant};")).context("no constants of boards")?;
    let start = text.find("pub const BOARDS").context("no BOARDS")?;
    let end = start + text.get(start..).and_then(|rest| rest.find("];")).context("no end of BOARDS")?;
    let (before, after) = text.split_at(end);
    Ok(format!("{}, {constant}{after}", before.trim_end().trim_end_matches(',')))
}

/// `line` in its place by the alphabet among the first lines that begin with `prefix`.
fn among(text: &str, prefix: &str, line: &str) -> Option<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|other| other.starts_with(prefix))?;
    let block = lines.iter().skip(first).take_while(|other| other.starts_with(prefix));
    let place = first + block.take_while(|other| **other < line).count();
    lines.insert(place, line);
    Some(lines.join("\n") + "\n")
}

/// The machine of the matrix.
pub(super) fn machine(name: &str, machine: &str, dtb: &Reference, told: &Told) -> String {
    let mib = (told.memory_bytes >> 20).max(1);
    let memory = if told.memory_bytes == 0 { "1G".into() } else { format!("{mib}M") };
    let ends = told.power_off.off.is_some() || told.power_off.reset.is_some();
    let device = if ends { "no-test-device = true\n" } else { "" };
    let (dtb, cpus) = (dtb.as_str(), told.cpus.max(1));
    format!(
        "\n# {}, by the device tree of its own.\n[[machine]]\nname = \"{name}\"\narch = \"aarch64\"\n\
         machine = \"{machine}\"\ndtb = {dtb:?}\nmemory = \"{memory}\"\nsmp = {cpus}\n{device}not-asked = true\n",
        told.model.replace(['\n', '\r'], " ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;
    use mm::addr::PhysAddr;
    use platform::console::UartKind;

    #[test]
    fn a_board_comes_to_its_place_in_the_table() {
        let text = std::fs::read_to_string(workspace::root().join("platform/src/board/mod.rs")).unwrap();
        let with = table(&text, "rk3399-thing").unwrap();
        let at = |part: &str| with.find(part).unwrap_or_else(|| panic!("{part} in {with}"));
        assert!(at("mod raspi3b;") < at("mod rk3399_thing;") && at("mod rk3399_thing;") < at("mod sbsa_ref;"));
        assert!(at("pub use raspi3b::") < at("pub use rk3399_thing::RK3399_THING;"));
        assert!(at("XLNX_VERSAL_VIRT, RK3399_THING]") > at("pub const BOARDS"));
        assert_eq!(with.lines().count(), text.lines().count() + 2);
        assert!(table("nothing", "a").is_err());
    }

    #[test]
    fn a_serial_port_is_written_as_it_lies() {
        let at = PhysAddr::new(0xff1a_0000);
        let words = ConsoleSpec::words(UartKind::Ns16550, at);
        assert_eq!(serial(&words), "ConsoleSpec::words(UartKind::Ns16550, PhysAddr::new(0xff1a_0000))");
        let window = Window::Mmio { base: at, shift: 2, width: Width::Bits8 };
        assert!(serial(&ConsoleSpec { window, ..words }).contains("shift: 2, width: Width::Bits8"));
        assert_eq!(serial(&ConsoleSpec::ns16550_io(0x3f8)), "ConsoleSpec::ns16550_io(0x3f8)");
    }
}
