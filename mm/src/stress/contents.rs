//! What is written into a block that is held, and looked at again before it is given back.
//!
//! Each word that is written says whose block it is: it follows from the block's tag (seed, address, who took it, at
//! which step) and the word's place, so no two blocks hold the same, and none what it held before. Small blocks are
//! written whole. Of a page it is the first and the last word and one a cache line or so between; of each page
//! of a larger block the first, the last, and one between that follows from the tag.
//!
//! Costs: at most 66 words for a block up to a page, three for each page of a larger one.

use super::random::mix;

/// Words of a block up to a page that are written, besides the last.
const WORDS_OF_PAGE: u64 = 64;

/// A word is not what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mismatch {
    /// Bytes from the beginning of the block.
    pub(super) offset: u64,
    pub(super) expected: u64,
    pub(super) found: u64,
}

/// The words of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contents {
    /// Bytes of the block.
    pub(super) bytes: u64,
    /// Bytes of a page, a power of two above 64.
    pub(super) page: u64,
    /// What its words follow from.
    pub(super) tag: u64,
}

impl Contents {
    /// The word at `offset`.
    const fn word(&self, offset: u64) -> u64 {
        mix(self.tag.wrapping_add(offset))
    }

    /// Calls `each` with the offset of every word that counts, and with its bytes: 8, or fewer at the end of a block that
    /// ends inside a word.
    fn try_for_each_word<E>(&self, mut each: impl FnMut(u64, u64) -> Result<(), E>) -> Result<(), E> {
        let words = self.bytes / 8;
        if self.bytes <= self.page {
            let stride = words.div_ceil(WORDS_OF_PAGE).max(1);
            let mut word = 0;
            while word < words {
                each(word * 8, 8)?;
                word += stride;
            }
            if stride > 1 && !(words - 1).is_multiple_of(stride) {
                each((words - 1) * 8, 8)?;
            }
        } else {
            let between = self.page / 8 - 2;
            let (mut start, mut number) = (0, self.tag);
            while start + self.page <= self.bytes {
                number = mix(number);
                each(start, 8)?;
                each(start + 8 + number % between * 8, 8)?;
                each(start + self.page - 8, 8)?;
                start += self.page;
            }
            if start + 8 <= self.bytes {
                each(start, 8)?;
                let last = (words - 1) * 8;
                if last > start {
                    each(last, 8)?;
                }
            }
        }
        if self.bytes.is_multiple_of(8) { Ok(()) } else { each(words * 8, self.bytes % 8) }
    }

    /// Writes the block.
    ///
    /// # Safety
    /// `at` leads to each byte of the block by its offset, and to all of the aligned word around it that belongs to the
    /// block; a block begins at a multiple of 8. Nobody else uses it.
    pub(super) unsafe fn fill(&self, at: impl Fn(u64) -> *mut u8) {
        let written = self.try_for_each_word::<core::convert::Infallible>(|offset, bytes| {
            let word = self.word(offset);
            let first = at(offset);
            // SAFETY: the word lies inside the block, as the caller says, and is aligned if it is whole.
            unsafe {
                match bytes {
                    8 => first.cast::<u64>().write(word.to_le()),
                    _ => first.copy_from_nonoverlapping(word.to_le_bytes().as_ptr(), bytes as usize),
                }
            }
            Ok(())
        });
        let Ok(()) = written;
    }

    /// Looks whether the block holds what [`Contents::fill`] wrote.
    ///
    /// # Safety
    /// As [`Contents::fill`], and that was called for it.
    pub(super) unsafe fn check(&self, at: impl Fn(u64) -> *mut u8) -> Result<(), Mismatch> {
        // SAFETY: the caller says the same.
        unsafe { self.compare(at, |offset| self.word(offset)) }
    }

    /// As [`Contents::check`], of the first `end` bytes alone.
    ///
    /// # Safety
    /// As [`Contents::check`], but `at` need lead to these only.
    pub(super) unsafe fn check_up_to(&self, at: impl Fn(u64) -> *mut u8, end: u64) -> Result<(), Mismatch> {
        self.try_for_each_word(|offset, bytes| {
            if offset + bytes > end {
                return Ok(());
            }
            // SAFETY: the caller says so of the first `end` bytes.
            unsafe { self.compare_word(&at, offset, bytes, self.word(offset)) }
        })
    }

    /// Looks whether the block is zero, as far as [`Contents::fill`] will write it.
    ///
    /// # Safety
    /// As [`Contents::fill`], and all of it was written before.
    pub(super) unsafe fn check_zero(&self, at: impl Fn(u64) -> *mut u8) -> Result<(), Mismatch> {
        // SAFETY: the caller says the same.
        unsafe { self.compare(at, |_| 0) }
    }

    /// # Safety
    /// As [`Contents::fill`]; the words that count were written before.
    unsafe fn compare(&self, at: impl Fn(u64) -> *mut u8, word: impl Fn(u64) -> u64) -> Result<(), Mismatch> {
        // SAFETY: the caller says the same.
        self.try_for_each_word(|offset, bytes| unsafe { self.compare_word(&at, offset, bytes, word(offset)) })
    }

    /// # Safety
    /// `at` leads to the word at `offset`, of which `bytes` bytes, at most 8, were written before.
    unsafe fn compare_word(
        &self,
        at: &impl Fn(u64) -> *mut u8,
        offset: u64,
        bytes: u64,
        word: u64,
    ) -> Result<(), Mismatch> {
        let mut found = [0; 8];
        // SAFETY: the caller says that they are there.
        unsafe { at(offset).copy_to_nonoverlapping(found.as_mut_ptr(), bytes as usize) };
        let found = u64::from_le_bytes(found);
        let expected = word & u64::MAX >> (64 - bytes * 8);
        if found == expected { Ok(()) } else { Err(Mismatch { offset, expected, found }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(bytes: u64, page: u64) -> Vec<(u64, u64)> {
        let mut found = vec![];
        let contents = Contents { bytes, page, tag: 9 };
        let Ok(()) = contents.try_for_each_word::<core::convert::Infallible>(|offset, bytes| {
            found.push((offset, bytes));
            Ok(())
        });
        found
    }

    #[test]
    fn every_block_is_written_from_its_first_to_its_last_byte_and_not_behind_it() {
        for page in [4096, 16384, 65536] {
            let few = if cfg!(miri) { 97 } else { 1 };
            for bytes in (1..3000).step_by(few).chain([4096, 5000, 8192, 16384, 65536, 65537, 196_609, 4 << 20]) {
                let found = offsets(bytes, page);
                assert_eq!(found[0].0, 0, "{bytes}");
                let last = found[found.len() - 1];
                assert_eq!(last.0 + last.1, bytes, "of {bytes} bytes in pages of {page}");
                assert!(found.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{bytes}: {found:?}");
                assert!(found.iter().all(|&(offset, length)| offset % 8 == 0 && (length == 8 || offset == last.0)));
                let most = if bytes <= page { 67 } else { bytes / page * 3 + 3 };
                assert!(found.len() as u64 <= most, "{} words of {bytes} bytes", found.len());
                if bytes <= 512 {
                    assert_eq!(found.iter().map(|&(_, length)| length).sum::<u64>(), bytes);
                }
            }
        }
    }

    #[test]
    fn one_bit_that_changed_is_found_where_it_is() {
        for bytes in [1, 7, 8, 13, 512, 4096, 8193] {
            let mut memory = vec![0u64; 2048];
            let first = memory.as_mut_ptr().cast::<u8>();
            let at = |offset: u64| first.wrapping_add(offset as usize);
            let contents = Contents { bytes, page: 4096, tag: 77 };
            // SAFETY: the vector is larger than the block, aligned to 8, and nobody else's.
            unsafe {
                assert_eq!(contents.check_zero(at), Ok(()));
                contents.fill(at);
                assert_eq!(contents.check(at), Ok(()));
                assert_eq!(*at(bytes), 0, "written behind the end");
                let other = Contents { tag: 78, ..contents };
                assert!(other.check(at).is_err() && contents.check_zero(at).is_err());
                *at(bytes - 1) ^= 0x80;
                let found = contents.check(at).unwrap_err();
                assert_eq!(found.offset, (bytes - 1) / 8 * 8);
                assert_eq!((found.found ^ found.expected).count_ones(), 1);
            }
        }
    }
}
