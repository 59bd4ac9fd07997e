//! The prompt on the serial console, and the commands that `exec=` runs.
//!
//! A command is a name, a line of help and a function; the table in [`commands`] is all there is. A command that fails
//! says why; one that `exec=` ran is remembered: `poweroff` after it reports failure, so that a script sees it in
//! QEMU's exit status. Reading is by polling, a hundred times a second; in between the boot CPU does what is queued for
//! it, or halts.

mod commands;
mod line;

use crate::log::{self, Output};
use crate::system::System;
use core::fmt::{self, Write};

/// What the monitor knows while it runs.
pub(crate) struct Monitor<'a> {
    system: &'a System,
    failed: Failures,
}

/// Whether a command has failed since boot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failures {
    None,
    Some,
}

/// Why a command did not do what was asked.
pub(crate) enum CommandError {
    /// No command has this name.
    Unknown,
    /// The arguments are not what the command takes; this is.
    Usage(&'static str),
    /// It found something wrong and has said what.
    Found,
}

impl From<fmt::Error> for CommandError {
    fn from(_: fmt::Error) -> Self {
        // The console takes everything: only a view that refuses to print ends here.
        Self::Found
    }
}

/// What a command returns.
pub(crate) type Outcome = Result<(), CommandError>;

impl<'a> Monitor<'a> {
    /// A monitor over `system`.
    pub(crate) fn new(system: &'a System) -> Self {
        Self { system, failed: Failures::None }
    }

    /// Remembers that something before the monitor failed, such as the in-kernel tests.
    pub(crate) fn note_failure(&mut self) {
        self.failed = Failures::Some;
    }

    /// Runs commands separated by `;`.
    pub(crate) fn execute(&mut self, script: &str) {
        for command in script.split(';').map(str::trim).filter(|command| !command.is_empty()) {
            self.run(command);
        }
    }

    /// Prompts for ever.
    pub(crate) fn prompt(&mut self) -> ! {
        let mut editor = line::Editor::default();
        log::print(format_args!("Type `help` for the commands.\n"));
        loop {
            let command = editor.read_line("tessera> ");
            // Who types sees what failed; only what ran unseen is remembered.
            let unseen = self.failed;
            self.execute(&command);
            self.failed = unseen;
        }
    }

    fn run(&mut self, command: &str) {
        let (name, arguments) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let outcome = match commands::find(name) {
            Some(found) => (found.run)(self, arguments.trim()),
            None => Err(CommandError::Unknown),
        };
        let Err(error) = outcome else { return };
        self.failed = Failures::Some;
        // The console takes everything.
        let _ = match error {
            CommandError::Unknown => writeln!(Output, "{name}: no such command; `help` lists them"),
            CommandError::Usage(usage) => writeln!(Output, "usage: {usage}"),
            CommandError::Found => writeln!(Output, "{name}: failed"),
        };
    }
}
