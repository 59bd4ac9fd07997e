//! SLIT: the distances between all pairs of domains, as a square of bytes.
//!
//! Only its size is judged here: a matrix that does not fit its table has a wrong row length, and all of it means
//! nothing. Linux: `acpi_parse_slit` in `drivers/acpi/numa/srat.c`.

use super::table::Table;
use crate::read::{PhysRead, u64_at};
use mm::machine::{Distance, MachineSink, Problem, Source};

pub(super) const SIGNATURE: [u8; 4] = *b"SLIT";

/// Where the matrix begins: behind the header and the number of domains.
const MATRIX: u32 = 44;

pub(super) fn describe(slit: &Table, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) -> Result<(), Problem> {
    slit.verify(read)?;
    let wrong_length = Problem::Length { stated: slit.length().into() };
    if slit.length() < MATRIX {
        return Err(wrong_length);
    }
    let mut count = [0; 8];
    slit.bytes(read, MATRIX - 8, &mut count)?;
    let domains = u32::try_from(u64_at(&count, 0)).map_err(|_| wrong_length)?;
    let cells = domains.checked_mul(domains).ok_or(wrong_length)?;
    if MATRIX.checked_add(cells).is_none_or(|needed| needed > slit.length()) {
        return Err(wrong_length);
    }
    let mut cell = 0;
    while cell < cells {
        let mut block = [0; 64];
        slit.bytes(read, MATRIX + cell, &mut block)?;
        let until = cells.min(cell + 64);
        for (index, value) in (cell..until).zip(block) {
            let (from, to) = (index / domains, index % domains);
            let source = Source { entry: Some(index), ..slit.source() };
            sink.distance(Distance { from, to, value: value.into(), source });
        }
        cell = until;
    }
    Ok(())
}
