//! Memblock against a bitmap that knows nothing of regions, against all small layouts, and in the cases in which early
//! memory code has really failed.
//!
//! `cargo test -p tessera-mm --test memblock` takes seconds. The long run is
//! `cargo test --release -p tessera-mm --test memblock -- --ignored`. See `random` for how a failure is repeated.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail like tests")]

mod allocations;
mod changes;
mod events;
mod exhaustive;
mod growth;
mod limits;
mod oracle;
#[path = "../ram/mod.rs"]
mod ram;
mod random;

use mm::addr::{PhysAddr, PhysRange};
use mm::machine::Owner;
use mm::memblock::{Memblock, NodeWish, Request};
use ram::Access;

pub(crate) fn range(start: u64, end: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
}

pub(crate) fn bounds(range: PhysRange) -> (u64, u64) {
    (range.start().as_u64(), range.end().as_u64())
}

pub(crate) fn memory(memblock: &Memblock<Access<'_>>) -> Vec<(u64, u64)> {
    memblock.memory().iter().map(|region| bounds(region.range())).collect()
}

pub(crate) fn reserved(memblock: &Memblock<Access<'_>>) -> Vec<(u64, u64)> {
    memblock.reserved().iter().map(|region| bounds(region.range())).collect()
}

pub(crate) fn request(size: u64, align: u64) -> Request {
    Request { size, align, within: PhysRange::ALL, node: NodeWish::Any, owner: Owner::new("test") }
}
