//! The header of a device tree, as far as the loader has to know it: how many bytes there are to hand over.

use core::fmt;

/// Bytes of what [`size`] reads.
pub const HEADER: usize = 8;

const MAGIC: u32 = 0xd00d_feed;
/// A header, and nothing behind it.
const LEAST: u32 = 40;
/// No kernel takes more: Linux's boot protocol for arm64 has this limit, and Tessera keeps it.
const MOST: u32 = 2 << 20;

/// Why a device tree is not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeError {
    /// It begins with this number.
    Magic(u32),
    /// It says that it has this many bytes.
    Size(u32),
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(magic) => write!(f, "it begins with {magic:#010x}, not {MAGIC:#010x}"),
            Self::Size(size) if *size > MOST => write!(f, "it has {size} bytes, and no kernel takes more than {MOST}"),
            Self::Size(size) => write!(f, "it says that it has {size} bytes"),
        }
    }
}

/// The size of the device tree that begins with these bytes.
///
/// # Errors
/// When it is none, or one that no kernel takes.
pub fn size(header: [u8; HEADER]) -> Result<usize, TreeError> {
    let [m0, m1, m2, m3, s0, s1, s2, s3] = header;
    let (magic, size) = (u32::from_be_bytes([m0, m1, m2, m3]), u32::from_be_bytes([s0, s1, s2, s3]));
    if magic != MAGIC {
        return Err(TreeError::Magic(magic));
    }
    usize::try_from(size).ok().filter(|_| (LEAST..=MOST).contains(&size)).ok_or(TreeError::Size(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(magic: u32, size: u32) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&magic.to_be_bytes());
        bytes[4..].copy_from_slice(&size.to_be_bytes());
        bytes
    }

    #[test]
    fn a_tree_is_what_a_kernel_takes() {
        for bytes in [40, 0x1234, 2 << 20] {
            assert_eq!(size(header(0xd00d_feed, bytes)), Ok(bytes as usize));
        }
        for bytes in [0, 39, (2 << 20) + 1, 16 << 20, u32::MAX] {
            assert_eq!(size(header(0xd00d_feed, bytes)), Err(TreeError::Size(bytes)));
        }
        assert_eq!(size(header(0xedfe_0dd0, 40)), Err(TreeError::Magic(0xedfe_0dd0)));
    }

    #[test]
    fn the_line_says_what_is_wrong() {
        let line = |magic, bytes| size(header(magic, bytes)).unwrap_err().to_string();
        assert_eq!(line(0, 40), "it begins with 0x00000000, not 0xd00dfeed");
        assert_eq!(line(0xd00d_feed, 8), "it says that it has 8 bytes");
        assert_eq!(line(0xd00d_feed, 3 << 20), "it has 3145728 bytes, and no kernel takes more than 2097152");
    }
}
