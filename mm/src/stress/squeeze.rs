//! Taking nearly everything, and giving it back.
//!
//! A squeeze asks for the largest blocks as long as there are any, then for smaller ones down to single pages, then the
//! same again urgently. So the zones that it may take from are at their watermarks, all of their granules are carved,
//! and for some steps other requests fail or go to other nodes. The blocks need no list: the first words of each say
//! where the next one is, on two chains in turn, so that neighbours come back apart from each other. Those words and
//! the last one follow from the seed, so a block that somebody else writes to is noticed.
//!
//! On a machine with much memory a squeeze ends early, and reaches the watermarks of small zones only: all of a large
//! machine's memory is not this run's to touch.

use super::Stress;
use super::contents::Mismatch;
use super::failure::{Found, Problem};
use super::random::{Random, mix};
use super::tally::Tally;
use super::ticket::Origin;
use crate::addr::{Order, Pfn};
use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::page_alloc::{Gfp, Urgency};
use crate::zone::ZoneKind;

/// Bytes that a squeeze takes at most.
const MOST_BYTES: u64 = 1 << 30;
/// Blocks that it takes at most.
const MOST_BLOCKS: u64 = 4096;

/// The first words of a block on a chain: the next block's frame number and one (0: none), its own order, and a word
/// that follows from both and is written at the end of the block too.
const LINK_WORDS: usize = 3;

/// Blocks that are held, on two chains.
#[derive(Debug)]
pub(super) struct Squeeze {
    chains: [u64; 2],
    /// The step that took them.
    origin: Origin,
}

impl Squeeze {
    /// Takes what there is.
    pub(super) fn new<A: Arch, M: MemoryModel<A>>(
        stress: &Stress<'_, A, M>,
        random: &mut Random,
        origin: Origin,
        tally: &mut Tally,
    ) -> Result<Self, Found> {
        let mut squeeze = Self { chains: [0; 2], origin };
        let zone = random.pick(&ZoneKind::ALL, ZoneKind::Normal);
        let gfp = Gfp { zone, ..Gfp::KERNEL }.on(stress.node_wish(random));
        let (mut bytes, mut blocks) = (0, 0);
        for urgency in [Urgency::Normal, Urgency::Atomic] {
            let gfp = Gfp { urgency, ..gfp };
            for order in Order::all().rev() {
                while blocks < MOST_BLOCKS && bytes < MOST_BYTES && !stress.stopped() {
                    match stress.mm.pages.alloc(order, gfp) {
                        Ok(pfn) => {
                            stress.expect_block(pfn, order, gfp)?;
                            squeeze.push(stress, pfn, order);
                        }
                        Err(error) => {
                            stress.expect_refusal(error, order, gfp).map_err(|problem| problem.at(0))?;
                            break;
                        }
                    }
                    bytes += order.frames() << A::PAGE_SHIFT;
                    blocks += 1;
                }
            }
        }
        tally.squeezes += 1;
        tally.squeezed += blocks;
        tally.digest(blocks);
        Ok(squeeze)
    }

    fn push<A: Arch, M: MemoryModel<A>>(&mut self, stress: &Stress<'_, A, M>, pfn: Pfn, order: Order) {
        let [chain, other] = self.chains;
        let proof = proof(stress.config.seed, pfn, chain, order);
        let words = stress.mm.pages.access().phys_ptr(pfn.address(A::PAGE_SHIFT)).cast::<u64>();
        let last = ((order.frames() << A::PAGE_SHIFT) / 8 - 1) as usize;
        // SAFETY: the block was just handed out and is larger than its link; `last` is its last word.
        unsafe {
            words.cast::<[u64; LINK_WORDS]>().write([chain, u64::from(order.as_u8()), proof]);
            words.add(last).write(proof);
        }
        // The other chain is next.
        self.chains = [other, pfn.as_u64() + 1];
    }

    /// Gives all of it back.
    pub(super) fn end<A: Arch, M: MemoryModel<A>>(
        self,
        stress: &Stress<'_, A, M>,
        tally: &mut Tally,
    ) -> Result<(), Found> {
        for chain in self.chains {
            let mut at = chain;
            while let Some(pfn) = at.checked_sub(1).map(Pfn::new) {
                let address = pfn.address(A::PAGE_SHIFT);
                let words = stress.mm.pages.access().phys_ptr(address).cast::<u64>();
                // SAFETY: the block is on a chain of this squeeze, which holds it, so its link was written.
                let [next, order, proved] = unsafe { words.cast::<[u64; LINK_WORDS]>().read() };
                let order = u8::try_from(order).ok().and_then(Order::new).unwrap_or(Order::MAX);
                let expected = proof(stress.config.seed, pfn, next, order);
                let overwritten = |offset, found| {
                    Found::contents(Mismatch { offset, expected, found }, address.as_u64(), self.origin)
                };
                if proved != expected {
                    return Err(overwritten(16, proved));
                }
                let last = (order.frames() << A::PAGE_SHIFT) - 8;
                // SAFETY: the link is as it was written, so the block is of this order.
                let found = unsafe { words.add(last as usize / 8).read() };
                if found != expected {
                    return Err(overwritten(last, found));
                }
                tally.checked += 1;
                // SAFETY: the block came from these pages, is on one chain, once, and nobody follows that any more.
                let freed = unsafe { stress.mm.pages.free(pfn, order) };
                freed.map_err(|error| Problem::Free(error).at(address.as_u64()))?;
                at = next;
            }
        }
        Ok(())
    }
}

/// The word that shows that a link is as it was written.
const fn proof(seed: u64, pfn: Pfn, next: u64, order: Order) -> u64 {
    mix(mix(mix(seed ^ pfn.as_u64()) ^ next) ^ order.as_u8() as u64)
}
