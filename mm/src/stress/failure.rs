//! What went wrong: one value, which prints as one line.

#![forbid(unsafe_code)]

use super::contents::Mismatch;
use super::ticket::Origin;
use crate::addr::Order;
use crate::mm::Fault;
use crate::page_alloc::{AllocError, FreeError, PageInfo};
use crate::slab::{KfreeError, SlabError};
use crate::vmalloc::{VfreeError, VmallocError};
use crate::zone::ZoneIndex;
use core::fmt;

/// Where in a run something happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Before the first step.
    Start,
    /// In this step of this CPU's run; CPUs are counted as in the run, from 0.
    Step {
        /// Which CPU of the run.
        cpu: u32,
        /// Which step of it.
        step: u64,
    },
    /// In the interrupt with this number.
    Interrupt(u64),
    /// After the last step.
    End,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("at the start"),
            Self::Step { cpu, step } => write!(f, "CPU {cpu}, step {step}"),
            Self::Interrupt(number) => write!(f, "interrupt {number}"),
            Self::End => f.write_str("at the end"),
        }
    }
}

/// What is counted at the start and at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// Frames of a zone that are free, untouched, page tables, or of kernel virtual ranges.
    FreeOfZone(ZoneIndex),
    /// The same of all zones.
    Free,
    /// Frames handed out.
    Allocated,
    /// Frames of slabs.
    Slab,
    /// Frames of large `kmalloc` blocks.
    Large,
    /// Frames reserved before there was an allocator.
    Reserved,
    /// Frames of memmap, future ones too.
    Memmap,
    /// Objects handed out.
    Objects,
    /// Slabs.
    Slabs,
    /// Kernel virtual ranges.
    Areas,
    /// Pages that they have.
    AreaPages,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FreeOfZone(zone) => return write!(f, "free frames of zone {}", zone.as_u16()),
            Self::Free => "free frames",
            Self::Allocated => "frames handed out",
            Self::Slab => "frames of slabs",
            Self::Large => "frames of large blocks",
            Self::Reserved => "reserved frames",
            Self::Memmap => "frames of memmap",
            Self::Objects => "objects handed out",
            Self::Slabs => "slabs",
            Self::Areas => "kernel virtual ranges",
            Self::AreaPages => "pages of kernel virtual ranges",
        })
    }
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// A block that somebody holds does not hold what was written into it.
    Contents {
        /// Bytes from the beginning of the block to the word.
        offset: u64,
        /// What was written.
        expected: u64,
        /// What is there.
        found: u64,
        /// Who took the block and wrote it.
        origin: Place,
    },
    /// A block that was asked for cleared is not.
    NotZero {
        /// Bytes from the beginning of the block to the word.
        offset: u64,
        /// What is there.
        found: u64,
    },
    /// A block that was handed out is none, or of another order, or in a zone that was not asked for.
    Misplaced {
        /// The order that was asked for.
        order: Order,
        /// What the allocator says of its first frame.
        found: PageInfo,
    },
    /// An object that was handed out is none, or is not aligned as it was asked for; a kernel virtual range is none, or
    /// too small.
    NotAnObject,
    /// What nobody can have was handed out.
    Granted,
    /// Pages were refused for another reason than can be.
    Pages(AllocError),
    /// Pages were refused although a zone had some to spare.
    Withheld {
        /// The order that was asked for.
        order: Order,
        /// This zone.
        zone: ZoneIndex,
    },
    /// Objects were refused for another reason than can be.
    Objects(SlabError),
    /// A kernel virtual range was refused for another reason than can be.
    Areas(VmallocError),
    /// A kernel virtual range that somebody holds was not taken back.
    Vfree(VfreeError),
    /// Pages that somebody holds were not taken back.
    Free(FreeError),
    /// An object that somebody holds was not taken back.
    Kfree(KfreeError),
    /// A free that cannot be right was not refused by its name.
    WrongFree,
    /// There is another number of something at the end than at the start.
    Lost {
        /// Of what.
        what: Count,
        /// How many at the start.
        before: u64,
        /// How many at the end.
        after: u64,
    },
    /// A walk over everything found a fault.
    Verify(Fault),
    /// The run has no such CPU.
    NoCpu,
    /// This CPU of the run has begun already, or it has not ended yet.
    Busy,
}

/// The first thing that went wrong in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What is wrong.
    pub problem: Problem,
    /// The block that it is about: its physical address, or its virtual one if it is a kernel virtual range; 0 if it
    /// is about none.
    pub address: u64,
    /// Who found it, and when.
    pub place: Place,
    /// The seed of the run.
    pub seed: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {:#x}, {}", self.seed, self.place)?;
        if self.address != 0 {
            write!(f, ", block at {:#x}", self.address)?;
        }
        f.write_str(": ")?;
        match self.problem {
            Problem::Contents { offset, expected, found, origin } => {
                write!(f, "byte {offset:#x} should hold {expected:#018x} ({origin}), but holds {found:#018x}")
            }
            Problem::NotZero { offset, found } => write!(f, "byte {offset:#x} of a cleared block holds {found:#018x}"),
            Problem::Misplaced { order, found } => {
                write!(f, "handed out for a request of order {order} that it does not fit: {found}")
            }
            Problem::NotAnObject => f.write_str("handed out, but no object or range, or misaligned"),
            Problem::Granted => f.write_str("what nobody can have was handed out"),
            Problem::Pages(error) => write!(f, "pages refused: {error}"),
            Problem::Withheld { order, zone } => {
                write!(f, "order {order} refused, although zone {} can spare it", zone.as_u16())
            }
            Problem::Objects(error) => write!(f, "object refused: {error}"),
            Problem::Areas(error) => write!(f, "range refused: {error}"),
            Problem::Vfree(error) => write!(f, "range not taken back: {error}"),
            Problem::Free(error) => write!(f, "pages not taken back: {error}"),
            Problem::Kfree(error) => write!(f, "object not taken back: {error}"),
            Problem::WrongFree => f.write_str("a free that cannot be right was not refused by its name"),
            Problem::Lost { what, before, after } => write!(f, "{before} {what} at the start, {after} at the end"),
            Problem::Verify(fault) => write!(f, "{fault}"),
            Problem::NoCpu => f.write_str("the run has no such CPU"),
            Problem::Busy => f.write_str("the CPU has run already, or is still running"),
        }
    }
}

impl core::error::Error for Failure {}

/// What is wrong with which block; who found it is added where that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) problem: Problem,
    pub(super) address: u64,
}

impl Found {
    /// A word of the block at `address` is not what its owner wrote.
    pub(super) fn contents(mismatch: Mismatch, address: u64, origin: Origin) -> Self {
        let Mismatch { offset, expected, found } = mismatch;
        Self { problem: Problem::Contents { offset, expected, found, origin: origin.place() }, address }
    }
}

impl Problem {
    /// This, of the block at `address`.
    pub(super) const fn at(self, address: u64) -> Found {
        Found { problem: self, address }
    }
}
