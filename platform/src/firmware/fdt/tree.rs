//! Nodes and the values of their properties, over a checked blob.
//!
//! The gate vouches for the tree's shape, not for what a property says: each function here takes any value and gives
//! `None` for what cannot be. Numbers of up to four cells are read whole, into 128 bits: a bus may number its addresses
//! so (PCI puts the kind of space into a third cell), and what of them must fit a physical address is then checked
//! instead of cut. A node that does not state the cells of its children has those of the node above it, and a root that
//! does not, has one and one. Linux: `of_read_number`, `of_bus_n_addr_cells`.

use super::Blob;
use arrayvec::ArrayVec;
use fdt::node::FdtNode;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::Problem;

/// Cells of the widest number that is read.
const MAX_CELLS: u32 = 4;

/// What follows a number in a property's value.
type Rest<'a> = &'a [u8];

/// How many 32-bit cells addresses and sizes take in a node's children.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cells {
    pub(super) address: u32,
    pub(super) size: u32,
}

impl Cells {
    /// Where nobody states any. The specification would have 2 and 1; Linux's readers have this.
    const UNSTATED: Self = Self { address: 1, size: 1 };

    /// What the root says of its children.
    pub(super) fn of_root(root: FdtNode<'_, '_>) -> Self {
        Self::UNSTATED.of(root)
    }

    /// What `node` says of its children, where `self` is what the node above it says of its own.
    pub(super) fn of(self, node: FdtNode<'_, '_>) -> Self {
        Self {
            address: cell(node, "#address-cells").unwrap_or(self.address),
            size: cell(node, "#size-cells").unwrap_or(self.size),
        }
    }

    /// Bytes of an address and a size together.
    pub(super) fn pair_bytes(self) -> u64 {
        (u64::from(self.address) + u64::from(self.size)) * 4
    }

    /// The ranges that `value`, a `reg`, lists; or which cell count makes it unreadable.
    pub(super) fn ranges(self, value: &[u8]) -> Result<Ranges<'_>, Problem> {
        for (what, value) in [("#address-cells", self.address), ("#size-cells", self.size)] {
            if !(1..=MAX_CELLS).contains(&value) {
                return Err(Problem::Value { what, value: value.into() });
            }
        }
        Ok(Ranges { cells: self, rest: value })
    }
}

/// Pairs of start and size, as a `reg` lists them. What is left over at its end is an error.
pub(super) struct Ranges<'a> {
    cells: Cells,
    rest: &'a [u8],
}

impl Iterator for Ranges<'_> {
    type Item = Result<PhysRange, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let pair = take(self.rest, self.cells.address)
            .and_then(|(start, rest)| take(rest, self.cells.size).map(|(size, rest)| (start, size, rest)));
        let Some((start, size, rest)) = pair else {
            let stated = self.rest.len() as u64;
            self.rest = &[];
            return Some(Err(Problem::Length { stated }));
        };
        self.rest = rest;
        Some(range(start, size))
    }
}

/// The range of `size` bytes from `start`, if there can be one.
fn range(start: u128, size: u128) -> Result<PhysRange, Problem> {
    let start = narrow(start, "the upper half of an address")?;
    let size = narrow(size, "the upper half of a size")?;
    PhysRange::from_size(PhysAddr::new(start), size).ok_or(Problem::Wraps { start, size })
}

/// `number` in 64 bits; otherwise which part of it is too much.
fn narrow(number: u128, upper_half: &'static str) -> Result<u64, Problem> {
    let value = u64::try_from(number >> 64).unwrap_or(u64::MAX);
    u64::try_from(number).map_err(|_| Problem::Value { what: upper_half, value })
}

/// The big-endian number in the first `cells` cells of `bytes`, and the rest; `None` where there are fewer, or where
/// that many are in no number.
pub(super) fn take(bytes: &[u8], cells: u32) -> Option<(u128, Rest<'_>)> {
    if cells > MAX_CELLS {
        return None;
    }
    (0..cells).try_fold((0, bytes), |(number, bytes), _| {
        let (cell, rest) = bytes.split_first_chunk()?;
        Some((number << 32 | u128::from(u32::from_be_bytes(*cell)), rest))
    })
}

/// The value of a property.
pub(super) fn value<'a>(node: FdtNode<'_, 'a>, name: &str) -> Option<&'a [u8]> {
    node.property(name).map(|property| property.value)
}

/// Whether the node has a property of this name, whatever its value.
pub(super) fn has(node: FdtNode<'_, '_>, name: &str) -> bool {
    node.property(name).is_some()
}

/// The number that is the whole value of a property: one cell.
pub(super) fn cell(node: FdtNode<'_, '_>, name: &str) -> Option<u32> {
    value(node, name).and_then(cell_in)
}

/// The number that is the whole of a property's `value`: one cell.
fn cell_in(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

/// The number that is the whole value of a property: one cell or two.
pub(super) fn number(node: FdtNode<'_, '_>, name: &str) -> Option<u64> {
    let value = value(node, name)?;
    let cells = u32::try_from(value.len() / 4).ok()?;
    let (number, _) = take(value, cells).filter(|(_, rest)| (1..=2).contains(&cells) && rest.is_empty())?;
    u64::try_from(number).ok()
}

/// The number of `cells` cells that is the whole value of a property; why it is none. `Ok(None)` without the property.
pub(super) fn sized_number(node: FdtNode<'_, '_>, name: &'static str, cells: u32) -> Result<Option<u64>, Problem> {
    let Some(value) = value(node, name) else { return Ok(None) };
    match take(value, cells) {
        Some((number, [])) if cells > 0 => narrow(number, "the upper half of a number").map(Some),
        _ => Err(Problem::Length { stated: value.len() as u64 }),
    }
}

/// The strings that are the value of a property.
pub(super) fn strings<'a>(node: FdtNode<'_, 'a>, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    strings_in(value(node, name).unwrap_or_default())
}

/// The strings that a property's `value` lists.
fn strings_in(value: &[u8]) -> impl Iterator<Item = &str> {
    let value = value.strip_suffix(&[0]).unwrap_or(value);
    value.split(|&byte| byte == 0).filter_map(|string| core::str::from_utf8(string).ok())
}

/// The first string that is the value of a property.
pub(super) fn text<'a>(node: FdtNode<'_, 'a>, name: &str) -> Option<&'a str> {
    strings(node, name).next().filter(|text| !text.is_empty())
}

/// Whether `node` is what a driver for `wanted` drives.
pub(super) fn is_compatible(node: FdtNode<'_, '_>, wanted: &str) -> bool {
    strings(node, "compatible").any(|string| string == wanted)
}

/// Whether the node is in use, by its `status`.
pub(super) fn is_okay(node: FdtNode<'_, '_>) -> bool {
    says_okay(value(node, "status"))
}

/// Whether a node with this `status` is in use.
fn says_okay(status: Option<&[u8]>) -> bool {
    status.is_none_or(|status| matches!(strings_in(status).next(), Some("okay" | "ok")))
}

/// What every walk asks of every node, read at once: each look for one property reads those before it, and their names.
#[derive(Clone, Copy, Default)]
pub(super) struct Label<'a> {
    compatible: &'a [u8],
    status: Option<&'a [u8]>,
    phandle: Option<&'a [u8]>,
    /// The older name of the same.
    linux_phandle: Option<&'a [u8]>,
}

impl<'a> Label<'a> {
    fn of(node: FdtNode<'_, 'a>) -> Self {
        let (mut label, mut compatible) = (Self::default(), None);
        for property in node.properties() {
            let place = match property.name {
                "compatible" => &mut compatible,
                "status" => &mut label.status,
                "phandle" => &mut label.phandle,
                "linux,phandle" => &mut label.linux_phandle,
                _ => continue,
            };
            // The first of a name is the one that counts.
            place.get_or_insert(property.value);
        }
        Self { compatible: compatible.unwrap_or_default(), ..label }
    }

    /// Whether the node is in use.
    pub(super) fn is_okay(&self) -> bool {
        says_okay(self.status)
    }

    /// The strings of its `compatible`.
    pub(super) fn compatible(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        strings_in(self.compatible)
    }

    /// The number by which others name it.
    pub(super) fn phandle(&self) -> Option<u32> {
        self.phandle.and_then(cell_in).or_else(|| self.linux_phandle.and_then(cell_in))
    }
}

/// Nodes from the root to one below it; paths that are longer are not resolved.
pub(super) type Path<'b, 'a> = ArrayVec<FdtNode<'b, 'a>, 16>;

impl<'a> Blob<'a> {
    pub(super) fn root(&self) -> Option<FdtNode<'_, 'a>> {
        self.fdt.all_nodes().next()
    }

    /// The first child of the root called `name`, with or without a unit address.
    pub(super) fn top(&self, name: &str) -> Option<FdtNode<'_, 'a>> {
        self.root()?.children().find(|node| node.name.split('@').next() == Some(name))
    }

    /// What `each` makes of the first path that it takes, of all that lead to a node in use: parents before children,
    /// and as deep as a path can be.
    pub(super) fn find_path<'b, T>(
        &'b self,
        each: &mut dyn FnMut(&Path<'b, 'a>, &Label<'a>) -> Option<T>,
    ) -> Option<T> {
        self.walk(&mut |path, label| if label.is_okay() { each(path, label) } else { None })
    }

    /// As [`Blob::find_path`], but shows `each` nodes that are not in use, too; not what is below them.
    pub(super) fn walk<'b, T>(&'b self, each: &mut dyn FnMut(&Path<'b, 'a>, &Label<'a>) -> Option<T>) -> Option<T> {
        let mut path = Path::new();
        path.try_push(self.root()?).ok()?;
        find_below(&mut path, each)
    }

    /// The nodes on the way to `path`, which begins with a slash or with an alias.
    pub(super) fn resolve(&self, path: &str) -> Option<Path<'_, 'a>> {
        let mut nodes = Path::new();
        nodes.try_push(self.root()?).ok()?;
        let rest = if path.starts_with('/') {
            path
        } else {
            let (alias, rest) = path.split_once('/').unwrap_or((path, ""));
            // An alias stands for a whole path, never for another alias.
            let target = text(self.top("aliases")?, alias).filter(|target| target.starts_with('/'))?;
            descend(&mut nodes, target)?;
            rest
        };
        descend(&mut nodes, rest)?;
        Some(nodes)
    }
}

/// As [`Blob::walk`], from the last node of `path` on.
fn find_below<'b, 'a, T>(
    path: &mut Path<'b, 'a>,
    each: &mut dyn FnMut(&Path<'b, 'a>, &Label<'a>) -> Option<T>,
) -> Option<T> {
    let &node = path.last()?;
    let mut label = Label::of(node);
    if path.len() == 1 {
        // The root is there whatever it says of itself.
        label.status = None;
    }
    if let Some(found) = each(path, &label) {
        return Some(found);
    }
    if !label.is_okay() {
        return None;
    }
    for child in node.children() {
        path.try_push(child).ok()?;
        let found = find_below(path, each);
        path.pop();
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Follows `path` down from the last of `nodes`. A component without a unit address takes the first child of that name.
fn descend(nodes: &mut Path<'_, '_>, path: &str) -> Option<()> {
    for component in path.split('/').filter(|component| !component.is_empty()) {
        let parent = *nodes.last()?;
        let named =
            |name: &str| name == component || (!component.contains('@') && name.split('@').next() == Some(component));
        let child = parent.children().find(|child| named(child.name))?;
        nodes.try_push(child).ok()?;
    }
    Some(())
}
