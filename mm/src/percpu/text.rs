//! What Linux prints of the first chunk, to the letter: sizes, then whose each unit is, allocation by allocation.
//!
//! Numbers have the width of the number of groups and of CPUs; a unit of no CPU is dashes; a line takes as many
//! allocations as come to 60 columns, down to a power of two. Linux: `pcpu_embed_first_chunk`, `pcpu_dump_alloc_info` in
//! mm/percpu.c (6.1).

#![forbid(unsafe_code)]

use super::first_chunk::FirstChunk;
use super::layout::UnitLayout;
use core::fmt::{Result, Write};

/// Columns that a line of allocations takes.
const COLUMNS: usize = 60;
/// The most dashes.
const DASHES: &str = "--------";

/// Writes both kinds of lines; `page_bytes` is what the first of them counts in.
///
/// # Errors
/// Those of `out`.
pub fn write<A>(chunk: &FirstChunk<A>, page_bytes: u64, out: &mut dyn Write) -> Result {
    let UnitLayout { static_bytes, reserved_bytes, dynamic_bytes, unit_bytes, .. } = chunk.layout;
    let UnitLayout { allocation_bytes, atom_bytes, units_per_allocation, .. } = chunk.layout;
    let sizes = format_args!("s{static_bytes} r{reserved_bytes} d{dynamic_bytes} u{unit_bytes}");
    writeln!(out, "percpu: Embedded {} pages/cpu {sizes}", chunk.layout.used_bytes() / page_bytes)?;
    write!(out, "pcpu-alloc: {sizes} alloc={}*{atom_bytes}", allocation_bytes / atom_bytes)?;

    let (cpus, groups) = (chunk.areas().len(), chunk.groups().len());
    let (cpu_width, group_width) = (digits(cpus), digits(groups));
    let units = units_per_allocation as usize;
    let a_line = (COLUMNS / (units * (cpu_width + 1) + group_width + 3)).max(1);
    let a_line = 1_usize << a_line.ilog2();
    let nobody = DASHES.get(..cpu_width).unwrap_or(DASHES);
    let mut allocation = 0;
    for (number, group) in chunk.groups().iter().enumerate() {
        for (unit, cpu) in chunk.cpus_of(group).enumerate() {
            if unit.is_multiple_of(units) {
                if usize::is_multiple_of(allocation, a_line) {
                    write!(out, "\npcpu-alloc: ")?;
                }
                write!(out, "[{number:0group_width$}] ")?;
                allocation += 1;
            }
            match cpu {
                Some(cpu) => write!(out, "{:0cpu_width$} ", cpu.as_u32())?,
                None => write!(out, "{nobody} ")?,
            }
        }
    }
    writeln!(out)
}

/// Decimal digits of a number.
fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}
