//! Reading physical memory, by copy and with every address checked.
//!
//! Firmware readers take a `&mut dyn PhysRead` and nothing else, so a wild pointer in a table is an error they handle,
//! not a fault. A kernel implements the trait over a few fixmap windows and later over the direct map; a host program
//! over a [`MemoryImage`]. Reads are small (at most a few KiB), need no alignment, and may cross pages.
//!
//! Multi-byte values are little-endian, as all tables here but the device tree are (which is read as a slice, not
//! through this trait). Linux: `early_memremap`, `early_ioremap`.

use core::fmt;
use mm::addr::PhysAddr;

/// Nothing can be read at this address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// The address that was asked for.
    pub at: PhysAddr,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing can be read at {:#x}", self.at)
    }
}

impl core::error::Error for Unreadable {}

/// A way to read physical memory.
pub trait PhysRead {
    /// Fills `into` with the bytes from `at` on.
    ///
    /// # Errors
    /// [`Unreadable`] when some byte of them is not memory, or past the end of the address space. `into` may then hold
    /// anything.
    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> Result<(), Unreadable>;

    /// The byte at `at`.
    ///
    /// # Errors
    /// As [`PhysRead::read`].
    fn read_u8(&mut self, at: PhysAddr) -> Result<u8, Unreadable> {
        let mut bytes = [0];
        self.read(at, &mut bytes)?;
        Ok(u8::from_le_bytes(bytes))
    }

    /// The little-endian 16-bit value at `at`.
    ///
    /// # Errors
    /// As [`PhysRead::read`].
    fn read_u16(&mut self, at: PhysAddr) -> Result<u16, Unreadable> {
        let mut bytes = [0; 2];
        self.read(at, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// The little-endian 32-bit value at `at`.
    ///
    /// # Errors
    /// As [`PhysRead::read`].
    fn read_u32(&mut self, at: PhysAddr) -> Result<u32, Unreadable> {
        let mut bytes = [0; 4];
        self.read(at, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// The little-endian 64-bit value at `at`.
    ///
    /// # Errors
    /// As [`PhysRead::read`].
    fn read_u64(&mut self, at: PhysAddr) -> Result<u64, Unreadable> {
        let mut bytes = [0; 8];
        self.read(at, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl<R: PhysRead + ?Sized> PhysRead for &mut R {
    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> Result<(), Unreadable> {
        (**self).read(at, into)
    }
}

/// Physical memory made of slices, for hosts: dumped tables, tests. A read may cross from one piece to the next.
#[derive(Clone, Copy, Debug)]
pub struct MemoryImage<'a> {
    pieces: &'a [(PhysAddr, &'a [u8])],
}

impl<'a> MemoryImage<'a> {
    /// The memory that consists of `pieces`, each at its address. Where two overlap, the first in the list is read.
    #[must_use]
    pub const fn new(pieces: &'a [(PhysAddr, &'a [u8])]) -> Self {
        Self { pieces }
    }

    /// As many bytes as one piece has from `at` on.
    fn at(&self, at: PhysAddr) -> Option<&'a [u8]> {
        self.pieces.iter().find_map(|&(start, bytes)| {
            let offset = usize::try_from(at.checked_sub(start)?).ok()?;
            bytes.get(offset..).filter(|rest| !rest.is_empty())
        })
    }
}

impl PhysRead for MemoryImage<'_> {
    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> Result<(), Unreadable> {
        let last = into.len().saturating_sub(1) as u64;
        at.checked_add(last).ok_or(Unreadable { at })?;
        let mut done = 0;
        while let Some(left) = into.get_mut(done..).filter(|left| !left.is_empty()) {
            let here = at.checked_add(done as u64).ok_or(Unreadable { at })?;
            let piece = self.at(here).ok_or(Unreadable { at: here })?;
            let count = piece.len().min(left.len());
            // Both are as long as the shorter of the two.
            if let (Some(to), Some(from)) = (left.get_mut(..count), piece.get(..count)) {
                to.copy_from_slice(from);
            }
            done += count;
        }
        Ok(())
    }
}

/// The little-endian 32-bit value at `offset` of `bytes`; zero when it does not lie in them. For fields of a buffer
/// whose length was checked against the kind of structure that it holds.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// As [`u32_at`], for 64 bits.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: [u8; 4] = [1, 2, 3, 4];
    const TWO: [u8; 4] = [5, 6, 7, 8];

    #[test]
    fn a_read_crosses_adjacent_pieces_and_stops_at_a_hole() {
        let pieces = [(PhysAddr::new(0x1004), &TWO[..]), (PhysAddr::new(0x1000), &ONE[..])];
        let mut image = MemoryImage::new(&pieces);
        assert_eq!(image.read_u64(PhysAddr::new(0x1000)), Ok(0x0807_0605_0403_0201));
        assert_eq!(image.read_u32(PhysAddr::new(0x1002)), Ok(0x0605_0403));
        assert_eq!(image.read_u16(PhysAddr::new(0x1007)), Err(Unreadable { at: PhysAddr::new(0x1008) }));
        assert_eq!(image.read_u8(PhysAddr::new(0xfff)), Err(Unreadable { at: PhysAddr::new(0xfff) }));
        assert_eq!(image.read(PhysAddr::new(0), &mut []), Ok(()));
    }

    #[test]
    fn a_read_past_the_end_of_the_address_space_is_an_error() {
        let pieces = [(PhysAddr::new(u64::MAX - 1), &ONE[..])];
        let mut image = MemoryImage::new(&pieces);
        assert_eq!(image.read_u16(PhysAddr::new(u64::MAX - 1)), Ok(0x0201));
        assert!(image.read_u32(PhysAddr::new(u64::MAX - 1)).is_err());
    }
}
