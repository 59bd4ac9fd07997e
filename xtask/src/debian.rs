//! Debian's Linux, its busybox and its device trees, fetched once and kept under the target folder.
//!
//! apt-get works here on folders and a list of sources of its own: it needs no right, changes nothing of the host's
//! packages, and gets Debian 12's kernel, Linux 6.1, on whatever Debian or Ubuntu this is. A package of another arch
//! is fetched by telling apt-get that this is a host of that arch.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::arch::Arch;
use crate::exit::Failure;
use crate::workspace;

/// Where the packages come from.
const SOURCES: [&str; 2] =
    ["http://deb.debian.org/debian bookworm main", "http://deb.debian.org/debian-security bookworm-security main"];

const BUSYBOX: &str = "busybox-static";

/// The files of one arch.
#[derive(Clone, Debug)]
pub(crate) struct Linux {
    pub(crate) kernel: PathBuf,
    pub(crate) busybox: PathBuf,
}

/// The files, from the target folder or from Debian.
///
/// # Errors
/// [`Failure::NoFile`] with the command that did not fetch them.
pub(crate) fn linux(arch: Arch) -> Result<Linux> {
    let debian = debian_name(arch);
    let folder = workspace::target_dir()?.join("debian").join(debian);
    let linux = Linux { kernel: folder.join("vmlinuz"), busybox: folder.join("busybox") };
    if linux.kernel.is_file() && linux.busybox.is_file() {
        return Ok(linux);
    }
    let apt = Apt::new(folder.join("apt"), debian)?;
    apt.run("apt-get", &["update".as_ref()])?;
    let image = apt.newest_image()?;
    for (package, inside, file) in [
        (image.as_str(), format!("boot/vmlinuz-{}", version(&image)), &linux.kernel),
        (BUSYBOX, "bin/busybox".to_owned(), &linux.busybox),
    ] {
        let unpacked = apt.unpacked(package)?;
        let from = unpacked.join(inside);
        fs::rename(&from, file).with_context(|| from.display().to_string())?;
        fs::remove_dir_all(&unpacked).with_context(|| unpacked.display().to_string())?;
    }
    fs::remove_dir_all(&apt.folder).with_context(|| apt.folder.display().to_string())?;
    Ok(linux)
}

/// Every device tree of Debian's arm64 kernel, by name.
///
/// # Errors
/// As [`linux`].
pub(crate) fn device_trees() -> Result<Vec<PathBuf>> {
    let debian = debian_name(Arch::Aarch64);
    let folder = device_tree_folder()?;
    if !folder.is_dir() {
        let apt = Apt::new(folder.with_extension("apt"), debian)?;
        apt.run("apt-get", &["update".as_ref()])?;
        let unpacked = apt.unpacked(&apt.newest_image()?)?;
        let mut trees = Vec::new();
        find_trees(&unpacked, &mut trees)?;
        let half = folder.with_extension("half");
        fs::create_dir_all(&half).with_context(|| half.display().to_string())?;
        for tree in trees {
            if let Some(name) = tree.file_name() {
                fs::rename(&tree, half.join(name)).with_context(|| tree.display().to_string())?;
            }
        }
        fs::remove_dir_all(&apt.folder).with_context(|| apt.folder.display().to_string())?;
        // Only what is whole has the name that is looked for.
        fs::rename(&half, &folder).with_context(|| folder.display().to_string())?;
    }
    let mut trees = Vec::new();
    find_trees(&folder, &mut trees)?;
    trees.sort();
    Ok(trees)
}

/// Where [`device_trees`] keeps them.
///
/// # Errors
/// When cargo does not say where the target folder is.
pub(crate) fn device_tree_folder() -> Result<PathBuf> {
    Ok(workspace::target_dir()?.join("debian").join("device-trees"))
}

/// Adds every `.dtb` below `folder`.
fn find_trees(folder: &Path, trees: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            find_trees(&path, trees)?;
        } else if path.extension() == Some("dtb".as_ref()) {
            trees.push(path);
        }
    }
    Ok(())
}

/// Debian's name of the arch.
fn debian_name(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "amd64",
        Arch::Aarch64 => "arm64",
    }
}

fn version(image: &str) -> &str {
    image.strip_prefix("linux-image-").unwrap_or(image)
}

/// apt-get with folders of its own.
struct Apt {
    folder: PathBuf,
    debian: &'static str,
    options: Vec<String>,
}

impl Apt {
    fn new(folder: PathBuf, debian: &'static str) -> Result<Self> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).with_context(|| part.display().to_string())?;
        }
        let sources = folder.join("sources.list");
        let lines = SOURCES.map(|source| format!("deb [signed-by={}] {source}\n", workspace::DEBIAN_KEYS));
        fs::write(&sources, lines.concat()).with_context(|| sources.display().to_string())?;
        let at = |part: &str| folder.join(part).display().to_string();
        let settings = [
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", at("none")),
            ("Dir::State", at("state")),
            ("Dir::State::status", "/dev/null".to_owned()),
            ("Dir::Cache", at("cache")),
            ("APT::Architecture", debian.to_owned()),
            ("APT::Architectures", debian.to_owned()),
            // Its helpers would run as another user, who may not write here.
            ("APT::Sandbox::User", String::new()),
            ("Acquire::Languages", "none".to_owned()),
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".to_owned()),
            // Without this a list that cannot be fetched is a warning.
            ("APT::Update::Error-Mode", "any".to_owned()),
            // What the host's settings do after an update is the host's business.
            ("APT::Update::Post-Invoke", String::new()),
            ("APT::Update::Post-Invoke-Success", String::new()),
        ];
        let options = settings.into_iter().flat_map(|(name, value)| ["-o".to_owned(), format!("{name}={value}")]);
        Ok(Self { options: options.collect(), folder, debian })
    }

    /// The package behind Debian's name for the newest kernel.
    fn newest_image(&self) -> Result<String> {
        let name = format!("linux-image-{}", self.debian);
        let output = self.run("apt-cache", &["depends".as_ref(), name.as_ref()])?;
        let mut found = output.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let image = found.find(|package| package.starts_with("linux-image-"));
        image.map(str::to_owned).with_context(|| format!("`apt-cache depends {name}` names no kernel"))
    }

    /// A folder with what is in the package.
    fn unpacked(&self, package: &str) -> Result<PathBuf> {
        let folder = self.folder.join(package);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        self.run("apt-get", &["download".as_ref(), package.as_ref()])?;
        let prefix = format!("{package}_");
        let is_it = |path: &PathBuf| {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            name.starts_with(&prefix) && path.extension() == Some("deb".as_ref())
        };
        let files = fs::read_dir(&self.folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        let file = { files }.find(is_it).with_context(|| format!("apt-get download {package} left no file"))?;
        carry_out(Command::new("dpkg-deb").arg("-x").args([&file, &folder]), &self.folder)?;
        Ok(folder)
    }

    fn run(&self, program: &str, arguments: &[&OsStr]) -> Result<String> {
        carry_out(Command::new(program).args(&self.options).args(arguments), &self.folder)
    }
}

/// What the command prints.
fn carry_out(command: &mut Command, folder: &Path) -> Result<String> {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let line = words.join(" ".as_ref()).to_string_lossy().into_owned();
    let output = command.current_dir(folder).env("LC_ALL", "C").stdin(Stdio::null()).output();
    let output = output.with_context(|| line.clone())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = complaint.lines().find(|line| line.starts_with("E: ")).unwrap_or_else(|| complaint.trim());
    Err(Failure::NoFile(format!("Debian's Linux is missing: `{line}` failed: {complaint}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_named_with_what_is_missing() {
        let error = carry_out(&mut Command::new("false"), Path::new("/")).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Failure::NoFile(line)) if line.contains("`false` failed")));
        let mut echo = Command::new("echo");
        assert_eq!(carry_out(echo.arg("words"), Path::new("/")).unwrap(), "words\n");
    }

    #[test]
    fn the_version_is_the_packages() {
        assert_eq!(version("linux-image-6.1.0-56-amd64"), "6.1.0-56-amd64");
    }
}
