//! A device tree that the workspace does not hold: where it is.
//!
//! Blobs of vendors and of Debian have licences of their own, so the matrix names the file and does not copy it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;

use crate::exit::Failure;
use crate::{debian, workspace};

/// What stands before the name of one of Debian's trees.
const DEBIAN: &str = "debian:";

/// A file from the root of the workspace, or `debian:FILE`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Reference(String);

impl Reference {
    /// How `file` is named.
    ///
    /// # Errors
    /// When cargo does not say where the target folder is.
    pub(crate) fn to(file: &Path) -> Result<Self> {
        let whole = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        let folder = debian::device_tree_folder()?;
        let folder = folder.canonicalize().unwrap_or(folder);
        let named = |path: &Path| path.to_string_lossy().into_owned();
        if let Ok(name) = whole.strip_prefix(folder) {
            return Ok(Self(format!("{DEBIAN}{}", named(name))));
        }
        Ok(Self(named(whole.strip_prefix(workspace::root()).unwrap_or(&whole))))
    }

    /// The file, which is there.
    ///
    /// # Errors
    /// [`Failure::NoFile`] when it is not, which says how it comes there.
    pub(crate) fn found(&self) -> Result<PathBuf> {
        match self.absent() {
            Some(reason) => Err(Failure::NoFile(reason).into()),
            None => self.file(),
        }
    }

    fn file(&self) -> Result<PathBuf> {
        match self.0.strip_prefix(DEBIAN) {
            Some(name) => Ok(debian::device_tree_folder()?.join(name)),
            None => Ok(workspace::root().join(&self.0)),
        }
    }

    /// Why it is not there; nothing where it is.
    pub(crate) fn absent(&self) -> Option<String> {
        if self.file().is_ok_and(|file| file.is_file()) {
            return None;
        }
        let fetched = self.0.starts_with(DEBIAN);
        let how = if fetched { ": `cargo xtask simulate --debian --format totals` fetches it" } else { "" };
        Some(format!("the device tree {} is not here{how}", self.0))
    }

    /// As the matrix has it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_from_where_everybody_finds_it() {
        let inside = workspace::root().join("platform/testdata/bare.dtb");
        let reference = Reference::to(&inside).unwrap();
        assert_eq!((reference.as_str(), reference.absent()), ("platform/testdata/bare.dtb", None));
        assert_eq!(reference.file().unwrap(), inside);
        let of_debian = Reference("debian:no-such-board.dtb".into());
        assert!(of_debian.file().unwrap().ends_with("device-trees/no-such-board.dtb"));
        let error = of_debian.found().unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Failure::NoFile(line)) if line.contains("--debian")));
        let folder = debian::device_tree_folder().unwrap();
        let there = folder.canonicalize().unwrap_or(folder).join("no-such-board.dtb");
        assert_eq!(Reference::to(&there).unwrap().as_str(), "debian:no-such-board.dtb");
        let outside = Reference::to(Path::new("/nowhere/a.dtb")).unwrap();
        assert_eq!(outside.as_str(), "/nowhere/a.dtb");
        assert_eq!(outside.absent().unwrap(), "the device tree /nowhere/a.dtb is not here");
    }
}
