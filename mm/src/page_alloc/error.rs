//! Why pages are not handed out or not taken back.

use crate::addr::{Order, Pfn};
use crate::model::PageState;
use core::fmt;

/// Why no block was handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllocError {
    /// No zone that may serve the request can spare a block of this order.
    NoMemory {
        /// The order.
        order: Order,
    },
    /// There is no such node.
    NoNode,
    /// An untouched granule could not be described: the records of its first frame could not be mapped.
    Memmap(Pfn),
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory { order } => write!(f, "out of memory: no block of order {order}"),
            Self::NoNode => f.write_str("no such node"),
            Self::Memmap(pfn) => write!(f, "the memmap of frame {:#x} cannot be mapped", pfn.as_u64()),
        }
    }
}

impl core::error::Error for AllocError {}

/// Why a block was not taken back. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FreeError {
    /// It is free already.
    DoubleFree {
        /// The free block that holds it.
        head: Pfn,
    },
    /// It was never handed out as pages: it belongs to somebody else.
    NotAllocated {
        /// What it is.
        state: PageState,
    },
    /// It was handed out in another order.
    WrongOrder {
        /// This one.
        allocated: Order,
    },
    /// It lies inside a block that was handed out.
    NotHead {
        /// The first frame of the block.
        head: Pfn,
        /// The order of the block.
        order: Order,
    },
    /// It is no RAM.
    Foreign,
    /// The record of the frame is damaged.
    Corrupt,
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoubleFree { head } => write!(f, "double free: it is in the free block at {:#x}", head.as_u64()),
            Self::NotAllocated { state } => write!(f, "it was not handed out: it is {state}"),
            Self::WrongOrder { allocated } => write!(f, "it was handed out with order {allocated}"),
            Self::NotHead { head, order } => {
                write!(f, "it lies inside the block of order {order} at {:#x}", head.as_u64())
            }
            Self::Foreign => f.write_str("it is no RAM"),
            Self::Corrupt => f.write_str("its record is damaged"),
        }
    }
}

impl core::error::Error for FreeError {}
