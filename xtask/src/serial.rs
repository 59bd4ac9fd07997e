//! The serial line: bytes in, the same bytes out at once, and whole lines for those who judge.
//!
//! Three things change on the way. A backtrace line of the kernel, `  #1 0xffffffff80201234`, gets the name of the
//! function, its file and line. `\r\n` becomes `\n`: the terminal, or the log, has its own idea of a line's end. And
//! where firmware and a boot loader speak before the kernel, what they say becomes plain lines ([`Screen`]), until the
//! first line with the kernel's time stamp.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::screen::Screen;
use crate::symbols::Symbols;

/// What a kernel says that gives up: Linux's words, and ours when the machine leaves nothing to boot with.
const KERNEL_GIVES_UP: [&str; 2] = ["kernel panic", "kernel stopped"];

/// What our loader says that gives up.
const LOADER_GIVES_UP: &str = "tessera-loader: error:";

/// How Limine begins to.
const LIMINE_GIVES_UP: &str = "PANIC: ";

/// What firmware begins with that found nothing to boot, and waits for somebody: its shell, and without one a sentence.
const FIRMWARE_GIVES_UP: [&str; 2] = ["UEFI Interactive Shell", "BdsDxe: No bootable option"];

/// What it says of a place from which it could not boot, before it goes on to the next.
const FIRMWARE_GOES_ON: &str = "BdsDxe: failed to ";

/// Who speaks on a serial line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    Kernel,
    Loader,
    Firmware,
}

/// The serial line of one boot.
pub(crate) struct Serial {
    elf: PathBuf,
    /// Opened at the first backtrace; `Some(None)` when that failed.
    symbols: Option<Option<Symbols>>,
    line: Vec<u8>,
    /// A `\r` came and is held back until it is known whether the line ends here.
    carriage_return: bool,
    lines: Vec<String>,
    /// As long as it is not the kernel that speaks.
    screen: Option<Screen>,
    heard_kernel: bool,
    /// What the firmware said of the last place from which it could not boot.
    failed_place: Option<String>,
    gave_up: Option<(Speaker, String)>,
}

impl Serial {
    /// The serial line of the kernel in this ELF file, on which `first` speaks first.
    pub(crate) fn new(elf: PathBuf, first: Speaker) -> Self {
        Self {
            elf,
            symbols: None,
            line: Vec::new(),
            carriage_return: false,
            lines: Vec::new(),
            screen: (first != Speaker::Kernel).then(Screen::default),
            heard_kernel: false,
            failed_place: None,
            gave_up: None,
        }
    }

    /// Takes bytes from the guest and writes what a reader should see.
    ///
    /// # Errors
    /// Those of `out`.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let mut shown = Vec::with_capacity(bytes.len());
        let plain = self.screen.as_mut().map(|screen| screen.plain(bytes));
        for &byte in plain.as_deref().unwrap_or(bytes) {
            if self.carriage_return && byte != b'\n' {
                shown.push(b'\r');
                self.line.clear();
            }
            self.carriage_return = byte == b'\r';
            match byte {
                b'\r' => {}
                b'\n' => {
                    if let Some(name) = self.name_of_line() {
                        self.line.extend(name.bytes());
                        shown.extend(name.bytes());
                    }
                    shown.push(b'\n');
                    self.end_line();
                }
                byte => {
                    self.line.push(byte);
                    shown.push(byte);
                }
            }
        }
        out.write_all(&shown)
    }

    /// What came after the last line end counts as a line, too: a hang or a crash may have cut it short.
    ///
    /// # Errors
    /// Those of `out`.
    pub(crate) fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if !self.line.is_empty() {
            self.end_line();
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// The whole lines so far.
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The lines in which the kernel or its loader gave up; one, when it did so as it should.
    pub(crate) fn last_words(&self) -> usize {
        self.lines.iter().filter(|line| kernel_gives_up(line) || line.contains(LOADER_GIVES_UP)).count()
    }

    /// The line in which somebody gave up.
    pub(crate) fn panic(&self) -> Option<&str> {
        self.gave_up.as_ref().map(|(_, line)| line.as_str())
    }

    /// Who gave up.
    pub(crate) fn who_gave_up(&self) -> Option<Speaker> {
        self.gave_up.as_ref().map(|(speaker, _)| *speaker)
    }

    /// Whether the kernel said anything.
    pub(crate) fn heard_kernel(&self) -> bool {
        self.heard_kernel
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        if without_time(&line).len() < line.len() {
            self.heard_kernel = true;
            self.screen = None;
        }
        if self.gave_up.is_none() {
            self.gave_up = self.gives_up(&line);
        }
        if line.starts_with(FIRMWARE_GOES_ON) {
            self.failed_place = Some(line.trim_end().to_owned());
        }
        self.lines.push(line);
    }

    /// Who gives up in this line, and the reason.
    fn gives_up(&self, line: &str) -> Option<(Speaker, String)> {
        if kernel_gives_up(line) {
            return Some((Speaker::Kernel, without_time(line).to_owned()));
        }
        // Until the kernel speaks; `screen` says that somebody else may.
        self.screen.as_ref()?;
        if let Some((_, reason)) = line.split_once(LOADER_GIVES_UP) {
            return Some((Speaker::Loader, format!("{LOADER_GIVES_UP}{}", reason.trim_end())));
        }
        if line.starts_with(LIMINE_GIVES_UP) {
            return Some((Speaker::Loader, line.trim_end().to_owned()));
        }
        let why = self.failed_place.as_deref().unwrap_or(line.trim_end());
        let gives_up = FIRMWARE_GIVES_UP.iter().any(|words| line.starts_with(words));
        gives_up.then(|| (Speaker::Firmware, format!("the firmware found nothing to boot: {why}")))
    }

    fn name_of_line(&mut self) -> Option<String> {
        let (frame, address) = backtrace_entry(std::str::from_utf8(&self.line).ok()?)?;
        let symbols = self.symbols.get_or_insert_with(|| Symbols::open(&self.elf).ok()).as_ref()?;
        // All but the innermost frame hold return addresses: the call is the instruction before.
        let probe = if frame == 0 { address } else { address.saturating_sub(1) };
        Some(format!(" {}", symbols.name(probe)?))
    }
}

/// Whether the line is one in which the kernel gives up.
fn kernel_gives_up(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    KERNEL_GIVES_UP.iter().any(|words| lower.contains(words))
}

/// Frame number and address of a backtrace line.
fn backtrace_entry(line: &str) -> Option<(u32, u64)> {
    let (frame, address) = without_time(line).trim().strip_prefix('#')?.split_once(' ')?;
    let address = u64::from_str_radix(address.trim().strip_prefix("0x")?, 16).ok()?;
    Some((frame.parse().ok()?, address))
}

/// The line without its time stamp, `[    0.123456] `.
pub(crate) fn without_time(line: &str) -> &str {
    let stamp = || {
        let (stamp, rest) = line.strip_prefix('[')?.split_once("] ")?;
        let (seconds, micros) = stamp.trim_start().split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (digits(seconds) && digits(micros)).then_some(rest)
    };
    stamp().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(pieces: &[&str]) -> (Serial, String) {
        fed_by(Speaker::Kernel, pieces)
    }

    fn fed_by(first: Speaker, pieces: &[&str]) -> (Serial, String) {
        let mut serial = Serial::new("/nowhere".into(), first);
        let mut out = Vec::new();
        for piece in pieces {
            serial.feed(piece.as_bytes(), &mut out).unwrap();
        }
        serial.finish(&mut out).unwrap();
        (serial, String::from_utf8(out).unwrap())
    }

    #[test]
    fn lines_are_put_together_from_any_pieces() {
        let (serial, out) = fed(&["T", "ess", "era\r", "\nsecond\nthi", "rd"]);
        assert_eq!(serial.lines(), ["Tessera", "second", "third"]);
        assert_eq!(out, "Tessera\nsecond\nthird\n");
    }

    #[test]
    fn a_lone_carriage_return_reaches_the_terminal() {
        let (serial, out) = fed(&["> abc\r", "> xyz\r\n"]);
        assert_eq!(out, "> abc\r> xyz\n");
        assert_eq!(serial.lines(), ["> xyz"]);
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        let mut serial = Serial::new("/nowhere".into(), Speaker::Kernel);
        let mut out = Vec::new();
        serial.feed(&[0xff, b'#', 0xfe, b'\n'], &mut out).unwrap();
        assert_eq!(out, [0xff, b'#', 0xfe, b'\n']);
        assert_eq!(serial.lines().len(), 1);
    }

    #[test]
    fn a_panic_is_noticed_once_and_without_its_time() {
        let (serial, _) = fed(&["[    0.1", "00000] kernel panic: no memory\n", "kernel panic: again\n"]);
        assert_eq!((serial.panic(), serial.last_words()), (Some("kernel panic: no memory"), 2));
        assert_eq!(fed(&["all is well\n"]).0.panic(), None);
    }

    #[test]
    fn firmware_is_shown_as_plain_lines_until_the_kernel_speaks() {
        let log = "\x1b[2J\x1b[01;01HBdsDxe: starting\r\n[    0.000001] Tessera\n";
        let (serial, out) = fed_by(Speaker::Firmware, &[log, "> a\x1b[K\n"]);
        assert_eq!(out, "BdsDxe: starting\n[    0.000001] Tessera\n> a\x1b[K\n");
        assert!(serial.heard_kernel());
        assert_eq!(serial.panic(), None);
    }

    #[test]
    fn a_loader_or_firmware_that_gives_up_is_noticed_before_the_kernel_speaks() {
        let error = "tessera-loader: error: \\boot\\tessera.elf: no ELF file";
        let shell = "UEFI Interactive Shell v2.2";
        let nothing = "BdsDxe: No bootable option or device was found.";
        for (line, speaker, reason) in [
            (error.to_owned(), Speaker::Loader, error.to_owned()),
            ("PANIC: limine: no file".to_owned(), Speaker::Loader, "PANIC: limine: no file".to_owned()),
            (shell.to_owned(), Speaker::Firmware, format!("the firmware found nothing to boot: {shell}")),
            (nothing.to_owned(), Speaker::Firmware, format!("the firmware found nothing to boot: {nothing}")),
        ] {
            let (serial, _) = fed_by(Speaker::Firmware, &["\x1b[01;01H", &line, " \r\n"]);
            assert_eq!((serial.who_gave_up(), serial.panic()), (Some(speaker), Some(reason.as_str())));
            assert!(!serial.heard_kernel());
            let (serial, _) = fed_by(Speaker::Firmware, &["[    0.000001] Tessera\n", &line, "\n"]);
            assert_eq!((serial.who_gave_up(), serial.heard_kernel()), (None, true));
        }
        assert_eq!(fed_by(Speaker::Firmware, &[error]).0.last_words(), 1);
        assert_eq!(fed_by(Speaker::Firmware, &["kernel panic: x"]).0.who_gave_up(), Some(Speaker::Kernel));
        // Before there is a clock, or anything but COM1.
        let (serial, _) = fed_by(Speaker::Firmware, &["T\nkernel stopped: the boot loader has put it nowhere\n"]);
        let reason = "kernel stopped: the boot loader has put it nowhere";
        assert_eq!((serial.who_gave_up(), serial.panic()), (Some(Speaker::Kernel), Some(reason)));
    }

    #[test]
    fn the_place_that_the_firmware_could_not_boot_from_is_the_reason_when_there_is_no_other() {
        let failed = "BdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from PciRoot(0x0)/Pci(0x1,0x0): Not Found";
        for end in ["UEFI Interactive Shell v2.2", "BdsDxe: No bootable option or device was found."] {
            let (serial, _) = fed_by(Speaker::Firmware, &["BdsDxe: failed to start x\r\n", failed, "\r\n", end]);
            let reason = format!("the firmware found nothing to boot: {failed}");
            assert_eq!((serial.who_gave_up(), serial.panic()), (Some(Speaker::Firmware), Some(reason.as_str())));
        }
        // The next place may do.
        let lines = [failed, "\r\nBdsDxe: starting Boot0002\r\n[    0.000001] Tessera\n"];
        assert_eq!(fed_by(Speaker::Firmware, &lines).0.who_gave_up(), None);
    }

    #[test]
    fn time_stamps_are_told_from_other_brackets() {
        assert_eq!(without_time("[    0.000123] Zone ranges:"), "Zone ranges:");
        assert_eq!(without_time("[    0.000123]   DMA"), "  DMA");
        for line in ["[mem 0x0-0x1] usable", "[a.b] c", "[1.] x", "[", ""] {
            assert_eq!(without_time(line), line);
        }
    }

    #[test]
    fn backtrace_lines_are_recognised() {
        assert_eq!(backtrace_entry("  #0 0xffffffff80201234"), Some((0, 0xffff_ffff_8020_1234)));
        assert_eq!(backtrace_entry("[    1.000000]   #12 0x10"), Some((12, 0x10)));
        for line in ["#0", "#x 0x10", "  #0 ffff", "#0 0x10 already named", "  0 0x10"] {
            assert_eq!(backtrace_entry(line), None, "{line}");
        }
    }

    /// This test program stands for the kernel: a backtrace line with one of its addresses gets a name.
    #[test]
    fn backtrace_lines_get_names_on_both_ways() {
        use object::read::elf::{ElfFile64, FileHeader as _};
        let program = std::env::current_exe().unwrap();
        let bytes = std::fs::read(&program).unwrap();
        let elf = ElfFile64::<object::Endianness>::parse(&*bytes).unwrap();
        let entry = elf.elf_header().e_entry(elf.endian());
        let mut serial = Serial::new(program, Speaker::Kernel);
        let mut out = Vec::new();
        serial.feed(format!("  #0 {entry:#x}\r\n").as_bytes(), &mut out).unwrap();
        let expected = format!("  #0 {entry:#x} _start");
        assert_eq!(serial.lines().concat(), expected);
        assert_eq!(String::from_utf8(out).unwrap(), expected + "\n");
    }
}
