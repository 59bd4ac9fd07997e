//! Walks a tree and says what does not fit.

#![forbid(unsafe_code)]

use super::{DEEPEST, Store, Tree, gap_before, height, told_by_children};
use crate::addr::VirtAddr;
use arrayvec::ArrayVec;
use core::fmt;

/// What does not fit in the tree of areas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeProblem {
    /// The area begins before the one before it ends, or leaves the space.
    Overlap,
    /// The gap before it is not what the node says.
    Gap,
    /// Height, longest gap or balance of its subtree are not what its children say.
    Subtree,
    /// There are more or fewer areas than were counted.
    Count,
}

impl fmt::Display for TreeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlap => "the area overlaps the one before it, or leaves the space",
            Self::Gap => "the gap before the area is counted wrong",
            Self::Subtree => "the area's place in the tree is wrong",
            Self::Count => "areas are lost, or there twice",
        })
    }
}

impl<R: Copy + Eq> Tree<R> {
    /// Walks all of it in order, and gives `each` every node.
    pub(in super::super) fn verify(
        &self,
        store: &impl Store<R>,
        each: &mut dyn FnMut(R),
    ) -> Result<(), (VirtAddr, TreeProblem)> {
        let mut above = ArrayVec::<R, DEEPEST>::new();
        let (mut at, mut end, mut found) = (self.root, self.space.start(), 0);
        loop {
            while let Some(node) = at {
                let links = store.links(node);
                above.try_push(node).map_err(|_| (links.range.start(), TreeProblem::Subtree))?;
                at = links.left;
            }
            let Some(node) = above.pop() else { break };
            let links = store.links(node);
            let fault = |problem| Err((links.range.start(), problem));
            found += 1;
            if found > self.count {
                return fault(TreeProblem::Count);
            }
            if links.range.start() < end || links.range.is_empty() || !self.space.contains_range(links.range) {
                return fault(TreeProblem::Overlap);
            }
            if gap_before(links).start() != end {
                return fault(TreeProblem::Gap);
            }
            let apart = height(store, links.left).abs_diff(height(store, links.right));
            if told_by_children(store, node) != (links.height, links.longest) || apart > 1 {
                return fault(TreeProblem::Subtree);
            }
            each(node);
            end = links.range.end();
            at = links.right;
        }
        if found != self.count {
            return Err((self.space.start(), TreeProblem::Count));
        }
        if end == self.last_end { Ok(()) } else { Err((end, TreeProblem::Gap)) }
    }
}
