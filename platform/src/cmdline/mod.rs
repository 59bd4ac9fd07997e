//! The kernel command line: its items, and the one table of those that mean something here.
//!
//! The text comes from the boot loader (PVH start_info, the device tree's bootargs) and is copied once; bytes that are
//! no UTF-8 become U+FFFD. Items are separated by spaces, `name` or `name=value`; double quotes keep spaces inside an
//! item, around a value (`exec="meminfo; poweroff"`) or around a whole item (`"exec=meminfo; poweroff"`), and are not
//! part of it. `-` and `_` are the same in a name. Where an item is given twice the last one holds, as in Linux, where
//! each calls its handler in turn. Items that no entry of [`PARAMETERS`] names are kept and can be listed.
//!
//! Nothing is stored but the text; each look-up walks it, O(length). Linux: `next_arg` and `parse_args` in
//! `lib/cmdline.c` and `kernel/params.c`.

mod parameters;

pub use parameters::{PARAMETERS, Parameter};

use arrayvec::ArrayString;
use core::fmt;

/// One item of the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item<'a> {
    /// What stands before the first `=`, or the whole item.
    pub name: &'a str,
    /// What stands behind it, without quotes around it; `None` where there is no `=`.
    pub value: Option<&'a str>,
}

impl Item<'_> {
    /// The entry of [`PARAMETERS`] that it names.
    #[must_use]
    pub fn parameter(&self) -> Option<&'static Parameter> {
        PARAMETERS.iter().find(|parameter| same_name(parameter.name, self.name))
    }
}

impl fmt::Display for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) if value.contains(' ') => write!(f, "{}=\"{value}\"", self.name),
            Some(value) => write!(f, "{}={value}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// The kernel command line.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Cmdline {
    text: ArrayString<{ Self::CAPACITY }>,
}

impl Cmdline {
    /// Bytes that are kept; what is longer is cut.
    pub const CAPACITY: usize = 4096;

    /// The empty command line.
    #[must_use]
    pub const fn empty() -> Self {
        Self { text: ArrayString::new_const() }
    }

    /// The command line that is `text`, cut to [`Cmdline::CAPACITY`].
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self::from_bytes(text.as_bytes())
    }

    /// The command line in `bytes`, up to the first zero byte.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut cmdline = Self::empty();
        cmdline.append(bytes.split(|&byte| byte == 0).next().unwrap_or_default());
        cmdline
    }

    /// Appends `bytes`, each sequence in them that is no UTF-8 as one U+FFFD.
    fn append(&mut self, bytes: &[u8]) {
        for chunk in bytes.utf8_chunks() {
            let replacement = if chunk.invalid().is_empty() { None } else { Some(char::REPLACEMENT_CHARACTER) };
            for character in chunk.valid().chars().chain(replacement) {
                if self.text.try_push(character).is_err() {
                    return;
                }
            }
        }
    }

    /// The text as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// All items up to a `--`, behind which nothing is the kernel's.
    pub fn items(&self) -> Items<'_> {
        Items { rest: &self.text }
    }

    /// The values of every item called `name`, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Option<&'a str>> {
        self.items().filter(move |item| same_name(item.name, name)).map(|item| item.value)
    }

    /// The value of the last item called `name`; `None` when there is none, or when it has no value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.items().filter(|item| same_name(item.name, name)).last()?.value
    }

    /// Whether there is an item called `name`, with a value or without.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.items().any(|item| same_name(item.name, name))
    }

    /// The items that no entry of [`PARAMETERS`] names.
    pub fn unknown(&self) -> impl Iterator<Item = Item<'_>> {
        self.items().filter(|item| item.parameter().is_none())
    }
}

impl fmt::Display for Cmdline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cmdline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

/// The items of a command line, see [`Cmdline::items`].
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let text = self.rest.trim_start_matches(is_space);
        let mut quoted = false;
        let end = text.find(|character| {
            if character == '"' {
                quoted = !quoted;
            }
            !quoted && is_space(character)
        });
        let (item, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
        self.rest = rest;
        if item.is_empty() || item == "--" {
            self.rest = "";
            return None;
        }
        let item = unquote(item);
        Some(match item.split_once('=') {
            Some((name, value)) => Item { name, value: Some(unquote(value)) },
            None => Item { name: item, value: None },
        })
    }
}

fn is_space(character: char) -> bool {
    character.is_ascii_whitespace()
}

/// `text` without the quotes around it. A quote that is not closed runs to the end of the text.
fn unquote(text: &str) -> &str {
    match text.strip_prefix('"') {
        Some(inner) => inner.strip_suffix('"').unwrap_or(inner),
        None => text,
    }
}

fn same_name(one: &str, other: &str) -> bool {
    let plain = |byte| if byte == b'-' { b'_' } else { byte };
    one.len() == other.len() && one.bytes().map(plain).eq(other.bytes().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Vec<(String, Option<String>)> {
        let cmdline = Cmdline::new(text);
        cmdline.items().map(|item| (item.name.to_owned(), item.value.map(str::to_owned))).collect()
    }

    fn item(name: &str, value: Option<&str>) -> (String, Option<String>) {
        (name.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn quotes_keep_spaces_around_a_value_and_around_an_item() {
        assert_eq!(
            items("  exec=\"zoneinfo; poweroff\"\tselftest \"exit=a b\" root= x=a\"b c\"d\n"),
            [
                item("exec", Some("zoneinfo; poweroff")),
                item("selftest", None),
                item("exit", Some("a b")),
                item("root", Some("")),
                item("x", Some("a\"b c\"d")),
            ]
        );
    }

    #[test]
    fn an_open_quote_runs_to_the_end() {
        assert_eq!(items("exec=\"a b"), [item("exec", Some("a b"))]);
        assert_eq!(items("\""), [item("", None)]);
    }

    #[test]
    fn nothing_behind_two_dashes_is_the_kernels() {
        assert_eq!(items("a -- b=c"), [item("a", None)]);
    }

    #[test]
    fn the_last_of_an_item_holds_and_dashes_are_underscores() {
        let cmdline = Cmdline::new("mminit-loglevel=1 console=ttyS0 mminit_loglevel=4 console=none");
        assert_eq!(cmdline.get("mminit_loglevel"), Some("4"));
        assert_eq!(cmdline.get("console"), Some("none"));
        assert_eq!(cmdline.all("console").collect::<Vec<_>>(), [Some("ttyS0"), Some("none")]);
        assert_eq!(cmdline.get("exec"), None);
        assert!(!cmdline.has("exec"));
    }

    #[test]
    fn unknown_items_are_listed_as_they_were_given() {
        let cmdline = Cmdline::new("root=/dev/vda quiet exec=poweroff opt=\"a b\"");
        let unknown: Vec<String> = cmdline.unknown().map(|item| item.to_string()).collect();
        assert_eq!(unknown, ["root=/dev/vda", "quiet", "opt=\"a b\""]);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_a_zero_ends_it() {
        let cmdline = Cmdline::from_bytes(b"a=\xff\xfeb \xe2\x82 c\0d");
        assert_eq!(cmdline.as_str(), "a=\u{fffd}\u{fffd}b \u{fffd} c");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        let long = "é".repeat(3000);
        let cmdline = Cmdline::new(&long);
        assert_eq!(cmdline.as_str().len(), Cmdline::CAPACITY);
        let odd = format!("a{long}");
        assert_eq!(Cmdline::new(&odd).as_str().len(), Cmdline::CAPACITY - 1);
    }

    #[test]
    fn what_linux_reads_is_known() {
        let line = "mem=1G memmap=1G@2G kernelcore=1G movablecore=1G movable_node numa=off cma=1M cma_pernuma=1M \
                    crashkernel=1M hugepages=1 hugepagesz=2M mminit_loglevel=4 memblock=debug console=ttyS0 earlycon \
                    keep_bootcon loglevel=7 panic=-1 nokaslr acpi=off efi=noruntime memhp_default_state=online";
        assert_eq!(Cmdline::new(line).unknown().count(), 0);
    }

    #[test]
    fn the_table_is_sorted_and_every_entry_has_help() {
        assert!(PARAMETERS.is_sorted_by(|one, next| one.name < next.name));
        assert!(PARAMETERS.iter().all(|parameter| !parameter.help.is_empty()));
    }
}
