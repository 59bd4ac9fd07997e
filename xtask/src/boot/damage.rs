//! What may be wrong with the kernel's file on the way to the loader, so that the loader's answer can be tested.

use anyhow::{Context as _, Result};
use object::elf::{FileHeader64, PT_LOAD};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use serde::Deserialize;

/// One damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KernelDamage {
    /// There is no such file.
    Absent,
    /// It ends in the middle of the last segment that is to be loaded.
    Truncated,
    /// It is no ELF file.
    NotElf,
    /// It is for machines of another kind: RISC-V.
    OtherMachine,
}

/// Where an ELF header has the machine, and RISC-V's number.
const MACHINE: (usize, [u8; 2]) = (18, [243, 0]);

impl KernelDamage {
    /// The file as it is then; `None` where there is none.
    ///
    /// # Errors
    /// When it was no ELF file before.
    pub(crate) fn apply(self, mut elf: Vec<u8>) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Absent => return Ok(None),
            Self::Truncated => elf.truncate(middle_of_last_segment(&elf).context("no ELF file with segments")?),
            Self::NotElf => {
                elf.get_mut(..4).context("no ELF file")?.fill(0);
            }
            Self::OtherMachine => {
                let (at, number) = MACHINE;
                elf.get_mut(at..at + number.len()).context("no ELF file")?.copy_from_slice(&number);
            }
        }
        Ok(Some(elf))
    }
}

fn middle_of_last_segment(elf: &[u8]) -> Option<usize> {
    let header = FileHeader64::<LittleEndian>::parse(elf).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, elf).ok()?;
    let loaded = segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD);
    let (start, size) = loaded.map(|segment| segment.file_range(endian)).max()?;
    usize::try_from(start.checked_add(size / 2)?).ok().filter(|end| *end < elf.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::read::elf::ElfFile64;

    /// This test program stands for the kernel.
    #[test]
    fn each_damage_is_one_that_a_reader_sees() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let damaged = |damage: KernelDamage| damage.apply(whole.clone()).unwrap();
        assert_eq!(damaged(KernelDamage::Absent), None);
        let machine = |elf: &[u8]| {
            let file = ElfFile64::<object::Endianness>::parse(elf).ok()?;
            Some(file.elf_header().e_machine(file.endian()).0)
        };
        assert!(machine(&whole).is_some());
        assert_eq!(machine(&damaged(KernelDamage::NotElf).unwrap()), None);
        assert_eq!(machine(&damaged(KernelDamage::OtherMachine).unwrap()), Some(243));
        let truncated = damaged(KernelDamage::Truncated).unwrap();
        assert!(whole.starts_with(&truncated) && truncated.len() > 4096);
        assert!(crate::image::flatten(&truncated).is_err());
        for damage in [KernelDamage::Truncated, KernelDamage::NotElf, KernelDamage::OtherMachine] {
            assert!(damage.apply(b"no".to_vec()).is_err());
        }
    }
}
