//! ACPI tables, sound or damaged: a root pointer of revision 0, an RSDT, and the tables that the matrix gives.
//!
//! Every table has its checksum, made after whatever is wrong with it, unless the checksum itself is what is wrong.
//! ACPI specification 6.5, chapters 5.2.5 (root pointer), 5.2.6 (header), 5.2.12 (MADT), 5.2.16
//! (SRAT), 5.2.17 (SLIT).

use serde::Deserialize;

use super::ranges::{Ranges, What};

const HEADER: usize = 36;

/// The domain of a memory entry of the SRAT, and whether the memory may be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Domain {
    number: u32,
    plug: Plug,
}

/// Whether memory stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plug {
    Fixed,
    HotPluggable,
}

impl What for Domain {
    fn from_words(words: &[&str]) -> Result<Self, String> {
        let (number, plug) = match words {
            ["domain", number] => (number, Plug::Fixed),
            ["domain", number, "hotplug"] => (number, Plug::HotPluggable),
            _ => return Err("write `domain NUMBER` behind the size, and `hotplug` or nothing behind that".to_owned()),
        };
        let number = number.parse().map_err(|_| format!("{number} is no domain"))?;
        Ok(Self { number, plug })
    }
}

/// What is wrong with the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Damage {
    /// The root pointer's checksum.
    RsdpChecksum,
    /// The SRAT's checksum.
    SratChecksum,
    /// The SRAT says that it is 20 bytes long, less than a header.
    SratShort,
    /// The SRAT says that it is 4 GiB - 1 long.
    SratLong,
    /// The SRAT's last entry says that it has no length, with which a careless reader never comes to the end.
    SratEntryEmpty,
    /// The SRAT's last entry reaches past the end of the table.
    SratEntryLong,
    /// The SLIT is for one domain more than it has room for.
    SlitSmall,
}

/// The tables that the matrix gives.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables<'a> {
    /// The APIC ids of the CPUs that the MADT lists; there is no such table without.
    pub(super) madt: &'a [u8],
    /// The domain of each CPU, in the order of their APIC ids.
    pub(super) cpus: &'a [u32],
    pub(super) srat: &'a [Ranges<Domain>],
    pub(super) slit: &'a [Vec<u8>],
    pub(super) damage: Option<Damage>,
}

impl Tables<'_> {
    /// The bytes from `at` on, of which the first are the root pointer; nothing where there are no tables.
    pub(super) fn bytes(&self, at: u32) -> Vec<u8> {
        let mut tables = Vec::new();
        if !self.madt.is_empty() {
            tables.push(self.madt());
        }
        if !self.srat.is_empty() {
            tables.push(self.srat());
        }
        if !self.slit.is_empty() {
            tables.push(self.slit());
        }
        if tables.is_empty() {
            return Vec::new();
        }
        let rsdt_at = at + 32;
        let mut next = rsdt_at + (HEADER + 4 * tables.len()) as u32;
        let mut pointers = Vec::new();
        for table in &tables {
            pointers.extend(next.to_le_bytes());
            next += table.len() as u32;
        }
        let mut bytes = root_pointer(rsdt_at);
        if self.damage == Some(Damage::RsdpChecksum) {
            bytes[8] ^= 0xff;
        }
        bytes.resize(32, 0);
        bytes.extend(seal(table(b"RSDT", 1, &pointers)));
        bytes.extend(tables.concat());
        bytes
    }

    fn madt(&self) -> Vec<u8> {
        // The local APICs' address; the machine has the two old interrupt controllers as well.
        let mut body = [0xfee0_0000_u32, 1].map(u32::to_le_bytes).concat();
        for (uid, &apic) in (0u8..).zip(self.madt) {
            // Processor local APIC, 8 bytes, enabled.
            body.extend([0, 8, uid, apic, 1, 0, 0, 0]);
        }
        seal(table(b"APIC", 4, &body))
    }

    pub(super) fn srat(&self) -> Vec<u8> {
        // One, and eight bytes that mean nothing.
        let mut body = [&1u32.to_le_bytes()[..], &[0; 8]].concat();
        for (apic, domain) in (0u8..).zip(self.cpus) {
            // Processor affinity, 16 bytes, enabled; the domain's low byte stands before the rest.
            let [low, high @ ..] = domain.to_le_bytes();
            body.extend([0, 16, low, apic, 1, 0, 0, 0, 0]);
            body.extend(high);
            body.extend([0; 4]);
        }
        let ranges = self.srat.iter().flat_map(|ranges| ranges.iter().map(|range| (range, ranges.what)));
        for ((start, size), domain) in ranges {
            // Memory affinity, 40 bytes, enabled.
            let flags = if domain.plug == Plug::HotPluggable { 3 } else { 1 };
            body.extend([1, 40]);
            body.extend(domain.number.to_le_bytes());
            body.extend([0; 2]);
            body.extend([start, size].map(u64::to_le_bytes).concat());
            body.extend([0u32, flags].map(u32::to_le_bytes).concat());
            body.extend([0; 8]);
        }
        let mut srat = table(b"SRAT", 3, &body);
        let last_entry = srat.len() - 40;
        match self.damage {
            Some(Damage::SratShort) => set_length(&mut srat, 20),
            Some(Damage::SratLong) => set_length(&mut srat, u32::MAX),
            Some(Damage::SratEntryEmpty) => srat[last_entry + 1] = 0,
            Some(Damage::SratEntryLong) => srat[last_entry + 1] = 41,
            _ => {}
        }
        let mut srat = seal(srat);
        if self.damage == Some(Damage::SratChecksum) {
            srat[9] ^= 0xff;
        }
        srat
    }

    pub(super) fn slit(&self) -> Vec<u8> {
        let missing = u64::from(self.damage == Some(Damage::SlitSmall));
        let domains = self.slit.len() as u64 + missing;
        seal(table(b"SLIT", 1, &[&domains.to_le_bytes()[..], &self.slit.concat()].concat()))
    }
}

fn root_pointer(rsdt: u32) -> Vec<u8> {
    let mut bytes = [b"RSD PTR ", &[0][..], b"TESSER", &[0]].concat();
    bytes.extend(rsdt.to_le_bytes());
    bytes[8] = complement(&bytes);
    bytes
}

/// A table, still without its checksum.
fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let length = ((HEADER + body.len()) as u32).to_le_bytes();
    let revisions = [1u32.to_le_bytes(), *b"TESS", 1u32.to_le_bytes()].concat();
    [&signature[..], &length, &[revision, 0], b"TESSER", b"MATRIX  ", &revisions, body].concat()
}

fn set_length(table: &mut [u8], length: u32) {
    table[4..8].copy_from_slice(&length.to_le_bytes());
}

fn seal(mut table: Vec<u8>) -> Vec<u8> {
    table[9] = complement(&table);
    table
}

/// What makes the bytes add up to zero.
fn complement(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(damage: Option<Damage>) -> Vec<u8> {
        let srat = ["0x0 16M domain 0", "0x1000000 16M domain 1"].map(|text| text.to_owned().try_into().unwrap());
        Tables { srat: &srat, slit: &[vec![10, 20], vec![20, 10]], damage, ..Tables::default() }.bytes(0x8000)
    }

    fn word(bytes: &[u8], at: usize) -> usize {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    }

    /// The two tables, each as far as the next begins, by way of the root pointer.
    fn tables(bytes: &[u8]) -> [&[u8]; 2] {
        let rsdt = word(bytes, 16) - 0x8000;
        assert_eq!((&bytes[rsdt..rsdt + 4], word(bytes, rsdt + 4)), (&b"RSDT"[..], 44));
        let [srat, slit] = [36, 40].map(|at| word(bytes, rsdt + at) - 0x8000);
        [&bytes[srat..slit], &bytes[slit..]]
    }

    fn adds_up(bytes: &[u8]) -> bool {
        bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)) == 0
    }

    #[test]
    fn without_damage_all_is_sound() {
        let bytes = built(None);
        assert!(bytes.starts_with(b"RSD PTR ") && adds_up(&bytes[..20]) && adds_up(&bytes[32..76]));
        let [srat, slit] = tables(&bytes);
        assert!(adds_up(srat) && srat.starts_with(b"SRAT") && srat[8] == 3);
        assert_eq!((srat.len(), word(srat, 4)), (48 + 2 * 40, 48 + 2 * 40));
        assert_eq!((srat[88], srat[89], word(srat, 90), word(srat, 96)), (1, 40, 1, 0x100_0000));
        assert_eq!((word(srat, 104), word(srat, 116)), (0x100_0000, 1));
        assert!(adds_up(slit) && slit.starts_with(b"SLIT"));
        assert_eq!((word(slit, 36), &slit[44..]), (2, &[10, 20, 20, 10][..]));
    }

    #[test]
    fn cpus_come_first_and_hot_pluggable_memory_says_so() {
        let srat = ["0x0 16M domain 0 hotplug"].map(|text| text.to_owned().try_into().unwrap());
        let srat = Tables { cpus: &[7, 0x0102_03c8], srat: &srat, ..Tables::default() }.srat();
        assert!(adds_up(&srat) && srat.len() == 48 + 2 * 16 + 40);
        assert_eq!(srat[48..56], [0, 16, 7, 0, 1, 0, 0, 0]);
        assert_eq!(srat[64..76], [0, 16, 0xc8, 1, 1, 0, 0, 0, 0, 3, 2, 1]);
        assert_eq!((srat[80], srat[81], word(&srat, 80 + 28)), (1, 40, 3));
        assert!(Domain::from_words(&["domain", "1", "hot"]).is_err());
    }

    #[test]
    fn the_madt_lists_every_cpu() {
        let madt = Tables { madt: &[0, 7], ..Tables::default() }.madt();
        assert!(adds_up(&madt) && madt.starts_with(b"APIC") && word(&madt, 4) == madt.len());
        assert_eq!(
            (word(&madt, 36), &madt[44..]),
            (0xfee0_0000, &[0, 8, 0, 0, 1, 0, 0, 0, 0, 8, 1, 7, 1, 0, 0, 0][..])
        );
    }

    #[test]
    fn each_damage_is_in_its_place_and_nowhere_else() {
        let changed = |damage, from: usize| {
            let (sound, bytes) = (built(None), built(Some(damage)));
            let changed: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != sound[at]).collect();
            assert_eq!(bytes.len(), sound.len());
            (changed.iter().map(|at| at.wrapping_sub(from)).collect::<Vec<_>>(), bytes)
        };
        assert_eq!(changed(Damage::RsdpChecksum, 0).0, [8]);
        let srat = 32 + 44;
        assert_eq!(changed(Damage::SratChecksum, srat).0, [9]);
        for (damage, at) in [(Damage::SratShort, 4), (Damage::SratEntryEmpty, 89), (Damage::SratEntryLong, 89)] {
            let (places, bytes) = changed(damage, srat);
            assert!(places.iter().all(|&place| place == at || place == 9), "{damage:?} {places:?}");
            assert!(adds_up(tables(&bytes)[0]), "{damage:?}");
        }
        assert_eq!(word(tables(&changed(Damage::SratLong, srat).1)[0], 4), 0xffff_ffff);
        assert_eq!(changed(Damage::SlitSmall, srat + 128).0, [9, 36]);
    }
}
