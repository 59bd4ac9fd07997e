//! Nodes and the values of their properties, over a checked blob.
//!
//! The gate vouches for the tree's shape, not for what a property says: each function here takes any value and gives
//! `None` for what cannot be.

use super::Blob;
use arrayvec::ArrayVec;
use fdt::node::FdtNode;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::Problem;

/// What follows a number in a property's value.
type Rest<'a> = &'a [u8];

/// How many 32-bit cells addresses and sizes take in a node's children.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cells {
    pub(super) address: u32,
    pub(super) size: u32,
}

impl Cells {
    /// What `node` says of its children; what it does not say is 2 and 1, by the specification.
    pub(super) fn of(node: FdtNode<'_, '_>) -> Self {
        Self { address: cell(node, "#address-cells").unwrap_or(2), size: cell(node, "#size-cells").unwrap_or(1) }
    }

    /// The ranges that `value`, a `reg`, lists; or which cell count makes it unreadable.
    pub(super) fn ranges(self, value: &[u8]) -> Result<Ranges<'_>, Problem> {
        for (what, value) in [("#address-cells", self.address), ("#size-cells", self.size)] {
            if !(1..=2).contains(&value) {
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
        Some(PhysRange::from_size(PhysAddr::new(start), size).ok_or(Problem::Wraps { start, size }))
    }
}

/// The big-endian number in the first `cells` cells of `bytes` (at most two), and the rest.
pub(super) fn take(bytes: &[u8], cells: u32) -> Option<(u64, Rest<'_>)> {
    match cells {
        0 => Some((0, bytes)),
        1 => bytes.split_first_chunk().map(|(chunk, rest)| (u32::from_be_bytes(*chunk).into(), rest)),
        2 => bytes.split_first_chunk().map(|(chunk, rest)| (u64::from_be_bytes(*chunk), rest)),
        _ => None,
    }
}

/// The value of a property.
pub(super) fn value<'a>(node: FdtNode<'_, 'a>, name: &str) -> Option<&'a [u8]> {
    node.property(name).map(|property| property.value)
}

/// The number that is the whole value of a property: one cell.
pub(super) fn cell(node: FdtNode<'_, '_>, name: &str) -> Option<u32> {
    value(node, name)
        .filter(|value| value.len() == 4)
        .and_then(|value| value.first_chunk())
        .copied()
        .map(u32::from_be_bytes)
}

/// The number that is the whole value of a property: one cell or two.
pub(super) fn number(node: FdtNode<'_, '_>, name: &str) -> Option<u64> {
    let value = value(node, name)?;
    let cells = u32::try_from(value.len() / 4).ok()?;
    take(value, cells).filter(|(_, rest)| cells > 0 && rest.is_empty()).map(|(number, _)| number)
}

/// The strings that are the value of a property.
pub(super) fn strings<'a>(node: FdtNode<'_, 'a>, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let value = value(node, name).unwrap_or_default();
    let value = value.strip_suffix(&[0]).unwrap_or(value);
    value.split(|&byte| byte == 0).filter_map(|string| core::str::from_utf8(string).ok())
}

/// The first string that is the value of a property.
pub(super) fn text<'a>(node: FdtNode<'_, 'a>, name: &str) -> Option<&'a str> {
    strings(node, name).next().filter(|text| !text.is_empty())
}

/// Whether the node is in use, by its `status`.
pub(super) fn is_okay(node: FdtNode<'_, '_>) -> bool {
    match node.property("status") {
        Some(_) => matches!(text(node, "status"), Some("okay" | "ok")),
        None => true,
    }
}

/// Nodes from the root to one below it; paths that are longer are not resolved.
pub(super) type Path<'b, 'a> = ArrayVec<FdtNode<'b, 'a>, 16>;

impl<'a> Blob<'a> {
    pub(super) fn root(&self) -> Option<FdtNode<'_, 'a>> {
        self.fdt.all_nodes().next()
    }

    /// The child of the root called `name`.
    pub(super) fn top(&self, name: &str) -> Option<FdtNode<'_, 'a>> {
        self.root()?.children().find(|node| node.name == name)
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

/// Where the first address of the last node's `reg` is, as the CPU sees it: translated by the `ranges` of every node
/// between it and the root. `None` where one of them does not say, or more than two cells make an address.
pub(super) fn address(nodes: &Path<'_, '_>) -> Option<PhysAddr> {
    let (&node, above) = nodes.split_last()?;
    let &parent = above.last()?;
    let mut cells = Cells::of(parent);
    let (mut address, _) = take(value(node, "reg")?, cells.address).filter(|_| cells.address > 0)?;
    for pair in above.windows(2).rev() {
        let &[outer, bus] = pair else { break };
        let outer_cells = Cells::of(outer);
        address = translate(value(bus, "ranges")?, cells, outer_cells.address, address)?;
        cells = outer_cells;
    }
    Some(PhysAddr::new(address))
}

/// `address` on a bus with these `ranges`, as the bus above sees it. No entry at all means that nothing changes.
fn translate(ranges: &[u8], cells: Cells, outer_address: u32, address: u64) -> Option<u64> {
    if ranges.is_empty() {
        return Some(address);
    }
    if cells.address == 0 || cells.size == 0 || outer_address == 0 {
        return None;
    }
    let mut rest = ranges;
    while !rest.is_empty() {
        let (from, after) = take(rest, cells.address)?;
        let (to, after) = take(after, outer_address)?;
        let (size, after) = take(after, cells.size)?;
        if let Some(offset) = address.checked_sub(from).filter(|&offset| offset < size) {
            return to.checked_add(offset);
        }
        rest = after;
    }
    None
}
