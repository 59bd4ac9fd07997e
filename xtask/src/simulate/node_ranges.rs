//! Memory from a kernel's own list, 'Early memory node ranges'.
//!
//! Memblock joins neighbours that agree. So where two ranges of one node touch in the list, they differed in something
//! that the list does not tell; on arm64, where this is seen, that is whether the range is in the direct map. Of the
//! two ways to let a run of touching ranges alternate, the one is taken that leaves out what the log names as `nomap`,
//! and without a word the one that leaves out less memory.

use super::subject::{Held, HeldMapping, NodeRange, Span};

/// The ranges of the list that were not in the direct map, as far as the list gives it away.
pub(super) fn unmapped(ranges: &[NodeRange], held: &[Held]) -> Vec<Span> {
    let mut unmapped = Vec::new();
    for run in ranges.chunk_by(|a, b| a.node == b.node && a.span.touches(b.span)) {
        if run.len() < 2 {
            continue;
        }
        let every_other = |from: usize| run.iter().skip(from).step_by(2).map(|range| range.span);
        let weight = |from: usize| {
            let named: u128 = every_other(from).map(|span| named_unmapped(span, held)).sum();
            let bytes: u128 = every_other(from).map(bytes).sum();
            (std::cmp::Reverse(named), bytes)
        };
        unmapped.extend(every_other(if weight(0) < weight(1) { 0 } else { 1 }));
    }
    unmapped
}

fn bytes(span: Span) -> u128 {
    u128::from(span.last() - span.first()) + 1
}

/// Bytes of `span` that the log names as kept out of the direct map.
fn named_unmapped(span: Span, held: &[Held]) -> u128 {
    let named = held.iter().filter(|held| held.mapping == HeldMapping::Unmapped);
    named.filter_map(|held| held.span.meet(span)).map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(node: u16, first: u64, last: u64) -> NodeRange {
        NodeRange { node, span: Span::new(first, last).unwrap() }
    }

    #[test]
    fn the_smaller_of_two_neighbours_is_left_out() {
        let ranges = [
            range(0, 0x0, 0xffff),
            range(0, 0x1_0000, 0x1_0fff),
            range(0, 0x1_1000, 0xf_ffff),
            range(0, 0x20_0000, 0x2f_ffff),
            range(1, 0x30_0000, 0x3f_ffff),
        ];
        assert_eq!(unmapped(&ranges, &[]), [Span::new(0x1_0000, 0x1_0fff).unwrap()]);
        let named = Held { span: ranges[2].span, owner: "tz".into(), mapping: HeldMapping::Unmapped };
        assert_eq!(unmapped(&ranges, &[named]), [ranges[0].span, ranges[2].span]);
    }
}
