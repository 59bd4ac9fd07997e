//! The kernel log: a ring of text that is there from the first instruction, and the console once one is known.
//!
//! Every record becomes one or more lines `[    0.001234] text`. They go into the ring always, and to the console when
//! there is one and the record's level passes `loglevel=`. Opening the console replays the ring, so nothing that was
//! said before is lost. `dmesg` prints the ring. Warnings and errors say so in front of their text.
//!
//! Every CPU and every interrupt handler may log. The lock is taken with interrupts off and held for a whole record, so
//! lines never mix; hence what is formatted takes no lock and logs nothing itself. The monitor's answers come in
//! pieces: they wait in the sink until their line is whole. A record that finds a line begun, such as the prompt,
//! starts a new one.
//!
//! A report from inside a trap may have interrupted the holder of the lock, or that one may have been stopped: then
//! [`emergency`] writes around it. Linux: `kernel/printk/printk.c`.

use arch::Native;
use arch::discover::{self, KernelUart};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use core::time::Duration;
use log::{Level, LevelFilter, Log, Metadata, Record};
use mm::machine::Warning;
use mm::memblock::Event;
use mm::sync::{IrqGuard, IrqLock};
use platform::console::ConsoleSpec;

/// Bytes of the ring: about a thousand lines.
const RING_BYTES: usize = 64 << 10;
/// Bytes of an answer that wait for the end of their line; a longer line is shown in pieces.
const ANSWER_BYTES: usize = 1024;
/// How long a report waits for whoever writes to the log. A record at 115200 baud takes about 10 ms.
const PATIENCE: Duration = Duration::from_millis(50);

/// The text of the newest records. Where it is full, the oldest text goes.
pub(crate) struct Ring<const N: usize> {
    bytes: [u8; N],
    /// Bytes ever written; the newest `N` of them are there.
    written: usize,
}

impl<const N: usize> Ring<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], written: 0 }
    }

    pub(crate) fn push(&mut self, text: &str) {
        for &byte in text.as_bytes() {
            if let Some(slot) = self.bytes.get_mut(self.written % N) {
                *slot = byte;
            }
            self.written = self.written.wrapping_add(1);
        }
    }

    /// The bytes that are there, oldest first, as two pieces.
    pub(crate) fn pieces(&self) -> (&[u8], &[u8]) {
        let (newer, older) = self.bytes.split_at(self.written % N);
        if self.written < N { (newer, &[]) } else { (older, newer) }
    }
}

struct Sink {
    ring: Ring<RING_BYTES>,
    console: Option<Console>,
    /// What the monitor has said of a line that is not whole yet.
    answer: arrayvec::ArrayString<ANSWER_BYTES>,
}

impl Sink {
    /// Shows what the monitor has said so far, though its line is not whole.
    fn show_answer(&mut self) {
        if let Some(console) = self.console.as_mut() {
            console.write(&self.answer);
        }
        self.answer.clear();
    }
}

static SINK: IrqLock<Sink> =
    IrqLock::new(Sink { ring: Ring::new(), console: None, answer: arrayvec::ArrayString::new_const() });
/// The console again, for reports while [`SINK`] is held.
static EMERGENCY: spin::Once<KernelUart> = spin::Once::new();
/// Whether [`SINK`] did not come free for a report; the rest of it does not wait again.
static HELD_FOR_GOOD: AtomicBool = AtomicBool::new(false);
/// The greatest level that the console shows, as `log` counts them.
static CONSOLE_LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

struct KernelLog;
static LOG: KernelLog = KernelLog;

/// Takes records from now on; until a console is open they only fill the ring.
pub(crate) fn init() {
    // It is set once, at the very start; a second call would change nothing.
    let _ = log::set_logger(&LOG);
    log::set_max_level(LevelFilter::Trace);
}

/// Shows records up to Linux's `loglevel=` number: 4 shows errors, 5 warnings, 7 information, 8 debugging.
pub(crate) fn set_console_level(linux_level: u64) {
    let level = match linux_level {
        0..=4 => Level::Error,
        5 => Level::Warn,
        6..=7 => Level::Info,
        _ => Level::Debug,
    };
    CONSOLE_LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Opens the console and writes to it what the ring holds. A report that interrupted the holder of the log comes here
/// too: then the console is opened for it alone.
fn open_console(mut uart: KernelUart) {
    EMERGENCY.call_once(|| uart);
    let Some(mut sink) = SINK.try_lock(Native) else { return };
    let (older, newer) = sink.ring.pieces();
    // The first character of the entry code stands on this line.
    for piece in [b"\n", older, newer] {
        uart.send(piece);
    }
    sink.console = Some(Console { uart, cursor: Cursor::AtStart });
}

/// Opens the first console of `specs` that answers, unless one is open.
pub(crate) fn ensure_console(specs: impl IntoIterator<Item = ConsoleSpec>) {
    if EMERGENCY.is_completed() {
        return;
    }
    if let Some(uart) = specs.into_iter().find_map(|spec| discover::open_uart(&spec)) {
        open_console(uart);
    }
}

/// Text straight to the console, without time stamp or ring, and without waiting for the end of its line: the prompt,
/// and what is typed.
pub(crate) fn print(arguments: fmt::Arguments<'_>) {
    // Writing to the console cannot fail; a formatter that fails has printed what it could.
    let _ = Output.write_fmt(arguments);
    SINK.lock(Native).show_answer();
}

/// The console as a place to write to, for the views: line by line.
pub(crate) struct Output;

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut sink = SINK.lock(Native);
        for piece in text.split_inclusive('\n') {
            for character in piece.chars() {
                if sink.answer.try_push(character).is_err() {
                    sink.show_answer();
                    sink.answer.push(character);
                }
            }
            if piece.ends_with('\n') {
                sink.show_answer();
            }
        }
        Ok(())
    }
}

/// A byte that was typed, if there is one.
pub(crate) fn read_byte() -> Option<u8> {
    SINK.lock(Native).console.as_mut().and_then(|console| console.uart.get())
}

/// Prints the ring.
pub(crate) fn dmesg() {
    let mut sink = SINK.lock(Native);
    let Sink { ring, console: Some(Console { uart, .. }), .. } = &mut *sink else { return };
    let (older, newer) = ring.pieces();
    for piece in [older, newer] {
        uart.send(piece);
    }
}

/// Writes even when the log is held by whoever was interrupted or stopped.
pub(crate) fn emergency(arguments: fmt::Arguments<'_>) {
    if let Some(mut sink) = patiently() {
        sink.show_answer();
        let _ = Line { sink: &mut sink, start: true, shown: true, label: "" }.write_fmt(arguments);
    } else if let Some(mut uart) = EMERGENCY.get().copied() {
        let _ = uart.write_fmt(arguments);
    }
}

/// The sink, once whoever writes to it has finished, if that is soon.
fn patiently() -> Option<IrqGuard<'static, Sink, Native>> {
    /// Enough turns where the clock stands.
    const TURNS: u32 = 10_000_000;
    let start = arch::timer::uptime();
    for _ in 0..TURNS {
        let sink = SINK.try_lock(Native);
        if sink.is_some() {
            return sink;
        }
        if HELD_FOR_GOOD.load(Ordering::Relaxed) || arch::timer::uptime().saturating_sub(start) > PATIENCE {
            break;
        }
        core::hint::spin_loop();
    }
    HELD_FOR_GOOD.store(true, Ordering::Relaxed);
    None
}

/// Where the next character of the console goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cursor {
    AtStart,
    Behind,
}

/// The console, and whether a line of it is begun.
struct Console {
    uart: KernelUart,
    cursor: Cursor,
}

impl Console {
    fn write(&mut self, text: &str) {
        self.uart.send(text.as_bytes());
        if let Some(&last) = text.as_bytes().last() {
            self.cursor = if last == b'\n' { Cursor::AtStart } else { Cursor::Behind };
        }
    }
}

/// Puts the time in front of each line, and the line where it belongs.
struct Line<'a> {
    sink: &'a mut Sink,
    start: bool,
    shown: bool,
    label: &'static str,
}

impl Line<'_> {
    fn raw(&mut self, text: &str) {
        self.sink.ring.push(text);
        if self.shown
            && let Some(console) = self.sink.console.as_mut()
        {
            if self.start && console.cursor == Cursor::Behind {
                console.write("\n");
            }
            console.write(text);
        }
    }
}

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            if self.start {
                let now = arch::timer::uptime();
                let mut stamp = arrayvec::ArrayString::<32>::new();
                write!(stamp, "[{:5}.{:06}] ", now.as_secs(), now.subsec_micros())?;
                self.raw(&stamp);
                self.start = false;
                self.raw(self.label);
            }
            self.raw(piece);
            self.start = piece.ends_with('\n');
        }
        Ok(())
    }
}

impl Log for KernelLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Debug
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let label = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            _ => "",
        };
        let shown = record.level() as u8 <= CONSOLE_LEVEL.load(Ordering::Relaxed);
        let mut sink = SINK.lock(Native);
        let mut line = Line { sink: &mut sink, start: true, shown, label };
        let _ = line.write_fmt(*record.args());
        if !line.start {
            line.raw("\n");
        }
    }

    fn flush(&self) {}
}

/// Turns a typed warning of a lower room into a line.
pub(crate) fn warning(warning: Warning) {
    log::warn!("{warning}");
}

/// Turns what memblock tells into a line: every change with `memblock=debug`.
pub(crate) fn memblock_event(_: Native, event: Event) {
    if event.is_warning() {
        log::warn!("{event}");
    } else {
        log::info!("{event}");
    }
}

/// Hands whole lines to `log` at the level of information: what the boot text is written to.
#[derive(Default)]
pub(crate) struct BootText {
    line: arrayvec::ArrayString<512>,
}

impl Write for BootText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            let (body, ended) = piece.strip_suffix('\n').map_or((piece, false), |body| (body, true));
            for character in body.chars() {
                if self.line.try_push(character).is_err() {
                    log::info!("{}", self.line);
                    self.line.clear();
                    self.line.push(character);
                }
            }
            if ended {
                log::info!("{}", self.line);
                self.line.clear();
            }
        }
        Ok(())
    }
}

impl Drop for BootText {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            log::info!("{}", self.line);
        }
    }
}
