//! QEMU's own device tree with some of it changed, for what QEMU's options cannot say.
//!
//! QEMU writes the tree of the machine (`dumpdtb`), [`Edits`] replace its memory nodes and add properties, and the
//! kernel is entered with the result by the trampoline of [`super::tree`]. `-dtb` would not do: QEMU removes the memory
//! nodes of the tree that it is given and writes its own. All else is the machine's: interrupt controller, timer,
//! clocks; so Linux boots with it, too.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::fdt::{Nops, Token, Writer, tokens};
use super::ranges::{Ranges, What};
use super::tree::{KERNEL, TRAMPOLINE, TREE};
use super::{Piece, Place, trampoline};

/// Where the initial RAM disk is put: behind the tree, far from all that QEMU and the kernels put into memory.
const INITRD: u64 = 0x4a00_0000;

/// The tree as QEMU writes it.
pub(super) const BASE_FILE: &str = "qemu.dtb";
const TRAMPOLINE_FILE: &str = "trampoline.bin";
const TREE_FILE: &str = "tree.dtb";

/// What of `/chosen` is ours to say.
const OF_CHOSEN: [&str; 4] = ["bootargs", "linux,initrd-start", "linux,initrd-end", "linux,usable-memory-range"];
const NODE_ID: &str = "numa-node-id";

/// What the tree says instead of what QEMU says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Edits {
    /// Memory nodes, in place of QEMU's.
    memory: Vec<Ranges<Bank>>,
    /// The node of each CPU.
    #[serde(default)]
    cpu_nodes: Vec<u32>,
    /// What may be used of that memory (`linux,usable-memory-range`); there is no such property without.
    #[serde(default)]
    usable: Vec<Ranges<Nothing>>,
}

/// The node of a memory node, and whether the memory may be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bank {
    node: Option<u32>,
    plug: Plug,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plug {
    Fixed,
    HotPluggable,
}

impl What for Bank {
    fn from_words(words: &[&str]) -> Result<Self, String> {
        let node = |number: &str| number.parse().map(Some).map_err(|_| format!("{number} is no node"));
        Ok(match words {
            [] => Self { node: None, plug: Plug::Fixed },
            ["hotplug"] => Self { node: None, plug: Plug::HotPluggable },
            ["node", number] => Self { node: node(number)?, plug: Plug::Fixed },
            ["node", number, "hotplug"] => Self { node: node(number)?, plug: Plug::HotPluggable },
            _ => return Err("write `node NUMBER`, `hotplug`, both or nothing behind the size".to_owned()),
        })
    }
}

/// A range of which nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nothing;

impl What for Nothing {
    fn from_words(words: &[&str]) -> Result<Self, String> {
        if words.is_empty() { Ok(Self) } else { Err("nothing stands behind the size".to_owned()) }
    }
}

impl Edits {
    /// QEMU's options for this kernel image, this RAM disk and our files in `folder`.
    pub(super) fn options(folder: &Path, image: &Path, initrd: Option<&Path>) -> Vec<[String; 2]> {
        let mut options = Place::Start(TRAMPOLINE).options(&folder.join(TRAMPOLINE_FILE));
        options.extend(Place::Memory(KERNEL).options(image));
        options.extend(Place::Memory(TREE).options(&folder.join(TREE_FILE)));
        options.extend(initrd.iter().flat_map(|initrd| Place::Memory(INITRD).options(initrd)));
        options
    }

    /// The files that the options name, from the tree that QEMU wrote.
    ///
    /// # Errors
    /// When `base` is no sound tree.
    pub(super) fn pieces(&self, base: &[u8], command_line: &str, initrd_size: Option<u64>) -> Result<Vec<Piece>> {
        let tree = self.apply(base, command_line, initrd_size)?;
        Ok(vec![
            Piece { name: TRAMPOLINE_FILE, place: Place::Start(TRAMPOLINE), bytes: trampoline::bytes(TREE, KERNEL) },
            Piece { name: TREE_FILE, place: Place::Memory(TREE), bytes: tree },
        ])
    }

    fn apply(&self, base: &[u8], command_line: &str, initrd_size: Option<u64>) -> Result<Vec<u8>> {
        let mut tree = Writer::new(Nops::None);
        let mut path: Vec<&str> = Vec::new();
        for token in tokens(base).context("QEMU's device tree")? {
            if let Token::Begin(name) = token {
                path.push(name);
            }
            let dropped = path.get(1).is_some_and(|name| name.split('@').next() == Some("memory"));
            match (token, path.as_slice()) {
                _ if dropped => {}
                (Token::Begin(name), here) => {
                    tree.begin(name);
                    match here {
                        ["", "chosen"] => self.chosen(&mut tree, command_line, initrd_size),
                        ["", "cpus", cpu] => self.cpu(&mut tree, cpu),
                        _ => {}
                    }
                }
                (Token::Property(name, _), ["", "chosen"]) if OF_CHOSEN.contains(&name) => {}
                (Token::Property(NODE_ID, _), ["", "cpus", _]) if !self.cpu_nodes.is_empty() => {}
                (Token::Property(name, value), _) => {
                    tree.bytes(name, value);
                }
                (Token::End, [_]) => {
                    self.memory(&mut tree);
                    tree.end();
                }
                (Token::End, _) => {
                    tree.end();
                }
            }
            if let Token::End = token {
                path.pop();
            }
        }
        Ok(tree.finish())
    }

    fn chosen(&self, tree: &mut Writer, command_line: &str, initrd_size: Option<u64>) {
        tree.texts("bootargs", &[command_line]);
        if let Some(size) = initrd_size {
            tree.longs("linux,initrd-start", &[INITRD]).longs("linux,initrd-end", &[INITRD + size]);
        }
        let usable: Vec<u64> =
            self.usable.iter().flat_map(Ranges::iter).flat_map(|(start, size)| [start, size]).collect();
        if !usable.is_empty() {
            tree.longs("linux,usable-memory-range", &usable);
        }
    }

    fn cpu(&self, tree: &mut Writer, name: &str) {
        let number = name.strip_prefix("cpu@").and_then(|number| usize::from_str_radix(number, 16).ok());
        if let Some(node) = number.and_then(|number| self.cpu_nodes.get(number)) {
            tree.cells(NODE_ID, &[*node]);
        }
    }

    fn memory(&self, tree: &mut Writer) {
        for (ranges, (start, size)) in self.memory.iter().flat_map(|ranges| ranges.iter().map(move |one| (ranges, one)))
        {
            tree.begin(&format!("memory@{start:x}")).texts("device_type", &["memory"]).longs("reg", &[start, size]);
            if let Some(node) = ranges.what.node {
                tree.cells(NODE_ID, &[node]);
            }
            if ranges.what.plug == Plug::HotPluggable {
                tree.bytes("hotpluggable", &[]);
            }
            tree.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Vec<u8> {
        let mut tree = Writer::new(Nops::Everywhere);
        tree.begin("").cells("#address-cells", &[2]);
        tree.begin("memory@40000000").longs("reg", &[1 << 30, 1 << 30]).begin("inner").end().end();
        tree.begin("cpus").begin("cpu@a").cells("reg", &[10]).end().begin("cpu@0").cells(NODE_ID, &[9]).end().end();
        tree.begin("chosen").texts("bootargs", &["old"]).texts("stdout-path", &["/uart"]).end();
        tree.end();
        tree.finish()
    }

    #[test]
    fn memory_is_replaced_and_all_else_stays() {
        let edits: Edits =
            toml::from_str("memory = ['2G 1G node 1 hotplug', '4G 1G']\ncpu-nodes = [5]\nusable = ['2G 64M', '4G 1M']")
                .unwrap();
        let blob = edits.apply(&base(), "new words", Some(0x123)).unwrap();
        let longs = |values: &[u64]| values.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<_>>();
        let usable = longs(&[2 << 30, 64 << 20, 4 << 30, 1 << 20]);
        let (start, end) = (longs(&[INITRD]), longs(&[INITRD + 0x123]));
        let banks = [longs(&[2 << 30, 1 << 30]), longs(&[4 << 30, 1 << 30])];
        let begin = Token::Begin;
        let expected = vec![
            begin(""),
            Token::Property("#address-cells", &[0, 0, 0, 2]),
            begin("cpus"),
            begin("cpu@a"),
            Token::Property("reg", &[0, 0, 0, 10]),
            Token::End,
            begin("cpu@0"),
            Token::Property(NODE_ID, &[0, 0, 0, 5]),
            Token::End,
            Token::End,
            begin("chosen"),
            Token::Property("bootargs", b"new words\0"),
            Token::Property("linux,initrd-start", &start),
            Token::Property("linux,initrd-end", &end),
            Token::Property("linux,usable-memory-range", &usable),
            Token::Property("stdout-path", b"/uart\0"),
            Token::End,
            begin("memory@80000000"),
            Token::Property("device_type", b"memory\0"),
            Token::Property("reg", &banks[0]),
            Token::Property(NODE_ID, &[0, 0, 0, 1]),
            Token::Property("hotpluggable", &[]),
            Token::End,
            begin("memory@100000000"),
            Token::Property("device_type", b"memory\0"),
            Token::Property("reg", &banks[1]),
            Token::End,
            Token::End,
        ];
        assert_eq!(tokens(&blob).unwrap(), expected);
    }

    #[test]
    fn cpus_keep_their_node_where_none_is_given() {
        let edits: Edits = toml::from_str("memory = []").unwrap();
        let blob = edits.apply(&base(), "", None).unwrap();
        assert!(tokens(&blob).unwrap().contains(&Token::Property(NODE_ID, &[0, 0, 0, 9])));
        assert!(!tokens(&blob).unwrap().iter().any(|token| matches!(token, Token::Property("linux,initrd-end", _))));
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["memory = ['1G 1G node x']", "memory = ['1G 1G hot']", "memory = []\nusable = ['1G 1G node 0']"] {
            assert!(toml::from_str::<Edits>(text).is_err(), "{text}");
        }
    }
}
