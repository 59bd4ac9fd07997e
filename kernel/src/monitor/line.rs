//! A line of input from a serial terminal: echo, backspace, Ctrl-U, Ctrl-C, and the lines before by the up and down
//! keys.

use crate::log::{self, print};
use crate::work;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Lines that are remembered.
const HISTORY: usize = 32;
/// Bytes of a line; more are refused with a bell.
const LINE_BYTES: usize = 512;

/// Time between two looks for a byte that was typed.
const POLL: Duration = Duration::from_millis(10);

/// Reads lines and remembers them.
#[derive(Default)]
pub(super) struct Editor {
    history: Vec<String>,
}

/// A key, as a terminal sends it.
enum Key {
    Character(char),
    Enter,
    Backspace,
    EraseLine,
    Cancel,
    Up,
    Down,
    Other,
}

impl Editor {
    /// Shows `prompt` and reads until Enter.
    pub(super) fn read_line(&mut self, prompt: &str) -> String {
        print(format_args!("{prompt}"));
        let mut line = String::new();
        let mut recalled = self.history.len();
        loop {
            match read_key() {
                Key::Character(_) if line.len() >= LINE_BYTES => print(format_args!("\x07")),
                Key::Character(character) => {
                    line.push(character);
                    print(format_args!("{character}"));
                }
                Key::Backspace => {
                    if line.pop().is_some() {
                        print(format_args!("\x08 \x08"));
                    }
                }
                Key::EraseLine => replace(&mut line, prompt, ""),
                Key::Cancel => {
                    print(format_args!("^C\n{prompt}"));
                    line.clear();
                }
                Key::Up if recalled > 0 => {
                    recalled -= 1;
                    replace(&mut line, prompt, self.history.get(recalled).map_or("", String::as_str));
                }
                Key::Down if recalled < self.history.len() => {
                    recalled += 1;
                    replace(&mut line, prompt, self.history.get(recalled).map_or("", String::as_str));
                }
                Key::Enter => {
                    print(format_args!("\n"));
                    self.remember(&line);
                    return line;
                }
                Key::Up | Key::Down | Key::Other => {}
            }
        }
    }

    fn remember(&mut self, line: &str) {
        if line.trim().is_empty() || self.history.last().is_some_and(|last| last == line) {
            return;
        }
        if self.history.len() == HISTORY {
            self.history.remove(0);
        }
        self.history.push(line.into());
    }
}

/// Puts `text` where the line was.
fn replace(line: &mut String, prompt: &str, text: &str) {
    line.clear();
    line.push_str(text);
    print(format_args!("\r\x1b[K{prompt}{line}"));
}

fn read_key() -> Key {
    match wait_byte() {
        b'\r' | b'\n' => Key::Enter,
        0x08 | 0x7f => Key::Backspace,
        0x15 => Key::EraseLine,
        0x03 => Key::Cancel,
        // Escape, `[`, parameters, and a letter or `~` that ends it; or Alt and a key.
        0x1b if wait_byte() != b'[' => Key::Other,
        0x1b => match (0..).map(|_: u32| wait_byte()).find(|byte| matches!(byte, b'@'..=b'~')) {
            Some(b'A') => Key::Up,
            Some(b'B') => Key::Down,
            _ => Key::Other,
        },
        byte @ b' '..=b'~' => Key::Character(char::from(byte)),
        _ => Key::Other,
    }
}

fn wait_byte() -> u8 {
    loop {
        if let Some(byte) = log::read_byte() {
            return byte;
        }
        work::run_or_doze(POLL);
    }
}
