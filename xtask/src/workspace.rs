//! Where things lie: the workspace, its build outputs, and cargo itself.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};

use crate::arch::Arch;
use crate::kernel::Kernel;

/// The keys that Debian signs its lists of packages with.
pub(crate) const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The root of the workspace: the parent of this crate's folder.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The cargo that runs this program, or the one in PATH.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    command
}

/// The target folder, as cargo finds it (it follows CARGO_TARGET_DIR and the configuration).
///
/// # Errors
/// When cargo cannot be started or does not answer as it should.
pub(crate) fn target_dir() -> Result<&'static Path> {
    static TARGET_DIR: OnceLock<PathBuf> = OnceLock::new();
    if let Some(known) = TARGET_DIR.get() {
        return Ok(known);
    }
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cargo metadata cannot be started")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let folder = metadata.get("target_directory").and_then(|value| value.as_str());
    let folder = folder.context("cargo metadata names no target directory")?;
    Ok(TARGET_DIR.get_or_init(|| PathBuf::from(folder)))
}

/// The folder in which cargo builds a kernel: the target folder, or one in it for a kernel with features, so that no
/// build takes another's place.
///
/// # Errors
/// As [`target_dir`].
pub(crate) fn kernel_target_dir(kernel: Kernel) -> Result<PathBuf> {
    let folder = target_dir()?;
    Ok(kernel.model.feature().map_or_else(|| folder.to_path_buf(), |feature| folder.join(feature)))
}

/// The kernel's ELF file: what gdb and the backtraces read, and what QEMU loads on x86_64.
///
/// # Errors
/// As [`target_dir`].
pub(crate) fn kernel_elf(kernel: impl Into<Kernel>) -> Result<PathBuf> {
    let kernel = kernel.into();
    Ok(kernel_target_dir(kernel)?.join(kernel.arch.target()).join("release").join("kernel"))
}

/// The ELF file of which [`kernel_image`] is the image: beside it, or itself.
pub(crate) fn elf_of(image: &Path) -> PathBuf {
    image.with_extension("")
}

/// What QEMU's `-kernel` takes: the ELF file on x86_64, the flat image beside it on aarch64.
///
/// # Errors
/// As [`target_dir`].
pub(crate) fn kernel_image(kernel: impl Into<Kernel>) -> Result<PathBuf> {
    let kernel = kernel.into();
    let elf = kernel_elf(kernel)?;
    Ok(match kernel.arch {
        Arch::X86_64 => elf,
        Arch::Aarch64 => elf.with_extension("img"),
    })
}

/// Our boot loader for UEFI firmware.
///
/// # Errors
/// As [`target_dir`].
pub(crate) fn loader_program(arch: Arch) -> Result<PathBuf> {
    Ok(target_dir()?.join(arch.uefi_target()).join("release").join("tessera-loader.efi"))
}

/// The folder of the machines' logs.
///
/// # Errors
/// As [`target_dir`].
pub(crate) fn machine_logs() -> Result<PathBuf> {
    Ok(target_dir()?.join("machines"))
}

/// The program in PATH, as a shell would find it.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    find_in(&env::var_os("PATH")?, name)
}

fn find_in(path: &OsString, name: &str) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(name)).find(|candidate| is_executable(candidate))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Model;

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("Cargo.toml").is_file());
        assert!(root().join("xtask/src/workspace.rs").is_file());
    }

    #[test]
    fn the_image_lies_where_cargo_builds() {
        let image = kernel_image(Arch::Aarch64).unwrap();
        assert!(image.is_absolute());
        assert!(image.ends_with("aarch64-unknown-none-softfloat/release/kernel.img"), "{}", image.display());
        assert_eq!(kernel_image(Arch::X86_64).unwrap(), kernel_elf(Arch::X86_64).unwrap());
        for arch in Arch::ALL {
            let flat = Kernel { arch, model: Model::Flat };
            assert_ne!(kernel_image(flat).unwrap(), kernel_image(arch).unwrap());
            assert_eq!(elf_of(&kernel_image(flat).unwrap()), kernel_elf(flat).unwrap());
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_executable_files_are_programs() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile("programs");
        std::fs::write(folder.join("tool"), "").unwrap();
        std::fs::write(folder.join("text"), "").unwrap();
        std::fs::set_permissions(folder.join("tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(folder.join("text"), std::fs::Permissions::from_mode(0o644)).unwrap();
        let path = env::join_paths([Path::new("/nowhere"), &folder]).unwrap();
        assert_eq!(find_in(&path, "tool"), Some(folder.join("tool")));
        assert_eq!(find_in(&path, "text"), None);
        assert_eq!(find_in(&OsString::new(), "tool"), None);
    }

    fn tempfile(name: &str) -> PathBuf {
        let folder = env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}
