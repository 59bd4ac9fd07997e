//! The memory that everything is built in: one contiguous piece, handed out from its start and never given back.
//!
//! Page tables and answers hold physical addresses and the addresses of the kernel's half; this type knows the physical
//! address of its first byte, and all of it is written through it, as bytes. So the same code builds them before the
//! firmware's end, after it, and on the host.

/// The memory is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A piece of memory at a known physical address.
pub struct Pool<'a> {
    bytes: &'a mut [u8],
    start: u64,
    used: usize,
}

impl<'a> Pool<'a> {
    /// All of `bytes`, whose first has the physical address `start`.
    pub fn new(bytes: &'a mut [u8], start: u64) -> Self {
        Self { bytes, start, used: 0 }
    }

    /// The physical address of `size` bytes that are zero; the address is a multiple of `align`, a power of two.
    ///
    /// # Errors
    /// When they are not there.
    pub fn take(&mut self, size: u64, align: u64) -> Result<u64, Full> {
        let here = self.start.checked_add(self.used as u64).ok_or(Full)?;
        let at = here.checked_next_multiple_of(align.max(1)).ok_or(Full)?;
        let end = at.checked_add(size).and_then(|end| usize::try_from(end - self.start).ok()).ok_or(Full)?;
        let from = usize::try_from(at - self.start).map_err(|_| Full)?;
        self.bytes.get_mut(from..end).ok_or(Full)?.fill(0);
        self.used = end;
        Ok(at)
    }

    /// The same with `bytes` in it and a zero after them.
    ///
    /// # Errors
    /// When there is no room.
    pub fn text(&mut self, bytes: &[u8]) -> Result<u64, Full> {
        let at = self.take(bytes.len() as u64 + 1, 1)?;
        self.write(at, bytes);
        Ok(at)
    }

    /// The same with `words` in it, aligned to 8.
    ///
    /// # Errors
    /// When there is no room.
    pub fn words(&mut self, words: &[u64]) -> Result<u64, Full> {
        let at = self.take(words.len() as u64 * 8, 8)?;
        for (place, &word) in (0..).zip(words) {
            self.set(at + place * 8, word);
        }
        Ok(at)
    }

    /// Puts `bytes` at a physical address that was taken before. What is outside stays as it is.
    pub fn write(&mut self, at: u64, bytes: &[u8]) {
        if let Some(target) = self.place(at).and_then(|from| self.bytes.get_mut(from..)?.get_mut(..bytes.len())) {
            target.copy_from_slice(bytes);
        }
    }

    /// Puts one word at a physical address that was taken before.
    pub fn set(&mut self, at: u64, word: u64) {
        self.write(at, &word.to_le_bytes());
    }

    /// The word at a physical address; 0 where nothing was taken.
    pub fn get(&self, at: u64) -> u64 {
        let word = self.place(at).and_then(|from| self.bytes.get(from..)?.first_chunk());
        u64::from_le_bytes(word.copied().unwrap_or_default())
    }

    /// Bytes that are taken.
    pub fn used(&self) -> usize {
        self.used
    }

    fn place(&self, at: u64) -> Option<usize> {
        at.checked_sub(self.start).and_then(|offset| usize::try_from(offset).ok())
    }
}
