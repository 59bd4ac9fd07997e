//! The gate, the reader, and both under damage.

mod buses;
mod cpus;
mod damage;
mod gate;
mod interrupts;
mod peek;
mod power;
mod reader;
mod regression;
mod reserved;
mod survey;

use super::*;
use crate::firmware::recorder::{Random, Recorder};
use mm::addr::{PhysAddr, PhysRange};
use std::collections::BTreeMap;

const VIRT: &[u8] = include_bytes!("../../../../testdata/virt-numa.dtb");
const NOPS: &[u8] = include_bytes!("../../../../testdata/nops.dtb");
const BARE: &[u8] = include_bytes!("../../../../testdata/bare.dtb");

fn cells(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// Builds blobs, right or wrong.
#[derive(Default)]
pub(crate) struct Builder {
    reserve: Vec<u8>,
    structure: Vec<u8>,
    strings: Vec<u8>,
    names: BTreeMap<String, u32>,
}

impl Builder {
    fn new() -> Self {
        Self::default()
    }

    /// A tree whose root has these cell counts, still open.
    pub(crate) fn root(address: u32, size: u32) -> Self {
        Self::new().begin("").prop("#address-cells", &cells(&[address])).prop("#size-cells", &cells(&[size]))
    }

    fn reserve(mut self, start: u64, size: u64) -> Self {
        self.reserve.extend(start.to_be_bytes());
        self.reserve.extend(size.to_be_bytes());
        self
    }

    fn token(mut self, token: u32) -> Self {
        self.structure.extend(token.to_be_bytes());
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.structure.extend(bytes);
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
        self
    }

    fn begin(self, name: &str) -> Self {
        self.token(1).raw(&[name.as_bytes(), &[0]].concat())
    }

    fn end(self) -> Self {
        self.token(2)
    }

    fn nop(self) -> Self {
        self.token(4)
    }

    fn prop(mut self, name: &str, value: &[u8]) -> Self {
        let next = u32::try_from(self.strings.len()).unwrap();
        let offset = *self.names.entry(name.to_owned()).or_insert(next);
        if offset == next {
            self.strings.extend([name.as_bytes(), &[0]].concat());
        }
        let length = u32::try_from(value.len()).unwrap();
        self.token(3).token(length).token(offset).raw(value)
    }

    fn text(self, name: &str, value: &str) -> Self {
        self.prop(name, &[value.as_bytes(), &[0]].concat())
    }

    /// A whole node without children.
    pub(crate) fn node(self, name: &str, properties: &[(&str, &[u8])]) -> Self {
        properties.iter().fold(self.begin(name), |this, (name, value)| this.prop(name, value)).end()
    }

    fn memory(self, name: &str, reg: &[u32], more: &[(&str, &[u8])]) -> Self {
        let reg = cells(reg);
        let properties = [&[("device_type", &b"memory\0"[..]), ("reg", &reg[..])], more].concat();
        self.node(name, &properties)
    }

    /// `/reserved-memory` as it must be below a root of these cells, still open.
    fn reserved_memory(self, address: u32, size: u32) -> Self {
        let this = self.begin("reserved-memory").prop("#address-cells", &cells(&[address]));
        this.prop("#size-cells", &cells(&[size])).prop("ranges", &[])
    }

    /// The blob as it stands, without closing anything.
    fn open(self, version: u32) -> Vec<u8> {
        let reserve = [self.reserve, vec![0; 16]].concat();
        let structure_at = 40 + reserve.len();
        let strings_at = structure_at + self.structure.len();
        let total = strings_at + self.strings.len();
        let size = if version >= 17 { self.structure.len() as u32 } else { 0xdead_beef };
        let header = cells(&[
            0xd00d_feed,
            total as u32,
            structure_at as u32,
            strings_at as u32,
            40,
            version,
            16,
            0,
            self.strings.len() as u32,
            size,
        ]);
        [header, reserve, self.structure, self.strings].concat()
    }

    /// The blob, its root closed.
    pub(crate) fn done(self) -> Vec<u8> {
        self.end().token(9).open(17)
    }
}

fn range(start: u64, end: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
}

/// What a blob says.
fn described(mut bytes: Vec<u8>) -> Recorder {
    let blob = check(&mut bytes).unwrap();
    Recorder::of(|sink| blob.describe(sink))
}

/// Name and properties.
type Listed<'a> = (&'a str, Vec<(&'a str, &'a [u8])>);

/// Every node, with every property.
fn listing<'a>(blob: &Blob<'a>) -> Vec<Listed<'a>> {
    let properties = |node: fdt::node::FdtNode<'_, 'a>| node.properties().map(|prop| (prop.name, prop.value)).collect();
    blob.fdt.all_nodes().map(|node| (node.name, properties(node))).collect()
}
