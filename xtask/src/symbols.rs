//! The names behind addresses of the kernel, from the debug information of its ELF file.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use object::elf::{FileHeader64, PF_X, PT_LOAD};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use crate::workspace;

/// The symbols of one ELF file.
pub(crate) struct Symbols {
    loader: addr2line::Loader,
    /// Where code lies. Functions that the linker left out have debug information too, at address 0 or so; and a
    /// damaged stack may hold any number.
    code: Vec<Range<u64>>,
}

impl Symbols {
    /// Reads the file's debug information.
    ///
    /// # Errors
    /// When the file cannot be read as an ELF file.
    pub(crate) fn open(elf: &Path) -> Result<Self> {
        let loader = addr2line::Loader::new(elf).map_err(|error| anyhow!("{}: {error}", elf.display()))?;
        let bytes = fs::read(elf).with_context(|| elf.display().to_string())?;
        let code = code(&bytes).with_context(|| elf.display().to_string())?;
        Ok(Self { loader, code })
    }

    /// What lies at an address: `function (file:line)`, after it the functions it was inlined into; `None` where
    /// the address is no known code.
    pub(crate) fn name(&self, address: u64) -> Option<String> {
        self.code.iter().find(|code| code.contains(&address))?;
        let mut parts = Vec::new();
        if let Ok(mut frames) = self.loader.find_frames(address) {
            while let Ok(Some(frame)) = frames.next() {
                let function = frame.function.as_ref().and_then(|name| name.demangle().ok().map(|n| short(&n)));
                let place = frame.location.and_then(|place| Some((place.file?, place.line.unwrap_or(0))));
                match (function, place) {
                    (Some(function), Some((file, line))) => {
                        parts.push(format!("{function} ({}:{line})", relative(file)));
                    }
                    (Some(function), None) => parts.push(function),
                    _ => {}
                }
            }
        }
        if parts.is_empty() {
            let symbol = self.loader.find_symbol(address)?;
            return Some(short(&addr2line::demangle_auto(symbol.into(), None)));
        }
        Some(parts.join(", inlined into "))
    }
}

/// The executable segments.
fn code(elf: &[u8]) -> object::Result<Vec<Range<u64>>> {
    let header = FileHeader64::<LittleEndian>::parse(elf)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, elf)?.iter();
    let code = segments.filter(|segment| segment.p_type(endian) == PT_LOAD && segment.p_flags(endian) & PF_X == PF_X);
    Ok(code.map(|code| code.p_vaddr(endian)..code.p_vaddr(endian).saturating_add(code.p_memsz(endian))).collect())
}

/// The function without the hash at the end of its path.
fn short(function: &str) -> String {
    match function.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => path.into(),
        _ => function.into(),
    }
}

/// The file as seen from the workspace.
fn relative(file: &str) -> &str {
    let root = workspace::root().to_str().unwrap_or_default();
    file.strip_prefix(root).map_or(file, |rest| rest.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn a_function_to_find() -> u32 {
        std::process::id()
    }

    /// This very test program has debug information; its code starts at what /proc says.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_function_of_this_program_is_found() {
        let program = std::env::current_exe().unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let first = maps.lines().find(|line| line.ends_with(program.to_str().unwrap())).unwrap();
        let base = u64::from_str_radix(first.split('-').next().unwrap(), 16).unwrap();
        assert_ne!(a_function_to_find(), 0);
        let address = a_function_to_find as *const () as u64 - base;
        let name = Symbols::open(&program).unwrap().name(address).unwrap();
        let here = "xtask::symbols::tests::a_function_to_find (xtask/src/symbols.rs:";
        assert!(name.starts_with(here), "{name}");
    }

    #[test]
    fn an_address_outside_the_code_has_no_name() {
        let symbols = Symbols::open(&std::env::current_exe().unwrap()).unwrap();
        for address in [u64::MAX, u64::MAX - 1, 0] {
            assert_eq!(symbols.name(address), None, "{address:#x}");
        }
    }

    #[test]
    fn hashes_are_left_out() {
        assert_eq!(short("kernel::start::h0123456789abcdef"), "kernel::start");
        assert_eq!(short("kernel::start::hello"), "kernel::start::hello");
    }

    #[test]
    fn a_file_that_is_no_elf_is_an_error() {
        assert!(Symbols::open(&workspace::root().join("Cargo.toml")).is_err());
    }
}
