//! A look at what a blob's root calls itself, where the blob lies, before anything of it is checked or mapped.
//!
//! For the first character alone: which console may be touched then depends on the board. So nothing that stands there
//! is believed further than the next read, every loop ends after a fixed number of steps, and no read leaves the blob
//! that the header states. The root's properties stand before its children, so its `compatible` is among the first
//! tokens. Where it is not, or is longer than [`LONGEST`], nothing is known. Cost: some 20 short reads. Format:
//! Devicetree Specification, chapter 5.

use super::gate::{BEGIN_NODE, HEADER, MAGIC, NOP, PROP};
use crate::read::PhysRead;
use arrayvec::ArrayVec;
use mm::addr::PhysAddr;

/// Tokens that are looked at, and words of the root's name.
const STEPS: usize = 64;
/// How far from its begin a blob is read, whatever it says: Linux's boot protocol has none that is longer.
const REACH: u64 = 2 << 20;
/// The longest `compatible` that is taken.
pub(super) const LONGEST: usize = 256;

const COMPATIBLE: &[u8; 11] = b"compatible\0";

/// What a root calls itself: strings, best first.
#[derive(Clone, Debug)]
pub struct RootCompatible(ArrayVec<u8, LONGEST>);

impl RootCompatible {
    /// Its strings, as far as they are text.
    pub fn strings(&self) -> impl Iterator<Item = &str> {
        self.0.split(|&byte| byte == 0).filter_map(|string| str::from_utf8(string).ok())
    }
}

/// The `compatible` of the root of the blob at `at`, if there seems to be one.
pub fn root_compatible(at: PhysAddr, read: &mut dyn PhysRead) -> Option<RootCompatible> {
    if !at.is_aligned(8) {
        return None;
    }
    let mut look = Look { at, size: HEADER.into(), read };
    if look.word(0)? != MAGIC {
        return None;
    }
    look.size = u64::from(look.word(4)?).min(REACH);
    let mut next = u64::from(look.word(8)?);
    let strings = u64::from(look.word(12)?);
    let mut steps = 0..STEPS;
    // The root's name is empty, but for one word of zeros; some tools wrote another.
    let mut in_root = false;
    while steps.next().is_some() {
        let token = look.word(next)?;
        next += 4;
        match token {
            NOP => {}
            BEGIN_NODE if !in_root => {
                in_root = true;
                while look.bytes::<4>(next)?.iter().all(|&byte| byte != 0) {
                    steps.next()?;
                    next += 4;
                }
                next += 4;
            }
            PROP if in_root => {
                let [length, name] = [look.word(next)?, look.word(next + 4)?];
                let value = next + 8;
                next = value + u64::from(length).next_multiple_of(4);
                // A list of strings ends with a zero, which spares most other properties' names.
                let last = u64::from(length).checked_sub(1);
                let listed = last.is_some_and(|last| look.bytes(value + last) == Some([0]));
                if listed && look.bytes(strings + u64::from(name)).as_ref() == Some(COMPATIBLE) {
                    let mut found = ArrayVec::from([0; LONGEST]);
                    found.truncate(length as usize);
                    return (found.len() as u64 == length.into() && look.fill(value, &mut found))
                        .then_some(RootCompatible(found));
                }
            }
            _ => return None,
        }
    }
    None
}

/// A blob that lies at `at` and says that it has `size` bytes.
struct Look<'r> {
    at: PhysAddr,
    size: u64,
    read: &'r mut dyn PhysRead,
}

impl Look<'_> {
    /// Reads the bytes from `offset` on, if they are the blob's.
    fn fill(&mut self, offset: u64, into: &mut [u8]) -> bool {
        let inside = offset.checked_add(into.len() as u64).is_some_and(|end| end <= self.size);
        let at = self.at.checked_add(offset).filter(|_| inside);
        at.is_some_and(|at| self.read.read(at, into).is_ok())
    }

    fn bytes<const N: usize>(&mut self, offset: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(offset, &mut bytes).then_some(bytes)
    }

    fn word(&mut self, offset: u64) -> Option<u32> {
        self.bytes(offset).map(u32::from_be_bytes)
    }
}
