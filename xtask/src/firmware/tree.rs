//! An aarch64 machine, QEMU's `virt`, whose device tree says what the matrix says.

use serde::Deserialize;

use super::fdt::{self, Nops, Writer};
use super::ranges::{Address, Ranges, What};
use super::{Piece, Place, trampoline};

/// Where RAM begins on `virt`; the trampoline comes first, 1 MiB behind the tree that QEMU itself leaves there.
pub(super) const TRAMPOLINE: u64 = 0x4010_0000;
/// Where the kernel is put.
pub(super) const KERNEL: u64 = 0x4020_0000;
/// Where the tree is put, unless the matrix says otherwise.
pub(super) const TREE: u64 = 0x4800_0000;

/// Nodes may be nested 63 deep, by what the kernel says.
const TOO_DEEP: usize = 100;

const TRAMPOLINE_FILE: &str = "trampoline.bin";
const KERNEL_FILE: &str = "kernel.img";
const TREE_FILE: &str = "tree.dtb";

/// What the device tree says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tree {
    /// Memory nodes, in this order.
    memory: Vec<Ranges<Node>>,
    /// Children of `/reserved-memory`.
    #[serde(default)]
    reserved: Vec<Ranges<Reserved>>,
    /// CPUs, by their numbers in MPIDR; with them comes what they interrupt each other by. Without, there is one.
    #[serde(default)]
    cpus: Vec<u32>,
    /// Where the tree is put.
    at: Option<Address>,
    /// What x0 holds instead of that.
    x0: Option<Address>,
    damage: Option<Damage>,
}

/// The node that a memory node names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node(Option<u32>);

impl What for Node {
    fn from_words(words: &[&str]) -> Result<Self, String> {
        match words {
            [] => Ok(Self(None)),
            ["node", number] => {
                number.parse().map(|number| Self(Some(number))).map_err(|_| format!("{number} is no node"))
            }
            _ => Err("write `node NUMBER` or nothing behind the size".to_owned()),
        }
    }
}

/// The name of a reservation, and whether it may be mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reserved {
    name: String,
    no_map: bool,
}

impl What for Reserved {
    fn from_words(words: &[&str]) -> Result<Self, String> {
        match words {
            [name] => Ok(Self { name: (*name).to_owned(), no_map: false }),
            [name, "no-map"] => Ok(Self { name: (*name).to_owned(), no_map: true }),
            _ => Err("write a name behind the size, and `no-map` or nothing behind that".to_owned()),
        }
    }
}

/// What is wrong with the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Damage {
    /// Its second half is missing, and the header says so.
    Truncated,
    /// Its second half is zeros, and the header does not know.
    HalfZero,
    /// Where the structure block begins, plus its size, is past 2^32.
    StructureOffset,
    /// The strings block begins past the end.
    StringsOffset,
    /// It says that it is 4 GiB - 1 long.
    Size,
    /// Nodes are nested too deep.
    Depth,
    /// Nothing is wrong, but every token has one that says nothing before it.
    Nops,
}

impl Tree {
    /// The files, and where each goes.
    pub(super) fn places(&self) -> [(&'static str, Place); 3] {
        [
            (TRAMPOLINE_FILE, Place::Start(TRAMPOLINE)),
            (KERNEL_FILE, Place::Memory(KERNEL)),
            (TREE_FILE, Place::Memory(self.address())),
        ]
    }

    /// The files for this kernel image.
    pub(super) fn pieces(&self, image: Vec<u8>, command_line: &str) -> Vec<Piece> {
        let x0 = self.x0.map_or(self.address(), |Address(x0)| x0);
        let files = [trampoline::bytes(x0, KERNEL), image, self.blob(command_line)];
        self.places().into_iter().zip(files).map(|((name, place), bytes)| Piece { name, place, bytes }).collect()
    }

    fn address(&self) -> u64 {
        self.at.map_or(TREE, |Address(at)| at)
    }

    fn blob(&self, command_line: &str) -> Vec<u8> {
        let nops = if self.damage == Some(Damage::Nops) { Nops::Everywhere } else { Nops::None };
        let mut tree = Writer::new(nops);
        tree.begin("").cells("#address-cells", &[2]).cells("#size-cells", &[2]);
        tree.texts("compatible", &["linux,dummy-virt"]).texts("model", &["a machine of the matrix"]);
        if !self.cpus.is_empty() {
            tree.cells("interrupt-parent", &[GIC]);
        }
        tree.begin("chosen").texts("bootargs", &[command_line]).texts("stdout-path", &["/pl011@9000000"]).end();
        tree.begin("psci").texts("compatible", &["arm,psci-1.0", "arm,psci-0.2"]).texts("method", &["hvc"]).end();
        tree.begin("cpus").cells("#address-cells", &[1]).cells("#size-cells", &[0]);
        for &cpu in if self.cpus.is_empty() { &[0] } else { self.cpus.as_slice() } {
            tree.begin(&format!("cpu@{cpu:x}")).texts("device_type", &["cpu"]).texts("compatible", &["arm,cortex-a57"]);
            tree.cells("reg", &[cpu]).texts("enable-method", &["psci"]).end();
        }
        tree.end();
        if !self.cpus.is_empty() {
            interrupts(&mut tree);
        }
        tree.begin("pl011@9000000").texts("compatible", &["arm,pl011", "arm,primecell"]);
        tree.longs("reg", &[0x900_0000, 0x1000]).end();
        for (ranges, (start, size)) in each(&self.memory) {
            tree.begin(&format!("memory@{start:x}")).texts("device_type", &["memory"]).longs("reg", &[start, size]);
            if let Node(Some(node)) = ranges.what {
                tree.cells("numa-node-id", &[node]);
            }
            tree.end();
        }
        if !self.reserved.is_empty() {
            tree.begin("reserved-memory").cells("#address-cells", &[2]).cells("#size-cells", &[2]);
            tree.bytes("ranges", &[]);
            for (ranges, (start, size)) in each(&self.reserved) {
                tree.begin(&format!("{}@{start:x}", ranges.what.name)).longs("reg", &[start, size]);
                if ranges.what.no_map {
                    tree.bytes("no-map", &[]);
                }
                tree.end();
            }
            tree.end();
        }
        if self.damage == Some(Damage::Depth) {
            for _ in 0..TOO_DEEP {
                tree.begin("deeper");
            }
            for _ in 0..TOO_DEEP {
                tree.end();
            }
        }
        tree.end();
        self.damaged(tree.finish())
    }

    fn damaged(&self, mut blob: Vec<u8>) -> Vec<u8> {
        let half = blob.len() / 2;
        let mut set = |at: usize, value: u32| blob[at..at + 4].copy_from_slice(&value.to_be_bytes());
        match self.damage {
            Some(Damage::Truncated) => {
                set(fdt::TOTAL_SIZE, half as u32);
                blob.truncate(half);
            }
            Some(Damage::HalfZero) => blob[half..].fill(0),
            Some(Damage::StructureOffset) => set(fdt::STRUCTURE_OFFSET, 0xffff_fff8),
            Some(Damage::StringsOffset) => set(fdt::STRINGS_OFFSET, 0x10_0000),
            Some(Damage::Size) => set(fdt::TOTAL_SIZE, u32::MAX),
            Some(Damage::Depth | Damage::Nops) | None => {}
        }
        blob
    }
}

/// The interrupt controller's handle.
const GIC: u32 = 1;

/// What `virt` has of a GIC of version 2, and its timers.
fn interrupts(tree: &mut Writer) {
    tree.begin("intc@8000000").texts("compatible", &["arm,cortex-a15-gic"]).bytes("interrupt-controller", &[]);
    tree.cells("#interrupt-cells", &[3]).cells("phandle", &[GIC]);
    tree.longs("reg", &[0x800_0000, 0x1_0000, 0x801_0000, 0x1_0000]).end();
    // Secure, not secure, virtual, of a hypervisor: private to each CPU, and high while it waits.
    let timers = [13, 14, 11, 10].map(|number| [1, number, 4]);
    tree.begin("timer").texts("compatible", &["arm,armv8-timer"]).cells("interrupts", timers.as_flattened()).end();
}

/// Every range, with what it is one of.
fn each<W>(list: &[Ranges<W>]) -> impl Iterator<Item = (&Ranges<W>, (u64, u64))> {
    list.iter().flat_map(|ranges| ranges.iter().map(move |range| (ranges, range)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Tree {
        toml::from_str(text).unwrap()
    }

    fn holds(blob: &[u8], part: &[u8]) -> bool {
        blob.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn the_tree_says_what_the_matrix_says() {
        let tree = tree("memory = ['1G 512M node 3', '2G 4K 2 times every 8K']\nreserved = ['1G 64K kept no-map']");
        let blob = tree.blob("selftest");
        let reg = |start: u64, size: u64| [start, size].map(u64::to_be_bytes).concat();
        for part in [&b"memory@40000000\0"[..], b"memory@80002000\0", b"kept@40000000\0", b"selftest\0", b"no-map\0"] {
            assert!(holds(&blob, part));
        }
        assert!(holds(&blob, &reg(1 << 30, 512 << 20)) && holds(&blob, &reg((2 << 30) + 0x2000, 0x1000)));
    }

    #[test]
    fn x0_and_the_trees_place_are_the_matrixs() {
        let pieces = |text: &str| tree(text).pieces(vec![0; 64], "");
        let [trampoline, _, blob] = &pieces("memory = []\nat = '0x50000000'")[..] else { panic!() };
        assert_eq!((trampoline.place, blob.place), (Place::Start(0x4010_0000), Place::Memory(0x5000_0000)));
        assert_eq!(trampoline.bytes, trampoline::bytes(0x5000_0000, KERNEL));
        let elsewhere = &pieces("memory = []\nx0 = '0x0'")[0];
        assert_eq!(elsewhere.bytes, trampoline::bytes(0, KERNEL));
    }

    #[test]
    fn each_damage_is_in_its_place() {
        let blob = |damage: &str| tree(&format!("memory = ['1G 1G']\n{damage}")).blob("");
        let sound = blob("");
        let word = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let truncated = blob("damage = 'truncated'");
        assert_eq!((truncated.len(), word(&truncated, 4) as usize), (sound.len() / 2, sound.len() / 2));
        assert_eq!(blob("damage = 'half-zero'")[..40], sound[..40]);
        for (damage, at) in [("structure-offset", 8), ("strings-offset", 12), ("size", 4)] {
            let damaged = blob(&format!("damage = '{damage}'"));
            assert_ne!(word(&damaged, at), word(&sound, at));
            assert_eq!((&damaged[..at], &damaged[at + 4..]), (&sound[..at], &sound[at + 4..]));
        }
        assert_eq!(blob("damage = 'depth'").windows(7).filter(|name| name == b"deeper\0").count(), 100);
    }
}
