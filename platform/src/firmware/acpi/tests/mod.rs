//! Real tables of QEMU, tables made by hand, and damage to both.

mod arm;
mod console;
mod damage;
mod interrupts;
mod nodes;
mod power;
mod regression;
mod slots;
mod tables;

use super::*;
use crate::firmware::recorder::{Random, Recorder};
use crate::read::MemoryImage;

const PC_RSDP: &[u8] = include_bytes!("../../../../testdata/pc-numa-rsdp.bin");
const PC_TABLES: &[u8] = include_bytes!("../../../../testdata/pc-numa-tables.bin");
const MICROVM_RSDP: &[u8] = include_bytes!("../../../../testdata/microvm-rsdp.bin");
const MICROVM_TABLES: &[u8] = include_bytes!("../../../../testdata/microvm-tables.bin");
const Q35_FADT: &[u8] = include_bytes!("../../../../testdata/q35-facp.bin");

type Piece<'a> = (u64, &'a [u8]);

const PC: [Piece<'_>; 2] = [(0xf59d0, PC_RSDP), (0x7fe_0000, PC_TABLES)];
const MICROVM: [Piece<'_>; 2] = [(0xf3490, MICROVM_RSDP), (0xefd00, MICROVM_TABLES)];

/// What the tables in these pieces of memory say; the root pointer is at the first.
fn describe_at(pieces: &[Piece<'_>]) -> Recorder {
    with(pieces, |rsdp, image| Recorder::of(|sink| describe(rsdp, image, sink)))
}

fn with<T>(pieces: &[Piece<'_>], run: impl FnOnce(PhysAddr, &mut MemoryImage<'_>) -> T) -> T {
    let pieces: Vec<(PhysAddr, &[u8])> = pieces.iter().map(|&(at, bytes)| (PhysAddr::new(at), bytes)).collect();
    run(pieces[0].0, &mut MemoryImage::new(&pieces))
}

/// Makes the bytes add up to zero by the one at `place`.
fn seal(bytes: &mut [u8], place: usize) {
    bytes[place] = 0;
    bytes[place] = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
}

/// A table with a right length and checksum.
fn table(signature: &str, revision: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = signature.as_bytes().to_vec();
    bytes.extend((36 + body.len() as u32).to_le_bytes());
    bytes.extend([revision, 0]);
    bytes.resize(36, b'x');
    bytes.extend(body);
    seal(&mut bytes, 9);
    bytes
}

const RSDP: u64 = 0xe0000;
const XSDT: u64 = 0x10_0001;
const TABLES: u64 = 0x20_0003;

fn rsdp(rsdt: u32, xsdt: u64) -> Vec<u8> {
    let mut bytes = b"RSD PTR \0tables\x02".to_vec();
    bytes[15] = 2;
    bytes.extend(rsdt.to_le_bytes());
    bytes.extend(36u32.to_le_bytes());
    bytes.extend(xsdt.to_le_bytes());
    bytes.resize(36, 0);
    seal(&mut bytes[..20], 8);
    seal(&mut bytes, 32);
    bytes
}

/// A machine that has these tables, 64 KiB apart.
struct Machine {
    rsdp: Vec<u8>,
    xsdt: Vec<u8>,
    tables: Vec<Vec<u8>>,
}

impl Machine {
    fn new(tables: &[Vec<u8>]) -> Self {
        let pointers = (0..tables.len() as u64).flat_map(|index| at(index).to_le_bytes());
        Self { rsdp: rsdp(0, XSDT), xsdt: table("XSDT", 1, &pointers.collect::<Vec<u8>>()), tables: tables.to_vec() }
    }

    fn pieces(&self) -> Vec<Piece<'_>> {
        let tables = (0..).zip(&self.tables).map(|(index, table)| (at(index), &table[..]));
        [(RSDP, &self.rsdp[..]), (XSDT, &self.xsdt[..])].into_iter().chain(tables).collect()
    }

    fn describe(&self) -> Recorder {
        describe_at(&self.pieces())
    }
}

/// Where table number `index` of a [`Machine`] is.
const fn at(index: u64) -> u64 {
    TABLES + (index << 16)
}

fn madt(entries: &[Vec<u8>]) -> Vec<u8> {
    madt_of(1, entries)
}

fn madt_of(revision: u8, entries: &[Vec<u8>]) -> Vec<u8> {
    table("APIC", revision, &[vec![0; 8], entries.concat()].concat())
}

fn srat(revision: u8, entries: &[Vec<u8>]) -> Vec<u8> {
    table("SRAT", revision, &[vec![0; 12], entries.concat()].concat())
}

fn slit(domains: u64, matrix: &[u8]) -> Vec<u8> {
    table("SLIT", 1, &[&domains.to_le_bytes()[..], matrix].concat())
}

/// SRAT type 1.
fn memory(domain: u32, start: u64, size: u64, flags: u32) -> Vec<u8> {
    let mut bytes = vec![1, 40];
    bytes.extend(domain.to_le_bytes());
    bytes.extend([0; 2]);
    bytes.extend(start.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(flags.to_le_bytes());
    bytes.extend([0; 8]);
    bytes
}

/// MADT type 0.
fn apic(id: u8, flags: u32) -> Vec<u8> {
    [&[0, 8, id, id][..], &flags.to_le_bytes()].concat()
}

/// MADT type 11.
fn gicc(uid: u32, mpidr: u64, flags: u32) -> Vec<u8> {
    let mut bytes = vec![0; 80];
    (bytes[0], bytes[1]) = (11, 80);
    bytes[8..12].copy_from_slice(&uid.to_le_bytes());
    bytes[12..16].copy_from_slice(&flags.to_le_bytes());
    bytes[68..76].copy_from_slice(&mpidr.to_le_bytes());
    bytes
}
