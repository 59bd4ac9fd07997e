//! The nodes of a device tree by their paths, so that a report can name what it speaks of.
//!
//! The blob has been through the gate of `platform::firmware::fdt`, and the crate that reads it there reads it here.

use anyhow::{Result, anyhow};
use fdt::Fdt;
use fdt::node::FdtNode;
use platform::firmware::fdt::Blob;

/// Nodes that lie deeper are not looked at.
const MAX_DEPTH: usize = 32;

/// A node.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) path: String,
    properties: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Node<'a> {
    /// The value of a property.
    pub(super) fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.properties.iter().find(|(property, _)| *property == name).map(|(_, value)| *value)
    }

    /// The strings of a property.
    pub(super) fn strings(&self, name: &str) -> Vec<&'a str> {
        let value = self.value(name).unwrap_or_default();
        let strings = value.split(|&byte| byte == 0).filter_map(|string| std::str::from_utf8(string).ok());
        strings.filter(|string| !string.is_empty()).collect()
    }

    /// The first string of a property.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.strings(name).first().copied()
    }

    /// The number of one cell that is a property.
    pub(super) fn cell(&self, name: &str) -> Option<u32> {
        self.value(name)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// Whether it is in use.
    pub(super) fn is_okay(&self) -> bool {
        self.value("status").is_none() || matches!(self.text("status"), Some("okay" | "ok"))
    }

    /// Whether it lies right below the node at `path`.
    pub(super) fn is_child_of(&self, path: &str) -> bool {
        let below = self.path.strip_prefix(path).and_then(|rest| rest.strip_prefix('/'));
        below.is_some_and(|name| !name.is_empty() && !name.contains('/'))
    }
}

/// Every node, parents before their children; the root's path is empty.
///
/// # Errors
/// When the crate refuses what the gate let through.
pub(super) fn nodes<'a>(blob: &Blob<'a>) -> Result<Vec<Node<'a>>> {
    let fdt = Fdt::new(blob.bytes()).map_err(|error| anyhow!("device tree: {error:?}"))?;
    let mut nodes = Vec::new();
    if let Some(root) = fdt.all_nodes().next() {
        add(&mut nodes, String::new(), root, 0);
    }
    Ok(nodes)
}

fn add<'a>(nodes: &mut Vec<Node<'a>>, path: String, node: FdtNode<'_, 'a>, depth: usize) {
    let properties = node.properties().map(|property| (property.name, property.value)).collect();
    nodes.push(Node { path: path.clone(), properties });
    if depth < MAX_DEPTH {
        for child in node.children() {
            add(nodes, format!("{path}/{}", child.name), child, depth + 1);
        }
    }
}
