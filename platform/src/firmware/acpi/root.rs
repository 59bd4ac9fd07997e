//! The root pointer (RSDP) and the list of tables that it leads to.
//!
//! A root pointer of revision 0 has 20 bytes and a 32-bit pointer to the RSDT; from revision 2 on it has 36 and a
//! 64-bit pointer to the XSDT too. Each part has its own checksum. Where the XSDT or the way to it is damaged, the
//! RSDT is used.

use super::table::{HEADER, Table, verify};
use super::{reserve, warn};
use crate::read::{PhysRead, u32_at, u64_at};
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{MachineSink, Problem, Source, Table as Name};

const SIGNATURE: &[u8; 8] = b"RSD PTR ";
/// Bytes of a root pointer of revision 0.
const SHORT: u32 = 20;
/// Bytes of a root pointer of revision 2 or later.
const LONG: usize = 36;

/// The root pointer, as far as it is sound.
#[derive(Clone, Copy)]
pub(super) struct RootPointer {
    pub(super) at: PhysAddr,
    pub(super) revision: u8,
    pub(super) length: u32,
}

/// The list of all tables.
pub(super) struct Root {
    found: RootPointer,
    list: Table,
    /// Bytes of a pointer in it.
    pointer: u32,
}

impl Root {
    /// The list to which the root pointer at `rsdp` leads. Reserves both, and says what is wrong with them.
    pub(super) fn open(rsdp: PhysAddr, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) -> Option<Self> {
        let source = Source::whole(Name::Rsdp);
        let mut bytes = [0; LONG];
        let (short, rest) = bytes.split_at_mut(SHORT as usize);
        if let Err(error) = read.read(rsdp, short) {
            warn(sink, source, Problem::Unreadable(error.at));
            return None;
        }
        if short.first_chunk() != Some(SIGNATURE) {
            warn(sink, source, Problem::Signature);
            return None;
        }
        if let Err(problem) = verify(read, rsdp, SHORT) {
            warn(sink, source, problem);
            return None;
        }
        let revision = short.get(15).copied().unwrap_or_default();
        let rsdt = u32_at(short, 16);
        let mut xsdt = 0;
        let mut length = SHORT;
        if revision >= 2 {
            match long(rsdp, read, rest) {
                Ok((stated, address)) => (length, xsdt) = (stated, address),
                Err(problem) => warn(sink, source, problem),
            }
        }
        if let Some(range) = PhysRange::from_size(rsdp, length.into()) {
            reserve(sink, "ACPI table RSDP", range, source);
        }
        let found = RootPointer { at: rsdp, revision, length };
        Self::lead(found, xsdt, b"XSDT", 8, read, sink)
            .or_else(|| Self::lead(found, rsdt.into(), b"RSDT", 4, read, sink))
    }

    /// The list at `at`.
    fn lead(
        found: RootPointer,
        at: u64,
        signature: &[u8; 4],
        pointer: u32,
        read: &mut dyn PhysRead,
        sink: &mut dyn MachineSink,
    ) -> Option<Self> {
        if at == 0 {
            return None;
        }
        let opened = Table::open(read, PhysAddr::new(at)).and_then(|list| {
            if list.signature() != *signature {
                return Err(Problem::Signature);
            }
            list.verify(read)?;
            Ok(list)
        });
        match opened {
            Ok(list) => {
                reserve(sink, &list.name(), list.range(), list.source());
                Some(Self { found, list, pointer })
            }
            Err(problem) => {
                warn(sink, Source::whole(if pointer == 8 { Name::Xsdt } else { Name::Rsdt }), problem);
                None
            }
        }
    }

    /// The root pointer itself.
    pub(super) const fn pointer(&self) -> RootPointer {
        self.found
    }

    /// The list itself.
    pub(super) const fn list(&self) -> &Table {
        &self.list
    }

    /// Which of the two lists it is.
    pub(super) const fn kind(&self) -> Name {
        self.list.source().table
    }

    /// How many tables it lists.
    pub(super) const fn count(&self) -> u32 {
        (self.list.length() - HEADER) / self.pointer
    }

    /// Where table number `index` is.
    pub(super) fn entry(&self, read: &mut dyn PhysRead, index: u32) -> Result<PhysAddr, Problem> {
        let mut pointer = [0; 8];
        let offset = HEADER.saturating_add(index.saturating_mul(self.pointer));
        let bytes = usize::try_from(self.pointer).ok().and_then(|size| pointer.get_mut(..size)).unwrap_or_default();
        self.list.bytes(read, offset, bytes)?;
        match u64::from_le_bytes(pointer) {
            0 => Err(Problem::Empty { start: 0 }),
            address => Ok(PhysAddr::new(address)),
        }
    }

    /// The first table of this kind whose header can be.
    pub(super) fn find(&self, read: &mut dyn PhysRead, signature: [u8; 4]) -> Option<Table> {
        (0..self.count()).find_map(|index| {
            let table = self.entry(read, index).and_then(|at| Table::open(read, at)).ok()?;
            (table.signature() == signature).then_some(table)
        })
    }
}

/// What the second part of a root pointer says: its whole length, and where the XSDT is.
fn long(rsdp: PhysAddr, read: &mut dyn PhysRead, rest: &mut [u8]) -> Result<(u32, u64), Problem> {
    let at = rsdp.checked_add(SHORT.into()).ok_or(Problem::Unreadable(rsdp))?;
    read.read(at, rest).map_err(|error| Problem::Unreadable(error.at))?;
    let length = u32_at(rest, 0);
    if !(LONG as u32..=256).contains(&length) {
        return Err(Problem::Length { stated: length.into() });
    }
    verify(read, rsdp, length)?;
    Ok((length, u64_at(rest, 4)))
}

/// The root pointer in a PC's BIOS area, for loaders that do not pass it: at a multiple of 16 in the first KiB of the
/// extended BIOS data area, or from 0xe0000 to 1 MiB.
pub fn search_bios(read: &mut dyn PhysRead) -> Option<PhysAddr> {
    /// Where the BIOS keeps the segment of its extended data area.
    const SEGMENT: PhysAddr = PhysAddr::new(0x40e);
    let data_area = read.read_u16(SEGMENT).map_or(0, |segment| u64::from(segment) << 4);
    let data_area = if (0x400..0xa_0000).contains(&data_area) { data_area..data_area + 0x400 } else { 0..0 };
    data_area.chain(0xe_0000..0x10_0000).step_by(16).map(PhysAddr::new).find(|&at| {
        let mut signature = [0; 8];
        read.read(at, &mut signature).is_ok() && signature == *SIGNATURE && verify(read, at, SHORT).is_ok()
    })
}
