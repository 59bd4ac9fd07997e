//! Sets of nodes: which are possible, online, with memory, with CPUs.
//!
//! A bit a node, 128 bytes, so a set is a value that goes anywhere. Shown as Linux shows lists of nodes: `0-2,5`.
//! Linux: `nodemask_t`, `node_states`, `/sys/devices/system/node/{possible,online,has_memory,has_cpu}`.

#![forbid(unsafe_code)]

use crate::addr::NodeId;
use core::fmt;

const WORDS: usize = NodeId::MAX_COUNT.div_ceil(64);

/// Some of all nodes that there can be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NodeSet([u64; WORDS]);

impl NodeSet {
    /// No node.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// Puts `node` in; a number beyond all nodes changes nothing.
    pub fn insert(&mut self, node: NodeId) {
        if let Some(word) = self.0.get_mut(node.index() / 64) {
            *word |= 1 << (node.index() % 64);
        }
    }

    /// Whether `node` is in.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.0.get(node.index() / 64).is_some_and(|word| word >> (node.index() % 64) & 1 == 1)
    }

    /// How many are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether none is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// Those that are in, ascending.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> {
        (0..).take(NodeId::MAX_COUNT).map(NodeId::new).filter(|node| self.contains(*node))
    }
}

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        let mut set = Self::EMPTY;
        nodes.into_iter().for_each(|node| set.insert(node));
        set
    }
}

impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nodes = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = nodes.next() {
            let mut last = first;
            while let Some(next) = nodes.next_if(|next| next.index() == last.index() + 1) {
                last = next;
            }
            write!(f, "{separator}{first}")?;
            if last != first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_show_runs_and_hold_what_was_put_in() {
        let set = |nodes: &[u16]| nodes.iter().copied().map(NodeId::new).collect::<NodeSet>();
        for (nodes, text) in [
            (&[][..], ""),
            (&[0], "0"),
            (&[2, 1, 0], "0-2"),
            (&[0, 2, 3, 5], "0,2-3,5"),
            (&[63, 64, 1023], "63-64,1023"),
            (&[1024, 65535], ""),
        ] {
            let set = set(nodes);
            assert_eq!(set.to_string(), text);
            assert_eq!(format!("{set:?}"), format!("{{{text}}}"));
            assert_eq!((set.is_empty(), set.len()), (text.is_empty(), set.iter().count()));
            for node in nodes.iter().filter(|node| **node < 1024) {
                assert!(set.contains(NodeId::new(*node)));
            }
        }
        assert!(!set(&[1, 64]).contains(NodeId::new(0)) && !set(&[0]).contains(NodeId::new(64)));
        assert!(!set(&[0]).contains(NodeId::new(1024)));
    }
}
