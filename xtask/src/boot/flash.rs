//! UEFI firmware: the pair of files for a machine's two flash chips, and where distributions put them.
//!
//! The first chip holds the code and is read-only. The second holds the variables; every boot starts with those that
//! the firmware is delivered with, and what it writes is forgotten (`snapshot=on`), so boots do not depend on each other.
//!
//! Where the files lie is said, in this order, by the environment (`OVMF_CODE` and `OVMF_VARS`, `AAVMF_CODE` and
//! `AAVMF_VARS`), by the descriptions that distributions install for programs like this one (QEMU's
//! `docs/interop/firmware.json`), and by custom.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::arch::Arch;
use crate::exit::Failure;
use crate::qemu::escaped;
use crate::workspace;

/// Firmware that keeps its own counsel: it starts no loader that nobody signed, or needs system management mode.
const NOT_FOR_US: [&str; 3] = ["secure-boot", "enrolled-keys", "requires-smm"];

/// The variables of an environment, by name.
type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The firmware's code and its variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flash {
    pub(crate) code: PathBuf,
    pub(crate) variables: PathBuf,
}

impl Flash {
    fn new(code: impl Into<PathBuf>, variables: impl Into<PathBuf>) -> Self {
        Self { code: code.into(), variables: variables.into() }
    }

    /// The firmware of this host for machines of this arch, as our environment has it.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(crate) fn of_host(arch: Arch) -> Result<Self> {
        Self::of(arch, &|name| env::var_os(name))
    }

    /// The firmware of this host for machines of this arch; where there is none, the place where Debian has it.
    ///
    /// # Errors
    /// [`Failure::NoFile`] when the environment names a file that is not there.
    fn of(arch: Arch, environment: Environment<'_>) -> Result<Self> {
        let [code, variables] = names(arch);
        let named = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        match (named(&code), named(&variables)) {
            (Some(code), Some(variables)) => {
                for file in [&code, &variables] {
                    if !file.is_file() {
                        return Err(no_file(format!("UEFI firmware: there is no file {}", file.display())));
                    }
                }
                return Ok(Self { code, variables });
            }
            (None, None) => {}
            _ => return Err(no_file(format!("UEFI firmware is two files: name both, by {code} and {variables}"))),
        }
        if let Some(described) = folders(arch, environment).iter().find_map(|folder| described(folder, arch)) {
            return Ok(described);
        }
        let custom = customary(arch);
        let there = custom.iter().find(|flash| flash.is_there());
        Ok(there.or(custom.first()).cloned().unwrap_or_else(|| Self::new(code, variables)))
    }

    /// Whether both files are there.
    pub(crate) fn is_there(&self) -> bool {
        self.code.is_file() && self.variables.is_file()
    }

    /// Which firmware this is: a number that another build of it does not have.
    ///
    /// # Errors
    /// When its code cannot be read.
    pub(crate) fn fingerprint(&self) -> Result<String> {
        let bytes = fs::read(&self.code).with_context(|| self.code.display().to_string())?;
        // Some distributions fill the file up to the size of the chip.
        let end = bytes.iter().rposition(|byte| !matches!(byte, 0 | 0xff)).map_or(0, |last| last + 1);
        // FNV-1a, of eight bytes at a time: no secret is kept by it.
        let step = |hash: u64, word: &[u8]| {
            let word = word.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3)
        };
        let hash = bytes.get(..end).unwrap_or_default().chunks(8).fold(0xcbf2_9ce4_8422_2325, step);
        Ok(format!("{hash:016x}"))
    }

    /// QEMU's options.
    pub(crate) fn options(&self) -> [[String; 2]; 2] {
        let chip = |unit: u32, how: &str, file: &Path| {
            ["-drive".to_owned(), format!("if=pflash,unit={unit},format=raw,{how},file={}", escaped(file))]
        };
        [chip(0, "readonly=on", &self.code), chip(1, "snapshot=on", &self.variables)]
    }
}

fn no_file(sentence: String) -> anyhow::Error {
    Failure::NoFile(sentence).into()
}

/// The variables of the environment that name code and variables of the firmware.
fn names(arch: Arch) -> [String; 2] {
    let name = match arch {
        Arch::X86_64 => "OVMF",
        Arch::Aarch64 => "AAVMF",
    };
    ["CODE", "VARS"].map(|part| format!("{name}_{part}"))
}

/// Where descriptions of firmware may lie, what is said later first. The last is that of a QEMU that is not installed
/// where distributions install it.
fn folders(arch: Arch, environment: Environment<'_>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let home = || Some(PathBuf::from(environment("HOME")?).join(".config"));
    folders.extend(environment("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home));
    folders.push("/etc".into());
    folders.push("/usr/share".into());
    let beside = workspace::find_program(arch.qemu()).and_then(|qemu| qemu.canonicalize().ok());
    folders.extend(beside.and_then(|qemu| Some(qemu.parent()?.parent()?.join("share"))));
    folders.into_iter().map(|folder| folder.join("qemu/firmware")).collect()
}

/// Pairs that lie where no description says so: Debian and Ubuntu, Fedora, Arch, Gentoo and Alpine, QEMU's own.
fn customary(arch: Arch) -> Vec<Flash> {
    let pairs: &[(&str, &str)] = match arch {
        Arch::X86_64 => &[
            ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
            ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
            ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
            ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
            ("/usr/share/edk2-ovmf/OVMF_CODE.fd", "/usr/share/edk2-ovmf/OVMF_VARS.fd"),
            ("/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"),
        ],
        Arch::Aarch64 => &[
            ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
            ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
            ("/usr/share/edk2/aarch64/QEMU_CODE.fd", "/usr/share/edk2/aarch64/QEMU_VARS.fd"),
            ("/usr/share/qemu/edk2-aarch64-code.fd", "/usr/share/qemu/edk2-arm-vars.fd"),
        ],
    };
    pairs.iter().map(|(code, variables)| Flash::new(*code, *variables)).collect()
}

/// What of a description matters here.
#[derive(Deserialize)]
struct Description {
    #[serde(rename = "interface-types")]
    interfaces: Vec<String>,
    mapping: Mapping,
    targets: Vec<Target>,
    features: Vec<String>,
}

/// Code without a template for variables is none for two chips, and a file of another format than raw none for us.
#[derive(Deserialize)]
struct Mapping {
    device: String,
    executable: Option<Content>,
    #[serde(rename = "nvram-template")]
    template: Option<Content>,
}

#[derive(Deserialize)]
struct Content {
    filename: PathBuf,
    #[serde(default = "raw")]
    format: String,
}

fn raw() -> String {
    "raw".into()
}

#[derive(Deserialize)]
struct Target {
    architecture: String,
}

/// The firmware that the descriptions in the folder name first, by their order: that of their names.
fn described(folder: &Path, arch: Arch) -> Option<Flash> {
    let files = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = files.filter(|file| file.extension() == Some("json".as_ref())).collect();
    files.sort();
    // A description that cannot be read describes nothing; so does an empty one, which hides another of its name.
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    texts.filter_map(|text| suitable(&text, arch)).find(Flash::is_there)
}

fn suitable(text: &str, arch: Arch) -> Option<Flash> {
    let Description { interfaces, mapping, targets, features } = serde_json::from_str(text).ok()?;
    let good = interfaces.iter().any(|interface| interface == "uefi")
        && mapping.device == "flash"
        && targets.iter().any(|target| target.architecture == arch.name())
        && !features.iter().any(|feature| NOT_FOR_US.contains(&feature.as_str()));
    let (code, variables) = (mapping.executable?, mapping.template?);
    (good && code.format == "raw" && variables.format == "raw").then(|| Flash::new(code.filename, variables.filename))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(architecture: &str, device: &str, feature: &str) -> String {
        format!(
            r#"{{"description": "d", "interface-types": ["uefi"], "mapping": {{"device": "{device}",
            "executable": {{"filename": "/c", "format": "raw"}}, "nvram-template": {{"filename": "/v"}}}},
            "targets": [{{"architecture": "{architecture}", "machines": ["pc-*"]}}], "features": ["{feature}"],
            "tags": []}}"#
        )
    }

    #[test]
    fn a_description_counts_when_it_is_of_plain_firmware_for_two_chips() {
        let found = suitable(&description("x86_64", "flash", "acpi-s3"), Arch::X86_64);
        assert_eq!(found, Some(Flash::new("/c", "/v")));
        for (text, arch) in [
            (description("x86_64", "flash", "acpi-s3"), Arch::Aarch64),
            (description("x86_64", "memory", "acpi-s3"), Arch::X86_64),
            (description("x86_64", "flash", "requires-smm"), Arch::X86_64),
            (description("x86_64", "flash", "").replace("uefi", "bios"), Arch::X86_64),
            (description("x86_64", "flash", "").replace("raw", "qcow2"), Arch::X86_64),
            (String::new(), Arch::X86_64),
        ] {
            assert_eq!(suitable(&text, arch), None, "{text}");
        }
    }

    #[test]
    fn code_is_read_only_and_variables_are_forgotten() {
        let options = Flash::new("/a,b", "/v").options().concat().join(" ");
        assert_eq!(
            options,
            "-drive if=pflash,unit=0,format=raw,readonly=on,file=/a,,b \
             -drive if=pflash,unit=1,format=raw,snapshot=on,file=/v"
        );
    }

    #[test]
    fn another_build_has_another_fingerprint_and_padding_changes_none() {
        let file = env::temp_dir().join(format!("xtask-firmware-{}", std::process::id()));
        let of = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            Flash::new(&file, "/v").fingerprint().unwrap()
        };
        let one = of(b"firmware of May");
        assert_eq!(of(b"firmware of May\0\0\xff"), one);
        assert_ne!(of(b"firmware of Mai"), one);
        assert_ne!(of(b"Firmware of May"), one);
        fs::remove_file(&file).unwrap();
        assert!(Flash::new(&file, "/v").fingerprint().is_err());
    }

    #[test]
    fn there_is_always_a_place_to_name() {
        for arch in Arch::ALL {
            assert!(Flash::of(arch, &|_| None).unwrap().code.is_absolute());
            assert!(Flash::of(arch, &|_| Some(OsString::new())).unwrap().code.is_absolute());
        }
    }

    #[test]
    fn the_environment_names_both_files_and_they_are_there() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        for (arch, [code, variables]) in Arch::ALL.map(|arch| (arch, names(arch))) {
            let of = |known: &[(&str, &str)]| {
                Flash::of(arch, &|name| Some(known.iter().find(|(known, _)| *known == name)?.1.into()))
            };
            assert_eq!(of(&[(&code, file), (&variables, file)]).unwrap(), Flash::new(file, file));
            for known in [&[(&*code, file)][..], &[(&variables, file)], &[(&code, file), (&variables, "/nowhere/v")]] {
                let error = of(known).unwrap_err();
                assert!(matches!(error.downcast_ref(), Some(Failure::NoFile(_))), "{error}");
            }
        }
    }

    #[test]
    fn a_persons_own_description_comes_first() {
        let home = env::temp_dir().join(format!("xtask-home-{}", std::process::id()));
        let folder = home.join(".config/qemu/firmware");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("own.json");
        let own = file.to_string_lossy();
        let text = description("aarch64", "flash", "").replace("\"/c\"", &format!("{own:?}"));
        fs::write(&file, text.replace("\"/v\"", &format!("{own:?}"))).unwrap();
        for (variable, value) in [("HOME", home.clone()), ("XDG_CONFIG_HOME", home.join(".config"))] {
            let found = Flash::of(Arch::Aarch64, &|name| (name == variable).then(|| value.clone().into()));
            assert_eq!(found.unwrap(), Flash::new(&file, &file), "{variable}");
        }
        fs::remove_dir_all(&home).unwrap();
    }
}
