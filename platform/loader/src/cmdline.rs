//! The kernel's command line: a text file with one line.

use core::fmt;

/// Bytes that a command line may have. The kernel may take fewer; a larger file is none.
pub const MAX_BYTES: usize = 64 * 1024;

/// The file holds no command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandLineError {
    /// It is larger than [`MAX_BYTES`].
    Long,
    /// It has text on more than one line.
    Lines,
    /// It holds a byte that ends or spoils a text.
    Control {
        /// That byte.
        byte: u8,
        /// Where it stands.
        at: usize,
    },
}

impl fmt::Display for CommandLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long => write!(f, "has more than {MAX_BYTES} bytes"),
            Self::Lines => f.write_str("has more than one line"),
            Self::Control { byte, at } => write!(f, "holds the byte {byte:#04x} at {at}, which is no text"),
        }
    }
}

/// The command line in a file, without what surrounds it: spaces, and the line's end in either form.
///
/// # Errors
/// When the file is not one line of text.
pub fn parse(file: &[u8]) -> Result<&[u8], CommandLineError> {
    if file.len() > MAX_BYTES {
        return Err(CommandLineError::Long);
    }
    let line = file.trim_ascii();
    if line.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Err(CommandLineError::Lines);
    }
    let control = |&(_, byte): &(usize, &u8)| byte.is_ascii_control() && *byte != b'\t';
    match file.iter().enumerate().find(|place| control(place) && !matches!(place.1, b'\n' | b'\r' | b'\x0c')) {
        Some((at, &byte)) => Err(CommandLineError::Control { byte, at }),
        None => Ok(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_surrounds_the_line_is_dropped() {
        for file in ["quiet exec=poweroff", "quiet exec=poweroff\n", "  quiet exec=poweroff \r\n\r\n"] {
            assert_eq!(parse(file.as_bytes()), Ok(&b"quiet exec=poweroff"[..]));
        }
        for file in ["", "\n", " \r\n"] {
            assert_eq!(parse(file.as_bytes()), Ok(&b""[..]));
        }
        assert_eq!(parse("a\tb=\u{e4}".as_bytes()), Ok("a\tb=\u{e4}".as_bytes()));
    }

    #[test]
    fn what_is_no_line_is_refused() {
        assert_eq!(parse(b"one\ntwo"), Err(CommandLineError::Lines));
        assert_eq!(parse(b"one\rtwo\n"), Err(CommandLineError::Lines));
        assert_eq!(parse(b"one\0two"), Err(CommandLineError::Control { byte: 0, at: 3 }));
        assert_eq!(parse(b"one\0"), Err(CommandLineError::Control { byte: 0, at: 3 }));
        assert_eq!(parse(&[b'a'; MAX_BYTES + 1]), Err(CommandLineError::Long));
        assert_eq!(parse(&[b'a'; MAX_BYTES]).map(<[u8]>::len), Ok(MAX_BYTES));
    }
}
