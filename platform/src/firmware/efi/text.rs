//! Linux's lines about EFI's memory map.

use super::{Attributes, Descriptor, EfiMap};
use crate::read::PhysRead;
use core::fmt;
use mm::machine::Rules;

impl EfiMap {
    /// Prints each descriptor that can be, as the architecture of `rules` does.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print(&self, rules: Rules, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        let mut result = match rules {
            Rules::X86 => Ok(()),
            Rules::Arm64 => writeln!(text, "efi: Processing EFI memory map:"),
        };
        let mut number = 0;
        self.sound(read, &mut |_, descriptor| {
            let (start, last) = (descriptor.range.start(), inclusive_end(&descriptor));
            result = result.and_then(|()| match rules {
                Rules::X86 => writeln!(
                    text,
                    "efi: mem{number:02}: {descriptor} range=[{start:#018x}-{last:#018x}] ({}MB)",
                    descriptor.pages >> 8
                ),
                Rules::Arm64 => writeln!(text, "efi:   {start:#014x}-{last:#014x} {descriptor}"),
            });
            number += 1;
        });
        result
    }

    /// Prints how much memory is mirrored, where any is.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print_mirrored(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        let (mut mirrored, mut all) = (0u64, 0u64);
        self.sound(read, &mut |_, descriptor| {
            // Descriptors may overlap, so the sum may be anything.
            all = all.saturating_add(descriptor.pages);
            if descriptor.attributes.contains(Attributes::MORE_RELIABLE) {
                mirrored = mirrored.saturating_add(descriptor.pages);
            }
        });
        if mirrored == 0 {
            return Ok(());
        }
        writeln!(text, "efi: Memory: {}M/{}M mirrored memory", mirrored >> 8, all >> 8)
    }
}

/// A range is clipped by the last byte of all, which the line shows.
fn inclusive_end(descriptor: &Descriptor) -> u64 {
    match descriptor.range.end().as_u64() {
        u64::MAX => u64::MAX,
        end => end - 1,
    }
}

/// `[Conventional|   |  |  |  |  |  |  |  |  |   |WB|WT|WC|UC]`. Linux: `efi_md_typeattr_format`.
impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: [(Attributes, &str); 14] = [
            (Attributes::RUNTIME, "RUN"),
            (Attributes::MORE_RELIABLE, "MR"),
            (Attributes::CPU_CRYPTO, "CC"),
            (Attributes::SPECIAL_PURPOSE, "SP"),
            (Attributes::NON_VOLATILE, "NV"),
            (Attributes::EXECUTE_PROTECT, "XP"),
            (Attributes::READ_PROTECT, "RP"),
            (Attributes::WRITE_PROTECT, "WP"),
            (Attributes::READ_ONLY, "RO"),
            (Attributes::UNCACHED_EXPORTED, "UCE"),
            (Attributes::WRITE_BACK, "WB"),
            (Attributes::WRITE_THROUGH, "WT"),
            (Attributes::WRITE_COMBINING, "WC"),
            (Attributes::UNCACHED, "UC"),
        ];
        match self.kind.name() {
            Some(name) => write!(f, "[{name:<12}")?,
            None => write!(f, "[type={}", self.kind.0)?,
        }
        let known = LETTERS.iter().fold(0, |known, (attribute, _)| known | attribute.0);
        if self.attributes.0 & !known != 0 {
            return write!(f, "|attr={:#018x}]", self.attributes.0);
        }
        for (attribute, letters) in LETTERS {
            let shown = if self.attributes.contains(attribute) { letters } else { "" };
            write!(f, "|{shown:>width$}", width = letters.len())?;
        }
        f.write_str("]")
    }
}
