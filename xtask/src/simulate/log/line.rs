//! One line of a log: what the kernel printed, without what came before it on the way.
//!
//! Between a kernel and a file stand time stamps, log levels, the caller, the names of host and program, quote marks of
//! mails, and colours of terminals. They are of too many kinds to be listed, so nothing is stripped: each message is
//! looked for by the words that begin it, wherever they stand in the line, at the start or behind a blank.

use std::borrow::Cow;

/// `line` without the sequences that colour a terminal.
pub(super) fn without_colours(line: &str) -> Cow<'_, str> {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default();
    if first.len() == line.len() {
        return Cow::Borrowed(line);
    }
    // A sequence ends with a letter; one that is cut takes the rest with it.
    let text =
        parts.map(|part| part.split_once(|letter: char| letter.is_ascii_alphabetic()).map_or("", |(_, text)| text));
    Cow::Owned(std::iter::once(first).chain(text).collect())
}

/// What follows `words` in `line`, when they begin the line or stand behind a blank, a bracket or a mark.
pub(super) fn after<'a>(line: &'a str, words: &str) -> Option<&'a str> {
    let mut from = 0;
    loop {
        let at = from + line.get(from..)?.find(words)?;
        let before = line.get(..at)?.chars().next_back();
        if before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_' && letter != '-') {
            return line.get(at + words.len()..);
        }
        from = at + words.len().max(1);
    }
}

/// Reads numbers and words from the front of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// Steps over blanks, then `word`.
    pub(super) fn skip(&mut self, word: &str) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(word)?;
        Some(())
    }

    /// A number in base 10.
    pub(super) fn decimal<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.digits(|letter| letter.is_ascii_digit())?.parse().ok()
    }

    /// A number in base 16, with `0x` before it or without.
    pub(super) fn hex(&mut self) -> Option<u64> {
        let text = self.rest.trim_start();
        self.rest = text.strip_prefix("0x").unwrap_or(text);
        u64::from_str_radix(self.digits(|letter| letter.is_ascii_hexdigit())?, 16).ok()
    }

    fn digits(&mut self, is_digit: impl Fn(char) -> bool) -> Option<&'a str> {
        let text = self.rest.trim_start();
        let end = text.find(|letter| !is_digit(letter)).unwrap_or(text.len());
        let (digits, rest) = text.split_at_checked(end)?;
        self.rest = rest;
        (!digits.is_empty()).then_some(digits)
    }

    /// What stands before `mark`, and steps over it.
    pub(super) fn until(&mut self, mark: &str) -> Option<&'a str> {
        let (before, rest) = self.rest.split_once(mark)?;
        self.rest = rest;
        Some(before)
    }

    /// The rest, without blanks and a carriage return around it.
    pub(super) fn rest(self) -> &'a str {
        self.rest.trim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_behind_whatever_stands_before_them() {
        for line in [
            "node   0: x",
            "[    0.000000]   node   0: x",
            "<6>[    0.000000][    T0]   node   0: x",
            "Jan 01 00:00:00 host kernel:   node   0: x",
            "kern  :info  : [    0.000000]   node   0: x",
            "> > [    0.0] node   0: x\r",
        ] {
            assert_eq!(after(line, "node   0:").map(str::trim), Some("x"), "{line}");
        }
        assert_eq!(without_colours("\u{1b}[32m[ 0.0] \u{1b}[0;1mnode\u{1b}[3"), "[ 0.0] node");
        assert_eq!(after("supernode 0: x, node 0: y", "node 0:").map(str::trim), Some("y"));
        assert_eq!(after("supernode 0: x", "node 0:"), None);
        assert_eq!(after("é node 0", "node 0"), Some(""));
    }

    #[test]
    fn numbers_are_read_and_what_is_none_is_none() {
        let mut cursor = Cursor::new(" 12 [mem 0x1f-ff] rest \r");
        assert_eq!(cursor.decimal::<u32>(), Some(12));
        assert_eq!(cursor.skip("[mem"), Some(()));
        assert_eq!((cursor.hex(), cursor.skip("-"), cursor.hex()), (Some(0x1f), Some(()), Some(0xff)));
        assert_eq!((cursor.until("]"), cursor.rest()), (Some(""), "rest"));
        assert_eq!(Cursor::new("0x1ffffffffffffffff").hex(), None);
        assert_eq!(Cursor::new("99999").decimal::<u8>(), None);
        assert_eq!(Cursor::new("").hex(), None);
    }
}
