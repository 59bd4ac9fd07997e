//! Text that a boot loader left in memory, with a zero at its end.
//!
//! It is fetched in pieces that end at multiples of [`PIECE`], so that no read goes past the page that holds the last
//! of it. Where memory ends before the text does, what can be read is used.

use super::BootInfo;
use crate::cmdline::Cmdline;
use crate::read::PhysRead;
use mm::addr::PhysAddr;
use mm::machine::{Problem, Source, Table};

const PIECE: usize = 64;

/// What was fetched of a text.
pub(super) struct Fetched {
    /// How many bytes of it.
    pub(super) length: usize,
    /// Whether its zero was found.
    pub(super) terminated: bool,
    /// Where nothing could be read any more.
    pub(super) unreadable: Option<PhysAddr>,
}

/// Fetches as much as `into` has room for of the text at `at`.
pub(super) fn fetch(at: PhysAddr, read: &mut dyn PhysRead, into: &mut [u8]) -> Fetched {
    let mut fetched = Fetched { length: 0, terminated: false, unreadable: None };
    let mut most = PIECE;
    while let Some(rest) = into.get_mut(fetched.length..).filter(|rest| !rest.is_empty()) {
        let here = at.saturating_add(fetched.length as u64);
        // The remainder is below PIECE, so it fits any integer.
        let to_boundary = PIECE - (here.as_u64() % PIECE as u64) as usize;
        let count = to_boundary.min(rest.len()).min(most);
        let piece = rest.get_mut(..count).unwrap_or_default();
        if let Err(error) = read.read(here, piece) {
            if most > 1 {
                // The text may end before memory does.
                most = 1;
                continue;
            }
            fetched.unreadable = Some(error.at);
            break;
        }
        if let Some(end) = piece.iter().position(|&byte| byte == 0) {
            fetched.length += end;
            fetched.terminated = true;
            break;
        }
        fetched.length += count;
    }
    fetched
}

/// Takes the command line at `at` over; how many bytes it has there, with its zero. Kept out of its callers, so that
/// its buffer is on the stack no longer than it is needed.
#[inline(never)]
pub(super) fn command_line(info: &mut BootInfo<'_>, read: &mut dyn PhysRead, at: PhysAddr) -> u64 {
    let source = Source::whole(Table::CommandLine);
    let mut text = [0; Cmdline::CAPACITY];
    let Fetched { length, terminated, unreadable } = fetch(at, read, &mut text);
    if let Some(at) = unreadable {
        info.warn(source, Problem::Unreadable(at));
    }
    if length == Cmdline::CAPACITY {
        info.warn(source, Problem::TooMany { what: "bytes", limit: Cmdline::CAPACITY as u64 });
    }
    info.cmdline = Cmdline::from_bytes(text.get(..length).unwrap_or_default());
    length as u64 + u64::from(terminated)
}
