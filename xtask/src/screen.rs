//! Firmware and boot loaders write to a terminal: they clear it, choose colours, and put letters where they want them.
//! Here that becomes plain lines. A line ends where the text does, or where the cursor goes to the first column.

use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};

/// A terminal that keeps no picture.
#[derive(Default)]
pub(crate) struct Screen {
    parser: Parser<DefaultCharAccumulator>,
    /// Something stands in the line that the cursor is in.
    written: bool,
}

impl Screen {
    /// What a reader should see of these bytes.
    pub(crate) fn plain(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Plain { out: Vec::with_capacity(bytes.len()), written: self.written };
        for byte in bytes {
            self.parser.advance(&mut plain, *byte);
        }
        self.written = plain.written;
        plain.out
    }
}

struct Plain {
    out: Vec<u8>,
    written: bool,
}

impl Plain {
    fn end_line(&mut self) {
        if self.written {
            self.out.push(b'\n');
            self.written = false;
        }
    }
}

impl Perform for Plain {
    fn print(&mut self, letter: char) {
        self.out.extend(letter.encode_utf8(&mut [0; 4]).bytes());
        self.written = true;
    }

    fn execute(&mut self, byte: u8) {
        if matches!(byte, b'\n' | b'\r' | b'\t') {
            self.out.push(byte);
            self.written &= byte != b'\n';
        }
    }

    fn csi_dispatch(&mut self, parameters: &Params, _: &[u8], _: bool, action: u8) {
        // Row and column; one that is left out or 0 is the first.
        let column = parameters.iter().nth(1).and_then(|column| column.first()).copied().unwrap_or(1);
        match action {
            b'H' | b'f' if column <= 1 => self.end_line(),
            b'J' => self.end_line(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(pieces: &[&str]) -> String {
        let mut screen = Screen::default();
        let out: Vec<u8> = pieces.iter().flat_map(|piece| screen.plain(piece.as_bytes())).collect();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_only_a_terminal_understands_is_left_out() {
        let firmware =
            "\x1b[2J\x1b[01;01H\x1b[=3h\x1b[2J\x1b[01;01HBdsDxe: loading Boot0001\r\n\x1b[1m\x1b[33mMap\x1b[0m\r\n";
        assert_eq!(plain(&[firmware]), "BdsDxe: loading Boot0001\r\nMap\r\n");
        assert_eq!(plain(&["\x1b", "[2", "J\x1b[0", "1;01Hlo", "ader\r", "\n"]), "loader\r\n");
    }

    #[test]
    fn letters_that_are_put_one_by_one_make_a_line() {
        let limine = "\x1b[01;01Hl\x1b[01;02Ho\x1b[01;03Ha\x1b[01;04Hd\x1b[02;01HT\r\n";
        assert_eq!(plain(&[limine]), "load\nT\r\n");
        assert_eq!(plain(&["a\x1b[Hb\x1b[2Jc"]), "a\nb\nc");
    }

    #[test]
    fn what_the_kernel_says_stays_as_it_is() {
        let line = "[    0.000000] Tessera 0.1.0 on x86_64\n\tµ\n";
        assert_eq!(plain(&[line]), line);
    }
}
