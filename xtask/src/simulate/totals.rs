//! How many of many machines say what: `--format totals`.

use std::collections::BTreeMap;
use std::fmt;

use super::Object;

/// Files, by what they say.
#[derive(Default, PartialEq, Debug)]
pub(super) struct Totals {
    files: usize,
    /// Brought up to zonelists.
    up: usize,
    /// With at least one bank of RAM.
    memory: usize,
    /// With ranges that somebody holds or wants held.
    reservations: usize,
    /// With a pool of contiguous memory.
    contiguous: usize,
    /// With a warning.
    warned: usize,
    /// With a console that the kernel can drive.
    driven: usize,
    /// By what the console is compatible with.
    consoles: BTreeMap<Option<String>, usize>,
    /// Why files did not come up.
    errors: BTreeMap<String, usize>,
}

impl Totals {
    pub(super) fn of(objects: &[Object]) -> Self {
        let mut totals = Self { files: objects.len(), ..Self::default() };
        for object in objects {
            let described = &object.described;
            totals.up += usize::from(object.error.is_none());
            totals.memory += usize::from(described.usable_banks > 0);
            totals.reservations += usize::from(described.reservations > 0);
            totals.contiguous += usize::from(described.contiguous > 0);
            totals.warned += usize::from(!object.warnings.is_empty());
            totals.driven += usize::from(described.console.is_some());
            *totals.consoles.entry(described.console_compatible.clone()).or_default() += 1;
            if let Some(error) = &object.error {
                *totals.errors.entry(error.clone()).or_default() += 1;
            }
        }
        totals
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>6} files", self.files)?;
        writeln!(f, "{:>6} brought up to zonelists", self.up)?;
        writeln!(f, "{:>6} say where memory is", self.memory)?;
        writeln!(f, "{:>6} hold or want ranges of it", self.reservations)?;
        writeln!(f, "{:>6} have a pool of contiguous memory", self.contiguous)?;
        writeln!(f, "{:>6} have something odd", self.warned)?;
        writeln!(f, "{:>6} name a console that the kernel can drive", self.driven)?;
        let mut consoles: Vec<_> = self.consoles.iter().collect();
        consoles.sort_by_key(|&(console, count)| (std::cmp::Reverse(count), console));
        for (console, count) in consoles {
            match console {
                Some(compatible) => writeln!(f, "{count:>6} name a console like {compatible}")?,
                None => writeln!(f, "{count:>6} name no console")?,
            }
        }
        self.errors.iter().try_for_each(|(error, count)| writeln!(f, "{count:>6} did not come up: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::described::Described;
    use super::*;

    fn described(console: Option<&str>) -> Described {
        let mut described = Described::default();
        (described.console_compatible, described.contiguous) = (console.map(str::to_owned), 1);
        described
    }

    #[test]
    fn what_files_say_is_counted() {
        let object = |console: Option<&str>, error: Option<&str>| Object {
            schema: 1,
            config: String::new(),
            file: String::new(),
            described: described(console),
            summary: None,
            error: error.map(str::to_owned),
            warnings: Vec::new(),
        };
        let objects = [object(Some("pl011"), None), object(None, Some("no memory")), object(None, Some("no memory"))];
        let totals = Totals::of(&objects);
        assert_eq!((totals.files, totals.up, totals.memory, totals.contiguous), (3, 1, 0, 3));
        assert!(totals.to_string().ends_with("     2 did not come up: no memory\n"), "{totals}");
        assert!(totals.to_string().contains("     1 name a console like pl011\n"), "{totals}");
    }
}
