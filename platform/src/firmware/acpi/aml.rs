//! The two things that are wanted of ACPI's byte code, found by their bytes, without an interpreter:
//! `Name (\_S5, Package (…) { a, b, … })` of the DSDT, and what [`slots`](super::slots) looks for.
//!
//! Of `_S5` that is the name, a name operator before it, a package of small integers behind it. That is how every
//! firmware writes it, and what cannot be read so is not used. ACPI specification, section 20.2 (AML grammar).

use super::table::{HEADER, Table};
use crate::read::PhysRead;

pub(super) const NAME_OP: u8 = 0x08;
const ROOT_CHAR: u8 = 0x5c;
const PACKAGE_OP: u8 = 0x12;
const ZERO_OP: u8 = 0x00;
const ONE_OP: u8 = 0x01;
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DWORD_PREFIX: u8 = 0x0c;
const QWORD_PREFIX: u8 = 0x0e;

const NAME: &[u8] = b"_S5_";
/// Bytes before a name that decide: operators, and the root character that may stand between.
pub(super) const BEFORE: usize = 2;
/// Bytes that are looked at from a name's start on, at most.
const AFTER: usize = 24;
const BLOCK: usize = 256;

/// The first thing that `at` finds in a table's code. It is shown every place: the [`BEFORE`] bytes before it, and some
/// 24 from it on, zeroes behind the table's end.
pub(super) fn find<T>(table: &Table, read: &mut dyn PhysRead, at: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    for offset in (HEADER..table.length()).step_by(BLOCK) {
        // Blocks overlap, so that no occurrence is cut.
        let mut block = [0; BEFORE + BLOCK + AFTER];
        table.bytes(read, offset.saturating_sub(BEFORE as u32), &mut block).ok()?;
        let starts = block.windows(BEFORE + AFTER).take(BLOCK);
        if let Some(found) = starts.filter_map(&at).next() {
            return Some(found);
        }
    }
    None
}

/// The sleep types of S5, for PM1a and PM1b. `None` when the DSDT is damaged or does not say.
pub(super) fn soft_off(dsdt: &Table, read: &mut dyn PhysRead) -> Option<(u8, u8)> {
    if dsdt.signature() != *b"DSDT" || dsdt.verify(read).is_err() {
        return None;
    }
    find(dsdt, read, package_at)
}

/// The sleep types, when `bytes` are two bytes and then the name and its package.
fn package_at(bytes: &[u8]) -> Option<(u8, u8)> {
    let (before, rest) = bytes.split_at_checked(BEFORE)?;
    let rest = rest.strip_prefix(NAME)?;
    if !matches!(before, [_, NAME_OP] | [NAME_OP, ROOT_CHAR]) {
        return None;
    }
    let (&PACKAGE_OP, rest) = rest.split_first()? else { return None };
    // The length's first byte says in its top two bits how many more there are.
    let (&lead, rest) = rest.split_first()?;
    let rest = rest.get(usize::from(lead >> 6)..)?;
    let (&elements, rest) = rest.split_first()?;
    let (a, rest) = sleep_type(rest).filter(|_| elements >= 1)?;
    let b = if elements >= 2 { sleep_type(rest)?.0 } else { 0 };
    Some((a, b))
}

/// The sleep type at the front of `bytes`, 0 to 7, and what follows it.
fn sleep_type(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (value, rest) = integer(bytes)?;
    let value = u8::try_from(value).ok().filter(|&value| value <= 7)?;
    Some((value, rest))
}

/// The integer at the front of `bytes`, and what follows it.
pub(super) fn integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&prefix, rest) = bytes.split_first()?;
    let width = match prefix {
        ZERO_OP | ONE_OP => return Some((prefix.into(), rest)),
        BYTE_PREFIX => 1,
        WORD_PREFIX => 2,
        DWORD_PREFIX => 4,
        QWORD_PREFIX => 8,
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(width)?;
    let mut number = [0; 8];
    number.iter_mut().zip(value).for_each(|(to, &byte)| *to = byte);
    Some((u64::from_le_bytes(number), rest))
}
