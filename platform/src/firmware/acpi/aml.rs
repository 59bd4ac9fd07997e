//! The one thing that is wanted of the DSDT's byte code: `Name (\_S5, Package (…) { a, b, … })`.
//!
//! It is found by its bytes, without an interpreter: the name, a name operator before it, a package of small integers
//! behind it. That is how every firmware writes it, and what cannot be read so is not used. ACPI specification,
//! section 20.2 (AML grammar).

use super::table::{HEADER, Table};
use crate::read::PhysRead;

const NAME_OP: u8 = 0x08;
const ROOT_CHAR: u8 = 0x5c;
const PACKAGE_OP: u8 = 0x12;
const ZERO_OP: u8 = 0x00;
const ONE_OP: u8 = 0x01;
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DWORD_PREFIX: u8 = 0x0c;

const NAME: &[u8] = b"_S5_";
/// Bytes before the name that decide: the operator, and the root character that may stand between.
const BEFORE: usize = 2;
/// Bytes from the name's start to the end of the second element, at most.
const AFTER: usize = 24;
const BLOCK: usize = 256;

/// The sleep types of S5, for PM1a and PM1b. `None` when the DSDT is damaged or does not say.
pub(super) fn soft_off(dsdt: &Table, read: &mut dyn PhysRead) -> Option<(u8, u8)> {
    if dsdt.signature() != *b"DSDT" || dsdt.verify(read).is_err() {
        return None;
    }
    let mut offset = HEADER;
    while offset < dsdt.length() {
        // Blocks overlap, so that no occurrence is cut.
        let mut block = [0; BEFORE + BLOCK + AFTER];
        dsdt.bytes(read, offset.saturating_sub(BEFORE as u32), &mut block).ok()?;
        let starts = block.windows(BEFORE + AFTER).take(BLOCK);
        if let Some(found) = starts.filter_map(package_at).next() {
            return Some(found);
        }
        offset = offset.saturating_add(BLOCK as u32);
    }
    None
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
    let (a, rest) = integer(rest).filter(|_| elements >= 1)?;
    let b = if elements >= 2 { integer(rest)?.0 } else { 0 };
    Some((a, b))
}

/// The sleep type at the front of `bytes`, 0 to 7, and what follows it.
fn integer(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&prefix, rest) = bytes.split_first()?;
    let width = match prefix {
        ZERO_OP | ONE_OP => return Some((prefix, rest)),
        BYTE_PREFIX => 1,
        WORD_PREFIX => 2,
        DWORD_PREFIX => 4,
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(width)?;
    let (&low, high) = value.split_first()?;
    (low <= 7 && high.iter().all(|&byte| byte == 0)).then_some((low, rest))
}
