//! ACPI tables of our own beside those of QEMU's firmware (`-acpitable`), for what QEMU's `-numa` cannot say.
//!
//! QEMU writes neither SRAT nor SLIT for a machine without `-numa`, so these are the only ones there.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;

use super::acpi::{self, Domain};
use super::ranges::Ranges;
use crate::image;
use crate::qemu::escaped;

/// What the tables say.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tables {
    /// The domain of each CPU, in the order of their APIC ids.
    #[serde(default)]
    cpus: Vec<u32>,
    /// Memory of proximity domains.
    srat: Vec<Ranges<Domain>>,
    /// Distances, a list for each domain; there is no such table without.
    #[serde(default)]
    slit: Vec<Vec<u8>>,
}

impl Tables {
    /// QEMU's options for the tables, whose files lie in `folder`.
    pub(super) fn options(&self, folder: &Path) -> Vec<[String; 2]> {
        let files = self.files(folder).into_iter();
        files.map(|(path, _)| ["-acpitable".to_owned(), format!("file={}", escaped(&path))]).collect()
    }

    /// Writes the files that the options name.
    ///
    /// # Errors
    /// When one cannot be written.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        self.files(folder).iter().try_for_each(|(path, bytes)| image::write_whole(path, bytes))
    }

    fn files(&self, folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let tables = acpi::Tables { cpus: &self.cpus, srat: &self.srat, slit: &self.slit, ..acpi::Tables::default() };
        let mut files = vec![(folder.join("srat.bin"), tables.srat())];
        if !self.slit.is_empty() {
            files.push((folder.join("slit.bin"), tables.slit()));
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_for_each_table() {
        let options = |text: &str| {
            let tables: Tables = toml::from_str(text).unwrap();
            tables.options(Path::new("/a,b")).concat().join(" ")
        };
        assert_eq!(options("srat = ['0 1G domain 0']"), "-acpitable file=/a,,b/srat.bin");
        assert!(options("srat = []\nslit = [[10]]").ends_with(" -acpitable file=/a,,b/slit.bin"));
    }
}
