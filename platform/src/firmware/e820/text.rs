//! Linux's lines about a PC's memory map, in the order in which it prints them.

use super::setup_data::{self, Keeper};
use super::steps::{MAX_ARCH_PFN, Steps, end_of_ram, uncached_ram};
use super::sweep::{self, Join};
use super::{Edit, PcMap, Stage, bios, user};
use crate::firmware::mtrr::Mtrr;
use crate::read::PhysRead;
use core::fmt;

/// The first frame above 4 GiB.
const PFN_4G: u64 = 1 << 20;

impl PcMap<'_> {
    /// Prints the table of `stage`, a line for each range, each with `who` before it.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print_table(
        &self,
        stage: Stage,
        who: &str,
        read: &mut dyn PhysRead,
        text: &mut dyn fmt::Write,
    ) -> fmt::Result {
        let mut result = Ok(());
        let steps = Steps::until(self, stage, read);
        sweep::spans(&steps, read, Join::AnySource, &mut |span| {
            let start = span.range.start();
            // Ranges are clipped by the last byte of all, which the line shows.
            let last = match span.range.end().as_u64() {
                u64::MAX => u64::MAX,
                end => end - 1,
            };
            result = result.and_then(|()| writeln!(text, "{who}: [mem {start:#018x}-{last:#018x}] {}", span.kind));
        });
        result
    }

    /// Prints the map as the firmware means it.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(text, "BIOS-provided physical RAM map:")?;
        self.print_table(Stage::Firmware, "BIOS-e820", read, text)
    }

    /// Prints what the command line and the boot loader change.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print_user(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        let mut lines = Lines { text, result: Ok(()) };
        let mut user_defined = false;
        if let Some(cmdline) = self.cmdline {
            user::edits(cmdline, &mut |edit| {
                if let Ok(edit) = edit {
                    user_defined = true;
                    lines.edit(&edit);
                }
            });
        }
        // Linux changes the table for the next kernel too, and says so.
        setup_data::edits(self.setup_data, Keeper::Both, read, &mut |edit| lines.edit(&edit));
        lines.result?;
        if self.setup_data.is_some() {
            writeln!(text, "extended physical RAM map:")?;
            self.print_table(Stage::Extended, "reserve setup_data", read, text)?;
        }
        if user_defined {
            writeln!(text, "user-defined physical RAM map:")?;
            self.print_table(Stage::User, "user", read, text)?;
        }
        Ok(())
    }

    /// Prints what the command line, the boot loader, and the rules of a PC change, and where RAM then ends.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print_changes(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        self.print_user(read, text)?;
        self.print_legacy(read, text)
    }

    /// Prints what the rules of a PC change, and where RAM then ends.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print_legacy(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        let mut lines = Lines { text, result: Ok(()) };
        self.edits.iter().chain(&bios::RULES).for_each(|edit| lines.edit(edit));
        lines.result?;
        let steps = Steps::until(self, Stage::Pc, read);
        last_pfn(end_of_ram(&steps, u64::MAX, read), text)
    }

    /// Prints what the MTRRs take away, and where RAM below 4 GiB ends.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print_uncached(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        let after = Steps::until(self, Stage::Working, read);
        if self.mtrr.is_some_and(Mtrr::tells) {
            let mut lines = Lines { text, result: Ok(()) };
            after.uncached(&mut |edit| lines.edit(&edit));
            lines.result?;
            let before = Steps::until(self, Stage::Pc, read);
            let lost = uncached_ram(&before, &after, read);
            if lost > 0 {
                let mib = lost >> 20;
                writeln!(text, "WARNING: BIOS bug: CPU MTRRs don't cover all of memory, losing {mib}MB of RAM.")?;
                writeln!(text, "update e820 for mtrr\nmodified physical RAM map:")?;
                self.print_table(Stage::Working, "modified", read, text)?;
                last_pfn(end_of_ram(&after, u64::MAX, read), text)?;
            }
        }
        if end_of_ram(&after, u64::MAX, read) > PFN_4G {
            last_pfn(end_of_ram(&after, PFN_4G, read), text)?;
        }
        Ok(())
    }

    /// All that is printed behind the map itself.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print_rules(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        self.print_changes(read, text)?;
        self.print_uncached(read, text)
    }
}

fn last_pfn(frame: u64, text: &mut dyn fmt::Write) -> fmt::Result {
    writeln!(text, "last_pfn = {frame:#x} max_arch_pfn = {MAX_ARCH_PFN:#x}")
}

/// Lines written from where no error can be returned.
struct Lines<'t> {
    text: &'t mut dyn fmt::Write,
    result: fmt::Result,
}

impl Lines<'_> {
    fn edit(&mut self, edit: &Edit) {
        if edit.is_printed() && self.result.is_ok() {
            self.result = writeln!(self.text, "{edit}");
        }
    }
}
